//! The SQL of a copy. Pure: from a layout and a range to text.
//!
//! Here is what writes the target; `source` reads, `images` is what an undo lives on.

mod images;
mod source;

use migrate_schema::db::Backend;
use migrate_schema::own;
use migrate_schema::quote::ident;

use crate::keyset::KeyRange;
use crate::layout::{Layout, plainly_equal};
use crate::transform::OnConflict;
use crate::wire::Wire;

/// Columns to update, and extra assignments.
pub(crate) type Updates = (Vec<String>, Vec<(String, String)>);

/// Where the produced rows of a range come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Produced<'a> {
    /// From the script, computed where it stands.
    Script {
        select: &'a str,
        range: &'a KeyRange,
    },
    /// From the stage, a temporary table that holds them.
    Stage,
    /// From the table that rows of this process were copied into.
    Copied,
    /// From a query as it is.
    Query(&'a str),
}

/// The temporary table that holds a range's produced rows.
pub(crate) const STAGE: &str = "_etlrs_stage";

/// Writes the statements of one copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statements<'a> {
    pub(crate) backend: Backend,
    pub(crate) layout: &'a Layout,
}

pub(crate) fn list(names: &[String]) -> String {
    names
        .iter()
        .map(|name| ident(name))
        .collect::<Vec<_>>()
        .join(", ")
}

