//! Cuts the source into ranges before anything is copied: disjoint, of similar work, gaps free.
//!
//! Small tables are walked once along their key. Large ones on PostgreSQL are cut by the
//! quantiles of a sample of their pages; on SQLite, whose writer works alone, whole-number keys
//! are cut evenly between the lowest and the highest. Without a key, pages make the ranges.

use migrate_schema::db::{Backend, Database, DbError, DbErrorKind};

use crate::access;
use crate::cells::SourceColumn;
use crate::keyset::{Key, KeyPart, KeyRange};
use crate::statement::Statements;

/// Up to how many rows bounds are found by walking the key.
const WALKED: u64 = 100_000;

/// The most ranges of a copy, which bounds the ledger.
const MOST_RANGES: u64 = 100_000;

/// About how many bytes a range holds at most; a range is what an undo takes back at once.
const RANGE_BYTES: u64 = 256 << 20;

/// The least and the most rows of a range that the number of workers decides.
const RANGE_ROWS: u64 = 100_000;

/// How many pages of a sample make its quantiles good enough.
const SAMPLED_PAGES: u64 = 500;

const PAGE: u64 = 8192;

/// Plans the ranges of one copy.
pub(crate) struct Planner<'a> {
    /// Where the source is.
    pub(crate) db: &'a Database,
    /// Statements for that database.
    pub(crate) sql: Statements<'a>,
    /// Rows of a batch, or the first guess at them.
    pub(crate) batch: u64,
    pub(crate) workers: u64,
}

/// How many rows a range shall have: enough ranges to keep all workers busy to the end, none
/// smaller than a batch, none that is too much to be taken back at once.
pub(crate) fn range_rows(rows: u64, batch: u64, workers: u64, row_bytes: u64) -> u64 {
    let busy = rows / (workers * 16).max(1);
    let by_bytes = (RANGE_BYTES / row_bytes.max(1)).max(1);
    let least = rows.div_ceil(MOST_RANGES);
    busy.clamp(batch, RANGE_ROWS.max(batch))
        .min(by_bytes.max(batch))
        .max(least)
        .max(1)
}

