//! The names that `--skip-check` takes: the one list behind parsing, help, completions and docs.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

/// One thing that can be skipped.
struct Check {
    name: &'static str,
    /// What is left out with it.
    about: &'static str,
    /// The findings `name.reason` that can be skipped alone, too.
    reasons: &'static str,
}

const fn check(name: &'static str, about: &'static str, reasons: &'static str) -> Check {
    Check {
        name,
        about,
        reasons,
    }
}

const CHECKS: &[Check] = &[
    check(
        "backup",
        "whether a backup can be made",
        "disk foreign-owner no-pg-dump pg-dump-too-old",
    ),
    check(
        "check",
        "the plan's checks before its first step",
        "error failed",
    ),
    check("cleanup", "paths that a cleanup would delete", "path"),
    check("command", "whether a plan's programs exist", "not-found"),
    check(
        "config",
        "whether config files take their edits",
        "array-of-tables backup conflict dependency directory duplicate-key edit-unsafe \
         file inline-table literal-secret log-level missing-key no-element not-a-table not-migrated \
         not-reversed rename service shape syntax table unknown-format unreadable value variable wrong-type",
    ),
    check(
        "data",
        "whether rows can be copied as the plan says",
        "bad-rows batch-size computed-column missing no-column no-key no-script no-table no-target-key \
         not-filled on-conflict output-twice replica-identity reverse reverse-column reverse-columns \
         reverse-count reverse-null reverse-output reverse-row reverse-script same-table script source-url table-name \
         unknown-transform verify workers",
    ),
    check(
        "database",
        "the database itself, and room on its disk",
        "disk disk-not-measured other untested",
    ),
    check("disk", "all room, for the backup and for the run", ""),
    check(
        "environment",
        "that a journal belongs to one environment",
        "",
    ),
    check(
        "file-copies",
        "that every copy of a config file is there: the others stay as they are",
        "",
    ),
    check("journal", "whether the journal can be read", ""),
    check("lock", "that nobody holds the lock (health-check)", "held"),
    check(
        "restore",
        "restores that are not finished (health-check)",
        "",
    ),
    check(
        "rights",
        "what the role may do in the database",
        "createdb database event-triggers no-schema owner schema statistics table",
    ),
    check("role", "the operator's own role (health-check)", ""),
    check(
        "rows",
        "whether rows hold what the target refuses",
        "check failing not-looked-at null over-budget twin value",
    ),
    check("run", "runs that are not finished (health-check)", "open"),
    check("safety-copy", "the copy of what a restore would lose", ""),
    check(
        "same-database",
        "that a backup is of the database it goes into",
        "",
    ),
    check(
        "schema",
        "whether schema scripts fit the schema that is there",
        "changed-since column-exists down edited half-done-missing half-taken-back layout missing no-down no-table \
         no-version nothing-to-repair out-of-order script script-changed script-twice script-unclear source \
         syntax table-exists version",
    ),
    check(
        "script",
        "what stands in scripts",
        "conforming-strings copy-stdin meta-command missing not-transactional nul outside pragma transaction unreadable \
         unterminated",
    ),
    check(
        "service",
        "whether services can be stopped and started",
        "left-running missing no-client no-program no-rights not-well stopped triggered \
         unknown-state",
    ),
    check(
        "services-down",
        "that services stay down while rows move",
        "",
    ),
    check("sessions", "old transactions of others", "old-transaction"),
    check(
        "signature",
        "that a backup was signed by this deployment",
        "",
    ),
    check("validation", "whether named checks exist", "unknown-check"),
    check(
        "version",
        "that all parts are of one version (health-check)",
        "mixed",
    ),
    check(
        "writers",
        "that nobody else writes while services are down",
        "",
    ),
];

/// What `--help` says.
pub(crate) fn help() -> String {
    let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    format!(
        "Skip a check by its name; may be given more than once. Names: {}; or a single finding of \
         one by its code, as `--format json` shows it (`backup.disk`)",
        names.join(", ")
    )
}

fn codes() -> impl Iterator<Item = String> {
    CHECKS.iter().flat_map(|check| {
        let reasons = check.reasons.split_whitespace();
        reasons.map(|reason| format!("{}.{reason}", check.name))
    })
}

fn is_known(name: &str) -> bool {
    CHECKS.iter().any(|check| check.name == name) || codes().any(|code| code == name)
}

/// The names, nearest first; a code goes before them where it is what was meant.
fn nearest_first(given: &str) -> Vec<String> {
    let codes: Vec<String> = codes()
        .filter(|code| {
            code.rsplit('.').next() == Some(given)
                || migrate_core::plan_check::nearest(given, &[code.as_str()]).is_some()
        })
        .collect();
    let mut names: Vec<&Check> = CHECKS.iter().collect();
    names.sort_by_key(|check| migrate_core::plan_check::edit_distance(given, check.name));
    let names = names
        .into_iter()
        .map(|check| format!("{:14} {}", check.name, check.about));
    codes.into_iter().chain(names).collect()
}

/// Takes the names that exist, and refuses others with the list.
#[derive(Debug, Clone)]
pub(crate) struct SkipCheckParser;

impl TypedValueParser for SkipCheckParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, Error> {
        let name = StringValueParser::new().parse_ref(command, arg, value)?;
        if is_known(&name) {
            return Ok(name);
        }
        let message = format!(
            "--skip-check {name}: no check has this name; these can be skipped, the nearest first:\n  {}\n",
            nearest_first(&name).join("\n  ")
        );
        Err(Error::raw(ErrorKind::InvalidValue, message).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = CHECKS.iter();
        Some(Box::new(values.map(|check| {
            PossibleValue::new(check.name).help(check.about)
        })))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Every `"area.reason"` in the sources whose area is one of ours.
    fn written(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                written(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs")
                && !path.ends_with("skip_check.rs")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("mod tests {").next().unwrap();
                let lines = text.lines().filter(|line| !line.contains("hit!("));
                found.extend(lines.flat_map(|line| line.split('"')).filter_map(code));
            }
        }
    }

    fn code(text: &str) -> Option<String> {
        let (area, reason) = text.split_once('.')?;
        let ours = CHECKS
            .iter()
            .any(|c| c.name == area && !c.reasons.is_empty());
        let plain = |c: char| c.is_ascii_lowercase() || c == '-';
        let ends = ["toml", "rs", "db", "sql", "json"];
        (ours && !reason.is_empty() && reason.chars().all(plain) && !ends.contains(&reason))
            .then(|| text.to_owned())
    }

    #[test]
    fn the_list_is_what_the_sources_can_find() {
        let mut found = BTreeSet::new();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for entry in std::fs::read_dir(crates).unwrap() {
            written(&entry.unwrap().path().join("src"), &mut found);
        }
        let listed: BTreeSet<String> = codes().collect();
        let unlisted: Vec<_> = found.difference(&listed).collect();
        let gone: Vec<_> = listed.difference(&found).collect();
        assert!(unlisted.is_empty(), "add to CHECKS: {unlisted:?}");
        assert!(gone.is_empty(), "no finding has these codes: {gone:?}");
    }

    #[test]
    fn the_nearest_names_come_first() {
        assert!(nearest_first("writer")[0].starts_with("writers "));
        assert!(nearest_first("dsik")[0].starts_with("disk "));
        assert_eq!(nearest_first("createdb")[0], "rights.createdb");
        assert!(is_known("backup.disk") && !is_known("backup.dsik") && !is_known(""));
    }
}
