//! Statements of PostgreSQL that write a batch and tell everything about it in one go.

use crate::layout::Images;
use crate::statement::{Produced, Statements, list, qualified};
use crate::transform::OnConflict;

impl Statements<'_> {
    /// Writes rows that are new; gives their number and the sums of their hashes.
    pub(crate) fn insert_at_once(&self, from: Produced<'_>) -> String {
        let row = self.record("t", &self.layout.outputs);
        format!(
            "WITH put AS ({} RETURNING pg_catalog.hash_record_extended({row}, 0) AS low, pg_catalog.hash_record_extended({row}, 1) AS high) \
             SELECT count(*), coalesce(sum(low), 0), coalesce(sum(high), 0) FROM put",
            self.insert(from)
        )
    }

    /// Keeps images, writes rows of which some are there, and gives: what wrote those since the copy
    /// began, how many were there, how
    /// many were written, how many of those were there, and the sums of what stands now.
    ///
    /// All parts see the target as it was. Rows are looked up one by one through the index:
    /// `OFFSET 0` keeps the planner from reading the whole target for every batch.
    pub(crate) fn upsert_at_once(
        &self,
        number: i64,
        from: Produced<'_>,
        policy: &OnConflict,
    ) -> String {
        let made = format!("SELECT {} FROM made", self.outputs());
        let columns = self.column_names();
        let keys = |left: &str| {
            let pair = self.layout.conflict.iter().map(|name| {
                let column = migrate_schema::quote::ident(name);
                let equal = self.layout.operator(name, "=");
                format!("{left}.{column} {equal} {}", self.as_stored("made", name))
            });
            pair.collect::<Vec<_>>().join(" AND ")
        };
        let first = qualified("put", &self.layout.conflict[..1]);
        let pair = format!(
            "SELECT {}, {first} IS NOT NULL AS _etlrs_written, CASE WHEN {first} IS NULL THEN {} ELSE {} END AS _etlrs_hash \
             FROM old LEFT JOIN put ON {}",
            qualified("old", &columns),
            self.hash("old"),
            self.hash("put"),
            self.key_equal("put", "old")
        );
        let mut kept = format!(
            "SELECT {}, {number}, false, pair._etlrs_hash FROM pair",
            qualified("pair", &columns),
        );
        if self.layout.images == Images::All {
            let fresh = format!(
                "NOT EXISTS (SELECT 1 FROM old WHERE {})",
                self.key_equal("old", "put")
            );
            let new = format!(
                " UNION ALL SELECT {}, {number}, true, {} FROM put WHERE {fresh}",
                qualified("put", &columns),
                self.hash("put"),
            );
            kept.push_str(&new);
        }
        let (writer, writers) = match self.writer("x") {
            Some(writer) => (
                format!(", {writer} AS _etlrs_writer"),
                "(SELECT coalesce(pg_catalog.string_agg(DISTINCT _etlrs_writer, ','), '') FROM old)",
            ),
            None => (String::new(), "''"),
        };
        format!(
            "WITH made AS MATERIALIZED ({produced}), \
             old AS MATERIALIZED (SELECT t.* FROM made CROSS JOIN LATERAL (SELECT x.*{writer} FROM {target} AS x WHERE {same} OFFSET 0) AS t), \
             put AS ({upsert} RETURNING {returned}), \
             pair AS MATERIALIZED ({pair}), \
             kept AS (INSERT INTO {before} ({columns}, _etlrs_range, _etlrs_new, _etlrs_after) {kept}) \
             SELECT {writers}, (SELECT count(*) FROM old), (SELECT count(*) FROM put), \
             (SELECT count(*) FROM pair WHERE _etlrs_written){sums}",
            produced = self.produced(from),
            target = self.target(),
            same = keys("x"),
            upsert = self.upsert(Produced::Query(&made), policy),
            returned = self.returned(),
            before = self.before(),
            columns = list(&columns),
            sums = self.sums_of_what_stands(),
        )
    }

    /// The written rows as they stand; they are kept until the statement ends. Only those that were
    /// there before are hashed for their images.
    fn returned(&self) -> String {
        let mut columns = qualified("t", &self.column_names());
        if self.layout.sums {
            let row = self.record("t", &self.layout.outputs);
            columns += &format!(
                ", pg_catalog.hash_record_extended({row}, 0) AS _etlrs_0, pg_catalog.hash_record_extended({row}, 1) AS _etlrs_1"
            );
        }
        columns
    }

    fn sums_of_what_stands(&self) -> String {
        if !self.layout.sums {
            return String::new();
        }
        let outputs = &self.layout.outputs;
        let sum = |seed: u8| {
            format!(
                "(SELECT coalesce(sum(hash), 0) FROM (SELECT _etlrs_{seed} AS hash FROM put \
                 UNION ALL SELECT pg_catalog.hash_record_extended({}, {seed}) FROM old WHERE NOT EXISTS (SELECT 1 FROM put WHERE {})) AS stands)",
                self.record("old", outputs),
                self.key_equal("put", "old")
            )
        };
        format!(", {}, {}", sum(0), sum(1))
    }
}
