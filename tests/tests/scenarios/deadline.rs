//! `--deadline` and `--max-duration`: past it the run takes itself back; before, it is warned.

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::files_differing;
use serde_json::json;

use crate::{on_both, shipped};

const UP: [&str; 5] = ["--from", "1.5.0", "--to", "2.0.0", "--yes"];

fn up(deployment: &Deployment, more: &[&str]) -> migrate_tests::binary::Run {
    deployment.run(&[&UP[..], more].concat())
}

/// A last step that takes a minute, so that no machine is done before the deadline.
fn never_done(deployment: &Deployment) {
    let slow = match deployment.store() {
        Store::Postgres => "SELECT pg_sleep(60) IS NOT NULL",
        Store::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) \
             SELECT count(*) > 0 FROM n"
        }
    };
    let step = json!({
        "id": "slow", "step_type": "Validation", "validation": slow, "timeout": "10m",
    });
    shipped::insert_step(deployment, shipped::steps(), step);
}

fn past_it_the_run_takes_itself_back(store: Store) {
    let deployment = Deployment::v1().on(store);
    never_done(&deployment);
    let before = deployment.snapshot();
    let run = up(&deployment, &["--max-duration", "4s"]);
    run.expect(3)
        .says(&["deadline", "taking back", "the deadline passed"]);
    before.must_equal(&deployment.snapshot(), "after a deadline");
    let status = deployment.run(&["status", "--format", "json"]).json();
    assert_eq!(status["run"]["phase"], "rolled-back", "{status}");
    assert_eq!(status["version"], "1.5.0");
}

fn a_signal_goes_before_it_and_resume_has_none(store: Store) {
    let deployment = Deployment::v1().on(store);
    never_done(&deployment);
    let arguments = [&UP[..], &["--max-duration", "1h", "--format", "json"]].concat();
    let mut running = deployment.tool(&arguments).start();
    running.wait_for(|event| event["event"] == "step_started" && event["step"] == "slow");
    running.signal("TERM");
    running.finish().expect(143);
    deployment.rollback("auto").expect(0);
}

fn one_that_is_far_changes_nothing_and_the_last_run_measures(store: Store) {
    let deployment = Deployment::v1().rows(2_000).on(store);
    up(&deployment, &["--deadline", "2099-01-01T00:00:00Z"])
        .expect(0)
        .says(&["estimate", "going back about", "deadline"]);
    deployment.must_be_v2();
    deployment
        .rollback("reverse")
        .expect(0)
        .says(&["going back about"]);

    let dry = up(&deployment, &["--dry-run", "--format", "json"]);
    let lines = dry.expect(0).json_lines();
    let estimate = lines
        .iter()
        .find(|line| line["event"] == "estimate")
        .unwrap();
    assert!(estimate["basis"]["measured"].is_string(), "{estimate}");
    let steps = estimate["steps"].as_array().unwrap();
    let data = steps.iter().find(|step| step["step"] == "data").unwrap();
    assert!(data["forward_ms"].as_u64().unwrap() > 0, "{estimate}");
    assert!(
        estimate["forward_ms"].as_u64() > data["forward_ms"].as_u64(),
        "{estimate}"
    );
    assert!(estimate["back_ms"].as_u64().unwrap() > 0, "{estimate}");

    // A window shorter than what was measured is told before anything starts.
    let before = deployment.snapshot();
    up(&deployment, &["--max-duration", "1ms"])
        .expect_one_of(&[1, 3])
        .says(&["estimate is longer than", "the deadline passed"]);
    before.must_equal(&deployment.snapshot(), "after a window that is too short");
}

/// `apply` takes itself back as a migration does; `resume` counts anew.
fn apply_and_resume_have_one_too(store: Store) {
    let deployment = Deployment::v1().on(store);
    never_done(&deployment);
    let before = deployment.snapshot();
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("up.json");
    let file = file.to_str().unwrap();
    let plan = ["plan", "--from", "1.5.0", "--to", "2.0.0", "-o", file];
    deployment.run(&plan).expect(0);
    deployment
        .run(&["apply", file, "--max-duration", "6s"])
        .expect(3)
        .says(&["deadline", "the deadline passed"]);
    before.must_equal(&deployment.snapshot(), "after a deadline of apply");

    let mut running = deployment
        .tool(&[&UP[..], &["--format", "json"]].concat())
        .start();
    running.wait_for(|event| event["event"] == "step_started" && event["step"] == "slow");
    running.signal("TERM");
    running.finish().expect(143);
    deployment
        .run(&["resume", "--max-duration", "3s"])
        .expect(3)
        .says(&["deadline", "the deadline passed"]);
    before.must_equal(&deployment.snapshot(), "after a deadline of resume");
}

/// A way back is not turned round: it does not begin, or it stops where it can be resumed.
fn a_rollback_that_does_not_fit_is_refused_and_one_that_is_late_stops(store: Store) {
    let deployment = Deployment::v1().rows(50).on(store);
    let before = deployment.snapshot();
    let undo = json!({
        "id": "slow-undo", "step_type": "Command", "command": ["true"], "timeout": "60s",
        "undo": "test -e undo.fast || sleep 60",
    });
    shipped::insert_step(&deployment, shipped::steps() - 1, undo);
    let with_plan = deployment.snapshot();
    up(&deployment, &["--allow-commands"]).expect(0);
    let upgraded = deployment.snapshot();
    let back = [
        "--rollback",
        "--to",
        "1.5.0",
        "--strategy",
        "reverse",
        "--allow-commands",
        "--yes",
    ];
    let short = [&back[..], &["--max-duration", "1ms"]].concat();
    deployment
        .run(&short)
        .expect(1)
        .says(&["going back takes about", "nothing was changed"]);
    upgraded.must_equal(&deployment.snapshot(), "after a window that is too short");

    let late = [&back[..], &["--max-duration", "5s"]].concat();
    deployment
        .run(&late)
        .expect(142)
        .says(&["the time for going back is over", "resume"]);
    deployment.write("undo.fast", "");
    deployment
        .run(&["resume", "--allow-commands", "--max-duration", "5m"])
        .expect(0);
    std::fs::remove_file(deployment.path("undo.fast")).unwrap();
    with_plan.must_equal(&deployment.snapshot(), "after the resumed way back");
    assert_eq!(before.database, with_plan.database);
}

on_both!(
    apply_and_resume_have_one_too,
    a_rollback_that_does_not_fit_is_refused_and_one_that_is_late_stops,
    past_it_the_run_takes_itself_back,
    a_signal_goes_before_it_and_resume_has_none,
    one_that_is_far_changes_nothing_and_the_last_run_measures,
);

#[test]
fn what_is_no_time_is_wrong_usage() {
    let deployment = Deployment::v1().sqlite();
    let before = deployment.all_files();
    for (wrong, word) in [
        (["--deadline", "soon"], "03:30"),
        (["--deadline", "2001-01-01T00:00:00Z"], "over"),
        (["--max-duration", "2"], "unit"),
        (["--max-duration", "0s"], "no time"),
    ] {
        up(&deployment, &wrong).expect(2).says(&[word]);
    }
    up(
        &deployment,
        &["--deadline", "03:30", "--max-duration", "2h"],
    )
    .expect(2);
    deployment
        .run(&["--rollback", "--to", "1.5.0", "--deadline", "soon"])
        .expect(2);
    deployment
        .run(&["resume", "--max-duration", "0s"])
        .expect(2);
    assert_eq!(files_differing(&before, &deployment.all_files()), "");
}
