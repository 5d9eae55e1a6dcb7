//! What a rollback would lose of what others wrote.

use std::collections::BTreeMap;

use migrate_core::{Counted, Fingerprint, Loss, RowChanges, StepError};
use migrate_schema::catalog;
use migrate_schema::db::{Database, DbError};
use migrate_schema::quote::TableName;

use super::scope::ABSENT;

/// What differs between the end of the upgrade and now. Counts are lower bounds: a row
/// added and another one removed leave the count as it was.
pub(super) fn between(then: &Fingerprint, now: &Fingerprint) -> Vec<Loss> {
    then.names_to_compare(now)
        .into_iter()
        .filter_map(|name| {
            let (old, new) = (then.0.get(name), now.0.get(name));
            (old != new).then(|| loss(name, old, new))
        })
        .collect()
}

fn loss(name: &str, old: Option<&String>, new: Option<&String>) -> Loss {
    let (object, rows, detail) = match name.split_once(' ') {
        Some(("rows", table)) => {
            let (rows, detail) = row_change(count(old), count(new));
            (format!("table {table}"), rows, detail)
        }
        Some(("file", path)) => (
            format!("file {path}"),
            None,
            "changed since the upgrade".to_owned(),
        ),
        _ => {
            let what = match (old, new) {
                (None, _) => "made since the upgrade",
                (_, None) => "dropped since the upgrade",
                _ => "definition changed since the upgrade",
            };
            let object = (name.strip_prefix("catalog "))
                .or_else(|| name.strip_prefix(Fingerprint::FACT))
                .unwrap_or(name);
            (object.to_owned(), None, what.to_owned())
        }
    };
    let mut loss = Loss::new(object, rows, detail);
    if name.starts_with("rows ")
        && let (Some(old), Some(new)) = (count(old), count(new))
    {
        loss.changes = Some(RowChanges {
            inserted: new.saturating_sub(old),
            updated: 0,
            deleted: old.saturating_sub(new),
            counted: Counted::AtLeast,
            written: None,
        });
    }
    loss
}

/// The count in `COUNT SUM`; `None` for what is not there.
pub(crate) fn count(sum: Option<&String>) -> Option<u64> {
    let text = sum.filter(|sum| *sum != ABSENT)?;
    text.split(' ').next()?.parse().ok()
}

fn row_change(old: Option<u64>, new: Option<u64>) -> (Option<u64>, String) {
    match (old, new) {
        (None, Some(rows)) => (
            Some(rows),
            format!("made since the upgrade, with {}", rows_text(rows)),
        ),
        (_, None) => (None, "dropped since the upgrade".to_owned()),
        (Some(old), Some(new)) if new > old => (
            Some(new - old),
            format!(
                "at least {} inserted since the upgrade",
                rows_text(new - old)
            ),
        ),
        (Some(old), Some(new)) if new < old => (
            Some(old - new),
            format!(
                "at least {} deleted since the upgrade",
                rows_text(old - new)
            ),
        ),
        _ => (
            Some(1),
            "at least 1 row changed since the upgrade (the number of rows is the same)".to_owned(),
        ),
    }
}

pub(crate) fn rows_text(rows: u64) -> String {
    if rows == 1 {
        "1 row".to_owned()
    } else {
        format!("{rows} rows")
    }
}

/// Tables that are there now and were not in `before`, with rows that the run itself did
/// not leave there (`after`, where it is known). The rows are counted.
pub(super) async fn of_new_tables(
    database: &Database,
    before: &Fingerprint,
    after: Option<&Fingerprint>,
) -> Result<Vec<Loss>, StepError> {
    let tables = catalog::user_tables(database)
        .await
        .map_err(|error| error.into_step_error("can't list the tables"))?;
    let whole = before.0.keys().any(|name| name.starts_with("catalog "));
    let keys = keys_of(database, before)
        .await
        .map_err(|error| error.into_step_error("can't look for the tables"))?;
    let mut losses = Vec::new();
    for table in tables {
        let full = format!("rows {table}");
        let key = keys.get(&table).unwrap_or(&full).clone();
        let is_new = match before.0.get(&key) {
            // Without the catalog in scope, a table that is not named is not ours to judge.
            None => whole,
            Some(sum) => sum == ABSENT,
        };
        if !is_new {
            continue;
        }
        let now = migrate_schema::fingerprint::table(database, &table)
            .await
            .map_err(|error| error.into_step_error(format!("can't count the rows of {table}")))?;
        let left_by_run = after.and_then(|after| after.0.get(&key));
        if now.rows == 0 || left_by_run == Some(&now.to_string()) {
            continue;
        }
        let others = now
            .rows
            .saturating_sub(count(left_by_run).unwrap_or(0))
            .max(1);
        let detail = match left_by_run {
            None => format!("would be dropped with {}", rows_text(now.rows)),
            Some(_) => format!(
                "would be dropped with {}, at least {} of them not written by the upgrade",
                rows_text(now.rows),
                others
            ),
        };
        losses.push(Loss::new(format!("table {table}"), Some(others), detail));
    }
    Ok(losses)
}

/// The names under which a fingerprint holds the rows of tables, as the plan or the catalog says them.
async fn keys_of(
    database: &Database,
    fingerprint: &Fingerprint,
) -> Result<BTreeMap<TableName, String>, DbError> {
    let mut keys = BTreeMap::new();
    for key in fingerprint.0.keys() {
        let name = key.strip_prefix("rows ").map(str::parse::<TableName>);
        if let Some(Ok(name)) = name {
            keys.insert(database.resolve(&name).await?, key.clone());
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(pairs: &[(&str, &str)]) -> Fingerprint {
        let own = |(name, sum): &(&str, &str)| ((*name).to_owned(), (*sum).to_owned());
        Fingerprint(pairs.iter().map(own).collect())
    }

    #[test]
    fn counts_are_lower_bounds_and_say_so() {
        let then = sums(&[
            ("rows a", "3 x"),
            ("rows b", "3 x"),
            ("rows c", "3 x"),
            ("rows d", "1 x"),
            ("file f", "1"),
        ]);
        let now = sums(&[
            ("rows a", "5 y"),
            ("rows b", "2 y"),
            ("rows c", "3 y"),
            ("rows d", "1 x"),
            ("file f", "2"),
            ("rows e", "4 z"),
            ("catalog view v", "q"),
        ]);
        let found: Vec<(String, Option<u64>, String)> = between(&then, &now)
            .into_iter()
            .map(|loss| (loss.object, loss.rows, loss.detail))
            .collect();
        let expect = |object: &str, rows: Option<u64>, detail: &str| {
            assert!(
                found
                    .iter()
                    .any(|(o, r, d)| o == object && *r == rows && d.contains(detail)),
                "{object}: {found:#?}"
            );
        };
        expect("table a", Some(2), "at least 2 rows inserted");
        expect("table b", Some(1), "at least 1 row deleted");
        expect("table c", Some(1), "at least 1 row changed");
        expect("table e", Some(4), "made since the upgrade");
        expect("file f", None, "changed");
        expect("view v", None, "made since");
        assert_eq!(found.len(), 6);
        assert!(between(&then, &then).is_empty());
    }
}
