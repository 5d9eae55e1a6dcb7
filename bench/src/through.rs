//! Rows that pass through this process: Rust transforms, other databases, and their memory.

use std::process::{Command, Stdio};

use migrate_data::Verify;
use migrate_schema::db::DatabaseUrl;
use migrate_tests::postgres::{Server, TestDatabase};

use crate::ours::{engine, open, runtime};
use crate::pairs::{Rounds, Spread, row, say};

const SOURCE: &str = include_str!("../sql/source.postgres.sql");
const TARGET: &str = include_str!("../sql/target.postgres.sql");

/// Every column as it is, into a table of the same shape.
const SAME: &str = "DROP TABLE IF EXISTS copied; CREATE TABLE copied (id integer PRIMARY KEY, name text NOT NULL, config text NOT NULL, status text NOT NULL, created_at timestamptz)";

fn source(rows: u64) -> TestDatabase<'static> {
    filled(TestDatabase::create(), rows)
}

fn filled(test: TestDatabase<'_>, rows: u64) -> TestDatabase<'_> {
    test.admin_psql(&SOURCE.replace(":rows", &rows.to_string()));
    test
}

/// `psql COPY out | psql COPY in`, in binary, with no transform.
fn copy_out_copy_in(from: &TestDatabase<'_>, to: &TestDatabase<'_>, table: &str) {
    let psql = |url: &str, sql: &str| {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-d", url, "-c", sql]);
        command
    };
    let out = format!("COPY {table} TO STDOUT (FORMAT binary)");
    let mut reader = psql(&from.admin_url(), &out)
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql is installed");
    let pipe = reader.stdout.take().expect("it is piped");
    let written = psql(&to.admin_url(), "COPY copied FROM STDIN (FORMAT binary)")
        .stdin(pipe)
        .status()
        .expect("psql is installed");
    assert!(written.success() && reader.wait().expect("it ends").success());
}

/// A transform in Rust against COPY out | COPY in without one.
pub(crate) fn rust(rows: u64, rounds: u64) {
    let runtime = runtime();
    let test = source(rows);
    let db = open(&runtime, &test.admin_url().parse().expect("a URL"));
    let empty = || {
        test.admin_psql(&format!("{TARGET}; {SAME}"));
    };
    let theirs = "psql COPY out | COPY in, no transform";
    let done = Rounds::new(rows)
        .with(theirs, empty, || {
            copy_out_copy_in(&test, &test, "pipelines_old");
        })
        .with("ours", empty, || {
            let copy = engine(&db, 2, Verify::Off).build();
            let counts = runtime.block_on(copy.migrate(
                "pipelines_old",
                "pipelines",
                "rust:transform_config",
            ));
            assert_eq!(counts.expect("the copy succeeds").inserted, rows);
        })
        .run(rounds);
    done.compare(
        "rust:transform_config, 2 workers, verify off",
        theirs,
        "ours",
        0.7,
    );
    runtime.block_on(db.close());
}

/// From another database of the same server, and from SQLite.
pub(crate) fn elsewhere(rows: u64, rounds: u64) {
    let runtime = runtime();
    let (from, to) = (source(rows), TestDatabase::create());
    let (there, here) = (
        open(&runtime, &from.admin_url().parse().expect("a URL")),
        open(&runtime, &to.admin_url().parse().expect("a URL")),
    );
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("source.db");
    crate::sqlite::sqlite3(
        &file,
        &include_str!("../sql/source.sqlite.sql").replace(":rows", &rows.to_string()),
    );
    let lite = open(&runtime, &DatabaseUrl::sqlite(&file));
    let empty = || {
        to.admin_psql(SAME);
    };
    let copy = |source: &migrate_schema::db::Database| {
        let copy = engine(&here, 2, Verify::Off).source(source.clone()).build();
        let counts =
            runtime.block_on(copy.migrate("pipelines_old", "copied", "SELECT * FROM batch"));
        assert_eq!(counts.expect("the copy succeeds").inserted, rows);
    };
    let theirs = "psql COPY out | COPY in";
    let mut all = Rounds::new(rows)
        .with(theirs, empty, || {
            copy_out_copy_in(&from, &to, "pipelines_old");
        })
        .with("servers", empty, || copy(&there))
        .with("lite", empty, || copy(&lite));
    let loader = Command::new("pgloader").arg("--version").output().is_ok();
    if loader {
        all = all.with(
            "pgloader",
            || drop(to.admin_psql("DROP TABLE IF EXISTS pipelines_old")),
            || {
                pgloader(&file.display().to_string(), &to);
            },
        );
    }
    let done = all.run(rounds);
    done.compare(
        "PostgreSQL to another database, 2 workers",
        theirs,
        "servers",
        0.0,
    );
    done.compare("SQLite to PostgreSQL, 2 workers", theirs, "lite", 0.0);
    if loader {
        done.compare("SQLite to PostgreSQL, 2 workers", "pgloader", "lite", 1.5);
    } else {
        say("| SQLite to PostgreSQL / pgloader | | | | 1.5 | ? | pgloader is not installed |");
    }
}

/// From one server of PostgreSQL to another, whole table by whole table.
pub(crate) fn servers(rows: u64, rounds: u64) {
    let runtime = runtime();
    let (old, new) = (Server::start(), Server::start());
    let from = filled(TestDatabase::create_on(&old), rows);
    let to = TestDatabase::create_on(&new);
    let (there, here) = (
        open(&runtime, &from.admin_url().parse().expect("a URL")),
        open(&runtime, &to.admin_url().parse().expect("a URL")),
    );
    let empty = || {
        to.admin_psql(SAME);
    };
    let copy = |verify: Verify| {
        let copy = engine(&here, 2, verify).source(there.clone()).build();
        let counts =
            runtime.block_on(copy.migrate("pipelines_old", "copied", "SELECT * FROM batch"));
        assert_eq!(counts.expect("the copy succeeds").inserted, rows);
    };
    let psql = "psql COPY out | COPY in";
    let mut all = Rounds::new(rows)
        .with(psql, empty, || {
            copy_out_copy_in(&from, &to, "pipelines_old");
        })
        .with("ours", empty, || copy(Verify::Off))
        .with("verified", empty, || copy(Verify::Full));
    let loader = crate::tools::installed("pgloader").is_some();
    if loader {
        all = all.with(
            "pgloader",
            || drop(to.admin_psql("DROP TABLE IF EXISTS pipelines_old")),
            || {
                pgloader(
                    &from.admin_url().replace("postgres://", "postgresql://"),
                    &to,
                );
            },
        );
    }
    let done = all.run(rounds);
    let what = "PostgreSQL to another server, 2 workers";
    done.compare(what, psql, "ours", 0.0);
    if loader {
        done.compare(what, "pgloader", "ours", 1.5);
        done.compare(
            "PostgreSQL to another server, full verification",
            "pgloader",
            "verified",
            0.0,
        );
    }
    runtime.block_on(there.close());
    runtime.block_on(here.close());
}

fn pgloader(from: &str, to: &TestDatabase<'_>) {
    let done = Command::new("pgloader")
        .arg(from)
        .arg(to.admin_url().replace("postgres://", "postgresql://"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("pgloader is installed");
    assert!(done.success(), "pgloader failed");
}

/// The most memory that this program ever held, over copies of many and of wide rows.
pub(crate) fn memory(rows: u64, _rounds: u64) {
    for (what, wide) in [("many rows", false), ("rows of 1 MiB", true)] {
        let rows = if wide { 200 } else { rows };
        let test = if wide {
            let test = TestDatabase::create();
            test.admin_psql(&format!("CREATE TABLE pipelines_old (id integer PRIMARY KEY, name text NOT NULL, config text NOT NULL, status text NOT NULL, created_at timestamptz); INSERT INTO pipelines_old SELECT i, repeat(md5(i::text), 32768), '{{}}', 'active', now() FROM generate_series(1, {rows}) AS i"));
            test
        } else {
            source(rows)
        };
        for script in ["sql", "rust:transform_config"] {
            test.admin_psql(TARGET);
            let me = std::env::current_exe().expect("this program has a path");
            let child = Command::new(me)
                .args(["child", &test.admin_url(), script])
                .output()
                .expect("this program starts again");
            assert!(
                child.status.success(),
                "{}",
                String::from_utf8_lossy(&child.stderr)
            );
            let kib: f64 = String::from_utf8_lossy(&child.stdout)
                .trim()
                .parse()
                .expect("a number");
            row(
                &format!("64 MiB / most memory held, {what}, {script}, full verification"),
                rows,
                &Spread::of([64.0 * 1024.0 / kib]),
                1.0,
                &format!("{:.0} MiB", kib / 1024.0),
            );
        }
    }
}

/// The copy whose memory is measured; prints the most kibibytes that were held.
pub(crate) fn child(url: &str, script: &str) {
    let runtime = runtime();
    let db = open(&runtime, &url.parse().expect("a URL"));
    let copy = engine(&db, 2, Verify::Full).build();
    let moved = match script {
        "sql" => runtime.block_on(copy.migrate_pipeline_data()),
        script => runtime.block_on(copy.migrate("pipelines_old", "pipelines", script)),
    };
    moved.expect("the copy succeeds");
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    say(kib.expect("Linux tells the most memory"));
}
