//! What differs between two catalogs, object by object. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::Snapshot;
use crate::catalog::Catalog;
use crate::db::Backend;

/// How an object differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Both have it, with other definitions.
    Changed,
    /// Both have it, with the same columns in another order.
    Reordered,
}

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectDiff {
    /// The object: `table public.accounts`.
    pub object: String,
    /// How it differs.
    pub change: Change,
    /// Its lines: `-` of the first, `+` of the second, a blank for a line of both.
    pub lines: Vec<String>,
}

/// What differs between two catalogs. Shown object by object, with `-` and `+` lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CatalogDiff {
    /// The objects that differ, by name.
    pub objects: Vec<ObjectDiff>,
}

impl CatalogDiff {
    /// Between two catalogs of one sort of database, as of before and after a migration and
    /// its way back. Owners and the tables of other tools' histories are not compared.
    pub fn between(before: &Catalog, after: &Catalog, backend: Backend) -> Self {
        if before == after {
            return Self::default();
        }
        Self::of(
            &Snapshot::of(before, backend),
            &Snapshot::of(after, backend),
        )
    }

    /// Between two snapshots.
    pub fn of(before: &Snapshot, after: &Snapshot) -> Self {
        let (old, new) = (texts(before), texts(after));
        let names: std::collections::BTreeSet<&str> =
            old.keys().chain(new.keys()).copied().collect();
        let objects = names
            .into_iter()
            .filter_map(|name| object(name, old.get(name), new.get(name)))
            .collect();
        Self { objects }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Whether nothing differs but the order of columns.
    pub fn is_order_only(&self) -> bool {
        self.objects
            .iter()
            .all(|object| object.change == Change::Reordered)
    }
}

/// A block that was written in two parts counts as one.
fn texts(snapshot: &Snapshot) -> BTreeMap<&str, String> {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for block in &snapshot.blocks {
        texts.entry(&block.name).or_default().push_str(&block.sql);
    }
    texts
}

fn object(name: &str, old: Option<&String>, new: Option<&String>) -> Option<ObjectDiff> {
    let change = match (old, new) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        (Some(old), Some(new)) if old == new => return None,
        (Some(old), Some(new)) if sorted(old) == sorted(new) => Change::Reordered,
        _ => Change::Changed,
    };
    let empty = String::new();
    let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
    Some(ObjectDiff {
        object: name.to_owned(),
        change,
        lines: lines(old, new),
    })
}

/// The lines in order of their text, the commas between them aside.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_end_matches(','))
        .collect();
    lines.sort_unstable();
    lines
}

/// The commas between lines of a table are no difference of their lines.
fn lines(old: &str, new: &str) -> Vec<String> {
    let bare = |text: &str| {
        let mut bare = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            bare.push_str(line.trim_end_matches(','));
            bare.push('\n');
        }
        bare
    };
    let (old, new) = (bare(old), bare(new));
    let diff = TextDiff::from_lines(&old, &new);
    let mut out = Vec::new();
    for (number, group) in diff.grouped_ops(1).iter().enumerate() {
        if number > 0 {
            out.push("  …".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            out.push(format!("{sign} {}", change.value().trim_end_matches('\n')));
        }
    }
    out
}

impl fmt::Display for CatalogDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, object) in self.objects.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            let how = match object.change {
                Change::Added => " (new)",
                Change::Removed => " (missing)",
                Change::Changed => "",
                Change::Reordered => " (columns in another order)",
            };
            write!(f, "{}{how}", object.object)?;
            for line in &object.lines {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}
