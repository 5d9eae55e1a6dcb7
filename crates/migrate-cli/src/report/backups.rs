//! What backups there are, and what became of one.

use console::style;
use migrate_rollback::Stored;
use migrate_rollback::backup::human_bytes as bytes;
use serde_json::{Value, json};

use super::documents::word;
use super::{Output, document, out};

impl Output {
    /// After a backup was made.
    pub(crate) fn backup_made(&self, stored: &Stored, removed: &[String]) {
        if self.json() {
            document(&json!({
                "event": "result", "end": "backup-made", "id": stored.id(),
                "file": stored.file(), "version": stored.version(),
                "bytes": stored.bytes(), "removed": removed,
            }));
            return;
        }
        let version = stored.version().map(ToString::to_string);
        out(&format!(
            "backup {} of version {} made: {} ({})",
            style(stored.id()).bold(),
            version.unwrap_or_default(),
            stored.file(),
            bytes(stored.bytes())
        ));
        for file in removed {
            out(&format!("  {file} is kept no longer"));
        }
    }

    /// `backup list`.
    pub(crate) fn backups(&self, rows: &[Value], problems: &[String]) {
        if self.json() {
            document(&json!({ "format": 1, "backups": rows, "problems": problems }));
            return;
        }
        if rows.is_empty() {
            out("there is no backup");
        }
        for one in rows {
            let version = match (&one["version"], &one["before_going_back_to"]) {
                (Value::String(version), _) => version.clone(),
                (_, Value::String(to)) => format!("before {to}"),
                _ => "not recorded".to_owned(),
            };
            let gone = if one["there"] == true {
                String::new()
            } else {
                style("  its file is gone").red().to_string()
            };
            out(&format!(
                "{}  {:<12} {:<14} {:>9}  {}  {}{gone}",
                word(&one["id"]),
                version,
                word(&one["kind"]),
                bytes(one["bytes"].as_u64().unwrap_or(0)),
                word(&one["made_at"]),
                word(&one["file"]),
            ));
        }
        for problem in problems {
            out(&format!("{} {problem}", style("problem").red()));
        }
    }

    /// `backup verify`.
    pub(crate) fn verified(&self, stored: &Stored, message: &str) {
        if self.json() {
            document(&json!({
                "event": "result", "end": "verified", "id": stored.id(),
                "file": stored.file(), "message": message,
            }));
        } else {
            out(&format!("{} {message}", style("ok").green()));
        }
    }
}
