//! `Command`: runs a command of the plan's author.

use std::path::Path;

use async_trait::async_trait;
use migrate_core::{
    CommandLine, Description, Finding, MigrationStep, Outcome, Preview, Probe, Readiness, Receipt,
    ScopeObject, Step, StepContext, StepError, StepKind, StepSite, UndoReport, Undoable,
};
use serde_json::json;

use super::PlanCommands;
use super::fields::Fields;
use crate::command::{Call, CommandEnd, CommandOutput, CommandRunner, Group, missing_program};

/// The kind `Command`.
///
/// Fields: `command` (needed); `undo`, a command that takes it back, without which only
/// the rollback point stands behind the step; `check`, a command that changes nothing
/// and exits with 0 if the effect is there already; `optional`, which leaves the step out where
/// nobody allowed commands, instead of refusing the plan. That `command` and `undo` may run
/// again after a crash is up to their author; they find the root, the run and the step in
/// `ETLRS_MIGRATE_ROOT`, `ETLRS_MIGRATE_RUN` and `ETLRS_MIGRATE_STEP`.
#[derive(Debug, Clone)]
pub struct CommandKind {
    runner: CommandRunner,
    allowed: PlanCommands,
}

impl CommandKind {
    /// The kind, with what runs its commands and whether they may.
    pub fn new(runner: CommandRunner, allowed: PlanCommands) -> Self {
        Self { runner, allowed }
    }
}

impl StepKind for CommandKind {
    fn name(&self) -> &'static str {
        "Command"
    }

    fn extra_fields(&self) -> &[&str] {
        &["undo", "check", "optional"]
    }

    fn build(
        &self,
        spec: &MigrationStep,
        _site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let mut fields = Fields::of(spec);
        if spec.command.is_none() {
            fields.say(
                Finding::error("plan.missing-field", "a Command step needs a command")
                    .at("/command")
                    .hint("give a shell string or an array of program and arguments"),
            );
        }
        let command = fields.command();
        let undo = fields.extra_command("undo");
        let check = fields.extra_command("check");
        let optional = fields.extra("optional", "true or false").unwrap_or(false);
        fields.done()?;
        Ok(Box::new(CommandStep {
            author: Author {
                runner: self.runner.clone(),
                allowed: self.allowed,
            },
            command: command.expect("a missing command is a finding"),
            undo: undo.filter(|_| spec.can_rollback),
            check,
            left_out: optional && self.allowed == PlanCommands::Refused,
            title: spec.description.clone(),
        }))
    }
}

/// Runs commands of the plan's author, with what is common to all of them.
pub(super) struct Author {
    pub(super) runner: CommandRunner,
    pub(super) allowed: PlanCommands,
}

impl Author {
    /// Runs a command of a step, after what an earlier, killed attempt left running is ended.
    pub(super) async fn run(
        &self,
        line: &CommandLine,
        cx: &StepContext,
    ) -> Result<CommandOutput, StepError> {
        let shown = self.runner.shown(line);
        self.allowed.agreed(&shown)?;
        end_earlier(self.runner.root(), cx).await?;
        let call = Call::new(line, cx.timeout, &cx.cancel).env(&marks(self.runner.root(), cx));
        self.runner
            .run(call)
            .await
            .map_err(|error| error.into_step_error(format!("step {}", cx.step)))
    }

    /// As [`run`](Self::run), where any end but exit status 0 is a failure.
    pub(super) async fn run_well(
        &self,
        line: &CommandLine,
        cx: &StepContext,
    ) -> Result<Outcome, StepError> {
        let output = self.run(line, cx).await?;
        let output = output
            .success()
            .map_err(|error| error.into_step_error(format!("step {}", cx.step)))?;
        let mut outcome = Outcome::line(format!("ran `{}`", self.runner.shown(line)));
        let lines = output.last_lines();
        outcome
            .notes
            .extend_from_slice(&lines[lines.len().saturating_sub(5)..]);
        if output.ended_leftovers {
            cx.warn(format!(
                "`{}` left processes running, which were ended; what shall stay needs a session of its own (setsid)",
                self.runner.shown(line)
            ));
        }
        Ok(outcome)
    }

    /// What can be said against a command before it runs.
    pub(super) fn readiness<'a>(&self, lines: impl Iterator<Item = &'a CommandLine>) -> Readiness {
        let mut blocked = Vec::new();
        for line in lines {
            match missing_program(line, self.runner.root()) {
                None => {}
                Some(file) if file.contains('/') => {
                    return Readiness::After(format!("an executable file {file}"));
                }
                Some(program) => blocked.push(
                    Finding::error(
                        "command.not-found",
                        format!("there is no program {program}"),
                    )
                    .hint("install it, or give its path"),
                ),
            }
        }
        if blocked.is_empty() {
            Readiness::Ready
        } else {
            Readiness::Blocked(blocked)
        }
    }
}

