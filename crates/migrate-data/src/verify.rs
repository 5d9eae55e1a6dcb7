//! Proof that the target holds what the transform gives, by another way than it was written.
//!
//! A range's rows are computed from the source again. Where the target was empty and both sides
//! share the key, two order-independent sums of 128-bit row hashes are compared, which looks in
//! both directions; a difference is narrowed to its rows. Elsewhere every produced row is looked
//! up and compared with what is there. The number of all rows is compared at the end.

use migrate_core::StepError;
use migrate_schema::db::{Backend, Database, DbError, DbErrorKind};

use crate::access::{TextRow, Tx};
use crate::compare::Compared;
use crate::keyset::{Key, KeyRange};
use crate::layout::Images;
use crate::ledger::{Counts, Entry, RowSum};
use crate::passing::tries_again;
use crate::range::{Program, RangeError, RangeWriter};
use crate::settings::fixed_rows;
use crate::statement::Produced;
use crate::work::Way;

/// How many rows are staged at once to be compared.
const PART: u64 = 50_000;

/// How many keys of rows that differ are named.
const SHOWN: usize = 5;

/// How much of a copy is compared.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Verify {
    /// Nothing.
    Off,
    /// So many of a hundred ranges, chosen evenly; and the number of all rows.
    Sample(f64),
    /// Every row, in both directions.
    #[default]
    Full,
}

impl std::str::FromStr for Verify {
    type Err = String;

    /// Reads `off`, `full` or `sample 1%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no extent of a check: use off, full or \"sample 1%\"");
        let percent = match text.trim() {
            "off" => return Ok(Self::Off),
            "full" => return Ok(Self::Full),
            other => other.strip_prefix("sample").ok_or_else(wrong)?.trim(),
        };
        let number = percent.strip_suffix('%').unwrap_or(percent).trim();
        match number.parse::<f64>() {
            Ok(share) if share > 0.0 && share <= 100.0 => Ok(Self::Sample(share)),
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Verify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Sample(share) => write!(f, "sample {share}%"),
            Self::Full => f.write_str("full"),
        }
    }
}

impl Verify {
    /// Whether a range is among those that are compared.
    pub(crate) fn takes(self, number: i64) -> bool {
        match self {
            Self::Off => false,
            Self::Full => true,
            // The whole part grows by one at every range that is taken, and at the first.
            Self::Sample(share) => {
                #[expect(clippy::cast_precision_loss, reason = "numbers of ranges are small")]
                let steps = |n: i64| (n as f64 * share / 100.0).ceil();
                steps(number) > steps(number - 1)
            }
        }
    }
}

/// What was found to be wrong with a range, or with the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) rows: u64,
    /// Those of them that should be there and are not.
    pub(crate) missing: u64,
    /// Lines for people, with the keys of the first rows.
    pub(crate) found: Vec<String>,
}

impl Difference {
    pub(crate) fn is_none(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.missing += other.missing;
        self.found.extend(other.found);
        self.found.truncate(4 * SHOWN);
    }

    /// The error of a copy that is not what it should be.
    pub(crate) fn into_error(self, source: &str, target: &str) -> StepError {
        let mut error = StepError::failed(format!(
            "{target} does not hold what the transform gives for {source}: {} rows differ",
            self.rows
        ));
        error.causes = self.found;
        error.hint(
            "somebody wrote to one of the tables, a trigger changes what is written, or two rows give one key; \
             `verify` \"off\" copies without this check",
        )
    }
}

impl RangeWriter {
    /// Compares one range; tries again where a lock was in the way.
    pub(crate) async fn verify(&self, entry: &Entry) -> Result<Difference, RangeError> {
        let mut tries = 1;
        loop {
            match self.look_at(entry).await {
                Err(RangeError::Db(error)) if tries_again(&error, &mut tries).await => {}
                other => return other,
            }
        }
    }

    async fn look_at(&self, entry: &Entry) -> Result<Difference, RangeError> {
        let entry = &self.but_rejects(entry).await?;
        if self.layout.images == Images::All {
            return self.verify_noted(entry).await;
        }
        let (Program::Sql(script), None) = (&self.program, &self.elsewhere) else {
            return self.verify_staged(entry).await;
        };
        let from = Produced::Script {
            select: &script.select,
            range: &entry.range,
        };
        let mut tx = look(&self.db).await?;
        let found = self.verify_from(&mut tx, entry, from).await;
        drop(tx.rollback().await);
        found
    }

