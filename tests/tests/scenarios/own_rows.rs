//! What a run wrote itself is taken back whole, however its tables are named and whatever the
//! database made of its rows; and is never told as the work of others.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::json;

use crate::late_writes::MIGRATE;
use crate::{on_both, shipped};

const TABLES: &str = "CREATE TABLE src (id integer PRIMARY KEY, n text);
     CREATE TABLE dst (id integer PRIMARY KEY, n text);
     INSERT INTO src VALUES (1, 'a'), (5, 'e'); INSERT INTO dst VALUES (5, 'old'), (99, 'keep')";

/// A step of the plan.
enum Step<'a> {
    Schema(&'a str),
    Copy(&'a str),
    Fail,
}

fn planned(deployment: &Deployment, steps: &[Step<'_>]) {
    deployment.write("migrations/copy.sql", "SELECT id, n FROM batch\n");
    let mut plan = shipped::plan();
    plan["validation_checks"] = json!([]);
    let steps = steps.iter().map(|step| match step {
        Step::Schema(text) => {
            deployment.write("migrations/002_x.sql", text);
            json!({"id": "schema", "step_type": "SchemaUpdate", "command": "002_x.sql", "timeout": "30s",
                   "can_rollback": deployment.path("migrations/002_x.down.sql").exists()})
        }
        Step::Copy(target) => json!({"id": "copy", "step_type": "DataMigration", "timeout": "60s",
            "can_rollback": true, "data_migration": {"source_table": "src", "target_table": target,
            "transformation_script": "copy.sql", "batch_size": 100, "parallel_workers": 1}}),
        Step::Fail => json!({"id": "fail", "step_type": "Command", "command": ["false"], "undo": ["true"],
            "timeout": "30s", "can_rollback": true}),
    });
    plan["steps"] = steps.collect();
    shipped::overlay(deployment, &plan);
}

fn on(store: Store, sql: &str) -> Deployment {
    let deployment = Deployment::v1().rows(3).on(store);
    deployment.sql(sql);
    deployment
}

#[track_caller]
fn fails_and_comes_back(deployment: &Deployment, name: &str) {
    let before = deployment.snapshot().of_the_user();
    let run = deployment.run(MIGRATE);
    run.expect(3).must_not_say("by others");
    before.must_equal(&deployment.snapshot().of_the_user(), name);
}

const CHANGE: &str = "ALTER TABLE src ADD COLUMN x integer; UPDATE src SET n = n || '!';\n";

#[test]
fn a_target_in_other_letters_is_the_runs_own() {
    for name in ["DST", "main.dst", "Main.Dst"] {
        let deployment = on(Store::Sqlite, TABLES);
        planned(
            &deployment,
            &[Step::Schema(CHANGE), Step::Copy(name), Step::Fail],
        );
        fails_and_comes_back(&deployment, name);
    }
}

#[test]
fn a_target_found_by_the_search_path_is_the_runs_own() {
    for how in ["database", "role"] {
        let deployment = on(Store::Postgres, "SELECT 1");
        let database = deployment.postgres();
        let name = database.name();
        database.admin_psql(&format!(
            "CREATE SCHEMA appx AUTHORIZATION etlrs; GRANT CREATE ON DATABASE {name} TO etlrs"
        ));
        database.admin_psql(&match how {
            "database" => format!("ALTER DATABASE {name} SET search_path = appx, public"),
            _ => format!("ALTER ROLE etlrs IN DATABASE {name} SET search_path = appx, public"),
        });
        deployment.sql(TABLES);
        planned(
            &deployment,
            &[Step::Schema(CHANGE), Step::Copy("dst"), Step::Fail],
        );
        fails_and_comes_back(&deployment, how);

        // After a good run nothing of it counts as others', and what others write is counted.
        planned(&deployment, &[Step::Schema(CHANGE), Step::Copy("dst")]);
        let before = deployment.snapshot().of_the_user();
        deployment.run(MIGRATE).expect(0);
        deployment.sql(
            "UPDATE dst SET n = 'theirs' WHERE id = 1; DELETE FROM dst WHERE id = 99;
             INSERT INTO dst VALUES (7, 'new')",
        );
        let back = [
            "--rollback",
            "--to",
            "1.5.0",
            "--yes",
            "--strategy",
            "restore",
        ];
        deployment
            .run(&back)
            .expect(7)
            .says(&["1 row inserted, 1 row updated, 1 row deleted"]);
        deployment
            .run(&[&back[..], &["--accept-data-loss"]].concat())
            .expect(0);
        before.must_equal(&deployment.snapshot().of_the_user(), how);
    }
}

/// Copied rows that a later step of the plan changed are the plan's, and come back with the
/// rollback point.
fn rows_that_a_later_step_changed_come_back(store: Store) {
    let later = "UPDATE dst SET n = n || '!'; ALTER TABLE dst ADD COLUMN w integer;\n";
    let world = |steps: &[Step<'_>]| {
        let deployment = on(store, TABLES);
        deployment.write(
            "migrations/002_x.down.sql",
            "ALTER TABLE dst DROP COLUMN w;\n",
        );
        planned(&deployment, steps);
        deployment
    };
    let back = ["--rollback", "--to", "1.5.0", "--yes", "--allow-commands"];
    let restore = [&back[..], &["--strategy", "restore"]].concat();
    let deployment = world(&[Step::Copy("dst"), Step::Schema(later), Step::Fail]);
    let before = deployment.snapshot().of_the_user();
    deployment
        .run(MIGRATE)
        .expect(4)
        .says(&["--strategy restore"])
        .must_not_say("by others");
    deployment.run(&restore).expect(0);
    before.must_equal(&deployment.snapshot().of_the_user(), "after it failed");

    let deployment = world(&[Step::Copy("dst"), Step::Schema(later)]);
    let before = deployment.snapshot().of_the_user();
    deployment.run(MIGRATE).expect(0);
    deployment
        .run(&back)
        .expect(4)
        .says(&["--strategy restore"]);
    // Somebody may have written in the middle of that, so it asks.
    deployment
        .run(&restore)
        .expect(7)
        .says(&["dst", "--accept-data-loss"]);
    deployment
        .run(&[&restore[..], &["--accept-data-loss"]].concat())
        .expect(0);
    before.must_equal(&deployment.snapshot().of_the_user(), "after a good run");
}

/// Rows that the database keeps otherwise than the script gave them are not left as others'.
#[test]
fn rows_that_a_trigger_or_a_type_changed_come_back() {
    let upper = "CREATE FUNCTION upper_n() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN new.n = upper(new.n); RETURN new; END $$;
         CREATE TRIGGER upper_n BEFORE INSERT ON dst FOR EACH ROW EXECUTE FUNCTION upper_n()";
    let affinity = "CREATE TABLE src (id integer PRIMARY KEY, n); INSERT INTO src VALUES (1, 2.5);
         CREATE TABLE dst (id integer PRIMARY KEY, n text)";
    let worlds = [
        (
            Store::Postgres,
            format!("{TABLES}; DELETE FROM dst; {upper}"),
        ),
        (Store::Sqlite, affinity.to_owned()),
    ];
    for (store, sql) in worlds {
        let deployment = on(store, &sql);
        planned(&deployment, &[Step::Copy("dst")]);
        deployment
            .run(MIGRATE)
            .expect(4)
            .says(&["nobody else wrote them", "--strategy restore"]);
        let restore = [
            "--rollback",
            "--to",
            "1.5.0",
            "--yes",
            "--strategy",
            "restore",
        ];
        deployment.run(&restore).expect(0);
        let left = deployment.sql("SELECT count(*) FROM dst");
        assert_eq!(left.trim(), "0", "{store:?}");
    }
}

/// What triggers of the target wrote during the copy is the run's own.
fn what_the_targets_triggers_wrote_comes_back(store: Store) {
    let body = "DELETE FROM todo WHERE id = new.id; UPDATE cnt SET a = a + 1;";
    let trigger = match store {
        Store::Postgres => format!(
            "CREATE FUNCTION took() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN new; END $$;
             CREATE TRIGGER took AFTER INSERT ON dst FOR EACH ROW EXECUTE FUNCTION took()"
        ),
        Store::Sqlite => format!("CREATE TRIGGER took AFTER INSERT ON dst BEGIN {body} END"),
    };
    let deployment = on(
        store,
        &format!(
            "{TABLES}; CREATE TABLE todo (id integer PRIMARY KEY); INSERT INTO todo VALUES (1), (2), (3);
             CREATE TABLE cnt (a integer); INSERT INTO cnt VALUES (0); {trigger}"
        ),
    );
    planned(
        &deployment,
        &[Step::Schema(CHANGE), Step::Copy("dst"), Step::Fail],
    );
    fails_and_comes_back(&deployment, "what triggers wrote");
}

/// What others write meanwhile to the table that is copied into, or to a config file that the plan
/// changed, is not taken by the restore of a run that fails.
fn what_others_write_to_the_runs_own_is_not_taken(store: Store) {
    let deployment = on(store, TABLES);
    planned(&deployment, &[Step::Copy("dst"), Step::Schema(CHANGE)]);
    let before = deployment.snapshot().of_the_user();
    let write = match store {
        Store::Sqlite => "sqlite3 -bail data/etlrs.db",
        Store::Postgres => "psql -qX -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -c",
    };
    let others = format!(
        "{write} \"INSERT INTO dst VALUES (7, 'theirs')\" && echo '# theirs' >> config/config.toml && false"
    );
    let file = "migrations/plans/1.5.0_2.0.0.json";
    let mut plan: serde_json::Value = serde_json::from_str(&deployment.read(file)).unwrap();
    let steps = plan["steps"].as_array_mut().unwrap();
    steps.insert(
        0,
        json!({"id": "config", "step_type": "ConfigUpdate", "config_changes": {"custom.a": 1},
        "timeout": "30s", "can_rollback": true}),
    );
    steps.push(
        json!({"id": "others", "step_type": "Command", "command": ["sh", "-c", others],
        "undo": ["true"], "timeout": "30s", "can_rollback": true}),
    );
    deployment.write(file, &plan.to_string());
    let run = deployment.run(MIGRATE);
    run.expect(4)
        .says(&["table dst", "file config/config.toml", "--accept-data-loss"]);
    let theirs = "SELECT n FROM dst WHERE id = 7";
    assert_eq!(deployment.sql(theirs).trim(), "theirs");
    assert!(deployment.read("config/config.toml").contains("# theirs"));
    let restore = [
        "--rollback",
        "--to",
        "1.5.0",
        "--yes",
        "--allow-commands",
        "--strategy",
        "restore",
    ];
    deployment
        .run(&restore)
        .expect(7)
        .says(&["table dst", "file config/config.toml"]);
    deployment
        .run(&[&restore[..], &["--accept-data-loss"]].concat())
        .expect(0);
    let mut now = deployment.snapshot().of_the_user();
    let mut expected = before;
    // The plan itself was changed by this test.
    now.files.remove(file);
    expected.files.remove(file);
    expected.must_equal(&now, "with consent");
}

on_both!(
    what_others_write_to_the_runs_own_is_not_taken,
    rows_that_a_later_step_changed_come_back,
    what_the_targets_triggers_wrote_comes_back,
);
