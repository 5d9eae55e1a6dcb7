//! What is there now and is not in the backup.

use std::path::Path;

use migrate_config::atomic::{self, FileError, Root};
use migrate_core::{Fingerprint, StepError};
use migrate_schema::db::Database;

use crate::canonical;
use crate::inventory::Stored;

/// A table, or something else, that a restore would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is: `table public.pipelines`.
    pub object: String,
    /// What differs, as people read it.
    pub detail: String,
}

/// What a restore would change in the database. `None` where nothing is recorded of the backup.
///
/// # Errors
/// The database or the record can't be read.
pub async fn differences(
    root: &Root,
    backup: &Stored,
    database: &Database,
) -> Result<Option<Vec<Difference>>, StepError> {
    let Stored::Point(point) = backup else {
        return Ok(None);
    };
    let path = Path::new(&point.data_snapshot.fingerprint);
    let bytes = atomic::read(root, path).map_err(FileError::into_step_error)?;
    let then: Fingerprint = serde_json::from_slice(&bytes)
        .map_err(|error| StepError::caused(format!("{} makes no sense", path.display()), &error))?;
    let now = canonical::database(database)
        .await
        .map_err(|error| error.into_step_error("can't look at what is there now"))?;
    Ok(Some(between(&then, &now)))
}

fn between(then: &Fingerprint, now: &Fingerprint) -> Vec<Difference> {
    let mut found = Vec::new();
    for (name, sum) in &now.0 {
        let Some(table) = name.strip_prefix("rows ") else {
            continue;
        };
        let detail = match then.0.get(name) {
            Some(old) if old == sum => continue,
            Some(old) if count(old) == count(sum) => {
                format!(
                    "{} rows now and in the backup, but not the same",
                    count(sum)
                )
            }
            Some(old) => format!("{} rows now, {} in the backup", count(sum), count(old)),
            None => format!("{} rows now, not in the backup", count(sum)),
        };
        let object = format!("table {table}");
        found.push(Difference { object, detail });
    }
    for (name, old) in then.0.iter().filter(|(name, _)| !now.0.contains_key(*name)) {
        if let Some(table) = name.strip_prefix("rows ") {
            let object = format!("table {table}");
            let rows = if count(old) == "1" {
                "row comes"
            } else {
                "rows come"
            };
            let detail = format!("not there now, {} {rows} back", count(old));
            found.push(Difference { object, detail });
        }
    }
    let is_schema =
        |name: &&String| name.starts_with("catalog ") || name.starts_with(Fingerprint::FACT);
    let names = then.names_to_compare(now).into_iter().filter(is_schema);
    if names
        .into_iter()
        .any(|name| then.0.get(name) != now.0.get(name))
    {
        found.push(Difference {
            object: "the schema".to_owned(),
            detail: "differs from the backup's".to_owned(),
        });
    }
    found
}

fn count(sum: &str) -> &str {
    sum.split(' ').next().unwrap_or(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_counted_on_both_sides() {
        let sums = |pairs: &[(&str, &str)]| {
            let own = |(name, sum): &(&str, &str)| ((*name).to_owned(), (*sum).to_owned());
            Fingerprint(pairs.iter().map(own).collect())
        };
        let then = sums(&[
            ("rows a", "3 x"),
            ("rows b", "3 x"),
            ("rows c", "1 x"),
            ("catalog a", "1"),
        ]);
        let now = sums(&[
            ("rows a", "5 y"),
            ("rows b", "3 y"),
            ("rows d", "2 z"),
            ("catalog a", "2"),
        ]);
        let found: Vec<String> = between(&then, &now)
            .into_iter()
            .map(|one| format!("{}: {}", one.object, one.detail))
            .collect();
        assert_eq!(
            found,
            [
                "table a: 5 rows now, 3 in the backup",
                "table b: 3 rows now and in the backup, but not the same",
                "table d: 2 rows now, not in the backup",
                "table c: not there now, 1 row comes back",
                "the schema: differs from the backup's",
            ]
        );
        assert!(between(&then, &then).is_empty());
    }
}