    async fn verify_from(
        &self,
        tx: &mut Tx,
        entry: &Entry,
        from: Produced<'_>,
    ) -> Result<Difference, RangeError> {
        let by_sums = self.db.backend() == Backend::Postgres
            && self.layout.target_was_empty
            && self.layout.same_key;
        if by_sums && self.sums_agree(tx, entry, from).await? {
            return Ok(Difference::default());
        }
        // Rows that are too many show in the number of all rows.
        self.compare(tx, entry, from).await
    }

    /// Whether source and target give the same sums, and both what was written at the time.
    async fn sums_agree(
        &self,
        tx: &mut Tx,
        entry: &Entry,
        from: Produced<'_>,
    ) -> Result<bool, RangeError> {
        let made = tx.rows(&self.sql().sum_of_produced(from)).await?;
        let whole = KeyRange {
            except: Vec::new(),
            ..entry.range.clone()
        };
        let there = tx.rows(&self.sql().sum_of_target(&whole)).await?;
        let written = entry.sum.as_ref().filter(|_| self.layout.steady());
        let as_written = written.is_none_or(|RowSum(low, high)| {
            made.first().is_some_and(|row| {
                row[1].as_deref() == Some(low) && row[2].as_deref() == Some(high)
            })
        });
        Ok(as_written && made == there && !made.is_empty())
    }

    async fn compare(
        &self,
        tx: &mut Tx,
        entry: &Entry,
        from: Produced<'_>,
    ) -> Result<Difference, RangeError> {
        let (made, mut difference) = self.compare_part(tx, entry, from).await?;
        difference.add(self.compare_number(entry, made));
        Ok(difference)
    }

    /// How many rows a part of a range gives, and what is wrong with them in the target.
    async fn compare_part(
        &self,
        tx: &mut Tx,
        entry: &Entry,
        from: Produced<'_>,
    ) -> Result<(u64, Difference), RangeError> {
        let policy = self.program.on_conflict();
        let images = entry.counts.updated + entry.counts.unchanged > 0;
        let compared = Compared {
            number: images.then_some(entry.number),
            from,
            policy: &policy,
        };
        let sql = self.sql();
        let rows = tx.rows(&sql.compare(compared)).await?;
        let [made, missing, different] = numbers(&rows)?;
        let mut difference = Difference::default();
        if missing + different > 0 {
            difference.rows += missing + different;
            difference.missing += missing;
            let rows = tx.rows(&sql.compare_rows(compared, SHOWN)).await?;
            for mut row in rows {
                let what = row.pop().flatten().unwrap_or_default();
                difference
                    .found
                    .extend(self.named(&[row], &format!("is {what}")));
            }
        }
        Ok((made, difference))
    }

    fn compare_number(&self, entry: &Entry, made: u64) -> Difference {
        let moved = entry.counts.moved();
        let found = (made != moved).then(|| {
            format!(
                "the rows {} of {} give {made} rows, but {moved} were moved",
                entry.range.named(&self.layout.key),
                self.layout.source
            )
        });
        Difference {
            rows: made.abs_diff(moved),
            missing: 0,
            found: found.into_iter().collect(),
        }
    }

    /// Rows that pass through this process are staged a part at a time, which is rolled back.
    async fn verify_staged(&self, entry: &Entry) -> Result<Difference, RangeError> {
        let mut difference = Difference::default();
        let (mut rest, mut made) = (entry.range.clone(), 0);
        while let Some(part) = self.cut(&rest, PART).await? {
            let rows = self.transformed(&part.range, Way::Staged).await?;
            let mut tx = look(&self.db).await?;
            let found = async {
                let from = self.staged(&mut tx, rows.as_ref()).await?;
                self.compare_part(&mut tx, entry, from).await
            }
            .await;
            drop(tx.rollback().await);
            self.give_back(rows);
            let (rows, found) = found?;
            made += rows;
            difference.add(found);
            rest.after = part.range.upto;
        }
        difference.add(self.compare_number(entry, made));
        Ok(difference)
    }

