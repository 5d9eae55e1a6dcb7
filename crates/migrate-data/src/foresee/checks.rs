//! The CHECK constraints of a table, and how they are asked of rows that are not in it.

use migrate_schema::catalog::Column;
use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::quote::{TableName, ident, literal};

use crate::access;
use crate::script::{Kind, Token, tokens};

/// A CHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// Its name, or what it says.
    pub(super) name: String,
    expression: String,
    /// The columns in it; none where that can't be known.
    pub(super) columns: Option<Vec<String>>,
}

impl Check {
    /// Over the row `made`, true if the constraint is false; none where it can't be asked.
    pub(super) fn refused(&self, backend: Backend, columns: &[Column]) -> Option<String> {
        if backend == Backend::Postgres {
            return Some(format!("NOT ({})", self.expression));
        }
        // Columns of SQLite have an affinity, which decides comparisons; what a script gives has
        // none. A row is asked only where its values have their columns' class already.
        let names = self.columns.as_ref()?;
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        for column in columns.iter().filter(|column| names.contains(&column.name)) {
            let name = ident(&column.name);
            let (classes, cast) = affinity(&column.type_name);
            if !classes.is_empty() {
                conditions.push(format!("typeof(made.{name}) IN ({classes})"));
            }
            values.push(match cast {
                Some(cast) => format!("CAST(made.{name} AS {cast}) AS {name}"),
                None => format!("made.{name} AS {name}"),
            });
        }
        let asked = format!(
            "(SELECT NOT ({}) FROM (SELECT {}))",
            self.expression,
            values.join(", ")
        );
        conditions.push(asked);
        Some(conditions.join(" AND "))
    }
}

/// The classes that a column keeps as they are, and the cast that gives its affinity:
/// <https://sqlite.org/datatype3.html>, 3.1.
fn affinity(type_name: &str) -> (&'static str, Option<&'static str>) {
    let kind = type_name.to_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| kind.contains(part));
    if has(&["INT"]) {
        ("'integer', 'null'", Some("INTEGER"))
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        ("'text', 'null'", Some("TEXT"))
    } else if has(&["BLOB"]) || kind.is_empty() || kind == "ANY" {
        ("", None)
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        ("'integer', 'real', 'null'", Some("REAL"))
    } else {
        ("'integer', 'null'", Some("NUMERIC"))
    }
}

/// All CHECKs of a table.
pub(super) async fn of(
    db: &Database,
    table: &TableName,
    columns: &[Column],
) -> Result<Vec<Check>, DbError> {
    match db.backend() {
        Backend::Postgres => of_postgres(db, table).await,
        Backend::Sqlite => Ok(read(&definition(db, table).await?, columns)),
    }
}

async fn of_postgres(db: &Database, table: &TableName) -> Result<Vec<Check>, DbError> {
    let query = format!(
        "SELECT c.conname, pg_catalog.pg_get_expr(c.conbin, c.conrelid), \
         (SELECT pg_catalog.json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey))::text \
         FROM pg_constraint c WHERE c.conrelid = pg_catalog.to_regclass({})::oid AND c.contype = 'c' ORDER BY c.conname",
        literal(&table.sql())
    );
    let check = |row: access::TextRow| {
        let mut values = row.into_iter();
        let (name, expression) = (values.next()??, values.next()??);
        let columns = values.next()?;
        Some(Check {
            name,
            expression,
            columns: columns.map_or(Some(Vec::new()), |names| serde_json::from_str(&names).ok()),
        })
    };
    Ok(access::rows(db, &query)
        .await?
        .into_iter()
        .filter_map(check)
        .collect())
}

/// SQLite's text of a table; empty if there is none.
pub(crate) async fn definition(db: &Database, table: &TableName) -> Result<String, DbError> {
    let query = format!(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = lower({})",
        literal(table.table())
    );
    let found = access::rows(db, &query).await?;
    Ok(found
        .into_iter()
        .flatten()
        .flatten()
        .next()
        .unwrap_or_default())
}

