//! Rows that others write between a copy and the commit point are neither lost nor taken for the
//! run's own.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::{Value, json};

use crate::{on_both, shipped};

pub(crate) const MIGRATE: &[&str] = &[
    "--from",
    "1.5.0",
    "--to",
    "2.0.0",
    "--yes",
    "--allow-commands",
];

/// What the copy should have made of the source, against what is there.
const DIFFERENT: &str = "SELECT count(*) FROM (SELECT id, customer, amount * 100 AS cents FROM orders_old) o \
     FULL JOIN orders n ON n.id = o.id WHERE o.id IS NULL OR n.id IS NULL OR n.name <> o.customer OR n.cents <> o.cents";

const SOURCE: &str = "INSERT INTO orders_old VALUES (5000, 'late', 1), (0, 'first', 2);
     UPDATE orders_old SET customer = 'changed late' WHERE id IN (7, 8, 9);
     DELETE FROM orders_old WHERE id IN (20, 21)";

const TARGET: &str = "INSERT INTO orders (id, name, cents) VALUES (9000, 'theirs', 5);
     UPDATE orders SET name = 'theirs' WHERE id = 30;
     DELETE FROM orders WHERE id = 40";

/// A deployment whose plan copies `orders_old` into `orders`.
pub(crate) struct Orders {
    pub(crate) deployment: Deployment,
    pub(crate) plan: Value,
}

impl Orders {
    pub(crate) fn on(store: Store) -> Self {
        let deployment = Deployment::v1().rows(3).on(store);
        deployment.sql(
            "CREATE TABLE orders_old (id integer PRIMARY KEY, customer text NOT NULL, amount integer NOT NULL);
             INSERT INTO orders_old WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
               SELECT i, 'customer ' || i, i FROM n",
        );
        deployment.write(
            "migrations/001_orders.sql",
            "CREATE TABLE orders (id integer PRIMARY KEY, name text NOT NULL, cents integer NOT NULL);\n",
        );
        deployment.write("migrations/001_orders.down.sql", "DROP TABLE orders;\n");
        deployment.write(
            "migrations/orders.sql",
            "SELECT id, customer AS name, amount * 100 AS cents FROM batch\n",
        );
        let mut plan = shipped::plan();
        plan["validation_checks"] = json!([]);
        plan["steps"] = json!([
            {"id": "make", "step_type": "SchemaUpdate", "command": "001_orders.sql", "timeout": "30s", "can_rollback": true},
            {"id": "move", "step_type": "DataMigration", "timeout": "60s", "can_rollback": true, "data_migration": {
                "source_table": "orders_old", "target_table": "orders", "transformation_script": "orders.sql",
                "batch_size": 50, "parallel_workers": 2 }},
        ]);
        Self { deployment, plan }
    }

    /// The target was there before, with two rows of which one is in the source.
    pub(crate) fn with_rows(mut self) -> Self {
        self.deployment.sql(
            "CREATE TABLE orders (id integer PRIMARY KEY, name text NOT NULL, cents integer NOT NULL);
             INSERT INTO orders VALUES (20, 'was there', 20), (8, 'was there', 8), (7000, 'was there', 1);
             INSERT INTO orders_old VALUES (7000, 'was there', 0)",
        );
        self.plan["steps"].as_array_mut().unwrap().remove(0);
        self
    }

    /// A command writes between the copy and the commit point.
    fn then(mut self, sql: &str) -> Self {
        let steps = self.plan["steps"].as_array_mut().unwrap();
        let (id, file) = (
            format!("others-{}", steps.len()),
            format!("late{}.sql", steps.len()),
        );
        self.deployment.write(&file, sql);
        let run = match self.deployment.store() {
            Store::Sqlite => format!("sqlite3 -bail data/etlrs.db < {file}"),
            Store::Postgres => {
                format!("psql -qX -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -f {file}")
            }
        };
        steps.push(json!({
            "id": id, "step_type": "Command", "command": ["sh", "-c", run],
            "undo": ["true"], "timeout": "30s", "can_rollback": true,
        }));
        self
    }

    pub(crate) fn planned(self) -> Deployment {
        shipped::overlay(&self.deployment, &self.plan);
        self.deployment
    }
}

pub(crate) fn back(deployment: &Deployment, strategy: &str) -> migrate_tests::binary::Run {
    let (to, how) = (["--rollback", "--to", "1.5.0"], ["--strategy", strategy]);
    deployment.run(&[&to[..], &how[..], &["--yes", "--allow-commands"]].concat())
}

fn nothing_of_ours_is_left(deployment: &Deployment) {
    if deployment.store() == Store::Sqlite {
        let left = "SELECT name FROM sqlite_master WHERE name LIKE '%etlrs_late%'";
        assert_eq!(deployment.sql(left), "");
    }
}

