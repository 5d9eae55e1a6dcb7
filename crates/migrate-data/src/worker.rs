//! Workers: each takes a range that is free, moves its batches, and goes on until none is left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use migrate_core::{BatchSize, StepContext};
use migrate_schema::db::{Backend, DbError};

use crate::access;
use crate::claim;
use crate::controller::{self, Controller, Sample};
use crate::keyset::KeyRange;
use crate::ledger::{Counts, Entry, RangeState};
use crate::planner::Cut;
use crate::progress::Meter;
use crate::range::{Job, Keep, RangeError, RangeWriter};
use crate::verify::{Difference, Verify};

/// How long to wait for ranges that other workers hold, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// Why a worker ended before its time.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) number: i64,
    pub(crate) range: KeyRange,
    pub(crate) error: RangeError,
}

/// What all workers of a process share.
pub(crate) struct Crew<'a> {
    pub(crate) cx: &'a StepContext,
    pub(crate) meter: Meter<'a>,
    pub(crate) stop: AtomicBool,
    pub(crate) batch: BatchSize,
    pub(crate) verify: Verify,
    pub(crate) role: Role,
}

/// Whose copy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// This process's own: it says what became of it.
    Owner,
    /// Another process's: what is found wrong is left for that to find.
    Helper,
}

impl Crew<'_> {
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.cx.cancel.cause().is_some()
    }
}

/// One worker.
pub(crate) struct Worker<'a> {
    pub(crate) crew: &'a Crew<'a>,
    pub(crate) writer: RangeWriter,
}

