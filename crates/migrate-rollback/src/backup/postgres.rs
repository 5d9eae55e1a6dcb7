//! A copy of a PostgreSQL database: `pg_dump` in its custom format, or in its directory format
//! with several workers, checked by `pg_restore`.

use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::Stdio;

use migrate_core::{Cancel, StepError};
use migrate_schema::db::{DbError, Postgres};
use migrate_schema::own;
use sqlx::{PgConnection, Row};
use tempfile::{NamedTempFile, TempDir};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;

use super::directory;
use crate::pg::archive::Contents;
use crate::pg::child::{Group, tail};
use crate::pg::programs::Programs;
use crate::pg::target::Target;

/// Everything but our own schema. Subscriptions belong to the server's replication, not to
/// the database's content, and can't be replaced in a transaction.
fn arguments(snapshot: Option<&str>) -> Vec<String> {
    [
        "--compress=1",
        "--no-password",
        "--no-subscriptions",
        "--lock-wait-timeout=30s",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("--exclude-schema={}", own::SCHEMA)])
    .chain(snapshot.map(|id| format!("--snapshot={id}")))
    .collect()
}

/// A moment of the database that stays readable while this is held: what is dumped in it and
/// what is looked at in it are the same, whoever writes meanwhile.
pub(crate) struct Moment {
    id: String,
    _held: PgConnection,
}

