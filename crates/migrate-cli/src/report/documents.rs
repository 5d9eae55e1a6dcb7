//! Documents of verbs that only look: status, history, checks, plans.

use console::style;
use migrate_rollback::lock::HolderState;
use serde_json::{Value, json};

use std::path::Path;

use crate::plan_file::{Hop, PlanFile};
use crate::verbs::rehearse::certificate::Certificate;
use crate::verbs::status::{RunView, Status};

use super::progress::grouped;
use super::{Output, document, out, out_lines};

impl Output {
    pub(crate) fn status(&self, status: &Status) {
        if self.json() {
            document(&json!(status));
            return;
        }
        let between =
            |run: &RunView| format!("between {} and {}, in an open run", run.from, run.to);
        let version = match (&status.version, &status.run) {
            (Some(version), _) => version.to_string(),
            (None, Some(run)) => between(run),
            (None, None) => "not known from a run of this tool".to_owned(),
        };
        row("deployment", &status.root);
        row("version", &version);
        if !status.looks.is_empty() {
            row("looks", &status.looks.join("; "));
        }
        if let Some(lock) = &status.lock {
            let how = match lock.state {
                HolderState::Alive => "held by",
                HolderState::Silent => "held, but not heard of lately, by",
                HolderState::Dead => "free; its last holder ended without letting go:",
            };
            row("lock", &format!("{how} {}", lock.holder));
        }
        if let Some(run) = &status.run {
            row(
                "last run",
                &format!("{} {} -> {}: {}", run.id, run.from, run.to, run.phase),
            );
            for step in &run.steps {
                let message = step.message.as_deref().unwrap_or_default();
                out(&format!(
                    "  {:<12} {:<11} {:<9} {message}",
                    step.id,
                    word(&json!(step.status)),
                    step.certainty.replace('_', " ")
                ));
            }
            if let Some(signal) = run.interrupted_by_signal {
                row("stopped by", &format!("signal {signal}"));
            }
            if let Some(failure) = &run.failure {
                let ended = run.phase == "rolled-back";
                row(if ended { "reason" } else { "failure" }, failure);
            }
        }
        for problem in &status.problems {
            row("problem", problem);
        }
        let holder = status.lock.as_ref().map(|lock| lock.state);
        match &status.next_command {
            Some(command) if holder == Some(HolderState::Alive) => {
                row(
                    "next",
                    &format!("wait: it is at work; if it ends before its time: {command}"),
                );
            }
            Some(command) => row("next", &style(command).bold().to_string()),
            None if status.next == Some("manual") => {
                row("next", "mend what failed by hand, then roll back");
            }
            None => row("next", "nothing to do"),
        }
        if let Some(command) = &status.go_back {
            row("go back", command);
        }
    }

    /// What to try after a demo.
    pub(crate) fn what_next(&self, dir: &std::path::Path, at_1_5: bool) {
        if self.json() {
            return;
        }
        let program = if std::env::var_os("CARGO").is_some() {
            "cargo run --release -q --"
        } else {
            "etlrs-migrate"
        };
        let dir = dir.display();
        out("\ntry next:");
        let tries: &[&str] = if at_1_5 {
            &[
                "--from 1.5.0 --to 2.0.0 --dry-run",
                "--from 1.5.0 --to 2.0.0",
            ]
        } else {
            &[
                "status",
                "--rollback --to 1.5.0",
                "--from 1.5.0 --to 2.0.0 --dry-run",
            ]
        };
        for rest in tries {
            out(&format!("  {program} -C {dir} {rest}"));
        }
    }

    pub(crate) fn history(&self, rows: &[Value]) {
        if self.json() {
            document(&json!({ "format": 1, "runs": rows }));
            return;
        }
        if rows.is_empty() {
            out("no run is recorded");
        }
        for one in rows {
            out(&format!(
                "{} {} -> {} {:<12} {} by {}@{} with {} {}",
                word(&one["run"]),
                word(&one["from"]),
                word(&one["to"]),
                how_it_stands(one),
                word(&one["started_at"]),
                word(&one["user"]),
                word(&one["host"]),
                word(&one["tool_version"]),
                words(&one["flags"]),
            ));
        }
    }

