//! Documents of verbs that only look: status, history, checks, plans.

use console::style;
use serde_json::{Value, json};

use crate::verbs::status::Status;

use super::{Output, document, out};

impl Output {
    pub(crate) fn status(&self, status: &Status) {
        if self.json() {
            document(&json!(status));
            return;
        }
        let version = status.version.as_ref().map_or_else(
            || "not known from a run of this tool".to_owned(),
            ToString::to_string,
        );
        row("deployment", &status.root);
        row("version", &version);
        if let Some(lock) = &status.lock {
            row("lock", &format!("held by {}", lock.holder));
        }
        if let Some(run) = &status.run {
            row(
                "last run",
                &format!("{} {} -> {}: {}", run.id, run.from, run.to, run.phase),
            );
            for step in &run.steps {
                let message = step.message.as_deref().unwrap_or_default();
                out(&format!(
                    "  {:<12} {:<11} {message}",
                    step.id,
                    word(&json!(step.status))
                ));
            }
            if let Some(signal) = run.interrupted_by_signal {
                row("stopped by", &format!("signal {signal}"));
            }
            if let Some(failure) = &run.failure {
                row("failure", failure);
            }
        }
        for problem in &status.problems {
            row("problem", problem);
        }
        match &status.next_command {
            Some(command) => row("next", &style(command).bold().to_string()),
            None if status.next == Some("manual") => {
                row("next", "mend what failed by hand, then roll back");
            }
            None => row("next", "nothing to do"),
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
                word(&one["phase"]),
                word(&one["started_at"]),
                word(&one["user"]),
                word(&one["host"]),
                word(&one["tool_version"]),
                words(&one["flags"]),
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
            if one["passed"] != true {
                line.push_str(&format!(
                    ": expected {}, found {}",
                    one["expected"], one["found"]
                ));
            }
            out(&line);
        }
    }

    pub(crate) fn plans(&self, plans: &[Value]) {
        if self.json() {
            match plans {
                [one] => document(one),
                many => document(&json!(many)),
            }
            return;
        }
        for plan in plans {
            out(&format!(
                "{} {} -> {} ({})",
                style("plan").bold(),
                word(&plan["plan"]["from_version"]),
                word(&plan["plan"]["to_version"]),
                word(&plan["origin"])
            ));
            for step in plan["steps"].as_array().into_iter().flatten() {
                out(&format!(
                    "\n{} {} (undo: {})",
                    style(word(&step["id"])).bold(),
                    word(&step["title"]),
                    word(&step["undo"])
                ));
                for script in step["scripts"].as_array().into_iter().flatten() {
                    out(&format!("  script {}", style(word(script)).dim()));
                }
                for action in step["actions"].as_array().into_iter().flatten() {
                    out(&format!("  {}", word(action).replace('\n', "\n  ")));
                }
            }
            match plan["point_of_no_return"].as_str() {
                Some(step) => out(&format!("\npoint of no return: step {step}")),
                None => out("\nevery step can be undone"),
            }
        }
    }
}

fn row(name: &str, text: &str) {
    out(&format!("{:<12} {text}", format!("{name}:")));
}

pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
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
