//! What people and machines see. The only place that writes to a stream.

mod audit;
mod backups;
mod data;
mod documents;
mod drift;
mod environments;
mod estimate;
mod events;
mod health;
mod human;
mod lint;
mod paths;
mod printed;
mod progress;
mod recovery;
mod schema;
mod summary;
mod trials;

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use console::style;
use migrate_core::{Estimate, Hop, Reporter, RunLog, Step, Version};
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::deployment::UrlSource;
use crate::failure::Failure;
use crate::plans::LoadedPlan;
use crate::wire::Wired;

pub(crate) use audit::printable;
pub(crate) use drift::DriftReport;
use events::JsonEvents;
use human::HumanEvents;
pub(crate) use lint::LintShown;
use printed::Colours;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Only errors and results.
    Quiet,
    /// What happens.
    Normal,
    /// Every detail.
    Verbose,
}

/// Where everything that is shown goes.
pub(crate) struct Output {
    format: Format,
    level: Level,
    human: Arc<HumanEvents>,
    /// What was said of how long the run takes, to be shown beside how long it took.
    predicted: Mutex<Option<Estimate>>,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let level = match (global.quiet, global.verbose) {
            (true, _) => Level::Quiet,
            (false, 0) => Level::Normal,
            _ => Level::Verbose,
        };
        Self {
            format: global.format,
            level,
            human: Arc::new(HumanEvents::new(level)),
            predicted: Mutex::default(),
        }
    }

    /// Keeps an estimate, to be shown beside what comes of it.
    pub(crate) fn predict(&self, estimate: Estimate) {
        let mut kept = self
            .predicted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *kept = Some(estimate);
    }

    /// What was predicted, if anything was.
    pub(crate) fn predicted(&self) -> Option<Estimate> {
        let kept = self
            .predicted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    fn json(&self) -> bool {
        crate::is_json(self.format)
    }

    /// Where the engine's events go.
    pub(crate) fn reporter(&self) -> Arc<dyn Reporter> {
        if self.json() {
            Arc::new(JsonEvents)
        } else {
            self.human.clone()
        }
    }

    /// Takes the progress bar away before other output.
    pub(crate) fn done_with_progress(&self) {
        self.human.clear();
    }

    /// One line about what was done, as the result.
    pub(crate) fn say(&self, message: &str) {
        if self.json() {
            document(&json!({ "message": message }));
        } else {
            out(message);
        }
    }

    /// A text that is the result as it is, whatever the format.
    #[expect(clippy::unused_self, reason = "all output goes through this type")]
    pub(crate) fn text(&self, text: &str) {
        let text = text.trim_end();
        if std::io::stdout().is_terminal() {
            out_lines(text);
        } else {
            // For a program, byte for byte.
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }

    /// A line about each of several things that were done, as the result.
    pub(crate) fn say_each(&self, messages: &[String]) {
        if self.json() {
            document(&json!({ "message": messages.join("\n") }));
        } else {
            for message in messages {
                out(message);
            }
        }
    }

    /// A line for people while things happen.
    pub(crate) fn note(&self, message: &str) {
        if !self.json() && self.level > Level::Quiet {
            self.human.line(message);
        }
    }

    /// Which database, and whether the config file names another.
    pub(crate) fn database(&self, wired: &Wired) {
        if wired.url_source == UrlSource::FilesOnly {
            self.note(&style("no database, files alone").bold().to_string());
            return;
        }
        let backend = wired.db.backend();
        self.note(&format!(
            "{} {backend} {}",
            style("database").bold(),
            wired.url
        ));
        if let Some(warning) = wired
            .deployment
            .other_database(&wired.url, wired.url_source)
        {
            self.note(&format!("{} {warning}", style("warning").yellow()));
        }
    }

    /// The way, where it is more than one plan, and what of it is done already.
    pub(crate) fn chain(&self, whole: &[Hop], to_go: &[Hop]) {
        if whole.len() < 2 {
            return;
        }
        let mut way = whole[0].from.to_string();
        for hop in whole {
            way.push_str(&format!(" -> {}", hop.edge.to));
        }
        self.note(&format!("{}      {way}", style("way").bold()));
        if let Some(next) = to_go.first().filter(|_| to_go.len() < whole.len()) {
            self.note(&format!(
                "         the deployment is on it already: the plan from {} is next",
                next.from
            ));
        }
    }

    /// The versions on the way back, where more than one run is taken back.
    pub(crate) fn way_back(&self, runs: &[&RunLog]) {
        if runs.len() < 2 {
            return;
        }
        let mut way = runs[0].header.plan.to_version.to_string();
        for log in runs {
            way.push_str(&format!(" -> {}", log.header.plan.from_version));
        }
        self.note(&format!("{}      {way}", style("way").bold()));
    }

    /// Which plan.
    pub(crate) fn plan(&self, loaded: &LoadedPlan, steps: &[Box<dyn Step>]) {
        let plan = &loaded.plan;
        self.note(&format!(
            "{}     {} -> {} ({}, {} steps)",
            style("plan").bold(),
            plan.from_version,
            plan.to_version,
            loaded.origin,
            steps.len()
        ));
    }

    pub(crate) fn already(&self, version: &Version, why: &str) {
        if self.json() {
            document(
                &json!({ "event": "result", "end": "already_there", "version": version, "reason": why }),
            );
        } else {
            out(&format!("already at {version}: {why}; nothing was done"));
        }
    }

    /// A failure, with everything that was found.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json() {
            let mut error = json!({
                "exit_code": failure.code,
                "message": failure.message,
                "findings": failure.findings,
                "hint": failure.hint,
            });
            if !failure.losses.is_empty() {
                error["losses"] = json!(failure.losses);
            }
            document(&json!({ "event": "error", "error": error }));
        } else {
            self.human.clear();
            let text = failure.to_string();
            err_lines(&format!(
                "{} {text}",
                style("error:").red().bold().for_stderr()
            ));
        }
    }

    /// Lets a name be typed on a terminal; without one it refuses and names the flag.
    pub(crate) fn typed(&self, what: &str, name: &str) -> Result<String, Failure> {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if !terminal || self.json() {
            return Err(
                Failure::refused(format!("refused: {what} needs its name to be typed"))
                    .hint(format!("agree with --confirm {name}")),
            );
        }
        dialoguer::Input::new()
            .with_prompt(format!("{what}: type its name to go on"))
            .allow_empty(true)
            .interact_text()
            .map_err(|error| Failure::refused(format!("not confirmed: {error}")))
    }

    /// Asks on a terminal; without one it refuses and names the flag.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, Failure> {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if !terminal || self.json() {
            return Err(Failure::refused(format!("refused: {question}")).hint("agree with --yes"));
        }
        dialoguer::Confirm::new()
            .with_prompt(format!("{question}. Go on?"))
            .default(false)
            .interact()
            .map_err(|error| Failure::refused(format!("not confirmed: {error}")))
    }
}

/// A line on stdout. A closed pipe is nobody's failure.
fn out(text: &str) {
    let text = printed::line(text, colours(console::colors_enabled()));
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Lines on stdout.
fn out_lines(text: &str) {
    let text = printed::block(text, colours(console::colors_enabled()));
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line on stderr.
fn err(text: &str) {
    let enabled = console::colors_enabled_stderr() || console::colors_enabled();
    let text = printed::line(text, colours(enabled));
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Lines on stderr.
fn err_lines(text: &str) {
    // Marks for people are styled as those on stdout are.
    let enabled = console::colors_enabled_stderr() || console::colors_enabled();
    let text = printed::block(text, colours(enabled));
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn colours(enabled: bool) -> Colours {
    if enabled { Colours::On } else { Colours::Off }
}

/// One JSON document, on one line.
fn document(value: &Value) {
    json_line(&value.to_string());
}

/// A line of JSON.
fn json_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", printed::json(text));
}
