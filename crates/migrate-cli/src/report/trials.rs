//! Which downs restore, and which do not.

use console::style;
use migrate_schema::apply::{Trial, Trials, Verdict};
use migrate_schema::layout::Layout;
use serde_json::{Value, json};

use super::drift::catalog_diff;
use super::{Level, Output, document, out, out_lines};

impl Output {
    /// What came of trying each migration up, down and up.
    pub(crate) fn trials(&self, layout: Layout, trials: &Trials) {
        if self.json() {
            document(&as_json(layout, trials));
            return;
        }
        for one in &trials.done {
            self.trial(one);
        }
        if let Some((label, file, error)) = &trials.stopped {
            out_lines(&format!(
                "{} {label} ({file})\n  {}",
                style("up fails").red().bold(),
                error.to_string().replace('\n', "\n  ")
            ));
            if trials.left > 0 {
                out(&format!("  {} after it were not tried", trials.left));
            }
        }
        out(&summary(trials));
    }

    fn trial(&self, one: &Trial) {
        let name = one.verdict.name();
        let quiet = matches!(one.verdict, Verdict::Restores | Verdict::Repeatable);
        if quiet && self.level < Level::Verbose {
            return;
        }
        let shown = if one.verdict.is_fault() {
            style(name).red().bold()
        } else {
            style(name).yellow()
        };
        let file = one.down.as_ref().unwrap_or(&one.file);
        out(&format!("{shown} {} ({file})", one.label));
        if let Some(error) = one.verdict.error() {
            out_lines(&format!("  {}", error.to_string().replace('\n', "\n  ")));
        }
        if let Some(diff) = one.verdict.diff() {
            catalog_diff(diff);
        }
    }
}

fn count(trials: &Trials, fits: impl Fn(&Verdict) -> bool) -> usize {
    let fitting = trials.done.iter().filter(|one| fits(&one.verdict));
    fitting.count()
}

fn summary(trials: &Trials) -> String {
    let parts = [
        (count(trials, Verdict::restores), "restore"),
        (
            count(trials, |one| matches!(one, Verdict::Differs(_))),
            "do not restore",
        ),
        (
            count(trials, |one| matches!(one, Verdict::DownFails(_))),
            "downs fail",
        ),
        (
            count(trials, |one| {
                matches!(one, Verdict::UpAgainFails(_) | Verdict::UpAgainDiffers(_))
            }),
            "do not come again as they were",
        ),
        (
            count(trials, |one| matches!(one, Verdict::NoDown)),
            "have no down",
        ),
    ];
    let parts: Vec<String> = parts
        .iter()
        .enumerate()
        .filter(|(at, (count, _))| *at == 0 || *count > 0)
        .map(|(_, (count, what))| format!("{count} {what}"))
        .collect();
    format!(
        "{} migrations tried: {}",
        trials.done.len(),
        parts.join(", ")
    )
}

fn as_json(layout: Layout, trials: &Trials) -> Value {
    let done: Vec<Value> = trials
        .done
        .iter()
        .map(|one| {
            json!({
                "migration": one.label,
                "file": one.file,
                "down": one.down,
                "verdict": one.verdict.name(),
                "restores": one.verdict.restores(),
                "error": one.verdict.error(),
                "objects": one.verdict.diff().map(|diff| &diff.objects),
            })
        })
        .collect();
    json!({
        "format": 1,
        "layout": layout.name(),
        "tried": trials.done.len(),
        "restore": count(trials, Verdict::restores),
        "faults": count(trials, Verdict::is_fault),
        "migrations": done,
        "stopped": trials.stopped.as_ref().map(|(label, file, error)| json!({
            "migration": label, "file": file, "error": error,
        })),
        "not_tried": trials.left,
    })
}
