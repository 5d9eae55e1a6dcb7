//! What a schema is and how it differs.

use std::path::Path;

use console::style;
use migrate_schema::snapshot::{CatalogDiff, Snapshot};
use serde_json::json;

use super::{Output, document, err, out, out_lines};

impl Output {
    /// A schema as SQL; to machines object by object.
    pub(crate) fn schema_dump(&self, snapshot: &Snapshot) {
        if !self.json() {
            self.text(&snapshot.to_string());
            return;
        }
        let objects: Vec<_> = snapshot
            .blocks
            .iter()
            .map(|block| json!({ "name": block.name, "sql": block.sql }))
            .collect();
        document(&json!({
            "format": 1,
            "database": snapshot.backend.to_string(),
            "objects": objects,
            "left_out": snapshot.left_out,
        }));
    }

    /// That a dump was written.
    pub(crate) fn schema_dumped(&self, path: &Path, objects: usize) {
        if self.json() {
            document(&json!({
                "event": "result",
                "format": 1,
                "file": path.to_string_lossy(),
                "objects": objects,
            }));
        } else {
            out(&format!("{objects} objects written to {}", path.display()));
        }
    }
}

/// What `schema drift` found.
pub(crate) struct DriftReport {
    /// What the live schema was compared with.
    pub(crate) expected: String,
    /// How many migrations that were; none for a snapshot.
    pub(crate) applied: Option<usize>,
    /// The migrations that are not applied and so do not count.
    pub(crate) pending: Vec<String>,
    /// Why the comparison can say less than it seems.
    pub(crate) warnings: Vec<String>,
    /// What differs.
    pub(crate) diff: CatalogDiff,
}

impl Output {
    /// How the live schema differs from what it should be.
    pub(crate) fn drift(&self, report: &DriftReport) {
        if self.json() {
            document(&json!({
                "format": 1,
                "drift": !report.diff.is_empty(),
                "compared_with": report.expected,
                "applied": report.applied,
                "pending": report.pending,
                "warnings": report.warnings,
                "objects": report.diff.objects,
            }));
            return;
        }
        for warning in &report.warnings {
            err(&format!("{} {warning}", style("warning").yellow()));
        }
        if !report.pending.is_empty() {
            err(&format!(
                "pending, and not compared: {}",
                report.pending.join(", ")
            ));
        }
        if report.diff.is_empty() {
            out(&format!("no drift from {}", report.expected));
            return;
        }
        out_lines(&format!("--- {}\n+++ the live database", report.expected));
        catalog_diff(&report.diff);
        out(&format!("{} objects differ", report.diff.objects.len()));
    }
}

/// A difference of two catalogs, for people.
pub(super) fn catalog_diff(diff: &CatalogDiff) {
    for line in diff.to_string().lines() {
        match line.trim_start().chars().next() {
            Some('-') if line.starts_with("  -") => out(&style(line).red().to_string()),
            Some('+') if line.starts_with("  +") => out(&style(line).green().to_string()),
            _ if !line.starts_with("  ") => out(&style(line).bold().to_string()),
            _ => out(line),
        }
    }
}
