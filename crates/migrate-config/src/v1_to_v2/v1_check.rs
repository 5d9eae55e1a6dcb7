//! What is wrong with a text that should be a configuration of 1.x: everything, with places.

use migrate_core::Finding;
use serde_json::{Map, Value};

use super::shapes::{ConfigV1, LogLevel};
use crate::edit::kind_of;
use crate::located::Located;

pub(super) const V1_KEYS: [&str; 4] = ["database_url", "batch_size", "parallel_tasks", "log_level"];

/// The configuration, or all that is wrong with it.
pub(super) fn check(located: &Located) -> Result<ConfigV1, Vec<Finding>> {
    let empty = Map::new();
    let keys = located.value.as_object().unwrap_or(&empty);
    let mut checker = Checker {
        keys,
        findings: Vec::new(),
    };
    let database_url = checker.take("database_url", "a string", |v| {
        v.as_str().map(str::to_owned)
    });
    let batch_size = checker.take("batch_size", "a whole number from 0", count);
    let parallel_tasks = checker.take("parallel_tasks", "a whole number from 0", count);
    let log_level = checker.take("log_level", "a string", |v| v.as_str().map(str::to_owned));
    if let Some(name) = &log_level {
        checker.check_level(name);
    }
    match (database_url, batch_size, parallel_tasks, log_level) {
        (Some(database_url), Some(batch_size), Some(parallel_tasks), Some(log_level))
            if checker.findings.is_empty() =>
        {
            Ok(ConfigV1 {
                database_url,
                batch_size,
                parallel_tasks,
                log_level,
            })
        }
        _ => Err(located.locate(checker.findings)),
    }
}

fn count(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| number.try_into().ok())
}

struct Checker<'a> {
    keys: &'a Map<String, Value>,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn take<T>(
        &mut self,
        key: &str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let Some(value) = self.keys.get(key) else {
            self.missing(key);
            return None;
        };
        let read = read(value);
        if read.is_none() {
            let found = match value.as_i64() {
                Some(negative) => negative.to_string(),
                None => kind_of(value).to_owned(),
            };
            let message = format!("{key} is {found}, not {wanted}");
            let mut finding = Finding::error("config.wrong-type", message).at(format!("/{key}"));
            if let Some(number) = value.as_str().filter(|text| text.parse::<u64>().is_ok()) {
                finding = finding.hint(format!("write {key} = {number}, without quotes"));
            }
            self.findings.push(finding);
        }
        read
    }

    fn missing(&mut self, key: &str) {
        let message = format!("the key {key} is missing");
        let mut finding = Finding::error("config.missing-key", message);
        let unknown = self.keys.keys().map(String::as_str);
        let unknown = unknown.filter(|name| !V1_KEYS.contains(name));
        finding = match nearest(key, unknown).filter(|(_, distance)| *distance <= 3) {
            Some((name, _)) => finding
                .at(format!("/{}", name.replace('~', "~0").replace('/', "~1")))
                .hint(format!("is {name} meant to be {key}?")),
            None => finding.hint(format!(
                "a configuration of 1.x has {} at top level",
                V1_KEYS.join(", ")
            )),
        };
        self.findings.push(finding);
    }

    fn check_level(&mut self, name: &str) {
        if name.parse::<LogLevel>().is_ok() {
            return;
        }
        let names = LogLevel::ALL.map(LogLevel::as_str);
        let lower = name.to_lowercase();
        let hint = match nearest(&lower, names).filter(|(_, distance)| *distance <= 3) {
            Some((near, _)) => format!("use one of {}; the nearest is {near}", names.join(", ")),
            None => format!("use one of {}", names.join(", ")),
        };
        self.findings.push(
            Finding::error(
                "config.log-level",
                format!("there is no log level {name:?}"),
            )
            .at("/log_level")
            .hint(hint),
        );
    }
}

fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<(&'n str, usize)> {
    names
        .into_iter()
        .map(|other| (other, distance(name, other)))
        .min_by_key(|(_, distance)| *distance)
}

/// Levenshtein's edit distance, in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (left, right, edits) in [
            ("", "abc", 3),
            ("info", "inof", 2),
            ("warn", "warn", 0),
            ("warning", "warn", 3),
            ("größe", "grösse", 2),
        ] {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
    }
}
