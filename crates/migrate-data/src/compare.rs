//! The SQL of verification: what the transform gives now against what the target holds.

use migrate_schema::db::Backend;
use migrate_schema::quote::ident;

use crate::keyset::KeyRange;
use crate::layout::Images;
use crate::statement::{Produced, Statements, qualified};
use crate::transform::OnConflict;

/// What the rows of a range are compared by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compared<'a> {
    /// The number of the range in the ledger; none where there is no ledger.
    pub(crate) number: Option<i64>,
    /// Where the rows come from that should be there.
    pub(crate) from: Produced<'a>,
    pub(crate) policy: &'a OnConflict,
}

impl Statements<'_> {
    /// The produced rows as the target's columns would hold them.
    pub(crate) fn typed(&self, from: Produced<'_>) -> String {
        let columns = self
            .layout
            .outputs
            .iter()
            .map(|name| format!("{} AS {}", self.as_stored("produced", name), ident(name)));
        format!(
            "SELECT {} FROM ({}) AS produced",
            columns.collect::<Vec<_>>().join(", "),
            self.produced(from)
        )
    }

    /// The same behind a fence: a planner that merges it with what reads it works a value out anew
    /// wherever it is named, twice for two sums.
    fn typed_once(&self, from: Produced<'_>) -> String {
        let fence = match self.backend {
            Backend::Postgres => "OFFSET 0",
            Backend::Sqlite => "LIMIT -1",
        };
        format!("{} {fence}", self.typed(from))
    }

    /// Number and hash sums of the rows that should be in the target.
    pub(crate) fn sum_of_produced(&self, from: Produced<'_>) -> String {
        format!(
            "SELECT count(*), {} FROM ({}) AS made",
            self.sums("made"),
            self.typed_once(from)
        )
    }

    /// Number and hash sums of the target's rows whose keys are in a range of the source's key.
    pub(crate) fn sum_of_target(&self, range: &KeyRange) -> String {
        format!(
            "SELECT count(*), {} FROM {} AS t WHERE {}",
            self.sums("t"),
            self.target(),
            self.layout.keys(self.backend).within(range)
        )
    }

    fn sums(&self, alias: &str) -> String {
        let row = self.record(alias, &self.layout.outputs);
        format!(
            "coalesce(sum(pg_catalog.hash_record_extended({row}, 0)), 0), coalesce(sum(pg_catalog.hash_record_extended({row}, 1)), 0)"
        )
    }

    /// How many rows there should be, how many of them are missing, and how many differ.
    pub(crate) fn compare(&self, compared: Compared<'_>) -> String {
        let (missing, system) = (self.is_missing(), self.system());
        format!(
            "SELECT count(*), {system}count(CASE WHEN {missing} THEN 1 END), {system}count(CASE WHEN NOT ({missing}) AND ({}) THEN 1 END){}",
            self.differs(compared),
            self.side_by_side(compared)
        )
    }

    /// The first keys that are missing or differ: the key's columns, then which of both.
    pub(crate) fn compare_rows(&self, compared: Compared<'_>, most: usize) -> String {
        let missing = self.is_missing();
        format!(
            "SELECT {}, CASE WHEN {missing} THEN 'missing' ELSE 'different' END{} WHERE {missing} OR ({}) LIMIT {most}",
            self.shown_key("made"),
            self.side_by_side(compared),
            self.differs(compared)
        )
    }

    fn is_missing(&self) -> String {
        format!("{} IS NULL", qualified("t", &self.layout.conflict[..1]))
    }

    fn side_by_side(&self, compared: Compared<'_>) -> String {
        let keys = |alias: &str| self.key_equal(alias, "made");
        let target = match self.backend {
            // One walk of the index for each row, whatever the planner thinks of the target.
            Backend::Postgres => format!(
                "LEFT JOIN LATERAL (SELECT * FROM {} AS x WHERE {} OFFSET 0) AS t ON true",
                self.target(),
                keys("x")
            ),
            Backend::Sqlite => format!("LEFT JOIN {} AS t ON {}", self.target(), keys("t")),
        };
        let images = match compared.number {
            Some(number) => format!(
                " LEFT JOIN {} AS b ON b._etlrs_range = {number} AND {}",
                self.before(),
                keys("b")
            ),
            None => String::new(),
        };
        format!(
            " FROM ({}) AS made {target}{images}",
            self.typed_once(compared.from)
        )
    }

    /// Of rows that were there before, only what the policy writes is ours.
    fn differs(&self, compared: Compared<'_>) -> String {
        let any = |names: &[String]| {
            let differs = names
                .iter()
                .filter(|name| !self.layout.conflict.contains(name))
                .map(|name| {
                    let name_sql = ident(name);
                    self.distinct(&format!("t.{name_sql}"), &format!("made.{name_sql}"), name)
                });
            let all = differs.collect::<Vec<_>>().join(" OR ");
            if all.is_empty() {
                "false".to_owned()
            } else {
                all
            }
        };
        let whole = any(&self.layout.outputs);
        let Some((updated, _)) = compared.number.and_then(|_| self.updates(compared.policy)) else {
            return whole;
        };
        format!(
            "CASE WHEN {} IS NOT NULL THEN ({}) ELSE ({whole}) END",
            qualified("b", &self.layout.conflict[..1]),
            any(&updated)
        )
    }

    /// Keys of any rows of the target that nothing produces.
    pub(crate) fn extra_of_all(&self, from: Produced<'_>, most: usize) -> String {
        let keys = self.layout.conflict.iter().map(|name| {
            let equal = self.layout.operator(name, "=");
            format!("made.{0} {equal} t.{0}", ident(name))
        });
        format!(
            "SELECT {} FROM {} AS t WHERE NOT EXISTS (SELECT 1 FROM ({}) AS made WHERE {}) LIMIT {most}",
            self.shown_key("t"),
            self.target(),
            self.typed(from),
            keys.collect::<Vec<_>>().join(" AND ")
        )
    }

    /// Of a transform that gives something else each time: how many rows were noted as they were
    /// written, how many of them are missing, and how many differ from that.
    pub(crate) fn compare_noted(&self, number: i64) -> String {
        debug_assert_eq!(
            self.layout.images,
            Images::All,
            "only then every row is noted"
        );
        let (missing, system) = (self.is_missing(), self.system());
        format!(
            "SELECT count(*), {system}count(CASE WHEN {missing} THEN 1 END), {system}count(CASE WHEN NOT ({missing}) AND {} <> b._etlrs_after THEN 1 END) \
             FROM {} AS b LEFT JOIN {} AS t ON {} WHERE b._etlrs_range = {number}",
            self.hash("t"),
            self.before(),
            self.target(),
            self.key_equal("t", "b")
        )
    }

    /// The number of the target's rows.
    pub(crate) fn count_target(&self) -> String {
        format!("SELECT count(*) FROM {}", self.target())
    }
}
