//! What the `schema` verbs found and did.

use std::sync::Arc;

use console::style;
use migrate_core::Finding;
use migrate_schema::apply::{Done, Event, Observer, Unobserved};
use migrate_schema::layout::Layout;
use serde_json::{Value, json};

use super::human::HumanEvents;
use super::{Level, Output, document, out, out_lines};

impl Output {
    /// The state of a schema.
    pub(crate) fn schema(&self, status: &Value) {
        if self.json() {
            document(status);
            return;
        }
        let mut pending = 0;
        for one in list(&status["migrations"]) {
            let state = text(&one["state"]);
            pending += usize::from(state != "applied" && state != "baseline");
            let shown = format!("{state:<12}");
            let shown = match state {
                "applied" | "baseline" => style(shown).green(),
                "pending" => style(shown).yellow(),
                _ => style(shown).red().bold(),
            };
            let file = one["file"].as_str().unwrap_or("(its file is not there)");
            let mut line = match one["file"].as_str() {
                Some(_) => format!("{shown} {file}"),
                None => format!("{shown} {} {file}", text(&one["version"])),
            };
            if let Some(at) = one["at"].as_str() {
                line.push_str(&format!("  {at} by {}", text(&one["by"])));
            }
            if one["out_of_order"] == true {
                line.push_str("  out of order");
            }
            out(&line);
        }
        out(&format!(
            "{} migrations ({}), {pending} to be looked at or run",
            list(&status["migrations"]).count(),
            text(&status["layout"])
        ));
        if let Some(tool) = status["other_history"]["tool"].as_str() {
            out(&format!(
                "the database has the history of {tool} in {}: take it over with `schema baseline --from-history`",
                text(&status["other_history"]["table"])
            ));
        }
    }

    /// What a `schema` verb did.
    pub(crate) fn schema_done(&self, what: &str, layout: Layout, done: &Done) {
        if self.json() {
            document(&json!({
                "event": "result",
                "format": 1,
                "layout": layout.name(),
                "applied": done.migrations,
                "transactions": done.transactions,
            }));
            return;
        }
        schema_counted(done.migrations.len(), what, done.transactions);
    }

    /// What `schema redo` did. Its migrations are there twice: taken back, and run.
    pub(crate) fn schema_redone(&self, layout: Layout, done: &Done) {
        if self.json() {
            self.schema_done("run again", layout, done);
        } else {
            let count = done.migrations.len() / 2;
            schema_counted(count, "taken back and run again", done.transactions);
        }
    }

    /// What a `schema` verb would do, as SQL that reads like what runs.
    pub(crate) fn schema_plan(&self, plan: &Value) {
        if self.json() {
            document(plan);
            return;
        }
        if list(&plan["transactions"]).next().is_none() {
            out("-- nothing to do");
        }
        for one in list(&plan["transactions"]) {
            let whole = one["transaction"] == true;
            if whole {
                out("BEGIN;");
            }
            for migration in list(&one["migrations"]) {
                let how = if whole {
                    ""
                } else {
                    ", statement by statement"
                };
                let done = match migration["done"].as_u64() {
                    None | Some(0) => String::new(),
                    Some(1) => ", its first statement is done".to_owned(),
                    Some(many) => format!(", {many} of its statements are done"),
                };
                out(&format!(
                    "-- {} ({}{how}{done})",
                    text(&migration["migration"]),
                    text(&migration["file"])
                ));
                for statement in list(&migration["statements"]) {
                    out_lines(&format!("{};", text(statement)));
                }
            }
            if whole {
                out("COMMIT;");
            }
        }
    }

    /// What is worth knowing about a directory.
    pub(crate) fn warnings(&self, warnings: &[Finding]) {
        for warning in warnings {
            self.note(&format!("{} {warning}", style("warning").yellow()));
        }
    }

    /// Where the engine's events go.
    pub(crate) fn schema_observer(&self) -> Arc<dyn Observer> {
        if self.json() {
            return Arc::new(JsonLines);
        }
        if self.level == Level::Quiet {
            return Arc::new(Unobserved);
        }
        Arc::new(Lines(self.human.clone()))
    }
}

fn schema_counted(count: usize, what: &str, transactions: usize) {
    if count == 0 {
        out("nothing to do");
        return;
    }
    match transactions {
        0 => out(&format!("{count} {what}")),
        1 => out(&format!("{count} {what} in one transaction")),
        many => out(&format!("{count} {what} in {many} transactions")),
    }
}

struct JsonLines;

impl Observer for JsonLines {
    fn event(&self, event: &Event) {
        let line = match event {
            Event::Running {
                label,
                number,
                total,
            } => {
                json!({ "event": "running", "migration": label, "number": number, "total": total })
            }
            Event::Statement {
                text,
                number,
                total,
            } => json!({ "event": "statement", "text": text, "number": number, "total": total }),
            Event::Committed { migrations } => {
                json!({ "event": "committed", "migrations": migrations })
            }
            Event::Waiting { blockers } => json!({ "event": "waiting", "for": blockers }),
            Event::Again { why, pause } => {
                json!({ "event": "again", "why": why, "pause_ms": u64::try_from(pause.as_millis()).ok() })
            }
            other => json!({ "event": "note", "text": other.to_string().trim() }),
        };
        document(&line);
    }
}

struct Lines(Arc<HumanEvents>);

impl Observer for Lines {
    fn event(&self, event: &Event) {
        if !matches!(event, Event::Committed { .. }) {
            self.0.lines(&event.to_string());
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
