//! golang-migrate: `V_name.up.sql` and `V_name.down.sql`. It opens no transaction of its own:
//! what can't run in one makes the file run statement by statement.

use std::collections::BTreeMap;

use super::migration::{Migration, Transactions};
use super::plain::{is_sql, named, spaced};
use super::section::whole;
use super::sqlx_cli::attach_downs;
use super::{Reading, SourceFile, markers};
use crate::db::Backend;

pub(super) fn read(files: &[SourceFile], backend: Backend) -> Reading {
    let mut reading = Reading::default();
    let mut downs = BTreeMap::new();
    for file in files.iter().filter(|file| is_sql(file)) {
        let (named, suffix) = match named(file) {
            Some(named) if matches!(named.suffix, "up" | "down") => {
                let suffix = named.suffix;
                (named, suffix)
            }
            _ => {
                reading.ignore(
                    file,
                    "its name is neither V_name.up.sql nor V_name.down.sql",
                );
                continue;
            }
        };
        if let Some((whose, at)) = markers::foreign(file) {
            reading.error(file, at, format!("this is a mark of {whose}"));
            continue;
        }
        let section = whole(file);
        if suffix == "down" {
            downs.insert(named.version, section);
        } else {
            reading.migrations.push(Migration {
                transactions: Transactions::by_content(backend, &section),
                ..Migration::versioned(named.version, &spaced(named.name), section)
            });
        }
    }
    attach_downs(&mut reading, downs);
    for migration in &mut reading.migrations {
        if let Some(down) = &migration.down {
            migration.down_transactions = Transactions::by_content(backend, down);
        }
    }
    reading
}
