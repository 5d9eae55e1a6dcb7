//! What others write while a run goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use migrate_tests::binary::{Run, Running};
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

/// Starts the run and comes back when it waits.
fn waiting(deployment: &Deployment) -> Running {
    let mut running = deployment.tool(&UP).start();
    let begun =
        running.wait_for(|event| event["event"] == "step_started" && event["step"] == "wait");
    assert!(begun.is_some(), "the run ended before its second step");
    running
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

/// Does something beside the run while it waits, then lets it go on to its end.
fn beside(deployment: &Deployment, last: &[Value], sql: &str) -> Run {
    let plan = plan(deployment, last);
    shipped::overlay(deployment, &plan);
    let running = waiting(deployment);
    if !sql.is_empty() {
        deployment.sql(sql);
    }
    deployment.write("go", "");
    running.finish()
}

fn restore(deployment: &Deployment, more: &[&str]) -> Run {
    let mut all = vec![
        "--rollback",
        "--to",
        "1.5.0",
        "--strategy",
        "restore",
        "--yes",
        "--allow-commands",
    ];
    all.extend(more);
    deployment.run(&all)
}

const ORDERS: &str = "INSERT INTO orders VALUES (2, 'of others'), (3, 'of others');
    UPDATE orders SET what = 'changed by others' WHERE id = 1";

fn rows_in_a_table_that_no_step_touches_outlive_a_restore(store: Store) {
    let deployment = with_orders(store);
    let failing = [shipped::failing_validation()];
    beside(&deployment, &failing, ORDERS)
        .expect(3)
        .says(&["orders", "2 rows inserted"]);
    let orders = "SELECT id, what FROM orders ORDER BY id";
    let kept = "1|changed by others\n2|of others\n3|of others";
    assert_eq!(deployment.sql(orders), kept);
    let customers = "SELECT name, phone FROM customers ORDER BY id";
    assert_eq!(deployment.sql(customers), "Ada|1\nBob|2");
}

fn a_restore_beside_which_nobody_writes_brings_everything_back(store: Store) {
    let deployment = with_orders(store);
    let before = deployment.snapshot().database;
    let failing = [shipped::failing_validation()];
    beside(&deployment, &failing, "").expect(3);
    assert_eq!(before, deployment.snapshot().database);
}

/// How many safety copies there are.
fn safety_copies(deployment: &Deployment) -> usize {
    let list = deployment.run(&["backup", "list", "--format", "json"]);
    let list = list.expect(0).json();
    let copies = list["backups"].as_array().unwrap();
    copies.iter().filter(|one| one["kind"] == "safety").count()
}

fn rows_in_a_table_that_has_to_be_restored_stop_the_restore(store: Store) {
    let deployment = with_orders(store);
    let before = deployment.snapshot().database;
    let failing = [shipped::failing_validation()];
    let write = "INSERT INTO customers (id, name) VALUES (3, 'of others')";
    let stuck = beside(&deployment, &failing, write);
    stuck
        .expect(4)
        .says(&["customers", "at least 1 row inserted", "--accept-data-loss"]);
    let others = "SELECT name FROM customers WHERE id = 3";
    assert_eq!(deployment.sql(others), "of others");
    assert_eq!(safety_copies(&deployment), 1);
    restore(&deployment, &[])
        .expect(7)
        .says(&["customers", "1 row"]);
    assert_eq!(deployment.sql(others), "of others");
    restore(&deployment, &["--accept-data-loss"]).expect(0);
    assert_eq!(before, deployment.snapshot().database);
}

fn a_table_that_others_made_stops_the_restore(store: Store) {
    let deployment = with_orders(store);
    let failing = [shipped::failing_validation()];
    let write = "CREATE TABLE invoices (id integer); INSERT INTO invoices VALUES (1), (2)";
    beside(&deployment, &failing, write).expect(4).says(&[
        "invoices",
        "at least 2 rows inserted",
        "--accept-data-loss",
    ]);
    assert_eq!(deployment.sql("SELECT count(*) FROM invoices"), "2");
}

fn rows_written_during_a_run_that_went_well_are_lost_by_consent_only(store: Store) {
    let deployment = with_orders(store);
    let before = deployment.snapshot().database;
    beside(&deployment, &[], ORDERS).expect(0);
    restore(&deployment, &[])
        .expect(7)
        .says(&["orders", "2 rows inserted"]);
    assert_eq!(deployment.sql("SELECT count(*) FROM orders"), "3");
    restore(&deployment, &["--accept-data-loss"]).expect(0);
    assert_eq!(before, deployment.snapshot().database);
}

/// What a run wrote itself never needs consent.
fn a_run_beside_which_nobody_wrote_is_restored_without_consent(store: Store) {
    let deployment = with_orders(store);
    let before = deployment.snapshot().database;
    beside(&deployment, &[], "").expect(0);
    restore(&deployment, &[]).expect(0);
    assert_eq!(before, deployment.snapshot().database);
}

on_both!(
    a_live_system_is_written_to_all_the_time,
    rows_in_a_table_that_no_step_touches_outlive_a_restore,
    a_restore_beside_which_nobody_writes_brings_everything_back,
    rows_in_a_table_that_has_to_be_restored_stop_the_restore,
    a_table_that_others_made_stops_the_restore,
    rows_written_during_a_run_that_went_well_are_lost_by_consent_only,
    a_run_beside_which_nobody_wrote_is_restored_without_consent,
);

/// Keys, sequences, odd types and what hangs on the table come through with the rows.
#[test]
fn every_kind_of_column_outlives_a_restore() {
    let deployment = with_orders(Store::Postgres);
    deployment.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN short AS varchar(5);
         CREATE TYPE pair AS (a integer, b text);
         CREATE TABLE odd (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, m mood, s short, p pair,
             ms mood[], j json, x jsonb, b bytea, n numeric(10, 2), f float8, i interval, t timestamptz,
             c char(4), twice integer GENERATED ALWAYS AS (length(c) * 2) STORED, serial serial,
             of_order integer REFERENCES orders, CHECK (m <> 'sad'));
         CREATE INDEX ON odd (lower(s)); CREATE VIEW glad AS SELECT id FROM odd WHERE m = 'glad';
         CREATE TABLE parts (k integer) PARTITION BY RANGE (k);
         CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);",
    );
    let write = "INSERT INTO odd (m, s, p, ms, j, x, b, n, f, i, t, c, of_order) VALUES
        ('glad', 'a''b', (1, 'x, \"y\"'), '{glad,NULL}', '{\"a\": 1 }', '{\"b\":2}', '\\x00ff', 1.50, 0.1,
         '1 mon -2 days', '2026-01-01 00:00:00.123456+03', 'x', 1), (NULL, NULL, NULL, NULL, NULL, NULL,
         NULL, 'NaN', '-Infinity', NULL, NULL, NULL, NULL); INSERT INTO parts VALUES (3), (4)";
    let failing = [shipped::failing_validation()];
    let plan = plan(&deployment, &failing);
    shipped::overlay(&deployment, &plan);
    let running = waiting(&deployment);
    deployment.sql(write);
    let rows = deployment.sql("SELECT * FROM odd ORDER BY id; SELECT * FROM parts ORDER BY 1");
    deployment.write("go", "");
    running.finish().expect(3).says(&["odd", "parts"]);
    let after = deployment.sql("SELECT * FROM odd ORDER BY id; SELECT * FROM parts ORDER BY 1");
    assert_eq!(rows, after);
    deployment.sql("INSERT INTO odd (m, c) VALUES ('glad', 'z')");
    assert_eq!(
        deployment.sql("SELECT id, serial FROM odd WHERE c = 'z'"),
        "3|3"
    );
    assert_eq!(deployment.sql("SELECT count(*) FROM glad"), "2");
}
