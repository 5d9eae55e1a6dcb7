//! The next command, as a whole line that can be typed.

use std::path::Path;

use migrate_core::{MigrationStep, NextAction, RunLog, RunState, Strategy};

use crate::args::Global;

/// The word that `status` gives for it.
pub(crate) fn word(action: NextAction) -> Option<&'static str> {
    match action {
        NextAction::Nothing => None,
        NextAction::Resume => Some("resume"),
        NextAction::RollBack(_) => Some("rollback"),
        NextAction::Manual => Some("manual"),
    }
}

/// The whole line; none where a human must mend something first.
pub(crate) fn command(global: &Global, log: &RunLog, state: &RunState) -> Option<String> {
    match state.next_action() {
        NextAction::Nothing | NextAction::Manual => None,
        NextAction::Resume => Some(line(global, &of_run(log, "resume"))),
        NextAction::RollBack(strategy) => Some(line(global, &back(log, strategy))),
    }
}

/// The line that takes a run back.
pub(crate) fn back(log: &RunLog, strategy: Option<Strategy>) -> String {
    let flag = match strategy {
        Some(Strategy::Restore) => " --strategy restore",
        Some(Strategy::Reverse) => " --strategy reverse",
        _ => "",
    };
    let to = &log.header.plan.from_version;
    of_run(log, &format!("--rollback --to {to}{flag}"))
}

/// What goes on with the chain that a completed run was a part of.
pub(crate) fn onwards(log: &RunLog) -> Option<String> {
    let target = log
        .header
        .flags
        .iter()
        .find_map(|flag| flag.strip_prefix("--to "))?;
    let at = &log.header.plan.to_version;
    Some(of_run(log, &format!("--from {at} --to {target}")))
}

const ALLOW_COMMANDS: &str = "--allow-commands";

/// A line that goes on with a run or takes it back, with the consent that it was given. Without
/// one no command of its steps ran, and only the plan's own way back may have some.
pub(crate) fn of_run(log: &RunLog, rest: &str) -> String {
    if log.header.flags.iter().any(|flag| flag == ALLOW_COMMANDS) {
        format!("{rest} {ALLOW_COMMANDS}")
    } else {
        consenting(rest, &log.header.plan.rollback_steps)
    }
}

/// A line that runs steps, with the consent that their commands need. An optional command needs
/// none: without it the step is left out.
pub(crate) fn consenting<'a>(
    rest: &str,
    steps: impl IntoIterator<Item = &'a MigrationStep>,
) -> String {
    let needs = |step: &MigrationStep| {
        let optional = step
            .extra
            .get("optional")
            .is_some_and(|value| value == true);
        let probes = step
            .extra
            .get("health")
            .and_then(|health| health.get("command"));
        (step.command.is_some() && !optional) || probes.is_some()
    };
    if steps.into_iter().any(needs) {
        format!("{rest} {ALLOW_COMMANDS}")
    } else {
        rest.to_owned()
    }
}

/// `etlrs-migrate` with the global flags that were given, and the rest.
pub(crate) fn line(global: &Global, rest: &str) -> String {
    let mut line = "etlrs-migrate".to_owned();
    let chosen = global.environment.as_ref();
    let (root, migrations) = match chosen {
        Some(chosen) => (&chosen.base, &chosen.migrations),
        None => (&global.root, &global.migrations),
    };
    if root != Path::new(".") {
        line.push_str(" -C ");
        line.push_str(&quoted(&root.to_string_lossy()));
    }
    if let Some(chosen) = chosen {
        line.push_str(" --env ");
        line.push_str(&quoted(&chosen.name));
    }
    if let Some(url) = &global.database_url {
        let shown = match url.parse::<migrate_schema::db::DatabaseUrl>() {
            Ok(parsed) if parsed.to_string() == parsed.secret() => quoted(url),
            // What is secret in it is never shown: the environment can hold it.
            _ => "\"$DATABASE_URL\"".to_owned(),
        };
        line.push_str(" --database-url ");
        line.push_str(&shown);
    }
    if let Some(dir) = migrations {
        line.push_str(" --migrations ");
        line.push_str(&quoted(&dir.to_string_lossy()));
    }
    line.push(' ');
    line.push_str(rest);
    line
}

/// A word as a shell takes it.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quotes_for_a_shell() {
        assert_eq!(quoted("etlrs-demo"), "etlrs-demo");
        assert_eq!(quoted("my dir"), "'my dir'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
