//! What a live database tells: sizes, columns, keys. Read-only.

use std::collections::BTreeMap;

use serde_json::Value;

use super::deed::{Constraint, ConstraintKind, SqlType, key};
use super::known::{Known, TableSize};
use super::schema::Schema;
use crate::db::{Backend, Database, DbError};
use crate::quote::TableName;
use crate::script::Cursor;

/// Ours, and the server's own.
const USERS: &str =
    "n.nspname <> 'information_schema' and n.nspname !~ '^pg_' and n.nspname <> 'etlrs_migrate'";

impl Known {
    /// Reads what is known of a live database.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn read(db: &Database) -> Result<Self, DbError> {
        let backend = db.backend();
        let version = db.server_version().await?;
        let major = version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok());
        let (sizes, schema) = match backend {
            Backend::Postgres => postgres(db).await?,
            Backend::Sqlite => sqlite(db).await?,
        };
        Ok(Self {
            backend,
            major: major.unwrap_or(15),
            sizes: Some(sizes),
            schema,
        })
    }
}

type Told = (BTreeMap<String, TableSize>, Schema);

/// The rows of a query that gives one JSON array.
async fn rows(db: &Database, sql: &str) -> Result<Vec<Value>, DbError> {
    let found = db.query_ours(sql).await?;
    let found = match found {
        Value::String(text) => serde_json::from_str(&text).unwrap_or_default(),
        other => other,
    };
    Ok(match found {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    })
}

fn text(row: &Value, at: usize) -> &str {
    row[at].as_str().unwrap_or_default()
}

fn table(row: &Value) -> TableName {
    TableName::new(Some(text(row, 0)), text(row, 1))
}

async fn postgres(db: &Database) -> Result<Told, DbError> {
    let list = |what: &str, from: &str| {
        format!(
            "select coalesce(json_agg(json_build_array({what})), '[]') from {from} where {USERS}"
        )
    };
    let class = "pg_class c join pg_namespace n on n.oid = c.relnamespace";
    let mut schema = Schema::default();
    let mut sizes = BTreeMap::new();
    let tables = list(
        "n.nspname, c.relname, c.reltuples::bigint, pg_total_relation_size(c.oid)",
        class,
    ) + " and c.relkind in ('r', 'p', 'm')";
    for row in rows(db, &tables).await? {
        let name = table(&row);
        schema.with_table(&name);
        sizes.insert(
            key(&name),
            TableSize {
                rows: row[2].as_i64().and_then(|rows| u64::try_from(rows).ok()),
                bytes: row[3].as_u64().unwrap_or_default(),
            },
        );
    }
    let columns = list(
        "n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)",
        &format!(
            "{class} join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        ),
    ) + " and c.relkind in ('r', 'p')";
    for row in rows(db, &columns).await? {
        schema.with_column(&table(&row), text(&row, 2), SqlType::parse(text(&row, 3)));
    }
    let constraints = list(
        "n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid)",
        &format!("{class} join pg_constraint k on k.conrelid = c.oid and k.contype in ('c', 'f')"),
    );
    for row in rows(db, &constraints).await? {
        let definition = format!("constraint x {}", text(&row, 3));
        let read = Constraint::read(
            Backend::Postgres,
            &mut Cursor::new(Backend::Postgres, &definition),
        );
        if let Some(constraint) = read {
            let constraint = Constraint {
                name: Some(text(&row, 2).to_owned()),
                ..constraint
            };
            schema.with_constraint(&table(&row), &constraint);
        }
    }
    let indexes = list(
        "n.nspname, c.relname, i.relname",
        &format!(
            "{class} join pg_index x on x.indrelid = c.oid join pg_class i on i.oid = x.indexrelid"
        ),
    );
    for row in rows(db, &indexes).await? {
        let index = TableName::new(Some(text(&row, 0)), text(&row, 2));
        schema.with_index(&table(&row), &index);
    }
    Ok((sizes, schema))
}

async fn sqlite(db: &Database) -> Result<Told, DbError> {
    let mut schema = Schema::default();
    let mut sizes = BTreeMap::new();
    for name in crate::catalog::user_tables(db).await? {
        // Whether there is any row is all that matters; counting them would read the table.
        let some = db
            .query_json(&format!("select exists (select 1 from {})", name.sql()))
            .await?;
        schema.with_table(&name);
        sizes.insert(
            key(&name),
            TableSize {
                rows: (some.as_i64() == Some(0)).then_some(0),
                bytes: 0,
            },
        );
    }
    let list = |what: &str, from: &str| {
        format!("select json_group_array(json_array({what})) from sqlite_master m{from}")
    };
    let tables = " where m.type = 'table' and m.name not like 'sqlite\\_%' escape '\\'";
    let columns = list(
        "'main', m.name, p.name, p.type",
        &format!(", pragma_table_info(m.name) p{tables}"),
    );
    for row in rows(db, &columns).await? {
        schema.with_column(&table(&row), text(&row, 2), SqlType::parse(text(&row, 3)));
    }
    let keys = list(
        "'main', m.name, p.name",
        &format!(", pragma_table_info(m.name) p{tables} and p.pk > 0"),
    );
    let unique = list(
        "'main', m.name, c.name",
        &format!(
            ", pragma_index_list(m.name) i, pragma_index_info(i.name) c{tables} and i.\"unique\""
        ),
    );
    for sql in [keys, unique] {
        for row in rows(db, &sql).await? {
            schema.with_key(&table(&row), text(&row, 2));
        }
    }
    let references = list(
        "'main', m.name, f.\"table\", f.on_delete",
        &format!(", pragma_foreign_key_list(m.name) f{tables}"),
    );
    for row in rows(db, &references).await? {
        let constraint = Constraint {
            name: None,
            kind: ConstraintKind::ForeignKey(TableName::new(None, text(&row, 2))),
            not_valid: false,
            text: format!("ON DELETE {}", text(&row, 3)),
        };
        schema.with_constraint(&table(&row), &constraint);
    }
    let attached = list(
        "'main', m.tbl_name, m.name, m.type",
        " where m.type in ('index', 'trigger') and m.sql is not null",
    );
    for row in rows(db, &attached).await? {
        if text(&row, 3) == "index" {
            schema.with_index(&table(&row), &TableName::new(None, text(&row, 2)));
        } else {
            schema.with_trigger(&table(&row), text(&row, 2));
        }
    }
    Ok((sizes, schema))
}
