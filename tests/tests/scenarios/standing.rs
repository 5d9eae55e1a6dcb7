//! Where a deployment stands, by `status`, `validate` and `history`: what the log says, held
//! against what is there.

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::files_differing;
use serde_json::Value;

use crate::on_both;

fn status(deployment: &Deployment) -> Value {
    deployment
        .run(&["status", "--format", "json"])
        .expect(0)
        .json()
}

fn problems(status: &Value) -> String {
    let all = status["problems"].as_array().unwrap();
    let all: Vec<&str> = all.iter().map(|one| one.as_str().unwrap()).collect();
    all.join("\n")
}

fn status_holds_the_log_against_what_is_there(store: Store) {
    let deployment = Deployment::v1().on(store);
    let fresh = status(&deployment);
    assert!(
        fresh["looks"].to_string().contains("keys of 1.x"),
        "{fresh}"
    );
    let old = deployment.read("config/config.toml");
    deployment.migrate().expect(0);
    let upgraded = status(&deployment);
    assert!(upgraded["looks"].to_string().contains("keys of 2.0"));
    assert_eq!(problems(&upgraded), "");

    // Somebody put the old config back by hand.
    let new = deployment.read("config/config.toml");
    deployment.write("config/config.toml", &old);
    let mixed = status(&deployment);
    assert_eq!(mixed["version"], "2.0.0");
    let told = problems(&mixed);
    assert!(told.contains("do not fit together"), "{told}");
    assert!(told.contains("keys of 1.x"), "{told}");
    deployment.write("config/config.toml", &new);

    // Somebody put the old database back by hand, too.
    deployment.rollback("reverse").expect(0);
    deployment.write("config/config.toml", &new);
    deployment.sql("CREATE TABLE schema_versions (version integer)");
    deployment.sql("INSERT INTO schema_versions VALUES (2)");
    let told = problems(&status(&deployment));
    assert!(told.contains("the last run left 1.5.0"), "{told}");
}

fn status_says_that_the_database_is_gone(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let nowhere = match store {
        Store::Sqlite => "sqlite:gone/nowhere.db",
        Store::Postgres => "postgres://nobody:planted-secret@127.0.0.1:9/nothing",
    };
    let status = || {
        let run = deployment.run(&["status", "--format", "json", "--database-url", nowhere]);
        run.expect(0).json()
    };
    let told = status();
    assert_eq!(told["version"], "2.0.0");
    assert!(told["go_back"].is_null(), "{told}");
    let problems = problems(&told);
    assert!(
        problems.contains("nowhere.db") || problems.contains("127.0.0.1"),
        "{problems}"
    );
    assert!(!problems.contains("planted-secret"), "{problems}");
    deployment.rollback("reverse").expect(0);
    let told = status();
    assert_eq!(told["version"], "1.5.0");
    assert_eq!(told["next"], "manual");
    let next = told["next_command"].as_str().unwrap();
    assert!(next.contains("health-check"), "{next}");
}

fn validating_too_early_says_so(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment
        .run(&["validate", "--to", "2.0.0"])
        .expect(8)
        .says(&["can't be asked", "the deployment is at 1.x"]);
    deployment.migrate().expect(0);
    let run = deployment.run(&["validate", "--to", "2.0.0"]);
    run.expect(0);
    let told = run.output();
    assert!(!told.contains("the deployment is at"), "{told}");
}

fn history_tells_how_a_run_was_taken_back(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let way = |deployment: &Deployment| {
        let all = deployment.run(&["history", "--format", "json"]).json();
        all["runs"].as_array().unwrap().last().unwrap()["way_back"].clone()
    };
    assert!(way(&deployment).is_null());
    deployment.rollback("reverse").expect(0);
    assert_eq!(way(&deployment)["strategy"], "reverse");
    assert_eq!(way(&deployment)["asked_for"], true);
    deployment
        .run(&["history"])
        .expect(0)
        .says(&["rolled-back by reverse, as asked"]);

    deployment.migrate().expect(0);
    let emergency = ["emergency-rollback", "--version", "1.5.0", "--yes"];
    deployment.run(&emergency).expect(0);
    assert_eq!(way(&deployment)["strategy"], "restore");
    deployment
        .run(&["history"])
        .expect(0)
        .says(&["rolled-back by restore, as asked"]);
}

/// A slip of the name must cost neither the database nor the config.
fn a_plan_file_replaces_nothing_but_a_plan_file(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.write("mine.db", "SQLite format 3");
    let before = deployment.all_files();
    let to = |file: &str| {
        let path = deployment.path(file).display().to_string();
        deployment.run(&["plan", "--from", "1.5.0", "--to", "2.0.0", "-o", &path])
    };
    for file in ["config/config.toml", "mine.db"] {
        to(file)
            .expect(1)
            .says(&["is no plan file", "nothing was changed"]);
    }
    assert_eq!(files_differing(&before, &deployment.all_files()), "");
    to("up.plan.json").expect(0);
    to("up.plan.json").expect(0);
}

/// Killed in the middle, its state directory lost: `resume` alone must not say that all is well.
fn resume_knows_of_a_run_that_only_the_database_has(store: Store) {
    let deployment = Deployment::v1().rows(3_000).on(store);
    let up = [
        "--from", "1.5.0", "--to", "2.0.0", "--yes", "--format", "json",
    ];
    let mut running = deployment.tool(&up).start();
    let seen =
        running.wait_for(|event| event["event"] == "step_started" && event["step"] == "data");
    assert!(seen.is_some(), "no step began");
    running.kill();
    let open = status(&deployment);
    assert!(open["version"].is_null(), "{open}");
    deployment
        .run(&["status"])
        .expect(0)
        .says(&["between 1.5.0 and 2.0.0"]);
    std::fs::remove_dir_all(deployment.path(".etlrs-migrate")).unwrap();
    deployment
        .run(&["resume"])
        .expect(6)
        .says(&["known to the database alone", "resume --adopt"]);
    deployment.run(&["resume", "--adopt"]).expect(0);
    std::fs::remove_dir_all(deployment.path(".etlrs-migrate")).unwrap();
    let lost = status(&deployment);
    let back = lost["go_back"].as_str().unwrap_or_default();
    assert!(back.contains("--adopt"), "{lost}");
    deployment
        .run(&["--rollback", "--to", "1.5.0", "--adopt"])
        .expect(0);
}

on_both!(
    a_plan_file_replaces_nothing_but_a_plan_file,
    resume_knows_of_a_run_that_only_the_database_has,
    status_holds_the_log_against_what_is_there,
    status_says_that_the_database_is_gone,
    validating_too_early_says_so,
    history_tells_how_a_run_was_taken_back,
);
