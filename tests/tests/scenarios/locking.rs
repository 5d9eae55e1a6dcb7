//! One run at a time, and an open run comes first.

use migrate_tests::deployment::{Deployment, Store};

use crate::{on_both, shipped};

const MIGRATE: &[&str] = &[
    "--from", "1.5.0", "--to", "2.0.0", "--yes", "--format", "json",
];

/// A run that has begun its data step, and not more.
fn at_the_data_step(deployment: &Deployment) -> migrate_tests::binary::Running {
    let data = shipped::ids_of("DataMigration");
    let mut running = deployment.tool(MIGRATE).start();
    let found = running
        .wait_for(|event| event["event"] == "step_started" && event["step"] == data[0].as_str());
    assert!(
        found.is_some(),
        "the data step never began: {}",
        running.finish()
    );
    running
}

fn a_second_run_is_refused_and_names_the_first(store: Store) {
    let deployment = Deployment::v1().rows(2_000).on(store);
    let first = at_the_data_step(&deployment);
    first.signal("STOP");
    let pid = first.pid().to_string();
    deployment.migrate().expect(5).says(&[&pid]);
    deployment.rollback("auto").expect(5).says(&[&pid]);
    deployment.run(&["resume", "--yes"]).expect(5).says(&[&pid]);
    // Looking is always allowed.
    deployment
        .run(&["status", "--format", "json"])
        .expect(0)
        .json();
    first.signal("CONT");
    first.finish().expect(0);
    deployment.must_be_v2();
}

fn a_dead_holder_needs_no_file_deleted(store: Store) {
    let deployment = Deployment::v1().rows(2_000).on(store);
    at_the_data_step(&deployment).kill();
    deployment.run(&["resume", "--yes"]).expect(0);
    deployment.must_be_v2();
}

fn an_open_run_comes_before_a_new_one(store: Store) {
    let deployment = Deployment::v1().rows(2_000).on(store);
    let before = deployment.snapshot();
    at_the_data_step(&deployment).kill();
    deployment.migrate().expect(6).says(&["resume"]);
    deployment.rollback("auto").expect(0);
    before.must_equal(&deployment.snapshot(), "after the rollback of an open run");
    deployment.migrate().expect(0);
    deployment.must_be_v2();
}

fn a_signal_leaves_it_at_a_clean_boundary(store: Store) {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let deployment = Deployment::v1().rows(2_000).on(store);
        let running = at_the_data_step(&deployment);
        running.signal(signal);
        let run = running.finish();
        run.expect(code);
        let status = deployment.run(&["status", "--format", "json"]);
        assert_eq!(status.expect(0).json()["next"], "resume", "after {run}");
        deployment.run(&["resume", "--yes"]).expect(0);
        deployment.must_be_v2();
    }
}

fn a_plan_that_changed_since_is_refused_on_resume(store: Store) {
    let deployment = Deployment::v1().rows(2_000).on(store);
    let before = deployment.snapshot();
    at_the_data_step(&deployment).kill();
    shipped::insert_step(&deployment, 0, shipped::failing_validation());
    let at_rest = deployment.snapshot();
    deployment
        .run(&["resume", "--yes"])
        .expect_one_of(&[1, 6])
        .says(&["plan"]);
    at_rest.must_equal(&deployment.snapshot(), "after a refusal");
    std::fs::remove_dir_all(deployment.path("migrations")).expect("it is ours");
    deployment.rollback("auto").expect(0);
    before.must_equal(&deployment.snapshot(), "after a rollback");
}

fn resume_without_an_open_run_says_so(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment
        .run(&["resume", "--yes"])
        .expect_one_of(&[0, 1])
        .says(&["resume"]);
    before.must_equal(&deployment.snapshot(), "after nothing");
}

fn two_deployments_do_not_hinder_each_other(store: Store) {
    let (one, two) = (Deployment::v1().on(store), Deployment::v1().on(store));
    let first = at_the_data_step(&one);
    first.signal("STOP");
    two.migrate().expect(0);
    first.signal("CONT");
    first.finish().expect(0);
    one.must_be_v2();
    two.must_be_v2();
}

fn two_roots_on_one_database_do(store: Store) {
    let (one, other) = (
        Deployment::v1().rows(2_000).on(store),
        Deployment::v1().on(store),
    );
    let url = match store {
        Store::Sqlite => format!("sqlite:{}", one.path("data/etlrs.db").display()),
        Store::Postgres => one.url(),
    };
    let first = at_the_data_step(&one);
    first.signal("STOP");
    let arguments = [
        "--from",
        "1.5.0",
        "--to",
        "2.0.0",
        "--yes",
        "--database-url",
        &url,
    ];
    let config = other.read("config/config.toml");
    other.run(&arguments).expect(5);
    assert_eq!(other.read("config/config.toml"), config);
    first.signal("CONT");
    first.finish().expect(0);
    one.must_be_v2();
}

on_both!(
    a_second_run_is_refused_and_names_the_first,
    a_dead_holder_needs_no_file_deleted,
    an_open_run_comes_before_a_new_one,
    a_signal_leaves_it_at_a_clean_boundary,
    a_plan_that_changed_since_is_refused_on_resume,
    resume_without_an_open_run_says_so,
    two_deployments_do_not_hinder_each_other,
    two_roots_on_one_database_do,
);
