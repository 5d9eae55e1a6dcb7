//! What a plan says about a schema step, read and checked.

use migrate_core::{CommandLine, Finding, MigrationStep, Scripts};

use super::undo;
use crate::db::Backend;
use crate::migrator::script_name::ScriptName;
use crate::migrator::{Direction, V2_SCRIPT};
use crate::script::{SqlScript, find};

/// A schema step as it was asked for.
pub(super) struct Spec {
    pub(super) title: String,
    pub(super) script: SqlScript,
    /// The name by which the history knows it.
    pub(super) name: ScriptName,
    pub(super) version: i64,
    pub(super) direction: Direction,
    pub(super) undo: Undo,
}

/// How a step is taken back.
pub(super) enum Undo {
    /// By this script.
    Down(SqlScript),
    /// Every object gets its old text again (SQLite).
    ByCatalog,
    /// It is not, for this reason.
    None(String),
}

impl Undo {
    pub(super) fn script(&self) -> Option<&SqlScript> {
        match self {
            Self::Down(script) => Some(script),
            _ => None,
        }
    }
}

impl Spec {
    pub(super) fn read(
        step: &MigrationStep,
        scripts: &dyn Scripts,
        backend: Backend,
    ) -> Result<Self, Vec<Finding>> {
        let (name, pointer) = script_name(step).map_err(|finding| vec![finding])?;
        let mut findings = Vec::new();
        let mut note = |more: Vec<Finding>| findings.extend(more);
        let script = load(scripts, backend, &name, pointer).map_err(&mut note);
        let version = version(step, &name).map_err(|finding| note(vec![finding]));
        let down = down(step, scripts, backend, &name).map_err(&mut note);
        let (Ok(script), Ok(version), Ok(down)) = (script, version, down) else {
            return Err(findings);
        };
        let direction = direction_of_name(&name);
        let undo = match down {
            _ if direction == Direction::Down => {
                Undo::None("it takes a version back itself".to_owned())
            }
            _ if !step.can_rollback => Undo::None("the plan says can_rollback = false".to_owned()),
            Some(down) => Undo::Down(down),
            None => match undo::by_catalog(&script) {
                Ok(()) => Undo::ByCatalog,
                Err(why) => Undo::None(why),
            },
        };
        let title = match step.description.trim() {
            "" if direction == Direction::Down => {
                format!("schema back from version {version} by {name}")
            }
            "" => format!("schema to version {version} by {name}"),
            text => text.to_owned(),
        };
        Ok(Self {
            title,
            script,
            name: ScriptName::of(&name),
            version,
            direction,
            undo,
        })
    }
}

fn load(
    scripts: &dyn Scripts,
    backend: Backend,
    name: &str,
    pointer: &str,
) -> Result<SqlScript, Vec<Finding>> {
    let found = find(scripts, backend, name).map_err(|finding| vec![finding.at(pointer)])?;
    SqlScript::parse(backend, found.origin, found.text).map_err(|findings| {
        findings
            .into_iter()
            .map(|finding| finding.at(pointer))
            .collect()
    })
}

/// The script's name and the pointer of the field that gives it.
fn script_name(step: &MigrationStep) -> Result<(String, &'static str), Finding> {
    let script = match step.extra.get("script") {
        None => None,
        Some(value) => Some(value.as_str().ok_or_else(|| {
            Finding::error("schema.script", "`script` is not a text")
                .at("/script")
                .hint("give the script's file name")
        })?),
    };
    match (script, &step.command) {
        (Some(script), None) => Ok((script.to_owned(), "/script")),
        (None, Some(CommandLine::Text(name))) => Ok((name.trim().to_owned(), "/command")),
        (None, Some(CommandLine::Argv(_))) => Err(Finding::error(
            "schema.script",
            "the command of a schema step is the name of one script",
        )
        .at("/command")
        .hint("give the script's file name as a text")),
        (Some(_), Some(_)) => Err(Finding::error(
            "schema.script",
            "both `script` and `command` name a script",
        )
        .at("/command")
        .hint("remove one of them")),
        (None, None) => Err(Finding::error("schema.script", "no script is named")
            .hint("give the script's file name as `script` or `command`")),
    }
}

