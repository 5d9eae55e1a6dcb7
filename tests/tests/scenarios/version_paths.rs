//! Chains of plans over seven versions: taken in order, checked as a whole, taken back hop by hop.

use std::path::{Path, PathBuf};

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::files_differing;
use serde_json::{Value, json};

use crate::on_both;

fn version_set() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("version-set")
}

/// Gives a deployment the set of versions as its own `migrations/`.
fn with_the_set(deployment: &Deployment) {
    let copy = |from: &Path, to: &str| {
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.file_name().unwrap().to_str().unwrap();
                let text = std::fs::read_to_string(&path).unwrap();
                deployment.write(&format!("{to}/{name}"), &text);
            }
        }
    };
    copy(&version_set(), "migrations");
    copy(&version_set().join("plans"), "migrations/plans");
}

fn upgrade(deployment: &Deployment, from: &str, to: &str) -> migrate_tests::binary::Run {
    deployment.run(&["--from", from, "--to", to, "--yes"])
}

fn back(deployment: &Deployment, to: &str) -> migrate_tests::binary::Run {
    deployment.run(&["--rollback", "--to", to, "--yes"])
}

fn next_command(deployment: &Deployment) -> Value {
    deployment.run(&["status", "--format", "json"]).json()["next_command"].clone()
}

fn edition(deployment: &Deployment) -> String {
    let config = deployment.read("config/config.toml");
    let line = config.lines().find(|line| line.starts_with("edition"));
    line.unwrap_or_default().to_owned()
}

/// Adds a step that fails to a plan of the deployment's own.
fn break_plan(deployment: &Deployment, name: &str) -> String {
    let file = format!("migrations/plans/{name}");
    let sound = deployment.read(&file);
    let mut plan: Value = serde_json::from_str(&sound).unwrap();
    plan["steps"]
        .as_array_mut()
        .unwrap()
        .push(crate::shipped::failing_validation());
    deployment.write(&file, &plan.to_string());
    sound
}

fn a_chain_takes_every_version_and_goes_back_to_any(store: Store) {
    let deployment = Deployment::v1().on(store);
    with_the_set(&deployment);
    let at_start = deployment.snapshot();
    let run = upgrade(&deployment, "1.5.0", "3.1.0");
    run.expect(0)
        .says(&["1.5.0 -> 2.0.0 -> 2.1.0 -> 3.0.0 -> 3.1.0"]);
    assert_eq!(edition(&deployment), "edition = \"3.1\"");
    let owned = deployment.sql("SELECT count(*) FROM pipeline_owners");
    assert_eq!(owned, deployment.sql("SELECT count(*) FROM pipelines"));
    assert!(!run.output().contains("shortcut"), "{run}");

    let history = deployment.run(&["history", "--format", "json"]).json();
    let hops: Vec<_> = history["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            format!(
                "{} {}",
                run["to"].as_str().unwrap(),
                run["phase"].as_str().unwrap()
            )
        })
        .collect();
    let all = ["2.0.0", "2.1.0", "3.0.0", "3.1.0"];
    assert_eq!(hops, all.map(|version| format!("{version} completed")));
    let points = deployment
        .all_files()
        .into_keys()
        .filter(|name| name.starts_with("backups/etlrs_backup_") && !name.contains(".json"))
        .count();
    assert!(points >= 4, "a rollback point a hop, found {points}");

    back(&deployment, "2.1.0")
        .expect(0)
        .says(&["3.1.0 -> 3.0.0 -> 2.1.0"]);
    assert_eq!(edition(&deployment), "edition = \"2.1\"");
    assert_eq!(deployment.sql("SELECT count(*) FROM audit"), "0");
    upgrade(&deployment, "2.1.0", "3.0.0").expect(0);
    back(&deployment, "1.5.0").expect(0);
    at_start.must_equal(&deployment.snapshot(), "after a chain and back");
}

