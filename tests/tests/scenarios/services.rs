//! Services are down while rows move and up afterwards: with a real service manager (runit)
//! and real processes that write.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use migrate_tests::deployment::{Deployment, Store};
use serde_json::json;

use crate::{on_both, shipped};

pub(crate) const MIGRATE: &[&str] = &[
    "--from",
    "1.5.0",
    "--to",
    "2.0.0",
    "--yes",
    "--allow-commands",
];

/// `runsvdir` with one service for each name, which writes a row now and then.
pub(crate) struct Runit {
    supervisor: Child,
    dir: tempfile::TempDir,
}

impl Runit {
    pub(crate) fn with(deployment: &Deployment, names: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = String::new();
        for name in names {
            let service = dir.path().join(name);
            std::fs::create_dir(&service).unwrap();
            let run = service.join("run");
            std::fs::write(&run, app(deployment, name)).unwrap();
            std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).unwrap();
            let at = service.display();
            settings.push_str(&format!(
                "[services.{name}]\nmanager = \"command\"\n\
                 start = [\"sv\", \"-w\", \"20\", \"start\", \"{at}\"]\n\
                 stop = [\"sv\", \"-w\", \"20\", \"stop\", \"{at}\"]\n\
                 status = \"sv status {at} | grep -q ^run:\"\n"
            ));
        }
        deployment.write("etlrs-migrate.toml", &settings);
        let supervisor = Command::new("runsvdir")
            .arg("-P")
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("runsvdir is installed (apt install runit; scripts/test.sh does it)");
        let this = Self { supervisor, dir };
        for name in names {
            this.wait(name, "run:");
        }
        this
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn status(&self, name: &str) -> String {
        let output = Command::new("sv")
            .args(["status", &self.path(name)])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait(&self, name: &str, state: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.status(name).starts_with(state) {
            assert!(Instant::now() < until, "{name}: {}", self.status(name));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn sv(&self, verb: &str, name: &str) {
        let status = Command::new("sv")
            .args(["-w", "20", verb, &self.path(name)])
            .status();
        assert!(status.unwrap().success(), "sv {verb} {name}");
    }
}

impl Drop for Runit {
    fn drop(&mut self) {
        // SIGHUP lets runsvdir end its services with it.
        let hup = format!("kill -HUP {}", self.supervisor.id());
        let _ = Command::new("sh").args(["-c", &hup]).status();
        let _ = self.supervisor.wait();
    }
}

/// A program that writes to a table of its own on a connection of its own.
fn app(deployment: &Deployment, name: &str) -> String {
    deployment.sql(&format!("CREATE TABLE log_{name} (at text)"));
    let insert = format!("INSERT INTO log_{name} VALUES ('x')");
    let once = match deployment.store() {
        Store::Sqlite => format!(
            "sqlite3 '{}' '.timeout 5000' \"{insert}\"",
            deployment.path("data/etlrs.db").display()
        ),
        Store::Postgres => format!(
            "{} -X -q '{}' -c \"{insert}\"",
            deployment
                .postgres()
                .server()
                .binaries()
                .program("psql")
                .display(),
            deployment.postgres().url()
        ),
    };
    format!("#!/bin/sh\nwhile :; do {once}; sleep 0.1; done\n")
}

fn rows(deployment: &Deployment, name: &str) -> String {
    deployment.sql(&format!("SELECT count(*) FROM log_{name}"))
}

fn those_that_ran_run_again_and_those_that_did_not_stay_down(store: Store) {
    let deployment = Deployment::v1().on(store);
    let runit = Runit::with(&deployment, &["web", "worker"]);
    runit.sv("stop", "worker");
    deployment
        .run(MIGRATE)
        .expect(0)
        .says(&["web stopped", "web started"]);
    deployment.must_be_v2();
    runit.wait("web", "run:");
    runit.wait("worker", "down:");
    let before = rows(&deployment, "web");
    let until = Instant::now() + Duration::from_secs(20);
    while rows(&deployment, "web") == before {
        assert!(Instant::now() < until, "the service does not write");
        std::thread::sleep(Duration::from_millis(50));
    }
    let back = deployment.run(&[
        "--rollback",
        "--to",
        "1.5.0",
        "--strategy",
        "reverse",
        "--yes",
    ]);
    back.expect(0).says(&["web stopped", "web started"]);
    runit.wait("web", "run:");
    runit.wait("worker", "down:");
}

fn they_run_again_after_a_run_that_failed(store: Store) {
    let deployment = Deployment::v1().on(store);
    let runit = Runit::with(&deployment, &["web"]);
    shipped::insert_step(&deployment, shipped::steps(), shipped::failing_validation());
    deployment
        .run(MIGRATE)
        .expect(3)
        .says(&["web stopped", "web started"]);
    runit.wait("web", "run:");
}

/// What an orchestrator does that nobody told to hold still.
fn one_that_comes_back_while_rows_move_is_noticed(store: Store) {
    for position in [1, shipped::steps()] {
        let deployment = Deployment::v1().on(store);
        let runit = Runit::with(&deployment, &["web"]);
        let step = json!({
            "id": "orchestrator", "description": "starts what is down", "step_type": "Command",
            "command": ["sv", "-w", "20", "start", runit.path("web")],
            "undo": ["true"], "timeout": "60s", "can_rollback": true,
        });
        shipped::insert_step(&deployment, position, step);
        let pipelines = deployment.sql("SELECT count(*) FROM pipelines");
        deployment
            .run(MIGRATE)
            .expect(3)
            .says(&["came back", "web runs", "Restart=no"]);
        assert_eq!(deployment.sql("SELECT count(*) FROM pipelines"), pipelines);
        assert!(
            deployment
                .read("config/config.toml")
                .contains("parallel_tasks")
        );
        runit.wait("web", "run:");
    }
}

/// While rows move, not only between steps: a step that takes much longer is ended at a batch.
fn one_that_comes_back_inside_a_long_step_is_noticed(store: Store) {
    let deployment = Deployment::v1().rows(4_000).on(store);
    let runit = Runit::with(&deployment, &["web"]);
    let (name, slow) = match store {
        Store::Postgres => (
            "transform_pipelines.sql",
            "\nCROSS JOIN LATERAL (SELECT pg_sleep(0.02 + id * 0)) AS slowly\n",
        ),
        Store::Sqlite => (
            "transform_pipelines.sqlite.sql",
            "\nWHERE (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
             WHERE i < 200000 + id * 0) SELECT count(*) FROM n) > 0\n",
        ),
    };
    let script = shipped::script(name);
    deployment.write(
        &format!("migrations/{name}"),
        &format!("{}{slow}", script.trim_end()),
    );
    let mut plan = shipped::plan();
    let data = plan["steps"].as_array_mut().unwrap();
    let data = data
        .iter_mut()
        .find(|step| step["step_type"] == "DataMigration")
        .unwrap();
    data["data_migration"]["batch_size"] = json!(20);
    data["data_migration"]["verify"] = json!("off");
    data["timeout"] = json!("10m");
    let id = data["id"].as_str().unwrap().to_owned();
    shipped::overlay(&deployment, &plan);
    let pipelines = deployment.sql("SELECT count(*) FROM pipelines_old");

    let mut running = deployment
        .tool(&[MIGRATE, &["--format", "json"]].concat())
        .start();
    let began = running.wait_for(|event| event["event"] == "step_progress" && event["step"] == *id);
    assert!(began.is_some(), "no row moved");
    let came = Instant::now();
    runit.sv("start", "web");
    let failed = running.wait_for(|event| event["event"] == "step_failed");
    let noticed = came.elapsed();
    let failed = failed.expect("it is noticed before the step ends");
    assert_eq!(failed["step"], *id, "{failed}");
    assert!(failed.to_string().contains("web runs"), "{failed}");
    assert!(noticed < Duration::from_secs(25), "after {noticed:?}");
    running.finish().expect(3).says(&["came back", "web runs"]);
    assert_eq!(
        deployment.sql("SELECT count(*) FROM pipelines_old"),
        pipelines
    );
    runit.wait("web", "run:");
}

/// An undo is not ended for one that comes back: it is stopped again beside it.
fn one_that_comes_back_inside_an_undo_is_stopped_again(store: Store) {
    let deployment = Deployment::v1().on(store);
    let runit = Runit::with(&deployment, &["web"]);
    let web = runit.path("web");
    let undo = format!("sv -w 20 start {web}; sleep 8; sv status {web} > seen-by-undo");
    let step = json!({
        "id": "orchestrator", "description": "starts what is down", "step_type": "Command",
        "command": ["true"], "undo": ["sh", "-c", undo], "timeout": "60s", "can_rollback": true,
    });
    let mut plan = shipped::plan();
    let steps = plan["steps"].as_array_mut().unwrap();
    steps.insert(1, step);
    steps.push(shipped::failing_validation());
    shipped::overlay(&deployment, &plan);
    let pipelines = deployment.sql("SELECT count(*) FROM pipelines");
    deployment
        .run(MIGRATE)
        .expect(3)
        .says(&["on the way back", "web runs"]);
    let seen = deployment.read("seen-by-undo");
    assert!(seen.starts_with("down:"), "{seen}");
    assert_eq!(deployment.sql("SELECT count(*) FROM pipelines"), pipelines);
    runit.wait("web", "run:");
}

fn an_emergency_stops_and_starts_them_too(store: Store) {
    let deployment = Deployment::v1().on(store);
    let runit = Runit::with(&deployment, &["web", "worker"]);
    deployment.run(MIGRATE).expect(0);
    runit.sv("stop", "worker");
    deployment
        .run(&["emergency-rollback", "--version", "1.5.0", "--yes"])
        .expect(0)
        .says(&["web stopped", "web started"]);
    runit.wait("web", "run:");
    runit.wait("worker", "down:");
    assert!(
        deployment
            .read("config/config.toml")
            .contains("parallel_tasks")
    );
}

fn a_writer_that_no_service_manages_is_named_and_refused(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    let (program, begin) = match store {
        Store::Sqlite => (
            format!("sqlite3 '{}'", deployment.path("data/etlrs.db").display()),
            "BEGIN IMMEDIATE;",
        ),
        Store::Postgres => (
            format!(
                "PGAPPNAME=forgotten-cron {} -X -q '{}'",
                deployment
                    .postgres()
                    .server()
                    .binaries()
                    .program("psql")
                    .display(),
                deployment.postgres().url()
            ),
            "BEGIN; UPDATE pipelines_old SET name = 'geheim-4711' WHERE id = -1;",
        ),
    };
    let mut writer = Command::new("sh")
        .args([
            "-c",
            &format!(
                "exec {}{program}",
                if store == Store::Postgres { "env " } else { "" }
            ),
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = writer.stdin.as_mut().unwrap();
    writeln!(stdin, "{begin}").unwrap();
    stdin.flush().unwrap();
    let at_work = || {
        match store {
        Store::Postgres => {
            deployment.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'forgotten-cron' AND state = 'idle in transaction'") != "0"
        }
        Store::Sqlite => {
            let tried = Command::new("sqlite3")
                .arg(deployment.path("data/etlrs.db"))
                .arg("BEGIN IMMEDIATE; ROLLBACK")
                .stderr(Stdio::null())
                .status();
            !tried.unwrap().success()
        }
    }
    };
    let until = Instant::now() + Duration::from_secs(20);
    while !at_work() {
        assert!(Instant::now() < until, "the writer did not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = deployment.run(MIGRATE);
    match store {
        Store::Postgres => run.expect_one_of(&[1, 3]).says(&[
            "forgotten-cron",
            "idle in transaction",
            "UPDATE pipelines_old SET name = '...'",
            "pipelines_old",
        ]),
        Store::Sqlite => run.expect_one_of(&[1, 3]).says(&["(sqlite3)", "process"]),
    };
    assert!(!run.output().contains("geheim-4711"), "{run}");
    let _ = writer.kill();
    let _ = writer.wait();
    before.must_equal(&deployment.snapshot(), "after a writer was named");
}

on_both!(
    those_that_ran_run_again_and_those_that_did_not_stay_down,
    they_run_again_after_a_run_that_failed,
    one_that_comes_back_while_rows_move_is_noticed,
    one_that_comes_back_inside_a_long_step_is_noticed,
    one_that_comes_back_inside_an_undo_is_stopped_again,
    an_emergency_stops_and_starts_them_too,
    a_writer_that_no_service_manages_is_named_and_refused,
);
