//! Runs SQL scripts: each as one transaction together with its row in `schema_versions`.

mod applied;
mod attempt;
#[cfg(feature = "postgres")]
mod blockers;
mod made;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod rebuild;
#[cfg(feature = "sqlite")]
mod restore;
pub(crate) mod script_name;
pub(crate) mod script_state;
#[cfg(feature = "sqlite")]
mod sqlite;
pub(crate) mod versions;
pub(crate) mod versions_table;

use migrate_core::{Scripts, StepContext, StepError, UndoReport};

pub(crate) use applied::Applied;
pub use attempt::Patience;
pub(crate) use attempt::pause;
use attempt::{Attempts, Failed};
use script_name::ScriptName;
use script_state::{Known, ScriptState};

use crate::db::{Database, DbError, DbErrorKind};
use crate::history::{self, Action, Entry, ScriptEntry};
use crate::script::{SqlScript, Statement, find};

/// The name of the guide's script.
pub(crate) const V2_SCRIPT: &str = "001_v2_schema_updates.sql";

/// Brings a database's schema to a version by scripts, and knows which version it is at.
///
/// A script that ran has a line in our history, with its name and checksum, which decides
/// whether it runs again. The version is the highest in the guide's table
/// `schema_versions(version, applied_at)`, which is made by the first script that is run; a
/// table of that name with another form is left as it is.
#[derive(Debug, Clone)]
pub struct SchemaMigrator {
    db: Database,
    patience: Patience,
}

/// What running a script came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrated {
    /// Its statements were run, this many, and the version is recorded.
    Done {
        /// How many statements.
        statements: usize,
    },
    /// The script that brings this version was applied already; nothing was run.
    AlreadyAt(i64),
}

impl SchemaMigrator {
    /// For a database.
    pub fn new(db: Database) -> Self {
        Self {
            db,
            patience: Patience::default(),
        }
    }

    /// How long it waits for locks.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The highest version in the guide's table; 0 if there is none. Read-only.
    pub async fn current_version(&self) -> Result<i64, DbError> {
        versions::current(&self.db).await
    }

    /// Runs a script as one transaction that also records it and its version, unless it was
    /// applied already: the history knows it by the file name of its origin. A statement that can't get its lock in time makes the whole
    /// transaction start again, within [`Patience`].
    ///
    /// # Errors
    /// The statement's file, line and column with the database's message, code and hint; or
    /// that the script was applied with another text. Nothing was changed.
    pub async fn migrate(&self, script: &SqlScript, version: i64) -> Result<Migrated, StepError> {
        let name = ScriptName::of_file(script.origin());
        let unread = |error: DbError| error.into_step_error("the history can't be read");
        let known = Known::read(&self.db).await.map_err(unread)?;
        match script_state::look(&self.db, &known, script, &name, version)
            .await
            .map_err(unread)?
        {
            ScriptState::Applied(_) => return Ok(Migrated::AlreadyAt(version)),
            ScriptState::Unclear(finding) => return Err(StepError::failed(finding.to_string())),
            ScriptState::NotApplied => {}
        }
        history::ensure(&self.db)
            .await
            .map_err(|error| error.into_step_error("our own tables can't be made"))?;
        let change = Change {
            script,
            name: &name,
            key: name.key(&self.db).await.map_err(unread)?,
            version,
            versions: Versions::after(&known, version),
            direction: Direction::Up,
            step: None,
        };
        apply(&self.db, &change, self.patience).await?;
        Ok(Migrated::Done {
            statements: script.statements().len(),
        })
    }

    /// Runs the guide's `001_v2_schema_updates.sql` (on SQLite its twin) as version 2.
    pub async fn migrate_to_v2(&self, scripts: &dyn Scripts) -> Result<Migrated, StepError> {
        let backend = self.db.backend();
        let found = find(scripts, backend, V2_SCRIPT)
            .map_err(|finding| StepError::failed(finding.to_string()))?;
        let script = SqlScript::parse(backend, found.origin, found.text).map_err(|findings| {
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            StepError::failed(lines.join("\n"))
        })?;
        self.migrate(&script, 2).await
    }
}

/// Whether a script brings a version or takes it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The version is recorded.
    Up,
    /// The version's record is removed.
    Down,
}

/// What becomes of the guide's table of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versions {
    /// The version is written there, or removed.
    Kept,
    /// It is somebody else's and stays as it is.
    LeftAlone,
}

impl Versions {
    pub(crate) fn after(known: &Known, version: i64) -> Self {
        match known.leaves_versions(version) {
            None => Self::Kept,
            Some(_) => Self::LeftAlone,
        }
    }
}

/// A script to run as a version, for a step of a run or on its own.
pub(crate) struct Change<'a> {
    pub(crate) script: &'a SqlScript,
    /// The name by which the history knows it.
    pub(crate) name: &'a ScriptName,
    /// Its key in the history.
    pub(crate) key: String,
    pub(crate) version: i64,
    pub(crate) versions: Versions,
    pub(crate) direction: Direction,
    /// The step's marker is written in the same transaction, with what an undo needs.
    pub(crate) step: Option<&'a StepContext>,
}

