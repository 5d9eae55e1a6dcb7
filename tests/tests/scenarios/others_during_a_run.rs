//! What others write while a run goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use migrate_tests::deployment::{Deployment, Store};
use serde_json::{Value, json};

use crate::{on_both, shipped};

const UP: [&str; 7] = [
    "--from",
    "1.5.0",
    "--to",
    "2.0.0",
    "--yes",
    "--allow-commands",
    "--format=json",
];

/// A deployment with tables `orders` and `customers` beside those of the product.
fn with_orders(store: Store) -> Deployment {
    let deployment = Deployment::v1().on(store);
    deployment.sql(
        "CREATE TABLE orders (id integer primary key, what text not null);
         INSERT INTO orders VALUES (1, 'before the run');
         CREATE TABLE customers (id integer primary key, name text, phone text);
         INSERT INTO customers VALUES (1, 'Ada', '1'), (2, 'Bob', '2');",
    );
    deployment
}

/// Drops a column, which only the rollback point brings back; then waits until the test has
/// done its part; then `last`.
fn plan(deployment: &Deployment, last: &[Value]) -> Value {
    deployment.write(
        "migrations/001_drop_phone.sql",
        "ALTER TABLE customers DROP COLUMN phone;\n",
    );
    let mut steps = vec![
        json!({"id": "drop", "step_type": "SchemaUpdate", "command": "001_drop_phone.sql",
               "timeout": "30s", "can_rollback": false}),
        json!({"id": "wait", "step_type": "Command", "timeout": "60s", "undo": "true",
               "command": "until test -e go; do sleep 0.05; done"}),
    ];
    steps.extend_from_slice(last);
    json!({
        "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MinorUpgrade",
        "downtime_required": false, "steps": steps,
    })
}

fn a_live_system_is_written_to_all_the_time(store: Store) {
    let deployment = with_orders(store);
    let mut plan = plan(&deployment, &[]);
    plan["steps"].as_array_mut().unwrap().remove(1);
    shipped::overlay(&deployment, &plan);
    let over = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut at = 1;
            while !over.load(Ordering::Relaxed) {
                at += 1;
                deployment.sql(&format!("INSERT INTO orders VALUES ({at}, 'live')"));
            }
            at
        });
        let run = deployment.run(&UP);
        over.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap();
        run.expect(0);
        written
    });
    assert!(written > 2, "nothing was written while the run went on");
    let found = deployment.sql("SELECT count(*) FROM orders");
    assert_eq!(found, written.to_string());
}

on_both!(a_live_system_is_written_to_all_the_time,);
