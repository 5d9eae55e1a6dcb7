//! Rows that pass through this process: read ahead, worked on by all cores, and written in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::future::{Either, pending, select};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cells::{self, Passing};
use crate::controller::{Controller, Sample};
use crate::failure::is_about_rows;
use crate::keyset::KeyRange;
use crate::ledger::{Entry, RangeState};
use crate::planner::Cut;
use crate::range::{Job, Keep, Program, RangeError, RangeWriter};
use crate::statement::Produced;
#[cfg(feature = "postgres")]
use crate::stream::{Reader, streams};
use crate::wire::Wire;
use crate::work::{Made, Way, Work};
use crate::worker::{Failed, Worker};

/// How many bytes of rows are read at once for each worker.
pub(crate) const BYTES_HERE: u64 = 1 << 20;

/// Without PostgreSQL there is none.
#[cfg(not(feature = "postgres"))]
pub(crate) enum Reader {}

/// A batch that was read, and the work on it.
pub(crate) struct Ahead {
    cut: Cut,
    made: JoinHandle<Result<Made, RangeError>>,
}

/// What is read ahead, in order; after an error, with the rows it is about, nothing more.
pub(crate) type Feed = mpsc::Sender<Result<Ahead, (KeyRange, RangeError)>>;

impl RangeWriter {
    fn work(&self, way: Way) -> Work {
        let unopened = matches!(self.program, Program::Sql(_))
            && self.source().backend() == migrate_schema::db::Backend::Postgres;
        let own = if unopened { Wire::sealed } else { Wire::exact };
        Work {
            program: self.program.clone(),
            columns: Arc::clone(&self.source_columns),
            layout: Arc::clone(&self.layout),
            target: self.db.backend(),
            straight: match way {
                Way::Straight => self.layout.straight(|kind| match own(kind) {
                    Some(Wire::Instant) if self.at_utc => Some(Wire::InstantUtc),
                    own => own,
                }),
                Way::Staged => None,
            },
            staged: self.layout.wires(self.db.backend()),
            buffers: self.buffers.clone(),
        }
    }

    /// The produced rows of a range, where they pass through this process: straight, where that
    /// is asked for and can be.
    pub(crate) async fn transformed(
        &self,
        range: &KeyRange,
        way: Way,
    ) -> Result<Option<Made>, RangeError> {
        if !self.through_here() {
            return Ok(None);
        }
        let work = self.work(way);
        let read = self.read(range, &work).await?;
        done(working(&work, read)).await.map(Some)
    }

    async fn read(&self, range: &KeyRange, work: &Work) -> Result<Passing, RangeError> {
        let (query, columns) = match &self.program {
            Program::Sql(script) => {
                let from = Produced::Script {
                    select: &script.select,
                    range,
                };
                let columns = work.outputs();
                (self.source_sql().crossing(from, columns), columns.len())
            }
            Program::Rust(_) => {
                let columns = &self.source_columns;
                (self.source_sql().source_rows(columns, range), columns.len())
            }
        };
        Ok(cells::read(self.source(), &query, columns, &self.buffers).await?)
    }

    /// Reads a range batch by batch, each of at most so many rows, and sets work on them going.
    async fn feed(&self, rest: KeyRange, rows: &AtomicU64, reader: &mut Option<Reader>, out: Feed) {
        let place = rest.clone();
        #[cfg(feature = "postgres")]
        let fed = if streams(self) {
            self.stream(rest, rows, reader, &out).await
        } else {
            self.cut_by_cut(rest, rows, &out).await
        };
        #[cfg(not(feature = "postgres"))]
        let (fed, _) = (self.cut_by_cut(rest, rows, &out).await, reader);
        if let Err(error) = fed {
            // Nobody listens any more: there is nobody to tell either.
            drop(out.send(Err((place, error))).await);
        }
    }

    #[cfg(feature = "postgres")]
    async fn stream(
        &self,
        rest: KeyRange,
        rows: &AtomicU64,
        reader: &mut Option<Reader>,
        out: &Feed,
    ) -> Result<(), RangeError> {
        let work = self.work(Way::Straight);
        let mut open = match reader.take() {
            Some(open) => open,
            None => Reader::open(self.source()).await?,
        };
        let mut batches = open.batches(self, rest).await?;
        while let Some((cut, read)) = batches
            .next(rows.load(Ordering::Relaxed), BYTES_HERE)
            .await?
        {
            let made = working(&work, read);
            if out.send(Ok(Ahead { cut, made })).await.is_err() {
                return Ok(());
            }
        }
        drop(batches);
        *reader = Some(open);
        Ok(())
    }

