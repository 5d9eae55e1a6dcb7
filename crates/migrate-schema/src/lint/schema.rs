//! The schema as far as the files before, or the database, tell.

use std::collections::{BTreeMap, BTreeSet};

use super::deed::{Action, Column, Constraint, ConstraintKind, Deed, OnDelete, SqlType, key};
use crate::quote::TableName;

/// What is known of the tables.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    tables: BTreeMap<String, Table>,
    /// The table of each index.
    indexes: BTreeMap<String, TableName>,
}

/// What is known of one table.
#[derive(Debug, Clone, Default)]
struct Table {
    columns: BTreeMap<String, KnownColumn>,
    indexes: BTreeSet<String>,
    triggers: BTreeSet<String>,
    /// The tables that it refers to, by the constraint's name where it has one.
    references: Vec<(Option<String>, TableName)>,
    /// Those of them whose deleted rows take its own with them.
    cascading: Vec<TableName>,
    /// Checks by name.
    checks: BTreeMap<String, KnownCheck>,
}

#[derive(Debug, Clone, Default)]
struct KnownColumn {
    data_type: SqlType,
    in_key: bool,
}

#[derive(Debug, Clone)]
struct KnownCheck {
    /// The column of `CHECK (column IS NOT NULL)`.
    not_null: Option<String>,
    valid: bool,
}

impl Schema {
    pub(super) fn has(&self, table: &TableName) -> bool {
        self.tables.contains_key(&key(table))
    }

    /// A column's type; one without a name where it is not known.
    pub(super) fn column_type(&self, table: &TableName, column: &str) -> SqlType {
        self.column(table, column)
            .map(|column| column.data_type.clone())
            .unwrap_or_default()
    }

    /// Whether a column is known to be in a key of its table.
    pub(super) fn is_in_key(&self, table: &TableName, column: &str) -> bool {
        self.column(table, column)
            .is_some_and(|column| column.in_key)
    }

    fn column(&self, table: &TableName, column: &str) -> Option<&KnownColumn> {
        self.tables
            .get(&key(table))?
            .columns
            .get(&column.to_lowercase())
    }

    pub(super) fn table_of_index(&self, index: &TableName) -> Option<TableName> {
        self.indexes.get(&key(index)).cloned()
    }

    /// Whether a check that was validated says that a column has no nulls.
    pub(super) fn is_proven_not_null(&self, table: &TableName, column: &str) -> bool {
        self.tables.get(&key(table)).is_some_and(|table| {
            table
                .checks
                .values()
                .any(|check| check.valid && check.not_null.as_deref() == Some(column))
        })
    }

    /// The table that a foreign key refers to.
    pub(super) fn referenced_by(&self, table: &TableName, constraint: &str) -> Option<TableName> {
        let table = self.tables.get(&key(table))?;
        let (_, to) = table
            .references
            .iter()
            .find(|(name, _)| name.as_deref() == Some(constraint))?;
        Some(to.clone())
    }

    /// The names of a table's indexes and triggers.
    pub(super) fn attached(&self, table: &TableName) -> Vec<(&'static str, String)> {
        let Some(table) = self.tables.get(&key(table)) else {
            return Vec::new();
        };
        let indexes = table.indexes.iter().map(|name| ("index", name.clone()));
        let triggers = table.triggers.iter().map(|name| ("trigger", name.clone()));
        indexes.chain(triggers).collect()
    }

