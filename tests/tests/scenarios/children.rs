//! No process of ours outlives us, with its own children; and no step outlasts its timeout.

use std::time::{Duration, Instant};

use migrate_tests::binary::Running;
use migrate_tests::deployment::{Deployment, Store};
use serde_json::{Value, json};

use crate::{on_both, shipped};

const UP: &[&str] = &[
    "--from",
    "1.5.0",
    "--to",
    "2.0.0",
    "--yes",
    "--allow-commands",
    "--format",
    "json",
];

const BACK: &[&str] = &["--rollback", "--to", "1.5.0", "--yes", "--allow-commands"];

/// The processes whose command line holds this word, those that only wait to be reaped aside.
fn with_word(word: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.windows(word.len()).any(|part| part == word.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

#[track_caller]
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A number of seconds that no other process sleeps for.
fn own_sleep() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{:06}", 3000 + next, std::process::id())
}

fn with_a_sleeping_command(deployment: &Deployment) -> (Running, String) {
    let sleep = own_sleep();
    let command = format!("sleep {sleep} & sleep {sleep}; wait");
    let step = json!({"id": "sleeps", "step_type": "Command", "command": command,
        "undo": "true", "timeout": "10m", "can_rollback": true});
    shipped::insert_step(deployment, shipped::steps(), step);
    let running = deployment.tool(UP).start();
    wait_until("the command starts its children", || {
        with_word(&sleep).len() >= 3
    });
    (running, sleep)
}

#[test]
fn a_command_and_its_children_end_with_a_tool_that_is_killed() {
    let deployment = Deployment::v1().sqlite();
    let before = deployment.snapshot();
    let (running, sleep) = with_a_sleeping_command(&deployment);
    running.kill();
    wait_until("they end", || with_word(&sleep).is_empty());
    deployment.run(BACK).expect(0);
    assert_eq!(before.database, deployment.snapshot().database);
}

/// What a killed tool had asked of PostgreSQL ends too, and takes its locks with it.
#[test]
fn a_statement_ends_with_a_tool_that_is_killed() {
    let deployment = Deployment::v1().rows(5).on(Store::Postgres);
    let sleep = own_sleep();
    let mut step = hanging(&deployment, "SchemaUpdate", &sleep);
    step["timeout"] = json!("10m");
    shipped::insert_step(&deployment, shipped::steps(), step);
    let running = deployment.tool(UP).start();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND query LIKE '%pg_sleep(600)%' AND state = 'active' AND pid <> pg_backend_pid()";
    wait_until("the statement runs", || deployment.sql(busy) == "1");
    running.kill();
    wait_until("the statement is gone", || deployment.sql(busy) == "0");
    deployment.run(&["--rollback", "--to", "1.5.0"]).expect(0);
}

#[test]
fn the_first_signal_ends_the_command_and_stops_at_a_boundary() {
    let deployment = Deployment::v1().sqlite();
    let (running, sleep) = with_a_sleeping_command(&deployment);
    running.signal("INT");
    running.finish().expect(130);
    assert_eq!(with_word(&sleep), Vec::<u32>::new());
    let status = deployment.run(&["status", "--format", "json"]).json();
    assert_eq!(status["next"], "resume", "{status}");
}

/// The command does not hear SIGTERM: the first signal waits for it, the second does not.
#[test]
fn the_second_signal_stops_now_and_leaves_nothing_running() {
    let deployment = Deployment::v1().sqlite();
    let before = deployment.snapshot();
    let sleep = own_sleep();
    let command = format!("trap '' TERM; sleep {sleep} & wait; sleep {sleep}");
    let step = json!({"id": "deaf", "step_type": "Command", "command": command,
        "undo": "true", "timeout": "10m", "can_rollback": true});
    shipped::insert_step(&deployment, shipped::steps(), step);
    let mut running = deployment.tool(UP).start();
    wait_until("the command starts its child", || {
        with_word(&sleep).len() >= 2
    });
    running.signal("TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        running.is_running(),
        "the first signal waits for the command"
    );
    let asked = Instant::now();
    running.signal("TERM");
    running.finish().expect(143);
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "the second does not wait"
    );
    wait_until("they end", || with_word(&sleep).is_empty());
    deployment.run(BACK).expect(0);
    assert_eq!(before.database, deployment.snapshot().database);
}

#[test]
fn pg_dump_ends_with_a_tool_that_is_killed() {
    let deployment = Deployment::v1().rows(20_000).postgres();
    let dump = |parent: &str| -> Option<u32> {
        with_word("pg_dump").into_iter().find(|pid| {
            let read = |what: &str| {
                std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default()
            };
            let stat = read("stat");
            // Not the one that is only asked for its version.
            stat.split_whitespace().nth(3) == Some(parent) && read("cmdline").contains("--format")
        })
    };
    // On a busy machine it may come and go between two looks.
    let mut attempts = 0;
    let (running, pid) = loop {
        let mut running = deployment.tool(UP).start();
        let parent = running.pid().to_string();
        let seen = loop {
            match dump(&parent) {
                None if running.is_running() => {}
                seen => break seen,
            }
        };
        if let Some(pid) = seen {
            break (running, pid);
        }
        running.finish().expect(0);
        deployment.rollback("reverse").expect(0);
        attempts += 1;
        assert!(attempts < 20, "pg_dump is never seen");
    };
    // It would be done soon: it stands still, and can't notice a pipe that breaks.
    let _ = std::process::Command::new("kill")
        .args(["-STOP", &pid.to_string()])
        .status();
    // It is watched over once its number is known, a moment after its start.
    std::thread::sleep(Duration::from_millis(300));
    running.kill();
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    wait_until("pg_dump ends", gone);
}

