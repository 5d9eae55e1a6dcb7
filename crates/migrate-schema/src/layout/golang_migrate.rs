//! golang-migrate: `V_name.up.sql` and `V_name.down.sql`, or `.pgsql` and the like. It opens no transaction of its own:
//! what can't run in one makes the file run statement by statement.

use std::collections::BTreeMap;

use super::migration::{Migration, Transactions};
use super::plain::{directed, is_sql, spaced};
use super::section::{Section, whole};
use super::sqlx_cli::attach_downs;
use super::{Reading, SourceFile, Version, markers};
use crate::db::Backend;

pub(super) fn read(files: &[SourceFile], backend: Backend) -> Reading {
    let mut reading = Reading::default();
    let mut downs = BTreeMap::new();
    for file in files.iter().filter(|file| is_sql(file)) {
        let inside = file.folder().is_empty().then(|| directed(file.name()));
        let Some([version, name, direction]) = inside.flatten() else {
            reading.ignore(
                file,
                "its name is neither V_name.up.sql nor V_name.down.sql",
            );
            continue;
        };
        let version = Version::numeric(version);
        if let Some((whose, at)) = markers::foreign(file) {
            reading.error(file, at, format!("this is a mark of {whose}"));
            continue;
        }
        let section = whole(file);
        if direction == "down" {
            if let Some(other) = downs.insert(version, section) {
                reading.error(
                    file,
                    0,
                    format!("{} takes the same version back", other.file()),
                );
            }
        } else {
            reading.migrations.push(Migration {
                transactions: Transactions::by_content(backend, &section),
                ..Migration::versioned(version, &spaced(name), section)
            });
        }
    }
    if !reading.migrations.is_empty() {
        // Its tool counts a version that has only a down, and runs nothing for it.
        let alone: Vec<_> = downs
            .iter()
            .filter(|(version, _)| {
                let ups = &reading.migrations;
                !ups.iter().any(|one| one.version.as_ref() == Some(version))
            })
            .map(|(version, down)| {
                let nothing = Section::of_text(down.file(), "");
                Migration::versioned(version.clone(), "", nothing)
            })
            .collect();
        reading.migrations.extend(alone);
    }
    attach_downs(&mut reading, downs);
    for migration in &mut reading.migrations {
        if let Some(down) = &migration.down {
            migration.down_transactions = Transactions::by_content(backend, down);
        }
    }
    reading
}
