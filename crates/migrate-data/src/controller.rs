//! How many rows the next batch has. Pure: from what batches before it took.

use std::time::Duration;

use migrate_core::BatchSize;

/// How long a batch shall take when its size is left to the engine.
const TARGET: Duration = Duration::from_millis(500);

/// A batch that takes this many times the target is cut at once, by as much as it was too long.
const SLOW: f64 = 5.0;

/// How fast a size may grow.
const GROWTH: f64 = 1.5;

/// The first batch, while nothing is known.
const FIRST: u64 = 2_000;

/// No batch has more rows or, by the average of the table, more bytes.
const MOST_ROWS: u64 = 250_000;
const MOST_BYTES: u64 = 64 << 20;

/// How many rows a batch may write, which is what undo and replicas have to bear.
const MOST_AFFECTED: u64 = 100_000;

/// The size to plan with.
pub(crate) fn first(size: BatchSize) -> u64 {
    match size {
        BatchSize::Rows(rows) => rows as u64,
        BatchSize::Auto => FIRST,
    }
}

/// What decides on the size of each batch.
pub(crate) fn controller(size: BatchSize, row_bytes: u64) -> Controller {
    match size {
        BatchSize::Rows(rows) => Controller {
            size: rows as u64,
            most: rows as u64,
            fixed: true,
        },
        BatchSize::Auto => {
            let most = (MOST_BYTES / row_bytes.max(1)).clamp(1, MOST_ROWS);
            Controller {
                size: FIRST.min(most),
                most,
                fixed: false,
            }
        }
    }
}

/// What a batch took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Rows that it read.
    pub(crate) rows: u64,
    /// Rows that it wrote.
    pub(crate) affected: u64,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Sizes batches so that each takes about as long as the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Controller {
    size: u64,
    most: u64,
    fixed: bool,
}

impl Controller {
    /// How many rows the next batch has at most.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Takes what a batch took into account.
    pub(crate) fn saw(&mut self, sample: Sample) {
        if !self.fixed {
            self.size = next_size(self.size, self.most, sample);
        }
    }
}

/// The size after a batch of `size` rows at most.
///
/// A batch that was not full (a gap, the end of a range) tells the rate, but never makes the next
/// one larger than a full one would.
fn next_size(size: u64, most: u64, sample: Sample) -> u64 {
    if sample.rows == 0 {
        return size;
    }
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let (rows, now) = (sample.rows as f64, size as f64);
    let slowness = sample.took.as_secs_f64() / TARGET.as_secs_f64();
    let fitting = rows / slowness.max(1e-6);
    let next = if slowness >= SLOW {
        fitting
    } else if sample.rows < size {
        if slowness > 1.0 {
            fitting.min(now)
        } else {
            now
        }
    } else {
        // Half-way towards what fits: one burst does not decide alone.
        (f64::midpoint(now, fitting)).min(now * GROWTH)
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and bounded below"
    )]
    let next = next.min(1e15) as u64;
    let by_writes = if sample.affected == 0 {
        u64::MAX
    } else {
        // As many rows as write that much, when they write as these did.
        u64::try_from(
            u128::from(MOST_AFFECTED) * u128::from(sample.rows) / u128::from(sample.affected),
        )
        .unwrap_or(u64::MAX)
    };
    next.min(by_writes).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rows: u64, affected: u64, millis: u64) -> Sample {
        Sample {
            rows,
            affected,
            took: Duration::from_millis(millis),
        }
    }

    #[test]
    fn sizes_follow_the_time_that_batches_take() {
        for (what, size, seen, expected) in [
            (
                "as long as it shall",
                10_000,
                sample(10_000, 10_000, 500),
                10_000,
            ),
            (
                "fast: grows by half at most",
                10_000,
                sample(10_000, 10_000, 50),
                15_000,
            ),
            (
                "a little fast: half-way",
                10_000,
                sample(10_000, 10_000, 400),
                11_250,
            ),
            (
                "slow: half-way down",
                10_000,
                sample(10_000, 10_000, 1_000),
                7_500,
            ),
            (
                "five times too slow: cut at once",
                10_000,
                sample(10_000, 10_000, 2_500),
                2_000,
            ),
            (
                "stuck for a minute",
                10_000,
                sample(10_000, 10_000, 60_000),
                83,
            ),
            ("one row that takes a minute", 1, sample(1, 1, 60_000), 1),
            ("nothing read", 10_000, sample(0, 0, 1), 10_000),
            (
                "a gap: fast, but tells little",
                10_000,
                sample(10, 10, 1),
                10_000,
            ),
            (
                "a short batch that was slow",
                10_000,
                sample(4_000, 4_000, 1_000),
                2_000,
            ),
            (
                "a short batch does not grow",
                10_000,
                sample(9_000, 9_000, 1),
                10_000,
            ),
            ("instant", 10_000, sample(10_000, 0, 0), 15_000),
            (
                "writes more than a batch may",
                90_000,
                sample(90_000, 270_000, 450),
                33_333,
            ),
            (
                "the most there is",
                200_000,
                sample(200_000, 0, 10),
                250_000,
            ),
        ] {
            assert_eq!(next_size(size, MOST_ROWS, seen), expected, "{what}");
        }
    }

    #[test]
    fn sizes_settle_on_every_kind_of_data() {
        // Rows a second: sparse data is fast, wide data slow; bursts are five times slower for a while.
        for (what, rate, burst, low, high) in [
            ("plain", 60_000.0, 1.0, 25_000, 35_000),
            ("sparse", 2_000_000.0, 1.0, 100_000, 100_000),
            ("wide", 300.0, 1.0, 120, 180),
            ("very slow", 1.5, 1.0, 1, 1),
            ("bursty", 60_000.0, 8.0, 2_500, 50_000),
        ] {
            let mut controller = super::controller(BatchSize::Auto, 200);
            let mut longest = 0.0_f64;
            for at in 0..60 {
                let slow = if at % 10 == 9 { burst } else { 1.0 };
                let rows = controller.size();
                let seconds = f64::from(u32::try_from(rows).unwrap()) * slow / rate;
                if at > 20 {
                    longest = longest.max(seconds);
                }
                controller.saw(Sample {
                    rows,
                    affected: rows,
                    took: Duration::from_secs_f64(seconds),
                });
            }
            let size = controller.size();
            assert!((low..=high).contains(&size), "{what}: {size}");
            assert!(longest < 0.5 * 1.6 * burst.max(1.0), "{what}: {longest}");
        }
    }

    #[test]
    fn rows_and_bytes_are_capped_and_a_given_size_is_kept() {
        assert_eq!(controller(BatchSize::Auto, 1 << 20).size(), 64);
        assert_eq!(controller(BatchSize::Auto, 1 << 30).size(), 1);
        let mut given = controller(BatchSize::Rows(777), 1 << 20);
        given.saw(sample(777, 777, 60_000));
        assert_eq!(given.size(), 777);
    }
}
