//! A whole set of migrations, looked at in order.

use std::collections::BTreeSet;
use std::ops::Range;

use super::deed::{Action, Deed, key};
use super::known::Known;
use super::lock::{LockMode, TableLock, locks};
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
    let mut walk = Walk {
        set,
        chosen,
        known,
        levels,
        placeholders,
        squawk: Squawk::new(levels, known.major),
        downs_used: set.migrations.iter().any(|one| one.down.is_some()),
        // A migration that ran long ago is looked at as if the tables were as it found them.
        schema: match chosen {
            Chosen::Pending(_) => known.schema.clone(),
            Chosen::All | Chosen::Files(_) => Schema::default(),
        },
        fresh: BTreeSet::new(),
        held: Vec::new(),
        transaction: 0,
        report: Report::default(),
    };
    for migration in &set.migrations {
        walk.migration(migration);
    }
    walk.report
}

struct Walk<'w> {
    set: &'w MigrationSet,
    chosen: &'w Chosen,
    known: &'w Known,
    levels: &'w Levels,
    placeholders: &'w Placeholders,
    squawk: Squawk,
    downs_used: bool,
    schema: Schema,
    fresh: BTreeSet<String>,
    held: Vec<Held>,
    transaction: u32,
    report: Report,
}

impl Walk<'_> {
    fn migration(&mut self, migration: &Migration) {
        let wanted = self.chosen.has(migration);
        let together = matches!(self.chosen, Chosen::Pending(_));
        if together && !wanted {
            // The live database tells what came of it.
            return;
        }
        let filled = self
            .placeholders
            .fill(self.set.layout, migration, &migration.up);
        let section = filled.unwrap_or_else(|_| migration.up.clone());
        let ranges = split(self.set.backend, section.sql());
        let whole = migration.transactions == Transactions::One;
        if !together || !whole {
            self.transaction += 1;
            self.held.clear();
        }
        if !together {
            self.fresh.clear();
        }
        let all = self.read(&section, &ranges, whole);
        if wanted {
            self.look(migration, &section, &ranges, &all);
        } else {
            for read in &all {
                self.schema.see(&read.deed);
            }
        }
        if !whole {
            self.transaction += 1;
            self.held.clear();
        }
    }

    fn read<'s>(
        &self,
        section: &'s Section,
        ranges: &[Range<usize>],
        whole: bool,
    ) -> Vec<Read<'s>> {
        let mut own_transaction = false;
        ranges
            .iter()
            .map(|range| {
                let text = &section.sql()[range.clone()];
                let deed = Deed::of(self.set.backend, text);
                match deed {
                    Deed::Begin => own_transaction = true,
                    Deed::End => own_transaction = false,
                    _ => {}
                }
                Read {
                    text,
                    deed,
                    transaction: (whole || own_transaction).then_some(self.transaction),
                    own_transaction: own_transaction && !whole,
                }
            })
            .collect()
    }

    fn look(
        &mut self,
        migration: &Migration,
        section: &Section,
        ranges: &[Range<usize>],
        all: &[Read<'_>],
    ) {
        self.report.migrations += 1;
        self.report.statements += all.len();
        let mut found: Vec<(usize, Found)> = Vec::new();
        let mut fresh_tables: Vec<bool> = Vec::with_capacity(all.len());
        let mut told_of_held = false;
        for at in 0..all.len() {
            let mut said = self.statement(section, ranges, all, at);
            // Once is enough: the way out is the same for all that follow.
            said.retain(|one| {
                one.rule != "lock-held" || !std::mem::replace(&mut told_of_held, true)
            });
            found.extend(said.into_iter().map(|one| (at, one)));
            fresh_tables.push(self.is_on_fresh(&all[at].deed));
            self.go_on(&all[at].deed);
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

    fn statement(
        &mut self,
        section: &Section,
        ranges: &[Range<usize>],
        all: &[Read<'_>],
        at: usize,
    ) -> Vec<Found> {
        let taken = match self.set.backend {
            Backend::Postgres => locks(&all[at].deed, &self.schema),
            Backend::Sqlite => Vec::new(),
        };
        let scene = Scene {
            known: self.known,
            schema: &self.schema,
            fresh: &self.fresh,
            held: &self.held,
            all,
            at,
            locks: &taken,
        };
        let found = rules::look(&scene);
        let mut on_others: Vec<TableLock> = taken
            .into_iter()
            .filter(|lock| !self.fresh.contains(&key(&lock.table)))
            .collect();
        on_others.sort_by_key(|lock| std::cmp::Reverse(lock.mode));
        let place = section.place(ranges[at].start);
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
    fn go_on(&mut self, deed: &Deed) {
        match deed {
            Deed::CreateTable { table, .. } if !self.schema.has(table) => {
                self.fresh.insert(key(table));
            }
            Deed::AlterTable { table, actions } if self.fresh.contains(&key(table)) => {
                for action in actions {
                    if let Action::RenameTo(name) = action {
                        let renamed = TableName::new(table.schema(), name);
                        self.fresh.insert(key(&renamed));
                    }
                }
            }
            _ => {}
        }
        self.schema.see(deed);
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
