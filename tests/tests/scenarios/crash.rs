//! SIGKILL at every event of a run, and what `status` says next: in the end everything is
//! old or everything is new.

use migrate_tests::binary::{self, Run};
use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::{on_both, shipped};

const MIGRATE: &[&str] = &[
    "--from", "1.5.0", "--to", "2.0.0", "--yes", "--format", "json",
];

/// The shipped plan in small batches, so that a data step has many moments to die in.
fn small_batches(store: Store) -> Deployment {
    let deployment = Deployment::v1().rows(300).on(store);
    let mut plan = shipped::plan();
    for step in plan["steps"].as_array_mut().expect("a plan has steps") {
        if step["step_type"] == "DataMigration" {
            step["data_migration"]["batch_size"] = json!(40);
        }
    }
    shipped::overlay(&deployment, &plan);
    deployment
}

/// How a run that died is brought to an end.
#[derive(Debug, Clone, Copy)]
enum Then {
    FollowStatus,
    RollBack,
}

fn status(deployment: &Deployment) -> Value {
    deployment
        .run(&["status", "--format", "json"])
        .expect(0)
        .json()
}

/// Runs the line that `status` prints, as a user would paste it.
fn follow(deployment: &Deployment, status: &Value) -> Run {
    let line = status["next_command"]
        .as_str()
        .expect("there is a next command");
    let arguments: Vec<String> = line
        .strip_prefix("etlrs-migrate ")
        .unwrap_or_else(|| panic!("{line:?} is no command of ours"))
        .split_whitespace()
        .map(|word| word.trim_matches('\'').to_owned())
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments.contains(&"-C") {
        binary::Tool::new(&arguments).run()
    } else {
        deployment.run(&arguments)
    }
}

/// Ends what was begun and demands that everything is old or new.
#[track_caller]
fn must_end_well(deployment: &Deployment, before: &Snapshot, then: Then, when: &str) {
    for _ in 0..4 {
        let status = status(deployment);
        match status["next"].as_str() {
            Some("resume" | "rollback") => {
                let run = match then {
                    Then::FollowStatus => follow(deployment, &status),
                    Then::RollBack => deployment.rollback("auto"),
                };
                let fine = run.code() == Some(0);
                assert!(fine, "{when}, status said {status}, then {run}");
            }
            Some("migrate") => {
                before.must_equal(&deployment.snapshot(), when);
                return;
            }
            None => {
                deployment.must_be_v2();
                deployment.rollback("auto").expect(0);
                before.must_equal(&deployment.snapshot(), when);
                return;
            }
            other => panic!("{when}, status says {other:?}: {status}"),
        }
    }
    panic!(
        "{when}, four commands were not enough: {}",
        status(deployment)
    );
}

/// Which of so many events to die at: all of a short run, a spread of a long one.
fn moments(events: usize) -> Vec<usize> {
    const MOST: usize = 24;
    let count = events.min(MOST);
    (0..count).map(|at| at * events / count).collect()
}

fn events_of(deployment: &Deployment, arguments: &[&str]) -> usize {
    let run = deployment.run(arguments);
    run.expect(0);
    run.json_lines().len()
}

fn die_after(deployment: &Deployment, arguments: &[&str], events: usize) {
    let mut running = deployment.tool(arguments).start();
    for _ in 0..=events {
        if running.next_line().is_none() {
            break;
        }
    }
    running.kill();
}

fn killed_at_every_event(store: Store) {
    let events = events_of(&small_batches(store), MIGRATE);
    assert!(events > 10, "only {events} events");
    for (number, event) in moments(events).into_iter().enumerate() {
        let deployment = small_batches(store);
        let before = deployment.snapshot();
        die_after(&deployment, MIGRATE, event);
        let then = [Then::FollowStatus, Then::RollBack][number % 2];
        let when = format!("killed at event {event} of {events}, then {then:?}");
        must_end_well(&deployment, &before, then, &when);
    }
}

fn killed_at_every_event_of_a_rollback(store: Store) {
    for strategy in ["reverse", "restore"] {
        let back = [
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            strategy,
            "--yes",
            "--format",
            "json",
        ];
        let rehearsal = small_batches(store);
        rehearsal.migrate().expect(0);
        let events = events_of(&rehearsal, &back);
        for event in moments(events).into_iter().step_by(2) {
            let deployment = small_batches(store);
            let before = deployment.snapshot();
            deployment.migrate().expect(0);
            die_after(&deployment, &back, event);
            let when = format!("killed at event {event} of {events} of a rollback by {strategy}");
            must_end_well(&deployment, &before, Then::FollowStatus, &when);
        }
    }
}

fn killed_again_while_it_recovers(store: Store) {
    for first in [6, 10, 14] {
        for second in [1, 4, 7] {
            let deployment = small_batches(store);
            let before = deployment.snapshot();
            die_after(&deployment, MIGRATE, first);
            if status(&deployment)["next"] == "resume" {
                die_after(
                    &deployment,
                    &["resume", "--yes", "--format", "json"],
                    second,
                );
            }
            let when = format!("killed at event {first}, and at {second} of the resume");
            must_end_well(&deployment, &before, Then::FollowStatus, &when);
        }
    }
}

fn killed_while_it_undoes_a_failure(store: Store) {
    let failing = || {
        let deployment = Deployment::v1().on(store);
        shipped::insert_step(&deployment, shipped::steps(), shipped::failing_validation());
        deployment
    };
    let rehearsal = failing().run(MIGRATE);
    rehearsal.expect(3);
    let lines = rehearsal.json_lines();
    let failed = lines
        .iter()
        .position(|event| event["event"] == "step_failed");
    let failed = failed.expect("a step fails");
    for event in failed..lines.len() {
        let deployment = failing();
        let before = deployment.snapshot();
        die_after(&deployment, MIGRATE, event);
        let when = format!("killed at event {event} of {}, undoing", lines.len());
        for _ in 0..4 {
            let status = status(&deployment);
            match status["next"].as_str() {
                Some("migrate") => break,
                // Going on finds the same failure and undoes it.
                Some("resume") => follow(&deployment, &status).expect_one_of(&[0, 3]),
                Some("rollback") => follow(&deployment, &status).expect(0),
                other => panic!("{when}, status says {other:?}: {status}"),
            };
        }
        before.must_equal(&deployment.snapshot(), &when);
    }
}

/// Kills between events, at whatever instruction: the moments come from a counter, not a
/// generator, so that a failure can be repeated with some luck.
fn killed_between_events(store: Store) {
    for microseconds in (0..12_u64).map(|at| 3_000 + at * 17_321) {
        let deployment = small_batches(store);
        let before = deployment.snapshot();
        let mut running = deployment.tool(MIGRATE).start();
        running.next_line();
        std::thread::sleep(std::time::Duration::from_micros(microseconds));
        running.kill();
        let when = format!("killed {microseconds} µs after its first event");
        must_end_well(&deployment, &before, Then::FollowStatus, &when);
    }
}

on_both!(
    killed_at_every_event,
    killed_at_every_event_of_a_rollback,
    killed_again_while_it_recovers,
    killed_while_it_undoes_a_failure,
    killed_between_events,
);
