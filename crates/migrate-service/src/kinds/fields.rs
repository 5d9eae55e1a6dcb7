//! Reads the fields of a step and gathers everything that is wrong with them.

use migrate_core::{CommandLine, Finding, MigrationStep};
use serde::de::DeserializeOwned;

use crate::command::problem;

/// A step's fields while they are read.
pub(super) struct Fields<'a> {
    spec: &'a MigrationStep,
    findings: Vec<Finding>,
}

impl<'a> Fields<'a> {
    /// Starts reading; the guide's fields that none of our kinds takes are findings.
    pub(super) fn of(spec: &'a MigrationStep) -> Self {
        let foreign = [
            ("config_changes", spec.config_changes.is_some()),
            ("data_migration", spec.data_migration.is_some()),
        ];
        let findings = foreign
            .iter()
            .filter(|(_, given)| *given)
            .map(|(field, _)| {
                let kind = spec.step_type.name();
                Finding::error(
                    "plan.field-not-taken",
                    format!("a {kind} step takes no {field}"),
                )
                .at(format!("/{field}"))
                .hint("remove it, or make it a step of its own")
            })
            .collect();
        Self { spec, findings }
    }

    pub(super) fn say(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// The guide's own `command`.
    pub(super) fn command(&mut self) -> Option<CommandLine> {
        let line = self.spec.command.clone()?;
        self.usable("command", line)
    }

    /// An extra field that holds a command.
    pub(super) fn extra_command(&mut self, name: &str) -> Option<CommandLine> {
        let line = self.extra(name, "a shell string or an array of program and arguments")?;
        self.usable(name, line)
    }

    /// An extra field of its own type; `null` is the same as none.
    pub(super) fn extra<T: DeserializeOwned>(&mut self, name: &str, form: &str) -> Option<T> {
        let value = self.spec.extra.get(name).filter(|value| !value.is_null())?;
        match serde_json::from_value(value.clone()) {
            Ok(read) => Some(read),
            Err(error) => {
                let message = format!("{name} can't be read: {error}");
                self.say(
                    Finding::error("plan.wrong-type", message)
                        .at(format!("/{name}"))
                        .hint(format!("it is {form}")),
                );
                None
            }
        }
    }

    fn usable(&mut self, name: &str, line: CommandLine) -> Option<CommandLine> {
        let Some((message, hint)) = problem(&line) else {
            return Some(line);
        };
        self.say(
            Finding::error("plan.bad-command", message)
                .at(format!("/{name}"))
                .hint(hint),
        );
        None
    }

    /// What was found, if anything.
    pub(super) fn done(self) -> Result<(), Vec<Finding>> {
        if self.findings.is_empty() {
            Ok(())
        } else {
            Err(self.findings)
        }
    }
}
