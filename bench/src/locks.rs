//! Who waits while a migration waits: somebody's transaction holds a table, the tools want to
//! alter it, and a writer goes on writing every 50 ms.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use migrate_tests::postgres::TestDatabase;

use crate::ours::{open, runtime};
use crate::pairs::{say, time};
use crate::tools::{installed, ours, run};

const WRITES_EVERY: Duration = Duration::from_millis(50);
const ALTER: &str = "ALTER TABLE t ADD COLUMN added integer;\n";

/// How a tool is called for a database and a directory.
type Call = fn(&Path, &TestDatabase<'_>, &str);

/// Tools, each over so many rounds; the table is held for so many seconds.
pub(crate) fn head_to_head(seconds: u64, rounds: u64) {
    let hold = Duration::from_secs(seconds);
    let contestants: [(&str, Option<PathBuf>, Call); 3] = [
        ("etlrs-migrate", Some(ours()), |tool, database, dir| {
            let url = database.admin_url();
            run(
                tool,
                &[
                    "schema",
                    "apply",
                    "--source",
                    dir,
                    "--layout",
                    "dbmate",
                    "--database-url",
                    &url,
                ],
            );
        }),
        ("sqlx-cli", installed("sqlx"), |tool, database, dir| {
            let url = database.admin_url();
            run(
                tool,
                &["migrate", "run", "--source", dir, "--database-url", &url],
            );
        }),
        ("dbmate", installed("dbmate"), |tool, database, dir| {
            let url = format!("{}?sslmode=disable", database.admin_url());
            run(
                tool,
                &[
                    "--no-dump-schema",
                    "--migrations-dir",
                    dir,
                    "--url",
                    &url,
                    "up",
                ],
            );
        }),
    ];
    say(&format!(
        "\nA transaction holds the table for {seconds} s; a writer writes every 50 ms.\n"
    ));
    say("| tool | round | migration | writer's worst wait | its waits over 1 s |");
    say("|---|---|---|---|---|");
    for round in 1..=rounds {
        for (name, tool, call) in &contestants {
            let Some(tool) = tool else { continue };
            let seen = held(hold, |database, dir| call(tool, database, dir));
            say(&format!(
                "| {name} | {round} | {:.1} s | {:.2} s | {} |",
                seen.migration.as_secs_f64(),
                seen.worst.as_secs_f64(),
                seen.long
            ));
        }
    }
}

struct Seen {
    migration: Duration,
    worst: Duration,
    long: usize,
}

fn held(hold: Duration, migrate: impl FnOnce(&TestDatabase<'_>, &str)) -> Seen {
    let database = TestDatabase::create();
    database
        .admin_psql("create table t (a integer); insert into t select generate_series(1, 10000)");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let text = format!("-- migrate:up\n{ALTER}-- migrate:down\n");
    std::fs::write(dir.path().join("20240101000000_add.sql"), text).expect("it can be written");
    let stop = AtomicBool::new(false);
    let holder = Holder::begin(&database, hold);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&database, &stop));
        let stopped = StopAtEnd(&stop);
        std::thread::sleep(Duration::from_millis(500));
        let migration = time(|| migrate(&database, dir.path().to_str().expect("UTF-8")));
        drop(holder);
        std::thread::sleep(Duration::from_millis(200));
        drop(stopped);
        let waits = writer.join().expect("the writer goes on to the end");
        assert_eq!(
            database.admin_psql("select count(added) from t"),
            "0",
            "the column is there"
        );
        Seen {
            migration,
            worst: waits.iter().copied().max().unwrap_or_default(),
            long: waits.iter().filter(|wait| wait.as_secs() >= 1).count(),
        }
    })
}

/// Stops the writer even when a tool fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long each write took.
fn write(database: &TestDatabase<'_>, stop: &AtomicBool) -> Vec<Duration> {
    let runtime = runtime();
    let db = open(&runtime, &database.admin_url().parse().expect("a URL"));
    let mut waits = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let wrote = runtime.block_on(db.execute("insert into t (a) values (1)"));
        assert_eq!(wrote.expect("the writer writes"), 1);
        waits.push(began.elapsed());
        std::thread::sleep(WRITES_EVERY.saturating_sub(began.elapsed()));
    }
    runtime.block_on(db.close());
    waits
}

/// A session that has read the table and does not end its transaction.
struct Holder(Child);

impl Holder {
    fn begin(database: &TestDatabase<'_>, hold: Duration) -> Self {
        let sql = format!(
            "begin; select count(*) from t; select pg_sleep({}); commit",
            hold.as_secs_f64()
        );
        let child = Command::new(database.server().binaries().program("psql"))
            .args(["-X", "-q", "-c", &sql, &database.admin_url()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql starts");
        let holds = "select count(*) from pg_locks where relation = 't'::regclass and pid <> pg_backend_pid()";
        while database.admin_psql(holds) == "0" {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
