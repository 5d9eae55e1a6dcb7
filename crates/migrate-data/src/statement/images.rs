//! What an undo lives on: images of rows as they were, notes of rows that are new, and what
//! takes them back.

use migrate_schema::db::Backend;
use migrate_schema::own;
use migrate_schema::quote::ident;

use super::{Produced, Statements, list, qualified};

/// Marks an image of a row that has an earlier one, which stands for both.
const FOLDED: &str = "folded";

/// Marks an image after which somebody else wrote the row, and then we again.
const BROKEN: &str = "broken";

impl Statements<'_> {
    /// The index by which images are found. Where a batch is written at once, only comparing and
    /// undo need it, and it is made when they begin. Idempotent.
    pub(crate) fn index_images(&self) -> String {
        let name = format!("{}_range", self.layout.before);
        let (before, keys) = (self.before(), list(&self.layout.conflict));
        let name = match self.backend {
            Backend::Postgres => ident(&name),
            Backend::Sqlite => own::name(Backend::Sqlite, &name),
        };
        format!("CREATE INDEX IF NOT EXISTS {name} ON {before} (_etlrs_range, {keys})")
    }

    fn keep_images_sql(&self, number: i64, from: Produced<'_>) -> String {
        let columns = self.column_names();
        format!(
            "INSERT INTO {} ({}, _etlrs_range, _etlrs_new) SELECT {}, {number}, {} FROM {} AS t WHERE {}",
            self.before(),
            list(&columns),
            qualified("t", &columns),
            self.no(),
            self.target(),
            self.key_in("t", &self.produced_keys(from))
        )
    }

    fn keep_new_sql(&self, number: i64, from: Produced<'_>) -> String {
        let columns = self.column_names();
        format!(
            "INSERT INTO {0} ({1}, _etlrs_range, _etlrs_new, _etlrs_after) SELECT {2}, {number}, {3}, {4} FROM {5} AS t \
             WHERE {6} AND {7}",
            self.before(),
            list(&columns),
            qualified("t", &columns),
            self.yes(),
            self.hash("t"),
            self.target(),
            self.key_in("t", &self.produced_keys(from)),
            self.without_image(number, "t")
        )
    }

    fn without_image(&self, number: i64, alias: &str) -> String {
        format!(
            "NOT EXISTS (SELECT 1 FROM {} AS b WHERE b._etlrs_range = {number} AND {})",
            self.before(),
            self.key_equal("b", alias)
        )
    }

    fn mark_after_sql(&self, number: i64) -> String {
        format!(
            "UPDATE {} AS b SET _etlrs_after = {} FROM {} AS t WHERE b._etlrs_range = {number} AND b._etlrs_after IS NULL AND {}",
            self.before(),
            self.hash("t"),
            self.target(),
            self.key_equal("t", "b")
        )
    }

    fn count_changed_sql(&self, number: i64) -> String {
        format!(
            "SELECT count(*) FROM {} AS b JOIN {} AS t ON {} WHERE b._etlrs_range = {number} AND b._etlrs_after IS NULL AND {} <> {}",
            self.before(),
            self.target(),
            self.key_equal("t", "b"),
            self.hash("t"),
            self.hash("b")
        )
    }

    fn restore_sql(&self, number: i64) -> String {
        let columns = self.layout.columns.iter();
        let writable = columns.filter(|c| !c.computed && !self.layout.conflict.contains(&c.name));
        let sets: Vec<String> = writable
            .map(|c| format!("{0} = b.{0}", ident(&c.name)))
            .collect();
        let sets = if sets.is_empty() {
            format!("{0} = b.{0}", ident(&self.layout.conflict[0]))
        } else {
            sets.join(", ")
        };
        format!(
            "UPDATE{} {} AS t SET {sets} FROM {} AS b WHERE b._etlrs_range = {number} AND NOT b._etlrs_new AND {} \
             AND b._etlrs_after <> {} AND {} = b._etlrs_after",
            self.layout.on_breach.sql(),
            self.target(),
            self.before(),
            self.key_equal("t", "b"),
            self.hash("b"),
            self.hash("t")
        )
    }

    fn foreign_images_sql(&self, number: i64) -> String {
        format!(
            "SELECT {} FROM {} AS b LEFT JOIN {} AS t ON {} WHERE b._etlrs_range = {number} AND NOT b._etlrs_new \
             AND coalesce(b._etlrs_after, '') <> '{FOLDED}' AND ({} IS NULL OR ({hash} <> coalesce(b._etlrs_after, '') AND {hash} <> {}))",
            self.shown_key("b"),
            self.before(),
            self.target(),
            self.key_equal("t", "b"),
            qualified("t", &self.layout.conflict[..1]),
            self.hash("b"),
            hash = self.hash("t"),
        )
    }

    fn delete_new_sql(&self, number: i64, from: Produced<'_>) -> String {
        let same = self
            .layout
            .outputs
            .iter()
            .filter(|name| !self.layout.conflict.contains(name))
            .map(|name| {
                let left = format!("t.{}", ident(name));
                format!(
                    "NOT ({})",
                    self.distinct(&left, &self.as_stored("made", name), name)
                )
            });
        let same = std::iter::once(self.without_image(number, "t"))
            .chain(same)
            .collect::<Vec<_>>()
            .join(" AND ");
        let on = self.layout.conflict.iter().map(|name| {
            let equal = self.layout.operator(name, "=");
            format!("t.{} {equal} {}", ident(name), self.as_stored("made", name))
        });
        let on = on.collect::<Vec<_>>().join(" AND ");
        let (target, produced) = (self.target(), self.produced(from));
        match self.backend {
            Backend::Postgres => format!("DELETE FROM {target} AS t USING ({produced}) AS made WHERE {on} AND {same}"),
            Backend::Sqlite => format!(
                "DELETE FROM {target} AS d WHERE {}",
                self.key_in("d", &format!(
                    "SELECT {} FROM ({produced}) AS made CROSS JOIN {target} AS t WHERE {on} AND {same}",
                    qualified("t", &self.layout.conflict)
                ))
            ),
        }
    }

    fn left_new_sql(&self, number: i64, from: Produced<'_>) -> String {
        format!(
            "SELECT {} FROM {} AS t WHERE {} AND {}",
            self.shown_key("t"),
            self.target(),
            self.key_in("t", &self.produced_keys(from)),
            self.without_image(number, "t")
        )
    }

    /// Rows that one range produces more than once, of which one was inserted and the others
    /// have images: more rows were produced than images kept.
    fn delete_doubled_sql(&self, number: i64, from: Produced<'_>) -> String {
        let keys = self.layout.conflict.iter().map(|name| {
            let column = ident(name);
            format!("{} AS {column}", self.as_stored("made", name))
        });
        let others = self.layout.outputs.iter();
        let same = others
            .filter(|name| !self.layout.conflict.contains(name))
            .map(|name| {
                let left = format!("d.{}", ident(name));
                format!(
                    " AND NOT ({})",
                    self.distinct(&left, &self.as_stored("made", name), name)
                )
            });
        let on = self.layout.conflict.iter().map(|name| {
            let equal = self.layout.operator(name, "=");
            format!("d.{} {equal} {}", ident(name), self.as_stored("made", name))
        });
        let produced = self.produced(from);
        format!(
            "DELETE FROM {} AS d WHERE {} AND EXISTS (SELECT 1 FROM ({produced}) AS made WHERE {}{})",
            self.target(),
            self.key_in("d", &format!(
                "SELECT {columns} FROM (SELECT {} FROM ({produced}) AS made) AS k GROUP BY {columns} \
                 HAVING count(*) > 1 AND count(*) > (SELECT count(*) FROM {} AS b WHERE b._etlrs_range = {number} AND {})",
                keys.collect::<Vec<_>>().join(", "),
                self.before(),
                self.key_equal("b", "k"),
                columns = qualified("k", &self.layout.conflict),
            )),
            on.collect::<Vec<_>>().join(" AND "),
            same.collect::<String>(),
        )
    }

    /// Makes one image out of those of a row that several batches wrote: the first one's row and
    /// the last one's hash. What was written before somebody else wrote in between is not ours
    /// to take back. Idempotent.
    pub(crate) fn fold_images(&self) -> String {
        let (before, keys) = (self.before(), list(&self.layout.conflict));
        let by_key = format!("PARTITION BY {keys} ORDER BY _etlrs_seq");
        let by_part = format!("PARTITION BY {keys}, _etlrs_part ORDER BY _etlrs_seq");
        format!(
            "WITH images AS (SELECT {keys}, _etlrs_seq, _etlrs_after, {hash} AS _etlrs_was FROM {before} AS b \
             WHERE NOT _etlrs_new AND _etlrs_after NOT IN ('{FOLDED}', '{BROKEN}')), \
             links AS (SELECT *, count(*) OVER (PARTITION BY {keys}) AS _etlrs_images, \
             CASE WHEN {system}lag(_etlrs_was) OVER by_key IS NULL OR _etlrs_was IN ({system}lag(_etlrs_after) OVER by_key, {system}lag(_etlrs_was) OVER by_key) \
             THEN 0 ELSE 1 END AS _etlrs_break FROM images WINDOW by_key AS ({by_key})), \
             parts AS (SELECT *, sum(_etlrs_break) OVER ({by_key}) AS _etlrs_part, \
             sum(_etlrs_break) OVER (PARTITION BY {keys}) AS _etlrs_last FROM links WHERE _etlrs_images > 1), \
             ends AS (SELECT _etlrs_seq, CASE WHEN _etlrs_part < _etlrs_last THEN '{BROKEN}' \
             WHEN row_number() OVER by_part > 1 THEN '{FOLDED}' ELSE {system}last_value(_etlrs_after) OVER \
             (by_part ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) END AS _etlrs_end \
             FROM parts WINDOW by_part AS ({by_part})) \
             UPDATE {before} AS b SET _etlrs_after = ends._etlrs_end FROM ends WHERE ends._etlrs_seq = b._etlrs_seq",
            hash = self.hash("b"),
            system = self.system(),
        )
    }

    /// How many images others' writes came between.
    pub(crate) fn broken_images(&self) -> String {
        format!(
            "SELECT count(*) FROM {} WHERE NOT _etlrs_new AND _etlrs_after = '{BROKEN}'",
            self.before()
        )
    }

    fn delete_noted_sql(&self, number: i64) -> String {
        let target = self.target();
        let noted = format!(
            "SELECT {} FROM {} AS b, {target} AS t WHERE b._etlrs_range = {number} AND b._etlrs_new AND {} AND {} = b._etlrs_after",
            qualified("t", &self.layout.conflict),
            self.before(),
            self.key_equal("t", "b"),
            self.hash("t")
        );
        format!(
            "DELETE FROM {target} AS d WHERE {}",
            self.key_in("d", &noted)
        )
    }

    fn left_noted_sql(&self, number: i64) -> String {
        format!(
            "SELECT {} FROM {} AS b, {} AS t WHERE b._etlrs_range = {number} AND b._etlrs_new AND {}",
            self.shown_key("t"),
            self.before(),
            self.target(),
            self.key_equal("t", "b")
        )
    }

    /// Removes what is kept of a range, which is then as if it had never been worked on.
    pub(crate) fn forget_range(&self, number: i64) -> [String; 2] {
        [
            format!(
                "DELETE FROM {} WHERE _etlrs_range = {number}",
                self.before()
            ),
            format!(
                "UPDATE {} SET state = 'todo', position = NULL, rows_read = 0, inserted = 0, updated = 0, unchanged = 0, \
                 quarantined = 0, batches = 0, sum0 = NULL, sum1 = NULL, owner = NULL, lease = NULL WHERE range = {number}",
                self.ledger()
            ),
        ]
    }

    /// A join with the target as walks of its index, one for each row of the batch: PostgreSQL
    /// may prefer to read the whole target into a hash, for every batch again.
    fn by_index(&self, sql: &str) -> String {
        match self.backend {
            Backend::Postgres => format!(
                "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; {sql}; \
                 SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT"
            ),
            Backend::Sqlite => sql.to_owned(),
        }
    }

    /// Keeps the images of the target's rows whose keys a range produces.
    pub(crate) fn keep_images(&self, number: i64, from: Produced<'_>) -> String {
        self.by_index(&self.keep_images_sql(number, from))
    }

    /// Keeps what was written for rows that have no image.
    pub(crate) fn keep_new(&self, number: i64, from: Produced<'_>) -> String {
        self.by_index(&self.keep_new_sql(number, from))
    }

    /// Notes what became of the rows that have an image.
    pub(crate) fn mark_after(&self, number: i64) -> String {
        self.by_index(&self.mark_after_sql(number))
    }

    /// How many of the rows whose images are new were changed by what was just written.
    pub(crate) fn count_changed(&self, number: i64) -> String {
        self.by_index(&self.count_changed_sql(number))
    }

    /// Puts images back where the row is still what we wrote.
    pub(crate) fn restore(&self, number: i64) -> String {
        self.by_index(&self.restore_sql(number))
    }

    /// The keys of rows with an image that somebody else changed or deleted since.
    pub(crate) fn foreign_images(&self, number: i64) -> String {
        self.by_index(&self.foreign_images_sql(number))
    }

    /// Deletes the new rows of a range that are still what the transform gives.
    pub(crate) fn delete_new(&self, number: i64, from: Produced<'_>) -> String {
        self.by_index(&self.delete_new_sql(number, from))
    }

    /// Deletes the new rows of a range that it produces more than once.
    pub(crate) fn delete_doubled(&self, number: i64, from: Produced<'_>) -> String {
        self.by_index(&self.delete_doubled_sql(number, from))
    }

    /// The keys of new rows of a range that are still there.
    pub(crate) fn left_new(&self, number: i64, from: Produced<'_>) -> String {
        self.by_index(&self.left_new_sql(number, from))
    }

    /// Deletes the new rows of a range that are still as they were noted.
    pub(crate) fn delete_noted(&self, number: i64) -> String {
        self.by_index(&self.delete_noted_sql(number))
    }

    /// The keys of noted new rows of a range that are still there.
    pub(crate) fn left_noted(&self, number: i64) -> String {
        self.by_index(&self.left_noted_sql(number))
    }
}
