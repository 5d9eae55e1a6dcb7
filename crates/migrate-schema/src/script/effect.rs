//! What a statement does, as far as it matters for running and undoing it.

use crate::db::Backend;
use crate::quote::TableName;

use super::cursor::Cursor;
use super::token::Kind;

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

fn alter_table(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    let lenient = cursor.take(&["if", "exists"]);
    cursor.take(&["only"]);
    let table = cursor.table(backend)?;
    if backend == Backend::Postgres || !cursor.take(&["add"]) {
        return Some(Effect::AlterTable((!lenient).then_some(table)));
    }
    cursor.take(&["column"]);
    let column = cursor.name(backend)?;
    Some(Effect::AddColumn {
        table,
        column,
        default: default_value(cursor),
    })
}

/// Looks for `DEFAULT` outside parentheses and at what follows it.
fn default_value(cursor: &Cursor<'_>) -> DefaultValue {
    let mut depth = 0_usize;
    let rest = cursor.rest();
    for (at, token) in rest.iter().enumerate() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Word if depth == 0 && token.is_word(cursor.text, "default") => {
                let now = ["current_timestamp", "current_date", "current_time"];
                let expression = rest.get(at + 1).is_some_and(|value| {
                    value.kind == Kind::Open
                        || now.iter().any(|word| value.is_word(cursor.text, word))
                });
                if expression {
                    return DefaultValue::Expression;
                }
            }
            _ => {}
        }
    }
    DefaultValue::Constant
}

fn create(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    let replaces = cursor.take(&["or", "replace"]);
    if cursor.take_any(&["function", "procedure"]) {
        let name = cursor.table(backend)?;
        return Some(if replaces {
            Effect::ReplaceRoutine(name)
        } else {
            Effect::CreateOther
        });
    }
    let temporary = cursor.take_any(&["temp", "temporary"]);
    cursor.take(&["unlogged"]);
    if cursor.take(&["table"]) {
        if cursor.take(&["if", "not", "exists"]) {
            return Some(Effect::CreateTableIfMissing);
        }
        let name = cursor.table(backend)?;
        return Some(Effect::CreateTable((!temporary).then_some(name)));
    }
    cursor.take(&["unique"]);
    let known = cursor.take_any(&[
        "index",
        "view",
        "trigger",
        "type",
        "domain",
        "sequence",
        "schema",
        "extension",
    ]);
    (known && !replaces).then_some(Effect::CreateOther)
}

fn drop(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    if backend == Backend::Postgres && cursor.take_any(&["function", "procedure", "routine"]) {
        cursor.take(&["if", "exists"]);
        return Some(Effect::DropRoutine {
            signature: routine_signature(cursor)?,
        });
    }
    cursor
        .take_any(&["index", "view", "trigger"])
        .then_some(Effect::DropOther)
}

/// The text of one routine's name and arguments; none if several are named.
fn routine_signature(cursor: &Cursor<'_>) -> Option<String> {
    let rest = cursor.rest();
    let mut depth = 0_usize;
    let mut end = rest.first()?.start;
    for token in rest {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Sign if depth == 0 && token.text(cursor.text) == "," => return None,
            Kind::Word
                if depth == 0
                    && (token.is_word(cursor.text, "cascade")
                        || token.is_word(cursor.text, "restrict")) =>
            {
                break;
            }
            _ => {}
        }
        end = token.end;
    }
    Some(cursor.text[rest[0].start..end].to_owned())
}

fn update(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    cursor.take(&["only"]);
    let table = cursor.table(backend)?;
    if cursor.take(&["as"]) || !cursor.take(&["set"]) {
        return None;
    }
    let mut columns = Vec::new();
    loop {
        columns.push(cursor.name(backend)?);
        if !cursor.take_sign("=") {
            return None;
        }
        let mut depth = 0_usize;
        loop {
            let Some(token) = cursor.peek() else {
                return Some(Effect::Update { table, columns });
            };
            cursor.at += 1;
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.saturating_sub(1),
                Kind::Sign if depth == 0 && token.text(cursor.text) == "," => break,
                Kind::Word
                    if depth == 0
                        && ["where", "from", "returning"]
                            .iter()
                            .any(|word| token.is_word(cursor.text, word)) =>
                {
                    return Some(Effect::Update { table, columns });
                }
                _ => {}
            }
        }
    }
}

fn insert(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    let table = cursor.table(backend)?;
    let upserts = cursor
        .rest()
        .iter()
        .any(|token| token.is_word(cursor.text, "conflict"));
    (!upserts).then_some(Effect::Insert(table))
}

fn pragma(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    let name = cursor.table(backend)?.table().to_lowercase();
    let value = if cursor.take_sign("=") || cursor.take_sign("(") {
        let rest = cursor.rest();
        let value = rest.first().map(|token| token.text(cursor.text));
        Some(value.unwrap_or_default().trim_matches('\'').to_lowercase())
    } else {
        None
    };
    Some(Effect::Pragma { name, value })
}

fn other(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Effect> {
    if cursor.take_any(&["savepoint", "release"])
        || cursor.take(&["rollback", "to"])
        || cursor.take(&["rollback", "work", "to"])
        || cursor.take(&["rollback", "transaction", "to"])
    {
        return Some(Effect::Savepoint);
    }
    if cursor.take_any(&["begin", "commit", "rollback", "end"])
        || (backend == Backend::Postgres
            && (cursor.take(&["abort"])
                || cursor.take(&["start", "transaction"])
                || cursor.take(&["prepare", "transaction"])))
    {
        return Some(Effect::TransactionControl);
    }
    cursor
        .take_any(&[
            "select", "values", "explain", "analyze", "reindex", "comment",
        ])
        .then_some(Effect::Harmless)
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
