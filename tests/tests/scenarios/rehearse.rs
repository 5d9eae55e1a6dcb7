//! A rollback is proven on a copy before it is needed.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::{Value, json};

use crate::{on_both, shipped};

const REHEARSE: &[&str] = &["rehearse", "--from", "1.5.0", "--to", "2.0.0"];

/// What a rehearsal may leave: its certificate, in the state directory.
fn must_be_untouched(deployment: &Deployment, before: &migrate_tests::snapshot::Snapshot) {
    before.must_equal(&deployment.snapshot(), "after a rehearsal");
    let left: Vec<String> = std::fs::read_dir(deployment.path(".etlrs-migrate"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("rehearsal-"))
        .collect();
    assert!(left.is_empty(), "a copy was left: {left:?}");
    if deployment.store() == Store::Postgres {
        let scratch = "SELECT count(*) FROM pg_database WHERE datname LIKE 'etlrs_scratch_%' \
                       AND datallowconn";
        // Other tests of this process may have one of their own for a moment.
        let gone = (0..600).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            deployment.sql(scratch) == "0"
        });
        assert!(gone, "a scratch database was left");
    }
}

fn certificate_of(deployment: &Deployment, more: &[&str]) -> Value {
    let mut arguments = REHEARSE.to_vec();
    arguments.extend(["--format", "json"]);
    arguments.extend(more);
    let lines = deployment.run(&arguments).expect(0).json_lines();
    lines.last().unwrap()["certificate"].clone()
}

fn it_proves_the_way_back_and_touches_nothing(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    let one = certificate_of(&deployment, &["--full"]);
    assert_eq!(one["proven"], true, "{one}");
    assert_eq!(one["differences"], json!([]));
    assert!(one["restore"]["duration_ms"].is_u64());
    let steps = one["steps"].as_array().unwrap();
    let data = steps.iter().find(|step| step["step"] == "data").unwrap();
    assert_eq!(data["rows"], deployment.source.len(), "{data}");
    if store == Store::Postgres {
        assert!(one["forward"]["wal_bytes"].as_u64().unwrap() > 0);
        assert!(data["wal_bytes"].as_u64().unwrap() > 0, "{data}");
    }
    assert!(data["space_bytes"].is_u64(), "{data}");
    must_be_untouched(&deployment, &before);
}

/// What was rehearsed is what the real run is expected to take, and the report shows both.
fn a_real_run_is_measured_against_it(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.run(REHEARSE).expect(0);
    let preview = deployment.run(&["--from", "1.5.0", "--to", "2.0.0", "--dry-run"]);
    preview.expect(0).says(&["estimate", "as rehearsed"]);
    let run = deployment.migrate();
    run.expect(0).says(&["as rehearsed", "predicted"]);
    deployment.must_be_v2();

    // Another script is another plan, of which the rehearsal says nothing.
    let other = Deployment::v1().on(store);
    other.run(REHEARSE).expect(0);
    let mut plan = shipped::plan();
    plan["steps"][1]["data_migration"]["batch_size"] = json!(77);
    shipped::overlay(&other, &plan);
    let run = other.migrate();
    assert!(!run.expect(0).output().contains("as rehearsed"), "{run}");
}

/// The next rehearsal removes what a killed one left, by its mark, and nothing else.
fn a_killed_one_is_cleaned_up_by_the_next(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.write(
        ".etlrs-migrate/rehearsal-1/own.txt",
        "a directory of somebody else's",
    );
    let mut arguments = REHEARSE.to_vec();
    arguments.extend(["--format", "json"]);
    let mut running = deployment.tool(&arguments).start();
    let seen = running.wait_for(|event| event["event"] == "step_started");
    assert!(seen.is_some());
    running.kill();
    let copies = || {
        std::fs::read_dir(deployment.path(".etlrs-migrate"))
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_str().unwrap().starts_with("rehearsal-")
            })
            .count()
    };
    assert_eq!(copies(), 2, "the killed one's copy, and what is not ours");
    deployment.run(REHEARSE).expect(0);
    assert_eq!(copies(), 1, "what is not ours");
    std::fs::remove_dir_all(deployment.path(".etlrs-migrate/rehearsal-1")).unwrap();
    must_be_untouched(&deployment, &before);
}

