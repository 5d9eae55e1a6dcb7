//! Rows, rate and time left, from the times and counts of progress events: pure.

use std::collections::VecDeque;
use std::time::Duration;

use migrate_core::duration::human;

/// The rate is that of the last seconds, so that it follows what happens now.
const WINDOW: Duration = Duration::from_secs(10);

/// How fast a count grows.
#[derive(Debug, Default)]
pub(super) struct Rate {
    seen: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Takes a count at a moment since the step began.
    pub(super) fn take(&mut self, at: Duration, done: u64) {
        self.seen.push_back((at, done));
        while self.seen.len() > 2 && at.saturating_sub(self.seen[0].0) > WINDOW {
            self.seen.pop_front();
        }
    }

    /// Units a second, once two moments are known.
    pub(super) fn per_second(&self) -> Option<f64> {
        let (first, last) = (self.seen.front()?, self.seen.back()?);
        let seconds = last.0.saturating_sub(first.0).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let units = last.1.saturating_sub(first.1) as f64;
        (seconds > 0.05 && units > 0.0).then(|| units / seconds)
    }

    /// `1,200 of 10,000 rows (12 %), 24,000/s, 0.4s left`.
    pub(super) fn line(&self, done: u64, total: Option<u64>, unit: &str) -> String {
        let mut line = match total {
            Some(total) if total > 0 => format!(
                "{} of {} {unit} ({} %)",
                grouped(done),
                grouped(total),
                done.min(total) * 100 / total
            ),
            _ => format!("{} {unit}", grouped(done)),
        };
        if let Some(rate) = self.per_second() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a positive rate, rounded for people"
            )]
            let whole = rate.round() as u64;
            line.push_str(&format!(", {}/s", grouped(whole)));
            if let Some(left) = total.map(|total| total.saturating_sub(done))
                && left > 0
            {
                #[expect(clippy::cast_precision_loss, reason = "a time for people")]
                let seconds = left as f64 / rate;
                let left = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                line.push_str(&format!(", {} left", human(left)));
            }
        }
        line
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn follows_the_last_seconds() {
        let mut rate = Rate::default();
        rate.take(Duration::from_secs(0), 0);
        assert_eq!(rate.line(0, Some(100), "rows"), "0 of 100 rows (0 %)");
        rate.take(Duration::from_secs(1), 50);
        assert_eq!(
            rate.line(50, Some(100), "rows"),
            "50 of 100 rows (50 %), 50/s, 1.0s left"
        );
    }
}
