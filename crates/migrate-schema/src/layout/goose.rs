//! goose: `V_name.sql` with `-- +goose Up`, `Down`, `StatementBegin`/`StatementEnd`,
//! `NO TRANSACTION` and `ENVSUB ON`/`OFF`.
//!
//! The statement marks tell goose what our splitter finds by itself, so that they are read and
//! checked, and not needed.

use super::migration::{Migration, Transactions};
use super::plain::{is_sql, named, spaced};
use super::section::Section;
use super::{Reading, SourceFile, markers};

pub(super) fn read(files: &[SourceFile]) -> Reading {
    let mut reading = Reading::default();
    for file in files.iter().filter(|file| is_sql(file)) {
        let Some(named) = named(file) else {
            reading.ignore(file, "its name is not VERSION_name.sql");
            continue;
        };
        match parts(file) {
            Ok(parts) => {
                let name = match named.suffix {
                    "" => spaced(named.name),
                    suffix => format!("{}.{suffix}", spaced(named.name)),
                };
                reading.migrations.push(Migration {
                    down: parts.down,
                    transactions: parts.transactions,
                    down_transactions: parts.transactions,
                    placeholders: parts.placeholders,
                    ..Migration::versioned(named.version, &name, parts.up)
                });
            }
            Err((at, why)) => reading.error(file, at, why),
        }
    }
    reading
}

struct Parts {
    up: Section,
    down: Option<Section>,
    transactions: Transactions,
    placeholders: bool,
}

fn parts(file: &SourceFile) -> Result<Parts, (usize, String)> {
    let text = &file.text;
    let mut up: Option<usize> = None;
    let mut down: Option<(usize, usize)> = None;
    let mut open: Option<usize> = None;
    let mut transactions = Transactions::One;
    let mut placeholders = false;
    for (start, line) in markers::lines(text) {
        let Some(mark) = markers::goose(line.trim_start_matches('\u{feff}')) else {
            continue;
        };
        let after = text[start..]
            .find('\n')
            .map_or(text.len(), |at| start + at + 1);
        match mark.to_ascii_lowercase().as_str() {
            "up" if up.is_none() && down.is_none() => up = Some(after),
            "down" if up.is_some() && down.is_none() => down = Some((start, after)),
            "up" | "down" => return Err((start, format!("a second or misplaced {mark}"))),
            "statementbegin" if open.is_none() => open = Some(start),
            "statementend" if open.is_some() => open = None,
            "statementbegin" => return Err((start, "a StatementBegin inside another".to_owned())),
            "statementend" => return Err((start, "no StatementBegin before it".to_owned())),
            "no transaction" => transactions = Transactions::PerStatement,
            "envsub on" => placeholders = true,
            "envsub off" => {}
            other => return Err((start, format!("{other:?} is no mark of goose"))),
        }
    }
    if let Some(open) = open {
        return Err((open, "this StatementBegin has no StatementEnd".to_owned()));
    }
    let up = up.ok_or_else(|| (0, "there is no line `-- +goose Up`".to_owned()))?;
    let end = down.map_or(text.len(), |(start, _)| start);
    Ok(Parts {
        up: Section::new(file, up..end),
        down: down.map(|(_, after)| Section::new(file, after..text.len())),
        transactions,
        placeholders,
    })
}