fn rows_of_the_source_are_brought_over(store: Store) {
    let deployment = Orders::on(store).then(SOURCE).planned();
    deployment
        .run(MIGRATE)
        .expect(0)
        .says(&["orders_old", "2 new, 3 changed, 2 deleted"]);
    assert_eq!(deployment.sql(DIFFERENT).trim(), "0");
    nothing_of_ours_is_left(&deployment);
    back(&deployment, "reverse").expect(0);
    assert_eq!(
        deployment.sql("SELECT count(*) FROM orders_old WHERE customer LIKE '%late'"),
        "4"
    );
}

fn rows_of_the_source_are_brought_into_a_table_with_rows(store: Store) {
    let orders = Orders::on(store).with_rows().then(SOURCE);
    let before = orders.deployment.sql("SELECT * FROM orders ORDER BY id");
    let deployment = orders.planned();
    deployment
        .run(MIGRATE)
        .expect(0)
        .says(&["2 new, 3 changed, 2 deleted"]);
    // The row that was there and has none in the source any more is what it was.
    assert_eq!(
        deployment
            .sql("SELECT name, cents FROM orders WHERE id = 20")
            .trim(),
        "was there|20"
    );
    deployment.sql("DELETE FROM orders WHERE id = 20");
    assert_eq!(deployment.sql(DIFFERENT).trim(), "0");
    deployment.sql("INSERT INTO orders VALUES (20, 'was there', 20)");
    back(&deployment, "reverse").expect(0);
    assert_eq!(deployment.sql("SELECT * FROM orders ORDER BY id"), before);
}

fn rows_of_the_target_count_as_those_of_others(store: Store) {
    let deployment = Orders::on(store).then(TARGET).planned();
    let done = deployment.run(MIGRATE);
    done.expect(0).says(&[
        "orders",
        "1 new, 1 changed, 1 deleted",
        "a rollback counts it as theirs",
    ]);
    let refused = back(&deployment, "reverse");
    refused.expect(7).says(&["orders", "--accept-data-loss"]);
    let refused = back(&deployment, "restore");
    refused
        .expect(7)
        .says(&["1 row inserted, 1 row updated, 1 row deleted"]);
    assert_eq!(
        deployment
            .sql("SELECT name FROM orders WHERE id = 9000")
            .trim(),
        "theirs"
    );
}

fn both_are_told_apart(store: Store) {
    let both = format!("{SOURCE};\n{TARGET}");
    let deployment = Orders::on(store).then(&both).planned();
    deployment
        .run(MIGRATE)
        .expect(0)
        .says(&["2 new, 3 changed, 2 deleted", "1 new, 1 changed, 1 deleted"]);
    assert_eq!(deployment.sql(DIFFERENT).trim(), "3");
    back(&deployment, "reverse").expect(7);
}

/// Neither may be lost, so the run is.
fn a_row_that_is_written_on_both_sides_fails_the_run(store: Store) {
    let both = "UPDATE orders_old SET customer = 'late' WHERE id = 30;
         UPDATE orders SET name = 'theirs' WHERE id = 30";
    let deployment = Orders::on(store).with_rows().then(both).planned();
    deployment.run(MIGRATE).expect(3).says(&[
        "1 rows were written by others both in orders_old and in orders",
        "id=30",
    ]);
    nothing_of_ours_is_left(&deployment);
    assert_eq!(
        deployment
            .sql("SELECT name FROM orders WHERE id = 30")
            .trim(),
        "theirs"
    );
}

/// The table goes with the run that made it, but not what others wrote there.
fn rows_of_others_in_a_table_that_goes_are_copied_first(store: Store) {
    let both = "UPDATE orders_old SET customer = 'late' WHERE id = 30;
         UPDATE orders SET name = 'theirs' WHERE id = 30";
    let deployment = Orders::on(store).then(both).planned();
    deployment.run(MIGRATE).expect(3).says(&[
        "orders: 1 rows that others wrote",
        "copied first",
        "id=30",
    ]);
    let list = ["backup", "list", "--format", "json"];
    let list = deployment.run(&list).expect(0).json();
    let copies = list["backups"].as_array().unwrap();
    assert!(copies.iter().any(|one| one["kind"] == "safety"), "{list}");
}