    async fn verify_noted(&self, entry: &Entry) -> Result<Difference, RangeError> {
        let mut tx = look(&self.db).await?;
        let rows = fixed_rows(&mut tx, &self.sql().compare_noted(entry.number)).await;
        drop(tx.rollback().await);
        let [noted, missing, different] = numbers(&rows?)?;
        let moved = entry.counts.moved();
        let rows = noted.abs_diff(moved) + missing + different;
        let found = (rows > 0).then(|| {
            format!(
                "of {moved} rows {} that were moved, {noted} were noted; {missing} of those are missing and {different} differ",
                entry.range.named(&self.layout.key)
            )
        });
        Ok(Difference {
            rows,
            missing,
            found: found.into_iter().collect(),
        })
    }

    /// Compares the number of all rows of the target with what it should be. Rows of the source
    /// that are kept aside give none; those that are known to be `missing` are counted already.
    pub(crate) async fn verify_total(
        &self,
        totals: &Counts,
        aside: Vec<Key>,
        missing: u64,
    ) -> Result<Difference, RangeError> {
        let Some(before) = self.layout.target_rows else {
            return Ok(Difference::default());
        };
        let there = crate::access::count(&self.db, &self.sql().count_target()).await?;
        let expected = before + totals.inserted;
        let uncounted = there.abs_diff(expected.saturating_sub(missing));
        if uncounted == 0 {
            return Ok(Difference::default());
        }
        let mut found = vec![format!(
            "{} has {there} rows and should have {expected}",
            self.layout.target
        )];
        if let (Program::Sql(script), None, 0) = (&self.program, &self.elsewhere, before) {
            let all = KeyRange {
                except: aside,
                ..KeyRange::default()
            };
            let from = Produced::Script {
                select: &script.select,
                range: &all,
            };
            let everything = self.sql().extra_of_all(from, SHOWN);
            let rows = crate::access::rows(&self.db, &everything).await?;
            found.extend(self.named(&rows, "is extra"));
        }
        Ok(Difference {
            rows: uncounted,
            missing: 0,
            found,
        })
    }

    fn named(&self, rows: &[TextRow], what: &str) -> Vec<String> {
        let name = |row: &TextRow| {
            let pairs = self.layout.conflict.iter().zip(row);
            let pairs =
                pairs.map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("NULL")));
            format!(
                "the row {} of {} {what}",
                pairs.collect::<Vec<_>>().join(", "),
                self.layout.target
            )
        };
        rows.iter().take(SHOWN).map(name).collect()
    }
}

/// A transaction that compares a range: compiling its query takes as long as running it.
async fn look(db: &Database) -> Result<Tx, DbError> {
    let mut tx = Tx::look(db).await?;
    if db.backend() == Backend::Postgres {
        tx.execute("SET LOCAL jit = off").await?;
    }
    Ok(tx)
}

fn numbers(rows: &[TextRow]) -> Result<[u64; 3], RangeError> {
    let parsed = rows.first().map(|row| {
        let number = |value: &Option<String>| value.as_deref().and_then(|v| v.parse().ok());
        row.iter().map(number).collect::<Option<Vec<u64>>>()
    });
    parsed
        .flatten()
        .and_then(|values| values.try_into().ok())
        .ok_or_else(|| {
            RangeError::Db(DbError::new(
                DbErrorKind::Other,
                "a comparison gave no numbers",
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::Verify;

    #[test]
    fn extents_are_read_and_shown() {
        for (text, verify, shown) in [
            ("off", Verify::Off, "off"),
            ("full", Verify::Full, "full"),
            ("sample 1%", Verify::Sample(1.0), "sample 1%"),
            ("sample 2.5", Verify::Sample(2.5), "sample 2.5%"),
        ] {
            assert_eq!(text.parse::<Verify>().unwrap(), verify);
            assert_eq!(verify.to_string(), shown);
        }
        for text in ["", "some", "sample", "sample 0%", "sample 101%", "1%"] {
            assert!(text.parse::<Verify>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_sample_takes_its_share_and_never_nothing() {
        let taken = |verify: Verify, of: i64| (1..=of).filter(|n| verify.takes(*n)).count();
        assert_eq!(taken(Verify::Sample(1.0), 1000), 10);
        assert_eq!(taken(Verify::Sample(50.0), 10), 5);
        assert_eq!(taken(Verify::Sample(0.1), 3), 1);
        assert_eq!(taken(Verify::Full, 7), 7);
        assert_eq!(taken(Verify::Off, 7), 0);
    }
}
