//! What is ours in the target's database: the ledger, the images, and where rows of this process go.

use migrate_schema::db::Backend;
use migrate_schema::quote::ident;

use super::{Statements, list};
use crate::wire::Wire;

impl Statements<'_> {
    /// The statements that create what is ours. Idempotent.
    pub(crate) fn create(&self) -> Vec<String> {
        let (sum, moment, room) = match self.backend {
            // Every batch updates its range's row: room on the page keeps the index out of it.
            Backend::Postgres => ("numeric", "timestamptz", " WITH (fillfactor = 40)"),
            Backend::Sqlite => ("text", "integer", ""),
        };
        let writers = match self.layout.since {
            Some(_) => ", writers bigint[] NOT NULL DEFAULT '{}'",
            None => "",
        };
        let ledger = format!(
            "CREATE TABLE IF NOT EXISTS {} (range bigint PRIMARY KEY, after_key text, upto_key text, position text, \
             state text NOT NULL DEFAULT 'todo', rows_read bigint NOT NULL DEFAULT 0, inserted bigint NOT NULL DEFAULT 0, \
             updated bigint NOT NULL DEFAULT 0, unchanged bigint NOT NULL DEFAULT 0, \
             batches bigint NOT NULL DEFAULT 0, sum0 {sum}, sum1 {sum}, owner text, lease {moment}, \
             quarantined bigint NOT NULL DEFAULT 0{writers}){room}",
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
            // A publication of all tables would have a key for every update.
            all.push(format!("ALTER TABLE {before} REPLICA IDENTITY FULL"));
            all.push(format!(
                "ALTER TABLE {before} ADD COLUMN IF NOT EXISTS _etlrs_seq bigint GENERATED ALWAYS AS IDENTITY"
            ));
        }
        if !self.at_once() {
            all.push(self.index_images());
        }
        all
    }

    /// The statements that drop what is ours. Idempotent.
    pub(crate) fn drop(&self) -> [String; 2] {
        [self.ledger(), self.before()].map(|table| format!("DROP TABLE IF EXISTS {table}"))
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

    pub(super) fn what_was_copied(&self) -> String {
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
}
