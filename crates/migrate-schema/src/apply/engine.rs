//! What a caller does with the migrations of a directory.

use std::sync::Arc;

use migrate_core::Finding;

use super::attempts::Attempts;
use super::event::{Event, Observer, Unobserved};
use super::failure::{ApplyError, Broken, Failed};
use super::item::{Batch, Item, batches};
use super::options::{Grouping, Options, Target};
use super::pending::{EDITED, Standing, pending};
use super::{Run, pending as standing};
use crate::db::Database;
use crate::history::{self, State};
use crate::layout::{Layout, Migration, MigrationSet, Section, Version};

/// Runs the migrations of a directory on a database and keeps the log of it.
///
/// What changes something takes the [lock](crate::lock) on the database, so that of several
/// processes that begin at once one runs what is pending and the others find it there. A caller
/// that holds that lock already (`migrate_rollback::DatabaseGuard`) is the holder here too. The
/// caller cancels through [`Database::cancellable`]; a future that was dropped or a process that was killed leaves
/// every migration applied, not applied, or half done with a journal from which the next run
/// goes on.
#[derive(Clone)]
pub struct SchemaEngine {
    pub(super) db: Database,
    pub(crate) options: Options,
    pub(super) observer: Arc<dyn Observer>,
}

impl std::fmt::Debug for SchemaEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchemaEngine")
            .field("db", &self.db)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    /// The migrations that ran, by label, in order.
    pub migrations: Vec<String>,
    /// How many transactions they took; a migration that ran unit by unit counts as one.
    pub transactions: usize,
}

impl SchemaEngine {
    /// For a database.
    pub fn new(db: Database, options: Options) -> Self {
        Self {
            db,
            options,
            observer: Arc::new(Unobserved),
        }
    }

    /// The database that it works on.
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// Tells what happens.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// What the database has. Read-only.
    pub async fn state(&self) -> Result<State, ApplyError> {
        history::read(&self.db)
            .await
            .map_err(ApplyError::db("the history can't be read"))
    }

    /// Makes our tables, if they are not there.
    pub async fn prepare(&self) -> Result<(), ApplyError> {
        history::ensure(&self.db)
            .await
            .map_err(ApplyError::db("our own tables can't be made"))
    }