/// A down script that forgets a table is shown as what it is, before anybody depends on it.
fn a_way_back_that_does_not_come_back_is_shown(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.write(
        "migrations/003_more.sql",
        "CREATE TABLE forgotten (a integer);\n",
    );
    let down = "CREATE TABLE left_behind (a integer);\nDROP TABLE forgotten;\n";
    deployment.write("migrations/003_more.down.sql", down);
    let plan = json!({"from_version": "1.5.0", "to_version": "1.6.0", "migration_type": "MinorUpgrade",
        "steps": [{"id": "more", "step_type": "SchemaUpdate", "command": "003_more.sql"}],
        "estimated_duration": "1s", "downtime_required": false});
    shipped::overlay(&deployment, &plan);
    let before = deployment.snapshot();
    deployment
        .run(&["rehearse", "--from", "1.5.0", "--to", "1.6.0", "--full"])
        .expect(8)
        .says(&[
            "left_behind",
            "everything is as before: mend the undo, or go back with --strategy restore",
        ]);
    let run = deployment.run(&["rehearse", "--from", "1.5.0", "--to", "1.6.0"]);
    run.expect(8)
        .says(&[
            "left_behind",
            "so would the way back",
            "the deployment is untouched",
        ])
        .says(&["was made by the undo\n", "+ CREATE TABLE"]);
    must_be_untouched(&deployment, &before);
}

/// What no undo looks at, because it is in no step's scope, is found by comparing the catalogs.
fn what_a_command_leaves_is_shown_as_a_diff(store: Store) {
    let deployment = Deployment::v1().on(store);
    let sql = "CREATE TABLE by_command (a integer NOT NULL)";
    let client = match store {
        Store::Sqlite => format!("sqlite3 \"${{DATABASE_URL#sqlite:}}\" '{sql}'"),
        Store::Postgres => format!("psql -q -v ON_ERROR_STOP=1 \"$DATABASE_URL\" -c '{sql}'"),
    };
    let step = json!({
        "id": "by-hand", "step_type": "Command", "command": client, "undo": "true",
        "timeout": "30s", "can_rollback": true,
    });
    shipped::insert_step(&deployment, 0, step);
    let before = deployment.snapshot();
    deployment
        .run(REHEARSE)
        .expect(7)
        .says(&["--allow-commands"]);
    let run = deployment.run(&[REHEARSE, &["--allow-commands"]].concat());
    run.expect(8).says(&[
        "NOT proven",
        "by_command is new\n",
        "+ CREATE TABLE",
        "NOT NULL",
    ]);
    must_be_untouched(&deployment, &before);
}

fn steps_without_undo_come_out_as_such(store: Store) {
    let deployment = Deployment::v1().on(store);
    let mut plan = shipped::plan();
    plan["steps"][1]["can_rollback"] = json!(false);
    shipped::overlay(&deployment, &plan);
    let one = certificate_of(&deployment, &[]);
    assert_eq!(one["proven"], true);
    assert_eq!(one["irreversible"][0]["step"], "data");
    assert!(
        one["irreversible"][0]["scope"]
            .to_string()
            .contains("pipelines"),
        "{one}"
    );
}

fn production_wants_a_fresh_one_made_elsewhere(store: Store) {
    let deployment = Deployment::v1().on(store);
    let url = deployment.url();
    let settings = format!("[env.prod]\ndatabase_url = \"{url}\"\nrequire_rehearsal = \"7d\"\n");
    deployment.write("etlrs-migrate.toml", &settings);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("prod.plan.json");
    let file = file.to_str().unwrap();
    let prod = |arguments: &[&str]| {
        let mut all = vec!["--env", "prod"];
        all.extend(arguments);
        deployment.run(&all)
    };
    prod(&["plan", "--from", "1.5.0", "--to", "2.0.0", "-o", file]).expect(0);
    prod(&["apply", file]).expect(7).says(&["rehearse"]);
    prod(REHEARSE).expect(2).says(&["--into"]);
    let mut arguments = REHEARSE.to_vec();
    let into = match store {
        Store::Sqlite => elsewhere.path().to_str().unwrap().to_owned(),
        Store::Postgres => url,
    };
    arguments.extend(["--into", &into]);
    prod(&arguments).expect(0);
    prod(&["apply", file]).expect(0).says(&["rehearsed in"]);
    deployment.must_be_v2();
}

on_both!(
    it_proves_the_way_back_and_touches_nothing,
    a_real_run_is_measured_against_it,
    a_killed_one_is_cleaned_up_by_the_next,
    a_way_back_that_does_not_come_back_is_shown,
    what_a_command_leaves_is_shown_as_a_diff,
    steps_without_undo_come_out_as_such,
    production_wants_a_fresh_one_made_elsewhere,
);
