//! The SQL of a copy. Pure: from a layout and a range to text.
//!
//! Here is where produced rows come from; `source` reads, `write` writes the target, `values` tells rows
//! apart, `ours` makes our tables, and `images` is what an undo lives on.

mod images;
mod ours;
mod source;
mod values;
mod write;

use migrate_schema::db::Backend;
use migrate_schema::own;
use migrate_schema::quote::ident;

use crate::keyset::KeyRange;
use crate::layout::Layout;

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

    /// Whether one statement writes a batch and keeps its images.
    pub(crate) fn at_once(&self) -> bool {
        self.backend == Backend::Postgres && !self.layout.triggers && self.layout.steady()
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

    /// What stands before a function of the system's that takes any type.
    pub(crate) fn system(&self) -> &'static str {
        match self.backend {
            Backend::Postgres => "pg_catalog.",
            Backend::Sqlite => "",
        }
    }

    /// A number of the type of `row_number()`: for another one PostgreSQL has no `%` of its own.
    fn whole(&self, number: u64) -> String {
        match self.backend {
            Backend::Postgres => format!("'{number}'::bigint"),
            Backend::Sqlite => number.to_string(),
        }
    }

    pub(crate) fn yes(&self) -> &'static str {
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
        let columns = if self.layout.conflict.len() == 1 {
            columns
        } else {
            format!("({columns})")
        };
        match self.backend {
            Backend::Postgres => {
                let equal = self.layout.key_operator("=");
                format!("{columns} {equal} ANY ({query})")
            }
            Backend::Sqlite => format!("{columns} IN ({query})"),
        }
    }

    pub(crate) fn key_equal(&self, left: &str, right: &str) -> String {
        let pair = |name: &String| {
            let equal = self.layout.operator(name, "=");
            format!("{left}.{0} {equal} {right}.{0}", ident(name))
        };
        self.layout
            .conflict
            .iter()
            .map(pair)
            .collect::<Vec<_>>()
            .join(" AND ")
    }

    /// One produced column alone, as the target would hold it.
    pub(crate) fn one_column(&self, from: Produced<'_>, column: &str) -> String {
        let value = self.as_stored("made", column);
        format!("SELECT {value} FROM ({}) AS made", self.produced(from))
    }

    /// A key that is produced more than once.
    pub(crate) fn produced_twice(&self, from: Produced<'_>) -> String {
        let keys = self
            .layout
            .conflict
            .iter()
            .map(|name| self.as_stored("made", name));
        let keys = keys.collect::<Vec<_>>().join(", ");
        format!(
            "SELECT {keys} FROM ({}) AS made GROUP BY {keys} HAVING count(*) > 1 LIMIT 1",
            self.produced(from)
        )
    }

    /// Whether a row of the target has a key that a range produces.
    pub(crate) fn is_produced(&self, alias: &str, from: Produced<'_>) -> String {
        self.key_in(alias, &self.produced_keys(from))
    }

    /// How many rows of the target have a key that a range produces.
    pub(crate) fn count_written(&self, from: Produced<'_>) -> String {
        format!(
            "SELECT count(*) FROM {} AS t WHERE {}",
            self.target(),
            self.is_produced("t", from)
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
