//! What is particular to a server where others are connected.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use migrate_tests::deployment::Deployment;
use migrate_tests::postgres::{Server, TestDatabase};

use crate::shipped;

const MIGRATE: &[&str] = &[
    "--from", "1.5.0", "--to", "2.0.0", "--yes", "--format", "json",
];

/// Somebody connected to a deployment's database, who may hold locks.
struct Visitor(Child);

impl Visitor {
    /// Connects, runs SQL, and stays.
    fn with(database: &TestDatabase<'_>, sql: &str) -> Self {
        let mut child = Command::new(database.server().binaries().program("psql"))
            .args(["-X", "-q", &database.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql can be started");
        let name = "SET application_name = 'visitor-ready';";
        let stdin = child.stdin.as_mut().unwrap();
        writeln!(stdin, "{sql};\n{name}").unwrap();
        stdin.flush().unwrap();
        let ready = || {
            let sessions = database.server().sessions(database.name());
            sessions
                .iter()
                .any(|session| session.contains("visitor-ready"))
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !ready() {
            assert!(
                std::time::Instant::now() < deadline,
                "psql did not get ready"
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self(child)
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What somebody set for an application's short statements.
#[test]
fn time_limits_of_the_database_do_not_end_a_step() {
    let deployment = Deployment::v1().rows(20_000).postgres();
    let before = deployment.snapshot();
    let limit = |value: &str| {
        let database = deployment.postgres().name();
        for name in ["statement_timeout", "idle_in_transaction_session_timeout"] {
            deployment.sql(&format!(
                "ALTER DATABASE \"{database}\" SET {name} = '{value}'"
            ));
        }
    };
    limit("100ms");
    deployment.run(MIGRATE).expect(0);
    let back = [
        "--rollback",
        "--to",
        "1.5.0",
        "--strategy",
        "reverse",
        "--yes",
    ];
    deployment.run(&back).expect(0);
    limit("0");
    before.must_equal(&deployment.snapshot(), "there and back");
}

#[test]
fn an_idle_session_does_not_hinder_either_way() {
    let deployment = Deployment::v1().postgres();
    let before = deployment.snapshot();
    let _visitor = Visitor::with(deployment.postgres(), "SELECT count(*) FROM pipelines");
    for strategy in ["reverse", "restore"] {
        deployment.migrate().expect(0);
        deployment.must_be_v2();
        deployment.rollback(strategy).expect(0);
        before.must_equal(&deployment.snapshot(), strategy);
    }
}

#[test]
fn a_lock_that_is_not_let_go_ends_the_run_in_time_and_nothing_has_changed() {
    let deployment = Deployment::v1().postgres();
    let mut plan = shipped::plan();
    plan["steps"][0]["timeout"] = serde_json::json!("4s");
    shipped::overlay(&deployment, &plan);
    let before = deployment.snapshot();
    let lock = "BEGIN; LOCK TABLE pipelines IN ACCESS SHARE MODE";
    let visitor = Visitor::with(deployment.postgres(), lock);
    deployment.migrate().expect_one_of(&[1, 3]).says(&["lock"]);
    drop(visitor);
    before.must_equal(&deployment.snapshot(), "after waiting for a lock in vain");
    deployment.migrate().expect(0);
    deployment.must_be_v2();
}

#[test]
fn a_lock_that_is_let_go_is_waited_for() {
    let deployment = Deployment::v1().postgres();
    let lock = "BEGIN; LOCK TABLE pipelines IN ACCESS SHARE MODE";
    let visitor = Visitor::with(deployment.postgres(), lock);
    let mut running = deployment.tool(MIGRATE).start();
    running
        .wait_for(|event| event["event"] == "step_started")
        .expect("it gets to a step");
    drop(visitor);
    running.finish().expect(0);
    deployment.must_be_v2();
}

/// The run's own sessions are ended by an administrator in the middle of it.
#[test]
fn a_dropped_connection_ends_old_or_new() {
    let deployment = Deployment::v1().rows(3_000).postgres();
    let mut plan = shipped::plan();
    for step in plan["steps"].as_array_mut().unwrap() {
        if step["step_type"] == "DataMigration" {
            step["data_migration"]["batch_size"] = serde_json::json!(50);
        }
    }
    shipped::overlay(&deployment, &plan);
    let before = deployment.snapshot();
    let mut running = deployment.tool(MIGRATE).start();
    running
        .wait_for(|event| event["event"] == "step_progress")
        .expect("rows move");
    running.signal("STOP");
    let name = deployment.postgres().name();
    deployment.postgres().server().admin_psql(
        "postgres",
        &format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
        ),
    );
    running.signal("CONT");
    let run = running.finish();
    match run.code() {
        Some(0) => deployment.must_be_v2(),
        Some(3) => before.must_equal(&deployment.snapshot(), "after a dropped connection"),
        _ => {
            // It may say honestly that it could not undo; the way back is then open.
            run.expect_one_of(&[4]);
            deployment.rollback("auto").expect(0);
            before.must_equal(&deployment.snapshot(), "after a dropped connection");
        }
    }
}

/// The whole server goes down in the middle and comes back.
#[test]
fn a_server_that_crashes_and_comes_back() {
    let server = Server::start();
    let database = TestDatabase::create_on(&server);
    let temp = tempfile::TempDir::new().unwrap();
    let root = temp.path().join("demo");
    let root = root.to_str().unwrap();
    let tool = |arguments: &[&str]| migrate_tests::binary::Tool::new(arguments);
    let url = database.url();
    tool(&[
        "demo",
        "--dir",
        root,
        "--rows",
        "5000",
        "--no-migrate",
        "--database-url",
        &url,
    ])
    .run()
    .expect(0);
    let before = database.dump_sorted();
    let mut arguments = vec!["-C", root];
    arguments.extend(MIGRATE);
    let mut running = tool(&arguments).start();
    running
        .wait_for(|event| event["event"] == "step_started" && event["step"] == "data")
        .expect("the data step begins");
    server.crash();
    let run = running.finish();
    run.expect_one_of(&[3, 4]);
    server.start_again();
    tool(&["-C", root, "status"]).run().expect(0);
    tool(&["-C", root, "--rollback", "--to", "1.5.0", "--yes"])
        .run()
        .expect(0);
    assert_eq!(database.dump_sorted(), before);
    let config = std::fs::read_to_string(temp.path().join("demo/config/config.toml")).unwrap();
    assert!(config.contains("parallel_tasks"), "{config}");
}
