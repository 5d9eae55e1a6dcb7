//! The SQL of a way back for rows that others wrote into the target. Pure.
//!
//! A reverse script is one SELECT over the relation `batch`, which holds rows of the target with
//! all its columns. It gives columns of the source, and the column [`VERDICT`]: null where the
//! old form holds everything that the row says, else what it can't hold.

use migrate_schema::catalog::Column;
use migrate_schema::db::Backend;
use migrate_schema::quote::ident;

use crate::layout::Layout;
use crate::statement::{Statements, list, qualified, with_batch};

/// The column in which a reverse script says what the old form can't hold.
pub(crate) const VERDICT: &str = "cannot_hold";

/// Writes the statements of one way back.
pub(crate) struct ReverseSql<'a> {
    pub(crate) backend: Backend,
    /// The layout of the copy that led here.
    pub(crate) layout: &'a Layout,
    /// The copy's own script.
    pub(crate) forward: &'a str,
    /// The columns that it updates of rows that were there before.
    pub(crate) updates: Vec<String>,
    pub(crate) reverse: &'a str,
    /// The columns of the old table.
    pub(crate) old: &'a [Column],
    /// What the reverse script gives, without the verdict.
    pub(crate) outputs: &'a [String],
    /// The table that holds the rows which others wrote, as SQL.
    pub(crate) back: String,
}

