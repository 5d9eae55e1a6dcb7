//! What rows will meet in the target, found by reading the source before anything is changed.
//!
//! The source is read in parts, each by one query that counts what the target would refuse. A part
//! on which the script fails is halved until the row is found. All of it is bounded in time; what
//! was not looked at is said. Nothing is written, on PostgreSQL in transactions that can't write.

mod ask;
mod bounded;
pub(crate) mod checks;
mod fit;
mod row;
mod rules;
mod told;

use std::time::Duration;

use migrate_core::{Cancel, Finding, StepError};
use migrate_schema::db::DbError;
use tokio::time::Instant;

use self::ask::{Ask, Depth};
pub(crate) use self::bounded::{Unanswered, rows_within};
use self::rules::{Rules, Twins};
use self::told::{Seen, Story};
use crate::copy::TableCopy;
use crate::failure;
use crate::inspect::Inspection;
use crate::keyset::KeyRange;
use crate::planner::{cut, halves};
use crate::range::Program;
use crate::script::SqlScript;
use crate::statement::Statements;

/// How long rows are looked at before a run of a plan, while the services are up.
pub(crate) const BEFORE_A_RUN: Duration = Duration::from_secs(10);

/// How long they are looked at where the copy could begin at once.
pub(crate) const BEFORE_A_COPY: Duration = Duration::from_secs(3);

/// Rows that one query looks at.
const PART: u64 = 100_000;

/// Up to how many rows are looked through for keys that are given twice.
const SORTED: u64 = 5_000_000;

/// How many rows on which the script fails are looked for, and how many of any kind are named.
const NAMED: usize = 3;

/// What can be changed by steps before the copy, so that a finding need not hold then.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unsettled {
    pub(crate) source: bool,
    pub(crate) target: bool,
}

impl TableCopy {
    /// What the rows of the source, as they are, will meet in the target. Empty where nothing is
    /// in the way, or where there is no source to look at yet.
    pub(crate) async fn foresee(
        &self,
        inspection: &Inspection,
        unsettled: Unsettled,
        (patience, cancel): (Duration, &Cancel),
    ) -> Result<Vec<Finding>, StepError> {
        let failed = |error: DbError| {
            error.into_step_error(format!("can't look at the rows of {}", self.source))
        };
        let layout = &inspection.layout;
        if layout.key.is_empty() || layout.outputs.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.source_rows().await.map_err(failed)?;
        let mut story = Story::new(self, rows, unsettled, patience);
        match &self.program {
            Program::Rust(_) => {
                story.not_looked_at("a transform in Rust gets them one by one");
            }
            Program::Sql(script) => {
                let look = Look {
                    copy: self,
                    sql: Statements {
                        backend: self.at_source().backend(),
                        layout,
                    },
                    script,
                    rules: Rules::read(self, layout).await.map_err(failed)?,
                    until: Instant::now() + patience,
                    cancel,
                };
                Box::pin(look.at_all(&mut story)).await?;
            }
        }
        Ok(story.findings())
    }
}

/// One look.
struct Look<'a> {
    copy: &'a TableCopy,
    /// Statements for where the source is.
    sql: Statements<'a>,
    script: &'a SqlScript,
    rules: Rules,
    until: Instant,
    cancel: &'a Cancel,
}

