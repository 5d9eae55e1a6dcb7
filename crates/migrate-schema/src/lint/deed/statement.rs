//! The head of a statement.

use super::alter::parts;
use super::column::{Column, Constraint, skip_one};
use super::upkeep::upkeep;
use super::{Action, Deed, OnTable, Rows};
use crate::db::Backend;
use crate::quote::TableName;
use crate::script::Cursor;
use crate::script::token::Kind;

pub(super) fn read(backend: Backend, text: &str) -> Option<Deed> {
    let mut cursor = Cursor::new(backend, text);
    let cursor = &mut cursor;
    let first = cursor.peek()?;
    cursor.at += 1;
    match first.text(text).to_ascii_lowercase().as_str() {
        "create" => created(backend, cursor),
        "alter" => altered(backend, cursor),
        "drop" => dropped(backend, cursor),
        "truncate" => {
            cursor.take(&["table"]);
            Some(Deed::Truncate(tables(backend, cursor)))
        }
        "insert" => inserted(backend, cursor),
        "update" => {
            cursor.take(&["only"]);
            let table = cursor.table(backend)?;
            Some(Deed::Update {
                rows: rows(cursor),
                table,
            })
        }
        "delete" => {
            cursor.take(&["from"]);
            cursor.take(&["only"]);
            let table = cursor.table(backend)?;
            Some(Deed::Delete {
                rows: rows(cursor),
                table,
            })
        }
        "begin" | "start" => Some(Deed::Begin),
        "commit" | "end" | "rollback" => Some(Deed::End),
        "pragma" if backend == Backend::Sqlite => pragma(cursor),
        _ if backend == Backend::Postgres => upkeep(cursor, first.text(text)),
        _ => None,
    }
}

/// Names with commas between them, `ONLY` and `*` left out.
pub(super) fn tables(backend: Backend, cursor: &mut Cursor<'_>) -> Vec<TableName> {
    let mut found = Vec::new();
    loop {
        cursor.take(&["only"]);
        match cursor.table(backend) {
            Some(table) => found.push(table),
            None => return found,
        }
        cursor.take_sign("*");
        if !cursor.take_sign(",") {
            return found;
        }
    }
}

fn rows(cursor: &Cursor<'_>) -> Rows {
    let mut depth = 0_usize;
    for token in cursor.rest() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Word
                if depth == 0
                    && ["where", "using", "from", "limit"]
                        .iter()
                        .any(|word| token.is_word(cursor.text, word)) =>
            {
                return Rows::Some;
            }
            _ => {}
        }
    }
    Rows::All
}

