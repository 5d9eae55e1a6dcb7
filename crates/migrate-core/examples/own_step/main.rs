//! A step kind of one's own, named by a plan file: looked at, run, rolled back, and taken back
//! by itself when a later step fails. No change to the tool, no database, no file.
//!
//! `cargo run -p migrate-core --example own_step`

mod banner;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use migrate_core::{
    Backup, Clock, Journal, MemoryJournal, MigrationExecutor, MigrationPlan, RollbackRequest,
    RunOptions, StepRegistry, plan_check,
};
use serde_json::Value;

use banner::{BannerKind, Site};

/// The clock of the system, which the engine reads through this alone.
struct Now;

impl Clock for Now {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// Real programs read it from a file; here it is beside the example.
const PLAN: &str = include_str!("plan.json");

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example shows what it did")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let site = Site::default();
    let journal = Arc::new(MemoryJournal::default());
    let registry = StepRegistry::new().with(BannerKind::new(site.clone()));
    let executor = |dry_run| {
        MigrationExecutor::new("1.0.0", "2.0.0", dry_run)
            .with_clock(Arc::new(Now))
            .with_registry(registry.clone())
            .with_journal(journal.clone())
            .with_options(RunOptions {
                // Nothing here that a rollback point would cover: undo by receipts is enough.
                backup: Backup::Skip,
                ..RunOptions::default()
            })
    };

    let plan = read(PLAN)?;
    for step in executor(true).execute_migration(&plan).await?.previews {
        println!("would: {}", step.description.title);
    }
    println!("site: {:?}", site.banners());

    let done = executor(false).execute_migration(&plan).await?;
    println!("{:?}, site: {:?}", done.end, site.banners());

    let runs = journal.runs().await?;
    let log = runs.last().ok_or("the run is in the journal")?;
    let back = executor(false)
        .rollback(log, RollbackRequest::default())
        .await?;
    println!("{:?}, site: {:?}", back.end, site.banners());

    // The second step is too long for the site: what the first one did is taken back.
    let too_long = read(&PLAN.replace("read the notes", "read all of the notes"))?;
    if let Err(error) = executor(false).execute_migration(&too_long).await {
        println!("{error}");
    }
    println!("site: {:?}", site.banners());

    // What is wrong in a plan is told before anything runs, kind by kind, field by field.
    let wrong = read(&PLAN.replace("\"most\"", "\"mots\""))?;
    if let Err(error) = executor(false).execute_migration(&wrong).await {
        println!("{error}");
    }
    Ok(())
}

fn read(text: &str) -> Result<MigrationPlan, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    plan_check::read(&document).map_err(|findings| {
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}
