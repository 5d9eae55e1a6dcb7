//! There and back on the copy, measured and compared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use migrate_core::executor::{Consent, RollbackRequest, StrategyChoice};
use migrate_core::{
    Cancel, Fingerprint, MigrationError, MigrationExecutor, MigrationResult, OnDifference,
    Reporter, RunOptions, Scripts, Undoable,
};
use migrate_rollback::canonical;
use migrate_schema::catalog::Catalog;
use migrate_schema::db::Database;
use serde_json::Value;

use super::Extent;
use super::certificate::{Irreversible, Measured, Played, StepFigures};
use super::copy::Copy;
use super::step_meter;
use crate::failure::Failure;
use crate::plan_file::{Contract, Hop};
use crate::plans::Kept;
use crate::report::Output;
use crate::wire::{Access, Wired};

/// Everything that can be compared of a copy at a moment.
struct Scene {
    fingerprint: Fingerprint,
    catalog: Catalog,
}

/// Plays the contract there and back; what differs afterwards comes out by name.
pub(super) async fn play(
    output: &Output,
    copy: &Copy,
    contract: &Contract,
    extent: Extent,
    cancel: &Cancel,
) -> Result<Played, Failure> {
    let wired = Wired::open(&copy.global).await?;
    let before = look(&wired, contract).await?;
    let choice = if irreversible(contract).is_empty() {
        StrategyChoice::Reverse
    } else {
        StrategyChoice::Restore
    };
    let (forward, mut steps) = there(output, &wired, contract, cancel).await?;
    let after = look(&wired, contract).await?;
    let back = match back(output, &wired, contract, choice, cancel).await {
        Err(failure) if extent == Extent::Full && choice == StrategyChoice::Reverse => {
            return Err(restored(output, &wired, contract, cancel, &before, failure).await);
        }
        back => back?,
    };
    let mut differences = differences(&before, &look(&wired, contract).await?);
    let mut restore = None;
    if extent == Extent::Full {
        let (_, again) = there(output, &wired, contract, cancel).await?;
        for (step, again) in steps.iter_mut().zip(again) {
            step.duration_ms = step.duration_ms.max(again.duration_ms);
        }
        let choice = StrategyChoice::Restore;
        restore = Some(self::back(output, &wired, contract, choice, cancel).await?);
        differences.extend(self::differences(&before, &look(&wired, contract).await?));
    }
    wired.db.close().await;
    Ok(Played {
        before: before.fingerprint,
        after: after.fingerprint,
        forward,
        back,
        restore,
        steps,
        irreversible: irreversible(contract),
        differences,
    })
}

/// The steps that only a rollback point covers, each with what it touches.
fn irreversible(contract: &Contract) -> Vec<Irreversible> {
    let steps = contract.hops.iter().flat_map(|hop| &hop.steps);
    steps
        .filter(|step| step.undo == Undoable::No && !step.deferred)
        .map(|step| Irreversible {
            step: step.id.clone(),
            title: step.title.clone(),
            scope: step.scope.clone(),
        })
        .collect()
}

async fn there(
    output: &Output,
    wired: &Wired,
    contract: &Contract,
    cancel: &Cancel,
) -> Result<(Measured, Vec<StepFigures>), Failure> {
    let start = Meter::start(&wired.db).await?;
    let mut steps = Vec::new();
    for hop in &contract.hops {
        let (reporter, watch) = step_meter::watch(output.reporter(), wired.db.clone());
        let executor = executor(reporter, wired, hop, cancel).await?;
        let result = executor.execute_migration(&hop.plan).await;
        drop(executor);
        output.done_with_progress();
        let figures = figures(&result.map_err(|error| failed(error, "the migration"))?);
        steps.extend(watch.enter(figures).await);
    }
    Ok((start.stop(&wired.db).await?, steps))
}

async fn back(
    output: &Output,
    wired: &Wired,
    contract: &Contract,
    strategy: StrategyChoice,
    cancel: &Cancel,
) -> Result<Measured, Failure> {
    let start = Meter::start(&wired.db).await?;
    for hop in contract.hops.iter().rev() {
        let executor = executor(output.reporter(), wired, hop, cancel).await?;
        let runs = wired.journal(Access::ReadOnly).await?.runs().await?;
        let log = runs
            .iter()
            .rfind(|log| log.header.plan == hop.plan)
            .ok_or_else(|| Failure::unchanged("the rehearsal's own run is not in its journal"))?;
        let request = RollbackRequest {
            strategy,
            accept_data_loss: Consent::Given,
            on_difference: OnDifference::RollBack,
        };
        let result = executor.rollback(log, request).await;
        output.done_with_progress();
        result.map_err(|error| failed(error, "the way back; the migration itself went well"))?;
    }
    start.stop(&wired.db).await
}

