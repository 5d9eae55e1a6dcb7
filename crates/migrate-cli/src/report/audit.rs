//! What an audit found, and keys that were made.

use console::style;
use serde_json::{Value, json};

use super::{Output, document, out};
use crate::verbs::audit::{Audit, AuditView};

impl Output {
    /// The journal's chains.
    pub(crate) fn audit(&self, audit: &Audit) {
        if self.json() {
            document(&json!(audit));
            return;
        }
        if let Some(key) = &audit.public_key {
            out(&format!("key {key}"));
        }
        for view in &audit.runs {
            out(&line(view));
            for would in &view.would_run {
                out(&format!("  {}", printable(would)));
            }
            if let Some(problem) = &view.problem {
                out(&format!("  {}", printable(problem)));
            }
        }
        for note in &audit.notes {
            out(&format!("note: {note}"));
        }
        let ok = style("ok").green().bold();
        if audit.ok {
            out(&format!("{ok} {} runs, no difference", audit.runs.len()));
        } else {
            out("the log is NOT what this deployment wrote");
        }
    }

    /// A key for signing plans.
    pub(crate) fn key_made(&self, key: &Value) {
        if self.json() {
            document(key);
            return;
        }
        let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
        out(&format!(
            "made {} (keep it secret) and {}",
            text("private_key"),
            text("public_key_file")
        ));
        out(&format!(
            "public key, for `require_signature` in etlrs-migrate.toml:\n  {}",
            text("public_key")
        ));
    }
}

fn line(view: &AuditView) -> String {
    let copy = match view.copy {
        "same" => ", the database's copy is the same",
        "behind" => ", the database's copy is a shorter one of the same log",
        "differs" => ", the database's copy DIFFERS",
        "only_there" => ", known to the database only",
        "none" => ", the database has no copy",
        _ => "",
    };
    let state = match view.state {
        "signed" => "signed",
        "unchained" => "no chain of hashes (an older build wrote it)",
        _ => "WRONG",
    };
    let head = view
        .head
        .as_ref()
        .map_or_else(String::new, |head| format!(", sha256 {head}"));
    format!(
        "run {}: {state}, {} records{head}{copy}",
        view.run, view.records
    )
}

/// A text of an unknown writer: nothing in it moves the cursor or hides another.
pub(crate) fn printable(text: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| {
            if hides(c) {
                c.escape_unicode().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}
