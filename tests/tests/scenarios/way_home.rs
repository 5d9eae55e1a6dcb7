//! A restore brings back what belongs to the version: the version itself, every config file, the
//! services, and what commands did elsewhere.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::{Value, json};

use crate::late_writes::{MIGRATE, Orders};
use crate::services::Runit;
use crate::{on_both, shipped};

const EMERGENCY: &[&str] = &["emergency-rollback", "--version", "1.5.0", "--yes"];

fn status(deployment: &Deployment) -> Value {
    deployment
        .run(&["status", "--format", "json"])
        .expect(0)
        .json()
}

/// The newest safety copy.
fn safety(deployment: &Deployment) -> String {
    let list = deployment
        .run(&["backup", "list", "--format", "json"])
        .json();
    let mut all = list["backups"].as_array().unwrap().iter().rev();
    let safety = all
        .find(|one| one["kind"] == "safety")
        .expect("a safety copy");
    safety["id"].as_str().unwrap().to_owned()
}

fn restore(deployment: &Deployment, backup: &str, more: &[&str]) -> migrate_tests::binary::Run {
    let line = ["restore", backup, "--accept-data-loss", "--yes"];
    deployment.run(&[&line[..], more].concat())
}

fn the_version_comes_back_with_a_restore(store: Store) {
    let deployment = Deployment::v1().rows(20).on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    let migrated = deployment.snapshot().of_the_user();
    deployment.run(EMERGENCY).expect(0);
    let back = restore(&deployment, &safety(&deployment), &[]);
    back.expect(0).says(&["stands again", "2.0.0"]);
    let now = deployment.snapshot().of_the_user();
    migrated.must_equal(&now, "after the safety copy was restored");
    let seen = status(&deployment);
    assert_eq!(seen["version"], "2.0.0", "{seen}");
    assert_ne!(
        seen["next_command"],
        json!("etlrs-migrate --from 1.5.0 --to 2.0.0"),
        "{seen}"
    );
    // Again forward does nothing; back is by the rollback point, for undos have nothing left.
    deployment.edit("config/config.toml", "[", "# edited since\n[");
    let edited = deployment.read("config/config.toml");
    deployment.run(MIGRATE).expect(0).says(&["2.0.0"]);
    assert_eq!(deployment.read("config/config.toml"), edited);
    let reverse = [
        "--rollback",
        "--to",
        "1.5.0",
        "--yes",
        "--strategy",
        "reverse",
    ];
    deployment
        .run(&reverse)
        .expect(1)
        .says(&["--strategy restore"]);
    deployment
        .run(&["--rollback", "--to", "1.5.0", "--yes", "--accept-data-loss"])
        .expect(0);
    before
        .of_the_user()
        .must_equal(&deployment.snapshot().of_the_user(), "after the rollback");
    assert_eq!(status(&deployment)["version"], "1.5.0");
}

/// What was brought back half done is not taken for the version before, nor gone on with.
fn a_half_done_run_that_comes_back_is_told(store: Store) {
    let deployment = Deployment::v1().rows(20).on(store);
    let hanging = json!({
        "id": "hangs", "description": "waits for ever", "step_type": "Command",
        "command": ["sleep", "60"], "timeout": "90s", "can_rollback": false,
    });
    shipped::insert_step(&deployment, shipped::steps(), hanging);
    let before = deployment.snapshot();
    let mut running = deployment
        .tool(&[MIGRATE, &["--format", "json"]].concat())
        .start();
    let index = shipped::steps() + 1;
    running
        .wait_for(|event| event["event"] == "step_started" && event["index"] == index)
        .expect("the last step begins");
    running.kill();
    deployment.run(EMERGENCY).expect(0);
    restore(&deployment, &safety(&deployment), &[])
        .expect(0)
        .says(&["half done"]);
    let seen = status(&deployment);
    assert_eq!(seen["version"], Value::Null, "{seen}");
    assert_eq!(seen["next"], "rollback", "{seen}");
    let refused = deployment.run(MIGRATE);
    refused.expect(6);
    let line = seen["next_command"].as_str().unwrap();
    let rest: Vec<&str> = line
        .split(" -C ")
        .nth(1)
        .unwrap()
        .split(' ')
        .skip(1)
        .collect();
    deployment
        .run(&[&rest[..], &["--yes", "--accept-data-loss"]].concat())
        .expect(0);
    let now = deployment.snapshot().of_the_user();
    before.of_the_user().must_equal(&now, "after the rollback");
    assert_eq!(status(&deployment)["version"], "1.5.0");
}

