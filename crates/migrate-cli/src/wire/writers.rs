//! Who else writes to the database, named.

use async_trait::async_trait;
use migrate_core::StepError;
use migrate_schema::db::{Database, Sqlite};
use migrate_service::{WriterProbe, Writers};
use serde_json::Value;

/// Sessions of others on the database, or other processes on its file.
pub(super) struct OthersOn(pub(super) Database);

/// Every client that may write to one of the user's tables. Sessions of other roles show
/// neither state nor query without `pg_read_all_stats`. Literals in queries are left out: they
/// may be secrets.
const SESSIONS: &str = r"
SELECT format('process %s (%s, role %s, %s): %s%s', a.pid,
    coalesce(nullif(a.application_name, ''), 'unnamed program'),
    coalesce(a.usename, '?'), coalesce(a.state, 'state not shown'),
    left(regexp_replace(regexp_replace(a.query, '''[^'']*''', '''...''', 'g'), '\s+', ' ', 'g'), 120),
    (SELECT '; has locks on ' || string_agg(DISTINCT l.relation::regclass::text, ', ')
     FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
     JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE l.pid = a.pid AND l.granted AND c.relkind IN ('r', 'p', 'm')
       AND n.nspname NOT IN ('pg_catalog', 'information_schema')))
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND coalesce(a.application_name, '') NOT LIKE 'etlrs-migrate%'
  AND EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_'
        AND n.nspname NOT IN ('information_schema', 'etlrs_migrate')
        AND has_table_privilege(a.usesysid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))
";

/// And is writing: it has a transaction of its own number, or a lock that only writers take.
const AT_WORK: &str = r"
  AND (a.backend_xid IS NOT NULL OR EXISTS (SELECT 1 FROM pg_locks l
       JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE l.pid = a.pid AND l.granted AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
         AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'etlrs_migrate')))
";

#[async_trait]
impl WriterProbe for OthersOn {
    async fn other_writers(&self, which: Writers) -> Result<Vec<String>, StepError> {
        match &self.0 {
            Database::Postgres(_) => sessions(&self.0, which).await,
            Database::Sqlite(db) => processes(db, which).await,
        }
    }
}

async fn sessions(db: &Database, which: Writers) -> Result<Vec<String>, StepError> {
    let narrowed = match which {
        Writers::Any => "",
        Writers::AtWork => AT_WORK,
    };
    let found = db
        .query_ours(&format!("{SESSIONS}{narrowed} ORDER BY a.pid"))
        .await
        .map_err(|error| error.into_step_error("looking for other sessions"))?;
    Ok(match found {
        Value::String(one) => vec![one],
        Value::Array(rows) => rows
            .iter()
            .filter_map(|row| row.get(0).and_then(Value::as_str))
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    })
}

/// The exclusive lock proves that nobody is in a transaction; the open files of other
/// processes tell who could begin one.
async fn processes(db: &Sqlite, which: Writers) -> Result<Vec<String>, StepError> {
    let options = db.pool().connect_options();
    let file = options.get_filename().to_owned();
    let open = migrate_schema::db::openers(&file);
    if which == Writers::Any && !open.is_empty() {
        return Ok(open);
    }
    if migrate_schema::db::is_free(db)
        .await
        .map_err(|error| error.into_step_error("looking for other processes"))?
    {
        return Ok(Vec::new());
    }
    if open.is_empty() {
        return Ok(vec![format!(
            "a process that can't be seen from here has {} locked",
            file.display()
        )]);
    }
    Ok(open)
}
