//! The guide's own transform: a pipeline of 1.5 as 2.0 keeps it.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::moment;
use crate::transform::{Cell, OnConflict, RowTransform, SourceRow};

/// The config of a 2.0 pipeline from that of a 1.5 one: compact JSON, keys sorted.
///
/// Values are carried as they are written (`1e3` stays `1e3`); only white space inside lists and
/// objects goes. A missing key gets its default, a null stays null, of a key that stands twice the
/// last counts, and JSON that is no object gives all defaults.
///
/// # Errors
/// The text is not JSON.
pub fn transform_config(old_config: &str) -> Result<String, serde_json::Error> {
    let old: Old<'_> = if old_config.trim_start().starts_with('{') {
        serde_json::from_str(old_config)?
    } else {
        serde_json::from_str::<&RawValue>(old_config)?;
        Old::default()
    };
    let [url, level, size, tasks] = old.0;
    let mut new = String::with_capacity(old_config.len() + 256);
    for (text, value, default) in [
        (
            r#"{"database":{"pool_size":10,"timeout":30,"url":"#,
            url,
            r#""""#,
        ),
        (
            r#"},"observability":{"enable_metrics":true,"enable_tracing":true,"log_level":"#,
            level,
            r#""info""#,
        ),
        (
            r#","metrics_port":9090},"pipeline":{"batch_size":"#,
            size,
            "1000",
        ),
        (r#","max_parallel_tasks":"#, tasks, "4"),
    ] {
        new.push_str(text);
        match value {
            Some(raw) => compact(raw.get(), &mut new),
            None => new.push_str(default),
        }
    }
    new.push_str(r#","retry_attempts":3,"timeout":300}}"#);
    Ok(new)
}

/// The keys that have a place in the new config.
const KNOWN: [&str; 4] = ["database_url", "log_level", "batch_size", "parallel_tasks"];

/// Their values in an old one, as they are written.
#[derive(Default)]
struct Old<'a>([Option<&'a RawValue>; KNOWN.len()]);

impl<'de: 'a, 'a> Deserialize<'de> for Old<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Old<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Old<'de>, A::Error> {
        let mut old = Old::default();
        while let Some(known) = map.next_key_seed(Place)? {
            match known {
                Some(at) => old.0[at] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(old)
    }
}

/// Where a key's value goes; escapes in it are read first.
struct Place;

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Place {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(KNOWN.iter().position(|known| *known == key))
    }
}

/// Valid JSON without the white space outside its strings.
fn compact(json: &str, out: &mut String) {
    // Only lists and objects have room for any.
    if !json.starts_with(['[', '{']) {
        return out.push_str(json);
    }
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            (in_string, escaped) = match c {
                _ if escaped => (true, false),
                '\\' => (true, true),
                '"' => (false, false),
                _ => (true, false),
            };
        } else if matches!(c, ' ' | '\t' | '\n' | '\r') {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
}

/// `rust:transform_config`: the same rows as `transform_pipelines.sql` gives.
#[derive(Debug, Clone, Copy, Default)]
pub struct TransformConfig;

impl RowTransform for TransformConfig {
    fn columns(&self) -> &[&str] {
        &[
            "id",
            "name",
            "config",
            "status",
            "retry_attempts",
            "timeout_seconds",
            "created_at",
            "updated_at",
        ]
    }

    fn transform(&self, row: &SourceRow<'_>) -> Result<Vec<Cell>, String> {
        let config = match row.get("config")? {
            Cell::Text(config) => {
                transform_config(config).map_err(|_| "config is not valid JSON".to_owned())?
            }
            Cell::Null => return Err("config is NULL".to_owned()),
            _ => return Err("config is not text".to_owned()),
        };
        let moment = match row.get("created_at")? {
            Cell::Null => Cell::Null,
            Cell::Timestamp(at_utc) => Cell::Timestamp(at_utc.clone()),
            Cell::Text(text) => moment::at_utc(text).map(Cell::Text).ok_or(NOT_A_MOMENT)?,
            _ => return Err(NOT_A_MOMENT.to_owned()),
        };
        Ok(vec![
            row.get("id")?.clone(),
            row.get("name")?.clone(),
            Cell::Text(config),
            row.get("status")?.clone(),
            Cell::Integer(3),
            Cell::Integer(300),
            moment.clone(),
            moment,
        ])
    }

    fn on_conflict(&self) -> OnConflict {
        OnConflict::Update {
            columns: ["name", "config", "status"].map(str::to_owned).to_vec(),
            set: vec![("updated_at".to_owned(), "CURRENT_TIMESTAMP".to_owned())],
        }
    }
}

const NOT_A_MOMENT: &str = "created_at is not a date or time";

#[cfg(test)]
mod tests {
    use super::transform_config;

    fn new(size: &str, tasks: &str, url: &str, level: &str) -> String {
        format!(
            r#"{{"database":{{"pool_size":10,"timeout":30,"url":{url}}},"observability":{{"enable_metrics":true,"enable_tracing":true,"log_level":{level},"metrics_port":9090}},"pipeline":{{"batch_size":{size},"max_parallel_tasks":{tasks},"retry_attempts":3,"timeout":300}}}}"#
        )
    }

    #[test]
    fn carries_values_as_they_are_written() {
        for (old, expected) in [
            ("{}", new("1000", "4", "\"\"", "\"info\"")),
            (" [1,2] ", new("1000", "4", "\"\"", "\"info\"")),
            (
                r#"{"batch_size":null,"log_level":"wa\u0072n"}"#,
                new("null", "4", "\"\"", r#""wa\u0072n""#),
            ),
            (
                r#"{"batch_size":1e3,"parallel_tasks":123456789012345678901234567890,"database_url":"a\"b\\"}"#,
                new(
                    "1e3",
                    "123456789012345678901234567890",
                    r#""a\"b\\""#,
                    "\"info\"",
                ),
            ),
            (
                "{\"batch_size\": [1, {\"a b\": \" \\\" x\"}\n]}",
                new(r#"[1,{"a b":" \" x"}]"#, "4", "\"\"", "\"info\""),
            ),
            (
                r#"{"batch_size":1,"batch_size":2,"ba\u0074ch_size":3}"#,
                new("3", "4", "\"\"", "\"info\""),
            ),
        ] {
            assert_eq!(transform_config(old).unwrap(), expected, "{old}");
        }
    }

    #[test]
    fn gives_what_the_guides_code_gives() {
        let old = r#"{"batch_size":5,"parallel_tasks":2,"database_url":"postgres://x","log_level":"debug"}"#;
        let value: serde_json::Value =
            serde_json::from_str(&transform_config(old).unwrap()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "pipeline": {"batch_size": 5, "max_parallel_tasks": 2, "retry_attempts": 3, "timeout": 300},
                "database": {"url": "postgres://x", "pool_size": 10, "timeout": 30},
                "observability": {"log_level": "debug", "enable_metrics": true, "enable_tracing": true, "metrics_port": 9090}
            })
        );
    }

    #[test]
    fn refuses_what_is_not_json() {
        for old in [
            "",
            "{",
            "{a:1}",
            "{'a':1}",
            "[1,]",
            "01",
            "NaN",
            "{} x",
            "\u{feff}{}",
            "\"a\tb\"",
        ] {
            assert!(transform_config(old).is_err(), "{old:?}");
        }
    }
}
