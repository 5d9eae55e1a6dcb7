//! A run that stands still between two records of its journal while others act, and what must hold
//! in the end.

use serde_json::Value;

use super::act::{Act, Done};
use super::try_sql;
use crate::binary::{self, Run, Tool};
use crate::deployment::Deployment;
use crate::snapshot::Snapshot;
use crate::sweep::place::Place;
use crate::sweep::world::{Clean, Plan, arguments, status, tool};
use crate::sweep::{Case, Chance};

/// More commands than this are never needed.
const MOST_COMMANDS: u32 = 8;

/// Whether the operator agrees to a loss when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// With `--accept-data-loss`.
    Given,
    /// Never.
    Refused,
}

/// One act in the middle of one run.
#[derive(Debug, Clone)]
pub struct Round {
    /// What is run.
    pub case: Case,
    /// After which record of the journal the run stands still.
    pub place: Place,
    /// What is done meanwhile.
    pub act: Act,
    /// What the operator says when asked.
    pub consent: Consent,
    /// For names and numbers.
    pub chance: Chance,
}

/// How a round came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// Locks of the run, or the end of it, came before the act.
    NotDone,
    /// The run went forward, with what others did.
    Forward,
    /// Everything is as before, but for what others did.
    Back,
    /// Refused without consent, or a human is needed: nothing is lost.
    Asked,
    /// Lost by consent, named, and kept in a copy.
    LostByConsent,
}

impl Round {
    /// A random one of a case.
    pub fn random(case: Case, clean: &Clean, chance: &mut Chance) -> Self {
        let between: Vec<&Place> = (clean.places.iter())
            .filter(|place| place.name == "journal.append.after")
            .collect();
        Self {
            case,
            place: (*chance.one_of(&between)).clone(),
            act: *chance.one_of(&Act::all(case.store)),
            consent: *chance.one_of(&[Consent::Given, Consent::Refused]),
            chance: chance.clone(),
        }
    }

    /// Plays it.
    ///
    /// # Errors
    /// What was lost in silence, or is neither old nor new, with what the tool printed.
    pub fn play(&self) -> Result<Ended, String> {
        let (deployment, before) = self.case.deploy_with(super::ORDERS);
        let mut walk = Walk {
            round: self,
            deployment: &deployment,
            before: &before,
            said: Vec::new(),
            consented: self.case.line().contains("--accept-data-loss"),
        };
        walk.walk().map_err(|why| {
            let said = walk.said.join("\n");
            format!("{self:?}\n{why}\n--- what was said\n{said}")
        })
    }
}

struct Walk<'a> {
    round: &'a Round,
    deployment: &'a Deployment,
    before: &'a Snapshot,
    said: Vec<String>,
    consented: bool,
}