    /// The other tables that refer to one.
    pub(super) fn referring_to(&self, table: &TableName) -> Vec<String> {
        let wanted = key(table);
        self.tables
            .iter()
            .filter(|(name, _)| **name != wanted)
            .filter(|(_, one)| one.references.iter().any(|(_, to)| key(to) == wanted))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The other tables whose rows go with those of one.
    pub(super) fn going_with(&self, table: &TableName) -> Vec<String> {
        let wanted = key(table);
        self.tables
            .iter()
            .filter(|(name, _)| **name != wanted)
            .filter(|(_, one)| one.cascading.iter().any(|to| key(to) == wanted))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The columns that a table is known to have.
    pub(super) fn columns_of(&self, table: &TableName) -> Vec<&str> {
        self.tables
            .get(&key(table))
            .into_iter()
            .flat_map(|known| known.columns.keys().map(String::as_str))
            .collect()
    }

    /// Adds a column that the database has.
    pub(super) fn with_column(&mut self, table: &TableName, column: &str, data_type: SqlType) {
        let columns = &mut self.tables.entry(key(table)).or_default().columns;
        columns.insert(
            column.to_lowercase(),
            KnownColumn {
                data_type,
                in_key: false,
            },
        );
    }

    /// Says of a column that it is in a key of its table.
    pub(super) fn with_key(&mut self, table: &TableName, column: &str) {
        let table = self.tables.entry(key(table)).or_default();
        table
            .columns
            .entry(column.to_lowercase())
            .or_default()
            .in_key = true;
    }

    /// Adds a table that the database has.
    pub(super) fn with_table(&mut self, table: &TableName) {
        self.tables.entry(key(table)).or_default();
    }

    /// Adds a constraint that the database has.
    pub(super) fn with_constraint(&mut self, table: &TableName, constraint: &Constraint) {
        self.constrain(table, constraint);
    }

    /// Adds an index that the database has.
    pub(super) fn with_index(&mut self, table: &TableName, index: &TableName) {
        self.indexes.insert(key(index), table.clone());
        let table = self.tables.entry(key(table)).or_default();
        table.indexes.insert(index.table().to_lowercase());
    }

    /// Adds a trigger that the database has.
    pub(super) fn with_trigger(&mut self, table: &TableName, name: &str) {
        let table = self.tables.entry(key(table)).or_default();
        table.triggers.insert(name.to_lowercase());
    }

    /// Goes on by what a statement does.
    pub(super) fn see(&mut self, deed: &Deed) {
        match deed {
            Deed::CreateTable {
                table,
                columns,
                constraints,
                ..
            } => {
                self.tables.entry(key(table)).or_default();
                for column in columns {
                    self.add_column(table, column);
                }
                for constraint in constraints {
                    self.constrain(table, constraint);
                }
            }
            Deed::AlterTable { table, actions } => {
                for action in actions {
                    self.alter(table, action);
                }
            }
            Deed::DropTable(tables) => {
                for table in tables {
                    self.tables.remove(&key(table));
                }
            }
            Deed::CreateIndex {
                name: Some(name),
                table,
                ..
            } => self.with_index(table, &TableName::new(table.schema(), name)),
            Deed::DropIndex { indexes, .. } => {
                for index in indexes {
                    if let Some(table) = self.indexes.remove(&key(index))
                        && let Some(table) = self.tables.get_mut(&key(&table))
                    {
                        table.indexes.remove(&index.table().to_lowercase());
                    }
                }
            }
            Deed::CreateTrigger { name, table } => self.with_trigger(table, name),
            _ => {}
        }
    }

    fn alter(&mut self, table: &TableName, action: &Action) {
        match action {
            Action::AddColumn { column, .. } => self.add_column(table, column),
            Action::DropColumn(column) => {
                if let Some(table) = self.tables.get_mut(&key(table)) {
                    table.columns.remove(&column.to_lowercase());
                }
            }
            Action::AlterType { column, to, .. } => self.with_column(table, column, to.clone()),
            Action::AddConstraint(constraint) => self.constrain(table, constraint),
            Action::ValidateConstraint(name) => {
                let table = self.tables.get_mut(&key(table));
                if let Some(check) = table.and_then(|table| table.checks.get_mut(name)) {
                    check.valid = true;
                }
            }
            Action::RenameTo(name) => {
                let renamed = TableName::new(table.schema(), name);
                if let Some(known) = self.tables.remove(&key(table)) {
                    for index in self.indexes.values_mut() {
                        if key(index) == key(table) {
                            *index = renamed.clone();
                        }
                    }
                    self.tables.insert(key(&renamed), known);
                }
            }
            _ => {}
        }
    }

    fn add_column(&mut self, table: &TableName, column: &Column) {
        let known = self.tables.entry(key(table)).or_default();
        known.columns.insert(
            column.name.to_lowercase(),
            KnownColumn {
                data_type: column.data_type.clone(),
                in_key: column.key.is_some(),
            },
        );
        if let Some(to) = &column.references {
            known.references.push((None, to.clone()));
            if column.on_delete == OnDelete::Cascade {
                known.cascading.push(to.clone());
            }
        }
    }

    fn constrain(&mut self, table: &TableName, constraint: &Constraint) {
        let known = self.tables.entry(key(table)).or_default();
        match &constraint.kind {
            ConstraintKind::ForeignKey(to) => {
                known.references.push((constraint.name.clone(), to.clone()));
                if OnDelete::of(&constraint.text) == OnDelete::Cascade {
                    known.cascading.push(to.clone());
                }
            }
            ConstraintKind::Check => {
                if let Some(name) = &constraint.name {
                    known.checks.insert(
                        name.clone(),
                        KnownCheck {
                            not_null: not_null_column(&constraint.text),
                            valid: !constraint.not_valid,
                        },
                    );
                }
            }
            _ => {}
        }
    }
}

/// The column of `CHECK (column IS NOT NULL)`.
fn not_null_column(check: &str) -> Option<String> {
    let words: Vec<&str> = check
        .split(|letter: char| letter.is_whitespace() || matches!(letter, '(' | ')'))
        .filter(|word| !word.is_empty())
        .collect();
    match words.as_slice() {
        [check, column, is, not, null, rest @ ..]
            if check.eq_ignore_ascii_case("check")
                && is.eq_ignore_ascii_case("is")
                && not.eq_ignore_ascii_case("not")
                && null.eq_ignore_ascii_case("null")
                && rest.iter().all(|word| {
                    word.eq_ignore_ascii_case("not") || word.eq_ignore_ascii_case("valid")
                }) =>
        {
            Some(column.trim_matches('"').to_owned())
        }
        _ => None,
    }
}
