//! Our own layout: `NNN_name.sql` with `.down`, `.verify`, `.postgres` and `.sqlite` before
//! `.sql`, in any order; `R__name.sql` for repeatable ones.

use std::collections::BTreeMap;

use super::migration::{Migration, Transactions};
use super::plain::{is_sql, named, spaced};
use super::section::{Section, whole};
use super::{Reading, SourceFile, Version, markers, sqlx_cli};
use crate::db::Backend;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Up,
    Down,
    Verify,
}

/// The files of a migration, each role with the one for this database before the one for all.
type Parts = BTreeMap<Role, (Option<Section>, Option<Section>)>;

pub(super) fn read(files: &[SourceFile], backend: Backend) -> Reading {
    let mut reading = Reading::default();
    let mut found: BTreeMap<(bool, Version, String), Parts> = BTreeMap::new();
    for file in files.iter().filter(|file| is_sql(file)) {
        let Some((key, suffix)) = key_of(file) else {
            reading.ignore(file, "its name is not NNN_name.sql");
            continue;
        };
        if let Some((whose, at)) = markers::foreign(file) {
            reading.error(file, at, format!("this is a mark of {whose}"));
            continue;
        }
        let Some((role, only)) = role_of(suffix) else {
            reading.ignore(
                file,
                "`.down`, `.verify`, `.postgres` and `.sqlite` may stand before `.sql`",
            );
            continue;
        };
        if only.is_some_and(|only| only != backend) {
            continue;
        }
        let part = found.entry(key).or_default().entry(role).or_default();
        let slot = if only.is_some() {
            &mut part.0
        } else {
            &mut part.1
        };
        if slot.is_some() {
            reading.error(file, 0, "there is another file for the same");
        }
        *slot = Some(whole(file));
    }
    for ((repeatable, version, name), mut parts) in found {
        let mut take = |role| parts.remove(&role).and_then(|(own, all)| own.or(all));
        match take(Role::Up) {
            Some(up) => {
                let version = (!repeatable).then_some(version);
                reading.migrations.push(
                    Migration {
                        transactions: sqlx_cli::transactions(&up),
                        version,
                        down: take(Role::Down),
                        verify: take(Role::Verify),
                        ..Migration::repeatable(&spaced(&name), up)
                    }
                    .with_down_mark(),
                );
            }
            None => {
                // A migration for the other database only has no part here either.
                if let Some(part) = take(Role::Down).or_else(|| take(Role::Verify)) {
                    reading.errors.push(
                        migrate_core::Finding::error(
                            "layout.no-up",
                            format!("there is no {version}_{name}.sql that it belongs to"),
                        )
                        .in_file(part.place(0)),
                    );
                }
            }
        }
    }
    reading
}

impl Migration {
    /// Reads how `down` runs from its first line.
    pub(super) fn with_down_mark(mut self) -> Self {
        self.down_transactions = self
            .down
            .as_ref()
            .map_or(Transactions::One, sqlx_cli::transactions);
        self
    }
}

fn key_of(file: &SourceFile) -> Option<((bool, Version, String), &str)> {
    if let Some(named) = named(file) {
        return Some(((false, named.version, named.name.to_owned()), named.suffix));
    }
    let stem = file.path.strip_prefix("R__")?.strip_suffix(".sql")?;
    let (name, suffix) = stem.split_once('.').unwrap_or((stem, ""));
    Some(((true, Version::numeric("0"), name.to_owned()), suffix))
}

fn role_of(suffix: &str) -> Option<(Role, Option<Backend>)> {
    let mut role = Role::Up;
    let mut only = None;
    for part in suffix.split('.').filter(|part| !part.is_empty()) {
        match part {
            "down" if role == Role::Up => role = Role::Down,
            "verify" if role == Role::Up => role = Role::Verify,
            "postgres" if only.is_none() => only = Some(Backend::Postgres),
            "sqlite" if only.is_none() => only = Some(Backend::Sqlite),
            _ => return None,
        }
    }
    Some((role, only))
}
