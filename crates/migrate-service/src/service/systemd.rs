//! systemd units by `systemctl`.

use std::time::Duration;

use migrate_core::{CommandLine, Finding, StepError};

use super::config::SystemdScope;
use super::manager::{Asker, State, Tools, argv};
use crate::command::CommandError;

/// A unit.
#[derive(Debug, Clone)]
pub(super) struct Systemd {
    pub(super) unit: String,
    pub(super) scope: SystemdScope,
}

/// What `systemctl show` says of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shown {
    load: String,
    active: String,
    triggers: Vec<String>,
}

impl Systemd {
    /// Whether a name can be a unit's: it must never be taken for an option or a pattern.
    pub(super) fn unit_name(name: &str) -> Option<String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if name.is_empty() || name.starts_with('-') || !name.chars().all(fits) {
            return None;
        }
        Some(if name.contains('.') {
            name.to_owned()
        } else {
            format!("{name}.service")
        })
    }

    fn show_argv(&self, tools: &Tools) -> Vec<String> {
        let mut out = vec![tools.systemctl.clone()];
        out.extend(self.scope_option());
        out.extend(["show", "--property=LoadState,ActiveState,TriggeredBy", "--"].map(Into::into));
        out.push(self.unit.clone());
        out
    }

    fn verb_argv(&self, tools: &Tools, verb: &str) -> Vec<String> {
        let mut out = self.elevation(tools);
        out.push(tools.systemctl.clone());
        out.extend(self.scope_option());
        out.extend([verb, "--no-ask-password", "--"].map(Into::into));
        out.push(self.unit.clone());
        out
    }

    /// Asks sudo whether it would run the verb without a password.
    fn right_argv(&self, tools: &Tools, verb: &str) -> Option<Vec<String>> {
        let mut out = self.elevation(tools);
        if out.is_empty() {
            return None;
        }
        out.push("-l".to_owned());
        out.extend(self.verb_argv(tools, verb).into_iter().skip(2));
        Some(out)
    }

    fn elevation(&self, tools: &Tools) -> Vec<String> {
        if self.scope == SystemdScope::User || tools.is_root() {
            return Vec::new();
        }
        vec![tools.sudo.clone(), "-n".to_owned()]
    }

    fn scope_option(&self) -> Option<String> {
        (self.scope == SystemdScope::User).then(|| "--user".to_owned())
    }

    async fn show(&self, ask: &Asker<'_>) -> Result<Result<Shown, String>, StepError> {
        let line = argv(self.show_argv(ask.tools));
        match ask.quietly(&line).await {
            Ok(text) => Ok(Ok(parse_show(&text))),
            Err(error @ (CommandError::NotStarted { .. } | CommandError::Failed { .. })) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(error.into_step_error(format!("asking for unit {}", self.unit))),
        }
    }

    pub(super) async fn state(&self, ask: &Asker<'_>) -> Result<State, StepError> {
        let shown = match self.show(ask).await? {
            Ok(shown) => shown,
            Err(why) => return Ok(State::Unreachable(why)),
        };
        match shown.active.as_str() {
            "inactive" | "failed" if shown.load == "not-found" => Ok(State::Absent(format!(
                "systemd knows no unit {}",
                self.unit
            ))),
            "inactive" | "failed" => Ok(State::Stopped),
            "active" | "activating" | "reloading" | "refreshing" | "deactivating"
            | "maintenance" => Ok(State::Running(Vec::new())),
            other => Err(StepError::failed(format!(
                "the state of unit {} can't be told: systemctl says {other:?}",
                self.unit
            ))),
        }
    }

    /// What could go wrong with a unit that runs.
    pub(super) async fn findings(&self, ask: &Asker<'_>) -> Result<Vec<Finding>, StepError> {
        let mut findings = Vec::new();
        if let Ok(shown) = self.show(ask).await?
            && !shown.triggers.is_empty()
        {
            findings.push(
                Finding::warning(
                    "service.triggered",
                    format!(
                        "{} may start {} again meanwhile",
                        shown.triggers.join(", "),
                        self.unit
                    ),
                )
                .hint(format!("systemctl stop {}", shown.triggers.join(" "))),
            );
        }
        for verb in ["stop", "start"] {
            let Some(right) = self.right_argv(ask.tools, verb) else {
                continue;
            };
            if ask.quietly(&argv(right)).await.is_err() {
                let command = self.verb_argv(ask.tools, verb).join(" ");
                findings.push(
                    Finding::error("service.no-rights", format!("no right to run `{command}`"))
                        .hint("run as root, or allow it in sudoers with NOPASSWD"),
                );
            }
        }
        Ok(findings)
    }

    pub(super) async fn verb(
        &self,
        ask: &Asker<'_>,
        verb: &str,
        patience: Duration,
    ) -> Result<(), CommandError> {
        ask.run(&argv(self.verb_argv(ask.tools, verb)), patience)
            .await
            .map(drop)
    }

    pub(super) fn stop_line(&self, tools: &Tools) -> CommandLine {
        argv(self.verb_argv(tools, "stop"))
    }
}