/// What tells the processes of one step of one run of one deployment from all others.
fn marks(root: &Path, cx: &StepContext) -> [(String, String); 3] {
    [
        ("ETLRS_MIGRATE_ROOT".to_owned(), root.display().to_string()),
        ("ETLRS_MIGRATE_RUN".to_owned(), cx.run.to_string()),
        ("ETLRS_MIGRATE_STEP".to_owned(), cx.step.to_string()),
    ]
}

/// Ends what an attempt whose tool was killed left running: two of a command never run at once.
async fn end_earlier(root: &Path, cx: &StepContext) -> Result<(), StepError> {
    for group in Group::marked(&marks(root, cx)) {
        group
            .end(std::time::Duration::from_secs(5))
            .await
            .map_err(|still| {
                StepError::failed(format!(
                    "processes of an earlier attempt of step {} still run and can't be ended: {:?}",
                    cx.step, still.0
                ))
                .hint("end them by hand, then go on")
            })?;
        cx.warn("processes that an earlier attempt left running were ended");
    }
    Ok(())
}

struct CommandStep {
    author: Author,
    command: CommandLine,
    undo: Option<CommandLine>,
    check: Option<CommandLine>,
    /// Optional, and nobody allowed commands.
    left_out: bool,
    title: String,
}

impl CommandStep {
    /// What the author's check says; `None` without one, or where nobody allowed it to run.
    async fn done_already(&self, cx: &StepContext) -> Result<Option<bool>, StepError> {
        let Some(check) = self
            .check
            .as_ref()
            .filter(|_| self.author.allowed == PlanCommands::Allowed)
        else {
            return Ok(None);
        };
        Ok(Some(
            self.author.run(check, cx).await?.end == CommandEnd::Code(0),
        ))
    }

    fn actions(&self) -> Vec<String> {
        let shown = |line: &CommandLine| self.author.runner.shown(line);
        let mut actions = vec![shown(&self.command)];
        actions.extend(
            self.undo
                .as_ref()
                .map(|line| format!("undo: {}", shown(line))),
        );
        actions.extend(
            self.check
                .as_ref()
                .map(|line| format!("check: {}", shown(line))),
        );
        actions
    }
}

#[async_trait]
impl Step for CommandStep {
    fn describe(&self) -> Description {
        let shown = self.author.runner.shown(&self.command);
        Description {
            title: if self.title.is_empty() {
                format!("run `{shown}`")
            } else {
                self.title.clone()
            },
            scope: vec![ScopeObject::Outside(format!("what `{shown}` does"))],
            undo: match &self.undo {
                _ if self.left_out => Undoable::NotNeeded,
                Some(_) => Undoable::Yes,
                None => Undoable::No,
            },
            deferred: false,
            runs_commands: !self.left_out,
            actions: self.actions(),
            inputs: Vec::new(),
        }
    }

    async fn preview(&self, _cx: &StepContext) -> Result<Preview, StepError> {
        let mut notes = Vec::new();
        if self.undo.is_none() {
            notes
                .push("has no undo command; what it does is outside the rollback point".to_owned());
        }
        if let Some(check) = &self.check {
            notes.push(format!(
                "its check was not run, since a dry run executes nothing; a run first asks `{}` whether it is done",
                self.author.runner.shown(check)
            ));
        }
        Ok(Preview {
            actions: self.actions(),
            notes,
            ..Preview::default()
        })
    }

    async fn check(&self, cx: &StepContext) -> Result<Readiness, StepError> {
        if self.left_out {
            let shown = self.author.runner.shown(&self.command);
            return Ok(Readiness::AlreadyDone(format!(
                "left out, for commands are not allowed (--allow-commands); by hand: {shown}"
            )));
        }
        let lines = [Some(&self.command), self.undo.as_ref(), self.check.as_ref()];
        let readiness = self.author.readiness(lines.into_iter().flatten());
        if readiness == Readiness::Ready && self.done_already(cx).await? == Some(true) {
            return Ok(Readiness::AlreadyDone(
                "its check says that it is done".to_owned(),
            ));
        }
        Ok(readiness)
    }

    async fn prepare(&self, _cx: &StepContext) -> Result<Receipt, StepError> {
        Ok(Receipt(json!({})))
    }

    async fn run(&self, cx: &StepContext, _receipt: &Receipt) -> Result<Outcome, StepError> {
        self.author.run_well(&self.command, cx).await
    }

    async fn undo(&self, cx: &StepContext, _receipt: &Receipt) -> Result<UndoReport, StepError> {
        let Some(undo) = &self.undo else {
            return Err(
                StepError::failed(format!("step {} has no undo command", cx.step))
                    .hint("give the step a field \"undo\", or take back by hand what it did"),
            );
        };
        let outcome = self.author.run_well(undo, cx).await?;
        Ok(UndoReport::line(outcome.message))
    }

    async fn probe(&self, cx: &StepContext, _receipt: &Receipt) -> Result<Probe, StepError> {
        // Without a check nobody can tell: "partial" lets the engine run or undo it again.
        Ok(match self.done_already(cx).await? {
            Some(true) => Probe::Applied(Outcome::line("its check says that it is done")),
            Some(false) | None => Probe::Partial,
        })
    }
}
