//! Before and after a restore.

use console::style;
use migrate_rollback::recovery::{Order, Recovered};
use serde_json::json;

use super::{Output, document, out};
use crate::args::Global;
use crate::failure::Failure;
use crate::verbs::next;

impl Output {
    /// What would happen, row by row; the first is the title.
    pub(crate) fn scene(&self, rows: &[(String, String)]) {
        for (name, text) in rows {
            if text.is_empty() {
                self.note(&style(name).red().bold().for_stderr().to_string());
            } else {
                self.note(&format!("  {name:<9} {text}"));
            }
        }
    }

    /// Lets a word be typed that says yes; without a terminal it refuses and names the flag.
    pub(crate) fn typed_word(&self, what: &str, word: &str) -> Result<(), Failure> {
        let typed = self
            .typed(&format!("{what} ({word})"), word)
            .map_err(|failure| Failure {
                message: format!("refused: {what}"),
                hint: Some("without a terminal, agree with --yes".to_owned()),
                ..failure
            })?;
        if typed == word {
            Ok(())
        } else {
            Err(Failure::refused(format!(
                "not confirmed: {typed:?} is not {word:?}; nothing was changed"
            )))
        }
    }

    /// After a restore.
    pub(crate) fn recovered(&self, order: &Order, done: &Recovered, global: &Global) {
        let undo = done
            .safety
            .as_ref()
            .map(|id| next::line(global, &format!("restore {id} --accept-data-loss")));
        if self.json() {
            document(&json!({
                "event": "result", "end": "restored", "backup": order.backup.id(),
                "version": order.version, "message": done.message,
                "safety_copy": done.safety, "undo_command": undo, "put_aside": done.aside,
                "services": done.services, "runs_rolled_back": done.runs,
                "runs_standing": done.standing,
                "warnings": done.warnings,
            }));
            return;
        }
        let what = match &order.version {
            Some(version) => format!("back at {version}"),
            None => "restored".to_owned(),
        };
        out(&format!(
            "\n{} {}",
            style(what).green().bold(),
            done.message
        ));
        for run in &done.runs {
            out(&format!("  {:<10} {run} counts as rolled back", "run"));
        }
        for line in &done.standing {
            out(&format!("  {:<10} {line}", "run"));
        }
        if let Some(aside) = &done.aside {
            out(&format!("  {:<10} {}", "put aside", aside.display()));
        }
        for line in &done.services {
            out(&format!("  {:<10} {line}", "services"));
        }
        if done.services.is_empty() {
            out(&format!("  {:<10} none ran before", "services"));
        }
        if let Some(undo) = &undo {
            out(&format!("  {:<10} {undo}", "take back"));
        }
        for warning in &done.warnings {
            out(&format!("{} {warning}", style("warning").yellow()));
        }
    }
}
