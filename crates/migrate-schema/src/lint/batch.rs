//! The statements of all files in order, each with the transaction that it runs in: what a
//! statement comes to can depend on another file of the same run.

use std::ops::Range;

use super::deed::{Action, Deed, key};
use super::scene::Read;
use crate::db::Backend;
use crate::layout::{Migration, Section, Transactions};
use crate::quote::TableName;

/// A migration's text, ready to be read.
pub(super) struct Filled<'m> {
    pub(super) migration: &'m Migration,
    pub(super) section: Section,
    pub(super) ranges: Vec<Range<usize>>,
}

impl Filled<'_> {
    /// Whether it is one transaction as a whole.
    pub(super) fn is_whole(&self) -> bool {
        self.migration.transactions == Transactions::One
    }
}

/// Which migrations share a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// All that can be one transaction are one.
    Together,
    /// Each is a run of its own.
    Apart,
}

/// Reads all statements; each file's are a range of them.
pub(super) fn read<'f>(
    backend: Backend,
    files: &'f [Filled<'_>],
    runs: Runs,
) -> (Vec<Read<'f>>, Vec<Range<usize>>) {
    let mut all = Vec::new();
    let mut ranges = Vec::with_capacity(files.len());
    let mut transaction = 0;
    for file in files {
        let start = all.len();
        let whole = file.is_whole();
        if runs == Runs::Apart || !whole {
            transaction += 1;
        }
        let mut own_transaction = false;
        all.extend(file.ranges.iter().map(|range| {
            let text = &file.section.sql()[range.clone()];
            let deed = Deed::of(backend, text);
            match deed {
                Deed::Begin => own_transaction = true,
                Deed::End => own_transaction = false,
                _ => {}
            }
            Read {
                text,
                deed,
                transaction: (whole || own_transaction).then_some(transaction),
                own_transaction: own_transaction && !whole,
            }
        }));
        if !whole {
            transaction += 1;
        }
        ranges.push(start..all.len());
    }
    (all, ranges)
}

/// Where a table's rows were copied to, before it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rebuild<'s> {
    /// The table that takes its name.
    pub(super) copy: &'s TableName,
    /// Which statement copied the rows.
    pub(super) copied: usize,
}

/// The rebuild of a table that a statement drops: before it the rows were copied, by the last
/// statement that did so, into a table that takes the name or is copied back.
pub(super) fn rebuild<'s>(
    all: &'s [Read<'s>],
    dropping: usize,
    table: &TableName,
) -> Option<Rebuild<'s>> {
    let (copied, copy) =
        all[..dropping]
            .iter()
            .enumerate()
            .rev()
            .find_map(|(at, read)| match &read.deed {
                Deed::Insert {
                    table: copy,
                    from: Some(from),
                    ..
                } if key(from) == key(table)
                    // Renamed before the copy was made, it gave its name away.
                    && all.iter().any(|read| takes_name(&read.deed, copy, table)) =>
                {
                    Some((at, copy))
                }
                _ => None,
            })?;
    Some(Rebuild { copy, copied })
}

/// Whether a statement gives a copy the table's name, or copies it back into it.
fn takes_name(deed: &Deed, copy: &TableName, table: &TableName) -> bool {
    match deed {
        Deed::AlterTable {
            table: renamed,
            actions,
        } => {
            key(renamed) == key(copy)
                && actions.iter().any(|action| {
                    matches!(action, Action::RenameTo(name)
                        if name.eq_ignore_ascii_case(table.table()))
                })
        }
        Deed::Insert {
            table: back,
            from: Some(from),
            ..
        } => key(back) == key(table) && key(from) == key(copy),
        _ => false,
    }
}