/// Rows that pass through the tool are not copied once more: the run says how many came in.
#[test]
fn a_source_elsewhere_that_changed_fails_the_run() {
    let source = Orders::on(Store::Sqlite).deployment;
    let file = source.path("data/etlrs.db").display().to_string();
    let mut orders = Orders::on(Store::Postgres);
    orders.plan["steps"][1]["data_migration"]["source_url"] = json!(format!("sqlite:{file}"));
    let write = format!("sqlite3 {file} \"UPDATE orders_old SET amount = 0 WHERE id = 5\"");
    orders.plan["steps"].as_array_mut().unwrap().push(json!({
        "id": "others", "step_type": "Command", "command": ["sh", "-c", write],
        "undo": ["true"], "timeout": "30s", "can_rollback": true,
    }));
    let deployment = orders.planned();
    deployment.run(MIGRATE).expect(3).says(&[
        "others wrote to orders_old after it had been copied into orders",
        "the source is in another database",
    ]);
    source.sql("UPDATE orders_old SET amount = 5 WHERE id = 5");
}

/// What a later step of the plan does to the tables is the plan's own.
fn a_later_step_may_change_the_tables(store: Store) {
    let mut orders = Orders::on(store).then(SOURCE);
    orders.deployment.write(
        "migrations/002_flag.sql",
        "ALTER TABLE orders ADD COLUMN flag integer NOT NULL DEFAULT 1;\nUPDATE orders SET flag = 2 WHERE id = 3;\n",
    );
    orders.deployment.write(
        "migrations/002_flag.down.sql",
        "ALTER TABLE orders DROP COLUMN flag;\n",
    );
    let flag = json!({"id": "flag", "step_type": "SchemaUpdate", "command": "002_flag.sql",
        "timeout": "30s", "can_rollback": true});
    orders.plan["steps"].as_array_mut().unwrap().push(flag);
    let orders = orders.then("UPDATE orders_old SET customer = 'later' WHERE id = 100");
    let deployment = orders.planned();
    deployment.run(MIGRATE).expect(0);
    assert_eq!(deployment.sql("SELECT sum(flag) FROM orders").trim(), "401");
    assert_eq!(
        deployment
            .sql("SELECT name FROM orders WHERE id = 100")
            .trim(),
        "later"
    );
}

/// The source is renamed away and the target takes its name: nothing can be compared any more.
fn a_later_step_may_swap_the_tables(store: Store) {
    let mut orders = Orders::on(store);
    orders.deployment.write(
        "migrations/002_swap.sql",
        "ALTER TABLE orders_old RENAME TO orders_kept;\nALTER TABLE orders RENAME TO orders_old;\n",
    );
    let swap = json!({"id": "swap", "step_type": "SchemaUpdate", "command": "002_swap.sql",
        "timeout": "30s", "can_rollback": false});
    orders.plan["steps"].as_array_mut().unwrap().push(swap);
    let deployment = orders.planned();
    deployment.run(MIGRATE).expect(0);
    assert_eq!(
        deployment
            .sql("SELECT name FROM orders_old WHERE id = 100")
            .trim(),
        "customer 100"
    );
    nothing_of_ours_is_left(&deployment);
}

/// Copies that share a table: one source twice, and a target that is the next one's source.
fn copies_may_share_a_table(store: Store) {
    let mut orders = Orders::on(store);
    let steps = orders.plan["steps"].as_array_mut().unwrap();
    let copies = [
        ("again", "orders_old", "twins", "migrations/orders.sql"),
        ("keep", "orders", "archive", "migrations/keep.sql"),
    ];
    for (step, from, to, script) in copies {
        orders.deployment.sql(&format!(
            "CREATE TABLE {to} (id integer PRIMARY KEY, name text NOT NULL, cents integer NOT NULL)"
        ));
        if step == "keep" {
            let keep = "SELECT id, name, cents FROM batch\n";
            orders.deployment.write(script, keep);
        }
        steps.push(json!({"id": step, "step_type": "DataMigration", "timeout": "60s", "can_rollback": true,
            "data_migration": {"source_table": from, "target_table": to,
                "transformation_script": script.trim_start_matches("migrations/"), "batch_size": 50, "parallel_workers": 2}}));
    }
    let deployment = orders.then(SOURCE).planned();
    deployment.run(MIGRATE).expect(0);
    for table in ["orders", "twins", "archive"] {
        let different = DIFFERENT.replace("JOIN orders n", &format!("JOIN {table} n"));
        assert_eq!(deployment.sql(&different).trim(), "0", "{table}");
    }
    back(&deployment, "reverse").expect(0);
    for table in ["twins", "archive"] {
        let left = deployment.sql(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(left.trim(), "0", "{table}");
    }
}

on_both!(
    copies_may_share_a_table,
    rows_of_the_source_are_brought_over,
    rows_of_the_source_are_brought_into_a_table_with_rows,
    rows_of_the_target_count_as_those_of_others,
    both_are_told_apart,
    a_row_that_is_written_on_both_sides_fails_the_run,
    rows_of_others_in_a_table_that_goes_are_copied_first,
    a_later_step_may_change_the_tables,
    a_later_step_may_swap_the_tables,
);
