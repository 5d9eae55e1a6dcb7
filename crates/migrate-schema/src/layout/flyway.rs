//! Flyway: `V1_2__name.sql`, `U1_2__name.sql`, `R__name.sql`, placeholders `${name}`, and
//! `NAME.sql.conf` with `executeInTransaction`.

use std::collections::BTreeMap;

use super::migration::{Migration, Transactions};
use super::plain::{is_sql, spaced};
use super::section::{Section, whole};
use super::{Reading, SourceFile, Version, markers};
use crate::db::Backend;

pub(super) fn read(files: &[SourceFile], backend: Backend) -> Reading {
    let mut reading = Reading::default();
    let mut undos: BTreeMap<Version, Section> = BTreeMap::new();
    for file in files.iter().filter(|file| is_sql(file)) {
        if let Some(event) = callback(file.name()) {
            reading.error(
                file,
                0,
                format!("Flyway runs it at {event}: callbacks are not run here"),
            );
            continue;
        }
        let Some((kind, version, name)) = parts(file.name()) else {
            reading.ignore(
                file,
                "its name is neither V1__name.sql, U1__name.sql nor R__name.sql",
            );
            continue;
        };
        if let Some((whose, at)) = markers::foreign(file) {
            reading.error(file, at, format!("this is a mark of {whose}"));
            continue;
        }
        let section = whole(file);
        let transactions = match configured(files, file) {
            Some(configured) => configured,
            None => Transactions::by_content(backend, &section),
        };
        match (kind, version) {
            ('V', Some(version)) => reading.migrations.push(Migration {
                transactions,
                placeholders: true,
                ..Migration::versioned(version, &spaced(name), section)
            }),
            ('U', Some(version)) => {
                if let Some(other) = undos.insert(version, section) {
                    reading.error(
                        file,
                        0,
                        format!("{} takes the same version back", other.file()),
                    );
                }
            }
            ('R', None) => reading.migrations.push(Migration {
                transactions,
                placeholders: true,
                ..Migration::repeatable(&spaced(name), section)
            }),
            _ => reading.error(file, 0, "V and U need a version, R must not have one"),
        }
    }
    super::sqlx_cli::attach_downs(&mut reading, undos);
    for migration in &mut reading.migrations {
        if let Some(down) = &migration.down {
            migration.down_transactions = Transactions::by_content(backend, down);
        }
    }
    reading
}

/// The event of a callback: `afterMigrate.sql`, `beforeEachMigrate__description.sql`.
fn callback(name: &str) -> Option<&str> {
    const WHAT: [&str; 12] = [
        "Migrate",
        "EachMigrate",
        "EachMigrateStatement",
        "Versioned",
        "Repeatables",
        "Undo",
        "EachUndo",
        "Clean",
        "Info",
        "Validate",
        "Baseline",
        "Repair",
    ];
    let stem = name.strip_suffix(".sql")?;
    let event = stem.split("__").next()?;
    let rest = event
        .strip_prefix("before")
        .or_else(|| event.strip_prefix("after"))?;
    let named = ["Error", "OperationFinish", "Applied"]
        .iter()
        .fold(rest, |rest, end| rest.strip_suffix(end).unwrap_or(rest));
    (WHAT.contains(&named) || event == "createSchema" || event == "beforeConnect").then_some(event)
}

/// `V1_2__name.sql` as its letter, version and name.
fn parts(name: &str) -> Option<(char, Option<Version>, &str)> {
    let stem = name.strip_suffix(".sql")?;
    let kind = stem.chars().next().filter(|kind| "VUR".contains(*kind))?;
    let (version, name) = stem[1..].split_once("__")?;
    if version.is_empty() {
        return Some((kind, None, name));
    }
    let number = version
        .split(['_', '.'])
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    number.then(|| (kind, Some(Version::numeric(version)), name))
}

fn configured(files: &[SourceFile], file: &SourceFile) -> Option<Transactions> {
    let conf = format!("{}.conf", file.path);
    // The files are in order of their paths.
    let at = files
        .binary_search_by(|other| (*other.path).cmp(conf.as_str()))
        .ok()?;
    files[at].text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        match (name.trim(), value.trim()) {
            ("executeInTransaction", "false") => Some(Transactions::PerStatement),
            ("executeInTransaction", "true") => Some(Transactions::One),
            _ => None,
        }
    })
}
