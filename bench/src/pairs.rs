//! Interleaved timings and what they say.

use std::time::{Duration, Instant};

/// Contestants that take turns, each timed in every round.
pub(crate) struct Rounds<'a> {
    rows: u64,
    contestants: Vec<Contestant<'a>>,
}

struct Contestant<'a> {
    name: &'static str,
    prepare: Box<dyn Fn() + 'a>,
    work: Box<dyn Fn() + 'a>,
    times: Vec<Duration>,
}

impl<'a> Rounds<'a> {
    /// Over so many rows.
    pub(crate) fn new(rows: u64) -> Self {
        Self {
            rows,
            contestants: Vec::new(),
        }
    }

    /// Adds one; `prepare` is not timed.
    pub(crate) fn with(
        mut self,
        name: &'static str,
        prepare: impl Fn() + 'a,
        work: impl Fn() + 'a,
    ) -> Self {
        self.contestants.push(Contestant {
            name,
            prepare: Box::new(prepare),
            work: Box::new(work),
            times: Vec::new(),
        });
        self
    }

    /// Lets all take their turns.
    pub(crate) fn run(mut self, rounds: u64) -> Self {
        for _ in 0..rounds {
            for contestant in &mut self.contestants {
                (contestant.prepare)();
                contestant.times.push(time(&contestant.work));
            }
        }
        self
    }

    /// Prints the ratio of a baseline's times to another's, pair by pair.
    pub(crate) fn compare(&self, what: &str, baseline: &str, ours: &str, aim: f64) {
        let times = |name: &str| {
            let found = self.contestants.iter().find(|c| c.name == name);
            &found
                .unwrap_or_else(|| panic!("no contestant {name}"))
                .times
        };
        let (theirs, ours) = (times(baseline), times(ours));
        let ratios = theirs
            .iter()
            .zip(ours)
            .map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64());
        let ratios = Spread::of(ratios);
        row(
            &format!("{what} / {baseline}"),
            self.rows,
            &ratios,
            aim,
            &format!(
                "{:.0} rows/s against {:.0}",
                rate(self.rows, median(ours)),
                rate(self.rows, median(theirs))
            ),
        );
    }
}

/// Median and ends of some figures.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Self {
            median: figures[figures.len() / 2],
            low: figures[0],
            high: figures[figures.len() - 1],
        }
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
pub(crate) fn rate(rows: u64, time: Duration) -> f64 {
    rows as f64 / time.as_secs_f64()
}

pub(crate) fn time(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// The table's head.
pub(crate) fn table_head() {
    say("| work / baseline | rows | ratio (median) | spread | aim | met | figures |");
    say("|---|---|---|---|---|---|---|");
}

/// A line of the table.
pub(crate) fn row(what: &str, rows: u64, spread: &Spread, aim: f64, figures: &str) {
    let met = if spread.median >= aim { "yes" } else { "no" };
    say(&format!(
        "| {what} | {rows} | {:.2} | {:.2} - {:.2} | {aim} | {met} | {figures} |",
        spread.median, spread.low, spread.high
    ));
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