    /// One run, from its head to its last entry.
    pub(crate) fn history_of_run(&self, run: &Value) {
        if self.json() {
            document(run);
            return;
        }
        for name in [
            "run",
            "from",
            "to",
            "phase",
            "user",
            "host",
            "pid",
            "tool_version",
            "database",
            "started_at",
            "last_record_at",
            "plan_hash",
            "plan_file_hash",
        ] {
            if !run[name].is_null() {
                row(&name.replace('_', " "), &word(&run[name]));
            }
        }
        if let Some(way) = way_back(run) {
            row("way back", &way);
        }
        row("flags", &words(&run["flags"]));
        row("consents", &words(&run["consents"]));
        row("skipped", &words(&run["skipped_checks"]));
        out("");
        for step in run["steps"].as_array().into_iter().flatten() {
            let took = step["duration_ms"].as_u64().unwrap_or_default();
            out(&format!(
                "  {:<12} {:<11} {:>8} {}",
                word(&step["id"]),
                word(&step["status"]),
                migrate_core::duration::human(std::time::Duration::from_millis(took)),
                word(&step["message"])
            ));
        }
        out("");
        for entry in run["records"].as_array().into_iter().flatten() {
            out(&format!(
                "  {} {}",
                word(&entry["at"]),
                word(&entry["what"])
            ));
        }
    }

    pub(crate) fn checks(&self, rows: &[Value]) {
        if self.json() {
            document(&json!({ "format": 1, "checks": rows }));
            return;
        }
        for one in rows {
            let mark = match (one["passed"] == true, one["critical"] == true) {
                (true, _) => style("ok").green(),
                (false, true) => style("failed").red().bold(),
                (false, false) => style("warning").yellow(),
            };
            let mut line = format!("{mark} {}", word(&one["name"]));
            if let Some(error) = one["error"].as_str() {
                line.push_str(&format!(": it can't be asked: {error}"));
            } else if one["passed"] != true {
                line.push_str(&format!(
                    ": expected {}, found {}",
                    one["expected"], one["found"]
                ));
            }
            out(&line);
        }
    }

    pub(crate) fn plans(&self, hops: &[Hop]) {
        if self.json() {
            let shown: Vec<Value> = hops.iter().map(without_secrets).collect();
            match shown.as_slice() {
                [one] => document(one),
                many => document(&json!(many)),
            }
            return;
        }
        for hop in hops {
            out(&format!(
                "{} {} -> {} ({})",
                style("plan").bold(),
                hop.plan.from_version,
                hop.plan.to_version,
                hop.origin
            ));
            for step in &hop.steps {
                out(&format!(
                    "\n{} {} (undo: {})",
                    style(step.id.to_string()).bold(),
                    step.title,
                    word(&json!(step.undo))
                ));
                for script in &step.scripts {
                    out(&format!("  script {}", style(script).dim()));
                }
                for action in &step.actions {
                    out_lines(&format!("  {}", action.replace('\n', "\n  ")));
                }
            }
            match &hop.point_of_no_return {
                Some(step) => out(&format!("\npoint of no return: step {step}")),
                None => out("\nevery step can be undone"),
            }
        }
    }