impl ReverseSql<'_> {
    fn statements(&self) -> Statements<'_> {
        Statements {
            backend: self.backend,
            layout: self.layout,
        }
    }

    fn same_key(&self, left: &str, right: &str) -> String {
        self.statements().key_equal(left, right)
    }

    /// The rows of the target that others inserted, or changed after the copy had written them.
    pub(crate) fn changed(&self, inserted: &str, updated: &str) -> String {
        let copied = if self.layout.target_was_empty {
            String::new()
        } else {
            format!(
                " AND EXISTS (SELECT 1 FROM {} AS s WHERE {})",
                self.layout.source_sql(),
                self.same_key("s", "t")
            )
        };
        format!(
            "SELECT t.* FROM {} AS t WHERE {inserted} OR ({updated}{copied})",
            self.layout.target_sql()
        )
    }

    /// Those rows in the old form.
    fn made(&self) -> String {
        with_batch("*", self.reverse, &self.back, "")
    }

    /// How many rows there are, and how many the script gives.
    pub(crate) fn counts(&self) -> String {
        format!(
            "SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM ({}) AS made)",
            self.back,
            self.made()
        )
    }

    /// How many of them are in the old table already.
    pub(crate) fn count_known(&self) -> String {
        format!(
            "SELECT count(*) FROM {} AS b WHERE EXISTS (SELECT 1 FROM {} AS s WHERE {})",
            self.back,
            self.layout.source_sql(),
            self.same_key("s", "b")
        )
    }

    /// The keys of rows with something that the old form can't hold, each with what that is.
    pub(crate) fn unheld(&self) -> String {
        format!(
            "SELECT {}, CAST(made.{verdict} AS text) FROM ({}) AS made WHERE made.{verdict} IS NOT NULL ORDER BY {}",
            self.statements().shown_key("made"),
            self.made(),
            qualified("made", &self.layout.conflict),
            verdict = ident(VERDICT),
        )
    }

    /// The keys of rows for which the script gives no value where the old table needs one.
    pub(crate) fn missing(&self) -> Option<String> {
        let needed = self.old.iter().filter(|column| column.not_null);
        let missing: Vec<String> = needed
            .filter(|column| self.outputs.contains(&column.name))
            .map(|column| format!("made.{} IS NULL", ident(&column.name)))
            .collect();
        (!missing.is_empty()).then(|| {
            format!(
                "SELECT {} FROM ({}) AS made WHERE {}",
                self.statements().shown_key("made"),
                self.made(),
                missing.join(" OR ")
            )
        })
    }

    /// What the reverse gives of the old table's rows if nobody changed anything: where that is
    /// the same, the old value stays as it was written.
    fn untouched(&self) -> String {
        let known = format!(
            " AS s WHERE EXISTS (SELECT 1 FROM {} AS b WHERE {})",
            self.back,
            self.same_key("b", "s")
        );
        let outputs = list(&self.layout.outputs);
        let there = with_batch(&outputs, self.forward, &self.layout.source_sql(), &known);
        let sql = self.statements();
        let first = ident(&self.layout.conflict[0]);
        let columns = self.layout.columns.iter().map(|column| {
            let name = ident(&column.name);
            let given = self.layout.outputs.contains(&column.name);
            let made = match (self.backend, given) {
                (_, true) => sql.as_stored("f", &column.name),
                (Backend::Postgres, false) => format!("CAST(NULL AS {})", column.type_name),
                (Backend::Sqlite, false) => "NULL".to_owned(),
            };
            if self.updates.contains(&column.name) || self.layout.conflict.contains(&column.name) {
                return format!("{made} AS {name}");
            }
            // The copy leaves this column of a row that was there before.
            format!("CASE WHEN b.{first} IS NULL THEN {made} ELSE b.{name} END AS {name}")
        });
        format!(
            "WITH batch AS (SELECT {} FROM ({there}) AS f LEFT JOIN {} AS b ON {} AND NOT b._etlrs_new) SELECT * FROM (\n{}\n) AS made",
            columns.collect::<Vec<_>>().join(", "),
            sql.before(),
            self.same_key("b", "f"),
            self.reverse
        )
    }

    /// The rows that the old table gets.
    pub(crate) fn given(&self) -> String {
        let key = &self.layout.key;
        let first = ident(&key[0]);
        let columns = self.outputs.iter().map(|name| {
            let column = ident(name);
            let made = match (self.backend, self.old.iter().find(|c| &c.name == name)) {
                (Backend::Postgres, Some(old)) => {
                    format!("CAST(r.{column} AS {})", old.type_name)
                }
                _ => format!("r.{column}"),
            };
            if key.contains(name) {
                return format!("{made} AS {column}");
            }
            let same = match self.backend {
                Backend::Postgres => {
                    format!("r.{column}::text IS NOT DISTINCT FROM u.{column}::text")
                }
                Backend::Sqlite => format!("r.{column} COLLATE BINARY IS u.{column}"),
            };
            format!(
                "CASE WHEN s.{first} IS NOT NULL AND u.{first} IS NOT NULL AND {same} THEN s.{column} ELSE {made} END AS {column}"
            )
        });
        format!(
            "SELECT {} FROM ({}) AS r LEFT JOIN {} AS s ON {} LEFT JOIN ({}) AS u ON {}",
            columns.collect::<Vec<_>>().join(", "),
            self.made(),
            self.layout.source_sql(),
            self.same_key("s", "r"),
            self.untouched(),
            self.same_key("u", "r"),
        )
    }

    /// What takes the rows out of the target: those that were there before the copy become what
    /// they were, the others go. Only rows that are still as they were carried.
    pub(crate) fn move_out(&self) -> [String; 2] {
        let sql = self.statements();
        let carried = format!(
            "EXISTS (SELECT 1 FROM {} AS k WHERE {} AND {} = {})",
            self.back,
            self.same_key("k", "t"),
            sql.hash("k"),
            sql.hash("t")
        );
        let image =
            |alias: &str| format!("{} AND NOT {alias}._etlrs_new", self.same_key(alias, "t"));
        let writable = self.layout.columns.iter();
        let sets: Vec<String> = writable
            .filter(|c| !c.computed && !self.layout.conflict.contains(&c.name))
            .map(|c| format!("{0} = b.{0}", ident(&c.name)))
            .collect();
        let before = sql.before();
        let target = sql.target();
        let restore = if sets.is_empty() {
            "SELECT 1".to_owned()
        } else {
            format!(
                "UPDATE{} {target} AS t SET {} FROM {before} AS b WHERE {} AND {carried}",
                self.layout.on_breach.sql(),
                sets.join(", "),
                image("b")
            )
        };
        let delete = format!(
            "DELETE FROM {target} AS t WHERE {carried} AND NOT EXISTS (SELECT 1 FROM {before} AS b WHERE {})",
            image("b")
        );
        [restore, delete]
    }

    /// How many rows of the old table have none in the target any more.
    pub(crate) fn gone(&self) -> String {
        format!(
            "SELECT count(*) FROM {} AS s WHERE NOT EXISTS (SELECT 1 FROM {} AS t WHERE {})",
            self.layout.source_sql(),
            self.layout.target_sql(),
            self.same_key("t", "s")
        )
    }
}
