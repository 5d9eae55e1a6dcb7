//! The queries of a look. Pure.

use migrate_schema::db::Backend;
use migrate_schema::quote::ident;

use super::rules::Rules;
use crate::access::TextRow;
use crate::keyset::KeyRange;
use crate::script::SqlScript;
use crate::statement::{Produced, Statements, list};

/// What a query computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// What the target would hold.
    Whole,
    /// No more than what the script gives.
    Script,
}

/// Writes queries over what a script gives for rows of the source.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) sql: Statements<'a>,
    pub(super) script: &'a SqlScript,
    pub(super) rules: &'a Rules,
    pub(super) depth: Depth,
}

/// What became of a part of the source.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) read: u64,
    pub(super) given: u64,
    /// A count for each question, and last of the rows that any of them refuses.
    pub(super) refused: Vec<u64>,
}

impl Answer {
    pub(super) fn of(row: Option<&TextRow>, questions: usize) -> Self {
        let mut numbers = row.into_iter().flatten().map(|value| {
            let text = value.as_deref().unwrap_or("0");
            text.parse::<u64>().unwrap_or_default()
        });
        Self {
            read: numbers.next().unwrap_or_default(),
            given: numbers.next().unwrap_or_default(),
            refused: numbers.take(questions + 1).collect(),
        }
    }

    pub(super) fn mismatch(&self) -> String {
        format!(
            "the transform gives {} rows for it, and should give one",
            self.given
        )
    }
}

impl Ask<'_> {
    /// The rows that the target would hold, under the names of its columns.
    fn made(&self, range: &KeyRange) -> String {
        let produced = self.sql.produced(Produced::Script {
            select: &self.script.select,
            range,
        });
        if self.depth == Depth::Script {
            return produced;
        }
        let given = self.sql.layout.outputs.iter().map(|name| {
            let value = format!("made.{}", ident(name));
            format!("{} AS {}", self.rules.stored(name, &value), ident(name))
        });
        let absent = self.rules.absent.iter();
        let absent = absent.map(|(name, value)| format!("{value} AS {}", ident(name)));
        format!(
            "SELECT {} FROM ({produced}) AS made",
            given.chain(absent).collect::<Vec<_>>().join(", ")
        )
    }

    /// Counts of a part: rows read, rows given, and what is refused.
    pub(super) fn counts(&self, range: &KeyRange) -> String {
        // Computed once a row, however often it is asked for.
        let once = match self.sql.backend {
            Backend::Postgres => "OFFSET 0",
            Backend::Sqlite => "LIMIT -1",
        };
        let of = |refused: &str| match self.depth {
            Depth::Whole => format!(", count(*) FILTER (WHERE {refused})"),
            Depth::Script => ", 0".to_owned(),
        };
        let questions = self.rules.questions.iter().map(|q| q.refused.as_str());
        let any = questions.clone().map(|q| format!("({q})"));
        let any = any.chain(["1 = 0".to_owned()]).collect::<Vec<_>>();
        let asked: String = questions.map(of).collect();
        // Without it, nothing would compute a column that no question is about.
        let system = self.sql.system();
        let computed = self.sql.layout.outputs.iter();
        let computed = computed.map(|name| format!(", {system}count(made.{})", ident(name)));
        let computed = computed.collect::<Vec<_>>().concat();
        format!(
            "SELECT ({}), count(*){asked}{}{computed} FROM ({} {once}) AS made",
            self.sql.count_source(range),
            of(&any.join(" OR ")),
            self.made(range),
        )
    }

    fn keys(&self) -> String {
        let shown = self.sql.layout.conflict.iter();
        shown
            .map(|name| format!("CAST(made.{} AS text)", ident(name)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The keys of the first rows that are refused.
    pub(super) fn rows_with(&self, refused: &str, most: usize) -> String {
        format!(
            "SELECT {} FROM ({}) AS made WHERE {refused} ORDER BY {} LIMIT {most}",
            self.keys(),
            self.made(&KeyRange::default()),
            self.order(),
        )
    }

    fn order(&self) -> String {
        let names = self.sql.layout.conflict.iter();
        let names = names.map(|name| format!("made.{}", ident(name)));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Equal only where a unique index of any collation has to say so too.
    fn group(&self, columns: &[String]) -> String {
        let group = columns.iter().map(|name| {
            let value = format!("made.{}", ident(name));
            self.rules.plainly(name, &value)
        });
        group.collect::<Vec<_>>().join(", ")
    }

    /// How many keys are given more than once, and by how many rows.
    pub(super) fn twins(&self, columns: &[String]) -> String {
        format!(
            "SELECT count(*), coalesce(sum(_etlrs_n), 0) FROM (SELECT count(*) AS _etlrs_n FROM ({}) AS made \
             WHERE {} GROUP BY {} HAVING count(*) > 1) AS twins",
            self.made(&KeyRange::default()),
            whole(columns),
            self.group(columns),
        )
    }

    /// The keys of the first rows that share a value of a unique key. The value itself is not shown.
    pub(super) fn rows_of_twins(&self, columns: &[String], most: usize) -> String {
        format!(
            "SELECT DISTINCT {} FROM (SELECT {}, count(*) OVER (PARTITION BY {}) AS _etlrs_n FROM ({}) AS made \
             WHERE {}) AS made WHERE _etlrs_n > 1 ORDER BY 1 LIMIT {most}",
            self.keys(),
            list(&self.sql.layout.conflict),
            self.group(columns),
            self.made(&KeyRange::default()),
            whole(columns),
        )
    }
}

/// No unique index minds a NULL.
fn whole(columns: &[String]) -> String {
    let whole = columns
        .iter()
        .map(|name| format!("made.{} IS NOT NULL", ident(name)));
    whole.collect::<Vec<_>>().join(" AND ")
}