fn a_plan_in_the_middle_that_fails_leaves_the_version_before_it(store: Store) {
    let deployment = Deployment::v1().on(store);
    with_the_set(&deployment);
    let at_start = deployment.snapshot();
    let sound = break_plan(&deployment, "2.1.0_3.0.0.json");
    upgrade(&deployment, "1.5.0", "3.1.0").expect(3).says(&[
        "never-content",
        "the deployment is at 2.1.0",
        "--rollback --to 1.5.0",
    ]);
    assert_eq!(edition(&deployment), "edition = \"2.1\"");
    assert_eq!(
        deployment.sql("SELECT max(version) FROM schema_versions"),
        "3"
    );
    let status = deployment.run(&["status", "--format", "json"]).json();
    assert_eq!(status["version"], "2.1.0");

    // Mended, the same command goes on from where the deployment is.
    deployment.write("migrations/plans/2.1.0_3.0.0.json", &sound);
    let again = upgrade(&deployment, "1.5.0", "3.1.0");
    again
        .expect(0)
        .says(&["the deployment is on it already: the plan from 2.1.0 is next"]);
    assert_eq!(edition(&deployment), "edition = \"3.1\"");
    back(&deployment, "1.5.0").expect(0);
    at_start.must_equal(&deployment.snapshot(), "after a failure, a chain and back");
}

fn the_whole_chain_is_checked_before_its_first_step(store: Store) {
    let deployment = Deployment::v1().on(store);
    with_the_set(&deployment);
    std::fs::remove_file(deployment.path("migrations/004_owners.sql")).unwrap();
    deployment.edit(
        "migrations/plans/3.0.0_3.1.0.json",
        "\"config_changes\"",
        "\"config_chnages\"",
    );
    let before = deployment.all_files();
    // Every finding of every plan that can be read is told at once.
    upgrade(&deployment, "1.5.0", "3.1.0").expect(1).says(&[
        "3.0.0_3.1.0.json",
        "config_chnages",
        "did you mean",
    ]);
    upgrade(&deployment, "1.5.0", "3.0.0")
        .expect(1)
        .says(&["004_owners.sql"]);
    assert_eq!(files_differing(&before, &deployment.all_files()), "");

    deployment.edit(
        "migrations/plans/3.0.0_3.1.0.json",
        "\"config_chnages\"",
        "\"config_changes\"",
    );
    with_the_set(&deployment);
    let plan = json!({
        "from_version": "3.1.0", "to_version": "3.2.0", "migration_type": "Patch",
        "steps": [{"id": "say", "step_type": "Command", "command": ["true"], "undo": ["true"]}],
    });
    crate::shipped::overlay(&deployment, &plan);
    let before = deployment.all_files();
    upgrade(&deployment, "1.5.0", "3.2.0")
        .expect(7)
        .says(&["--allow-commands"]);
    assert_eq!(files_differing(&before, &deployment.all_files()), "");
}

fn a_range_takes_each_of_its_versions(store: Store) {
    let deployment = Deployment::v1().on(store);
    with_the_set(&deployment);
    let before = deployment.snapshot();
    upgrade(&deployment, "1.5.3", "1.5.9").expect(0);
    assert_eq!(edition(&deployment), "edition = \"1.5.9\"");
    let status = deployment.run(&["status", "--format", "json"]).json();
    assert_eq!(
        (&status["run"]["from"], &status["version"]),
        (&json!("1.5.3"), &json!("1.5.9"))
    );
    back(&deployment, "1.5.3").expect(0);
    before.must_equal(&deployment.snapshot(), "after a range and back");
    upgrade(&deployment, "1.6.0", "1.5.9").expect(1);
}

on_both!(
    a_chain_takes_every_version_and_goes_back_to_any,
    a_plan_in_the_middle_that_fails_leaves_the_version_before_it,
    the_whole_chain_is_checked_before_its_first_step,
    a_range_takes_each_of_its_versions,
);

