//! What a deployment at 2.0.0 must hold, computed from the 1.5.0 rows and the guide's text,
//! and compared row by row.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::hostile::{SourceRow, TargetRow, new_config};

/// The guide's `ConfigV2`, with its own serde types.
#[derive(Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the guide's names say what they are")]
pub struct ConfigV2 {
    pub database: DatabaseConfig,
    pub pipeline: PipelineConfig,
    pub observability: ObservabilityConfig,
}

/// The guide's `DatabaseConfig`.
#[derive(Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the guide's names say what they are")]
pub struct DatabaseConfig {
    pub url: String,
    pub pool_size: u32,
    pub timeout: std::time::Duration,
}

/// The guide's `PipelineConfig`.
#[derive(Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the guide's names say what they are")]
pub struct PipelineConfig {
    pub batch_size: usize,
    pub max_parallel_tasks: usize,
    pub retry_attempts: u32,
    pub timeout: std::time::Duration,
}

/// The guide's `ObservabilityConfig`.
#[derive(Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "the guide's names say what they are")]
pub struct ObservabilityConfig {
    pub log_level: String,
    pub enable_metrics: bool,
    pub enable_tracing: bool,
    pub metrics_port: u16,
}

/// What the deployment's config must deserialise into.
pub fn config_v2(url: &str) -> ConfigV2 {
    ConfigV2 {
        database: DatabaseConfig {
            url: url.to_owned(),
            pool_size: 10,
            timeout: std::time::Duration::from_secs(30),
        },
        pipeline: PipelineConfig {
            batch_size: 1000,
            max_parallel_tasks: 4,
            retry_attempts: 3,
            timeout: std::time::Duration::from_mins(5),
        },
        observability: ObservabilityConfig {
            log_level: "info".to_owned(),
            enable_metrics: true,
            enable_tracing: true,
            metrics_port: 9090,
        },
    }
}

/// A row of a 2.0.0 `pipelines`, read back.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Row {
    /// Its key.
    pub id: i64,
    name: String,
    config: String,
    status: String,
    retry_attempts: Option<i64>,
    timeout_seconds: Option<i64>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

/// Compares every row of a migrated `pipelines` with what it must be.
///
/// # Panics
/// With the first rows that differ.
#[track_caller]
pub fn rows_must_fit(rows: &[Row], source: &[SourceRow], target: &[TargetRow]) {
    let found: BTreeMap<i64, &Row> = rows.iter().map(|row| (row.id, row)).collect();
    assert_eq!(found.len(), rows.len(), "ids are not unique");
    let before: BTreeMap<i64, &TargetRow> = target.iter().map(|row| (row.id, row)).collect();
    let sources: BTreeMap<i64, &SourceRow> = source.iter().map(|row| (row.id, row)).collect();
    let mut wrong = Vec::new();
    for row in source {
        match found.get(&row.id) {
            None => wrong.push(format!("row {} is missing", row.id)),
            Some(now) => wrong.extend(migrated(row, now, before.contains_key(&row.id))),
        }
    }
    for row in target.iter().filter(|row| !sources.contains_key(&row.id)) {
        match found.get(&row.id) {
            None => wrong.push(format!("row {} of the target is gone", row.id)),
            Some(now) => wrong.extend(left_alone(row, now)),
        }
    }
    let known = |id| sources.contains_key(id) || before.contains_key(id);
    let foreign = found.keys().filter(|id| !known(id));
    wrong.extend(foreign.map(|id| format!("row {id} comes from nowhere")));
    wrong.truncate(10);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn migrated(row: &SourceRow, now: &Row, upserted: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut differs = |what: &str, expected: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
        let id = row.id;
        wrong.push(format!("row {id}: {what} is {found:?}, not {expected:?}"));
    };
    if now.name != row.name {
        differs("name", &row.name, &now.name);
    }
    if now.status != row.status {
        differs("status", &row.status, &now.status);
    }
    let config = new_config(&row.config);
    match serde_json::from_str::<Value>(&now.config) {
        Ok(found) if same_json(&config, &found) => {}
        _ => differs("config", &config.to_string(), &now.config),
    }
    if (now.retry_attempts, now.timeout_seconds) != (Some(3), Some(300)) {
        differs(
            "retry and timeout",
            &(3, 300),
            &(now.retry_attempts, now.timeout_seconds),
        );
    }
    let created = moment(&row.created_at);
    // The guide's upsert leaves `created_at` of a row that was there.
    if !upserted && now.created_at.as_deref().map(moment) != Some(created) {
        differs("created_at", &row.created_at, &now.created_at);
    }
    if !upserted && now.updated_at.as_deref().map(moment) != Some(created) {
        differs("updated_at", &row.created_at, &now.updated_at);
    }
    if now.created_at.is_none() || now.updated_at.is_none() {
        differs("moment", &"set", &(&now.created_at, &now.updated_at));
    }
    wrong
}

fn left_alone(row: &TargetRow, now: &Row) -> Option<String> {
    let same = (&row.name, &row.config, &row.status) == (&now.name, &now.config, &now.status)
        && (now.retry_attempts, now.timeout_seconds) == (Some(3), Some(300));
    (!same).then(|| format!("row {} was touched: {now:?}", row.id))
}

/// Equal as JSON, numbers by their value: `1e3` is `1000`.
fn same_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => match (x.as_i128(), y.as_i128()) {
            (Some(x), Some(y)) => x == y,
            _ => x.as_f64() == y.as_f64(),
        },
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same_json(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter()
                    .all(|(key, x)| y.get(key).is_some_and(|y| same_json(x, y)))
        }
        _ => a == b,
    }
}

/// Reads a moment as either database prints it; without an offset it is at UTC.
fn moment(text: &str) -> DateTime<Utc> {
    let text = text.trim().replacen(' ', "T", 1);
    DateTime::parse_from_rfc3339(&text)
        .map(|moment| moment.to_utc())
        .or_else(|_| {
            NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").map(|m| m.and_utc())
        })
        .unwrap_or_else(|error| panic!("{text:?} is no moment: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{moment, same_json};
    use serde_json::json;

    #[test]
    fn numbers_are_compared_by_value() {
        let parse = |text: &str| serde_json::from_str(text).unwrap();
        assert!(same_json(&parse("[1e3]"), &parse("[1000]")));
        assert!(!same_json(
            &parse("9223372036854775807"),
            &parse("9223372036854775806")
        ));
        assert!(!same_json(&json!({"a": 1}), &json!({"a": 1, "b": null})));
        assert!(!same_json(&json!("1"), &json!(1)));
    }

    #[test]
    fn moments_are_compared_at_utc() {
        assert_eq!(
            moment("2023-12-01T14:00:00+05:30"),
            moment("2023-12-01 08:30:00")
        );
        assert_ne!(
            moment("2023-12-01 08:30:00.000001"),
            moment("2023-12-01 08:30:00")
        );
    }
}