impl Change<'_> {
    fn started(&self, number: usize) {
        if let Some(cx) = self.step {
            let total = u64::try_from(self.script.statements().len()).ok();
            cx.progress(
                u64::try_from(number).unwrap_or(u64::MAX),
                total,
                "statements",
            );
        }
    }

    /// The script's line in the history.
    fn line(&self, millis: i64) -> Entry {
        let action = match self.direction {
            Direction::Up => Action::Up,
            Direction::Down => Action::Down,
        };
        Entry::of_script(
            action,
            ScriptEntry {
                key: &self.key,
                version: self.version,
                name: self.name.as_str(),
                file: self.script.origin(),
                checksum: script_state::checksum(self.script),
                text: (self.direction == Direction::Up).then(|| self.script.text()),
                millis,
                run: self.step.map(|cx| cx.run.as_str()),
            },
        )
    }

    /// The error of one statement.
    fn failed(&self, number: usize, statement: Statement<'_>, error: DbError) -> Failed {
        failed_at(self.script, number, statement, error)
    }
}

fn failed_at(
    script: &SqlScript,
    number: usize,
    statement: Statement<'_>,
    error: DbError,
) -> Failed {
    let place = script.place_of(statement, &error);
    let what = format!(
        "statement {} of {} failed",
        number + 1,
        script.statements().len()
    );
    Failed {
        kind: error.kind,
        error: error.into_step_error(what).in_file(place),
    }
}

/// Runs a script, again and again while its locks are taken by others. A step whose marker is
/// there already is left as it is.
pub(crate) async fn apply(
    db: &Database,
    change: &Change<'_>,
    patience: Patience,
) -> Result<(), StepError> {
    let mut attempts = Attempts::new(patience, change.step);
    loop {
        let outcome = match db {
            #[cfg(feature = "postgres")]
            Database::Postgres(pg) => postgres::apply(pg, change, patience).await,
            #[cfg(feature = "sqlite")]
            Database::Sqlite(lite) => sqlite::apply(lite, change).await,
        };
        match outcome {
            Ok(()) => return Ok(()),
            Err(failed) => attempts.again_after(failed).await?,
        }
    }
}

/// Takes a step's script back in one transaction, its marker included: by the script `down`,
/// which PostgreSQL needs; SQLite otherwise gives every object its old text again. Nothing is
/// done if the marker is not there.
pub(crate) async fn revert(
    db: &Database,
    cx: &StepContext,
    down: Option<&SqlScript>,
    patience: Patience,
) -> Result<UndoReport, StepError> {
    let marker = crate::own::marker(db, cx.run.as_str(), cx.step.as_str())
        .await
        .map_err(|error| error.into_step_error("the step's marker can't be read"))?;
    let Some(marker) = marker else {
        return Ok(UndoReport::line("nothing of it was there"));
    };
    let applied = Applied::parse(&marker)?;
    let mut attempts = Attempts::new(patience, Some(cx));
    loop {
        let outcome = match db {
            #[cfg(feature = "postgres")]
            Database::Postgres(pg) => match down {
                Some(down) => postgres::revert(pg, cx, down, &applied, patience).await,
                None => return Err(no_way_back()),
            },
            #[cfg(feature = "sqlite")]
            Database::Sqlite(lite) => restore::revert(lite, cx, down, &applied).await,
        };
        match outcome {
            Ok(left) => {
                return Ok(UndoReport {
                    message: format!("the schema is as before version {}", applied.version),
                    left,
                });
            }
            Err(failed) => attempts.again_after(failed).await?,
        }
    }
}

#[cfg(feature = "postgres")]
fn no_way_back() -> StepError {
    StepError::failed("the script has no down script, so that the step can't be undone")
        .hint("restore the rollback point, or add NAME.down.sql beside the script")
}

/// The line in the history that a script was undone; none if it had no line.
fn undone(cx: &StepContext, applied: &Applied) -> Option<Entry> {
    let key = applied.script.as_deref()?;
    let name = key.trim_start_matches(script_name::KEY_PREFIX);
    Some(Entry::of_script(
        Action::Down,
        ScriptEntry {
            key,
            version: applied.version,
            name,
            file: name,
            checksum: String::new(),
            text: None,
            millis: 0,
            run: Some(cx.run.as_str()),
        },
    ))
}

/// The refusal of an undo that would destroy what others did since.
fn changed_since(names: &[String]) -> Failed {
    Failed {
        kind: DbErrorKind::Other,
        error: StepError::failed(format!(
            "changed by others since the upgrade: {}",
            names.join(", ")
        ))
        .hint("take those changes back first, or restore the rollback point"),
    }
}

/// The refusal of an undo that did not bring the catalog back.
fn not_as_before(differences: &[String]) -> Failed {
    let mut error = StepError::failed("the undo would not bring back the schema as it was");
    error.causes.extend_from_slice(differences);
    Failed {
        kind: DbErrorKind::Other,
        error: error
            .hint("this undo changed nothing; the rollback point brings everything back, and a correct down script spares it the next time"),
    }
}