fn version(step: &MigrationStep, name: &str) -> Result<i64, Finding> {
    let (found, message) = match step.extra.get("schema_version") {
        Some(value) => (
            value.as_i64().filter(|number| is_version(*number)),
            "`schema_version` is not a version of a schema",
        ),
        None => (
            version_of_name(name),
            "the script's name tells no version of the schema",
        ),
    };
    found.ok_or_else(|| {
        Finding::error("schema.version", message)
            .at("/schema_version")
            .hint("give a whole number above 0")
    })
}

fn is_version(number: i64) -> bool {
    (1..=i64::from(i32::MAX)).contains(&number)
}

/// `001_v2_changes.down.sql` takes back what `001_v2_changes.sql` brought.
fn direction_of_name(name: &str) -> Direction {
    let file = name.rsplit('/').next().unwrap_or(name);
    if file.split('.').any(|part| part == "down") {
        Direction::Down
    } else {
        Direction::Up
    }
}

/// The script that a schema step of a plan applies; none if it is no such step.
pub(super) fn applied_by(step: &MigrationStep) -> Option<ScriptName> {
    let (name, _) = script_name(step).ok()?;
    let schema = step.step_type.name() == "SchemaUpdate";
    (schema && direction_of_name(&name) == Direction::Up).then(|| ScriptName::of(&name))
}

/// `007_changes.sql` brings version 7; the guide's own script, version 2.
fn version_of_name(name: &str) -> Option<i64> {
    let stem = name.rsplit('/').next()?.split('.').next()?;
    if V2_SCRIPT.strip_suffix(".sql") == Some(stem) {
        return Some(2);
    }
    let end = stem
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(stem.len());
    stem[..end]
        .parse()
        .ok()
        .filter(|number| is_version(*number))
}

/// The script named by `down`, else `NAME.down.sql` where it exists. Beside a script for one
/// database only, that database's own down script counts.
fn down(
    step: &MigrationStep,
    scripts: &dyn Scripts,
    backend: Backend,
    name: &str,
) -> Result<Option<SqlScript>, Vec<Finding>> {
    if let Some(value) = step.extra.get("down") {
        let Some(down) = value.as_str() else {
            return Err(vec![
                Finding::error("schema.down", "`down` is not a text")
                    .at("/down")
                    .hint("give the file name of the script that takes this one back"),
            ]);
        };
        return load(scripts, backend, down, "/down").map(Some);
    }
    let Some(base) = name.strip_suffix(".sql") else {
        return Ok(None);
    };
    let names = scripts.names();
    let has = |name: &str| names.iter().any(|known| known == name);
    let suffix = backend.file_suffix();
    let own = format!("{base}.down.{suffix}.sql");
    let plain = format!("{base}.down.sql");
    let chosen = if has(&own) {
        own
    } else if has(&plain) && !has(&format!("{base}.{suffix}.sql")) {
        plain
    } else {
        return Ok(None);
    };
    load(scripts, backend, &chosen, "/down").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripts_name_tells_its_version() {
        for (name, expected) in [
            ("001_v2_schema_updates.sql", Some(2)),
            ("sub/012_v30_x.sqlite.sql", Some(12)),
            ("007_add_index.sql", Some(7)),
            ("7.sql", Some(7)),
            ("001_very_new.sql", Some(1)),
            ("001_add_v3.sql", Some(1)),
            ("001_orders_v2.sql", Some(1)),
            ("changes.sql", None),
            ("000.sql", None),
            ("99999999999999999999.sql", None),
        ] {
            assert_eq!(version_of_name(name), expected, "{name}");
        }
    }
}