    /// What would run, in order, with how each stands. Read-only.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] with everything that stands in the way; an edited file comes
    /// with the difference to what was applied.
    pub async fn pending<'s>(
        &self,
        set: &'s MigrationSet,
        state: &State,
        target: &Target,
    ) -> Result<Vec<(&'s Migration, Standing)>, ApplyError> {
        match pending(set, state, target, &self.options) {
            Ok(found) => Ok(found),
            Err(mut findings) => {
                self.show_edits(set, &mut findings).await;
                Err(ApplyError::Refused(findings))
            }
        }
    }

    /// Adds to each finding about an edited file what was edited.
    async fn show_edits(&self, set: &MigrationSet, findings: &mut [Finding]) {
        for finding in findings.iter_mut().filter(|one| one.code == EDITED) {
            let Some(place) = &finding.place else {
                continue;
            };
            let Some(one) = set
                .migrations
                .iter()
                .find(|one| one.up.file() == place.file)
            else {
                continue;
            };
            if let Ok(Some((applied, _))) = history::texts(&self.db, &one.key()).await {
                let diff = similar::TextDiff::from_lines(applied.as_str(), one.up.sql())
                    .unified_diff()
                    .context_radius(1)
                    .header("applied", one.up.file())
                    .to_string();
                finding.detail = Some(diff.trim_end().to_owned());
            }
        }
    }

    /// Makes what is pending ready to run.
    pub(crate) fn items(
        &self,
        set: &MigrationSet,
        found: &[(&Migration, Standing)],
    ) -> Result<Vec<Item>, ApplyError> {
        let mut items = Vec::with_capacity(found.len());
        let mut findings = Vec::new();
        for (one, how) in found {
            match Item::up(set, one, &self.options) {
                Ok(mut item) => {
                    item.entry.out_of_order = *how == Standing::OutOfOrder;
                    items.push(item);
                }
                Err(more) => findings.extend(more),
            }
        }
        if findings.is_empty() {
            Ok(items)
        } else {
            Err(ApplyError::Refused(findings))
        }
    }

    /// Runs what is pending up to a target.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] before anything ran; [`ApplyError::Failed`] with what was
    /// committed before.
    pub async fn apply(&self, set: &MigrationSet, target: &Target) -> Result<Done, ApplyError> {
        let ready = async || {
            let state = self.state().await?;
            self.refuse_foreign(&state).await?;
            let found = self.pending(set, &state, target).await?;
            let items = self.items(set, &found)?;
            Ok((items, state))
        };
        let (items, _) = ready().await?;
        if items.is_empty() {
            return Ok(Done::default());
        }
        self.exclusively(async {
            // Another process may have run them meanwhile.
            let (items, state) = ready().await?;
            self.run(items, &state).await
        })
        .await
    }

    /// Takes back the last `steps` versions, the latest first.
    ///
    /// # Errors
    /// As [`SchemaEngine::apply`]; one without a down is refused before anything ran.
    pub async fn down(&self, set: &MigrationSet, how: &Down) -> Result<Done, ApplyError> {
        self.exclusively(async {
            let state = self.state().await?;
            let items = self.downs(set, &state, how).await?;
            self.run(items, &state).await
        })
        .await
    }

    /// Takes the latest version back and brings it again.
    ///
    /// # Errors
    /// As [`SchemaEngine::apply`].
    pub async fn redo(&self, set: &MigrationSet) -> Result<Done, ApplyError> {
        self.exclusively(self.redo_latest(set)).await
    }

    async fn redo_latest(&self, set: &MigrationSet) -> Result<Done, ApplyError> {
        let state = self.state().await?;
        let mut items = self.downs(set, &state, &Down::Steps(1)).await?;
        let Some(latest) = standing::latest(set, &state).and_then(|version| set.find(version))
        else {
            return Ok(Done::default());
        };
        items.push(Item::up(set, latest, &self.options).map_err(ApplyError::Refused)?);
        self.run(items, &state).await
    }

    /// The versions that a way down takes back, the latest first.
    pub fn to_take_back<'s>(
        set: &'s MigrationSet,
        state: &State,
        how: &Down,
    ) -> Vec<&'s Migration> {
        let applied = set.versioned().rev().filter(|one| {
            state.applied().contains_key(&one.key())
                || state.half_done().contains(&one.key().as_str())
        });
        match how {
            Down::Steps(steps) => applied.take(*steps).collect(),
            Down::To(version) => applied
                .take_while(|one| one.version.as_ref() > Some(version))
                .collect(),
            Down::All => applied.collect(),
            Down::Keys(keys) => applied.filter(|one| keys.contains(&one.key())).collect(),
        }
    }

    pub(super) async fn downs(
        &self,
        set: &MigrationSet,
        state: &State,
        how: &Down,
    ) -> Result<Vec<Item>, ApplyError> {
        let mut items = Vec::new();
        let mut findings = match how {
            // A plan's own, by name.
            Down::Keys(_) => Vec::new(),
            _ => standing::without_files(set, state, &self.options),
        };
        if let Down::To(version) = how
            && set.find(version).is_none()
        {
            findings.push(Finding::error(
                "schema.no-version",
                format!("there is no migration {version}"),
            ));
        }
        for one in Self::to_take_back(set, state, how) {
            match self.down_text(one, set.layout).await? {
                Some(down) => match Item::down(set, one, &down, &self.options) {
                    Ok(item) => items.push(item),
                    Err(more) => findings.extend(more),
                },
                None => findings.push(
                    Finding::error(
                        "schema.no-down",
                        format!("{} has nothing that takes it back", one.label()),
                    )
                    .in_file(one.up.place(0))
                    .hint("add its down script, or restore a backup"),
                ),
            }
        }
        if findings.is_empty() {
            Ok(items)
        } else {
            Err(ApplyError::Refused(findings))
        }
    }

    /// The file's down, else the one that the log kept.
    /// A down without a statement takes back nothing, as the other tools have it; ours must say
    /// something.
    async fn down_text(
        &self,
        one: &Migration,
        layout: Layout,
    ) -> Result<Option<Section>, ApplyError> {
        if let Some(down) = &one.down {
            let empty = layout == Layout::Ours && no_down(&self.db, down);
            return Ok((!empty).then(|| down.clone()));
        }
        let kept = history::texts(&self.db, &one.key())
            .await
            .map_err(ApplyError::db("the history can't be read"))?;
        Ok(kept
            .and_then(|(_, down)| down)
            .map(|down| Section::of_text(&format!("{} (from the history)", one.up.file()), &down)))
    }

    /// Runs items in order, in as few transactions as can be.
    pub(super) async fn run(&self, items: Vec<Item>, state: &State) -> Result<Done, ApplyError> {
        let mut done = Done::default();
        if items.is_empty() {
            return Ok(done);
        }
        self.prepare().await?;
        let total = items.len();
        #[cfg(feature = "postgres")]
        let sessions = super::postgres::Sessions::default();
        let mut queue: std::collections::VecDeque<Batch> =
            batches(items, self.options.grouping).into();
        while let Some(batch) = queue.pop_front() {
            let run = Run {
                options: &self.options,
                observer: &self.observer,
                started: &state.started,
                before: done.migrations.len(),
                total,
                #[cfg(feature = "postgres")]
                sessions: &sessions,
            };
            let labels = match batch {
                Batch::ByUnits(item) => {
                    let half_done = item.label.clone();
                    self.by_units(&item, &run)
                        .await
                        .map_err(|failed| broken(failed, &done, Some(half_done)))?;
                    vec![item.label]
                }
                Batch::Together(items) => match self.together(items, &run).await {
                    Ok(items) => items.into_iter().map(|item| item.label).collect(),
                    Err(Split::Into(parts)) => {
                        for part in parts.into_iter().rev() {
                            queue.push_front(Batch::Together(part));
                        }
                        continue;
                    }
                    Err(Split::Failed(failed)) => {
                        let Some(labels) =
                            self.committed_all_the_same(&failed, state, &done).await?
                        else {
                            return Err(broken(*failed, &done, None));
                        };
                        labels
                    }
                },
            };
            self.observer.event(&Event::Committed {
                migrations: labels.len(),
            });
            done.migrations.extend(labels);
            done.transactions += 1;
        }
        Ok(done)
    }

    async fn by_units(&self, item: &Item, run: &Run<'_>) -> Result<(), Failed> {
        match &self.db {
            #[cfg(feature = "postgres")]
            Database::Postgres(pg) => super::postgres::by_units(pg, item, run).await,
            #[cfg(feature = "sqlite")]
            Database::Sqlite(lite) => super::sqlite::by_units(lite, item, run).await,
        }
    }

    /// One transaction, again and again while locks are taken. A batch that can't be one
    /// transaction is given back in parts.
    async fn together(&self, mut items: Vec<Item>, run: &Run<'_>) -> Result<Vec<Item>, Split> {
        let mut attempts = Attempts::new(self.options.give_up_after, &*self.observer);
        loop {
            let outcome = match &self.db {
                #[cfg(feature = "postgres")]
                Database::Postgres(pg) => super::postgres::together(pg, &items, run).await,
                #[cfg(feature = "sqlite")]
                Database::Sqlite(lite) => super::sqlite::together(lite, &items, run).await,
            };
            let Err(failed) = outcome else {
                return Ok(items);
            };
            if failed.may_be_the_batch() && self.options.grouping == Grouping::Together {
                self.observer.event(&Event::Note(format!(
                    "{} needs a transaction of its own: {}",
                    items[failed.item].label,
                    failed.error.causes.join(": ")
                )));
                let rest = items.split_off(failed.item);
                return Err(Split::Into(vec![items, rest]));
            }
            let gave_way = failed.gave_way;
            if let Err(failed) = attempts.again_after(failed).await {
                return Err(Split::Failed(Box::new(failed)));
            }
            if gave_way && attempts.failed() >= 2 && items.len() > 1 {
                self.observer.event(&Event::Note(
                    "others wait for the locks of so many migrations: now one by one".to_owned(),
                ));
                return Err(Split::Into(
                    items.into_iter().map(|item| vec![item]).collect(),
                ));
            }
        }
    }
}

/// Whether a down has no statement.
pub(super) fn no_down(db: &Database, down: &Section) -> bool {
    crate::script::split(db.backend(), down.sql()).is_empty()
}

/// Why a batch was not run as it was.
enum Split {
    Into(Vec<Vec<Item>>),
    Failed(Box<Failed>),
}

fn broken(failed: Failed, done: &Done, half_done: Option<String>) -> ApplyError {
    ApplyError::Failed(Box::new(Broken {
        error: failed.error,
        committed: done.migrations.clone(),
        half_done,
        in_doubt: Vec::new(),
        began: true,
    }))
}

/// How far migrations are taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// The last so many.
    Steps(usize),
    /// Those above this version.
    To(Version),
    /// All of them.
    All,
    /// Those with these keys.
    Keys(Vec<String>),
}
