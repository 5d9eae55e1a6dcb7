//! The actions of `ALTER TABLE`.

use super::column::{Column, Constraint, skip_one};
use super::types::SqlType;
use crate::db::Backend;
use crate::quote::TableName;
use crate::script::Cursor;
use crate::script::token::{Kind, Token};

/// One action of `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    AddColumn {
        column: Column,
        if_missing: bool,
    },
    DropColumn(String),
    AlterType {
        column: String,
        to: SqlType,
        /// Whether `USING` computes the values, other than by a plain cast.
        using: bool,
    },
    SetNotNull(String),
    DropNotNull(String),
    /// `SET` or `DROP DEFAULT`.
    Default,
    SetStatistics,
    SetStorage,
    /// A computed column gets another expression.
    SetExpression(String),
    AddConstraint(Constraint),
    ValidateConstraint(String),
    DropConstraint,
    AlterConstraint,
    RenameColumn,
    RenameConstraint,
    RenameTo(String),
    SetSchema,
    Attach(TableName),
    Detach {
        partition: TableName,
        concurrently: bool,
    },
    /// `SET (…)` or `RESET (…)`: storage parameters.
    Parameters {
        /// Whether it is `user_catalog_table`.
        catalog: bool,
    },
    EnableTrigger,
    SetLogged,
    SetAccessMethod,
    SetTablespace,
    ClusterOn,
    Inherit(TableName),
    /// What holds the strongest lock for a moment: owner, row security, replica identity, …
    Other,
}

impl Action {
    /// All actions of what is left of an `ALTER TABLE`.
    pub(super) fn read_all(backend: Backend, cursor: &Cursor<'_>) -> Vec<Self> {
        parts(cursor.text, cursor.rest())
            .into_iter()
            .map(|tokens| {
                let mut inner = Cursor::over(cursor.text, tokens);
                read(backend, &mut inner).unwrap_or(Self::Other)
            })
            .collect()
    }
}

/// The pieces between the commas that stand in no parentheses.
pub(super) fn parts<'t>(text: &str, tokens: &'t [Token]) -> Vec<&'t [Token]> {
    let mut found = Vec::new();
    let (mut depth, mut begin) = (0_usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Sign => match token.text(text) {
                "[" => depth += 1,
                "]" => depth = depth.saturating_sub(1),
                "," if depth == 0 => {
                    found.push(&tokens[begin..at]);
                    begin = at + 1;
                }
                _ => {}
            },
            _ => {}
        }
    }
    if begin < tokens.len() {
        found.push(&tokens[begin..]);
    }
    found
}

fn read(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Action> {
    if cursor.take(&["add"]) {
        return added(backend, cursor);
    }
    if cursor.take(&["drop"]) {
        if cursor.take(&["constraint"]) {
            return Some(Action::DropConstraint);
        }
        cursor.take(&["column"]);
        cursor.take(&["if", "exists"]);
        return cursor.name(backend).map(Action::DropColumn);
    }
    if cursor.take(&["alter", "constraint"]) {
        return Some(Action::AlterConstraint);
    }
    if cursor.take(&["alter"]) {
        cursor.take(&["column"]);
        return altered(backend, cursor);
    }
    if cursor.take(&["rename"]) {
        return renamed(backend, cursor);
    }
    if cursor.take(&["validate", "constraint"]) {
        return cursor.name(backend).map(Action::ValidateConstraint);
    }
    partitions(backend, cursor).or_else(|| settings(cursor))
}

fn added(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Action> {
    if let Some(constraint) = Constraint::read(backend, cursor) {
        return Some(Action::AddConstraint(constraint));
    }
    cursor.take(&["column"]);
    let if_missing = cursor.take(&["if", "not", "exists"]);
    Some(Action::AddColumn {
        column: Column::read(backend, cursor)?,
        if_missing,
    })
}

fn altered(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Action> {
    let column = cursor.name(backend)?;
    if cursor.take(&["type"]) || cursor.take(&["set", "data", "type"]) {
        let to = SqlType::read(cursor);
        let using = computes(backend, cursor, &column);
        return Some(Action::AlterType { column, to, using });
    }
    if cursor.take(&["set", "not", "null"]) {
        return Some(Action::SetNotNull(column));
    }
    if cursor.take(&["drop", "not", "null"]) {
        return Some(Action::DropNotNull(column));
    }
    if cursor.take(&["set", "default"]) || cursor.take(&["drop", "default"]) {
        return Some(Action::Default);
    }
    if cursor.take(&["set", "statistics"]) {
        return Some(Action::SetStatistics);
    }
    if cursor.take(&["set", "storage"]) || cursor.take(&["set", "compression"]) {
        return Some(Action::SetStorage);
    }
    if cursor.take(&["set", "expression"]) {
        return Some(Action::SetExpression(column));
    }
    let sets = cursor.take_any(&["set", "reset"]);
    let opens = cursor.peek().is_some_and(|token| token.kind == Kind::Open);
    Some(if sets && opens {
        Action::SetStatistics
    } else {
        Action::Other
    })
}

/// Whether there is a `USING` that is more than `column::type`.
fn computes(backend: Backend, cursor: &mut Cursor<'_>, column: &str) -> bool {
    while cursor.peek().is_some() {
        if cursor.take(&["using"]) {
            let same = cursor.name(backend).is_some_and(|name| name == column);
            return !(same && cursor.take_sign(":"));
        }
        skip_one(cursor);
    }
    false
}

fn renamed(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Action> {
    if cursor.take(&["to"]) {
        return cursor.name(backend).map(Action::RenameTo);
    }
    if cursor.take(&["constraint"]) {
        return Some(Action::RenameConstraint);
    }
    Some(Action::RenameColumn)
}

fn partitions(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Action> {
    if cursor.take(&["attach", "partition"]) {
        return cursor.table(backend).map(Action::Attach);
    }
    if cursor.take(&["detach", "partition"]) {
        let partition = cursor.table(backend)?;
        let concurrently = cursor.take_any(&["concurrently", "finalize"]);
        return Some(Action::Detach {
            partition,
            concurrently,
        });
    }
    if cursor.take(&["inherit"]) {
        return cursor.table(backend).map(Action::Inherit);
    }
    None
}

fn settings(cursor: &mut Cursor<'_>) -> Option<Action> {
    if cursor.take(&["set", "schema"]) {
        return Some(Action::SetSchema);
    }
    if cursor.take(&["set", "logged"]) || cursor.take(&["set", "unlogged"]) {
        return Some(Action::SetLogged);
    }
    if cursor.take(&["set", "access", "method"]) {
        return Some(Action::SetAccessMethod);
    }
    if cursor.take(&["set", "tablespace"]) {
        return Some(Action::SetTablespace);
    }
    if cursor.take(&["cluster", "on"]) || cursor.take(&["set", "without", "cluster"]) {
        return Some(Action::ClusterOn);
    }
    let triggers: &[&[&str]] = &[
        &["enable", "trigger"],
        &["disable", "trigger"],
        &["enable", "always", "trigger"],
        &["enable", "replica", "trigger"],
    ];
    if triggers.iter().any(|words| cursor.take(words)) {
        return Some(Action::EnableTrigger);
    }
    if cursor.take_any(&["set", "reset"]) && cursor.peek()?.kind == Kind::Open {
        let text = cursor.text;
        let catalog = cursor
            .rest()
            .iter()
            .any(|token| token.is_word(text, "user_catalog_table"));
        skip_one(cursor);
        return Some(Action::Parameters { catalog });
    }
    Some(Action::Other)
}