impl Look<'_> {
    async fn at_all(&self, story: &mut Story<'_>) -> Result<(), StepError> {
        story.overlooked.clone_from(&self.rules.overlooked);
        // Quick, and of no use by halves.
        self.at_twins(story).await?;
        let mut counts = vec![0; self.rules.questions.len() + 1];
        let finished = self.at_parts(story, &mut counts).await;
        self.ended(finished, story)?;
        for (question, count) in self.rules.questions.iter().zip(&counts) {
            if *count > 0 {
                let asked = self.ask(Depth::Whole).rows_with(&question.refused, NAMED);
                let keys = self.named(&asked).await;
                let keys = self.ended(keys, story)?.unwrap_or_default();
                story.seen.push(Seen::of(question, *count, keys));
            }
        }
        story.refused = counts.last().copied().unwrap_or_default();
        Ok(())
    }

    /// What came, or that the time is over; an error that is not about rows ends the look, and
    /// is told as what was not looked at.
    fn ended<T>(
        &self,
        found: Result<T, Unanswered>,
        story: &mut Story<'_>,
    ) -> Result<Option<T>, StepError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Unanswered::Late) => {
                if let Some(cause) = self.cancel.cause() {
                    return Err(StepError::interrupted(format!("asked to stop: {cause:?}")));
                }
                story.late = true;
                Ok(None)
            }
            Err(Unanswered::Db(error)) => {
                story.not_looked_at(&failure::redacted(&error, &self.script.select));
                Ok(None)
            }
        }
    }

    /// Part after part, until the time is over.
    async fn at_parts(&self, story: &mut Story<'_>, counts: &mut [u64]) -> Result<(), Unanswered> {
        let mut rest = KeyRange::default();
        loop {
            let part = if self.sql.layout.by_place {
                None
            } else {
                let next = self.sql.boundary(&rest, PART);
                let db = self.copy.at_source();
                let cut = self.bounded(cut(db, self.sql, &rest, &next)).await?;
                match cut {
                    None => return Ok(()),
                    Some(cut) => (cut.rows == PART).then_some(cut.range),
                }
            };
            let is_last = part.is_none();
            let range = part.unwrap_or_else(|| rest.clone());
            self.at_part(&range, story, counts).await?;
            if is_last || story.bad.len() >= NAMED {
                return Ok(());
            }
            rest.after = range.upto;
        }
    }

    /// One part, halved as long as the script fails on it.
    async fn at_part(
        &self,
        part: &KeyRange,
        story: &mut Story<'_>,
        counts: &mut [u64],
    ) -> Result<(), Unanswered> {
        let mut left = vec![part.clone()];
        while let Some(range) = left.pop() {
            let db = self.copy.at_source();
            let answer = self.answer(&range, Depth::Whole).await;
            let error = match answer {
                Ok(answer) if answer.given == answer.read => {
                    story.looked += answer.read;
                    for (sum, count) in counts.iter_mut().zip(answer.refused) {
                        *sum += count;
                    }
                    continue;
                }
                Ok(answer) => Err(answer),
                Err(Unanswered::Db(error)) if failure::is_about_a_row(&error) => Ok(error),
                Err(other) => return Err(other),
            };
            let rows = self
                .bounded(crate::access::count(db, &self.sql.count_source(&range)))
                .await?;
            let parts = self.bounded(halves(db, self.sql, &range, rows)).await?;
            if let Some((lower, upper)) = parts {
                left.extend([upper, lower]);
                continue;
            }
            story.looked += rows;
            story.bad.push(self.bad(&range, error).await);
            if story.bad.len() >= NAMED {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn at_twins(&self, story: &mut Story<'_>) -> Result<(), StepError> {
        if story.rows > SORTED {
            story.twins_overlooked = !self.rules.twins.is_empty();
            return Ok(());
        }
        for twins in &self.rules.twins {
            let found = match self.twins(twins).await {
                // The script fails on a row, which is told already.
                Err(Unanswered::Db(error)) if failure::is_about_a_row(&error) => {
                    story.twins_overlooked = true;
                    continue;
                }
                found => found,
            };
            match self.ended(found, story)? {
                Some(None) => {}
                Some(Some(seen)) => story.seen.push(seen),
                None => {
                    story.twins_overlooked = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn twins(&self, twins: &Twins) -> Result<Option<Seen>, Unanswered> {
        let found = self
            .rows(&self.ask(Depth::Whole).twins(&twins.columns))
            .await?;
        let number = |at: usize| -> u64 {
            let value = found.first().and_then(|row| row.get(at)?.as_deref());
            value.and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        let (keys, rows) = (number(0), number(1));
        if keys == 0 {
            return Ok(None);
        }
        let named = self
            .named(&self.ask(Depth::Whole).rows_of_twins(&twins.columns, NAMED))
            .await?;
        Ok(Some(Seen::twins(twins, keys, rows, named)))
    }

    fn ask(&self, depth: Depth) -> Ask<'_> {
        Ask {
            sql: self.sql,
            script: self.script,
            rules: &self.rules,
            depth,
        }
    }

    async fn answer(&self, range: &KeyRange, depth: Depth) -> Result<ask::Answer, Unanswered> {
        let rows = self.rows(&self.ask(depth).counts(range)).await?;
        Ok(ask::Answer::of(rows.first(), self.rules.questions.len()))
    }
}
