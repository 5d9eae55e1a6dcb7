//! What is remembered of a run, and who holds the lock.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::Value;

use crate::on_both;

fn only_run(deployment: &Deployment) -> String {
    let all = deployment
        .run(&["history", "--format", "json"])
        .expect(0)
        .json();
    all["runs"][0]["run"].as_str().unwrap().to_owned()
}

fn a_run_is_told_in_full(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment
        .run(&[
            "--from",
            "1.5.0",
            "--to",
            "2.0.0",
            "--yes",
            "--skip-check",
            "disk",
        ])
        .expect(0);
    deployment
        .run(&[
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            "restore",
            "--accept-data-loss",
            "--yes",
        ])
        .expect(0);
    let run = only_run(&deployment);
    let told = deployment
        .run(&["history", "show", &run[..14], "--format", "json"])
        .expect(0)
        .json();
    assert_eq!(told["phase"], "rolled-back");
    assert_eq!(told["skipped_checks"][0], "disk");
    for consent in ["--yes", "--accept-data-loss"] {
        let given = told["consents"].as_array().unwrap();
        assert!(
            given.iter().any(|one| one == consent),
            "no {consent}: {given:?}"
        );
    }
    for name in [
        "user",
        "host",
        "pid",
        "tool_version",
        "plan_hash",
        "started_at",
        "database",
    ] {
        assert!(!told[name].is_null(), "no {name}: {told}");
    }
    let steps = told["steps"].as_array().unwrap();
    let began = |step: &Value| step["status"] == "skipped" || step["started_at"].is_string();
    assert!(steps.iter().all(began), "{steps:?}");
    assert!(told["records"].as_array().unwrap().len() > 10);
    deployment
        .run(&["history", "show", &run])
        .expect(0)
        .says(&["accept-data-loss", "rollback started"]);
    deployment
        .run(&["history", "show", "nothing"])
        .expect(1)
        .says(&["no run nothing"]);
}

fn the_lock_tells_alive_from_dead(store: Store) {
    let deployment = Deployment::v1().rows(2_000).on(store);
    let mut running = deployment
        .tool(&[
            "--from", "1.5.0", "--to", "2.0.0", "--yes", "--format", "json",
        ])
        .start();
    running
        .wait_for(|event| event["event"] == "step_progress" && event["step"] == "data")
        .expect("the data step moves rows");
    running.signal("STOP");
    let status = |deployment: &Deployment| -> Value {
        deployment
            .run(&["status", "--format", "json"])
            .expect(0)
            .json()
    };
    let seen = status(&deployment);
    assert_eq!(seen["lock"]["state"], "alive", "{seen}");
    assert_eq!(seen["lock"]["pid"], running.pid());
    for name in ["host", "boot", "heartbeat"] {
        assert!(seen["lock"][name].is_string(), "no {name}: {seen}");
    }
    let data = seen["run"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["id"] == "data");
    assert_eq!(data.unwrap()["certainty"], "in_doubt", "{seen}");
    running.signal("CONT");
    running.kill();
    let seen = status(&deployment);
    assert_eq!(seen["lock"]["state"], "dead", "{seen}");
    deployment
        .run(&["status"])
        .expect(0)
        .says(&["ended without letting go", "resume"]);
    deployment.run(&["resume", "--yes"]).expect(0);
    assert!(status(&deployment)["lock"].is_null());
}

on_both!(a_run_is_told_in_full, the_lock_tells_alive_from_dead);
