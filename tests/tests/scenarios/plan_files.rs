//! A plan file is the contract: it is applied as it is, or refused by name.

use std::path::PathBuf;

use migrate_tests::deployment::{Deployment, Store};
use serde_json::{Value, json};

use crate::{on_both, shipped};

/// Makes a plan file outside of the deployment's own files.
fn planned(deployment: &Deployment) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("upgrade.plan.json");
    let path = file.to_str().unwrap();
    deployment
        .run(&["plan", "--from", "1.5.0", "--to", "2.0.0", "-o", path])
        .expect(0)
        .says(&["apply"]);
    (dir, file)
}

fn read(file: &std::path::Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn it_holds_everything_and_writes_nothing_else(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.all_files();
    let (_dir, file) = planned(&deployment);
    assert!(
        before == deployment.all_files(),
        "planning wrote into the deployment"
    );
    let plan = read(&file);
    let contract = &plan["contract"];
    assert_eq!(contract["from"], "1.5.0");
    assert_eq!(
        contract["hops"][0]["steps"].as_array().unwrap().len(),
        shipped::steps()
    );
    let scripts = contract["hops"][0]["scripts"].as_object().unwrap();
    assert!(scripts.len() >= 2, "{scripts:?}");
    let text = plan.to_string();
    for word in [
        "ALTER TABLE",
        "batch_size",
        "pipelines_old",
        "schema_sha256",
        "tool_version",
    ] {
        assert!(text.contains(word), "no {word} in the plan file");
    }
    let rows = &plan["expected"]["tables"];
    let old = rows
        .as_object()
        .unwrap()
        .iter()
        .find(|(name, _)| name.contains("pipelines_old"));
    assert!(old.is_some(), "no size of pipelines_old: {rows}");
    let (_dir, again) = planned(&deployment);
    assert_eq!(
        plan["hash"],
        read(&again)["hash"],
        "the same plan has another hash"
    );
}

fn it_is_applied_without_a_question(store: Store) {
    let deployment = Deployment::v1().on(store);
    // A step that can't be undone would be asked about without a plan file.
    let mut plan = shipped::plan();
    plan["steps"][1]["can_rollback"] = json!(false);
    shipped::overlay(&deployment, &plan);
    deployment
        .run(&["--from", "1.5.0", "--to", "2.0.0"])
        .expect(7);
    let (_dir, file) = planned(&deployment);
    let path = file.to_str().unwrap();
    deployment.run(&["apply", path]).expect(0);
    deployment.must_be_v2();
    deployment
        .run(&["apply", path])
        .expect(0)
        .says(&["already at 2.0.0"]);
    deployment.rollback("auto").expect(0);
    deployment.run(&["apply", path]).expect(0);
    deployment.must_be_v2();
}

fn what_drifted_is_named_and_nothing_is_changed(store: Store) {
    let deployment = Deployment::v1().on(store);
    shipped::overlay(&deployment, &shipped::plan());
    let script = match store {
        Store::Sqlite => "migrations/transform_pipelines.sqlite.sql",
        Store::Postgres => "migrations/transform_pipelines.sql",
    };
    let source = format!("{}/../{script}", env!("CARGO_MANIFEST_DIR"));
    deployment.write(script, &std::fs::read_to_string(source).unwrap());
    let (_dir, file) = planned(&deployment);

    deployment.sql("ALTER TABLE pipelines ADD COLUMN surprise integer");
    deployment.edit(
        "config/config.toml",
        "batch_size = 1000",
        "batch_size = 999",
    );
    let plan = "migrations/plans/1.5.0_2.0.0.json";
    deployment.edit(plan, "43200", "43201");
    let text = deployment.read(script);
    deployment.write(script, &format!("-- changed\n{text}"));
    deployment.write("etlrs-migrate.toml", "[services.app]\nmanager = \"command\"\nstop = [\"true\"]\nstart = [\"true\"]\nstatus = [\"true\"]\n");

    let before = deployment.snapshot();
    let run = deployment.run(&["apply", file.to_str().unwrap(), "--format", "json"]);
    run.expect(8);
    let findings = run.json()["error"]["findings"].clone();
    let lines: Vec<String> = findings
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| format!("{} {}", finding["place"]["file"], finding["message"]))
        .collect();
    let names = |words: &[&str]| {
        assert!(
            lines
                .iter()
                .any(|line| words.iter().all(|word| line.contains(word))),
            "no line with {words:?}: {lines:#?}"
        );
    };
    names(&["pipelines", "column", "surprise is new"]);
    names(&["config/config.toml", "key batch_size changed"]);
    names(&["/steps/1/timeout", "43201"]);
    names(&["transform_pipelines", "changed"]);
    names(&["service app"]);
    before.must_equal(
        &deployment.snapshot(),
        "after a stale plan file was refused",
    );
}

/// One for any database, where the embedded script is for this one alone.
fn a_script_that_was_laid_over_an_embedded_one_is_named(store: Store) {
    let deployment = Deployment::v1().on(store);
    let (_dir, file) = planned(&deployment);
    let over = "migrations/transform_pipelines.sql";
    deployment.write(over, "SELECT * FROM batch");
    let said = match store {
        Store::Sqlite => [over, "transform_pipelines.sqlite.sql: is gone"],
        Store::Postgres => [over, "1:1: was"],
    };
    deployment
        .run(&["apply", file.to_str().unwrap()])
        .expect(8)
        .says(&said);
}

fn a_file_changed_by_hand_is_refused(store: Store) {
    let deployment = Deployment::v1().on(store);
    let (_dir, file) = planned(&deployment);
    let mut plan = read(&file);
    plan["contract"]["hops"][0]["plan"]["steps"][1]["can_rollback"] = json!(false);
    std::fs::write(&file, plan.to_string()).unwrap();
    deployment
        .run(&["apply", file.to_str().unwrap()])
        .expect(1)
        .says(&["changed after it was made"]);
}

on_both!(
    it_holds_everything_and_writes_nothing_else,
    it_is_applied_without_a_question,
    what_drifted_is_named_and_nothing_is_changed,
    a_script_that_was_laid_over_an_embedded_one_is_named,
    a_file_changed_by_hand_is_refused,
);
