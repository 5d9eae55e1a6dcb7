//! One strike, and the operator's path after it.

use std::path::Path;

use serde_json::Value;

use super::chance::Chance;
use super::fault::Fault;
use super::place::Place;
use super::world::{Case, Clean, arguments, by_version, service_runs, settled, status};
use crate::binary::{self, Run, Tool};
use crate::deployment::Deployment;
use crate::snapshot::Snapshot;

/// More commands than this are never needed: every one of them brings a run to rest unless
/// it is struck itself.
const MOST_COMMANDS: u32 = 12;

/// A strike on a case, with those on the recovery.
#[derive(Debug, Clone)]
pub struct Round {
    /// What is struck.
    pub case: Case,
    /// How.
    pub fault: Fault,
    /// What strikes the recovery, one after another.
    pub later: Vec<Fault>,
}

/// How a round came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The request itself ended as asked.
    Unharmed,
    /// It went forward to the end after a `resume`.
    Resumed,
    /// Everything is as it was before.
    RolledBack,
    /// It stands at a version between, all of it.
    Between,
    /// The tool says that a human is needed, and says so rightly.
    Stuck,
}

/// What a round came to.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// The end.
    pub end: End,
    /// How many processes a signal ended.
    pub kills: u32,
    /// How many commands it took after the strike.
    pub commands: u32,
}

impl Round {
    /// A random one of a case.
    pub fn random(case: Case, clean: &Clean, chance: &mut Chance) -> Self {
        let fault = Fault::random(case, clean, chance);
        let mut later = Vec::new();
        for _ in 0..chance.below(4) {
            // Early places are reached by a recovery too, late ones often not.
            let early = chance.below(clean.places.len()) / 2;
            later.push(Fault::At(clean.places[early].clone(), "kill"));
        }
        Self { case, fault, later }
    }

    /// Plays it.
    ///
    /// # Errors
    /// What was lost: a state that is neither old nor new, a wrong exit code, a wrong word
    /// of `status`, with everything that it takes to see why.
    pub fn play(&self, clean: &Clean) -> Result<Outcome, String> {
        let (deployment, before) = self.case.deploy();
        let mut path = Walk {
            deployment: &deployment,
            before: &before,
            clean,
            said: Vec::new(),
            kills: 0,
            commands: 0,
        };
        path.walk(self).map_err(|why| {
            format!(
                "{self:?}\n{why}\n--- what was said\n{}",
                path.said.join("\n")
            )
        })
    }
}

struct Walk<'a> {
    deployment: &'a Deployment,
    before: &'a Snapshot,
    clean: &'a Clean,
    said: Vec<String>,
    kills: u32,
    commands: u32,
}

impl Walk<'_> {
    fn walk(&mut self, round: &Round) -> Result<Outcome, String> {
        let run = round.fault.strike(self.deployment, &round.case.line());
        let mut last = self.note(&run);
        let mut later = round.later.iter();
        loop {
            let status = status(self.deployment);
            self.said.push(format!("status: {status}"));
            Self::fits(&status, last)?;
            match status["next"].as_str() {
                None | Some("migrate") => return self.at_rest(&status, last),
                Some("manual") => return self.stuck(&status, last),
                Some(_) => {}
            }
            if self.commands >= MOST_COMMANDS {
                return Err("the commands that `status` gives lead nowhere".to_owned());
            }
            self.commands += 1;
            let line = status["next_command"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let run = follow(&line, later.next());
            last = self.note(&run);
        }
    }

    fn note(&mut self, run: &Run) -> Option<i32> {
        let code = run.code();
        self.kills += u32::from(code.is_none());
        self.said.push(run.to_string());
        code
    }

    /// What `status` says must fit how the last command ended.
    fn fits(status: &Value, last: Option<i32>) -> Result<(), String> {
        let next = status["next"].as_str();
        let open = matches!(next, Some("resume" | "rollback" | "manual"));
        let wrong = match last {
            Some(0 | 3) => open,
            Some(4 | 6) => !open,
            // Ended by a signal, or before any change of its own: an open run may be there.
            None | Some(1 | 5 | 7 | 129 | 130 | 143) => false,
            Some(_) => true,
        };
        if wrong {
            return Err(format!("exit code {last:?} and next {next:?} do not fit"));
        }
        if open && next != Some("manual") && status["next_command"].as_str().is_none() {
            return Err(format!("next is {next:?}, and no command is given"));
        }
        Ok(())
    }

    /// Old, new, or a version between: all of it, and the services run.
    fn at_rest(&self, status: &Value, last: Option<i32>) -> Result<Outcome, String> {
        if service_runs(self.deployment) == Some(false) {
            return Err("at rest, and the service does not run".to_owned());
        }
        let now = settled(self.deployment);
        let first = &self.clean.versions[0].0;
        let named = status["version"].as_str().unwrap_or(first);
        let wanted = by_version(self.clean);
        let wanted = wanted
            .get(named)
            .ok_or_else(|| format!("status names the version {named}, which there is not"))?;
        let end = if named == first {
            // Back is back to the last byte, our own objects included.
            // Unless the tool said that it could not remove them: they are outside its promise.
            let kept = |text: &String| text.contains("our own tables were not removed");
            let now = if self.said.iter().any(kept) {
                self.deployment.snapshot().of_the_user()
            } else {
                self.deployment.snapshot()
            };
            let before = if self.said.iter().any(kept) {
                &self.before.of_the_user()
            } else {
                self.before
            };
            if let Some(difference) = before.difference(&now) {
                return Err(format!(
                    "neither old nor new, this differs from before:\n{difference}"
                ));
            }
            End::RolledBack
        } else {
            if let Some(difference) = wanted.difference(&now) {
                return Err(format!("not exactly {named}, this differs:\n{difference}"));
            }
            let newest = self
                .clean
                .versions
                .last()
                .is_some_and(|(version, _)| version == named);
            match (newest, self.commands) {
                (false, _) => End::Between,
                (true, 0) => End::Unharmed,
                (true, _) => End::Resumed,
            }
        };
        if last == Some(3) && end != End::RolledBack && end != End::Between {
            return Err("exit code 3, and it is not as before".to_owned());
        }
        Ok(self.outcome(end))
    }

    fn stuck(&self, status: &Value, last: Option<i32>) -> Result<Outcome, String> {
        let phase = status["run"]["phase"].as_str();
        if phase != Some("stuck") {
            return Err(format!("a human is asked for in phase {phase:?}"));
        }
        if !matches!(last, None | Some(4)) {
            return Err(format!("stuck, and the exit code was {last:?}"));
        }
        Ok(self.outcome(End::Stuck))
    }

    fn outcome(&self, end: End) -> Outcome {
        Outcome {
            end,
            kills: self.kills,
            commands: self.commands,
        }
    }
}

/// Runs the line that `status` printed as a user would paste it, and strikes it perhaps.
fn follow(line: &str, fault: Option<&Fault>) -> Run {
    let mut arguments = arguments(line);
    arguments.push("--yes".to_owned());
    match fault {
        Some(Fault::At(place, action)) => struck(binary::failpoints(), &arguments, place, action),
        _ => Tool::new(&arguments).run(),
    }
}

fn struck(binary: &Path, arguments: &[String], place: &Place, action: &str) -> Run {
    Tool::of(binary, arguments)
        .env(
            "ETLRS_FAILPOINT",
            format!("{}:{action}:{}", place.name, place.nth),
        )
        .run()
}
