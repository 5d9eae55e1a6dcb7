//! What a statement does, as far as it matters for running and undoing it.

mod definition;
mod rows;

use definition::{alter_table, create, drop};
use rows::{insert, other, pragma, update};

use super::cursor::Cursor;
use crate::db::Backend;
use crate::quote::TableName;

/// What a statement does, read from its first tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Begins or ends a transaction, which a script run in one must not do.
    TransactionControl,
    /// `SAVEPOINT`, `RELEASE`, `ROLLBACK TO`: fine inside a transaction.
    Savepoint,
    /// `PRAGMA name…` (SQLite); the name in small letters and whether it sets something.
    Pragma { name: String, value: Option<String> },
    /// `ALTER TABLE table ADD COLUMN column …`, and whether its default is an expression.
    AddColumn {
        table: TableName,
        column: String,
        default: DefaultValue,
    },
    /// `ALTER TABLE table`, anything else; no name if it says `IF EXISTS`.
    AlterTable(Option<TableName>),
    /// `CREATE TABLE`; no name for a temporary one.
    CreateTable(Option<TableName>),
    /// `CREATE TABLE IF NOT EXISTS`: the table may have been there.
    CreateTableIfMissing,
    /// Creates something that holds no rows of its own: index, view, trigger, function, type.
    CreateOther,
    /// `CREATE OR REPLACE FUNCTION` or `PROCEDURE`, which can replace one that was there.
    ReplaceRoutine(TableName),
    /// `DROP FUNCTION|PROCEDURE [IF EXISTS] signature`, one routine: its signature as it stands.
    DropRoutine { signature: String },
    /// Drops something that holds no rows of its own.
    DropOther,
    /// `UPDATE table SET columns`.
    Update {
        table: TableName,
        columns: Vec<String>,
    },
    /// `INSERT INTO table`, without `REPLACE` and without an upsert.
    Insert(TableName),
    /// `SELECT`, `VALUES`, `EXPLAIN`, `ANALYZE`, `REINDEX`, `COMMENT`.
    Harmless,
    /// Anything else; its change can't be taken back by looking at the catalog.
    Other,
}

/// The default of a column that is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultValue {
    /// None, or a literal.
    Constant,
    /// `CURRENT_TIMESTAMP` and its kin, or an expression in parentheses.
    Expression,
}

