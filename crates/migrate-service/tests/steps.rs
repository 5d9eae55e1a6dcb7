//! The kinds `Command` and `Cleanup` in a plan.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use migrate_core::event::Silent;
use migrate_core::{
    Cancel, Finding, MigrationPlan, Probe, Readiness, Receipt, RunId, ScopeObject, Step,
    StepContext, StepErrorKind, StepRegistry, Undoable,
};
use migrate_service::{CleanupKind, CommandKind, CommandRunner, PlanCommands};
use serde_json::{Value, json};

fn build_with(
    root: &Path,
    allowed: PlanCommands,
    step: &Value,
) -> Result<Box<dyn Step>, Vec<Finding>> {
    let runner = CommandRunner::new(root).with_grace(Duration::from_millis(300));
    let registry = StepRegistry::new()
        .with(CommandKind::new(runner.clone(), allowed))
        .with(CleanupKind::new(runner, allowed));
    let plan: MigrationPlan = serde_json::from_value(json!({
        "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MinorUpgrade",
        "steps": [step],
    }))
    .expect("a plan");
    Ok(registry.build_all(&plan, "steps", &plan.steps)?.remove(0))
}

fn build(root: &Path, step: &Value) -> Box<dyn Step> {
    build_with(root, PlanCommands::Allowed, step).unwrap_or_else(|found| panic!("{found:?}"))
}

fn context() -> StepContext {
    StepContext {
        run: RunId::new(chrono::DateTime::UNIX_EPOCH, 7),
        step: "it".parse().expect("a step id"),
        attempt: 1,
        timeout: Duration::from_mins(1),
        cancel: Cancel::new(),
        reporter: Arc::new(Silent),
        drops: [].into(),
    }
}

fn receipt() -> Receipt {
    Receipt(json!({}))
}

#[tokio::test]
async fn a_command_is_run_undone_and_recognised_by_its_check() {
    let root = tempfile::tempdir().unwrap();
    let step = build(
        root.path(),
        &json!({"id": "it", "step_type": "Command", "command": "echo made; echo x > made",
               "undo": ["rm", "-f", "made"], "check": "test -e made"}),
    );
    let about = step.describe();
    assert_eq!(about.undo, Undoable::Yes);
    assert!(about.runs_commands && !about.deferred);
    assert_eq!(
        about.actions,
        [
            "echo made; echo x > made",
            "undo: rm -f made",
            "check: test -e made"
        ]
    );
    assert!(matches!(about.scope.as_slice(), [ScopeObject::Outside(_)]));

    let cx = context();
    let made = root.path().join("made");
    for _ in 0..2 {
        assert_eq!(step.check(&cx).await.unwrap(), Readiness::Ready);
        assert_eq!(step.probe(&cx, &receipt()).await.unwrap(), Probe::Partial);
        let receipt = step.prepare(&cx).await.unwrap();
        for _ in 0..2 {
            let outcome = step.run(&cx, &receipt).await.unwrap();
            assert_eq!(outcome.notes, ["made"]);
            assert!(made.exists());
        }
        assert!(matches!(
            step.probe(&cx, &receipt).await.unwrap(),
            Probe::Applied(_)
        ));
        assert!(matches!(
            step.check(&cx).await.unwrap(),
            Readiness::AlreadyDone(_)
        ));
        for _ in 0..2 {
            step.undo(&cx, &receipt).await.unwrap();
            assert!(!made.exists());
        }
    }
}

#[tokio::test]
async fn without_an_undo_only_the_rollback_point_stands_behind_a_command() {
    let root = tempfile::tempdir().unwrap();
    let plain = build(
        root.path(),
        &json!({"id": "it", "step_type": "Command", "command": "true"}),
    );
    assert_eq!(plain.describe().undo, Undoable::No);
    assert!(
        plain
            .undo(&context(), &receipt())
            .await
            .unwrap_err()
            .hint
            .is_some()
    );
    let refused = build(
        root.path(),
        &json!({"id": "it", "step_type": "Command", "command": "true", "undo": "true", "can_rollback": false}),
    );
    assert_eq!(refused.describe().undo, Undoable::No);
}

