//! Restoring PostgreSQL: one transaction, driven through `psql`.
//!
//! `psql` is fed our statements that drop what is there, then what `pg_restore` prints (or a
//! plain backup's own text), and `COMMIT` only after that has ended well. If anything on the way dies, `psql`
//! sees its input end without a commit, and the server rolls back. The same session reads the
//! result before the commit: what is not what was expected is never committed.
//!
//! Outside of it: roles, tablespaces, settings of the database, default privileges of roles that
//! the session may not act for, subscriptions, and our own schema.

mod blockers;
mod head;
mod keep;
pub(crate) mod plain;
mod preamble;
mod session;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use migrate_core::StepError;
use migrate_schema::db::{DbError, Fence, Postgres};
use migrate_schema::fingerprint::printed;
use session::{Feed, Session};
use sqlx::Row;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::time::Instant;

use super::proof::Proof;
use crate::backup::directory;
use crate::canonical::{self, State};
use crate::pg::archive::{Contents, LeftOut};
use crate::pg::child::{Group, tail};
use crate::pg::programs::Programs;
use crate::pg::target::Target;

/// How long other sessions may keep locks on the tables before the restore gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server says when `lock_timeout` is over.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What a database is restored from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// An archive of `pg_dump`, a file or a directory.
    Archive(&'a Path),
    /// SQL, as `pg_dump` prints it without a format.
    Plain(&'a Path),
}

/// Makes the database what the source is, except for our own schema, if that is what the proof
/// asks for.
pub(crate) async fn restore(
    database: &Postgres,
    fence: Option<Fence>,
    (programs, target): (&Programs, &Target),
    source: Source<'_>,
    dir: &Path,
    proof: &mut Proof,
) -> Result<(), StepError> {
    let (contents, facts) = match source {
        Source::Archive(archive) => {
            let contents = Contents::read(programs, archive).await?;
            (contents, plain::Facts::default())
        }
        Source::Plain(file) => {
            let file = file.to_owned();
            let look = tokio::task::spawn_blocking(move || plain::look(&file));
            let facts = look
                .await
                .map_err(|error| StepError::caused("can't read the backup", &error))??;
            (Contents::default(), facts)
        }
    };
    let stay = Stay::read(database, &contents)
        .await
        .map_err(|error| error.into_step_error("can't look at the database before its restore"))?;
    directory::remove_leftovers(dir, "toc");
    let mut list = directory::temporary(dir, "toc")
        .map_err(|error| StepError::caused("can't write the list for pg_restore", &error))?;
    list.write_all(contents.without(&stay.left_out()).as_bytes())
        .and_then(|()| list.flush())
        .map_err(|error| StepError::caused("can't write the list for pg_restore", &error))?;
    let mut dropping = preamble::dropping(&stay);
    if facts.has_our_schema {
        dropping.push_str(preamble::DROP_OUR_SCHEMA);
    }
    if let Source::Plain(_) = source {
        dropping.push_str("SET LOCAL search_path = DEFAULT;\n");
    }
    let attempt = Attempt {
        programs,
        target,
        source,
        list: &list,
        stay: &stay,
        opening: preamble::opening(fence.as_ref()),
        dropping,
        after: if facts.has_our_schema {
            preamble::DROP_OUR_SCHEMA
        } else {
            ""
        },
    };
    let until = Instant::now() + PATIENCE;
    loop {
        let said = match attempt.run(proof).await? {
            Ended::Committed => return Ok(()),
            Ended::Refused(said) => said,
        };
        if !said.contains(LOCK_NOT_AVAILABLE) || Instant::now() >= until {
            return Err(refused(database, target, &said).await);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn refused(database: &Postgres, target: &Target, said: &str) -> StepError {
    let error = StepError::failed("can't restore the database; it is as it was before")
        .cause(target.redact(said));
    if !said.contains(LOCK_NOT_AVAILABLE) {
        return error;
    }
    let who = blockers::read(database).await.unwrap_or_default();
    let error = who.into_iter().fold(error, StepError::cause);
    error.hint("other sessions work on its tables: end them, then restore again")
}

/// What is in the database and is not replaced.
struct Stay {
    /// Extensions that the archive has too: their members are theirs.
    extensions: Vec<String>,
    /// Schemas that hold members of those extensions.
    schemas: Vec<String>,
    /// Publications of all tables that the archive has too, where only a superuser could make them again.
    publications: Vec<String>,
    /// Event triggers need a superuser; for another role they stay.
    superuser: bool,
    /// Roles whose default privileges the session may not change.
    strangers: Vec<String>,
    /// The settings that the server knows.
    settings: Vec<String>,
    /// The path under which our other sessions read rows.
    search_path: String,
}

impl Stay {
    async fn read(database: &Postgres, contents: &Contents) -> Result<Self, DbError> {
        let rows = sqlx::query(
            "SELECT e.extname::text AS name, n.nspname::text AS schema \
             FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
             WHERE e.oid >= 16384 ORDER BY 1",
        )
        .fetch_all(&mut *database.acquire().await?)
        .await?;
        let (mut extensions, mut schemas) = (Vec::new(), Vec::new());
        for row in rows {
            let name: String = row.try_get("name")?;
            if contents.has("EXTENSION", "-", &name) {
                schemas.push(row.try_get("schema")?);
                extensions.push(name);
            }
        }
        schemas.sort();
        schemas.dedup();
        let superuser: bool =
            sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
                .fetch_one(&mut *database.acquire().await?)
                .await?;
        let mut publications: Vec<String> = sqlx::query_scalar(
            "SELECT pubname::text FROM pg_publication WHERE puballtables AND NOT $1 ORDER BY 1",
        )
        .bind(superuser)
        .fetch_all(&mut *database.acquire().await?)
        .await?;
        publications.retain(|name| contents.has("PUBLICATION", "-", name));
        let strangers = sqlx::query_scalar(
            "SELECT rolname::text FROM pg_roles WHERE NOT pg_has_role(oid, 'USAGE')",
        )
        .fetch_all(&mut *database.acquire().await?)
        .await?;
        let settings = sqlx::query_scalar("SELECT name::text FROM pg_settings")
            .fetch_all(&mut *database.acquire().await?)
            .await?;
        let search_path = sqlx::query_scalar("SELECT pg_catalog.current_setting('search_path')")
            .fetch_one(&mut *database.acquire().await?)
            .await?;
        Ok(Self {
            extensions,
            schemas,
            publications,
            superuser,
            strangers,
            settings,
            search_path,
        })
    }

    /// The entries of the archive that must not be made again.
    fn left_out(&self) -> LeftOut {
        LeftOut {
            entries: self.entries_left_out(),
            default_privileges_of: self.strangers.clone(),
        }
    }

    fn entries_left_out(&self) -> Vec<String> {
        let mut out = Vec::new();
        for name in &self.extensions {
            out.push(format!("EXTENSION - {name} "));
            out.push(format!("COMMENT - EXTENSION {name} "));
        }
        for name in &self.schemas {
            out.push(format!("SCHEMA - {name} "));
        }
        for name in &self.publications {
            out.push(format!("PUBLICATION - {name} "));
            out.push(format!("COMMENT - PUBLICATION {name} "));
        }
        if !self.superuser {
            out.push("EVENT TRIGGER - ".to_owned());
            out.push("COMMENT - EVENT TRIGGER ".to_owned());
        }
        out
    }
}

enum Ended {
    Committed,
    /// The server took nothing, for the reason that `psql` printed.
    Refused(String),
}

struct Attempt<'a> {
    programs: &'a Programs,
    target: &'a Target,
    source: Source<'a>,
    list: &'a NamedTempFile,
    stay: &'a Stay,
    opening: String,
    dropping: String,
    /// What is said between the source and the comparison.
    after: &'a str,
}

impl Attempt<'_> {
    async fn run(&self, proof: &mut Proof) -> Result<Ended, StepError> {
        let mut psql = Session::start(self.programs, self.target)?;
        let fed = self.feed(&mut psql, proof).await;
        // The end of its input is what lets psql end.
        let (well, said) = psql.end().await?;
        match fed {
            Err(Feed::Failed(error)) => Err(error),
            Ok(()) if well => Ok(Ended::Committed),
            // It ended badly, or before it had read all: what it said is the reason.
            Ok(()) | Err(Feed::PsqlGone) => Ok(Ended::Refused(said)),
        }
    }

    async fn feed(&self, psql: &mut Session, proof: &mut Proof) -> Result<(), Feed> {
        psql.tell(&self.opening).await?;
        let kept = if proof.looks_for_others() {
            let now = self.state(psql).await?;
            proof.keep(&now).map_err(Feed::Failed)?
        } else {
            Vec::new()
        };
        psql.tell(preamble::DROP_EVENT_TRIGGERS).await?;
        if !kept.is_empty() {
            psql.tell(&keep::set_aside(&kept)).await?;
        }
        psql.tell(&self.dropping).await?;
        if proof.was_without_public() {
            psql.tell(preamble::DROP_PUBLIC).await?;
        }
        match self.source {
            Source::Archive(archive) if kept.is_empty() => {
                self.feed_archive(psql, archive, None).await?;
            }
            Source::Archive(archive) => {
                self.feed_archive(psql, archive, Some("pre-data")).await?;
                self.feed_archive(psql, archive, Some("data")).await?;
                psql.tell(&keep::put_back(&kept)).await?;
                self.feed_archive(psql, archive, Some("post-data")).await?;
            }
            Source::Plain(file) => {
                let file = tokio::fs::File::open(file).await.map_err(|error| {
                    Feed::Failed(StepError::caused("can't read the backup", &error))
                })?;
                pipe(file, psql, &self.stay.settings, End::Kept).await?;
            }
        }
        psql.write(self.after.as_bytes()).await?;
        if proof.compares() {
            let found = self.state(psql).await?;
            proof.judge(&found).map_err(Feed::Failed)?;
        }
        migrate_failpoint::hit!("restore.commit")
            .map_err(|error| Feed::Failed(StepError::failed(error.to_string())))?;
        psql.write(b"\nCOMMIT;\n").await
    }

    /// What the database is within the transaction.
    async fn state(&self, psql: &mut Session) -> Result<State, Feed> {
        psql.tell(&printed::settings()).await?;
        let lines = psql.ask(&printed::query(&self.stay.search_path)).await?;
        match printed::read(&lines) {
            Some(found) => Ok(canonical::of_printed(found)),
            None => Err(Feed::Failed(StepError::failed(
                "can't compare what was restored: psql printed what is no answer; \
                 the database is as it was before",
            ))),
        }
    }

    /// All of an archive, or one section of it.
    async fn feed_archive(
        &self,
        psql: &mut Session,
        archive: &Path,
        section: Option<&str>,
    ) -> Result<(), Feed> {
        let mut child = self.start_pg_restore(archive, section)?;
        let (stdout, stderr) = (child.stdout(), child.stderr());
        let settings = &self.stay.settings;
        let (piped, said) = tokio::join!(
            pipe(stdout, psql, settings, End::WithoutCommit),
            tail(stderr)
        );
        piped?;
        let status = child.wait().await.map_err(|error| {
            Feed::Failed(StepError::caused("can't wait for pg_restore", &error))
        })?;
        if !status.success() {
            let error = StepError::failed(format!(
                "pg_restore failed ({status}); the database is as it was before"
            ));
            return Err(Feed::Failed(error.cause(said)));
        }
        Ok(())
    }

    fn start_pg_restore(&self, archive: &Path, section: Option<&str>) -> Result<Group, Feed> {
        let mut command = self.target.command(&self.programs.pg_restore(), &[]);
        command
            .arg("--file=-")
            // Without it, what is printed for large objects ends our transaction.
            .arg("--single-transaction")
            .args(section.map(|section| format!("--section={section}")))
            .arg("--use-list")
            .arg(self.list.path())
            .arg("--")
            .arg(archive);
        Group::start(command, Stdio::null(), Stdio::piped())
            .map_err(|error| Feed::Failed(StepError::caused("can't run pg_restore", &error)))
    }
}

/// What the end of a text is to the transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It has nothing to do with it.
    Kept,
    /// The last statement is `COMMIT`, which is ours to say.
    WithoutCommit,
}

/// How much of the end of a text is looked at for its `COMMIT`.
const END_BYTES: usize = 4096;

async fn pipe(
    from: impl AsyncRead + Unpin,
    to: &mut Session,
    settings: &[String],
    end: End,
) -> Result<(), Feed> {
    let fail = |error| Feed::Failed(StepError::caused("can't read the backup", &error));
    let mut from = BufReader::with_capacity(1 << 17, from);
    let mut line = Vec::new();
    while head::is_open(&line) {
        line.clear();
        if from.read_until(b'\n', &mut line).await.map_err(fail)? == 0 {
            return Ok(());
        }
        if head::is_known(&line, settings) && line != b"COMMIT;\n" {
            to.write(&line).await?;
        }
    }
    let (mut held, mut piece) = (Vec::new(), vec![0; 1 << 17]);
    loop {
        let read = from.read(&mut piece).await.map_err(fail)?;
        if read == 0 {
            break;
        }
        held.extend_from_slice(&piece[..read]);
        let sure = held.len().saturating_sub(END_BYTES);
        to.write(&held[..sure]).await?;
        held.drain(..sure);
    }
    if end == End::WithoutCommit {
        held = head::without_last_commit(held).ok_or_else(|| {
            Feed::Failed(StepError::failed(
                "what pg_restore printed has no end; the database is as it was before",
            ))
        })?;
    }
    to.write(&held).await
}
