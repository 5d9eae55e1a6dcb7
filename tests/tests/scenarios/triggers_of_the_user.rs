//! The user's own triggers fire at what the tool writes. What they write is theirs to keep right, and
//! nobody else is blamed for it.

use migrate_tests::deployment::{Deployment, Store};

use serde_json::json;

use crate::late_writes::{MIGRATE, Orders, back};
use crate::{on_both, shipped};

/// An audit table and a counter on `orders`; on PostgreSQL a log of every DDL statement too.
fn watched(store: Store) -> Orders {
    let mut orders = Orders::on(store).with_rows();
    let extra = json!({"id": "extra", "step_type": "SchemaUpdate", "command": "001_extra.sql",
        "timeout": "30s", "can_rollback": true});
    orders.plan["steps"]
        .as_array_mut()
        .unwrap()
        .insert(0, extra);
    let deployment = &orders.deployment;
    deployment.write(
        "migrations/001_extra.sql",
        "CREATE TABLE extra (a integer);\n",
    );
    deployment.write("migrations/001_extra.down.sql", "DROP TABLE extra;\n");
    deployment.sql(
        "CREATE TABLE audit (n integer, what text);
         CREATE TABLE counter (rows integer NOT NULL);
         INSERT INTO counter SELECT count(*) FROM orders",
    );
    match store {
        Store::Sqlite => deployment.sql(
            "CREATE TRIGGER orders_audit AFTER INSERT ON orders BEGIN INSERT INTO audit VALUES (NEW.id, 'new'); END;
             CREATE TRIGGER orders_more AFTER INSERT ON orders BEGIN UPDATE counter SET rows = rows + 1; END;
             CREATE TRIGGER orders_less AFTER DELETE ON orders BEGIN UPDATE counter SET rows = rows - 1; END",
        ),
        Store::Postgres => {
            let admin = deployment.postgres();
            admin.admin_psql(
                "CREATE TABLE ddl_log (tag text);
                 GRANT ALL ON ddl_log TO PUBLIC;
                 CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS
                   $$ BEGIN INSERT INTO public.ddl_log VALUES (tg_tag); END $$;
                 CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION log_ddl()",
            );
            deployment.sql(
                "CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN INSERT INTO audit VALUES (NEW.id, 'new'); RETURN NULL; END $$;
                 CREATE TRIGGER orders_audit AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION audited();
                 CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN UPDATE counter SET rows = rows + CASE tg_op WHEN 'INSERT' THEN 1 ELSE -1 END; RETURN NULL; END $$;
                 CREATE TRIGGER orders_counted AFTER INSERT OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION counted()",
            )
        }
    };
    orders
}

fn counter_is_right(deployment: &Deployment) {
    let wrong = "SELECT (SELECT rows FROM counter) - (SELECT count(*) FROM orders)";
    assert_eq!(deployment.sql(wrong).trim(), "0");
}

fn an_audit_table_that_grew_is_no_failure_of_an_undo(store: Store) {
    let mut orders = watched(store);
    let steps = orders.plan["steps"].as_array_mut().unwrap();
    steps.push(shipped::failing_validation());
    let before = orders.deployment.sql("SELECT * FROM orders ORDER BY id");
    let deployment = orders.planned();
    deployment.run(MIGRATE).expect(3);
    assert_eq!(deployment.sql("SELECT * FROM orders ORDER BY id"), before);
    counter_is_right(&deployment);
}

fn nobody_else_is_blamed_for_what_triggers_wrote(store: Store) {
    let deployment = watched(store).planned();
    deployment.run(MIGRATE).expect(0);
    counter_is_right(&deployment);
    let dry = [
        "--rollback",
        "--to",
        "1.5.0",
        "--strategy",
        "restore",
        "--dry-run",
    ];
    let preview = deployment.run(&dry);
    preview.expect(0);
    assert!(!preview.output().contains("would lose"), "{preview}");
    back(&deployment, "reverse")
        .expect(0)
        .says(&["audit", "fired triggers of the database"]);
    counter_is_right(&deployment);
}

/// A ledger that nobody may delete from can still be undone.
fn a_trigger_that_refuses_does_not_keep_the_undo_from_its_work(store: Store) {
    let mut orders = Orders::on(store).with_rows();
    orders.deployment.sql(match store {
        Store::Sqlite => {
            "CREATE TRIGGER kept AFTER DELETE ON orders BEGIN SELECT RAISE(ABORT, 'rows stay'); END"
        }
        Store::Postgres => {
            "CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'rows stay'; END $$;
             CREATE TRIGGER kept AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION kept()"
        }
    });
    let steps = orders.plan["steps"].as_array_mut().unwrap();
    steps.push(shipped::failing_validation());
    let before = orders.deployment.sql("SELECT * FROM orders ORDER BY id");
    let deployment = orders.planned();
    deployment.run(MIGRATE).expect(3);
    assert_eq!(deployment.sql("SELECT * FROM orders ORDER BY id"), before);
}

