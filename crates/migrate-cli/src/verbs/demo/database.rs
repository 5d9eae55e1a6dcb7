//! The tables of an ETLRS 1.5.0 deployment.

use migrate_schema::catalog;
use migrate_schema::db::{Backend, Database, DbError};

use crate::failure::Failure;

/// What a demo's own table says of itself.
const MARK: &str = "made by etlrs-migrate demo";
/// What a demo and its migration make, in the order in which it can be dropped.
const TABLES: &[&str] = &[
    "pipeline_metrics",
    "pipelines",
    "pipelines_old",
    "schema_versions",
    "etlrs_demo",
];

/// A database must be empty or made by a demo.
pub(super) async fn refuse_what_is_not_ours(db: &Database) -> Result<(), Failure> {
    let tables = catalog::user_tables(db)
        .await
        .map_err(|error| Failure::from(error.into_step_error("the database's tables")))?;
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    let bare = |name: &String| name.rsplit('.').next().unwrap_or(name).to_owned();
    let marked = names.iter().any(|name| bare(name) == "etlrs_demo");
    let stranger = names
        .iter()
        .find(|name| !TABLES.contains(&bare(name).as_str()));
    if names.is_empty() || (marked && stranger.is_none()) {
        return Ok(());
    }
    let shown = stranger.or(names.first()).cloned().unwrap_or_default();
    Err(Failure::unchanged(format!(
        "the database is not empty and was not made by a demo: it has the table {shown}"
    ))
    .hint("give an empty database"))
}

/// Makes the tables and their rows anew, in one transaction's worth of statements each.
pub(super) async fn make(db: &Database, rows: u64) -> Result<(), DbError> {
    for statement in statements(db.backend(), rows) {
        db.execute(&statement).await?;
    }
    Ok(())
}

fn statements(backend: Backend, rows: u64) -> Vec<String> {
    let mut all = clean(backend);
    let time = match backend {
        Backend::Postgres => "timestamptz",
        Backend::Sqlite => "text",
    };
    all.push(format!(
        "CREATE TABLE etlrs_demo (note text NOT NULL DEFAULT '{MARK}')"
    ));
    all.push(
        "CREATE TABLE pipelines (id integer PRIMARY KEY, name text NOT NULL, \
         config text NOT NULL, status text NOT NULL)"
            .to_owned(),
    );
    all.push(format!(
        "CREATE TABLE pipelines_old (id integer PRIMARY KEY, name text NOT NULL, \
         config text NOT NULL, status text NOT NULL, created_at {time})"
    ));
    all.push(old_rows(backend, rows));
    all.push(
        "INSERT INTO pipelines SELECT id, name || ' (1.4)', config, 'stopped' \
         FROM pipelines_old WHERE id % 100 = 0"
            .to_owned(),
    );
    all.push(
        "INSERT INTO pipelines VALUES (-1, 'a pipeline of today', \
         '{\"batch_size\":5}', 'active')"
            .to_owned(),
    );
    all
}

/// Rows with gaps between their ids, and configs in which keys are missing.
fn old_rows(backend: Backend, rows: u64) -> String {
    let (numbers, config, created) = match backend {
        Backend::Postgres => (
            format!("generate_series(1, {rows}) AS g(i)"),
            "json_strip_nulls(json_build_object('batch_size', CASE WHEN i % 5 > 0 THEN 100 * (1 + i % 20) END, \
             'parallel_tasks', CASE WHEN i % 7 > 0 THEN 1 + i % 8 END, \
             'database_url', 'postgres://db' || i % 3 || '/etl', \
             'log_level', CASE i % 4 WHEN 0 THEN 'debug' WHEN 1 THEN 'info' END))::text",
            "timestamptz '2023-01-01 00:00:00+00' + i * interval '1 minute'",
        ),
        Backend::Sqlite => (
            format!(
                "(WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {rows}) \
                 SELECT i FROM g)"
            ),
            "json_patch('{}', json_object('batch_size', CASE WHEN i % 5 > 0 THEN 100 * (1 + i % 20) END, \
             'parallel_tasks', CASE WHEN i % 7 > 0 THEN 1 + i % 8 END, \
             'database_url', 'postgres://db' || i % 3 || '/etl', \
             'log_level', CASE i % 4 WHEN 0 THEN 'debug' WHEN 1 THEN 'info' END))",
            "datetime('2023-01-01', '+' || i || ' minutes')",
        ),
    };
    format!(
        "INSERT INTO pipelines_old SELECT i + i / 10, 'pipeline ' || i, {config}, \
         CASE WHEN i % 3 = 0 THEN 'paused' ELSE 'active' END, {created} FROM {numbers}"
    )
}

/// Drops what an earlier demo made, its own only.
fn clean(backend: Backend) -> Vec<String> {
    let mut all: Vec<String> = TABLES
        .iter()
        .map(|table| format!("DROP TABLE IF EXISTS {table}"))
        .collect();
    if backend == Backend::Postgres {
        all.push("DROP FUNCTION IF EXISTS update_updated_at_column()".to_owned());
        all.push("DROP SCHEMA IF EXISTS etlrs_migrate CASCADE".to_owned());
    }
    all
}
