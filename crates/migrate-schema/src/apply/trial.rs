//! Up, down, up: whether each down restores what was there before its up.
//!
//! Only on a scratch database. A migration that is one transaction is tried in one that is
//! rolled back, so that a down that breaks something does not spoil the next trial. What runs
//! statement by statement is tried for real; when it does not come back whole, a fresh database
//! is asked for and what was there is run again.

use async_trait::async_trait;
use migrate_core::StepError;

use super::engine::{SchemaEngine, no_down};
use super::failure::{ApplyError, Failed};
use super::item::Item;
use crate::catalog::Catalog;
use crate::db::Database;
use crate::history::State;
use crate::layout::{Migration, MigrationSet, Version};
use crate::snapshot::CatalogDiff;

/// Gives empty databases to try migrations on, one at a time.
#[async_trait]
pub trait FreshDatabase: Send {
    /// An empty one; the one that was given before is gone.
    async fn fresh(&mut self) -> Result<Database, StepError>;
}

/// What came of taking a migration back and running it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The schema is as before, and the second up gives what the first one gave.
    Restores,
    /// The same but for the order of columns, after the down or the second up.
    OtherOrder(CatalogDiff),
    /// After the down the schema is not as before: `-` before the up, `+` after the down.
    Differs(CatalogDiff),
    /// There is no down, or it is empty.
    NoDown,
    /// The down fails.
    DownFails(StepError),
    /// The second up fails.
    UpAgainFails(StepError),
    /// The second up gives another schema: `-` after the first, `+` after the second.
    UpAgainDiffers(CatalogDiff),
    /// A repeatable migration: it has no way back.
    Repeatable,
}

impl Verdict {
    /// Its name for people and machines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Restores => "restores",
            Self::OtherOrder(_) => "other order",
            Self::Differs(_) => "does not restore",
            Self::NoDown => "no down",
            Self::DownFails(_) => "down fails",
            Self::UpAgainFails(_) => "second up fails",
            Self::UpAgainDiffers(_) => "second up differs",
            Self::Repeatable => "repeatable",
        }
    }

    /// Whether the migration can be taken back and brought again.
    pub fn restores(&self) -> bool {
        matches!(self, Self::Restores | Self::OtherOrder(_))
    }

    /// Whether it is a fault: a down that is there and does not do what it is for.
    pub fn is_fault(&self) -> bool {
        !self.restores() && !matches!(self, Self::NoDown | Self::Repeatable)
    }

    /// What differs, where something does.
    pub fn diff(&self) -> Option<&CatalogDiff> {
        match self {
            Self::OtherOrder(diff) | Self::Differs(diff) | Self::UpAgainDiffers(diff) => Some(diff),
            _ => None,
        }
    }

    /// What failed, where something did.
    pub fn error(&self) -> Option<&StepError> {
        match self {
            Self::DownFails(error) | Self::UpAgainFails(error) => Some(error),
            _ => None,
        }
    }
}

/// A migration that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The migration.
    pub label: String,
    /// Its file.
    pub file: String,
    /// The file of its down.
    pub down: Option<String>,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trials {
    /// Those that were tried, in order.
    pub done: Vec<Trial>,
    /// The first whose up failed, with its file; none after it was tried.
    pub stopped: Option<(String, String, StepError)>,
    /// How many were not tried because of that.
    pub left: usize,
}

/// The catalogs after a down and after the up that follows it.
pub(super) struct Round {
    pub(super) down: Catalog,
    pub(super) up: Catalog,
}

/// Where a round ended early.
pub(super) enum Early {
    Down(Failed),
    Up { down: Catalog, failed: Failed },
    Other(Failed),
}

impl SchemaEngine {
    /// Tries each migration up to a version: up, down, up, with the catalogs compared.
    ///
    /// # Errors
    /// A file can't be read as SQL, or the scratch database fails us; what a migration does
    /// wrong is no error but a verdict.
    pub async fn try_all(
        mut self,
        set: &MigrationSet,
        upto: Option<&Version>,
        databases: &mut dyn FreshDatabase,
    ) -> Result<Trials, ApplyError> {
        let wanted: Vec<&Migration> = set
            .migrations
            .iter()
            .filter(|one| upto.is_none_or(|last| one.version.as_ref().is_some_and(|v| v <= last)))
            .collect();
        let mut items = Vec::with_capacity(wanted.len());
        for one in &wanted {
            items.push(Item::up(set, one, &self.options).map_err(ApplyError::Refused)?);
        }
        self.prepare().await?;
        let mut trials = Trials::default();
        let mut before = self.catalog().await?;
        for (number, one) in wanted.iter().enumerate() {
            if let Err(error) = self.run_alone(items[number].clone()).await {
                let file = one.up.file().to_owned();
                trials.stopped = Some((one.label(), file, error.into_step_error()));
                trials.left = wanted.len() - number - 1;
                break;
            }
            let after = self.catalog().await?;
            let (verdict, spoiled) = self.verdict(set, one, &before, &after).await?;
            trials.done.push(Trial {
                label: one.label(),
                file: one.up.file().to_owned(),
                down: one.down.as_ref().map(|down| down.file().to_owned()),
                verdict,
            });
            if spoiled && number + 1 < wanted.len() {
                self.db = databases.fresh().await.map_err(ApplyError::unchanged)?;
                self.run(items[..=number].to_vec(), &State::default())
                    .await?;
            }
            before = after;
        }
        Ok(trials)
    }