fn parse_show(text: &str) -> Shown {
    let mut shown = Shown::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "LoadState" => value.clone_into(&mut shown.load),
            "ActiveState" => value.clone_into(&mut shown.active),
            "TriggeredBy" => {
                let triggers = value.split(' ').filter(|t| !t.is_empty());
                shown.triggers = triggers.map(Into::into).collect();
            }
            _ => {}
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::manager::Rights;
    use super::*;

    #[test]
    fn argv_of_every_verb() {
        let system = Systemd {
            unit: "etlrs.service".into(),
            scope: SystemdScope::System,
        };
        let user = Systemd {
            unit: "etlrs.service".into(),
            scope: SystemdScope::User,
        };
        let root = Tools {
            rights: Rights::Root,
            ..Tools::default()
        };
        let plain = Tools {
            rights: Rights::User,
            ..Tools::default()
        };
        for (found, expected) in [
            (
                system.show_argv(&plain),
                "systemctl show --property=LoadState,ActiveState,TriggeredBy -- etlrs.service",
            ),
            (
                user.show_argv(&root),
                "systemctl --user show --property=LoadState,ActiveState,TriggeredBy -- etlrs.service",
            ),
            (
                system.verb_argv(&root, "stop"),
                "systemctl stop --no-ask-password -- etlrs.service",
            ),
            (
                system.verb_argv(&plain, "stop"),
                "sudo -n systemctl stop --no-ask-password -- etlrs.service",
            ),
            (
                system.verb_argv(&plain, "start"),
                "sudo -n systemctl start --no-ask-password -- etlrs.service",
            ),
            (
                user.verb_argv(&plain, "start"),
                "systemctl --user start --no-ask-password -- etlrs.service",
            ),
            (
                system.right_argv(&plain, "stop").unwrap(),
                "sudo -n -l systemctl stop --no-ask-password -- etlrs.service",
            ),
        ] {
            assert_eq!(found.join(" "), expected);
        }
        assert_eq!(system.right_argv(&root, "stop"), None);
        assert_eq!(user.right_argv(&plain, "stop"), None);
    }

    #[test]
    fn unit_names() {
        for (name, expected) in [
            ("etlrs", Some("etlrs.service")),
            ("etlrs.timer", Some("etlrs.timer")),
            ("etlrs@1", Some("etlrs@1.service")),
            ("-x", None),
            ("a b", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(Systemd::unit_name(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn reads_what_systemctl_shows() {
        let shown =
            parse_show("LoadState=loaded\nActiveState=active\nTriggeredBy=a.timer b.socket\nOdd\n");
        assert_eq!(shown.load, "loaded");
        assert_eq!(shown.active, "active");
        assert_eq!(shown.triggers, ["a.timer", "b.socket"]);
        assert_eq!(parse_show("TriggeredBy=\n").triggers, Vec::<String>::new());
    }
}
