//! How long it may take, before it starts.

use std::time::Duration;

use console::style;
use migrate_core::duration::human as time;
use migrate_core::{Basis, Estimate};
use serde_json::json;

use super::{Output, document};
use crate::deadline::Deadline;

impl Output {
    /// The estimate of the way there and of the way back, and whether the deadline leaves room.
    pub(crate) fn estimate(&self, estimate: &Estimate, deadline: Option<&Deadline>) {
        let late = deadline.filter(|deadline| estimate.forward > deadline.left);
        if self.json() {
            document(&json!({
                "event": "estimate",
                "forward_ms": millis(estimate.forward),
                "back_ms": millis(estimate.back),
                "basis": estimate.basis,
                "steps": estimate.steps.iter().map(|step| json!({
                    "step": step.step,
                    "forward_ms": millis(step.forward),
                    "back_ms": millis(step.back),
                    "basis": step.basis,
                })).collect::<Vec<_>>(),
                "deadline": deadline.map(|deadline| deadline.at.to_rfc3339()),
                "longer_than_deadline": late.is_some(),
            }));
            return;
        }
        let basis = match &estimate.basis {
            Basis::Rehearsed(at) => {
                format!("as rehearsed {}", at.format("%Y-%m-%d %H:%M:%S UTC"))
            }
            Basis::Measured(run) => format!("as run {run} measured it"),
            Basis::Rows => "by its rows".to_owned(),
            _ => "as the plan's author expects".to_owned(),
        };
        self.note(&format!(
            "{} about {}, going back about {} ({basis})",
            style("estimate").bold(),
            time(estimate.forward),
            time(estimate.back)
        ));
        if let Some(deadline) = deadline {
            self.note(&format!("{} {deadline}", style("deadline").bold()));
        }
        if let Some(deadline) = late {
            self.note(&format!(
                "{} the estimate is longer than the {} that are left: the run would take itself back",
                style("warning").yellow(),
                time(deadline.left)
            ));
        }
    }

    /// How long a rollback may take.
    pub(crate) fn estimate_back(&self, back: Duration) {
        self.note(&format!(
            "{} going back about {}",
            style("estimate").bold(),
            time(back)
        ));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