fn slow_sql(store: Store) -> &'static str {
    match store {
        Store::Postgres => "SELECT pg_sleep(600) IS NOT NULL",
        Store::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) > 0 FROM n"
        }
    }
}

/// A step of each kind that never ends by itself.
fn hanging(deployment: &Deployment, kind: &str, sleep: &str) -> Value {
    let sleeping = format!("sleep {sleep} & sleep {sleep}");
    let store = deployment.store();
    let slow = slow_sql(store);
    let mut step = json!({"id": "hangs", "step_type": kind, "timeout": "1s", "can_rollback": true});
    match kind {
        "SchemaUpdate" => {
            let script = format!(
                "CREATE TABLE hangs (a integer);\nINSERT INTO hangs SELECT 1 WHERE ({slow});\n"
            );
            deployment.write("migrations/009_hangs.sql", &script);
            deployment.write("migrations/009_hangs.down.sql", "DROP TABLE hangs;\n");
            step["command"] = json!("009_hangs.sql");
        }
        "DataMigration" => {
            deployment.sql("CREATE TABLE slow_copy (id integer primary key, name text)");
            let each = match store {
                Store::Postgres => {
                    "SELECT id, name FROM batch WHERE pg_sleep(600) IS NOT NULL".to_owned()
                }
                Store::Sqlite => format!("SELECT id, name FROM batch WHERE ({slow})"),
            };
            deployment.write("migrations/slow.sql", &each);
            step["data_migration"] = json!({"source_table": "pipelines_old", "target_table": "slow_copy",
                "transformation_script": "slow.sql", "batch_size": 10, "parallel_workers": 1});
        }
        "Command" => {
            step["command"] = json!(sleeping);
            step["undo"] = json!("true");
        }
        "Validation" => step["validation"] = json!(slow),
        // A restart that worked may leave a process; one that hangs may not.
        "ServiceRestart" | "Cleanup" => step["command"] = json!(sleeping),
        other => panic!("{other}"),
    }
    step
}

fn a_step_that_hangs_is_ended_and_taken_back(store: Store) {
    for kind in [
        "SchemaUpdate",
        "DataMigration",
        "Command",
        "Validation",
        "ServiceRestart",
    ] {
        let deployment = Deployment::v1().rows(20).on(store);
        let sleep = own_sleep();
        let step = hanging(&deployment, kind, &sleep);
        shipped::insert_step(&deployment, shipped::steps(), step);
        let before = deployment.snapshot();
        let run = deployment.run(UP);
        run.expect(3).says(&["hangs", "longer than"]);
        before.must_equal(&deployment.snapshot(), kind);
        assert_eq!(with_word(&sleep), Vec::<u32>::new(), "{kind}");
        if store == Store::Postgres {
            let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND pid <> pg_backend_pid() AND state <> 'idle'";
            assert_eq!(deployment.sql(busy), "0", "{kind}: a statement goes on");
        }
    }
}

/// Everything else is done by then: what can't be cleaned up is told, and no process is left.
fn a_cleanup_that_hangs_is_ended_and_a_warning(store: Store) {
    let deployment = Deployment::v1().rows(20).on(store);
    let sleep = own_sleep();
    let step = hanging(&deployment, "Cleanup", &sleep);
    shipped::insert_step(&deployment, shipped::steps(), step);
    let run = deployment.run(UP);
    run.expect(0).says(&["hangs", "longer than"]);
    deployment.must_be_v2();
    assert_eq!(with_word(&sleep), Vec::<u32>::new());
    let status = deployment.run(&["status", "--format", "json"]).json();
    assert_eq!(status["version"], "2.0.0", "{status}");
}

/// A service that never stops is no service that is down: nothing of the run happened.
#[test]
fn a_service_that_hangs_while_it_stops_fails_the_run_before_any_step() {
    let deployment = Deployment::v1().sqlite();
    deployment.write("backups/.keep", "");
    deployment.write("backups/app.running", "");
    let sleep = own_sleep();
    deployment.write(
        "etlrs-migrate.toml",
        &format!(
            "[services.app]\nmanager = \"command\"\nstart = \"touch backups/app.running\"\n\
             stop = \"sleep {sleep} & sleep {sleep}\"\nstatus = \"test -e backups/app.running\"\nstop_timeout = \"1s\"\n"
        ),
    );
    let before = deployment.snapshot();
    let run = deployment.run(UP);
    run.expect_one_of(&[1, 3]).says(&["app"]);
    before.must_equal(&deployment.snapshot(), "after a service that does not stop");
    assert_eq!(with_word(&sleep), Vec::<u32>::new());
    let status = deployment.run(&["status", "--format", "json"]).json();
    assert_ne!(status["next"], "manual", "{status}");
}

on_both!(
    a_step_that_hangs_is_ended_and_taken_back,
    a_cleanup_that_hangs_is_ended_and_a_warning,
);
