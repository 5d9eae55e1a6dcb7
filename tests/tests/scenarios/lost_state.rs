//! The state directory is gone: the database still knows, and says what to do.

use migrate_tests::deployment::{Deployment, Store};

use crate::on_both;

const MIGRATE: &[&str] = &[
    "--from", "1.5.0", "--to", "2.0.0", "--yes", "--format", "json",
];

/// A run that was killed in its data step, and whose state directory is gone.
fn in_doubt(store: Store) -> (Deployment, migrate_tests::snapshot::Snapshot) {
    let deployment = Deployment::v1().rows(2_000).on(store);
    let before = deployment.snapshot();
    let mut running = deployment.tool(MIGRATE).start();
    let found =
        running.wait_for(|event| event["event"] == "step_started" && event["step"] == "data");
    assert!(
        found.is_some(),
        "the data step never began: {}",
        running.finish()
    );
    running.kill();
    lose_state(&deployment);
    (deployment, before)
}

fn lose_state(deployment: &Deployment) {
    std::fs::remove_dir_all(deployment.path(".etlrs-migrate")).unwrap();
}

fn a_run_in_doubt_is_not_started_over(store: Store) {
    let (deployment, _) = in_doubt(store);
    let was = deployment.snapshot();
    deployment
        .migrate()
        .expect(6)
        .says(&["the database says that run", "resume --adopt"]);
    was.must_equal(&deployment.snapshot(), "after a new run was refused");
    let status = deployment
        .run(&["status", "--format", "json"])
        .expect(0)
        .json();
    assert_eq!(status["next"], "resume");
    let line = status["next_command"].as_str().unwrap();
    assert!(line.ends_with("resume --adopt"), "{line}");
    assert!(
        status["problems"][0]
            .as_str()
            .unwrap()
            .contains("known to the database"),
        "{status}"
    );

    deployment.run(&["resume", "--adopt", "--yes"]).expect(0);
    deployment.must_be_v2();
    deployment.run(&["history"]).expect(0).says(&["completed"]);
}

fn a_run_in_doubt_is_taken_back(store: Store) {
    let (deployment, before) = in_doubt(store);
    deployment
        .run(&["--rollback", "--to", "1.5.0", "--yes"])
        .expect(1)
        .says(&["--adopt"]);
    deployment
        .run(&["--rollback", "--to", "1.5.0", "--yes", "--adopt"])
        .expect(0);
    before.must_equal(
        &deployment.snapshot(),
        "after the adopted run was taken back",
    );
}

fn a_finished_run_is_taken_back_from_its_backup(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    lose_state(&deployment);
    let status = deployment
        .run(&["status", "--format", "json"])
        .expect(0)
        .json();
    assert_eq!(status["version"], "2.0.0", "{status}");
    deployment
        .run(&[
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            "restore",
            "--yes",
            "--adopt",
        ])
        .expect(0);
    before.must_equal(&deployment.snapshot(), "after the adopted run was restored");
}

on_both!(
    a_run_in_doubt_is_not_started_over,
    a_run_in_doubt_is_taken_back,
    a_finished_run_is_taken_back_from_its_backup,
);
