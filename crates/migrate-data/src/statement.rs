//! The SQL of a copy. Pure: from a layout and a range to text.

use migrate_schema::db::Backend;
use migrate_schema::own;
use migrate_schema::quote::ident;

use crate::cells::SourceColumn;
use crate::copy_format::Wire;
use crate::keyset::{Key, KeyRange};
use crate::layout::{Layout, plainly_equal};
use crate::transform::OnConflict;

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
             batches bigint NOT NULL DEFAULT 0, sum0 {sum}, sum1 {sum}, owner text, lease {moment}){room}",
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
                "CREATE TABLE IF NOT EXISTS {before} ({}, _etlrs_range, _etlrs_new, _etlrs_after)",
                list(&self.column_names())
            ),
        };
        let mut all = vec![ledger, images];
        if !self.at_once() {
            all.push(self.index_images());
        }
        all
    }

    /// Whether one statement writes a batch and keeps its images.
    pub(crate) fn at_once(&self) -> bool {
        self.backend == Backend::Postgres && !self.layout.triggers && self.layout.steady()
    }

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

    /// The statements that drop what is ours. Idempotent.
    pub(crate) fn drop(&self) -> [String; 2] {
        [self.ledger(), self.before()].map(|table| format!("DROP TABLE IF EXISTS {table}"))
    }

    /// The last key of the first rows of a range, with their number.
    pub(crate) fn boundary(&self, range: &KeyRange, most: u64) -> String {
        let keys = self.layout.keys(self.backend);
        // Qualified: alone, a name could mean the column of the result, which is text.
        let descending = self
            .layout
            .key
            .iter()
            .map(|name| format!("next.{} DESC", ident(name)));
        format!(
            "SELECT count(*) OVER (), {} FROM (SELECT {list} FROM {} WHERE {} ORDER BY {list} LIMIT {most}) AS next ORDER BY {} LIMIT 1",
            keys.selection(),
            self.layout.source_sql(),
            keys.within(range),
            descending.collect::<Vec<_>>().join(", "),
            list = keys.list(),
        )
    }

    /// Every so many keys of the source, without the last one of all.
    pub(crate) fn every(&self, per: u64, rows: u64) -> String {
        let keys = self.layout.keys(self.backend);
        format!(
            "SELECT {} FROM (SELECT {list}, row_number() OVER (ORDER BY {list}) AS _etlrs_n FROM {}) AS next \
             WHERE _etlrs_n % {per} = 0 AND _etlrs_n < {rows} ORDER BY _etlrs_n",
            keys.selection(),
            self.layout.source_sql(),
            list = keys.list(),
        )
    }

    /// The key so many rows above another.
    pub(crate) fn nth(&self, after: Option<&Key>, per: u64) -> String {
        let keys = self.layout.keys(self.backend);
        let range = KeyRange {
            after: after.cloned(),
            upto: None,
        };
        format!(
            "SELECT {} FROM (SELECT {list} FROM {} WHERE {} ORDER BY {list} LIMIT 1 OFFSET {}) AS next",
            keys.selection(),
            self.layout.source_sql(),
            keys.within(&range),
            per.saturating_sub(1),
            list = keys.list(),
        )
    }

    /// The keys that cut a sample of the source into so many parts of the same size.
    pub(crate) fn quantiles(&self, parts: u64, percent: f64) -> String {
        let keys = self.layout.keys(self.backend);
        format!(
            "SELECT {} FROM (SELECT {list}, row_number() OVER (ORDER BY {list}) AS _etlrs_n, count(*) OVER () AS _etlrs_all \
             FROM {} TABLESAMPLE SYSTEM ({percent}) REPEATABLE (1)) AS next \
             WHERE _etlrs_n < _etlrs_all AND _etlrs_n * {parts} / _etlrs_all > (_etlrs_n - 1) * {parts} / _etlrs_all ORDER BY _etlrs_n",
            keys.selection(),
            self.layout.source_sql(),
            list = keys.list(),
        )
    }

    /// The lowest and the highest of a key that is one whole number.
    pub(crate) fn ends(&self) -> String {
        let list = self.layout.keys(self.backend).list();
        let source = self.layout.source_sql();
        format!("SELECT (SELECT min({list}) FROM {source}), (SELECT max({list}) FROM {source})")
    }

    /// How many rows of the source are in a range.
    pub(crate) fn count_source(&self, range: &KeyRange) -> String {
        let within = self.layout.keys(self.backend).within(range);
        format!(
            "SELECT count(*) FROM {} WHERE {within}",
            self.layout.source_sql()
        )
    }

    /// The names of the produced columns as SQL.
    pub(crate) fn outputs(&self) -> String {
        list(&self.layout.outputs)
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

    /// The query whose result crosses to another database, column by column as that takes it.
    pub(crate) fn crossing(&self, from: Produced<'_>, columns: &[(String, Wire)]) -> String {
        let selected = columns
            .iter()
            .map(|(name, wire)| crate::cells::selected(self.backend, "made", name, *wire));
        format!(
            "SELECT {} FROM ({}) AS made",
            selected.collect::<Vec<_>>().join(", "),
            self.produced(from)
        )
    }

    /// The query whose result a transform in this process gets.
    pub(crate) fn source_rows(&self, columns: &[SourceColumn], range: &KeyRange) -> String {
        let selected = columns.iter().map(|column| {
            let wire = Wire::of(&column.type_name);
            crate::cells::selected(self.backend, "src", &column.name, wire)
        });
        format!(
            "SELECT {} FROM {} AS src WHERE {}",
            selected.collect::<Vec<_>>().join(", "),
            self.layout.source_sql(),
            self.layout.keys(self.backend).within(range)
        )
    }

    /// As [`Self::boundary`], but not further than so many bytes, and never less than a row.
    pub(crate) fn boundary_by_bytes(
        &self,
        range: &KeyRange,
        (rows, bytes): (u64, u64),
        columns: &[SourceColumn],
    ) -> String {
        let keys = self.layout.keys(self.backend);
        let width = columns.iter().map(|column| {
            let name = ident(&column.name);
            match (self.backend, Wire::of(&column.type_name)) {
                (Backend::Sqlite, _) | (Backend::Postgres, Wire::Text | Wire::Bytes) => {
                    format!("coalesce(octet_length({name}), 0)")
                }
                (Backend::Postgres, Wire::Cast) => format!("coalesce(pg_column_size({name}), 0)"),
                (Backend::Postgres, _) => "8".to_owned(),
            }
        });
        let width = std::iter::once("0".to_owned())
            .chain(width)
            .collect::<Vec<_>>();
        let descending = self
            .layout
            .key
            .iter()
            .map(|name| format!("next.{} DESC", ident(name)));
        format!(
            "SELECT count(*) OVER (), {selection} FROM (SELECT {list} FROM (SELECT {list}, \
             sum(_etlrs_bytes) OVER (ORDER BY {list} ROWS UNBOUNDED PRECEDING) AS _etlrs_sum, \
             row_number() OVER (ORDER BY {list}) AS _etlrs_n FROM (SELECT {list}, {width} AS _etlrs_bytes FROM {source} \
             WHERE {within} ORDER BY {list} LIMIT {rows}) AS measured) AS summed WHERE _etlrs_sum <= {bytes} OR _etlrs_n = 1) AS next \
             ORDER BY {} LIMIT 1",
            descending.collect::<Vec<_>>().join(", "),
            selection = keys.selection(),
            list = keys.list(),
            width = width.join(" + "),
            source = self.layout.source_sql(),
            within = keys.within(range),
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

    /// How many rows of the target have a key that a range produces.
    pub(crate) fn count_written(&self, from: Produced<'_>) -> String {
        format!(
            "SELECT count(*) FROM {} AS t WHERE {}",
            self.target(),
            self.key_in("t", &self.produced_keys(from))
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
            "UPDATE {} AS t SET {sets} FROM {} AS b WHERE b._etlrs_range = {number} AND NOT b._etlrs_new AND {} \
             AND b._etlrs_after <> {} AND {} = b._etlrs_after",
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
             AND ({} IS NULL OR ({hash} <> coalesce(b._etlrs_after, '') AND {hash} <> {}))",
            self.shown_key("b"),
            self.before(),
            self.target(),
            self.key_equal("t", "b"),
            qualified("t", &self.layout.conflict[..1]),
            self.hash("b"),
            hash = self.hash("t"),
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
        let on = self
            .layout
            .conflict
            .iter()
            .map(|name| format!("t.{} = {}", ident(name), self.as_stored("made", name)));
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
                 batches = 0, sum0 = NULL, sum1 = NULL, owner = NULL, lease = NULL WHERE range = {number}",
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

/// A query over a script's rows, with `batch` as a part of the source.
pub(crate) fn with_batch(outputs: &str, select: &str, source: &str, condition: &str) -> String {
    format!(
        "WITH batch AS (SELECT * FROM {source}{condition}) SELECT {outputs} FROM (\n{select}\n) AS made"
    )
}