    async fn cut_by_cut(
        &self,
        mut rest: KeyRange,
        rows: &AtomicU64,
        out: &Feed,
    ) -> Result<(), RangeError> {
        let work = self.work(Way::Straight);
        while let Some(cut) = self.cut(&rest, rows.load(Ordering::Relaxed)).await? {
            let made = match self.read(&cut.range, &work).await {
                Ok(read) => working(&work, read),
                // Where the source is elsewhere, its script fails on a row while it is read.
                Err(error) if is_about_rows(&error) => tokio::spawn(async { Err(error) }),
                Err(error) => return Err(error),
            };
            rest.after.clone_from(&cut.range.upto);
            if out.send(Ok(Ahead { cut, made })).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Opening, transforming and packing take a core: not one that drives connections.
fn working(work: &Work, read: Passing) -> JoinHandle<Result<Made, RangeError>> {
    let work = work.clone();
    tokio::task::spawn_blocking(move || work.done(read))
}

async fn done(made: JoinHandle<Result<Made, RangeError>>) -> Result<Made, RangeError> {
    made.await
        .unwrap_or_else(|error| Err(RangeError::Panic(error.to_string())))
}

impl Worker<'_> {
    /// Moves what is left of a range whose rows pass through here. What is read ahead when the
    /// writing ends is left unused.
    pub(crate) async fn through(
        &self,
        entry: Entry,
        controller: &mut Controller,
        reader: &mut Option<Reader>,
    ) -> Result<(), Failed> {
        let rows = AtomicU64::new(controller.size());
        let (out, batches) = mpsc::channel(1);
        let feed = async {
            self.writer.feed(entry.rest(), &rows, reader, out).await;
            pending::<std::convert::Infallible>().await
        };
        let written = self.write_all(entry.number, batches, &rows, controller);
        match select(Box::pin(written), Box::pin(feed)).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    async fn write_all(
        &self,
        number: i64,
        mut batches: mpsc::Receiver<Result<Ahead, (KeyRange, RangeError)>>,
        rows: &AtomicU64,
        controller: &mut Controller,
    ) -> Result<(), Failed> {
        while !self.crew.stopped() {
            let began = Instant::now();
            let Some(ahead) = batches.recv().await else {
                return match self.writer.end(number, RangeState::Done).await {
                    Ok(()) | Err(RangeError::Lost) => Ok(()),
                    Err(error) => Err(self.failed(number, everything(), error)),
                };
            };
            let (range, wrote) = match ahead {
                Ok(Ahead { cut, made }) => {
                    let wrote = self.write_ahead(number, &cut, made).await;
                    (cut.range, wrote)
                }
                Err((range, error)) => (range, Err(error)),
            };
            match wrote {
                Ok(sample) => {
                    controller.saw(Sample {
                        took: began.elapsed(),
                        ..sample
                    });
                    rows.store(controller.size(), Ordering::Relaxed);
                }
                Err(RangeError::Lost) => return Ok(()),
                Err(RangeError::Stopped) => break,
                Err(error) => {
                    let failed = self.failed(number, range, error);
                    self.give_back().await;
                    return Err(failed);
                }
            }
        }
        self.give_back().await;
        Ok(())
    }

    async fn write_ahead(
        &self,
        number: i64,
        cut: &Cut,
        made: JoinHandle<Result<Made, RangeError>>,
    ) -> Result<Sample, RangeError> {
        let job = Job {
            number,
            cut,
            keep: Keep::Commit(RangeState::Todo),
        };
        let wrote = match done(made).await {
            Ok(made) => self.writer.write_made(job, Some(made)).await,
            Err(error) => Err(error),
        };
        let counts = self.or_sifted(job, wrote).await?;
        self.crew.meter.add(counts.read);
        Ok(Sample {
            rows: counts.read,
            affected: counts.inserted + counts.updated,
            took: std::time::Duration::ZERO,
        })
    }
}

fn everything() -> KeyRange {
    KeyRange::default()
}
