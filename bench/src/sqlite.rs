//! SQLite: the guide's workload, against sqlite3.

use std::path::Path;

use migrate_data::Verify;
use migrate_schema::db::DatabaseUrl;

use crate::ours::{engine, open, pipelines, runtime};
use crate::pairs::Rounds;

const SOURCE: &str = include_str!("../sql/source.sqlite.sql");
const TARGET: &str = include_str!("../sql/target.sqlite.sql");

/// The shipped transform as one statement: the same work for both.
fn insert_select() -> String {
    let select = include_str!("../../migrations/transform_pipelines.sqlite.sql");
    format!(
        "INSERT INTO pipelines (id, name, config, status, retry_attempts, timeout_seconds, created_at, updated_at) \
         WITH batch AS (SELECT * FROM pipelines_old) SELECT * FROM ({select}) WHERE true \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, config = excluded.config, status = excluded.status, updated_at = CURRENT_TIMESTAMP;"
    )
}

/// Into an empty table.
pub(crate) fn into_empty(rows: u64, rounds: u64) {
    let runtime = runtime();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("bench.db");
    sqlite3(&file, &SOURCE.replace(":rows", &rows.to_string()));
    let url = DatabaseUrl::sqlite(&file);
    let empty = || sqlite3(&file, TARGET);
    let copy = |verify| {
        let db = open(&runtime, &url);
        let counts = pipelines(&runtime, engine(&db, 2, verify), rows);
        assert_eq!(counts.inserted, rows, "every row arrives");
        runtime.block_on(db.close());
    };
    let (same, simple) = (
        "one INSERT..SELECT, the same transform (SQLite 3.51)",
        "one INSERT..SELECT in sqlite3 that checks nothing",
    );
    let done = Rounds::new(rows)
        .with(same, empty, || {
            let db = open(&runtime, &url);
            let wrote = runtime.block_on(db.execute(&insert_select()));
            assert_eq!(wrote.expect("it fits"), rows, "every row arrives");
            runtime.block_on(db.close());
        })
        .with("off", empty, || copy(Verify::Off))
        .with(simple, empty, || {
            sqlite3(&file, include_str!("../sql/insert_select.sqlite.sql"));
        })
        .with("full", empty, || copy(Verify::Full))
        .run(rounds);
    done.compare("SQLite, in batches, verify off", same, "off", 0.9);
    done.compare("SQLite, in batches, verify off", simple, "off", 0.9);
    done.compare("SQLite, in batches, verify full", same, "full", 0.0);
}

pub(crate) fn sqlite3(file: &Path, sql: &str) {
    let status = std::process::Command::new("sqlite3")
        .arg("-bail")
        .arg(file)
        .arg(sql)
        .status()
        .expect("sqlite3 is installed");
    assert!(status.success(), "sqlite3 failed");
}