#[tokio::test]
async fn nothing_of_the_author_runs_without_consent() {
    let root = tempfile::tempdir().unwrap();
    let step = build_with(
        root.path(),
        PlanCommands::Refused,
        &json!({"id": "it", "step_type": "Command", "command": "touch ran",
               "undo": "touch ran", "check": "touch ran"}),
    )
    .unwrap_or_else(|found| panic!("{found:?}"));
    let cx = context();
    assert_eq!(step.check(&cx).await.unwrap(), Readiness::Ready);
    step.preview(&cx).await.unwrap();
    assert_eq!(step.probe(&cx, &receipt()).await.unwrap(), Probe::Partial);
    for error in [
        step.run(&cx, &receipt()).await.unwrap_err(),
        step.undo(&cx, &receipt()).await.unwrap_err(),
    ] {
        assert!(
            error
                .hint
                .is_some_and(|hint| hint.contains("--allow-commands"))
        );
    }
    assert!(!root.path().join("ran").exists());
}

#[tokio::test]
async fn a_failing_command_names_status_and_last_lines() {
    let root = tempfile::tempdir().unwrap();
    let step = build(
        root.path(),
        &json!({"id": "it", "step_type": "Command", "command": "echo the reason >&2; exit 9"}),
    );
    let error = step.run(&context(), &receipt()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("step it") && text.contains("exit status 9"),
        "{text}"
    );
    assert!(text.contains("the reason"), "{text}");

    let slow = build(
        root.path(),
        &json!({"id": "it", "step_type": "Command", "command": "sleep 600"}),
    );
    let cx = StepContext {
        timeout: Duration::from_millis(100),
        ..context()
    };
    let error = slow.run(&cx, &receipt()).await.unwrap_err();
    assert_eq!(error.kind, StepErrorKind::Failed);
    assert!(
        error.to_string().contains("ran longer than 0.1s"),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_killed_attempt_left_running_is_ended_before_the_next() {
    let root = tempfile::tempdir().unwrap();
    let cx = context();
    // As a tool killed by SIGKILL leaves it: the same marks, a group of its own, nobody waiting.
    let mut left = std::os::unix::process::CommandExt::process_group(
        &mut std::process::Command::new("sleep"),
        0,
    )
    .arg("600")
    .env("ETLRS_MIGRATE_ROOT", root.path())
    .env("ETLRS_MIGRATE_RUN", cx.run.as_str())
    .env("ETLRS_MIGRATE_STEP", cx.step.as_str())
    .spawn()
    .unwrap();
    let mut other = std::process::Command::new("sleep")
        .arg("600")
        .env("ETLRS_MIGRATE_ROOT", root.path())
        .env("ETLRS_MIGRATE_RUN", cx.run.as_str())
        .env("ETLRS_MIGRATE_STEP", "another")
        .spawn()
        .unwrap();
    let step = build(
        root.path(),
        &json!({"id": "it", "step_type": "Command", "command": "true"}),
    );
    step.run(&cx, &receipt()).await.unwrap();
    let ended = left.try_wait().unwrap();
    let other_runs = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    if ended.is_none() {
        left.kill().unwrap();
        left.wait().unwrap();
    }
    assert!(ended.is_some(), "the earlier attempt still ran");
    assert!(other_runs, "another step's process was ended");
}

#[tokio::test]
async fn a_missing_program_blocks_and_a_script_to_come_waits() {
    let root = tempfile::tempdir().unwrap();
    let of = |argv: &[&str]| {
        build(
            root.path(),
            &json!({"id": "it", "step_type": "Command", "command": argv}),
        )
    };
    let cx = context();
    let Readiness::Blocked(found) = of(&["no-such-program-here"]).check(&cx).await.unwrap() else {
        panic!("not blocked")
    };
    assert!(found[0].message.contains("no-such-program-here"));
    let later = of(&["scripts/made-later.sh"]).check(&cx).await.unwrap();
    assert!(matches!(later, Readiness::After(_)), "{later:?}");
}

#[test]
fn everything_wrong_with_a_step_is_told_at_once() {
    let root = tempfile::tempdir().unwrap();
    for (step, expected) in [
        (json!({"step_type": "Command"}), vec!["/steps/0/command"]),
        (
            json!({"step_type": "Command", "command": [], "undo": 3, "check": "", "config_changes": {}}),
            vec![
                "/steps/0/config_changes",
                "/steps/0/command",
                "/steps/0/undo",
                "/steps/0/check",
            ],
        ),
        (
            json!({"step_type": "Command", "command": "psql postgres://u:pw@h/d"}),
            vec!["/steps/0/command"],
        ),
        (
            json!({"step_type": "Command", "command": "true", "remove": []}),
            vec!["/steps/0/remove"],
        ),
        (json!({"step_type": "Cleanup"}), vec!["/steps/0"]),
        (
            json!({"step_type": "Cleanup", "remove": ["ok", "/etc", "../x", ".etlrs-migrate"]}),
            vec![
                "/steps/0/remove/1",
                "/steps/0/remove/2",
                "/steps/0/remove/3",
            ],
        ),
        (
            json!({"step_type": "Cleanup", "remove": "one"}),
            vec!["/steps/0/remove"],
        ),
    ] {
        let mut step = step;
        step["id"] = json!("it");
        let Err(found) = build_with(root.path(), PlanCommands::Allowed, &step) else {
            panic!("{step} was built")
        };
        let pointers: Vec<&str> = found
            .iter()
            .map(|finding| finding.pointer.as_str())
            .collect();
        assert_eq!(pointers, expected, "{step}");
        assert!(
            !found
                .iter()
                .any(|finding| finding.to_string().contains("pw@"))
        );
    }
}

#[tokio::test]
async fn a_cleanup_removes_its_paths_and_runs_its_command_late() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("old/a")).unwrap();
    std::fs::write(root.path().join("old/a/file"), "12345").unwrap();
    let step = build(
        root.path(),
        &json!({"id": "it", "step_type": "Cleanup", "command": "ls old/a > listed",
               "remove": ["old", "never-there"]}),
    );
    let about = step.describe();
    assert!(about.deferred && about.runs_commands);
    assert_eq!(about.undo, Undoable::No);
    let cx = context();
    let preview = step.preview(&cx).await.unwrap();
    assert_eq!(
        preview.notes,
        ["old: 1 file, 5 bytes", "never-there: nothing there"]
    );
    assert_eq!(step.check(&cx).await.unwrap(), Readiness::Ready);
    assert!(root.path().join("old/a/file").exists() && !root.path().join("listed").exists());
    let outcome = step.run(&cx, &receipt()).await.unwrap();
    assert_eq!(
        outcome.notes,
        ["old: 1 file, 5 bytes", "never-there: nothing there"]
    );
    assert!(!root.path().join("old").exists());
    assert_eq!(
        std::fs::read_to_string(root.path().join("listed")).unwrap(),
        "file\n"
    );
}

#[tokio::test]
async fn a_cleanup_of_paths_alone_runs_no_command_and_can_be_repeated() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("old"), "").unwrap();
    let step = build_with(
        root.path(),
        PlanCommands::Refused,
        &json!({"id": "it", "step_type": "Cleanup", "remove": ["old"]}),
    )
    .unwrap_or_else(|found| panic!("{found:?}"));
    assert!(!step.describe().runs_commands);
    let cx = context();
    assert_eq!(step.probe(&cx, &receipt()).await.unwrap(), Probe::Partial);
    for _ in 0..2 {
        step.run(&cx, &receipt()).await.unwrap();
        assert!(matches!(
            step.probe(&cx, &receipt()).await.unwrap(),
            Probe::Applied(_)
        ));
    }
    assert!(!root.path().join("old").exists());
}