/// Adds to a way back by receipts that failed whether the rollback point helps out of it.
async fn restored(
    output: &Output,
    wired: &Wired,
    contract: &Contract,
    cancel: &Cancel,
    before: &Scene,
    failure: Failure,
) -> Failure {
    if cancel.cause().is_some() {
        return failure;
    }
    let tried = async {
        back(output, wired, contract, StrategyChoice::Restore, cancel).await?;
        Ok::<_, Failure>(differences(before, &look(wired, contract).await?))
    };
    let hint = match tried.await {
        Ok(left) if left.is_empty() => {
            "the rollback point was restored after that, and everything is as before: mend the undo, or go back with --strategy restore"
                .to_owned()
        }
        Ok(left) => format!(
            "the rollback point was restored after that, and this differs from before: {}",
            left.join("; ")
        ),
        Err(error) => format!(
            "the rollback point was tried after that, and failed too: {}",
            error.message
        ),
    };
    failure.hint(hint)
}

/// Whatever became of the copy, the deployment is as it was.
fn failed(error: MigrationError, what: &str) -> Failure {
    let mut failure = Failure::of(error, None);
    failure.code = crate::exit::DIFFERENT;
    failure.message = format!(
        "the rehearsal failed, and so would {what}; the deployment is untouched: {}",
        failure.message
    );
    failure
}

async fn executor(
    reporter: Arc<dyn Reporter>,
    wired: &Wired,
    hop: &Hop,
    cancel: &Cancel,
) -> Result<MigrationExecutor, Failure> {
    let scripts: Arc<dyn Scripts> = Arc::new(Kept(hop.scripts.clone()));
    let (from, to) = (&hop.plan.from_version, &hop.plan.to_version);
    let executor = MigrationExecutor::new(&from.to_string(), &to.to_string(), false)
        .with_registry(wired.registry(&scripts));
    let options = RunOptions {
        scripts: hop.scripts.clone(),
        flags: vec!["rehearse".to_owned()],
        identity: wired.identity.clone(),
        ..RunOptions::default()
    };
    let journal = wired.journal(Access::Write).await?;
    Ok(wired.executor(executor, &journal, options, reporter, cancel.clone()))
}

fn figures(result: &MigrationResult) -> Vec<StepFigures> {
    let steps = result.completed_steps.iter();
    steps
        .map(|step| {
            let rows = step.figures.get("rows_read").and_then(Value::as_u64);
            let seconds = step.duration.as_secs_f64();
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate for people"
            )]
            let rate = |rows: u64| (rows as f64 / seconds).round() as u64;
            StepFigures {
                step: step.step_id.clone(),
                duration_ms: millis(step.duration),
                rows,
                rows_per_second: rows.filter(|_| seconds > 0.0).map(rate),
                wal_bytes: None,
                space_bytes: None,
            }
        })
        .collect()
}

async fn look(wired: &Wired, contract: &Contract) -> Result<Scene, Failure> {
    let failed = |error: migrate_schema::db::DbError| {
        Failure::from(error.into_step_error("can't look at the rehearsal's copy"))
    };
    let mut fingerprint = canonical::database(&wired.db).await.map_err(failed)?;
    for path in contract.config.keys() {
        let bytes = wired.read_file(path)?;
        let sum = bytes.map_or_else(
            || "absent".to_owned(),
            |bytes| migrate_config::atomic::sha256(&bytes),
        );
        fingerprint.0.insert(format!("file {path}"), sum);
    }
    Ok(Scene {
        fingerprint,
        catalog: Catalog::read(&wired.db).await.map_err(failed)?,
    })
}

/// What is not as before: definitions in full, everything else by name.
fn differences(before: &Scene, now: &Scene) -> Vec<String> {
    let by_hash = before.fingerprint.differences(&now.fingerprint);
    if by_hash.is_empty() {
        return Vec::new();
    }
    let mut out = before.catalog.diff(&now.catalog);
    out.extend(
        by_hash
            .into_iter()
            .filter(|one| !one.starts_with("catalog ") && !one.starts_with(Fingerprint::FACT)),
    );
    out
}

/// Time, log and space, from a moment on.
struct Meter {
    began: Instant,
    wal: Option<u64>,
    bytes: u64,
}

impl Meter {
    async fn start(db: &Database) -> Result<Self, Failure> {
        Ok(Self {
            began: Instant::now(),
            wal: number(db, Count::Wal).await?,
            bytes: number(db, Count::Bytes).await?.unwrap_or(0),
        })
    }

    async fn stop(self, db: &Database) -> Result<Measured, Failure> {
        let duration_ms = millis(self.began.elapsed());
        let wal = number(db, Count::Wal).await?;
        let bytes = number(db, Count::Bytes).await?.unwrap_or(0);
        Ok(Measured {
            duration_ms,
            wal_bytes: wal
                .zip(self.wal)
                .map(|(now, then)| now.saturating_sub(then)),
            space_bytes: bytes.saturating_sub(self.bytes),
        })
    }
}

#[derive(Clone, Copy)]
pub(super) enum Count {
    Wal,
    Bytes,
}

pub(super) async fn number(db: &Database, count: Count) -> Result<Option<u64>, Failure> {
    let sql = match (db.backend(), count) {
        (migrate_schema::db::Backend::Sqlite, Count::Wal) => return Ok(None),
        (migrate_schema::db::Backend::Sqlite, Count::Bytes) => {
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        }
        (_, Count::Wal) => "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint",
        (_, Count::Bytes) => "SELECT pg_database_size(current_database())",
    };
    let found = db
        .query_ours(sql)
        .await
        .map_err(|error| Failure::from(error.into_step_error("can't measure the copy")))?;
    Ok(found.as_u64())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