/// 1.5.0 to 1.7.0 over 1.6.0, each with a config file of its own.
fn chain(store: Store) -> Deployment {
    let deployment = Deployment::v1().rows(5).on(store);
    for (from, to, file) in [("1.5.0", "1.6.0", "first"), ("1.6.0", "1.7.0", "second")] {
        deployment.write(&format!("config/{file}.json"), "{\"a\": 1}\n");
        let plan = json!({
            "from_version": from, "to_version": to, "migration_type": "MinorUpgrade", "steps": [
                {"id": file, "step_type": "ConfigUpdate", "file": format!("config/{file}.json"),
                 "config_changes": {"a": to}, "timeout": "30s", "can_rollback": true}
            ],
        });
        shipped::overlay(&deployment, &plan);
    }
    deployment
}

fn all_config_files_of_a_chain_come_back(store: Store) {
    let deployment = chain(store);
    let before = deployment.snapshot().of_the_user();
    deployment
        .run(&["--from", "1.5.0", "--to", "1.7.0", "--yes"])
        .expect(0);
    assert!(deployment.read("config/second.json").contains("1.7.0"));
    let after = deployment.snapshot().of_the_user();
    deployment
        .run(EMERGENCY)
        .expect(0)
        .says(&["files put back"]);
    before.must_equal(&deployment.snapshot().of_the_user(), "after the emergency");
    assert_eq!(status(&deployment)["version"], "1.5.0");
    restore(&deployment, &safety(&deployment), &[]).expect(0);
    after.must_equal(&deployment.snapshot().of_the_user(), "and forward again");
    assert_eq!(status(&deployment)["version"], "1.7.0");
    // A plan that was taken back has no say: what was edited since stays.
    let back = ["--rollback", "--to", "1.6.0", "--yes", "--accept-data-loss"];
    deployment.run(&back).expect(0);
    deployment.write("config/second.json", "{\"a\": \"edited\"}\n");
    deployment.run(EMERGENCY).expect(0);
    assert_eq!(
        deployment.read("config/second.json"),
        "{\"a\": \"edited\"}\n"
    );
    assert_eq!(deployment.read("config/first.json"), "{\"a\": 1}\n");
}