impl Planner<'_> {
    /// All ranges, numbered from 1. The last one is open, so that they cover every key there is.
    pub(crate) async fn plan(&self) -> Result<Vec<(i64, KeyRange)>, DbError> {
        let layout = self.sql.layout;
        let per = range_rows(layout.rows, self.batch, self.workers, layout.row_bytes);
        let bounds = if layout.by_place {
            match self.db.backend() {
                Backend::Postgres => self.pages(per),
                Backend::Sqlite => self.even(per).await?,
            }
        } else if layout.rows <= WALKED || !self.can_be_cut() {
            self.walk(per).await?
        } else {
            match self.db.backend() {
                Backend::Postgres => self.sample(per).await?,
                Backend::Sqlite => self.even(per).await?,
            }
        };
        Ok(between(bounds))
    }

    /// Whether bounds can be had without walking the whole key.
    fn can_be_cut(&self) -> bool {
        match self.db.backend() {
            Backend::Postgres => self.sql.layout.sampled,
            Backend::Sqlite => self.sql.layout.whole_key,
        }
    }

    async fn walk(&self, per: u64) -> Result<Vec<Key>, DbError> {
        if self.db.backend() == Backend::Sqlite {
            return self.step(per).await;
        }
        let query = self.sql.every(per, self.sql.layout.rows);
        self.keys(&query).await
    }

    /// From each bound to the next, each a walk of `per` entries of the index.
    async fn step(&self, per: u64) -> Result<Vec<Key>, DbError> {
        let mut bounds: Vec<Key> = Vec::new();
        let rows = self.sql.layout.rows;
        while (bounds.len() as u64 + 1) * per < rows {
            let query = self.sql.nth(bounds.last(), per);
            match self.keys(&query).await?.pop() {
                Some(key) => bounds.push(key),
                None => break,
            }
        }
        Ok(bounds)
    }

    async fn sample(&self, per: u64) -> Result<Vec<Key>, DbError> {
        let layout = self.sql.layout;
        let ranges = layout.rows.div_ceil(per);
        let pages = (layout.rows * layout.row_bytes / PAGE).max(1);
        let wanted = SAMPLED_PAGES.max(4 * ranges);
        #[expect(clippy::cast_precision_loss, reason = "a percentage need not be exact")]
        let percent = (100.0 * wanted as f64 / pages as f64).clamp(0.001, 100.0);
        self.keys(&self.sql.quantiles(ranges, percent)).await
    }

    /// Even cuts of whole numbers; where rows lie unevenly, so does the work.
    async fn even(&self, per: u64) -> Result<Vec<Key>, DbError> {
        let ends = access::rows(self.db, &self.sql.ends()).await?;
        let number =
            |at: usize| -> Option<i128> { ends.first()?.get(at)?.as_deref()?.parse().ok() };
        let (Some(low), Some(high)) = (number(0), number(1)) else {
            return Ok(Vec::new());
        };
        let ranges = i128::from(self.sql.layout.rows.div_ceil(per));
        let cut = |at: i128| {
            let key = low + (high - low) * at / ranges;
            Key(vec![KeyPart::Integer(
                i64::try_from(key).unwrap_or(i64::MAX),
            )])
        };
        let mut bounds: Vec<Key> = (1..ranges).map(cut).collect();
        bounds.dedup();
        Ok(bounds)
    }

    /// Every so many pages of the table.
    fn pages(&self, per: u64) -> Vec<Key> {
        let layout = self.sql.layout;
        let pages = (layout.rows * layout.row_bytes).div_ceil(PAGE);
        let step = (per * layout.row_bytes).div_ceil(PAGE).max(1);
        let bounds = (1..).map(|at| at * step).take_while(|&page| page < pages);
        bounds
            .map(|page| Key(vec![KeyPart::Text(format!("({page},0)"))]))
            .collect()
    }

    async fn keys(&self, query: &str) -> Result<Vec<Key>, DbError> {
        let keys = self.sql.layout.keys(self.db.backend());
        let read = |row: &access::TextRow| {
            keys.read(row).map_err(|why| {
                DbError::new(
                    DbErrorKind::Other,
                    format!("a key of {}: {why}", self.sql.layout.source),
                )
            })
        };
        access::rows(self.db, query)
            .await?
            .iter()
            .map(read)
            .collect()
    }
}

/// Bounds in order as ranges: up to the first, between them, and above the last.
fn between(bounds: Vec<Key>) -> Vec<(i64, KeyRange)> {
    let mut after = None;
    let mut ranges = Vec::with_capacity(bounds.len() + 1);
    for (upto, number) in bounds.into_iter().map(Some).chain([None]).zip(1..) {
        let next = upto.clone();
        let range = KeyRange {
            after,
            upto,
            except: Vec::new(),
        };
        ranges.push((number, range));
        after = next;
    }
    ranges
}

/// The two halves of a range that has more than one row.
pub(crate) async fn halves(
    db: &Database,
    sql: Statements<'_>,
    range: &KeyRange,
    rows: u64,
) -> Result<Option<(KeyRange, KeyRange)>, DbError> {
    if rows < 2 {
        return Ok(None);
    }
    let Some(cut) = cut(db, sql, range, &sql.boundary(range, rows / 2)).await? else {
        return Ok(None);
    };
    let upper = KeyRange {
        after: cut.range.upto.clone(),
        upto: range.upto.clone(),
        except: range.except.clone(),
    };
    Ok(Some((cut.range, upper)))
}

/// The first rows of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// From the range's lower bound to the last row's key.
    pub(crate) range: KeyRange,
    pub(crate) rows: u64,
}

