//! The SQL by which late rows of the source are brought over. Pure.

use migrate_schema::db::Backend;
use migrate_schema::quote::ident;

use crate::keyset::KeyRange;
use crate::layout::Images;
use crate::statement::{Produced, STAGE, Statements, list, qualified, with_batch};
use crate::transform::OnConflict;

/// The keys that are new in the target, and those that have no row in the source any more.
pub(crate) const FRESH: &str = "_etlrs_fresh";
pub(crate) const ORPHANS: &str = "_etlrs_orphans";

/// What is brought over, with the conditions for rows that others wrote.
pub(crate) struct LateSql<'a> {
    pub(crate) sql: Statements<'a>,
    pub(crate) select: &'a str,
    pub(crate) policy: &'a OnConflict,
    /// For rows `src` of the source.
    pub(crate) source_late: String,
    /// For rows `t` of the target.
    pub(crate) target_late: String,
}

impl LateSql<'_> {
    fn temp(&self, name: &str, query: &str) -> String {
        let ends = match self.sql.backend {
            Backend::Postgres => " ON COMMIT DROP",
            Backend::Sqlite => "",
        };
        format!("CREATE TEMP TABLE {}{ends} AS {query}", ident(name))
    }

    fn same_key(&self) -> &[String] {
        &self.sql.layout.conflict
    }

    /// Fills the stage with what the late rows of the source give.
    pub(crate) fn stage(&self) -> String {
        let source = format!("{} AS src", self.sql.layout.source_sql());
        let condition = format!(" WHERE {}", self.source_late);
        let outputs = list(&self.sql.layout.outputs);
        let query = with_batch(&outputs, self.select, &source, &condition);
        self.temp(STAGE, &self.sql.typed(Produced::Query(&query)))
    }

    fn joined(&self) -> String {
        self.sql.key_equal("made", "t")
    }

    /// Whether any of these columns differs.
    fn differs(&self, names: &[String]) -> Option<String> {
        let names = names.iter().filter(|name| !self.same_key().contains(name));
        let each = names.map(|name| {
            let column = ident(name);
            self.sql
                .distinct(&format!("t.{column}"), &format!("made.{column}"), name)
        });
        let all: Vec<String> = each.collect();
        (!all.is_empty()).then(|| format!("({})", all.join(" OR ")))
    }

    /// Keys of rows that others wrote on both sides, not the same.
    pub(crate) fn conflicts(&self) -> Option<String> {
        let differs = self.differs(&self.sql.layout.outputs)?;
        Some(format!(
            "SELECT {} FROM {} AS made JOIN {} AS t ON {} WHERE {} AND {differs}",
            self.sql.shown_key("made"),
            self.sql.stage(),
            self.sql.target(),
            self.joined(),
            self.target_late
        ))
    }

    fn has_image(&self, alias: &str) -> String {
        format!(
            "EXISTS (SELECT 1 FROM {} AS b WHERE {} AND NOT b._etlrs_new)",
            self.sql.before(),
            self.sql.key_equal("b", alias)
        )
    }

    fn update(&self, columns: &[String], set: &[(String, String)], which: &str) -> Option<String> {
        let differs = self.differs(columns)?;
        let columns = columns
            .iter()
            .filter(|name| !self.same_key().contains(name));
        let mut sets: Vec<String> = columns
            .map(|name| format!("{0} = made.{0}", ident(name)))
            .collect();
        sets.extend(
            set.iter()
                .map(|(name, value)| format!("{} = {value}", ident(name))),
        );
        Some(format!(
            "UPDATE{} {} AS t SET {} FROM {} AS made WHERE {} AND NOT {} AND {which} AND {differs}",
            self.sql.layout.on_breach.sql(),
            self.sql.target(),
            sets.join(", "),
            self.sql.stage(),
            self.joined(),
            self.target_late
        ))
    }

    /// Changes rows that the copy made.
    pub(crate) fn update_own(&self) -> Option<String> {
        let outputs = &self.sql.layout.outputs;
        self.update(outputs, &[], &format!("NOT {}", self.has_image("t")))
    }

    /// Changes rows that were there before the copy, as it does.
    pub(crate) fn update_known(&self) -> Option<String> {
        let (columns, set) = self.sql.updates(self.policy)?;
        self.update(&columns, &set, &self.has_image("t"))
    }

    /// What an undo takes for the run's own is what was written now.
    pub(crate) fn note_again(&self) -> String {
        format!(
            "UPDATE {} AS b SET _etlrs_after = {} FROM {} AS t WHERE {} AND EXISTS (SELECT 1 FROM {} AS made WHERE {})",
            self.sql.before(),
            self.sql.hash("t"),
            self.sql.target(),
            self.sql.key_equal("b", "t"),
            self.sql.stage(),
            self.joined()
        )
    }

    /// Keeps which keys are new.
    pub(crate) fn find_fresh(&self) -> String {
        let query = format!(
            "SELECT {} FROM {} AS made WHERE NOT EXISTS (SELECT 1 FROM {} AS t WHERE {})",
            qualified("made", self.same_key()),
            self.sql.stage(),
            self.sql.target(),
            self.joined()
        );
        self.temp(FRESH, &query)
    }

    pub(crate) fn insert_fresh(&self) -> String {
        let query = format!(
            "SELECT {} FROM {} AS made WHERE EXISTS (SELECT 1 FROM {} AS f WHERE {})",
            qualified("made", &self.sql.layout.outputs),
            self.sql.stage(),
            self.own(FRESH),
            self.sql.key_equal("f", "made")
        );
        self.sql.insert(Produced::Query(&query))
    }

    /// A temporary table's name as SQL.
    pub(crate) fn own(&self, name: &str) -> String {
        match self.sql.backend {
            Backend::Postgres => format!("pg_temp.{}", ident(name)),
            Backend::Sqlite => format!("temp.{}", ident(name)),
        }
    }

    /// Keeps which rows of the copy have none in the source any more. On SQLite the log knows them;
    /// elsewhere they are rows of the copy's own transactions.
    pub(crate) fn find_orphans(&self, log: Option<&str>) -> String {
        let of_the_copy = match (log, &self.sql.layout.since) {
            (Some(log), _) => {
                let keys = self.same_key().iter().enumerate();
                let same = keys.map(|(at, name)| format!(" AND t.{} = l.k{at}", ident(name)));
                format!(
                    "EXISTS (SELECT 1 FROM {log} AS l WHERE l.side = 's'{})",
                    same.collect::<String>()
                )
            }
            (None, Some(since)) => format!(
                "(age(t.xmin) < age({}::xid) OR {})",
                migrate_schema::quote::literal(since),
                self.has_image("t")
            ),
            (None, None) => "true".to_owned(),
        };
        let query = format!(
            "SELECT {} FROM {} AS t WHERE NOT {} AND {of_the_copy} AND NOT EXISTS (SELECT 1 FROM {} AS s WHERE {})",
            qualified("t", self.same_key()),
            self.sql.target(),
            self.target_late,
            self.sql.layout.source_sql(),
            self.sql.key_equal("s", "t")
        );
        self.temp(ORPHANS, &query)
    }

    fn is_orphan(&self, alias: &str) -> String {
        format!(
            "EXISTS (SELECT 1 FROM {} AS o WHERE {})",
            self.own(ORPHANS),
            self.sql.key_equal("o", alias)
        )
    }

    /// Deletes what the copy made of rows that are gone, and makes what it changed what it was.
    pub(crate) fn take_orphans_back(&self) -> Vec<String> {
        let target = self.sql.target();
        let layout = self.sql.layout;
        let columns = layout.columns.iter();
        let sets: Vec<String> = columns
            .filter(|c| !c.computed && !self.same_key().contains(&c.name))
            .map(|c| format!("{0} = b.{0}", ident(&c.name)))
            .collect();
        let mut all = vec![format!(
            "DELETE FROM {target} AS t WHERE {} AND NOT {}",
            self.is_orphan("t"),
            self.has_image("t")
        )];
        if !sets.is_empty() {
            all.push(format!(
                "UPDATE{} {target} AS t SET {} FROM {} AS b WHERE {} AND NOT b._etlrs_new AND {}",
                layout.on_breach.sql(),
                sets.join(", "),
                self.sql.before(),
                self.sql.key_equal("b", "t"),
                self.is_orphan("t")
            ));
        }
        all.push(format!(
            "DELETE FROM {} AS b WHERE {}",
            self.sql.before(),
            self.is_orphan("b")
        ));
        all
    }

    /// How many keys of a temporary table are in a range; of those with an image, how many were
    /// changed and how many found right.
    pub(crate) fn count_within(&self, name: &str, range: &KeyRange) -> String {
        format!(
            "SELECT count(*) FROM {} WHERE {}",
            self.own(name),
            self.sql.layout.keys(self.sql.backend).within(range)
        )
    }

    /// Of the orphans in a range those that were there before the copy: changed by it, and not.
    pub(crate) fn count_known_orphans(&self, range: &KeyRange) -> String {
        let (hash, system) = (self.sql.hash("b"), self.sql.system());
        format!(
            "SELECT {system}count(CASE WHEN b._etlrs_after <> {hash} THEN 1 END), {system}count(CASE WHEN b._etlrs_after = {hash} THEN 1 END) \
             FROM {} AS b WHERE NOT b._etlrs_new AND {} AND {}",
            self.sql.before(),
            self.is_orphan("b"),
            self.sql.layout.keys(self.sql.backend).within(range)
        )
    }

    /// The highest of the new keys of a range.
    pub(crate) fn highest_fresh(&self, range: &KeyRange) -> String {
        let keys = self.sql.layout.keys(self.sql.backend);
        let descending: Vec<String> = self
            .sql
            .layout
            .key
            .iter()
            .map(|name| format!("fresh.{} DESC", ident(name)))
            .collect();
        format!(
            "SELECT {} FROM (SELECT * FROM {} AS fresh WHERE {} ORDER BY {} LIMIT 1) AS last",
            keys.selection(),
            self.own(FRESH),
            keys.within(range),
            descending.join(", ")
        )
    }

    /// Notes the new rows of a range, where the transform does not give the same twice.
    pub(crate) fn note_fresh(&self, number: i64, range: &KeyRange) -> Option<String> {
        if self.sql.layout.images != Images::All {
            return None;
        }
        let columns = self.sql.column_names();
        let within = self.sql.layout.keys(self.sql.backend).within(range);
        Some(format!(
            "INSERT INTO {} ({}, _etlrs_range, _etlrs_new, _etlrs_after) SELECT {}, {number}, {}, {} FROM {} AS t \
             JOIN (SELECT * FROM {} WHERE {within}) AS f ON {}",
            self.sql.before(),
            list(&columns),
            qualified("t", &columns),
            self.sql.yes(),
            self.sql.hash("t"),
            self.sql.target(),
            self.own(FRESH),
            self.sql.key_equal("f", "t")
        ))
    }
}
