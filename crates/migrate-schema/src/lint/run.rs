//! A whole set of migrations, looked at in order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::batch::{self, Filled, Runs};
use super::deed::{Action, Deed, key};
use super::known::Known;
use super::lock::{self, LockMode, TableLock};
use super::report::{LintFinding, Report, StatementLocks};
use super::rule::{Level, Levels};
use super::rules::{self, Downs};
use super::scene::{Found, Held, Read, Scene};
use super::schema::Schema;
use super::squawk::{InTransaction, Squawk};
use crate::apply::script::Script;
use crate::db::Backend;
use crate::layout::{Migration, MigrationSet, Placeholders, Section, Transactions};
use crate::quote::TableName;
use crate::script::split;

/// Which migrations are looked at.
#[derive(Debug, Clone)]
pub enum Chosen {
    /// All; each is taken for a run of its own, after all before it.
    All,
    /// Those of these files, each for itself.
    Files(BTreeSet<String>),
    /// Those of these keys, which run as one batch on the database that is known.
    Pending(BTreeSet<String>),
}

impl Chosen {
    fn has(&self, migration: &Migration) -> bool {
        match self {
            Self::All => true,
            Self::Files(files) => files.contains(migration.up.file()),
            Self::Pending(keys) => keys.contains(&migration.key()),
        }
    }
}

/// Looks at migrations. Pure: the same set and knowledge give the same report.
pub fn lint(
    set: &MigrationSet,
    chosen: &Chosen,
    known: &Known,
    levels: &Levels,
    placeholders: &Placeholders,
) -> Report {
    let runs = match chosen {
        Chosen::Pending(_) => Runs::Together,
        Chosen::All | Chosen::Files(_) => Runs::Apart,
    };
    let files: Vec<Filled<'_>> = set
        .migrations
        .iter()
        // The live database tells what came of those that ran.
        .filter(|one| runs == Runs::Apart || chosen.has(one))
        .map(|one| {
            let filled = placeholders.fill(set.layout, one, &one.up);
            let section = filled.unwrap_or_else(|_| one.up.clone());
            let ranges = split(set.backend, section.sql());
            Filled {
                migration: one,
                section,
                ranges,
            }
        })
        .collect();
    let (batch, places) = batch::read(set.backend, &files, runs);
    let mut walk = Walk {
        set,
        known,
        levels,
        batch: &batch,
        squawk: Squawk::new(levels, known.major),
        downs_used: set.migrations.iter().any(|one| one.down.is_some()),
        // A migration that ran long ago is looked at as if the tables were as it found them.
        schema: match runs {
            Runs::Together => known.schema.clone(),
            Runs::Apart => Schema::default(),
        },
        fresh: BTreeSet::new(),
        taken: BTreeMap::new(),
        gone: BTreeSet::new(),
        held: Vec::new(),
        report: Report::default(),
    };
    for (file, place) in files.iter().zip(places) {
        if runs == Runs::Apart {
            walk.fresh.clear();
            walk.gone.clear();
            walk.taken.clear();
        }
        if chosen.has(file.migration) {
            walk.look(file, place);
        } else {
            for read in &batch[place] {
                walk.schema.see(&read.deed);
            }
        }
    }
    walk.report
}

struct Walk<'w> {
    set: &'w MigrationSet,
    known: &'w Known,
    levels: &'w Levels,
    batch: &'w [Read<'w>],
    squawk: Squawk,
    downs_used: bool,
    schema: Schema,
    fresh: BTreeSet<String>,
    taken: BTreeMap<String, Option<u32>>,
    /// Tables that were there and are dropped or have another name.
    gone: BTreeSet<String>,
    held: Vec<Held>,
    report: Report,
}

