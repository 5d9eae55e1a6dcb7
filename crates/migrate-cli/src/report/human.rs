//! Events for people, on stderr: a bar on a terminal, plain lines elsewhere.

use std::fmt::Write;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use console::style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use migrate_core::duration::human as time;
use migrate_core::printable::one_line;
use migrate_core::{Event, Reporter};

use super::Level;
use super::progress::Rate;

/// Without a terminal, progress is told this often.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct HumanEvents {
    level: Level,
    terminal: bool,
    step: Mutex<Option<InFlight>>,
}

struct InFlight {
    began: Instant,
    told: Instant,
    rate: Rate,
    bar: Option<ProgressBar>,
    /// What stands behind the bar.
    line: Arc<Mutex<String>>,
    /// Shown on a terminal until something better is known.
    waiting: Option<ProgressBar>,
}

impl InFlight {
    fn shown(&self) -> Option<&ProgressBar> {
        self.bar.as_ref().or(self.waiting.as_ref())
    }
}

impl HumanEvents {
    pub(super) fn new(level: Level) -> Self {
        Self {
            level,
            terminal: std::io::stderr().is_terminal(),
            step: Mutex::new(None),
        }
    }

    /// Writes a line without tearing the bar.
    pub(super) fn line(&self, text: &str) {
        match self.locked().as_ref().and_then(InFlight::shown) {
            Some(bar) => bar.suspend(|| super::err(text)),
            None => super::err(text),
        }
    }

    /// The same of several lines.
    pub(super) fn lines(&self, text: &str) {
        match self.locked().as_ref().and_then(InFlight::shown) {
            Some(bar) => bar.suspend(|| super::err_lines(text)),
            None => super::err_lines(text),
        }
    }

