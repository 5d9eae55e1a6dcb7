//! The engine, as an embedder calls it.

use std::sync::Arc;

use migrate_core::{Event, Reporter};
use migrate_data::{Counts, DataMigrator, DataMigratorBuilder, Verify};
use migrate_schema::db::{ConnectOptions, Database, DatabaseUrl};
use tokio::runtime::Runtime;

/// A runtime as the command line has one.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// Opens a database.
pub(crate) fn open(runtime: &Runtime, url: &DatabaseUrl) -> Database {
    runtime
        .block_on(Database::connect(url, &ConnectOptions::default()))
        .expect("the database opens")
}

/// An engine on a database.
pub(crate) fn engine(db: &Database, workers: usize, verify: Verify) -> DataMigratorBuilder {
    DataMigrator::builder(db.clone())
        .auto_batch_size()
        .max_parallel(workers)
        .verify(verify)
}

/// Copies the guide's rows.
pub(crate) fn pipelines(runtime: &Runtime, engine: DataMigratorBuilder, rows: u64) -> Counts {
    let counts = runtime
        .block_on(engine.build().migrate_pipeline_data())
        .expect("the copy succeeds");
    assert_eq!(counts.read, rows, "every row is read");
    counts
}

/// Keeps the moments at which so many rows were done.
#[derive(Default)]
pub(crate) struct Progress(pub(crate) std::sync::Mutex<Vec<(std::time::Instant, u64)>>);

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }
}

impl Reporter for Progress {
    fn event(&self, event: &Event) {
        if let Event::StepProgress { done, .. } = event {
            let mut seen = self.0.lock().expect("nobody panics here");
            seen.push((std::time::Instant::now(), *done));
        }
    }
}
