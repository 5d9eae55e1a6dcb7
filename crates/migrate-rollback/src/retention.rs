//! Which backups may go.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use migrate_core::{Phase, RunLog, RunState};
use serde::Deserialize;

use crate::point::{Purpose, RollbackPoint};

/// `[backup]` of `etlrs-migrate.toml`: how long backups are kept. Without either, for good.
///
/// With both, a backup goes when it is neither among the newest `keep` nor younger than
/// `keep_days` days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Retention {
    /// So many of the newest are kept.
    pub keep: Option<u32>,
    /// Those younger than so many days are kept.
    pub keep_days: Option<u32>,
}

impl Retention {
    /// The points that may go, oldest first. Never the newest, nor one that is `needed`;
    /// safety copies are counted by themselves.
    pub fn may_go<'a>(
        &self,
        points: impl IntoIterator<Item = &'a RollbackPoint>,
        needed: &BTreeSet<String>,
        now: DateTime<Utc>,
    ) -> Vec<&'a RollbackPoint> {
        if self.keep.is_none() && self.keep_days.is_none() {
            return Vec::new();
        }
        let mut all: Vec<&RollbackPoint> = points.into_iter().collect();
        all.sort_by(|a, b| (b.timestamp, &b.id).cmp(&(a.timestamp, &a.id)));
        let mut gone: Vec<&RollbackPoint> = [Purpose::GoBack, Purpose::Safety]
            .into_iter()
            .flat_map(|purpose| {
                let same = all.iter().filter(move |point| point.purpose == purpose);
                same.enumerate()
                    .filter(|(rank, point)| self.lets_go(*rank, point, now))
                    .map(|(_, point)| *point)
            })
            .filter(|point| !needed.contains(&point.id))
            .collect();
        gone.reverse();
        gone
    }

    fn lets_go(&self, rank: usize, point: &RollbackPoint, now: DateTime<Utc>) -> bool {
        let few = self
            .keep
            .is_some_and(|keep| rank < usize::try_from(keep).unwrap_or(usize::MAX));
        let young = self
            .keep_days
            .is_some_and(|days| now - point.timestamp < TimeDelta::days(i64::from(days)));
        rank > 0 && !few && !young
    }
}

/// The points that runs still need: those of runs that are not at their end, and of the last
/// one that was completed, which can still be taken back. A log that makes no sense counts
/// as open.
pub fn needed_by(runs: &[RunLog]) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    let mut newest_completed = true;
    for log in runs.iter().rev() {
        let Ok(state) = RunState::replay(log) else {
            continue;
        };
        let needs = match state.phase {
            Phase::RolledBack => false,
            Phase::Completed => std::mem::take(&mut newest_completed),
            _ => true,
        };
        let id = state.point.as_ref().and_then(|point| point.get("id"));
        if let Some(id) = id.and_then(|id| id.as_str()).filter(|_| needs) {
            needed.insert(id.to_owned());
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(id: &str, days_ago: i64, purpose: Purpose, now: DateTime<Utc>) -> RollbackPoint {
        let value = serde_json::json!({
            "id": id, "version": "1.5.0", "timestamp": now - TimeDelta::days(days_ago),
            "config_backup": null, "schema_version": 1, "files": [], "purpose": purpose,
            "data_snapshot": { "file": id, "backend": "sqlite", "database": "d", "sha256": "",
                "bytes": 1, "fingerprint": "", "fingerprint_sha256": "" },
        });
        RollbackPoint::from_value(&value).unwrap()
    }

    #[test]
    fn neither_the_newest_nor_a_needed_one_goes() {
        let now = Utc::now();
        let ages = [("a", 90), ("b", 60), ("c", 40), ("d", 10), ("e", 1)];
        let mut points: Vec<_> = ages
            .iter()
            .map(|(id, days)| point(id, *days, Purpose::GoBack, now))
            .collect();
        points.push(point("s", 99, Purpose::Safety, now));
        let gone = |keep, keep_days, needed: &[&str]| -> String {
            let needed = needed.iter().map(|id| (*id).to_owned()).collect();
            Retention { keep, keep_days }
                .may_go(&points, &needed, now)
                .iter()
                .map(|point| point.id.as_str())
                .collect()
        };
        for (keep, days, needed, expected) in [
            (None, None, &[][..], ""),
            (Some(2), None, &[], "abc"),
            (Some(2), None, &["b"], "ac"),
            (None, Some(30), &[], "abc"),
            (Some(4), Some(30), &[], "a"),
            (Some(1), Some(50), &[], "ab"),
            (Some(0), Some(0), &[], "abcd"),
        ] {
            assert_eq!(gone(keep, days, needed), expected, "{keep:?} {days:?}");
        }
    }
}
