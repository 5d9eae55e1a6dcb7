//! `--deadline` and `--max-duration`: past it, a run that is not done takes itself back.

use std::time::Duration;

use chrono::{DateTime, Days, Local, NaiveTime, SubsecRound as _, TimeDelta};
use clap::Args;
use migrate_core::{Cancel, CancelCause, TIME_OVER};

use crate::failure::Failure;

/// When a run must be done.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DeadlineArgs {
    /// When it must be done (`03:30` by this machine's clock, or a moment like
    /// `2026-01-31T03:30:00Z`); past it a run takes itself back, a rollback stops to be resumed.
    #[arg(long, value_name = "TIME", conflicts_with = "max_duration")]
    pub(crate) deadline: Option<String>,
    /// How long it may take (`2h`, `45m`); past that as with --deadline.
    #[arg(long, value_name = "DURATION")]
    pub(crate) max_duration: Option<String>,
}

/// A moment at which a run must be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: DateTime<Local>,
    pub(crate) left: Duration,
}

impl DeadlineArgs {
    /// The moment, if one was given.
    pub(crate) fn resolve(&self) -> Result<Option<Deadline>, Failure> {
        let now = Local::now();
        let at = match (&self.deadline, &self.max_duration) {
            (Some(text), _) => moment(text, now)
                .map_err(|why| Failure::usage(format!("--deadline {text}: {why}")))?,
            (None, Some(text)) => after(text, now)
                .map_err(|why| Failure::usage(format!("--max-duration {text}: {why}")))?,
            (None, None) => return Ok(None),
        };
        let left = (at - now).to_std().unwrap_or_default();
        Ok(Some(Deadline { at, left }))
    }

    /// As it was given, for the journal.
    pub(crate) fn flags(&self) -> impl Iterator<Item = String> {
        let deadline = self
            .deadline
            .iter()
            .map(|text| format!("--deadline {text}"));
        let most = self
            .max_duration
            .iter()
            .map(|text| format!("--max-duration {text}"));
        deadline.chain(most)
    }
}

/// Asks the run to turn back when the time is over.
pub(crate) fn watch(deadline: &Deadline, cancel: &Cancel) {
    let (left, cancel) = (deadline.left, cancel.clone());
    tokio::spawn(async move {
        tokio::time::sleep(left).await;
        cancel.cancel(CancelCause::Deadline);
    });
}

/// Asks a way back to stop where it can be resumed when the time is over: nothing turns it round.
pub(crate) fn watch_back(deadline: &Deadline, cancel: &Cancel) {
    let (left, cancel) = (deadline.left, cancel.clone());
    tokio::spawn(async move {
        tokio::time::sleep(left).await;
        cancel.cancel(CancelCause::Signal(TIME_OVER));
    });
}

/// A time of day is the next one of this machine's clock.
fn moment(text: &str, now: DateTime<Local>) -> Result<DateTime<Local>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        let at = at.with_timezone(&Local);
        return if at > now {
            Ok(at)
        } else {
            Err("that is over".to_owned())
        };
    }
    let time = NaiveTime::parse_from_str(text, "%H:%M")
        .map_err(|_| "it is written 03:30, or as a moment like 2026-01-31T03:30:00Z".to_owned())?;
    let today = now.date_naive();
    let days = [Some(today), today.checked_add_days(Days::new(1))];
    days.into_iter()
        .flatten()
        // A time that a change of clocks leaves out is taken on the next day.
        .filter_map(|day| day.and_time(time).and_local_timezone(Local).earliest())
        .find(|at| *at > now)
        .ok_or_else(|| "there is no such time today or tomorrow".to_owned())
}

fn after(text: &str, now: DateTime<Local>) -> Result<DateTime<Local>, String> {
    let most = migrate_core::duration::parse(text)?;
    if most.is_zero() {
        return Err("that is no time at all".to_owned());
    }
    TimeDelta::from_std(most)
        .ok()
        .and_then(|most| now.checked_add_signed(most))
        .ok_or_else(|| "that is too long".to_owned())
}

impl std::fmt::Display for Deadline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.at.trunc_subsecs(0).format("%Y-%m-%d %H:%M:%S");
        write!(f, "{at} (in {})", migrate_core::duration::human(self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_the_next_one() {
        let now = Local::now();
        for text in ["00:00", "03:30", "23:59"] {
            let at = moment(text, now).unwrap();
            assert!(
                at > now && at - now <= TimeDelta::days(1) + TimeDelta::hours(2),
                "{at}"
            );
            assert_eq!(at.format("%H:%M").to_string(), text);
        }
        for wrong in ["3", "25:00", "half past three", "2020-01-01T00:00:00Z"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
        assert!(after("2h", now).unwrap() > now);
        assert!(after("0s", now).is_err() && after("2", now).is_err());
    }
}
