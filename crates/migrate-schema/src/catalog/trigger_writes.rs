//! Which tables the user's own triggers write: an audit table, a counter, a log of DDL.
//!
//! Read from the texts of triggers and of the functions that they call. A text that makes its
//! statements at run time may write every table that it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::db::{Database, DbError};
use crate::quote::TableName;

/// Which triggers are meant.
#[derive(Debug, Clone, Copy)]
pub enum Triggers<'a> {
    /// All that are enabled, event triggers too.
    All,
    /// Those of these tables, named as the catalog has them.
    On(&'a [TableName]),
}

/// The user's tables that a trigger or event trigger of the user's may write, in order. The tables
/// that hold a virtual table's content belong to it. Read-only.
///
/// # Errors
/// The database's.
pub async fn written_by_triggers(
    db: &Database,
    triggers: Triggers<'_>,
) -> Result<Vec<TableName>, DbError> {
    let (texts, functions) = match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => postgres(pg, triggers).await?,
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => (sqlite(lite, triggers).await?, BTreeMap::new()),
    };
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let names = names_in(&reached(texts, &functions));
    let mut tables = super::user_tables(db).await?;
    tables.retain(|table| {
        let name = table.table().to_lowercase();
        names.contains(&name)
            || (table.schema().is_none()
                && names.iter().any(|virtual_table| {
                    let rest = name.strip_prefix(virtual_table.as_str());
                    rest.is_some_and(|rest| {
                        ["_data", "_idx", "_content", "_docsize", "_config"].contains(&rest)
                    })
                }))
    });
    Ok(tables)
}

/// The texts, and those of all functions that they name.
fn reached(texts: Vec<String>, functions: &BTreeMap<String, String>) -> Vec<String> {
    let mut all = texts;
    let mut known = BTreeSet::new();
    let mut at = 0;
    while let Some(text) = all.get(at) {
        let called: Vec<String> = words(text)
            .filter(|word| functions.contains_key(word))
            .collect();
        for name in called {
            if let Some(text) = functions.get(&name).filter(|_| known.insert(name.clone())) {
                all.push(text.clone());
            }
        }
        at += 1;
    }
    all
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// The names that texts write to, without schemas.
fn names_in(texts: &[String]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in texts {
        let dynamic = words(text).any(|word| word == "execute");
        let mut takes = false;
        let mut before = String::new();
        for piece in pieces(text) {
            let word = piece.to_lowercase();
            let starts = match word.as_str() {
                "into" | "update" => true,
                "from" => before == "delete",
                "only" => takes,
                _ => false,
            };
            if takes && !starts {
                names.extend(word.rsplit('.').next().map(str::to_owned));
            }
            if dynamic && !starts {
                names.extend(word.rsplit('.').next().map(str::to_owned));
            }
            takes = starts;
            before = word;
        }
    }
    names
}

/// Words with what qualifies them: `audit.log`. Quotes are left out.
fn pieces(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '"')))
        .map(|piece| piece.replace('"', ""))
        .filter(|piece| !piece.is_empty())
}

/// The texts of the functions that triggers run, and all of the user's functions by name.
#[cfg(feature = "postgres")]
async fn postgres(
    pg: &crate::db::Postgres,
    triggers: Triggers<'_>,
) -> Result<(Vec<String>, BTreeMap<String, String>), DbError> {
    const FUNCTIONS: &str = "select p.proname::text, coalesce(p.prosrc, '') || ' ' || \
             coalesce(pg_get_function_sqlbody(p.oid), ''), \
             exists (select from pg_trigger t where t.tgfoid = p.oid and not t.tgisinternal and t.tgenabled <> 'D' \
                     and ($1::text[] is null or t.tgrelid in (select to_regclass(name)::oid from unnest($1) name))) \
             or $1 is null and exists (select from pg_event_trigger e where e.evtfoid = p.oid and e.evtenabled <> 'D') \
         from pg_proc p join pg_namespace n on n.oid = p.pronamespace \
         where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'etlrs_migrate') \
         order by 1";
    let tables: Option<Vec<String>> = match triggers {
        Triggers::All => None,
        Triggers::On(tables) => Some(tables.iter().map(TableName::sql).collect()),
    };
    let rows: Vec<(String, String, bool)> = sqlx::query_as(FUNCTIONS)
        .bind(tables)
        .fetch_all(&mut *pg.acquire().await?)
        .await?;
    let mut functions: BTreeMap<String, String> = BTreeMap::new();
    let mut texts = Vec::new();
    for (name, text, runs) in rows {
        if runs {
            texts.push(text.clone());
        }
        functions
            .entry(name.to_lowercase())
            .or_default()
            .push_str(&format!(" {text}"));
    }
    Ok((texts, functions))
}

#[cfg(feature = "sqlite")]
async fn sqlite(lite: &crate::db::Sqlite, triggers: Triggers<'_>) -> Result<Vec<String>, DbError> {
    let rows = super::sqlite::master(&mut *lite.acquire().await?).await?;
    let is_meant = |table: &str| match triggers {
        Triggers::All => true,
        Triggers::On(tables) => tables
            .iter()
            .any(|one| one.table().eq_ignore_ascii_case(table)),
    };
    let found = rows
        .into_iter()
        .filter(|row| row.kind == "trigger" && is_meant(&row.table));
    Ok(found.map(|row| row.sql).collect())
}

#[cfg(test)]
mod tests {
    use super::names_in;

    #[test]
    fn the_tables_that_a_text_writes_are_named() {
        for (text, expected) in [
            (
                "BEGIN INSERT INTO audit.log VALUES (1); RETURN NEW; END",
                &["log"][..],
            ),
            ("update only \"Counter\" set n = n + 1", &["counter"]),
            (
                "DELETE FROM kept WHERE id = OLD.id; SELECT 1 FROM other",
                &["kept"],
            ),
            (
                "INSERT OR REPLACE INTO fts(rowid, a) VALUES (NEW.id, NEW.a)",
                &["fts"],
            ),
            ("SELECT a FROM only_read", &[]),
        ] {
            let found = names_in(&[text.to_owned()]);
            let found: Vec<&str> = found.iter().map(String::as_str).collect();
            assert_eq!(found, expected, "{text}");
        }
        let dynamic = names_in(&["EXECUTE format('insert into %I', 'log')".to_owned()]);
        assert!(dynamic.contains("log"));
    }
}
