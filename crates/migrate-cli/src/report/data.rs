//! What is shown of copies of rows.

use migrate_data::{Comparison, CopyStatus};
use serde_json::json;

use super::{Output, document, out};

impl Output {
    /// What comparing two tables found.
    pub(crate) fn comparison(&self, found: &Comparison) {
        if self.json() {
            document(&json!(found));
            return;
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
    pub(crate) fn copies(&self, copies: &[CopyStatus]) {
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
        }
    }
}
