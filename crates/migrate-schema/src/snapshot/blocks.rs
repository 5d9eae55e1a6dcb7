//! Blocks of SQL, made of a catalog's pieces. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Block;
use crate::catalog::{Address, Part, Piece};
use crate::db::Backend;
use crate::takeover::HISTORY_TABLES;

/// What a catalog's pieces come to.
pub(super) struct Blocks<'p> {
    pub(super) blocks: Vec<Made<'p>>,
    pub(super) left_out: Vec<String>,
}

/// A block in its pieces.
#[derive(Debug, Default)]
pub(super) struct Made<'p> {
    pub(super) name: &'p str,
    pub(super) parent: Option<&'p str>,
    pub(super) addresses: Vec<Address>,
    head: Option<&'p str>,
    tail: Option<&'p str>,
    /// Lines with the default of each, and whether it is a constraint.
    items: Vec<(&'p str, Option<&'p str>, bool)>,
    then: Vec<&'p str>,
    notes: Vec<&'p str>,
}

/// Groups pieces, which come block by block.
pub(super) fn of(pieces: &[Piece], backend: Backend) -> Blocks<'_> {
    let left_out: BTreeSet<&str> = pieces
        .iter()
        .map(|piece| piece.block.as_str())
        .filter(|block| is_history(block))
        .collect();
    let mut blocks: BTreeMap<&str, Made<'_>> = BTreeMap::new();
    for piece in pieces {
        let parent = piece.parent.as_deref();
        if left_out.contains(piece.block.as_str()) || parent.is_some_and(|of| left_out.contains(of))
        {
            continue;
        }
        let made = blocks.entry(&piece.block).or_default();
        made.name = &piece.block;
        made.parent = made.parent.or(parent);
        made.addresses.extend(piece.address);
        made.add(piece);
    }
    if backend == Backend::Postgres && !blocks.contains_key("schema public") {
        let made = blocks.entry("no schema public").or_default();
        made.name = "no schema public";
        made.head = Some("DROP SCHEMA public");
    }
    Blocks {
        blocks: blocks.into_values().filter(Made::is_written).collect(),
        left_out: left_out.into_iter().map(str::to_owned).collect(),
    }
}

fn is_history(block: &str) -> bool {
    block.strip_prefix("table ").is_some_and(|table| {
        let table = table.rsplit('.').next().unwrap_or(table);
        HISTORY_TABLES.contains(&table.trim_matches('"'))
    })
}

impl<'p> Made<'p> {
    fn add(&mut self, piece: &'p Piece) {
        let text = piece.text.as_str();
        match piece.part {
            Part::Head => self.head = Some(text),
            Part::Item => {
                let constraint = piece.name.starts_with("constraint ");
                self.items.push((text, None, constraint));
            }
            Part::Default => {
                if let Some(item) = self.items.last_mut() {
                    item.1 = Some(text);
                }
            }
            Part::Tail => self.tail = Some(text),
            Part::Then => self.then.push(text),
            Part::Note => self.notes.push(text),
            Part::Fact if is_pragma(&piece.name) && text != "0" => self.head = Some(text),
            Part::Fact => {}
        }
    }

    fn is_written(&self) -> bool {
        self.head.is_some_and(|head| !head.is_empty())
            || !self.then.is_empty()
            || !self.notes.is_empty()
    }

    /// Whether it is made by another block: an identity column's sequence by its table.
    #[cfg(feature = "postgres")]
    pub(super) fn is_made_elsewhere(&self) -> bool {
        self.head.is_none_or(str::is_empty)
    }

    /// All of it.
    pub(super) fn whole(&self) -> Block {
        self.written(|_| true)
    }

    #[cfg(feature = "postgres")]
    /// Without defaults and checks, which [`Made::later`] adds.
    pub(super) fn bare(&self) -> Block {
        self.written(|_| false)
    }

    #[cfg(feature = "postgres")]
    /// The defaults and checks of a table that was made bare.
    pub(super) fn later(&self) -> Block {
        let table = self.table();
        let mut sql = String::new();
        for (item, default, constraint) in &self.items {
            if *constraint && is_check(item) {
                statement(&mut sql, &format!("ALTER TABLE {table} ADD {item}"));
            }
            if let Some(default) = default {
                let column = column_of(item);
                statement(
                    &mut sql,
                    &format!(
                        "ALTER TABLE ONLY {table} ALTER COLUMN {column} SET DEFAULT {default}"
                    ),
                );
            }
        }
        Block {
            name: format!("defaults of {}", self.name),
            sql,
        }
    }

