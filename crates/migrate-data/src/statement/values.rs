//! Values and rows that are told apart as exactly as the database can.

use migrate_schema::db::Backend;
use migrate_schema::quote::ident;

use super::Statements;
use crate::layout::plainly_equal;

impl Statements<'_> {
    /// Whether two values differ in anything that can be seen.
    pub(crate) fn distinct(&self, left: &str, right: &str, column: &str) -> String {
        match self.backend {
            // Other types may have no equality (json), or one that overlooks things (numeric, citext).
            // Of varchar the system has none of its own: another's would fit better than that of text.
            Backend::Postgres
                if !plainly_equal(self.layout.type_of(column))
                    || self.layout.type_of(column).starts_with("character") =>
            {
                format!("{left}::text IS DISTINCT FROM {right}::text")
            }
            Backend::Postgres => format!("{left} IS DISTINCT FROM {right}"),
            Backend::Sqlite => format!("{left} COLLATE BINARY IS NOT {right}"),
        }
    }

    /// Some columns as one record that PostgreSQL can hash, in which nothing is overlooked.
    pub(crate) fn record(&self, alias: &str, names: &[String]) -> String {
        let value = |name: &String| {
            let value = format!("{alias}.{}", ident(name));
            if plainly_equal(self.layout.type_of(name)) {
                value
            } else {
                format!("{value}::text")
            }
        };
        let values = names.iter().map(value).collect::<Vec<_>>().join(", ");
        format!("ROW({values})")
    }

    /// A row's hash, or on SQLite its exact text.
    pub(crate) fn hash(&self, alias: &str) -> String {
        let names = self.column_names();
        match self.backend {
            Backend::Postgres => {
                let row = self.record(alias, &names);
                format!(
                    "(pg_catalog.hash_record_extended({row}, 0)::text || pg_catalog.hash_record_extended({row}, 1)::text)"
                )
            }
            Backend::Sqlite => {
                let value = |name: &String| {
                    let value = format!("{alias}.{}", ident(name));
                    format!(
                        "substr(typeof({value}), 1, 1) || quote(CASE typeof({value}) WHEN 'text' THEN CAST({value} AS BLOB) ELSE {value} END)"
                    )
                };
                names
                    .iter()
                    .map(value)
                    .collect::<Vec<_>>()
                    .join(" || ',' || ")
            }
        }
    }
}
