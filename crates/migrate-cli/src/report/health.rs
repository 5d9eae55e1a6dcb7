//! `health-check`.

use console::style;
use migrate_core::Severity;
use serde_json::json;

use super::{Output, document, out, out_lines};
use crate::verbs::health_check::Report;

impl Output {
    /// Everything that was looked at.
    pub(crate) fn health(&self, report: &Report) {
        if self.json() {
            let bad = report
                .findings
                .iter()
                .any(|one| one.severity == Severity::Error);
            document(&json!({
                "format": 1, "healthy": !bad, "well": report.well, "findings": report.findings,
            }));
            return;
        }
        for line in &report.well {
            out(&format!("{}      {line}", style("ok").green()));
        }
        for finding in &report.findings {
            let mark = match finding.severity {
                Severity::Error => style("failed ").red().bold(),
                Severity::Warning => style("warning").yellow(),
            };
            let text = finding.to_string().replace('\n', "\n    ");
            out_lines(&format!("{mark} {text}"));
        }
    }
}