/// Whether a table of SQLite is STRICT.
pub(super) async fn is_strict(db: &Database, table: &TableName) -> Result<bool, DbError> {
    if db.backend() == Backend::Postgres {
        return Ok(false);
    }
    let query = format!(
        "SELECT 1 FROM pragma_table_list WHERE name = {} AND strict = 1",
        literal(table.table())
    );
    Ok(!access::rows(db, &query).await?.is_empty())
}

/// The CHECKs in SQLite's definition of a table.
fn read(definition: &str, columns: &[Column]) -> Vec<Check> {
    let Ok(all) = tokens(definition) else {
        return Vec::new();
    };
    let code: Vec<Token> = all
        .into_iter()
        .filter(|token| !matches!(token.kind, Kind::Comment))
        .collect();
    let is_word = |at: usize, word: &str| {
        code.get(at)
            .and_then(|token| token.word(definition))
            .is_some_and(|found| found == word)
    };
    let collated = (0..code.len()).any(|at| is_word(at, "collate"));
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for (at, token) in code.iter().enumerate() {
        if token.is(definition, "(") {
            depth += 1;
        } else if token.is(definition, ")") {
            depth = depth.saturating_sub(1);
        }
        if depth != 1 || !is_word(at, "check") {
            continue;
        }
        let Some(inner) = within_parentheses(&code[at + 1..], definition) else {
            continue;
        };
        let (Some(first), Some(last)) = (inner.first(), inner.last()) else {
            continue;
        };
        let expression = definition[first.start..last.end].to_owned();
        let named = at >= 2 && is_word(at - 2, "constraint");
        let name = if named {
            let token = code[at - 1];
            definition[token.start..token.end].to_owned()
        } else {
            format!("({expression})")
        };
        found.push(Check {
            name,
            columns: (!collated).then(|| named_in(inner, definition, columns)),
            expression,
        });
    }
    found
}

/// What stands between a parenthesis and the one that closes it.
fn within_parentheses<'t>(rest: &'t [Token], text: &str) -> Option<&'t [Token]> {
    let mut depth = 0_usize;
    for (at, token) in rest.iter().enumerate() {
        if token.is(text, "(") {
            depth += 1;
        } else if depth == 0 {
            return None;
        } else if token.is(text, ")") {
            depth -= 1;
            if depth == 0 {
                return Some(&rest[1..at]);
            }
        }
    }
    None
}

fn named_in(inner: &[Token], text: &str, columns: &[Column]) -> Vec<String> {
    let names = |column: &&Column| {
        inner.iter().any(|token| {
            let word = &text[token.start..token.end];
            match token.kind {
                Kind::Word => word.eq_ignore_ascii_case(&column.name),
                Kind::Name => word[1..word.len() - 1].eq_ignore_ascii_case(&column.name),
                _ => false,
            }
        })
    };
    columns
        .iter()
        .filter(names)
        .map(|column| column.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Column {
        Column {
            name: name.to_owned(),
            type_name: "INTEGER".to_owned(),
            not_null: false,
            default: None,
            generated: false,
            identity_always: false,
        }
    }

    #[test]
    fn checks_are_read_from_a_definition() {
        let text = "CREATE TABLE t (a INTEGER CHECK (a > 0), -- check (no)\n b TEXT DEFAULT 'check (x)', \
                    c AS (a + (b)), CONSTRAINT \"both\" CHECK (\"A\" < length(b)))";
        let columns = ["a", "b", "c"].map(column);
        let found = read(text, &columns);
        let shown: Vec<_> = found
            .iter()
            .map(|check| {
                (
                    check.name.as_str(),
                    check.expression.as_str(),
                    check.columns.clone().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("(a > 0)", "a > 0", vec!["a".to_owned()]),
                (
                    "\"both\"",
                    "\"A\" < length(b)",
                    vec!["a".to_owned(), "b".to_owned()]
                ),
            ]
        );
        let collated = read(
            "CREATE TABLE t (a TEXT COLLATE NOCASE CHECK (a <> 'x'))",
            &columns,
        );
        assert_eq!(collated[0].columns, None);
    }
}