pub(crate) fn qualified(alias: &str, names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("{alias}.{}", ident(name)))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Statements<'_> {
    pub(crate) fn ledger(&self) -> String {
        own::name(self.backend, &self.layout.ledger)
    }

    pub(crate) fn before(&self) -> String {
        own::name(self.backend, &self.layout.before)
    }

    pub(crate) fn target(&self) -> String {
        self.layout.target_sql()
    }

    pub(crate) fn column_names(&self) -> Vec<String> {
        self.layout
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect()
    }

    /// The stage's name as SQL.
    pub(crate) fn stage(&self) -> String {
        match self.backend {
            Backend::Postgres => format!("pg_temp.{}", ident(STAGE)),
            Backend::Sqlite => format!("temp.{}", ident(STAGE)),
        }
    }

    /// The statements that create what is ours. Idempotent.
    pub(crate) fn create(&self) -> Vec<String> {
        let (sum, moment, room) = match self.backend {
            // Every batch updates its range's row: room on the page keeps the index out of it.
            Backend::Postgres => ("numeric", "timestamptz", " WITH (fillfactor = 40)"),
            Backend::Sqlite => ("text", "integer", ""),
        };
        let ledger = format!(
            "CREATE TABLE IF NOT EXISTS {} (range bigint PRIMARY KEY, after_key text, upto_key text, position text, \
             state text NOT NULL DEFAULT 'todo', rows_read bigint NOT NULL DEFAULT 0, inserted bigint NOT NULL DEFAULT 0, \
             updated bigint NOT NULL DEFAULT 0, unchanged bigint NOT NULL DEFAULT 0, \
             batches bigint NOT NULL DEFAULT 0, sum0 {sum}, sum1 {sum}, owner text, lease {moment}, \
             quarantined bigint NOT NULL DEFAULT 0){room}",
            self.ledger()
        );
        let before = self.before();
        let images = match self.backend {
            // The columns' own types, but none of their constraints or defaults.
            Backend::Postgres => format!(
                "CREATE TABLE IF NOT EXISTS {before} AS SELECT {}, 0::bigint AS _etlrs_range, false AS _etlrs_new, \
                 ''::text AS _etlrs_after FROM {} WITH NO DATA",
                list(&self.column_names()),
                self.target()
            ),
            // No types: every value is kept as it is.
            Backend::Sqlite => format!(
                "CREATE TABLE IF NOT EXISTS {before} ({}, _etlrs_range, _etlrs_new, _etlrs_after, _etlrs_seq INTEGER PRIMARY KEY)",
                list(&self.column_names())
            ),
        };
        let mut all = vec![ledger, images];
        if self.backend == Backend::Postgres {
            // Taken when a row is locked already, so that it tells the order of what was written to it.
            all.push(format!(
                "ALTER TABLE {before} ADD COLUMN IF NOT EXISTS _etlrs_seq bigint GENERATED ALWAYS AS IDENTITY"
            ));
        }
        if !self.at_once() {
            all.push(self.index_images());
        }
        all
    }

    /// Whether one statement writes a batch and keeps its images.
    pub(crate) fn at_once(&self) -> bool {
        self.backend == Backend::Postgres && !self.layout.triggers && self.layout.steady()
    }

    /// The statements that drop what is ours. Idempotent.
    pub(crate) fn drop(&self) -> [String; 2] {
        [self.ledger(), self.before()].map(|table| format!("DROP TABLE IF EXISTS {table}"))
    }

    /// The query that gives the produced rows.
    pub(crate) fn produced(&self, from: Produced<'_>) -> String {
        let outputs = list(&self.layout.outputs);
        match from {
            Produced::Script { select, range } => {
                let within = self.layout.keys(self.backend).within(range);
                with_batch(
                    &outputs,
                    select,
                    &self.layout.source_sql(),
                    &format!(" WHERE {within}"),
                )
            }
            Produced::Stage => format!("SELECT {outputs} FROM {} AS made", self.stage()),
            Produced::Copied => self.what_was_copied(),
            Produced::Query(query) => query.to_owned(),
        }
    }

    /// The table of a session's own that takes rows of this process; PostgreSQL only. No column
    /// has a type of the user's, which the session would then keep from being dropped.
    pub(crate) fn copied(&self) -> String {
        let name: String = self.layout.ledger.chars().skip(7).take(50).collect();
        format!("pg_temp.{}", ident(&format!("_etlrs_in_{name}")))
    }

    /// Creates it where the session does not have it yet.
    #[cfg(feature = "postgres")]
    pub(crate) fn create_copied(&self) -> String {
        let columns = self
            .layout
            .wires(self.backend)
            .into_iter()
            .map(|(name, wire)| format!("{} {}", ident(&name), wire.type_name()));
        format!(
            "CREATE TEMP TABLE IF NOT EXISTS {} ({}) ON COMMIT DELETE ROWS",
            self.copied(),
            columns.collect::<Vec<_>>().join(", ")
        )
    }

    fn what_was_copied(&self) -> String {
        let columns = self
            .layout
            .wires(self.backend)
            .into_iter()
            .map(|(name, wire)| {
                let column = ident(&name);
                match wire {
                    Wire::Cast | Wire::Moment => {
                        format!(
                            "CAST(made.{column} AS {}) AS {column}",
                            self.layout.type_of(&name)
                        )
                    }
                    _ => format!("made.{column}"),
                }
            });
        format!(
            "SELECT {} FROM {} AS made",
            columns.collect::<Vec<_>>().join(", "),
            self.copied()
        )
    }

    /// Fills the stage from a script.
    pub(crate) fn stage_script(&self, from: Produced<'_>) -> String {
        let ends = if self.backend == Backend::Postgres {
            " ON COMMIT DROP"
        } else {
            ""
        };
        format!(
            "CREATE TEMP TABLE {}{ends} AS {}",
            ident(STAGE),
            self.produced(from)
        )
    }

    /// The keys of the target's rows that a range produces, as a query.
    fn produced_keys(&self, from: Produced<'_>) -> String {
        let keys = self
            .layout
            .conflict
            .iter()
            .map(|name| self.as_stored("made", name));
        format!(
            "SELECT {} FROM ({}) AS made",
            keys.collect::<Vec<_>>().join(", "),
            self.produced(from)
        )
    }

    /// A produced value as the target's column would hold it.
    pub(crate) fn as_stored(&self, alias: &str, column: &str) -> String {
        match self.backend {
            Backend::Postgres => format!(
                "CAST({alias}.{} AS {})",
                ident(column),
                self.layout.type_of(column)
            ),
            Backend::Sqlite => format!("{alias}.{}", ident(column)),
        }
    }

    fn key_in(&self, alias: &str, query: &str) -> String {
        let columns = qualified(alias, &self.layout.conflict);
        if self.layout.conflict.len() == 1 {
            format!("{columns} IN ({query})")
        } else {
            format!("({columns}) IN ({query})")
        }
    }

    pub(crate) fn key_equal(&self, left: &str, right: &str) -> String {
        let pair = |name: &String| format!("{left}.{0} = {right}.{0}", ident(name));
        self.layout
            .conflict
            .iter()
            .map(pair)
            .collect::<Vec<_>>()
            .join(" AND ")
    }

    fn yes(&self) -> &'static str {
        if self.backend == Backend::Postgres {
            "true"
        } else {
            "1"
        }
    }

    fn no(&self) -> &'static str {
        if self.backend == Backend::Postgres {
            "false"
        } else {
            "0"
        }
    }

    /// Writes rows that are new.
    pub(crate) fn insert(&self, from: Produced<'_>) -> String {
        let overriding = match self.backend {
            Backend::Postgres => " OVERRIDING SYSTEM VALUE",
            Backend::Sqlite => "",
        };
        format!(
            "INSERT INTO {} AS t ({}){overriding} {}",
            self.target(),
            list(&self.layout.outputs),
            self.produced(from)
        )
    }

    /// Copies rows of this process straight into the target. Identity columns take them as
    /// `OVERRIDING SYSTEM VALUE` does.
    pub(crate) fn copy_in(&self) -> String {
        format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            self.target(),
            list(&self.layout.outputs)
        )
    }

    /// Writes rows of which some may be there.
    pub(crate) fn upsert(&self, from: Produced<'_>, policy: &OnConflict) -> String {
        let insert = self.insert(from);
        let Some((columns, set)) = self.updates(policy) else {
            return insert;
        };
        let ambiguous = match (self.backend, from) {
            // Without a WHERE, SQLite takes ON for a join's.
            (Backend::Sqlite, _) => " WHERE true",
            (Backend::Postgres, _) => "",
        };
        let conflict = list(&self.layout.conflict);
        if columns.is_empty() {
            return format!("{insert}{ambiguous} ON CONFLICT ({conflict}) DO NOTHING");
        }
        let mut sets: Vec<String> = columns
            .iter()
            .map(|name| format!("{0} = excluded.{0}", ident(name)))
            .collect();
        sets.extend(
            set.iter()
                .map(|(name, expression)| format!("{} = {expression}", ident(name))),
        );
        let distinct = columns.iter().map(|name| {
            let name_sql = ident(name);
            self.distinct(
                &format!("t.{name_sql}"),
                &format!("excluded.{name_sql}"),
                name,
            )
        });
        format!(
            "{insert}{ambiguous} ON CONFLICT ({conflict}) DO UPDATE SET {} WHERE {}",
            sets.join(", "),
            distinct.collect::<Vec<_>>().join(" OR ")
        )
    }

    /// The columns to update with their extra assignments; none where an existing key is an error.
    pub(crate) fn updates(&self, policy: &OnConflict) -> Option<Updates> {
        match policy {
            OnConflict::Fail => None,
            OnConflict::Update { columns, set } => Some((columns.clone(), set.clone())),
            OnConflict::UpdateProduced => {
                let outputs = self.layout.outputs.iter();
                let others = outputs.filter(|name| !self.layout.conflict.contains(name));
                Some((others.cloned().collect(), Vec::new()))
            }
        }
    }

    /// Whether two values differ in anything that can be seen.
    pub(crate) fn distinct(&self, left: &str, right: &str, column: &str) -> String {
        match self.backend {
            // Other types may have no equality (json), or one that overlooks things (numeric, citext).
            Backend::Postgres if !plainly_equal(self.layout.type_of(column)) => {
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
                    "(hash_record_extended({row}, 0)::text || hash_record_extended({row}, 1)::text)"
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

    /// One produced column alone, as the target would hold it.
    pub(crate) fn one_column(&self, from: Produced<'_>, column: &str) -> String {
        let value = self.as_stored("made", column);
        format!("SELECT {value} FROM ({}) AS made", self.produced(from))
    }

    /// One row if a key is produced more than once.
    pub(crate) fn produced_twice(&self, from: Produced<'_>) -> String {
        let keys = self
            .layout
            .conflict
            .iter()
            .map(|name| self.as_stored("made", name));
        let keys = keys.collect::<Vec<_>>().join(", ");
        format!(
            "SELECT 1 FROM ({}) AS made GROUP BY {keys} HAVING count(*) > 1 LIMIT 1",
            self.produced(from)
        )
    }

    /// How many rows of the target have a key that a range produces.
    pub(crate) fn count_written(&self, from: Produced<'_>) -> String {
        format!(
            "SELECT count(*) FROM {} AS t WHERE {}",
            self.target(),
            self.key_in("t", &self.produced_keys(from))
        )
    }

    pub(crate) fn shown_key(&self, alias: &str) -> String {
        let shown = |name: &String| format!("CAST({alias}.{} AS text)", ident(name));
        self.layout
            .conflict
            .iter()
            .map(shown)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// A query over a script's rows, with `batch` as a part of the source.
pub(crate) fn with_batch(outputs: &str, select: &str, source: &str, condition: &str) -> String {
    format!(
        "WITH batch AS (SELECT * FROM {source}{condition}) SELECT {outputs} FROM (\n{select}\n) AS made"
    )
}