/// Cuts what a boundary query gives off a range; none if it holds no row.
pub(crate) async fn cut(
    db: &Database,
    sql: Statements<'_>,
    range: &KeyRange,
    query: &str,
) -> Result<Option<Cut>, DbError> {
    let found = access::rows(db, query).await?;
    found.first().map(|row| cut_of(sql, range, row)).transpose()
}

/// Cuts the first rows off a range, none if it holds no row: so many at most, and not many more
/// bytes, but always one.
pub(crate) async fn cut_by_bytes(
    db: &Database,
    sql: Statements<'_>,
    range: &KeyRange,
    (rows, bytes): (u64, u64),
    columns: &[SourceColumn],
) -> Result<Option<Cut>, DbError> {
    let rows = rows.min(rows_of(bytes, sql.layout.row_bytes));
    // Mostly so many rows have no more bytes. To find the one where they have is dearer.
    let found = access::rows(db, &sql.boundary_measured(range, rows, columns)).await?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let measured = row.last().and_then(Option::as_deref);
    let measured = measured.and_then(|text| text.parse::<u64>().ok());
    if measured.is_some_and(|measured| measured <= bytes + bytes / 4) {
        return cut_of(sql, range, row).map(Some);
    }
    cut(
        db,
        sql,
        range,
        &sql.boundary_by_bytes(range, (rows, bytes), columns),
    )
    .await
}

/// About how many rows have so many bytes. What is known of a table can be old: never only a few.
fn rows_of(bytes: u64, row_bytes: u64) -> u64 {
    (bytes / row_bytes.max(1)).max(1_000)
}

/// From a row of a number, the parts of a key, and what else there may be.
fn cut_of(sql: Statements<'_>, range: &KeyRange, row: &[Option<String>]) -> Result<Cut, DbError> {
    let keys = sql.layout.keys(sql.backend);
    let wrong = |why: String| DbError::new(DbErrorKind::Other, why);
    let (Some(rows), Some(key)) = (row.first(), row.get(1..=keys.width())) else {
        return Err(wrong("a key has too few parts".to_owned()));
    };
    let key = keys.read(key).map_err(wrong)?;
    Ok(Cut {
        range: KeyRange {
            after: range.after.clone(),
            upto: Some(key),
            except: range.except.clone(),
        },
        rows: rows.as_deref().and_then(|n| n.parse().ok()).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_rows_for_all_workers_and_none_is_too_large() {
        for ((rows, batch, workers, bytes), expected) in [
            ((0, 1000, 2, 100), 1000),
            ((100, 9, 2, 100), 9),
            ((1_000_000, 10_000, 2, 200), 31_250),
            ((1_000_000, 1_000, 64, 200), 1_000),
            ((4_000_000, 10_000, 2, 200), 100_000),
            ((4_000_000, 250_000, 2, 200), 250_000),
            // Rows of a mebibyte: a few hundred of them.
            ((1_000_000, 100, 2, 1 << 20), 256),
            // Ten billion rows are still no more than so many ranges.
            ((10_000_000_000, 1_000, 8, 200), 100_000),
            ((100_000_000_000, 1_000, 8, 200), 1_000_000),
        ] {
            assert_eq!(range_rows(rows, batch, workers, bytes), expected, "{rows}");
        }
    }

    #[test]
    fn bounds_become_ranges_that_cover_everything() {
        let key = |n| Key(vec![KeyPart::Integer(n)]);
        let ranges = between(vec![key(5), key(9)]);
        let expected = [(None, Some(5)), (Some(5), Some(9)), (Some(9), None)];
        for ((number, range), (at, (after, upto))) in ranges.iter().zip((1..).zip(expected)) {
            assert_eq!(*number, at);
            assert_eq!(
                (range.after.clone(), range.upto.clone()),
                (after.map(key), upto.map(key))
            );
        }
        assert_eq!(ranges.len(), 3);
        assert_eq!(between(Vec::new()).len(), 1);
    }
}