fn created(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Deed> {
    cursor.take(&["or", "replace"]);
    cursor.take_any(&["global", "local"]);
    let temporary = cursor.take_any(&["temp", "temporary"]);
    cursor.take(&["unlogged"]);
    if cursor.take(&["table"]) {
        cursor.take(&["if", "not", "exists"]);
        let table = cursor.table(backend)?;
        return Some(table_created(backend, cursor, table, temporary));
    }
    cursor.take(&["unique"]);
    if cursor.take(&["index"]) {
        return index_created(backend, cursor);
    }
    cursor.take(&["constraint"]);
    if cursor.take(&["trigger"]) {
        cursor.take(&["if", "not", "exists"]);
        let name = cursor.name(backend)?;
        let table = on_table(backend, cursor)?;
        return Some(Deed::CreateTrigger { name, table });
    }
    if backend == Backend::Sqlite {
        return None;
    }
    if cursor.take(&["policy"]) {
        let table = on_table(backend, cursor)?;
        return Some(Deed::OnTable {
            table,
            takes: OnTable::Policy,
        });
    }
    if cursor.take(&["rule"]) {
        while cursor.peek().is_some() {
            if cursor.take(&["to"]) {
                let table = cursor.table(backend)?;
                return Some(Deed::OnTable {
                    table,
                    takes: OnTable::Rule,
                });
            }
            cursor.at += 1;
        }
        return None;
    }
    if cursor.take(&["statistics"]) {
        while cursor.peek().is_some() && !cursor.take(&["from"]) {
            skip_one(cursor);
        }
        let table = cursor.table(backend)?;
        return Some(Deed::OnTable {
            table,
            takes: OnTable::Statistics,
        });
    }
    None
}

/// The table after `ON`.
fn on_table(backend: Backend, cursor: &mut Cursor<'_>) -> Option<TableName> {
    while cursor.peek().is_some() {
        if cursor.take(&["on"]) {
            cursor.take(&["only"]);
            return cursor.table(backend);
        }
        cursor.at += 1;
    }
    None
}

fn index_created(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Deed> {
    let concurrently = cursor.take(&["concurrently"]);
    cursor.take(&["if", "not", "exists"]);
    let named = cursor
        .peek()
        .is_some_and(|token| !token.is_word(cursor.text, "on"));
    let name = if named {
        cursor.table(backend).map(|name| name.table().to_owned())
    } else {
        None
    };
    let table = on_table(backend, cursor)?;
    Some(Deed::CreateIndex {
        name,
        table,
        concurrently,
    })
}

fn table_created(
    backend: Backend,
    cursor: &mut Cursor<'_>,
    table: TableName,
    temporary: bool,
) -> Deed {
    let partition_of = if cursor.take(&["partition", "of"]) {
        cursor.table(backend)
    } else {
        None
    };
    let (mut columns, mut constraints) = (Vec::new(), Vec::new());
    if cursor.peek().is_some_and(|token| token.kind == Kind::Open) {
        let begin = cursor.at;
        skip_one(cursor);
        let end = cursor.at;
        cursor.at = begin;
        let inside = cursor.rest();
        let inside = inside
            .get(1..(end - begin).saturating_sub(1))
            .unwrap_or(&[]);
        for part in parts(cursor.text, inside) {
            let mut one = Cursor::over(cursor.text, part);
            if let Some(constraint) = Constraint::read(backend, &mut one) {
                constraints.push(constraint);
            } else if !one.take(&["like"])
                && let Some(column) = Column::read(backend, &mut one)
            {
                columns.push(column);
            }
        }
    }
    Deed::CreateTable {
        table,
        temporary,
        columns,
        constraints,
        partition_of,
    }
}

fn altered(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Deed> {
    if cursor.take(&["table"]) {
        cursor.take(&["if", "exists"]);
        if cursor.take(&["all", "in", "tablespace"]) {
            return None;
        }
        cursor.take(&["only"]);
        let table = cursor.table(backend)?;
        cursor.take_sign("*");
        return Some(Deed::AlterTable {
            table,
            actions: Action::read_all(backend, cursor),
        });
    }
    if cursor.take(&["index"]) {
        cursor.take(&["if", "exists"]);
        return cursor.table(backend).map(Deed::AlterIndex);
    }
    if cursor.take(&["policy"]) {
        return Some(Deed::OnTable {
            table: on_table(backend, cursor)?,
            takes: OnTable::Policy,
        });
    }
    if cursor.take(&["type"]) {
        cursor.table(backend)?;
        return cursor.take(&["add", "value"]).then_some(Deed::AddEnumValue);
    }
    None
}

fn dropped(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Deed> {
    let cascades = {
        let text = cursor.text;
        cursor
            .rest()
            .iter()
            .any(|token| token.is_word(text, "cascade"))
    };
    let lenient = |cursor: &mut Cursor<'_>| cursor.take(&["if", "exists"]);
    if cursor.take(&["table"]) {
        lenient(cursor);
        return Some(Deed::DropTable(tables(backend, cursor)));
    }
    if cursor.take(&["index"]) {
        let concurrently = cursor.take(&["concurrently"]);
        lenient(cursor);
        return Some(Deed::DropIndex {
            indexes: tables(backend, cursor),
            concurrently,
        });
    }
    if cursor.take(&["materialized", "view"]) {
        lenient(cursor);
        return Some(Deed::DropMaterializedView(tables(backend, cursor)));
    }
    if backend == Backend::Sqlite {
        return None;
    }
    if cursor.take(&["schema"]) {
        return Some(Deed::DropSchema { cascade: cascades });
    }
    if cursor.take(&["database"]) {
        return Some(Deed::DropDatabase);
    }
    if let Some(takes) = [
        ("policy", OnTable::Policy),
        ("trigger", OnTable::DropTrigger),
        ("rule", OnTable::Rule),
    ]
    .into_iter()
    .find_map(|(word, takes)| cursor.take(&[word]).then_some(takes))
    {
        let table = on_table(backend, cursor)?;
        return Some(Deed::OnTable { table, takes });
    }
    let what = cursor.peek()?.text(cursor.text).to_lowercase();
    let may_take_columns = ["type", "domain", "extension"].contains(&what.as_str());
    (cascades && may_take_columns).then_some(Deed::DropCascade(what))
}

fn inserted(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Deed> {
    if cursor.take(&["or"]) {
        cursor.at += 1;
    }
    cursor.take(&["into"]);
    let table = cursor.table(backend)?;
    let names_columns = cursor.peek().is_some_and(|token| token.kind == Kind::Open);
    let star = {
        let mut star = false;
        while cursor.peek().is_some() {
            if cursor.take(&["select"]) {
                star = cursor.take_sign("*");
                break;
            }
            cursor.at += 1;
        }
        star
    };
    let mut from = None;
    while cursor.peek().is_some() {
        if cursor.take(&["from"]) {
            from = cursor.table(backend);
            break;
        }
        skip_one(cursor);
    }
    Some(Deed::Insert {
        table,
        star_from: from.clone().filter(|_| star),
        from,
        names_columns,
    })
}

fn pragma(cursor: &mut Cursor<'_>) -> Option<Deed> {
    let name = cursor.table(Backend::Sqlite)?.table().to_lowercase();
    if !cursor.take_sign("=") && !cursor.take_sign("(") {
        return None;
    }
    let value = cursor
        .peek()?
        .text(cursor.text)
        .trim_matches('\'')
        .to_lowercase();
    Some(Deed::Pragma { name, value })
}
