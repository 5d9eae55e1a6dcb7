//! `Cleanup`: removes what nobody needs once everything is checked.

use std::path::PathBuf;

use async_trait::async_trait;
use migrate_core::own_files::{OWN_FILES_HINT, OwnFiles, Touch, none_are_own};
use migrate_core::{
    Cancel, CommandLine, Description, Finding, MigrationStep, Outcome, Preview, Probe, Readiness,
    Receipt, ScopeObject, Step, StepContext, StepError, StepKind, StepSite, UndoReport, Undoable,
};
use serde_json::json;

use super::PlanCommands;
use super::command_step::Author;
use super::fields::Fields;
use super::removal::{Amount, PathBelow, measure, remove};
use crate::command::CommandRunner;

/// The kind `Cleanup`.
///
/// Fields: `command`, and `remove`, an array of files and directories below the root; at
/// least one of them. The command runs first. A cleanup is deferred until all checks
/// passed and can't be undone.
#[derive(Clone)]
pub struct CleanupKind {
    runner: CommandRunner,
    allowed: PlanCommands,
    own_files: OwnFiles,
}

impl std::fmt::Debug for CleanupKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CleanupKind")
            .field("runner", &self.runner)
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

impl CleanupKind {
    /// The kind, with what runs its commands and whether they may.
    pub fn new(runner: CommandRunner, allowed: PlanCommands) -> Self {
        Self {
            runner,
            allowed,
            own_files: none_are_own(),
        }
    }

    /// Refuses to remove files that are the tool's own; without this, only its state directory
    /// is refused.
    #[must_use]
    pub fn sparing(mut self, own_files: OwnFiles) -> Self {
        self.own_files = own_files;
        self
    }
}

impl StepKind for CleanupKind {
    fn name(&self) -> &'static str {
        "Cleanup"
    }

    fn extra_fields(&self) -> &[&str] {
        &["remove"]
    }

    fn build(
        &self,
        spec: &MigrationStep,
        _site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let mut fields = Fields::of(spec);
        let command = fields.command();
        let names: Vec<String> = fields
            .extra("remove", "an array of paths below the root")
            .unwrap_or_default();
        let mut paths = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let at = format!("/remove/{index}");
            let own = (self.own_files)(name.as_ref(), Touch::Remove);
            match (PathBelow::parse(name), own) {
                (Ok(path), None) => paths.push(path),
                (Ok(_), Some(why)) => fields.say(
                    Finding::error("plan.own-file", why)
                        .at(at)
                        .hint(OWN_FILES_HINT),
                ),
                (Err(message), _) => fields.say(Finding::error("plan.bad-path", message).at(at)),
            }
        }
        if spec.command.is_none() && !spec.extra.contains_key("remove") {
            fields.say(
                Finding::error(
                    "plan.missing-field",
                    "a Cleanup step needs a command or remove",
                )
                .hint("give \"remove\": [\"path/below/the/root\"], or a command"),
            );
        }
        fields.done()?;
        Ok(Box::new(CleanupStep {
            author: Author {
                runner: self.runner.clone(),
                allowed: self.allowed,
            },
            command,
            paths,
            title: spec.description.clone(),
            own_files: self.own_files.clone(),
        }))
    }
}

struct CleanupStep {
    author: Author,
    command: Option<CommandLine>,
    paths: Vec<PathBelow>,
    title: String,
    own_files: OwnFiles,
}

type Walk = fn(&std::path::Path, &PathBelow, &Cancel) -> Result<Option<Amount>, StepError>;

impl CleanupStep {
    fn actions(&self) -> Vec<String> {
        let command = self
            .command
            .as_ref()
            .map(|line| self.author.runner.shown(line));
        command
            .into_iter()
            .chain(self.paths.iter().map(|path| format!("remove {path}")))
            .collect()
    }

    /// A step may have put a link to a file of the tool in a path's place since the plan was checked.
    fn still_a_plans_paths(&self) -> Result<(), StepError> {
        let mut why = self
            .paths
            .iter()
            .filter_map(|path| (self.own_files)(path.to_string().as_ref(), Touch::Remove));
        why.next().map_or(Ok(()), |why| {
            Err(StepError::failed(why).hint(OWN_FILES_HINT))
        })
    }

    /// Walks every path off the async threads; a line about each.
    async fn each_path(&self, cx: &StepContext, walk: Walk) -> Result<Vec<String>, StepError> {
        let mut lines = Vec::new();
        for path in &self.paths {
            let (root, cancel) = (PathBuf::from(self.author.runner.root()), cx.cancel.clone());
            let target = path.clone();
            let walked = tokio::task::spawn_blocking(move || walk(&root, &target, &cancel)).await;
            let amount =
                walked.map_err(|e| StepError::caused(format!("removing {path}"), &e))??;
            lines.push(match amount {
                None => format!("{path}: nothing there"),
                Some(Amount { files: 1, bytes }) => format!("{path}: 1 file, {bytes} bytes"),
                Some(Amount { files, bytes }) => format!("{path}: {files} files, {bytes} bytes"),
            });
        }
        Ok(lines)
    }
}

#[async_trait]
impl Step for CleanupStep {
    fn describe(&self) -> Description {
        let actions = self.actions();
        Description {
            title: if self.title.is_empty() {
                actions.join("; ")
            } else {
                self.title.clone()
            },
            scope: actions
                .iter()
                .map(|action| ScopeObject::Outside(action.clone()))
                .collect(),
            undo: Undoable::No,
            deferred: true,
            runs_commands: self.command.is_some(),
            actions,
            inputs: Vec::new(),
        }
    }

    async fn preview(&self, cx: &StepContext) -> Result<Preview, StepError> {
        let notes = self.each_path(cx, measure).await?;
        Ok(Preview {
            actions: self.actions(),
            notes,
            ..Preview::default()
        })
    }

    async fn check(&self, cx: &StepContext) -> Result<Readiness, StepError> {
        // Paths that are not there are no obstacle: earlier steps may make them, or nobody.
        if let Err(error) = self.each_path(cx, measure).await {
            return match error.kind {
                migrate_core::StepErrorKind::Interrupted => Err(error),
                _ => Ok(Readiness::Blocked(vec![Finding::error(
                    "cleanup.path",
                    error.to_string(),
                )])),
            };
        }
        Ok(self.author.readiness(self.command.iter()))
    }

    async fn prepare(&self, _cx: &StepContext) -> Result<Receipt, StepError> {
        Ok(Receipt(json!({})))
    }

    async fn run(&self, cx: &StepContext, _receipt: &Receipt) -> Result<Outcome, StepError> {
        let mut outcome = match &self.command {
            Some(line) => self.author.run_well(line, cx).await?,
            None => Outcome::line(format!("removed {} paths", self.paths.len())),
        };
        self.still_a_plans_paths()?;
        outcome.notes.extend(self.each_path(cx, remove).await?);
        Ok(outcome)
    }

    async fn undo(&self, cx: &StepContext, _receipt: &Receipt) -> Result<UndoReport, StepError> {
        Err(
            StepError::failed(format!("cleanup step {} can't be undone", cx.step))
                .hint("restore what it removed from the rollback point or your own backup"),
        )
    }

    async fn probe(&self, cx: &StepContext, _receipt: &Receipt) -> Result<Probe, StepError> {
        if self.command.is_some() {
            return Ok(Probe::Partial);
        }
        let lines = self.each_path(cx, measure).await?;
        Ok(
            if lines.iter().all(|line| line.ends_with("nothing there")) {
                Probe::Applied(Outcome::line(format!("removed {} paths", self.paths.len())))
            } else {
                Probe::Partial
            },
        )
    }
}