    #[cfg(feature = "postgres")]
    fn table(&self) -> &str {
        self.name.strip_prefix("table ").unwrap_or(self.name)
    }

    fn written(&self, soft: impl Fn(&str) -> bool) -> Block {
        let mut sql = String::new();
        for note in &self.notes {
            sql.push_str(&format!("-- {note}\n"));
        }
        if let Some(head) = self.head.filter(|head| !head.is_empty()) {
            let text = match self.tail {
                Some(tail) => format!("{head}{}{tail}", self.lines(soft)),
                None if is_pragma(self.name) => format!("PRAGMA {} = {head}", self.name),
                None => head.to_owned(),
            };
            statement(&mut sql, &text);
        }
        for (at, (item, ..)) in self.items.iter().enumerate() {
            if self.would_merge(at) {
                let table = self.name.strip_prefix("table ").unwrap_or(self.name);
                statement(&mut sql, &format!("ALTER TABLE ONLY {table} ADD {item}"));
            }
        }
        for then in &self.then {
            statement(&mut sql, then);
        }
        Block {
            name: self.name.replace('\n', " "),
            sql,
        }
    }

    /// Whether PostgreSQL would make no constraint of an item: of those on the same columns it
    /// keeps one within a `CREATE TABLE`.
    fn would_merge(&self, at: usize) -> bool {
        let key = |at: usize| {
            let (item, _, constraint) = self.items[at];
            unique_on(item).filter(|_| constraint)
        };
        let Some((kind, columns)) = key(at) else {
            return false;
        };
        kind == "UNIQUE"
            && (0..self.items.len())
                .filter(|other| *other != at)
                .any(|other| {
                    key(other).is_some_and(|(kind, same)| {
                        same == columns && (kind == "PRIMARY KEY" || other < at)
                    })
                })
    }

    fn lines(&self, soft: impl Fn(&str) -> bool) -> String {
        let lines: Vec<String> = self
            .items
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.would_merge(*at))
            .map(|(_, item)| item)
            .filter(|(item, _, constraint)| !(*constraint && is_check(item)) || soft(item))
            .map(|(item, default, _)| match default.filter(|_| soft(item)) {
                Some(default) => format!("    {item} DEFAULT {default}"),
                None => format!("    {item}"),
            })
            .collect();
        if lines.is_empty() {
            String::new()
        } else {
            format!("\n{}\n", lines.join(",\n"))
        }
    }
}

fn statement(sql: &mut String, text: &str) {
    sql.push_str(text.trim_end());
    // A comment at the end of a text that SQLite keeps would swallow the semicolon.
    let last = text.trim_end().rsplit('\n').next().unwrap_or_default();
    sql.push_str(if last.contains("--") { "\n;\n" } else { ";\n" });
}

fn is_pragma(name: &str) -> bool {
    matches!(name, "user_version" | "application_id")
}

fn is_check(item: &str) -> bool {
    let name = column_of(item.strip_prefix("CONSTRAINT ").unwrap_or(item));
    item["CONSTRAINT ".len() + name.len()..]
        .trim_start()
        .starts_with("CHECK")
}

/// What a key is on: the sort of key, and the rest of its text.
fn unique_on(item: &str) -> Option<(&'static str, &str)> {
    let name = column_of(item.strip_prefix("CONSTRAINT ")?);
    let rest = item["CONSTRAINT ".len() + name.len()..].trim_start();
    ["UNIQUE", "PRIMARY KEY"]
        .into_iter()
        .find_map(|kind| Some((kind, rest.strip_prefix(kind)?.trim())))
}

/// The first name of a line, with its quotes.
fn column_of(item: &str) -> &str {
    if !item.starts_with('"') {
        return item.split(' ').next().unwrap_or(item);
    }
    let mut at = 1;
    while let Some(quote) = item[at..].find('"') {
        at += quote + 1;
        if !item[at..].starts_with('"') {
            break;
        }
        at += 1;
    }
    &item[..at]
}
