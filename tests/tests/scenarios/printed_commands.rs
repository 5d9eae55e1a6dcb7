//! A command that is printed can be pasted: it carries the consent that its plan's commands need.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::{Value, json};

use crate::{on_both, shipped};

const UP: [&str; 6] = [
    "--from",
    "1.0.0",
    "--to",
    "1.1.0",
    "--yes",
    "--allow-commands",
];

fn command(id: &str, command: &str, undo: Option<&str>) -> Value {
    let mut step = json!({"id": id, "step_type": "Command", "command": command, "timeout": "20s"});
    if let Some(undo) = undo {
        step["undo"] = json!(undo);
        step["can_rollback"] = json!(true);
    }
    step
}

fn plan(deployment: &Deployment, steps: &[Value], back: &[Value]) {
    shipped::overlay(
        deployment,
        &json!({
            "from_version": "1.0.0", "to_version": "1.1.0", "migration_type": "MinorUpgrade",
            "downtime_required": false, "steps": steps, "rollback_steps": back,
        }),
    );
}

fn status(deployment: &Deployment) -> Value {
    deployment.run(&["status", "--format", "json"]).json()
}

/// Runs a printed line as a shell takes it, with nothing added but the answer to questions.
#[track_caller]
fn paste(deployment: &Deployment, line: &Value) -> migrate_tests::binary::Run {
    let line = line
        .as_str()
        .unwrap_or_else(|| panic!("no command: {line}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[0], "etlrs-migrate", "{line}");
    // The root and the database are the deployment's: `run` names them itself.
    let from = words
        .iter()
        .position(|word| ["--from", "--rollback", "resume", "apply"].contains(word))
        .unwrap_or_else(|| panic!("{line}"));
    deployment.run(&[&words[from..], &["--yes"]].concat())
}

fn the_way_back_of_status_can_be_pasted(store: Store) {
    for back in [&[][..], &[command("unmade", "rm made", None)]] {
        let deployment = Deployment::v1().rows(1).on(store);
        let undo = back.is_empty().then_some("rm made");
        plan(&deployment, &[command("make", "touch made", undo)], back);
        deployment.run(&UP).expect(0);
        assert!(deployment.path("made").exists());
        let told = status(&deployment);
        deployment.run(&["status"]).says(&["--allow-commands"]);
        paste(&deployment, &told["go_back"]).expect(0);
        assert!(!deployment.path("made").exists());
        // And forward again, from where it stands.
        let told = status(&deployment);
        assert_eq!(told["next"], "migrate", "{told}");
        paste(&deployment, &told["next_command"]).expect(0);
    }
}

fn after_a_failed_run_the_next_command_can_be_pasted(store: Store) {
    let deployment = Deployment::v1().rows(1).on(store);
    let steps = [
        command("make", "touch made", Some("rm made")),
        command("wait", "test -e ready", Some("true")),
    ];
    plan(&deployment, &steps, &[]);
    deployment.run(&UP).expect(3);
    deployment.write("ready", "");
    let told = status(&deployment);
    assert_eq!(told["next"], "migrate", "{told}");
    paste(&deployment, &told["next_command"]).expect(0);
}

fn a_plan_without_commands_asks_for_no_consent(store: Store) {
    let deployment = Deployment::v1().rows(1).on(store);
    plan(
        &deployment,
        &[
            json!({"id": "note", "step_type": "ConfigUpdate", "file": "extra.toml", "timeout": "9s",
            "config_changes": {"key": 2}, "can_rollback": true}),
        ],
        &[],
    );
    deployment.write("extra.toml", "key = 1\n");
    deployment.run(&UP[..5]).expect(0);
    let told = status(&deployment);
    assert!(
        !told["go_back"].as_str().unwrap().contains("--allow"),
        "{told}"
    );
    paste(&deployment, &told["go_back"]).expect(0);
    let told = status(&deployment);
    assert!(
        !told["next_command"].as_str().unwrap().contains("--allow"),
        "{told}"
    );
}

fn a_plan_file_with_commands_is_applied_by_the_printed_line(store: Store) {
    let deployment = Deployment::v1().rows(1).on(store);
    plan(
        &deployment,
        &[command("make", "touch made", Some("rm made"))],
        &[],
    );
    let file = deployment.path("plan.json");
    let file = file.to_str().unwrap();
    let run = deployment.run(&["plan", "--from", "1.0.0", "--to", "1.1.0", "-o", file]);
    let told = run.expect(0).output();
    let line = told
        .lines()
        .find_map(|line| {
            Some(&line[line.find("etlrs-migrate ")?..]).filter(|l| l.contains(" apply "))
        })
        .unwrap_or_else(|| panic!("{run}"));
    paste(&deployment, &json!(line)).expect(0);
    assert!(deployment.path("made").exists());
}

on_both!(
    the_way_back_of_status_can_be_pasted,
    after_a_failed_run_the_next_command_can_be_pasted,
    a_plan_without_commands_asks_for_no_consent,
    a_plan_file_with_commands_is_applied_by_the_printed_line,
);
