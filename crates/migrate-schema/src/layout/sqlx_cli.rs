//! sqlx-cli: `V_name.sql`, or `V_name.up.sql` with `V_name.down.sql`; `-- no-transaction` as the
//! first line.

use std::collections::BTreeMap;

use super::migration::{Migration, Transactions};
use super::plain::{is_sql, named, spaced};
use super::section::{Section, whole};
use super::{Reading, SourceFile, Version, markers};

pub(super) fn read(files: &[SourceFile]) -> Reading {
    let mut reading = Reading::default();
    let mut downs: BTreeMap<Version, Section> = BTreeMap::new();
    for file in files.iter().filter(|file| is_sql(file)) {
        let Some(named) = named(file) else {
            reading.ignore(file, "its name is not VERSION_name.sql");
            continue;
        };
        if let Some((whose, at)) = markers::foreign(file) {
            reading.error(file, at, format!("this is a mark of {whose}"));
            continue;
        }
        let up = whole(file);
        match named.suffix {
            "" | "up" => reading.migrations.push(Migration {
                transactions: transactions(&up),
                ..Migration::versioned(named.version, &spaced(named.name), up)
            }),
            "down" => {
                if let Some(other) = downs.insert(named.version, up) {
                    reading.error(
                        file,
                        0,
                        format!("{} takes the same version back", other.file()),
                    );
                }
            }
            _ => reading.ignore(file, "only `.up` and `.down` may stand before `.sql`"),
        }
    }
    attach_downs(&mut reading, downs);
    reading
}

/// Gives each migration its down; one that belongs to none is an error.
pub(super) fn attach_downs(reading: &mut Reading, mut downs: BTreeMap<Version, Section>) {
    for migration in &mut reading.migrations {
        if let Some(version) = &migration.version {
            migration.down = downs.remove(version);
            migration.down_transactions = migration
                .down
                .as_ref()
                .map_or(Transactions::One, transactions);
        }
    }
    reading.errors.extend(downs.into_values().map(|down| {
        migrate_core::Finding::error("layout.no-up", "there is no migration that it takes back")
            .in_file(down.place(0))
    }));
}

/// What the first line says.
pub(super) fn transactions(section: &Section) -> Transactions {
    if section.sql().starts_with("-- no-transaction") {
        Transactions::PerStatement
    } else {
        Transactions::One
    }
}
