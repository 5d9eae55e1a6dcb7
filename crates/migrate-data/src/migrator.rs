//! Copies without a plan or a command line: for programs of one's own.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use migrate_core::event::Silent;
use migrate_core::ports::Script;
use migrate_core::{
    BatchSize, Cancel, DataMigration, Finding, Reporter, RunId, Scripts, StepContext, StepError,
};
use migrate_schema::db::{Backend, Database};
use migrate_schema::own;

use crate::bad_rows::BadRows;
use crate::copy::TableCopy;
use crate::foresee::{BEFORE_A_COPY, Unsettled};
use crate::kind::Parts;
use crate::ledger::Counts;
use crate::rejects;
use crate::transform::TransformRegistry;
use crate::verify::Verify;

/// Copies rows in batches, several at once. Each copy is whole or not at all: one that fails or
/// is cancelled is taken back, one that succeeds leaves nothing of ours in the database.
///
/// ```no_run
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), migrate_core::StepError> {
/// use migrate_data::DataMigrator;
/// use migrate_schema::db::Database;
///
/// let migrator = DataMigrator::new(Database::from_sqlite_pool(pool), 1_000, 2);
/// let counts = migrator.migrate("old_users", "users", "SELECT id, upper(name) AS name FROM batch").await?;
/// println!("{} rows", counts.inserted);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DataMigrator {
    db: Database,
    source: Option<Database>,
    batch_size: BatchSize,
    max_parallel: usize,
    verify: Verify,
    bad_rows: BadRows,
    scripts: Option<Arc<dyn Scripts>>,
    transforms: TransformRegistry,
    cancel: Cancel,
    reporter: Arc<dyn Reporter>,
    run: Option<RunId>,
}

/// Puts a [`DataMigrator`] together.
#[derive(Clone)]
#[must_use]
pub struct DataMigratorBuilder {
    made: DataMigrator,
}

impl DataMigrator {
    /// For a database, with rows per batch and batches at once.
    pub fn new(db: Database, batch_size: usize, max_parallel: usize) -> Self {
        Self {
            db,
            source: None,
            batch_size: BatchSize::Rows(batch_size),
            max_parallel,
            verify: Verify::default(),
            bad_rows: BadRows::default(),
            scripts: None,
            transforms: TransformRegistry::shipped(),
            cancel: Cancel::new(),
            reporter: Arc::new(Silent),
            run: None,
        }
    }

    /// For a database, with everything else to be said: 1,000 rows a batch, two batches at once,
    /// the shipped transforms, nobody to report to.
    pub fn builder(db: Database) -> DataMigratorBuilder {
        DataMigratorBuilder {
            made: Self::new(db, 1_000, 2),
        }
    }

    /// Copies the rows of `source` into `target`.
    ///
    /// `script` is `rust:NAME`, the name of a script (ending in `.sql`, found through
    /// [`DataMigratorBuilder::scripts`]), or itself a SELECT over the relation `batch`.
    ///
    /// # Errors
    /// What stands in the way, or the row that can't be copied; nothing is changed then. If even
    /// taking back failed, the causes say so and the ledger is left.
    pub async fn migrate(
        &self,
        source: &str,
        target: &str,
        script: &str,
    ) -> Result<Counts, StepError> {
        let copy = self.copy(source, target, script)?;
        let cx = self.context();
        let was_ours = rejects::others_are_there(&self.db)
            .await
            .map_err(|error| error.into_step_error("can't look at the database"))?;
        let layout = copy.prepare(cx.run.as_str(), cx.step.as_str()).await?;
        let moved = Box::pin(copy.run(&cx, &layout)).await;
        if let Err(mut error) = moved {
            // The way back is not cancelled by what cancelled the way there.
            let back = StepContext {
                cancel: Cancel::new(),
                ..cx.clone()
            };
            match copy.undo(&back, &layout).await {
                Ok(report) => error.causes.push(format!("taken back: {}", report.message)),
                Err(stuck) => {
                    error.causes.push(format!("NOT taken back: {stuck}"));
                    return Err(error);
                }
            }
            self.clean_up(&copy, &cx, &layout, was_ours).await?;
            return Err(error);
        }
        self.clean_up(&copy, &cx, &layout, was_ours).await?;
        moved
    }

    /// What the rows of `source`, as they are, would meet in `target`: NULLs, keys that are given
    /// twice, values that a type or a CHECK refuses, rows on which the script fails. Errors are what a copy
    /// would fail on, warnings what it would keep aside and what was not looked at. Takes up to
    /// three seconds, reads only, and ends what it runs when it is cancelled.
    ///
    /// # Errors
    /// What stands in the way of any copy, as [`Self::migrate`] says it, a missing table for one.
    pub async fn foresee(
        &self,
        source: &str,
        target: &str,
        script: &str,
    ) -> Result<Vec<Finding>, StepError> {
        let copy = self.copy(source, target, script)?;
        let inspection = copy.inspect_strictly().await?;
        let how = (BEFORE_A_COPY, &self.cancel);
        copy.foresee(&inspection, Unsettled::default(), how).await
    }

    /// The guide's own copy: `pipelines_old` into `pipelines`.
    ///
    /// # Errors
    /// As [`Self::migrate`].
    pub async fn migrate_pipeline_data(&self) -> Result<Counts, StepError> {
        let script = match self.db.backend() {
            Backend::Postgres => include_str!("../../../migrations/transform_pipelines.sql"),
            Backend::Sqlite => include_str!("../../../migrations/transform_pipelines.sqlite.sql"),
        };
        Box::pin(self.migrate("pipelines_old", "pipelines", script)).await
    }

