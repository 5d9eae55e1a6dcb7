//! diesel: a folder for each migration with `up.sql`, `down.sql` and `metadata.toml`.

use std::collections::BTreeMap;

use super::migration::{Migration, Transactions};
use super::plain::{is_sql, spaced};
use super::section::{Section, whole};
use super::{Reading, SourceFile, Version, markers};

#[derive(Default)]
struct Parts {
    up: Option<Section>,
    down: Option<Section>,
    transactions: Option<Transactions>,
}

pub(super) fn read(files: &[SourceFile]) -> Reading {
    let mut reading = Reading::default();
    let mut folders: BTreeMap<&str, Parts> = BTreeMap::new();
    for file in files {
        let folder = file.folder();
        let parts = match file.name() {
            "up.sql" | "down.sql" | "metadata.toml" if !folder.is_empty() => {
                folders.entry(folder).or_default()
            }
            _ => {
                if is_sql(file) {
                    reading.ignore(file, "it is neither up.sql nor down.sql in a folder");
                }
                continue;
            }
        };
        if let Some((whose, at)) = markers::foreign(file)
            && is_sql(file)
        {
            reading.error(file, at, format!("this is a mark of {whose}"));
            continue;
        }
        match file.name() {
            "up.sql" => parts.up = Some(whole(file)),
            "down.sql" => parts.down = Some(whole(file)),
            _ => match run_in_transaction(&file.text) {
                Ok(transactions) => parts.transactions = Some(transactions),
                Err((at, why)) => reading.error(file, at, why),
            },
        }
    }
    for (folder, parts) in folders {
        let Some(up) = parts.up else {
            if let Some(down) = parts.down {
                reading.errors.push(
                    migrate_core::Finding::error("layout.no-up", "there is no up.sql beside it")
                        .in_file(down.place(0)),
                );
            }
            continue;
        };
        let transactions = parts.transactions.unwrap_or(Transactions::One);
        // The version is what stands before the first underscore, without its dashes; diesel
        // compares versions as texts.
        let last = folder.rsplit('/').next().unwrap_or(folder);
        let (version, name) = last.split_once('_').unwrap_or((last, ""));
        reading.migrations.push(Migration {
            down: parts.down,
            transactions,
            down_transactions: transactions,
            ..Migration::versioned(
                Version::literal(&version.replace('-', "")),
                &spaced(name),
                up,
            )
        });
    }
    reading
}

/// Reads `run_in_transaction = true|false`, the one setting that there is.
fn run_in_transaction(text: &str) -> Result<Transactions, (usize, String)> {
    let mut found = Transactions::One;
    for (start, line) in super::markers::lines(text) {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        if name.trim() != "run_in_transaction" {
            continue;
        }
        found = match value.trim() {
            "true" => Transactions::One,
            "false" => Transactions::PerStatement,
            other => {
                return Err((
                    start,
                    format!("run_in_transaction is true or false, not {other}"),
                ));
            }
        };
    }
    Ok(found)
}