impl Walk<'_> {
    fn walk(&mut self) -> Result<Ended, String> {
        let order = format!("{}:stop:{}", self.round.place.name, self.round.place.nth);
        let line = self.round.case.line();
        let mut running = tool(self.deployment, binary::failpoints(), &line)
            .env("ETLRS_FAILPOINT", order)
            .start();
        let mut done = None;
        let mut committed = true;
        if running.is_stopped() {
            committed = is_committed(self.deployment);
            let mut chance = self.round.chance.clone();
            done = self.round.act.perform(self.deployment, &mut chance);
            running.signal("CONT");
        }
        let mut last = self.note(&running.finish());
        let mut commands = 0;
        let at = loop {
            let status = status(self.deployment);
            self.said.push(format!("status: {status}"));
            let next = status["next"].as_str();
            if matches!(next, None | Some("migrate")) {
                break Some(status);
            }
            commands += 1;
            let Some(command) = status["next_command"].as_str() else {
                break None;
            };
            if commands > MOST_COMMANDS || (next == Some("manual") && commands > 2) {
                break None;
            }
            let Some(run) = self.follow(command, last) else {
                break None;
            };
            last = self.note(&run);
        };
        self.judge(done.as_ref(), at.as_ref(), last, committed)
    }

    /// Runs what `status` printed; `None` where only a consent that is not given leads on.
    fn follow(&mut self, command: &str, last: Option<i32>) -> Option<Run> {
        let mut words = arguments(command);
        words.push("--yes".to_owned());
        let asks = last == Some(7) || words.iter().any(|word| word == "--accept-data-loss");
        if asks {
            if self.round.consent == Consent::Refused {
                return None;
            }
            self.consented = true;
            if !words.iter().any(|word| word == "--accept-data-loss") {
                words.push("--accept-data-loss".to_owned());
            }
        }
        Some(Tool::new(&words).run())
    }

    fn note(&mut self, run: &Run) -> Option<i32> {
        self.said.push(run.to_string());
        run.code()
    }

    fn judge(
        &self,
        done: Option<&Done>,
        at: Option<&Value>,
        last: Option<i32>,
        committed: bool,
    ) -> Result<Ended, String> {
        let there = done.is_none_or(|done| done.is_there(self.deployment));
        let kept = done.is_some_and(|done| self.is_kept(&done.word));
        if !(there || self.consented && kept) {
            let consent = if self.consented { "with" } else { "without" };
            let copy = if kept { "with" } else { "without" };
            return Err(format!(
                "LOST {consent} consent, {copy} a copy: what others committed is not there"
            ));
        }
        let Some(status) = at else {
            return Ok(Ended::Asked);
        };
        let version = status["version"].as_str().unwrap_or_default();
        if version.is_empty() || version == "1.5.0" {
            self.must_be_as_before(done.filter(|_| there))?;
        } else if self.round.case.plan == Plan::Shipped && version == "2.0.0" {
            self.must_have_arrived(done.filter(|_| !committed))?;
        }
        if last == Some(0) && at.is_none() {
            return Err("exit code 0 in the middle of a run".to_owned());
        }
        Ok(match (done, there) {
            (None, _) => Ended::NotDone,
            (Some(_), false) => Ended::LostByConsent,
            _ if version == "1.5.0" || version.is_empty() => Ended::Back,
            _ => Ended::Forward,
        })
    }

    /// Whether a copy below `backups/` or the state directory holds the word.
    fn is_kept(&self, word: &str) -> bool {
        let url = self.deployment.url();
        ["backups", ".etlrs-migrate"].iter().any(|dir| {
            let Ok(entries) = std::fs::read_dir(self.deployment.path(dir)) else {
                return false;
            };
            entries.flatten().any(|entry| {
                let path = entry.path();
                let bytes = std::fs::read(&path).unwrap_or_default();
                let holds = bytes.windows(word.len()).any(|one| one == word.as_bytes());
                holds
                    || (url.starts_with("postgres") && bytes.starts_with(b"PGDMP"))
                        && archive_holds(self.deployment, &path, word)
            })
        })
    }

    /// All but what others did is as before, which shows when that is taken away again.
    fn must_be_as_before(&self, done: Option<&Done>) -> Result<(), String> {
        if let Some(done) = done {
            done.take_away(self.deployment);
        }
        let now = self.deployment.snapshot().of_the_user();
        match self.before.of_the_user().difference(&now) {
            None => Ok(()),
            Some(difference) => Err(format!(
                "back at 1.5.0, and this differs from before:\n{difference}"
            )),
        }
    }

    /// Every row of the source is in the target, and what others wrote to it before the commit point.
    fn must_have_arrived(&self, written: Option<&Done>) -> Result<(), String> {
        let missing = "SELECT count(*) FROM pipelines_old o WHERE NOT EXISTS \
            (SELECT 1 FROM pipelines p WHERE p.id = o.id)";
        let after_commit = written.is_none() && self.round.act == Act::InsertSource;
        let found = try_sql(self.deployment, missing)?;
        if found != "0" && !after_commit {
            return Err(format!("{found} rows of the source are not in the target"));
        }
        let Some((id, name)) = written.and_then(|done| done.copied.as_ref()) else {
            return Ok(());
        };
        let arrived = format!("SELECT count(*) FROM pipelines WHERE id = {id} AND name = '{name}'");
        match try_sql(self.deployment, &arrived)?.as_str() {
            "1" => Ok(()),
            _ => Err(format!(
                "the source's row {id} was written before the commit point and is stale in the target"
            )),
        }
    }
}

fn archive_holds(deployment: &Deployment, archive: &std::path::Path, word: &str) -> bool {
    let binaries = deployment.postgres().server().binaries();
    let output = std::process::Command::new(binaries.program("pg_restore"))
        .arg("--file=-")
        .arg(archive)
        .output()
        .expect("pg_restore is installed");
    String::from_utf8_lossy(&output.stdout).contains(word)
}

/// Whether the run has passed its commit point.
fn is_committed(deployment: &Deployment) -> bool {
    let Ok(entries) = std::fs::read_dir(deployment.path(".etlrs-migrate")) else {
        return false;
    };
    let sql = "SELECT count(*) > 0 FROM entries WHERE record LIKE '%\"committing\"%'";
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "db"))
        .any(|path| super::sqlite(&path, sql).is_ok_and(|found| found == "1"))
}