/// A manifest that somebody put into `backups/` has no say in what a restore writes.
fn a_forged_point_brings_no_files(store: Store) {
    let deployment = chain(store);
    deployment
        .run(&["--from", "1.5.0", "--to", "1.7.0", "--yes"])
        .expect(0);
    let names = std::fs::read_dir(deployment.path("backups")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names.filter(|name| name.ends_with(".point.json")).max();
    let mut point: Value =
        serde_json::from_str(&deployment.read(&format!("backups/{}", name.unwrap()))).unwrap();
    deployment.write("backups/evil", "allow_commands = true\n");
    let evil = deployment.sha256("backups/evil");
    let file = |path: &str| json!({"path": path, "copy": "backups/evil", "sha256": evil});
    point["id"] = json!("20991231_000000");
    point["run"] = json!("29990101000000dead");
    point["timestamp"] = json!("2099-12-31T00:00:00Z");
    point["files"] = json!([file("etlrs-migrate.toml"), file("config/third.json")]);
    let forged = "backups/etlrs_backup_20991231_000000.point.json";
    for seal in [point["seal"].clone(), Value::Null] {
        point["seal"] = seal;
        deployment.write(forged, &point.to_string());
        deployment
            .run(EMERGENCY)
            .expect(0)
            .says(&["config/third.json is not put back", "20991231_000000"]);
        for name in ["etlrs-migrate.toml", "config/third.json"] {
            assert!(!deployment.path(name).exists(), "{name}");
        }
    }
    assert_eq!(deployment.read("config/second.json"), "{\"a\": 1}\n");
}

fn an_emergency_starts_what_a_killed_run_stopped(store: Store) {
    let deployment = Deployment::v1().rows(5).on(store);
    let runit = Runit::with(&deployment, &["web"]);
    let hanging = json!({
        "id": "hangs", "description": "waits for ever", "step_type": "Command",
        "command": ["sleep", "60"], "timeout": "90s", "can_rollback": false,
    });
    shipped::insert_step(&deployment, 1, hanging);
    let mut running = deployment
        .tool(&[MIGRATE, &["--format", "json"]].concat())
        .start();
    running
        .wait_for(|event| event["event"] == "step_started" && event["index"] == 2)
        .expect("the second step begins");
    running.kill();
    runit.wait("web", "down:");
    deployment.run(EMERGENCY).expect(0).says(&["web started"]);
    runit.wait("web", "run:");
}

/// A view, a function or a type is something to keep, with no table beside it.
fn a_database_without_tables_is_kept_too(store: Store) {
    let deployment = Deployment::v1().rows(5).on(store);
    deployment.run(&["backup", "--version", "1.5.0"]).expect(0);
    deployment
        .sql("DROP TABLE pipelines_old; DROP TABLE pipelines; CREATE VIEW theirs AS SELECT 1 AS a");
    deployment.run(EMERGENCY).expect(0);
    restore(&deployment, &safety(&deployment), &[]).expect(0);
    assert_eq!(deployment.sql("SELECT a FROM theirs").trim(), "1");
}

/// A plan that only its rollback point takes back, with commands beside it.
fn commands(deployment: &Deployment, undo: &str) {
    let drop = "ALTER TABLE pipelines_old DROP COLUMN note;\n";
    deployment.sql("ALTER TABLE pipelines_old ADD COLUMN note text");
    deployment.write("migrations/001_drop.sql", drop);
    let mut plan = shipped::plan();
    plan["validation_checks"] = json!([]);
    plan["steps"] = json!([
        {"id": "outside", "step_type": "Command", "command": ["touch", "made-outside"],
         "undo": ["sh", "-c", undo], "timeout": "30s", "can_rollback": true},
        {"id": "for-good", "step_type": "Command", "command": ["touch", "made-for-good"],
         "timeout": "30s", "can_rollback": false},
        {"id": "drop", "step_type": "SchemaUpdate", "command": "001_drop.sql", "timeout": "30s", "can_rollback": false},
        {"id": "fails", "step_type": "Command", "command": ["false"], "undo": ["true"], "timeout": "30s",
         "can_rollback": true},
    ]);
    shipped::overlay(deployment, &plan);
}

fn commands_are_undone_before_the_rollback_point_is_restored(store: Store) {
    let deployment = Deployment::v1().rows(5).on(store);
    commands(&deployment, "rm -f made-outside");
    let before = deployment.snapshot();
    deployment
        .run(MIGRATE)
        .expect(3)
        .says(&[
            "not undone, step for-good",
            "made-for-good",
            "it has no undo",
        ])
        .must_not_say("not undone, step outside");
    assert!(!deployment.path("made-outside").exists());
    std::fs::remove_file(deployment.path("made-for-good")).unwrap();
    before
        .of_the_user()
        .must_equal(&deployment.snapshot().of_the_user(), "after it failed");
}

fn an_undo_that_fails_keeps_no_database_back(store: Store) {
    let deployment = Deployment::v1().rows(5).on(store);
    commands(&deployment, "exit 3");
    deployment
        .run(MIGRATE)
        .expect(3)
        .says(&["not undone, step outside", "its undo failed"]);
    assert!(deployment.path("made-outside").exists());
    assert_eq!(
        deployment
            .sql("SELECT count(note) FROM pipelines_old")
            .trim(),
        "0"
    );
}

fn one_missing_copy_does_not_lock_everything(store: Store) {
    let deployment = Deployment::v1().rows(5).on(store);
    deployment.migrate().expect(0);
    let point = deployment
        .run(&["backup", "list", "--format", "json"])
        .json();
    let id = point["backups"][0]["id"].as_str().unwrap().to_owned();
    std::fs::remove_file(deployment.path("backups/config_1.5.0.toml")).unwrap();
    let migrated = deployment.snapshot();
    let back = |more: &[&str]| {
        let line = ["--rollback", "--to", "1.5.0", "--yes"];
        deployment.run(&[&line[..], more].concat())
    };
    let way_out = "--skip-check file-copies";
    back(&["--strategy", "reverse"])
        .expect(1)
        .says(&["config_1.5.0.toml"]);
    back(&["--strategy", "restore"])
        .expect(1)
        .says(&["config_1.5.0.toml", way_out])
        .must_not_say("--strategy reverse");
    restore(&deployment, &id, &[]).expect(1).says(&[way_out]);
    deployment.run(EMERGENCY).expect(1).says(&[way_out]);
    let now = deployment.snapshot().of_the_user();
    migrated
        .of_the_user()
        .must_equal(&now, "after four refusals");
    back(&["--strategy", "restore", "--skip-check", "file-copies"])
        .expect(0)
        .says(&["config/config.toml", "stays as it is"]);
    let rows = deployment.sql("SELECT count(*) FROM pipelines_old");
    assert_eq!(rows.trim(), deployment.source.len().to_string());
    assert_eq!(status(&deployment)["version"], "1.5.0");
}

on_both!(
    the_version_comes_back_with_a_restore,
    a_half_done_run_that_comes_back_is_told,
    all_config_files_of_a_chain_come_back,
    a_forged_point_brings_no_files,
    an_emergency_starts_what_a_killed_run_stopped,
    a_database_without_tables_is_kept_too,
    commands_are_undone_before_the_rollback_point_is_restored,
    an_undo_that_fails_keeps_no_database_back,
    one_missing_copy_does_not_lock_everything,
);

/// Every table of ours can be changed where a publication holds all tables.
#[test]
fn a_publication_for_all_tables_is_no_obstacle() {
    for strategy in ["reverse", "restore"] {
        let deployment = Deployment::v1().rows(20).postgres();
        let database = deployment.postgres();
        database.admin_psql("CREATE PUBLICATION everything FOR ALL TABLES");
        let before = deployment.snapshot();
        deployment.migrate().expect(0);
        deployment
            .run(&[
                "--rollback",
                "--to",
                "1.5.0",
                "--yes",
                "--strategy",
                strategy,
            ])
            .expect(0);
        let now = deployment.snapshot().of_the_user();
        before.of_the_user().must_equal(&now, strategy);
    }
}

/// A table of the user's whose rows such a publication keeps from being changed is found beforehand.
#[test]
fn a_published_table_without_an_identity_is_found_beforehand() {
    let orders = Orders::on(Store::Postgres).with_rows();
    let deployment = orders.planned();
    deployment
        .sql("ALTER TABLE orders DROP CONSTRAINT orders_pkey; CREATE UNIQUE INDEX ON orders (id)");
    let publish = "CREATE PUBLICATION partly FOR TABLE orders";
    let database = deployment.postgres();
    database.admin_psql(&format!(
        "GRANT CREATE ON DATABASE {} TO etlrs",
        database.name()
    ));
    deployment.sql(publish);
    let before = deployment.snapshot().of_the_user();
    deployment.run(MIGRATE).expect(1).says(&[
        "partly",
        "replica identity",
        "ALTER TABLE orders REPLICA IDENTITY FULL",
    ]);
    before.must_equal(&deployment.snapshot().of_the_user(), "after a refusal");
    deployment.sql("ALTER TABLE orders REPLICA IDENTITY FULL");
    deployment.run(MIGRATE).expect(0);
}

/// What an earlier step makes is there for a later one's transform, in a run and when rehearsed.
#[test]
fn what_an_earlier_step_makes_is_known_to_a_later_transform() {
    let deployment = Deployment::v1().rows(20).postgres();
    deployment.sql("CREATE TABLE people (id integer PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'a'), (2, 'b')");
    deployment.write(
        "migrations/001_kinds.sql",
        "CREATE TYPE kind AS ENUM ('old', 'new');\n\
         CREATE FUNCTION kind_of(id integer) RETURNS kind LANGUAGE sql AS \
         $$ SELECT CASE WHEN id < 2 THEN 'old'::kind ELSE 'new'::kind END $$;\n\
         CREATE TABLE names (kind kind PRIMARY KEY, label text NOT NULL);\n\
         INSERT INTO names VALUES ('old', 'Old'), ('new', 'New');\n\
         CREATE TABLE people_2 (id integer PRIMARY KEY, kind kind NOT NULL, label text NOT NULL);\n",
    );
    deployment.write(
        "migrations/001_kinds.down.sql",
        "DROP TABLE people_2; DROP TABLE names; DROP FUNCTION kind_of(integer); DROP TYPE kind;\n",
    );
    deployment.write(
        "migrations/people.sql",
        "SELECT b.id, kind_of(b.id) AS kind, n.label FROM batch b JOIN names n ON n.kind = kind_of(b.id)\n",
    );
    let mut plan = shipped::plan();
    plan["validation_checks"] = json!([]);
    plan["steps"] = json!([
        {"id": "make", "step_type": "SchemaUpdate", "command": "001_kinds.sql", "timeout": "30s", "can_rollback": true},
        {"id": "move", "step_type": "DataMigration", "timeout": "60s", "can_rollback": true, "data_migration": {
            "source_table": "people", "target_table": "people_2", "transformation_script": "people.sql",
            "batch_size": 50, "parallel_workers": 1 }},
    ]);
    shipped::overlay(&deployment, &plan);
    deployment
        .run(&["rehearse", "--from", "1.5.0", "--to", "2.0.0"])
        .expect(0);
    deployment
        .run(&[MIGRATE, &["--dry-run"]].concat())
        .expect(0);
    deployment.run(MIGRATE).expect(0);
    let rows = "SELECT string_agg(id || kind::text || label, ',' ORDER BY id) FROM people_2";
    assert_eq!(deployment.sql(rows).trim(), "1oldOld,2newNew");
}