    pub(crate) fn database(&self) -> &Database {
        &self.db
    }

    pub(crate) fn source(&self) -> Option<&Database> {
        self.source.as_ref()
    }

    pub(crate) fn transforms(&self) -> &TransformRegistry {
        &self.transforms
    }

    pub(crate) fn workers(&self) -> usize {
        self.max_parallel
    }

    pub(crate) fn copy(
        &self,
        source: &str,
        target: &str,
        script: &str,
    ) -> Result<TableCopy, StepError> {
        let scripts: Arc<dyn Scripts> = match &self.scripts {
            Some(scripts) if is_a_name(script) => Arc::clone(scripts),
            _ => Arc::new(Given(script.to_owned())),
        };
        let data = DataMigration {
            source_table: source.to_owned(),
            target_table: target.to_owned(),
            transformation_script: script.to_owned(),
            batch_size: self.batch_size,
            parallel_workers: self.max_parallel,
            verify: Some(self.verify.to_string()),
            source_url: None,
            reverse_script: None,
            bad_rows: Some(self.bad_rows.to_string()),
        };
        let parts = Parts {
            scripts: &*scripts,
            transforms: &self.transforms,
            elsewhere: self.source.as_ref().map(Database::backend),
        };
        parts
            .build(&self.db, &data)
            .map(|(copy, _)| TableCopy {
                elsewhere: self.source.clone(),
                ..copy
            })
            .map_err(|findings| {
                let mut messages = findings.iter().map(|finding| finding.message.clone());
                let mut error = StepError::failed(messages.next().unwrap_or_default());
                error.causes = messages.collect();
                error.hint = findings.into_iter().find_map(|finding| finding.hint);
                error
            })
    }

    pub(crate) fn context(&self) -> StepContext {
        let now = Utc::now();
        let fresh = || RunId::fresh(now);
        StepContext {
            run: self.run.clone().unwrap_or_else(fresh),
            step: "copy".parse().expect("a step id of four letters"),
            attempt: 1,
            timeout: Duration::MAX,
            cancel: self.cancel.clone(),
            reporter: Arc::clone(&self.reporter),
            drops: [].into(),
        }
    }

    pub(crate) async fn clean_up(
        &self,
        copy: &TableCopy,
        cx: &StepContext,
        layout: &crate::layout::Layout,
        was_ours: bool,
    ) -> Result<(), StepError> {
        let cleaned = async {
            copy.forget(cx, layout).await?;
            // Another process may have begun a copy meanwhile.
            let other_ledgers = own::tables(&self.db)
                .await?
                .iter()
                .any(|name| name.starts_with("ledger_") || name.starts_with("before_"));
            let idle = crate::spec::begun(&self.db, None).await?.is_empty();
            if !was_ours && !other_ledgers && idle {
                own::drop_all(&self.db).await?;
            }
            Ok(())
        };
        cleaned.await.map_err(|error: migrate_schema::db::DbError| {
            error.into_step_error("the copy is done, but its ledger can't be dropped")
        })
    }
}

impl DataMigratorBuilder {
    /// Rows per batch, at least 1.
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.made.batch_size = BatchSize::Rows(rows);
        self
    }

    /// Rows per batch, as a plan says it.
    pub fn batch(mut self, size: BatchSize) -> Self {
        self.made.batch_size = size;
        self
    }

    /// As many rows per batch as take about half a second.
    pub fn auto_batch_size(mut self) -> Self {
        self.made.batch_size = BatchSize::Auto;
        self
    }

    /// How much is compared after the copy; everything without it.
    pub fn verify(mut self, extent: Verify) -> Self {
        self.made.verify = extent;
        self
    }

    /// What becomes of rows that can't be moved: the copy fails, or so many are kept aside.
    pub fn bad_rows(mut self, policy: BadRows) -> Self {
        self.made.bad_rows = policy;
        self
    }

    /// Where the source tables are, if that is another database. Rows then pass through this
    /// process; a script runs where the source is.
    pub fn source(mut self, db: Database) -> Self {
        self.made.source = Some(db);
        self
    }

    /// Batches at once, 1 to 64.
    pub fn max_parallel(mut self, batches: usize) -> Self {
        self.made.max_parallel = batches;
        self
    }

    /// Where scripts are found by name.
    pub fn scripts(mut self, scripts: Arc<dyn Scripts>) -> Self {
        self.made.scripts = Some(scripts);
        self
    }

    /// The Rust transforms that `rust:NAME` can name.
    pub fn transforms(mut self, transforms: TransformRegistry) -> Self {
        self.made.transforms = transforms;
        self
    }

    /// What can stop a copy.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.made.cancel = cancel;
        self
    }

    /// The name under which other processes can join a copy; without it each copy makes its own.
    pub fn run(mut self, run: RunId) -> Self {
        self.made.run = Some(run);
        self
    }

    /// Who is told how far it is.
    pub fn reporter(mut self, reporter: Arc<dyn Reporter>) -> Self {
        self.made.reporter = reporter;
        self
    }

    /// The migrator.
    pub fn build(self) -> DataMigrator {
        self.made
    }
}

fn is_a_name(script: &str) -> bool {
    !script.contains(char::is_whitespace)
}

/// A script that was handed over instead of named.
struct Given(String);

impl Scripts for Given {
    fn read(&self, name: &str) -> Result<Script, Finding> {
        if is_a_name(name) {
            return Err(
                Finding::error("data.no-script", format!("there is no script {name}"))
                    .hint("say where scripts are found with DataMigratorBuilder::scripts"),
            );
        }
        Ok(Script {
            origin: "the script".to_owned(),
            text: self.0.clone(),
        })
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
