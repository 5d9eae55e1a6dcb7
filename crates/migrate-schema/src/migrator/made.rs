//! What a script creates, and how much of that a database has.

use crate::catalog::table_columns;
use crate::db::{Backend, Database, DbError};
use crate::quote::TableName;
use crate::script::{Cursor, SqlScript};

/// How much of what a script creates is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// All of it.
    All,
    /// None of it.
    None,
    /// A part.
    Part,
    /// The script creates no table and no column, so that nothing can be looked for.
    Unknown,
}

/// A table or column that a script creates.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Object {
    Table(TableName),
    Column(TableName, String),
}

/// Looks for the tables and columns that a script creates.
///
/// # Errors
/// The database's.
pub(super) async fn look(db: &Database, script: &SqlScript) -> Result<Made, DbError> {
    let (mut there, mut missing) = (0, 0);
    for object in script
        .statements()
        .flat_map(|statement| created(script.backend(), statement.text))
    {
        let found = match &object {
            Object::Table(table) => !table_columns(db, table).await?.is_empty(),
            Object::Column(table, column) => table_columns(db, table)
                .await?
                .iter()
                .any(|one| one.name.eq_ignore_ascii_case(column)),
        };
        if found {
            there += 1;
        } else {
            missing += 1;
        }
    }
    Ok(match (there, missing) {
        (0, 0) => Made::Unknown,
        (_, 0) => Made::All,
        (0, _) => Made::None,
        _ => Made::Part,
    })
}

fn created(backend: Backend, statement: &str) -> Vec<Object> {
    let mut cursor = Cursor::new(backend, statement);
    if cursor.take(&["create"]) {
        cursor.take(&["unlogged"]);
        if !cursor.take(&["table"]) {
            return Vec::new();
        }
        cursor.take(&["if", "not", "exists"]);
        return cursor
            .table(backend)
            .map(Object::Table)
            .into_iter()
            .collect();
    }
    if !cursor.take(&["alter", "table"]) {
        return Vec::new();
    }
    cursor.take(&["if", "exists"]);
    cursor.take(&["only"]);
    let Some(table) = cursor.table(backend) else {
        return Vec::new();
    };
    added(backend, &mut cursor)
        .into_iter()
        .map(|column| Object::Column(table.clone(), column))
        .collect()
}

/// The columns of `ADD a .., ADD COLUMN b ..`.
fn added(backend: Backend, cursor: &mut Cursor<'_>) -> Vec<String> {
    const NO_COLUMN: [&str; 6] = [
        "constraint",
        "primary",
        "unique",
        "foreign",
        "check",
        "exclude",
    ];
    let mut columns = Vec::new();
    loop {
        if cursor.take(&["add"]) {
            let named = cursor.take(&["column"]);
            cursor.take(&["if", "not", "exists"]);
            if named || !NO_COLUMN.iter().any(|word| cursor.take(&[word])) {
                columns.extend(cursor.name(backend));
            }
        }
        if !next_action(cursor) {
            return columns;
        }
    }
}

/// Goes behind the next comma outside parentheses.
fn next_action(cursor: &mut Cursor<'_>) -> bool {
    use crate::script::token::Kind;

    let mut depth = 0_usize;
    while let Some(token) = cursor.peek() {
        cursor.at += 1;
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Sign if depth == 0 && token.text(cursor.text) == "," => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_statement_creates_is_read() {
        let column = |name: &str| Object::Column("t".parse().unwrap(), name.to_owned());
        for (statement, expected) in [
            (
                "create table if not exists t (a int)",
                vec![Object::Table("t".parse().unwrap())],
            ),
            (
                "alter table t add column a numeric(3, 1) default f(1, 2), add b int, \
                 add constraint c check (a > 0), alter column d drop not null",
                vec![column("a"), column("b")],
            ),
            (
                "alter table only t add column if not exists \"A\" int",
                vec![column("A")],
            ),
            ("update t set a = 1", vec![]),
            ("create temporary table t (a int)", vec![]),
        ] {
            assert_eq!(
                created(Backend::Postgres, statement),
                expected,
                "{statement}"
            );
        }
    }
}