impl Walk<'_> {
    fn look(&mut self, file: &Filled<'_>, place: Range<usize>) {
        let Filled {
            migration,
            section,
            ranges,
        } = file;
        let all = &self.batch[place.clone()];
        self.report.migrations += 1;
        self.report.statements += all.len();
        let mut found: Vec<(usize, Found)> = Vec::new();
        let mut fresh_tables: Vec<bool> = Vec::with_capacity(all.len());
        let mut told_of_held = false;
        for (at, read) in all.iter().enumerate() {
            self.enter(read.transaction);
            let mut said = self.statement(file, &place, at);
            // Once is enough: the way out is the same for all that follow.
            said.retain(|one| {
                one.rule != "lock-held" || !std::mem::replace(&mut told_of_held, true)
            });
            found.extend(said.into_iter().map(|one| (at, one)));
            fresh_tables.push(self.is_on_fresh(&read.deed));
            self.go_on(read);
        }
        let losing: Vec<usize> = found
            .iter()
            .filter(|(_, one)| rules::loses(one.rule) && one.level > Level::Note)
            .map(|(at, _)| *at)
            .collect();
        found.extend(rules::downs(self.downs(migration), all, &losing));
        found.extend(self.squawk(migration, section, ranges, &fresh_tables));
        self.report
            .take(self.set.backend, self.levels, section, ranges, found);
        self.refused(migration, section);
    }

    /// What was true within the transaction before is so no longer.
    fn enter(&mut self, transaction: Option<u32>) {
        self.held
            .retain(|held| Some(held.transaction) == transaction);
        let fresh = &mut self.fresh;
        self.taken.retain(|table, by| {
            let stays = by.is_some() && *by == transaction;
            if !stays {
                fresh.remove(table);
            }
            stays
        });
    }

    fn statement(&mut self, file: &Filled<'_>, place: &Range<usize>, at: usize) -> Vec<Found> {
        let all = &self.batch[place.clone()];
        let locks = match self.set.backend {
            Backend::Postgres => lock::locks(&all[at].deed, &self.schema),
            Backend::Sqlite => Vec::new(),
        };
        let scene = Scene {
            known: self.known,
            layout: self.set.layout,
            schema: &self.schema,
            fresh: &self.fresh,
            taken: &self.taken,
            held: &self.held,
            batch: self.batch,
            start: place.start,
            all,
            at,
            locks: &locks,
        };
        let found = rules::look(&scene);
        let mut on_others: Vec<TableLock> = locks
            .into_iter()
            .filter(|lock| !self.fresh.contains(&key(&lock.table)))
            .collect();
        on_others.sort_by_key(|lock| std::cmp::Reverse(lock.mode));
        let place = file.section.place(file.ranges[at].start);
        if let Some(transaction) = all[at].transaction {
            for lock in &on_others {
                if lock.mode >= LockMode::ShareRowExclusive {
                    self.held.push(Held {
                        table: lock.table.clone(),
                        mode: lock.mode,
                        transaction,
                        since: format!("{}:{}", place.file, place.line),
                    });
                }
            }
        }
        if !on_others.is_empty() {
            self.report.locks.push(StatementLocks {
                place,
                locks: on_others,
            });
        }
        found
    }

    /// Goes on to the next statement.
    fn go_on(&mut self, read: &Read<'_>) {
        match &read.deed {
            Deed::CreateTable { table, .. } if !self.schema.has(table) => {
                self.fresh.insert(key(table));
            }
            Deed::DropTable(tables) => {
                for table in tables {
                    self.leaves(table);
                }
            }
            Deed::AlterTable { table, actions } => {
                for action in actions {
                    if let Action::RenameTo(name) = action {
                        self.rename(table, name, read.transaction);
                    }
                }
            }
            _ => {}
        }
        self.schema.see(&read.deed);
    }

    fn leaves(&mut self, table: &TableName) {
        if !self.fresh.remove(&key(table)) {
            self.gone.insert(key(table));
        }
        self.taken.remove(&key(table));
    }

    fn rename(&mut self, table: &TableName, name: &str, transaction: Option<u32>) {
        let renamed = key(&TableName::new(table.schema(), name));
        if !self.fresh.contains(&key(table)) {
            self.gone.insert(key(table));
            return;
        }
        self.leaves(table);
        // Others know a table of this name, and the rows may be theirs.
        if self.gone.contains(&renamed) {
            self.taken.insert(renamed.clone(), transaction);
        }
        self.fresh.insert(renamed);
    }

    fn is_on_fresh(&self, deed: &Deed) -> bool {
        match deed {
            Deed::AlterTable { table, .. }
            | Deed::CreateIndex { table, .. }
            | Deed::Update { table, .. } => self.fresh.contains(&key(table)),
            _ => false,
        }
    }

    fn downs(&self, migration: &Migration) -> Downs {
        match &migration.down {
            _ if migration.version.is_none() => Downs::NotForThis,
            Some(down) if split(self.set.backend, down.sql()).is_empty() => Downs::Empty,
            Some(_) => Downs::There,
            None if self.downs_used => Downs::Missing,
            None => Downs::NotUsed,
        }
    }

    /// squawk's findings, without those about tables that nobody uses yet.
    fn squawk(
        &self,
        migration: &Migration,
        section: &Section,
        ranges: &[Range<usize>],
        fresh: &[bool],
    ) -> Vec<(usize, Found)> {
        if self.set.backend == Backend::Sqlite {
            return Vec::new();
        }
        let inside = match migration.transactions {
            Transactions::One => InTransaction::Yes,
            Transactions::PerStatement => InTransaction::No,
        };
        let said = self.squawk.look(section.sql(), ranges, inside);
        said.into_iter()
            .filter(|said| {
                let about_form = said.rule.name.starts_with("prefer-")
                    || matches!(said.rule.name, "ban-char-field" | "identifier-too-long");
                about_form || !fresh.get(said.statement).is_some_and(|fresh| *fresh)
            })
            .map(|said| {
                let mut found = Found::new(said.rule.name, said.level, said.message);
                found.instead = said.help.map(|help| format!("-- {help}"));
                (said.statement, found)
            })
            .collect()
    }

    /// What `schema apply` would refuse before it runs anything.
    fn refused(&mut self, migration: &Migration, section: &Section) {
        let prepared = Script::prepare(
            section,
            migration.transactions,
            self.set.backend,
            self.set.layout,
        );
        for finding in prepared.err().into_iter().flatten() {
            let Some(level) = self.levels.of("cannot-run", Level::Error) else {
                continue;
            };
            self.report.findings.push(LintFinding {
                rule: "cannot-run",
                level,
                place: finding.place.unwrap_or_else(|| section.place(0)),
                message: finding.message,
                instead: finding.hint.map(|hint| format!("-- {hint}")),
            });
        }
    }
}
