//! Whatever fails in a run, everything is as before.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::{Value, json};

use crate::{on_both, shipped};

fn every_position(store: Store, step: impl Fn(&Deployment, usize) -> Value, words: &[&str]) {
    for position in 0..=shipped::steps() {
        let deployment = Deployment::v1().on(store);
        let failing = step(&deployment, position);
        shipped::insert_step(&deployment, position, failing);
        let before = deployment.snapshot();
        deployment.migrate().expect(3).says(words);
        let when = format!("after a failure at position {position}");
        before.must_equal(&deployment.snapshot(), &when);
    }
}

fn a_validation_that_fails_at_any_position(store: Store) {
    every_position(
        store,
        |_, _| shipped::failing_validation(),
        &["never-content"],
    );
}

fn a_script_that_fails_at_any_position(store: Store) {
    every_position(store, shipped::failing_schema, &["_half.sql:3", "half"]);
}

fn with_check(deployment: &Deployment, check: Value) {
    let mut plan = shipped::plan();
    let checks = plan["validation_checks"].as_array_mut();
    match checks {
        Some(checks) => checks.push(check),
        None => plan["validation_checks"] = json!([check]),
    }
    shipped::overlay(deployment, &plan);
}

fn check(expected: u32, critical: bool) -> Value {
    json!({
        "name": "planted check",
        "query": "SELECT count(*) FROM pipelines_old WHERE id = 1",
        "expected_result": expected,
        "critical": critical,
    })
}

fn a_critical_check_that_fails_undoes_all(store: Store) {
    let deployment = Deployment::v1().on(store);
    with_check(&deployment, check(42_424, true));
    let before = deployment.snapshot();
    deployment
        .migrate()
        .expect(3)
        .says(&["planted check", "42424", "1"]);
    before.must_equal(&deployment.snapshot(), "after a failed check");
    deployment.write(
        "migrations/plans/1.5.0_2.0.0.json",
        &shipped::plan().to_string(),
    );
    deployment.migrate().expect(0);
    deployment.must_be_v2();
}

fn a_warning_is_said_and_stops_nothing(store: Store) {
    let deployment = Deployment::v1().on(store);
    with_check(&deployment, check(42_424, false));
    deployment
        .migrate()
        .expect(0)
        .says(&["planted check", "42424"]);
    deployment.must_be_v2();
}

fn a_critical_check_that_passes_is_content(store: Store) {
    let deployment = Deployment::v1().on(store);
    with_check(&deployment, check(1, true));
    deployment.migrate().expect(0);
}

fn a_check_before_the_run_that_fails_changes_nothing(store: Store) {
    let deployment = Deployment::v1().on(store);
    let mut planted = check(42_424, true);
    planted["phase"] = json!("pre");
    with_check(&deployment, planted);
    let (files, before) = (deployment.files_of_user(), deployment.snapshot());
    deployment
        .migrate()
        .expect(1)
        .says(&["planted check", "42424"]);
    before.must_equal(&deployment.snapshot(), "after a failed check");
    assert_eq!(
        migrate_tests::snapshot::files_differing(&files, &deployment.files_of_user()),
        ""
    );
}

fn a_steps_own_validation_that_fails_undoes_all(store: Store) {
    let deployment = Deployment::v1().on(store);
    let mut plan = shipped::plan();
    let steps = plan["steps"].as_array_mut().expect("a plan has steps");
    let step = steps
        .iter_mut()
        .find(|step| step["step_type"] == "DataMigration");
    step.expect("the plan moves rows")["validation"] = json!("SELECT count(*) = 0 FROM pipelines");
    shipped::overlay(&deployment, &plan);
    let before = deployment.snapshot();
    deployment
        .migrate()
        .expect(3)
        .says(&["validation of data", "expected true, found false"]);
    before.must_equal(&deployment.snapshot(), "after a failed validation");
}

fn a_failure_shows_in_the_history_and_the_next_run_works(store: Store) {
    let deployment = Deployment::v1().on(store);
    shipped::insert_step(&deployment, shipped::steps(), shipped::failing_validation());
    deployment.migrate().expect(3);
    deployment.run(&["history"]).expect(0).says(&["2.0.0"]);
    std::fs::remove_dir_all(deployment.path("migrations")).expect("it is ours");
    deployment.migrate().expect(0);
    deployment.must_be_v2();
}

on_both!(
    a_validation_that_fails_at_any_position,
    a_script_that_fails_at_any_position,
    a_critical_check_that_fails_undoes_all,
    a_warning_is_said_and_stops_nothing,
    a_critical_check_that_passes_is_content,
    a_check_before_the_run_that_fails_changes_nothing,
    a_steps_own_validation_that_fails_undoes_all,
    a_failure_shows_in_the_history_and_the_next_run_works,
);