#[test]
fn paths_prints_the_graph_and_a_way() {
    let deployment = Deployment::v1().sqlite();
    let set = version_set();
    let set = set.to_str().unwrap();
    let all = deployment.run(&["paths", "--migrations", set, "--format", "json"]);
    let all = all.expect(0).json();
    let plan = |from: &str, to: &str| {
        let plans = all["plans"].as_array().unwrap();
        let found = plans
            .iter()
            .find(|one| one["from"] == from && one["to"] == to);
        found
            .unwrap_or_else(|| panic!("{from} -> {to} in {all}"))
            .clone()
    };
    assert_eq!(plan("2.1.0", "3.1.0")["withdrawn"], "it forgot the owners");
    assert_eq!(plan("2.0.0", "2.1.0")["mandatory_stop"], true);
    assert_eq!(plan("1.5.x", "1.5.9")["type"], "Patch");
    assert_eq!(all["mandatory_stops"], json!(["2.1.0"]));

    let way = [
        "paths",
        "--migrations",
        set,
        "--from",
        "1.4.0",
        "--to",
        "3.0.0",
    ];
    deployment.run(&way).expect(0).says(&[
        "the way: 1.4.0 -> 1.5.0 -> 2.0.0 -> 2.1.0 -> 3.0.0",
        "mandatory stop",
        "withdrawn: it forgot the owners",
    ]);
    // Without a database and without a plan of one's own it works too.
    std::fs::remove_file(deployment.path("data/etlrs.db")).unwrap();
    deployment
        .run(&["paths"])
        .expect(0)
        .says(&["1.5.0", "-> 2.0.0"]);
}

#[test]
fn no_way_says_what_there_is_and_what_bars_it() {
    let deployment = Deployment::v1().sqlite();
    with_the_set(&deployment);
    let before = deployment.all_files();
    upgrade(&deployment, "1.5.0", "3.0.5").expect(1).says(&[
        "no plan leads from 1.5.0 to 3.0.5",
        "2.1.0 -> 3.1.0 (withdrawn)",
        "nearest: --from 1.5.0 --to 3.0.0",
        "etlrs-migrate paths",
    ]);
    for gone in ["2.0.0_2.1.0.toml", "3.0.0_3.1.0.json"] {
        std::fs::remove_file(deployment.path(&format!("migrations/plans/{gone}"))).unwrap();
    }
    upgrade(&deployment, "2.1.0", "3.1.0")
        .expect(1)
        .says(&["the plan 2.1.0 -> 3.1.0 is withdrawn: it forgot the owners"]);
    with_the_set(&deployment);
    assert_eq!(files_differing(&before, &deployment.all_files()), "");
}

#[test]
fn a_run_of_a_plan_that_is_withdrawn_later_goes_back() {
    let deployment = Deployment::v1().sqlite();
    with_the_set(&deployment);
    upgrade(&deployment, "1.5.0", "2.1.0").expect(0);
    let before = deployment.snapshot();
    upgrade(&deployment, "2.1.0", "3.0.0").expect(0);
    let mut plan: Value =
        serde_json::from_str(&deployment.read("migrations/plans/2.1.0_3.0.0.json")).unwrap();
    plan["withdrawn"] = json!("it is too slow");
    deployment.write("migrations/plans/2.1.0_3.0.0.json", &plan.to_string());
    back(&deployment, "2.1.0").expect(0);
    upgrade(&deployment, "2.1.0", "3.0.0")
        .expect(1)
        .says(&["too slow"]);
    assert_eq!(
        next_command(&deployment),
        Value::Null,
        "only withdrawn plans lead on"
    );
    let now = deployment.snapshot();
    assert_eq!(before.of_the_user().database, now.of_the_user().database);
}

#[test]
fn status_names_what_is_left_of_a_chain() {
    let deployment = Deployment::v1().sqlite();
    with_the_set(&deployment);
    break_plan(&deployment, "3.0.0_3.1.0.json");
    upgrade(&deployment, "1.5.0", "3.1.0").expect(3);
    let command = next_command(&deployment);
    let command = command.as_str().unwrap();
    assert!(command.ends_with("--from 3.0.0 --to 3.1.0"), "{command}");
}