    /// What a rehearsal came to.
    pub(crate) fn certificate(&self, one: &Certificate, path: &Path) {
        if self.json() {
            document(&json!({ "certificate": one, "file": path }));
            return;
        }
        let verdict = if one.proven {
            style("proven: the way back gives exactly what was there before").green()
        } else {
            style("NOT proven: this is not as before after the way back").red()
        };
        row(
            "rehearsal",
            &format!("{} -> {}: {verdict}", one.from, one.to),
        );
        for difference in &one.played.differences {
            out_lines(&format!("  - {}", difference.replace('\n', "\n    ")));
        }
        for step in &one.played.steps {
            let rate = step
                .rows
                .zip(step.rows_per_second)
                .map_or_else(String::new, |(rows, rate)| {
                    format!(", {} rows, {}/s", grouped(rows), grouped(rate))
                });
            let written = [(step.wal_bytes, "WAL"), (step.space_bytes, "space")];
            let written = written.iter().filter_map(|(bytes, what)| {
                let bytes = bytes.filter(|bytes| *bytes > 0)?;
                let bytes = migrate_rollback::backup::human_bytes(bytes);
                Some(format!(", {bytes} {what}"))
            });
            let written = written.collect::<Vec<_>>().concat();
            out(&format!(
                "  {:<12} {}{rate}{written}",
                step.step,
                took(step.duration_ms)
            ));
        }
        for (name, way) in [
            ("there", Some(&one.played.forward)),
            ("back", Some(&one.played.back)),
            ("restore", one.played.restore.as_ref()),
        ] {
            let Some(way) = way else { continue };
            let wal = way.wal_bytes.map_or_else(String::new, |bytes| {
                format!(", {} KiB of log", grouped(bytes.div_ceil(1024)))
            });
            let grew = grouped(way.space_bytes.div_ceil(1024));
            row(
                name,
                &format!("{}{wal}, grew by {grew} KiB", took(way.duration_ms)),
            );
        }
        for step in &one.played.irreversible {
            row(
                "no undo",
                &format!(
                    "{}: {}; going back restores the rollback point, and what was written since is lost",
                    step.step, step.title
                ),
            );
        }
        row("certificate", &path.display().to_string());
    }

    /// What was resolved and written, in short: the file holds the rest.
    pub(crate) fn plan_file(&self, file: &PlanFile, path: &Path, apply: &str) {
        if self.json() {
            document(&json!({
                "format": 1, "file": path, "hash": file.hash, "apply_command": apply,
                "hops": file.contract.hops.len(), "expected": file.expected,
            }));
            return;
        }
        self.plans(&file.contract.hops);
        out("");
        for step in &file.expected.steps {
            if let Some(rows) = step.rows {
                row(&format!("{} rows", step.id), &grouped(rows));
            }
        }
        for (table, size) in &file.expected.tables {
            let kib = size.bytes.div_ceil(1024);
            row(
                "table",
                &format!("{table}: {} rows, {} KiB", grouped(size.rows), grouped(kib)),
            );
        }
        for finding in &file.expected.findings {
            row("warning", &finding.to_string());
        }
        row(
            "written",
            &format!("{} (hash {})", path.display(), &file.hash[..12]),
        );
        row("next", &style(apply).bold().to_string());
    }
}

fn took(millis: u64) -> String {
    migrate_core::duration::human(std::time::Duration::from_millis(millis))
}

fn row(name: &str, text: &str) {
    out_lines(&format!("{:<12} {text}", format!("{name}:")));
}

pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// `completed`, or `rolled-back by restore, as asked`.
fn how_it_stands(run: &Value) -> String {
    let phase = word(&run["phase"]);
    match way_back(run) {
        Some(way) => format!("{phase} {way}"),
        None => phase,
    }
}

/// How a run was taken back, or is: `by reverse, after a failure`.
fn way_back(run: &Value) -> Option<String> {
    let way = &run["way_back"];
    let why = if way["asked_for"].as_bool()? {
        "as asked"
    } else {
        "after a failure"
    };
    Some(format!("by {}, {why}", word(&way["strategy"])))
}

fn words(value: &Value) -> String {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(word)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A plan as it may be shown: what it gives to keys that are secret is masked.
fn without_secrets(hop: &Hop) -> Value {
    let mut shown = json!(hop);
    for list in ["steps", "rollback_steps"] {
        let steps = shown["plan"][list].as_array_mut();
        let changes = steps
            .into_iter()
            .flatten()
            .filter_map(|step| step["config_changes"].as_object_mut());
        for (path, value) in changes.flatten() {
            *value = migrate_config::secret::redact_value([path.as_str()], value);
        }
    }
    shown
}
