//! Reading the source: how ranges are found, counted and fetched.

use migrate_schema::db::Backend;
use migrate_schema::quote::ident;

use super::{Produced, Statements, list};
use crate::cells::SourceColumn;
use crate::keyset::{Key, KeyRange};
use crate::wire::Wire;

impl Statements<'_> {
    /// The last key of the first rows of a range, with their number.
    pub(crate) fn boundary(&self, range: &KeyRange, most: u64) -> String {
        self.last_of(range, most, None)
    }

    /// The same, and how many bytes those rows have.
    pub(crate) fn boundary_measured(
        &self,
        range: &KeyRange,
        most: u64,
        columns: &[SourceColumn],
    ) -> String {
        self.last_of(range, most, Some(&self.width(columns)))
    }

    fn last_of(&self, range: &KeyRange, most: u64, width: Option<&str>) -> String {
        let keys = self.layout.keys(self.backend);
        let (measured, sum) = match width {
            Some(width) => (
                format!(", {width} AS _etlrs_bytes"),
                ", (SELECT sum(_etlrs_bytes) FROM _etlrs_next)",
            ),
            None => (String::new(), ""),
        };
        if let (Backend::Sqlite, [key]) = (self.backend, self.layout.key.as_slice()) {
            let sum = width.map_or("", |_| ", _etlrs_sum");
            return format!(
                "SELECT _etlrs_n, {}{sum} FROM (SELECT count(*) AS _etlrs_n, max({key}) AS {key}, {} AS _etlrs_sum \
                 FROM (SELECT {key}{measured} FROM {} WHERE {} ORDER BY {key} LIMIT {most})) WHERE _etlrs_n > 0",
                keys.selection(),
                width.map_or("0", |_| "sum(_etlrs_bytes)"),
                self.layout.source_sql(),
                keys.within(range),
                key = ident(key),
            );
        }
        // The key is made readable when it is the only one left.
        format!(
            "WITH _etlrs_next AS (SELECT {list}{measured} FROM {} WHERE {} ORDER BY {list} LIMIT {most}) \
             SELECT (SELECT count(*) FROM _etlrs_next), {}{sum} \
             FROM (SELECT {list} FROM _etlrs_next AS next ORDER BY {} LIMIT 1) AS last",
            self.layout.source_sql(),
            keys.within(range),
            keys.selection(),
            self.descending(),
            list = keys.list(),
        )
    }

    /// Qualified: alone, a name could mean the column of the result, which is text.
    fn descending(&self) -> String {
        let key = self.layout.key.iter();
        key.map(|name| format!("next.{} DESC", ident(name)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// About how many bytes a row of the source has on its way.
    fn width(&self, columns: &[SourceColumn]) -> String {
        let width = columns.iter().map(|column| {
            let name = ident(&column.name);
            match (self.backend, Wire::of(&column.type_name)) {
                (Backend::Sqlite, _) => format!("coalesce(octet_length({name}), 0)"),
                (Backend::Postgres, Wire::Text | Wire::Bytes) => {
                    format!("coalesce(pg_catalog.octet_length({name}), 0)")
                }
                (Backend::Postgres, Wire::Cast) => {
                    format!("coalesce(pg_catalog.pg_column_size({name}), 0)")
                }
                (Backend::Postgres, _) => "8".to_owned(),
            }
        });
        let width = std::iter::once("0".to_owned()).chain(width);
        width.collect::<Vec<_>>().join(" + ")
    }

    /// Every so many keys of the source, without the last one of all.
    pub(crate) fn every(&self, per: u64, rows: u64) -> String {
        let keys = self.layout.keys(self.backend);
        format!(
            "SELECT {} FROM (SELECT {list}, row_number() OVER (ORDER BY {list}) AS _etlrs_n FROM {}) AS next \
             WHERE _etlrs_n % {per} = 0 AND _etlrs_n < {rows} ORDER BY _etlrs_n",
            keys.selection(),
            self.layout.source_sql(),
            per = self.whole(per),
            list = keys.list(),
        )
    }

    /// The key so many rows above another.
    pub(crate) fn nth(&self, after: Option<&Key>, per: u64) -> String {
        let keys = self.layout.keys(self.backend);
        let range = KeyRange {
            after: after.cloned(),
            ..KeyRange::default()
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
        let system = self.system();
        format!(
            "SELECT (SELECT {system}min({list}) FROM {source}), (SELECT {system}max({list}) FROM {source})"
        )
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
            let wire = Wire::opened(&column.type_name);
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
        format!(
            "SELECT count(*) OVER (), {selection} FROM (SELECT {list} FROM (SELECT {list}, \
             sum(_etlrs_bytes) OVER (ORDER BY {list} ROWS UNBOUNDED PRECEDING) AS _etlrs_sum, \
             row_number() OVER (ORDER BY {list}) AS _etlrs_n FROM (SELECT {list}, {width} AS _etlrs_bytes FROM {source} \
             WHERE {within} ORDER BY {list} LIMIT {rows}) AS measured) AS summed WHERE _etlrs_sum <= {bytes} OR _etlrs_n = 1) AS next \
             ORDER BY {} LIMIT 1",
            self.descending(),
            selection = keys.selection(),
            list = keys.list(),
            width = self.width(columns),
            source = self.layout.source_sql(),
            within = keys.within(range),
        )
    }
}