impl Worker<'_> {
    /// Moves ranges until none is left, here or elsewhere.
    pub(crate) async fn copy(&self) -> Result<(), Failed> {
        let mut controller = controller::controller(self.crew.batch, self.writer.layout.row_bytes);
        let (mut reader, mut pause) = (None, PAUSES.0);
        while !self.crew.stopped() {
            let claimed = claim::claim(
                &self.writer.db,
                self.writer.sql(),
                RangeState::Todo,
                &self.writer.owner,
            );
            match self
                .turned(claimed)
                .await
                .map_err(|error| self.broken(error))?
            {
                Some(entry) => {
                    pause = PAUSES.0;
                    if self.writer.through_here() {
                        self.through(entry, &mut controller, &mut reader).await?;
                    } else {
                        self.range(entry, &mut controller).await?;
                    }
                }
                None if self
                    .left(RangeState::Todo)
                    .await
                    .map_err(|e| self.broken(e))?
                    == 0 =>
                {
                    break;
                }
                None => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
        Ok(())
    }

    /// SQLite's only writer is waited for in this process, not in the database.
    async fn turned<T>(
        &self,
        work: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        let _turn = match self.writer.db.backend() {
            Backend::Sqlite => Some(self.writer.turn.lock().await),
            Backend::Postgres => None,
        };
        work.await
    }

    fn broken(&self, error: DbError) -> Failed {
        self.crew.stop.store(true, Ordering::Release);
        Failed {
            number: 0,
            range: KeyRange::default(),
            error: RangeError::Db(error),
        }
    }

    async fn left(&self, state: RangeState) -> Result<u64, DbError> {
        access::count(&self.writer.db, &self.writer.sql().count_ranges(state)).await
    }

    /// Moves what is left of a range. A range that another worker took over is left to it.
    async fn range(&self, entry: Entry, controller: &mut Controller) -> Result<(), Failed> {
        let mut rest = entry.rest();
        while !self.crew.stopped() {
            let most = controller.size();
            let batch = match self.writer.cut(&rest, most).await {
                Ok(batch) => batch,
                Err(error) => return Err(self.broken(error)),
            };
            let Some(batch) = batch else {
                return match self.writer.end(entry.number, RangeState::Done).await {
                    Ok(()) | Err(RangeError::Lost) => Ok(()),
                    Err(error) => Err(self.failed(entry.number, rest, error)),
                };
            };
            let ends = batch.rows < most;
            match self.batch(entry.number, &batch, ends, controller).await {
                Ok(()) if ends => return Ok(()),
                Ok(()) => rest.after.clone_from(&batch.range.upto),
                Err(RangeError::Lost) => return Ok(()),
                Err(RangeError::Stopped) => break,
                Err(error) => {
                    let failed = self.failed(entry.number, batch.range, error);
                    self.give_back().await;
                    return Err(failed);
                }
            }
        }
        self.give_back().await;
        Ok(())
    }

    /// Whoever goes on need not wait for the lease to end.
    pub(crate) async fn give_back(&self) {
        let released = claim::release(&self.writer.db, self.writer.sql(), &self.writer.owner);
        drop(self.turned(released).await);
    }

    async fn batch(
        &self,
        number: i64,
        batch: &Cut,
        ends: bool,
        controller: &mut Controller,
    ) -> Result<(), RangeError> {
        let state = if ends {
            RangeState::Done
        } else {
            RangeState::Todo
        };
        let began = Instant::now();
        let job = Job {
            number,
            cut: batch,
            keep: Keep::Commit(state),
        };
        let wrote = self.writer.write(job).await;
        let counts = self.or_sifted(job, wrote).await?;
        controller.saw(Sample {
            rows: counts.read,
            affected: counts.inserted + counts.updated,
            took: began.elapsed(),
        });
        self.crew.meter.add(counts.read);
        Ok(())
    }

    /// What became of a batch; where rows are bad and may be kept aside, row by row.
    pub(crate) async fn or_sifted(
        &self,
        job: Job<'_>,
        wrote: Result<Counts, RangeError>,
    ) -> Result<Counts, RangeError> {
        let stopped = || self.crew.stopped();
        match wrote {
            Err(error) if self.writer.keeps_aside(&error) => {
                self.writer.sift(job, error, &stopped).await
            }
            other => other,
        }
    }

    pub(crate) fn failed(&self, number: i64, range: KeyRange, error: RangeError) -> Failed {
        self.crew.stop.store(true, Ordering::Release);
        Failed {
            number,
            range,
            error,
        }
    }

    /// Compares ranges that are done until none is left.
    pub(crate) async fn check(&self) -> Result<Difference, Failed> {
        let mut difference = Difference::default();
        let mut pause = PAUSES.0;
        while !self.crew.stopped() {
            let claimed = claim::claim(
                &self.writer.db,
                self.writer.sql(),
                RangeState::Done,
                &self.writer.owner,
            );
            match self
                .turned(claimed)
                .await
                .map_err(|error| self.broken(error))?
            {
                Some(entry) => {
                    pause = PAUSES.0;
                    difference.add(self.checked(&entry).await?);
                }
                None if self
                    .left(RangeState::Done)
                    .await
                    .map_err(|e| self.broken(e))?
                    == 0 =>
                {
                    break;
                }
                None => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
        Ok(difference)
    }

    async fn checked(&self, entry: &Entry) -> Result<Difference, Failed> {
        let fail = |error| self.failed(entry.number, entry.range.clone(), error);
        let mut found = Difference::default();
        if self.crew.verify.takes(entry.number) {
            found = self.writer.verify(entry).await.map_err(fail)?;
        }
        if self.crew.role == Role::Helper && !found.is_none() {
            self.crew.stop.store(true, Ordering::Release);
            self.give_back().await;
            return Ok(found);
        }
        match self.writer.end(entry.number, RangeState::Checked).await {
            Ok(()) | Err(RangeError::Lost) => Ok(found),
            Err(error) => Err(fail(error)),
        }
    }
}

/// The sum of a ledger.
pub(crate) fn totals(entries: &[Entry]) -> Counts {
    let mut sum = Counts::default();
    for entry in entries {
        sum += entry.counts;
    }
    sum
}