impl Effect {
    pub(crate) fn of(backend: Backend, text: &str) -> Self {
        let mut cursor = Cursor::new(backend, text);
        let effect = if cursor.take(&["alter", "table"]) {
            alter_table(backend, &mut cursor)
        } else if cursor.take(&["create"]) {
            create(backend, &mut cursor)
        } else if cursor.take(&["drop"]) {
            drop(backend, &mut cursor)
        } else if cursor.take(&["update"]) {
            update(backend, &mut cursor)
        } else if cursor.take(&["insert", "into"]) {
            insert(backend, &mut cursor)
        } else if backend == Backend::Sqlite && cursor.take(&["pragma"]) {
            pragma(backend, &mut cursor)
        } else {
            other(backend, &mut cursor)
        };
        effect.unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(text: &str) -> Effect {
        Effect::of(Backend::Sqlite, text)
    }

    fn postgres(text: &str) -> Effect {
        Effect::of(Backend::Postgres, text)
    }

    fn table(name: &str) -> TableName {
        name.parse().unwrap()
    }

    #[test]
    fn a_default_that_sqlite_can_not_add_is_seen() {
        for (text, default) in [
            ("alter table t add c", DefaultValue::Constant),
            (
                "alter table t add column c int default 3",
                DefaultValue::Constant,
            ),
            ("alter table t add c default -1", DefaultValue::Constant),
            (
                "alter table t add c text default 'current_timestamp'",
                DefaultValue::Constant,
            ),
            (
                "ALTER TABLE t ADD c TEXT DEFAULT CURRENT_TIMESTAMP",
                DefaultValue::Expression,
            ),
            (
                "alter table t add c default/**/(1+1) not null",
                DefaultValue::Expression,
            ),
            (
                "alter table t add c check (c > (default)) default current_date",
                DefaultValue::Expression,
            ),
        ] {
            let expected = Effect::AddColumn {
                table: table("t"),
                column: "c".to_owned(),
                default,
            };
            assert_eq!(sqlite(text), expected, "{text}");
        }
        let quoted = sqlite("alter table main.[my t] add \"a\"\"b\" default (1)");
        let Effect::AddColumn { table, column, .. } = quoted else {
            panic!("{quoted:?}");
        };
        assert_eq!(
            (table.sql().as_str(), column.as_str()),
            ("\"main\".\"my t\"", "a\"b")
        );
    }

    #[test]
    fn updates_name_the_columns_they_set() {
        assert_eq!(
            sqlite("update t set a = (select 1, 2), [b] = f(x, ',') where c = 1"),
            Effect::Update {
                table: table("t"),
                columns: vec!["a".to_owned(), "b".to_owned()],
            }
        );
        assert_eq!(sqlite("update t set (a, b) = (1, 2)"), Effect::Other);
        assert_eq!(sqlite("update or replace t set a = 1"), Effect::Other);
        assert_eq!(sqlite("update t as x set a = 1"), Effect::Other);
    }

    #[test]
    fn other_statements_are_told_apart() {
        for (text, expected) in [
            ("begin", Effect::TransactionControl),
            ("BEGIN IMMEDIATE", Effect::TransactionControl),
            ("end transaction", Effect::TransactionControl),
            ("rollback", Effect::TransactionControl),
            ("rollback to x", Effect::Savepoint),
            (
                "create table if not exists t (a)",
                Effect::CreateTableIfMissing,
            ),
            ("create table t (a)", Effect::CreateTable(Some(table("t")))),
            ("create temp table t as select 1", Effect::CreateTable(None)),
            ("create unique index i on t (a)", Effect::CreateOther),
            ("drop index i", Effect::DropOther),
            ("drop table t", Effect::Other),
            (
                "alter table t drop column c",
                Effect::AlterTable(Some(table("t"))),
            ),
            (
                "alter table t rename to u",
                Effect::AlterTable(Some(table("t"))),
            ),
            ("delete from t", Effect::Other),
            ("insert into t values (1)", Effect::Insert(table("t"))),
            (
                "insert into t values (1) on conflict do nothing",
                Effect::Other,
            ),
            ("insert or replace into t values (1)", Effect::Other),
            ("replace into t values (1)", Effect::Other),
            ("select 1", Effect::Harmless),
            (
                "PRAGMA main.Foreign_Keys = OFF",
                Effect::Pragma {
                    name: "foreign_keys".to_owned(),
                    value: Some("off".to_owned()),
                },
            ),
            (
                "pragma integrity_check",
                Effect::Pragma {
                    name: "integrity_check".to_owned(),
                    value: None,
                },
            ),
        ] {
            assert_eq!(sqlite(text), expected, "{text}");
        }
    }

    #[test]
    fn routines_that_are_replaced_or_dropped_are_named() {
        assert_eq!(
            postgres("CREATE OR REPLACE FUNCTION S.\"F x\"() returns int"),
            Effect::ReplaceRoutine(TableName::new(Some("s"), "F x"))
        );
        for (text, signature) in [
            ("drop function f()", "f()"),
            (
                "drop function if exists s.f(int, numeric(3,1)) cascade",
                "s.f(int, numeric(3,1))",
            ),
            ("drop procedure p restrict", "p"),
        ] {
            assert_eq!(
                postgres(text),
                Effect::DropRoutine {
                    signature: signature.to_owned()
                }
            );
        }
        assert_eq!(
            postgres("ALTER TABLE only S.T add c int"),
            Effect::AlterTable(Some(table("s.t")))
        );
        assert_eq!(
            postgres("alter table if exists t add c int"),
            Effect::AlterTable(None)
        );
        assert_eq!(postgres("drop function f(), g()"), Effect::Other);
        assert_eq!(
            postgres("create or replace view v as select 1"),
            Effect::Other
        );
        assert_eq!(postgres("start transaction"), Effect::TransactionControl);
        assert_eq!(postgres("prepare x as select 1"), Effect::Other);
    }
}