/// The values of a serial column go back with the rows that took them.
fn sequences_are_as_before(store: Store) {
    let orders = Orders::on(store);
    let deployment = &orders.deployment;
    let (table, state) = match store {
        Store::Sqlite => (
            "CREATE TABLE orders (id integer PRIMARY KEY AUTOINCREMENT, name text NOT NULL, cents integer NOT NULL);
             INSERT INTO orders VALUES (3, 'was there', 1)",
            "SELECT seq FROM sqlite_sequence WHERE name = 'orders'",
        ),
        Store::Postgres => (
            "CREATE TABLE orders (id integer PRIMARY KEY, name text NOT NULL, cents integer NOT NULL, place bigserial);
             INSERT INTO orders VALUES (3, 'was there', 1)",
            "SELECT last_value, is_called FROM orders_place_seq",
        ),
    };
    deployment.sql(table);
    let before = deployment.sql(state);
    let mut orders = orders;
    orders.plan["steps"].as_array_mut().unwrap().remove(0);
    let deployment = orders.planned();
    deployment.run(MIGRATE).expect(0);
    assert_ne!(deployment.sql(state), before);
    back(&deployment, "reverse").expect(0);
    assert_eq!(deployment.sql(state), before);
}

/// A key that could hold NULL tells rows apart that hold none.
fn a_change_under_a_loose_key_is_one_change(store: Store) {
    let orders = Orders::on(store);
    orders.deployment.sql(match store {
        Store::Sqlite => "CREATE TABLE notes (id INT PRIMARY KEY, note text); INSERT INTO notes VALUES (1, 'a'), (2, 'b'), (NULL, 'c'), (NULL, 'd')",
        Store::Postgres => "CREATE TABLE notes (id int UNIQUE, note text); INSERT INTO notes VALUES (1, 'a'), (2, 'b'), (NULL, 'c'), (NULL, 'd')",
    });
    let deployment = orders.planned();
    deployment.run(MIGRATE).expect(0);
    deployment.sql("UPDATE notes SET note = 'other' WHERE id = 2");
    back(&deployment, "restore")
        .expect(7)
        .says(&["notes: 1 row updated since the upgrade"]);
}

fn a_view_that_the_upgrade_made_is_no_loss(store: Store) {
    let orders = Orders::on(store);
    orders.deployment.write(
        "migrations/001_orders.sql",
        "CREATE TABLE orders (id integer PRIMARY KEY, name text NOT NULL, cents integer NOT NULL);\n\
         CREATE VIEW dear AS SELECT id, name FROM orders WHERE cents > 100;\n",
    );
    orders.deployment.write(
        "migrations/001_orders.down.sql",
        "DROP VIEW dear;\nDROP TABLE orders;\n",
    );
    let deployment = orders.planned();
    let before = deployment.snapshot();
    deployment.run(MIGRATE).expect(0);
    back(&deployment, "restore").expect(0);
    before.must_equal(&deployment.snapshot(), "after the restore");
}

#[test]
fn an_index_of_words_is_what_it_was() {
    let mut orders = Orders::on(Store::Sqlite).with_rows();
    orders.deployment.sql(
        "CREATE VIRTUAL TABLE words USING fts5(name, content='orders', content_rowid='id');
         INSERT INTO words(words) VALUES ('rebuild');
         CREATE TRIGGER words_new AFTER INSERT ON orders BEGIN
           INSERT INTO words(rowid, name) VALUES (NEW.id, NEW.name); END;
         CREATE TRIGGER words_gone AFTER DELETE ON orders BEGIN
           INSERT INTO words(words, rowid, name) VALUES ('delete', OLD.id, OLD.name); END;
         CREATE TRIGGER words_other AFTER UPDATE ON orders BEGIN
           INSERT INTO words(words, rowid, name) VALUES ('delete', OLD.id, OLD.name);
           INSERT INTO words(rowid, name) VALUES (NEW.id, NEW.name); END",
    );
    let found = "SELECT count(*) FROM words WHERE words MATCH 'customer'";
    let steps = orders.plan["steps"].as_array_mut().unwrap();
    steps.push(shipped::failing_validation());
    let deployment = orders.planned();
    deployment.run(MIGRATE).expect(3);
    assert_eq!(deployment.sql(found), "0");
    deployment.sql("INSERT INTO words(words) VALUES ('integrity-check')");
}

on_both!(
    an_audit_table_that_grew_is_no_failure_of_an_undo,
    nobody_else_is_blamed_for_what_triggers_wrote,
    a_trigger_that_refuses_does_not_keep_the_undo_from_its_work,
    sequences_are_as_before,
    a_change_under_a_loose_key_is_one_change,
    a_view_that_the_upgrade_made_is_no_loss,
);
