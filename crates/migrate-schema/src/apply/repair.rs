//! Mending the log by hand: baselines, accepted edits, forgotten files, decided doubts.

use migrate_core::Finding;

use super::engine::SchemaEngine;
use super::failure::ApplyError;
use super::pending::{Standing, standings};
use crate::db::{Database, DbError};
use crate::history::{self, Action, Entry};
use crate::layout::{MigrationSet, Version};

/// What to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// The text of an applied file that was edited counts from now on.
    Accept(String),
    /// A migration is taken out of the log.
    Forget(String),
    /// The statement of a migration that is in doubt.
    Statement {
        /// The migration's key.
        key: String,
        /// What is said about it.
        decision: Decision,
    },
}

/// What a person says about a statement in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It took effect.
    Done,
    /// It did not, and runs again.
    Again,
}

impl SchemaEngine {
    /// Records every version up to one as there, without running anything.
    ///
    /// # Errors
    /// Refused if the version is not in the set.
    pub async fn baseline(
        &self,
        set: &MigrationSet,
        version: &Version,
    ) -> Result<Vec<String>, ApplyError> {
        if set.find(version).is_none() {
            return Err(ApplyError::Refused(vec![Finding::error(
                "schema.no-version",
                format!("there is no migration {version}"),
            )]));
        }
        let keys: Vec<String> = set
            .versioned()
            .filter(|one| one.version.as_ref() <= Some(version))
            .map(crate::layout::Migration::key)
            .collect();
        self.baseline_keys(set, &keys, None).await
    }

    /// Records these migrations of a set as there.
    pub(crate) async fn baseline_keys(
        &self,
        set: &MigrationSet,
        keys: &[String],
        note: Option<&str>,
    ) -> Result<Vec<String>, ApplyError> {
        self.exclusively(self.record_keys(set, keys, note)).await
    }

    async fn record_keys(
        &self,
        set: &MigrationSet,
        keys: &[String],
        note: Option<&str>,
    ) -> Result<Vec<String>, ApplyError> {
        self.prepare().await?;
        let state = self.state().await?;
        let entries: Vec<Entry> = set
            .migrations
            .iter()
            .filter(|one| {
                let key = one.key();
                keys.contains(&key) && !state.applied().contains_key(&key)
            })
            .map(|one| Entry {
                note: note.map(str::to_owned),
                ..Entry::of(Action::Baseline, one, set.layout, &self.options.by)
            })
            .collect();
        self.append(&entries).await?;
        Ok(entries.into_iter().map(|one| one.file).collect())
    }

    /// Mends the log.
    ///
    /// # Errors
    /// Refused where there is nothing to mend.
    pub async fn repair(&self, set: &MigrationSet, what: &Repair) -> Result<String, ApplyError> {
        self.exclusively(async {
            self.prepare().await?;
            match what {
                Repair::Accept(file) => self.accept(set, file).await,
                Repair::Forget(key) => self.forget(set, key).await,
                Repair::Statement { key, decision } => self.decide(key, *decision).await,
            }
        })
        .await
    }

    async fn accept(&self, set: &MigrationSet, file: &str) -> Result<String, ApplyError> {
        let state = self.state().await?;
        let found = standings(set, &state)
            .into_iter()
            .find(|(one, _)| one.up.file() == file);
        let one = match found {
            Some((one, Standing::Edited)) => one,
            Some((_, standing)) => {
                return Err(nothing(format!(
                    "{file} is {}: there is no edit to accept",
                    standing.name()
                )));
            }
            None => return Err(nothing(format!("there is no migration in a file {file}"))),
        };
        let before = &state.applied()[&one.key()].checksum;
        self.append(&[Entry {
            note: Some(format!("accepted; the checksum was {before}")),
            ..Entry::of(Action::Accept, one, set.layout, &self.options.by)
        }])
        .await?;
        Ok(format!("the edit of {file} is accepted"))
    }

    async fn forget(&self, set: &MigrationSet, key: &str) -> Result<String, ApplyError> {
        let state = self.state().await?;
        let Some(applied) = state.applied().get(key) else {
            return Err(nothing(format!("{key} is not in the history")));
        };
        let record = &applied.record;
        self.append(&[Entry {
            action: Action::Forget,
            key: key.to_owned(),
            version: record.version.clone(),
            name: record.name.clone(),
            layout: set.layout.name(),
            file: record.file.clone(),
            checksum: record.checksum.clone(),
            up: None,
            down: None,
            out_of_order: false,
            millis: 0,
            by: self.options.by.clone(),
            run: None,
            note: Some("taken out of the history by hand".to_owned()),
        }])
        .await?;
        Ok(format!("{key} is taken out of the history"))
    }

    async fn decide(&self, key: &str, decision: Decision) -> Result<String, ApplyError> {
        let state = self.state().await?;
        let Some(mut row) = state
            .started
            .iter()
            .find(|one| one.key == key && !one.done)
            .cloned()
        else {
            return Err(nothing(format!("no statement of {key} is in doubt")));
        };
        // One that runs again is in no doubt: its row goes back to what it was before it.
        row.done = decision == Decision::Done;
        let changed = match decision {
            Decision::Done => self.write_statement(&row).await,
            Decision::Again => self.remove_statement(&row).await,
        };
        changed.map_err(ApplyError::db("the journal can't be written"))?;
        Ok(match decision {
            Decision::Done => format!("statement {} of {key} is done", row.unit + 1),
            Decision::Again => format!("statement {} of {key} runs again", row.unit + 1),
        })
    }

    async fn write_statement(&self, row: &history::Started) -> Result<(), DbError> {
        match &self.db {
            #[cfg(feature = "postgres")]
            Database::Postgres(pg) => {
                let mut tx = pg.begin().await?;
                history::postgres::set_statement(&mut tx, row).await?;
                Ok(tx.commit().await?)
            }
            #[cfg(feature = "sqlite")]
            Database::Sqlite(lite) => {
                let mut tx = lite.begin().await?;
                history::sqlite::set_statement(&mut tx, row).await?;
                Ok(tx.commit().await?)
            }
        }
    }

    async fn remove_statement(&self, row: &history::Started) -> Result<(), DbError> {
        let sql = format!(
            "delete from {} where key = {} and direction = {} and unit = {}",
            crate::own::name(self.db.backend(), history::STATEMENTS),
            crate::quote::literal(&row.key),
            crate::quote::literal(row.direction.name()),
            row.unit
        );
        self.db.execute_ours(&sql).await.map(drop)
    }

    async fn append(&self, entries: &[Entry]) -> Result<(), ApplyError> {
        history::append(&self.db, entries)
            .await
            .map_err(ApplyError::db("the history can't be written"))
    }
}

fn nothing(message: String) -> ApplyError {
    ApplyError::Refused(vec![
        Finding::error("schema.nothing-to-repair", message)
            .hint("see `schema status` for how each migration stands"),
    ])
}
