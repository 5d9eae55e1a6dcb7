//! What is shown of copies of rows.

use migrate_data::{Comparison, CopyStatus, Reject};
use serde_json::json;

use super::{Output, document, out};

impl Output {
    /// What comparing two tables found.
    pub(crate) fn comparison(&self, found: &Comparison) {
        if self.json() {
            document(&json!(found));
            return;
        }
        if found.quarantined > 0 {
            out(&format!(
                "{} rows in quarantine are left out (`data rejects`)",
                found.quarantined
            ));
        }
        if found.found.is_empty() {
            out(&format!("{} rows compared, no difference", found.rows));
            return;
        }
        out(&format!(
            "{} rows compared, {} differ",
            found.rows, found.differing
        ));
        for line in &found.found {
            out(&format!("  {line}"));
        }
    }

    /// The copies of a database.
    pub(crate) fn copies(&self, copies: &[CopyStatus], aside: &[Reject]) {
        if self.json() {
            document(&json!(copies));
            return;
        }
        if copies.is_empty() {
            out("no copy is under way in this database");
        }
        for copy in copies {
            out(&format!(
                "run {} step {}: {} into {}, {}",
                copy.run, copy.step, copy.source, copy.target, copy.state
            ));
            out(&format!(
                "  {} of {} rows moved; ranges: {} done ({} compared), {} in flight, {} left",
                copy.moved,
                copy.rows,
                copy.ranges_done,
                copy.ranges_checked,
                copy.ranges_in_flight,
                copy.ranges_left
            ));
            for worker in &copy.workers {
                out(&format!("  worker {worker}"));
            }
            if copy.quarantined > 0 {
                out(&format!("  {} rows in quarantine", copy.quarantined));
            }
        }
        for (run, rows) in by_run(aside) {
            out(&format!(
                "run {run}: {rows} rows could not be moved: etlrs-migrate data rejects --run {run}"
            ));
        }
    }

    /// Rows in quarantine.
    pub(crate) fn rejects(&self, rejects: &[Reject]) {
        if self.json() {
            document(&json!(rejects));
            return;
        }
        if rejects.is_empty() {
            out("no rows are in quarantine in this database");
        }
        let mut copy = None;
        for reject in rejects {
            let this = (&reject.run, &reject.step);
            if copy.replace(this) != Some(this) {
                let end = if reject.taken_back {
                    "; the copy was taken back"
                } else {
                    ""
                };
                out(&format!(
                    "run {} step {}: {} into {}{end}",
                    reject.run, reject.step, reject.source, reject.target
                ));
            }
            out(&format!("  {}: {}", reject.key, reject.reason));
        }
    }
}

/// How many rows each run left in quarantine.
fn by_run(aside: &[Reject]) -> Vec<(&str, usize)> {
    let mut runs: Vec<(&str, usize)> = Vec::new();
    for reject in aside {
        match runs.last_mut() {
            Some((run, rows)) if *run == reject.run => *rows += 1,
            _ => runs.push((&reject.run, 1)),
        }
    }
    runs
}
