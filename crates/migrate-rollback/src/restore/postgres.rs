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
mod path;
pub(crate) mod plain;
mod preamble;
mod session;
mod stay;

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use migrate_core::StepError;
use migrate_schema::db::{Fence, Postgres};
use migrate_schema::fingerprint::printed;
use migrate_schema::path_trust;
use path::lacks_a_name;
use session::{Feed, Session};
use stay::Stay;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::time::Instant;

use head::Head;

use super::proof::Proof;
use crate::backup::directory;
use crate::canonical::{self, State};
use crate::pg::archive::Contents;
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
    let mut attempt = Attempt {
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
        path: None,
    };
    let until = Instant::now() + PATIENCE;
    loop {
        let said = match attempt.run(proof).await? {
            Ended::Committed => return Ok(()),
            Ended::Refused(said) => said,
        };
        if attempt.path.is_none() && proof.compares() && lacks_a_name(&said) {
            attempt.path = Some(
                path::trusted(database)
                    .await
                    .map_err(|error| error.cause(target.redact(&said)))?,
            );
            continue;
        }
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
    /// The user's search path, where functions of the archive need it.
    path: Option<String>,
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
            Source::Archive(archive) if kept.is_empty() && self.path.is_none() => {
                self.feed_archive(psql, archive, None).await?;
            }
            Source::Archive(archive) => {
                self.feed_archive(psql, archive, Some("pre-data")).await?;
                if let Some(path) = &self.path {
                    psql.tell(&path_trust::check(path)).await?;
                }
                self.feed_archive(psql, archive, Some("data")).await?;
                if !kept.is_empty() {
                    psql.tell(&path::none_then(&keep::put_back(&kept))).await?;
                }
                self.feed_archive(psql, archive, Some("post-data")).await?;
            }
            Source::Plain(file) => {
                let file = tokio::fs::File::open(file).await.map_err(|error| {
                    Feed::Failed(StepError::caused("can't read the backup", &error))
                })?;
                pipe(file, psql, &self.head(None), End::Kept).await?;
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
        let head = self.head(section);
        let (piped, said) =
            tokio::join!(pipe(stdout, psql, &head, End::WithoutCommit), tail(stderr));
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

    /// What becomes of the head of a section's text: definitions are read without a path.
    fn head(&self, section: Option<&str>) -> Head<'_> {
        Head {
            settings: &self.stay.settings,
            path: self.path.as_deref().filter(|_| section != Some("pre-data")),
        }
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
    head: &Head<'_>,
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
        if line != b"COMMIT;\n"
            && let Some(line) = head.line(&line)
        {
            to.write(&line).await?;
        }
    }
    let (mut kept_back, mut piece) = (Vec::new(), vec![0; 1 << 17]);
    loop {
        let read = from.read(&mut piece).await.map_err(fail)?;
        if read == 0 {
            break;
        }
        kept_back.extend_from_slice(&piece[..read]);
        let sure = kept_back.len().saturating_sub(END_BYTES);
        to.write(&kept_back[..sure]).await?;
        kept_back.drain(..sure);
    }
    if end == End::WithoutCommit {
        kept_back = head::without_last_commit(kept_back).ok_or_else(|| {
            Feed::Failed(StepError::failed(
                "what pg_restore printed has no end; the database is as it was before",
            ))
        })?;
    }
    to.write(&kept_back).await
}
