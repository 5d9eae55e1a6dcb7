//! What a run did, for people and machines.

use console::style;
use migrate_core::duration::human as time;
use migrate_core::{
    MigrationPlan, MigrationResult, RollbackPreview, StepId, StepPreview, Undoable,
};
use serde_json::json;

use super::progress::grouped;
use super::{Output, document, out, out_lines};

/// The hash that names the run's whole log, to be written down elsewhere: see `audit verify`.
fn say_head(head: Option<&str>) {
    if let Some(head) = head {
        out(&format!("  {:<10} sha256 {head}", "journal"));
    }
}

impl Output {
    /// After a migration: what changed, how long it took, how to go back.
    pub(crate) fn summary(
        &self,
        plan: &MigrationPlan,
        result: &MigrationResult,
        back: Option<&str>,
        head: Option<&str>,
    ) {
        if self.json() {
            document(&json!({
                "event": "result", "end": result.end, "run": result.run,
                "from": plan.from_version, "to": plan.to_version,
                "steps": result.completed_steps, "checks": result.checks,
                "came_in": result.came_in,
                "rollback": result.rollback_info, "rollback_command": back,
                "journal_head": head,
                "duration_ms": millis(result.total_duration),
                "predicted": self.predicted().map(|predicted| predicted.steps.iter().map(|step| json!({
                    "step": step.step, "forward_ms": millis(step.forward),
                })).collect::<Vec<_>>()),
            }));
            return;
        }
        let predicted = self.predicted();
        let said_of = |id: &StepId| {
            let steps = predicted.iter().flat_map(|predicted| &predicted.steps);
            let said = steps
                .filter(|step| &step.step == id)
                .map(|step| step.forward);
            said.map(|said| format!(", predicted {}", time(said)))
                .next()
                .unwrap_or_default()
        };
        let heading = format!("{} -> {}", plan.from_version, plan.to_version);
        out(&format!(
            "\n{} {heading} in {}",
            style("migrated").green().bold(),
            time(result.total_duration)
        ));
        for step in &result.completed_steps {
            out(&format!(
                "  {:<10} {} ({}{})",
                step.step_id.to_string(),
                step.message,
                time(step.duration),
                said_of(&step.step_id)
            ));
            for note in &step.notes {
                out(&format!("  {:<10}   {note}", ""));
            }
        }
        let passed = result.checks.iter().filter(|check| check.passed).count();
        out(&format!(
            "  {:<10} {passed} of {} passed",
            "checks",
            result.checks.len()
        ));
        for check in result.checks.iter().filter(|check| !check.passed) {
            out(&format!(
                "  {:<10}   warning: {}: expected {}, found {}",
                "", check.name, check.expected, check.found
            ));
        }
        if let Some(info) = &result.rollback_info {
            let point = info.point.as_deref().unwrap_or("none (--no-backup)");
            out(&format!("  {:<10} {point}", "backup"));
        }
        say_head(head);
        if let Some(back) = back {
            out(&format!("  {:<10} {back}", "go back"));
        }
    }

    /// After a rollback.
    pub(crate) fn rolled_back(
        &self,
        plan: &MigrationPlan,
        result: &MigrationResult,
        head: Option<&str>,
    ) {
        if self.json() {
            document(&json!({
                "event": "result", "end": result.end, "run": result.run,
                "from": plan.to_version, "to": plan.from_version,
                "left": result.left, "duration_ms": millis(result.total_duration),
                "journal_head": head,
            }));
            return;
        }
        out(&format!(
            "\n{} {} -> {} in {}",
            style("rolled back").green().bold(),
            plan.to_version,
            plan.from_version,
            time(result.total_duration)
        ));
        if result.left.is_empty() {
            out("  everything in the plan's scope is as it was before");
        } else {
            out("  not as before:");
            for left in &result.left {
                out(&format!("    {left}"));
            }
        }
        say_head(head);
    }

    /// A dry run: diff, SQL, counts.
    pub(crate) fn dry_run(&self, result: &MigrationResult) {
        if self.json() {
            document(&json!({
                "event": "result", "end": result.end,
                "steps": result.previews, "findings": result.findings,
            }));
            return;
        }
        out(&format!("{}: nothing was written", style("dry run").bold()));
        for step in &result.previews {
            preview(step);
        }
    }

    /// Before a rollback: what others wrote since.
    pub(crate) fn changes(&self, preview: &RollbackPreview) {
        if self.json() {
            document(&json!({
                "event": "changes", "strategy": preview.strategy,
                "changed": preview.changed, "losses": preview.losses,
            }));
            return;
        }
        for change in &preview.changed {
            let fate = if preview.losses.contains(change) {
                "lost"
            } else {
                "changed"
            };
            self.note(&format!("{:<8} {change}", style(fate).bold().for_stderr()));
        }
    }

    /// A rollback's dry run.
    pub(crate) fn rollback_preview(&self, plan: &MigrationPlan, preview: &RollbackPreview) {
        if self.json() {
            document(&json!({
                "event": "result", "end": "dry_run",
                "from": plan.to_version, "to": plan.from_version, "rollback": preview,
            }));
            return;
        }
        out_lines(&format!(
            "{}: nothing was written\n{} -> {} by {}",
            style("dry run").bold(),
            plan.to_version,
            plan.from_version,
            serde_json::to_value(preview.strategy)
                .ok()
                .and_then(|name| name.as_str().map(str::to_owned))
                .unwrap_or_default()
        ));
        for action in &preview.actions {
            out(&format!("  {action}"));
        }
        for change in &preview.changed {
            out(&format!("  {} {change}", style("changed").bold()));
        }
        for loss in &preview.losses {
            out(&format!("  {} {loss}", style("would lose").red().bold()));
        }
    }
}

fn preview(step: &StepPreview) {
    out(&format!(
        "\n{} {}",
        style(step.step.to_string()).bold(),
        step.description.title
    ));
    if let Some(reason) = &step.already_done {
        out(&format!("  nothing to do: {reason}"));
        return;
    }
    if let Some(rows) = step.preview.rows {
        out(&format!("  rows: {}", grouped(rows)));
    }
    if let Some(estimate) = step.preview.estimate {
        out(&format!("  estimate: {}", time(estimate)));
    }
    if step.description.undo == Undoable::No {
        out("  can't be undone; only the rollback point covers it");
    }
    for note in &step.preview.notes {
        out(&format!("  note: {note}"));
    }
    for line in step.preview.diff.lines() {
        out(&format!("  {line}"));
    }
    for action in &step.preview.actions {
        out_lines(&format!("  {}", action.replace('\n', "\n  ")));
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