    async fn catalog(&self) -> Result<Catalog, ApplyError> {
        Catalog::read(&self.db)
            .await
            .map_err(ApplyError::db("the catalog can't be read"))
    }

    async fn run_alone(&self, item: Item) -> Result<(), ApplyError> {
        self.run(vec![item], &State::default()).await.map(drop)
    }

    /// The verdict, and whether the database is not as after the first up any more.
    async fn verdict(
        &self,
        set: &MigrationSet,
        one: &Migration,
        before: &Catalog,
        after: &Catalog,
    ) -> Result<(Verdict, bool), ApplyError> {
        if one.version.is_none() {
            return Ok((Verdict::Repeatable, false));
        }
        let Some(down) = one.down.as_ref().filter(|down| !no_down(&self.db, down)) else {
            return Ok((Verdict::NoDown, false));
        };
        let down = match Item::down(set, one, down, &self.options) {
            Ok(item) => item,
            Err(findings) => {
                let error = ApplyError::Refused(findings).into_step_error();
                return Ok((Verdict::DownFails(error), false));
            }
        };
        let up = Item::up(set, one, &self.options).map_err(ApplyError::Refused)?;
        if down.script.whole && up.script.whole {
            match self.round_in_one(&down, &up).await {
                Err(early) if early.may_be_the_transaction() => {}
                round => return Ok((self.judged(round, before, after)?, false)),
            }
        }
        let round = self.round_for_real(down, up).await?;
        let same = matches!(&round, Ok(round) if round.up == *after);
        Ok((self.judged(round, before, after)?, !same))
    }

    /// In one transaction that is rolled back.
    async fn round_in_one(&self, down: &Item, up: &Item) -> Result<Round, Early> {
        match &self.db {
            #[cfg(feature = "postgres")]
            Database::Postgres(pg) => super::postgres::round(pg, down, up, &self.options).await,
            #[cfg(feature = "sqlite")]
            Database::Sqlite(lite) => super::sqlite::round(lite, down, up).await,
        }
    }

    async fn round_for_real(
        &self,
        down: Item,
        up: Item,
    ) -> Result<Result<Round, Early>, ApplyError> {
        let failed = |error: ApplyError| {
            let kind = crate::db::DbErrorKind::Other;
            Failed::new(kind, error.into_step_error())
        };
        if let Err(error) = self.run_alone(down).await {
            return Ok(Err(Early::Down(failed(error))));
        }
        let down = self.catalog().await?;
        if let Err(error) = self.run_alone(up).await {
            let failed = failed(error);
            return Ok(Err(Early::Up { down, failed }));
        }
        let up = self.catalog().await?;
        Ok(Ok(Round { down, up }))
    }

    /// The first thing that is wrong, in the order in which it happened.
    fn judged(
        &self,
        round: Result<Round, Early>,
        before: &Catalog,
        after: &Catalog,
    ) -> Result<Verdict, ApplyError> {
        let backend = self.db.backend();
        let (down, up) = match round {
            Ok(round) => (round.down, Ok(round.up)),
            Err(Early::Up { down, failed }) => (down, Err(failed.error)),
            Err(Early::Down(failed)) => return Ok(Verdict::DownFails(failed.error)),
            Err(Early::Other(failed)) => return Err(ApplyError::unchanged(failed.error)),
        };
        let lost = CatalogDiff::between(before, &down, backend);
        if !lost.is_order_only() {
            return Ok(Verdict::Differs(lost));
        }
        let up = match up {
            Ok(up) => up,
            Err(error) => return Ok(Verdict::UpAgainFails(error)),
        };
        let again = CatalogDiff::between(after, &up, backend);
        Ok(if !again.is_order_only() {
            Verdict::UpAgainDiffers(again)
        } else if !lost.is_empty() {
            Verdict::OtherOrder(lost)
        } else if !again.is_empty() {
            Verdict::OtherOrder(again)
        } else {
            Verdict::Restores
        })
    }
}

impl Early {
    /// Whether the same scripts in transactions of their own may do.
    fn may_be_the_transaction(&self) -> bool {
        let (Self::Down(failed) | Self::Up { failed, .. } | Self::Other(failed)) = self;
        matches!(
            failed.code.as_deref(),
            Some("55P04" | "55006" | "53200" | "25001" | "0A000")
        )
    }
}