    pub(super) fn clear(&self) {
        if let Some(step) = self.locked().take() {
            for bar in [step.waiting, step.bar].into_iter().flatten() {
                bar.finish_and_clear();
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Option<InFlight>> {
        unpoisoned(&self.step)
    }

    /// What comes next may take a while: `what` turns on a terminal until it tells more.
    fn begin(&self, what: &'static str) {
        self.clear();
        let now = Instant::now();
        let turns = self.terminal && self.level > Level::Quiet && !what.is_empty();
        *self.locked() = Some(InFlight {
            began: now,
            told: now,
            rate: Rate::default(),
            bar: None,
            line: Arc::default(),
            waiting: turns.then(|| waiting(what)),
        });
    }

    fn progress(&self, done: u64, total: Option<u64>, unit: &str) {
        let mut step = self.locked();
        let Some(step) = step.as_mut() else {
            return;
        };
        step.rate.take(step.began.elapsed(), done);
        let line = step.rate.line(done, total, unit);
        if self.terminal {
            if let Some(waiting) = step.waiting.take() {
                waiting.finish_and_clear();
            }
            // One drawing shows both: the line is there before the bar moves.
            *unpoisoned(&step.line) = line;
            let line = &step.line;
            let bar = step.bar.get_or_insert_with(|| bar(total, line.clone()));
            bar.update(|state| {
                state.set_len(total.unwrap_or(done));
                state.set_pos(done);
            });
        } else if step.told.elapsed() >= PLAIN_EVERY {
            step.told = Instant::now();
            super::err(&format!("      {line}"));
        }
    }

    fn text(&self, event: &Event) -> Option<String> {
        Some(match event {
            Event::Finding { finding } => {
                let text = finding.to_string().replace('\n', "\n  ");
                format!("{} {text}", style("warning").yellow())
            }
            Event::Phase { phase } => {
                let known = phase_line(phase);
                if known.is_empty() && self.level < Level::Verbose {
                    return None;
                }
                if known.is_empty() {
                    phase.clone()
                } else {
                    known.to_owned()
                }
            }
            Event::RollbackPoint { message } | Event::Service { message } => {
                format!("      {}", one_line(message))
            }
            Event::StepStarted {
                step,
                index,
                total,
                title,
                attempt,
            } => {
                let again = if *attempt > 1 {
                    format!(", try {attempt}")
                } else {
                    String::new()
                };
                format!(
                    "{} {step}: {}{again}",
                    style(format!("[{index}/{total}]")).bold(),
                    one_line(title)
                )
            }
            Event::StepFinished {
                message,
                notes,
                duration_ms,
                skipped,
                ..
            } => {
                let mark = if *skipped {
                    style("-").dim()
                } else {
                    style("ok").green()
                };
                let took = time(Duration::from_millis(*duration_ms));
                let mut text = format!("      {mark} {} ({took})", one_line(message));
                for note in notes {
                    text.push_str(&format!("\n         {}", one_line(note)));
                }
                text
            }
            Event::StepFailed { error, .. } => {
                format!("      {} {error}", style("failed").red().bold())
            }
            Event::StepUndone {
                step,
                message,
                left,
            } => {
                let mut text = format!(
                    "      {} {step}: {}",
                    style("undone").yellow(),
                    one_line(message)
                );
                for one in left {
                    text.push_str(&format!("\n         left: {}", one_line(one)));
                }
                text
            }
            Event::CheckResult {
                name,
                passed,
                critical,
                expected,
                found,
                ..
            } => {
                let name = one_line(name);
                if *passed {
                    format!("      {} {name}", style("ok").green())
                } else {
                    let mark = if *critical {
                        style("failed").red().bold()
                    } else {
                        style("warning").yellow()
                    };
                    format!("      {mark} {name}: expected {expected}, found {found}")
                }
            }
            Event::Warning { step, message } => {
                let at = step
                    .as_ref()
                    .map(|step| format!("{step}: "))
                    .unwrap_or_default();
                format!("{} {at}{}", style("warning").yellow(), indented(message))
            }
            _ => return None,
        })
    }
}

/// Every line after the first is set off, so that none can be taken for one of ours.
fn indented(message: &str) -> String {
    let lines: Vec<_> = message.lines().map(|line| one_line(line.trim())).collect();
    lines.join("\n      ")
}

fn phase_line(phase: &str) -> &'static str {
    match phase {
        "rollback-point" => "making the rollback point",
        "validation" => "checking the result",
        "undo" => "taking back what was done",
        "restore" => "restoring the rollback point",
        "verify" => "comparing with what was there before",
        _ => "",
    }
}

/// What turns while a phase is at work.
fn waiting_for(phase: &str) -> &'static str {
    match phase {
        "checks" => "looking at everything before anything changes",
        "services-stop" => "stopping services",
        "services-start" => "starting services",
        "rollback-point" | "restore" | "verify" | "validation" => "working",
        "undo" => "undoing",
        _ => "",
    }
}

fn waiting(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
    if let Ok(style) = ProgressStyle::with_template("      {spinner} {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(125));
    bar
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bar(total: Option<u64>, line: Arc<Mutex<String>>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(8));
    let template = if total.is_some() {
        "      [{bar:30}] {line}"
    } else {
        "      {spinner} {line}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        let style = style.with_key("line", move |_: &ProgressState, out: &mut dyn Write| {
            let _ = out.write_str(&unpoisoned(&line));
        });
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

impl Reporter for HumanEvents {
    fn event(&self, event: &Event) {
        match event {
            Event::StepProgress {
                done, total, unit, ..
            } => {
                if self.level > Level::Quiet {
                    self.progress(*done, *total, unit);
                }
                return;
            }
            Event::StepFinished { .. } | Event::StepFailed { .. } => self.clear(),
            Event::StepUndone { .. } => self.begin(waiting_for("undo")),
            Event::StepStarted { .. } => self.begin("working"),
            Event::Phase { phase } => self.begin(waiting_for(phase)),
            _ => {}
        }
        let failed = matches!(event, Event::StepFailed { .. } | Event::Warning { .. });
        if (self.level > Level::Quiet || failed)
            && let Some(text) = self.text(event)
        {
            self.lines(&text);
        }
    }
}