impl Moment {
    pub(crate) async fn hold(database: &Postgres) -> Result<Self, DbError> {
        let mut held = database.connect_beside().await?;
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .execute(&mut held)
            .await?;
        let id = sqlx::query_scalar("SELECT pg_export_snapshot()")
            .fetch_one(&mut held)
            .await?;
        Ok(Self { id, _held: held })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

/// Dumps the database into a temporary file below `dir` and checks the archive. The
/// archive passes through a pipe, so that `pg_dump` ends when this process is gone.
/// When asked to stop, `pg_dump` is killed; the server sees the closed connection.
pub(crate) async fn copy(
    database: &Postgres,
    programs: &Programs,
    target: &Target,
    dir: &Path,
    moment: Option<&Moment>,
    cancel: &Cancel,
) -> Result<NamedTempFile, StepError> {
    let mut file =
        directory::temporary(dir, "etlrs_backup").map_err(|error| no_file(dir, &error))?;
    let dump = dump(programs, target, moment, &mut file);
    tokio::select! {
        biased;
        done = dump => done?,
        _ = cancel.cancelled() => return Err(StepError::interrupted("asked to stop the backup")),
    }
    let contents = Contents::read(programs, file.path()).await?;
    check_contents(database, &contents).await?;
    Ok(file)
}

/// The same with several workers, into a temporary directory below `dir`. `pg_dump` writes the
/// files itself, so one that outlives this process goes on until its directory is removed.
pub(crate) async fn copy_parallel(
    database: &Postgres,
    programs: &Programs,
    target: &Target,
    dir: &Path,
    moment: Option<&Moment>,
    jobs: NonZeroU32,
    cancel: &Cancel,
) -> Result<TempDir, StepError> {
    let copy =
        directory::temporary_dir(dir, "etlrs_backup").map_err(|error| no_file(dir, &error))?;
    let dump = async {
        let mut arguments = arguments(moment.map(Moment::id));
        arguments.extend(["--format=directory".to_owned(), format!("--jobs={jobs}")]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = target.command(&programs.pg_dump(), &arguments);
        command.arg("--file").arg(copy.path());
        let mut child = Group::start(command, Stdio::null(), Stdio::null())
            .map_err(|error| StepError::caused("can't run pg_dump", &error))?;
        let said = tail(child.stderr()).await;
        ended(&mut child, target, &said).await
    };
    tokio::select! {
        biased;
        done = dump => done?,
        _ = cancel.cancelled() => return Err(StepError::interrupted("asked to stop the backup")),
    }
    let contents = Contents::read(programs, copy.path()).await?;
    check_contents(database, &contents).await?;
    Ok(copy)
}

fn no_file(dir: &Path, error: &std::io::Error) -> StepError {
    StepError::caused(format!("can't write in {}", dir.display()), error)
}

async fn ended(child: &mut Group, target: &Target, said: &str) -> Result<(), StepError> {
    let status = child
        .wait()
        .await
        .map_err(|error| StepError::caused("can't wait for pg_dump", &error))?;
    if status.success() {
        return Ok(());
    }
    let error = StepError::failed(format!("pg_dump failed ({status})")).cause(target.redact(said));
    Err(match hidden_rows(said) {
        Some(table) => error
            .cause(format!(
                "row security on table {table} binds this role: a backup would hold only some of its rows"
            ))
            .hint("connect as the table's owner or as a role with BYPASSRLS"),
        None => error,
    })
}

/// The table of which a policy would hide rows, where that is what `pg_dump` says.
fn hidden_rows(said: &str) -> Option<&str> {
    let (_, after) = said.split_once("row-level security policy for table \"")?;
    after.split('"').next()
}

async fn dump(
    programs: &Programs,
    target: &Target,
    moment: Option<&Moment>,
    file: &mut NamedTempFile,
) -> Result<(), StepError> {
    let mut arguments = arguments(moment.map(Moment::id));
    arguments.insert(0, "--format=custom".to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let command = target.command(&programs.pg_dump(), &arguments);
    let mut child = Group::start(command, Stdio::null(), Stdio::piped())
        .map_err(|error| StepError::caused("can't run pg_dump", &error))?;
    let (stdout, stderr) = (child.stdout(), child.stderr());
    let (saved, said) = tokio::join!(save(stdout, file), tail(stderr));
    saved.map_err(|error| StepError::caused("can't write the backup", &error))?;
    ended(&mut child, target, &said).await
}

async fn save(mut from: ChildStdout, to: &mut NamedTempFile) -> std::io::Result<()> {
    let mut piece = vec![0; 1 << 18];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return to.flush();
        }
        to.write_all(&piece[..read])?;
    }
}

/// Whether the archive names every table and view that the catalog has.
async fn check_contents(database: &Postgres, contents: &Contents) -> Result<(), StepError> {
    let unread = |error: DbError| error.into_step_error("can't compare backup and catalog");
    let mut connection = database.acquire().await.map_err(unread)?;
    let rows = sqlx::query(
        "SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname !~ '^pg_' \
           AND n.nspname NOT IN ('information_schema', $1) \
           AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
                           AND d.objid = c.oid AND d.deptype = 'e') \
         ORDER BY 1, 2",
    )
    .bind(own::SCHEMA)
    .fetch_all(&mut *connection)
    .await
    .map_err(|error| unread(error.into()))?;
    let mut missing = Vec::new();
    for row in &rows {
        let text = |column: &str| row.try_get::<String, _>(column).unwrap_or_default();
        let (schema, name) = (text("schema"), text("name"));
        let kinds: &[&str] = match text("kind").as_str() {
            "r" => &["TABLE", "TABLE DATA"],
            "v" => &["VIEW"],
            "m" => &["MATERIALIZED VIEW"],
            _ => &["TABLE"],
        };
        for kind in kinds
            .iter()
            .filter(|kind| !contents.has(kind, &schema, &name))
        {
            missing.push(format!("{kind} {schema}.{name}"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut error = StepError::failed("the backup does not hold everything that the database has");
    error.causes = missing;
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_no_place_and_no_secret() {
        for argument in arguments(Some("00000003-0000001B-1")) {
            assert!(
                !argument.contains("://") && !argument.contains("dbname"),
                "{argument}"
            );
        }
        assert!(arguments(None).contains(&"--no-password".to_owned()));
        assert!(arguments(None).contains(&"--exclude-schema=etlrs_migrate".to_owned()));
    }
}
