//! Values of a plan that plain JSON can't say: one that the environment holds, and a date of TOML.
//!
//! Each is a table with one key: `{ from_env = "NAME" }` and `{ toml_datetime = "2026-01-31" }`. A
//! plan in TOML writes dates as they are; reading it makes the second form of them.

use std::str::FromStr as _;
use std::sync::Arc;

use serde_json::{Value, json};

const VARIABLE: &str = "from_env";
const DATETIME: &str = "toml_datetime";

/// Looks a variable up; none if it is not set.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

fn only_text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    map.get(key)?.as_str()
}

/// The name of the variable that holds the value, where one does.
pub fn variable(value: &Value) -> Option<&str> {
    only_text(value, VARIABLE)
}

/// A date or time of TOML, as it is written there.
pub(crate) fn datetime(value: &Value) -> Option<&str> {
    only_text(value, DATETIME)
}

pub(crate) fn of_datetime(text: &str) -> Value {
    json!({ DATETIME: text })
}

/// What is wrong with a value or with one inside of it.
pub(crate) fn problem(value: &Value) -> Option<String> {
    match value {
        Value::Object(map) if map.contains_key(VARIABLE) => match variable(value) {
            Some(name) if is_name(name) => None,
            Some(name) => Some(format!("{name:?} is no name of a variable")),
            None => Some(format!(
                "{VARIABLE} stands alone in its table and names a variable: {{ {VARIABLE} = \"NAME\" }}"
            )),
        },
        Value::Object(map) if map.contains_key(DATETIME) => {
            let valid = datetime(value).map(toml_edit::Datetime::from_str);
            match valid {
                Some(Ok(_)) => None,
                _ => Some(format!(
                    "{DATETIME} stands alone in its table and is a date or time as TOML writes it"
                )),
            }
        }
        Value::Object(map) => map.values().find_map(problem),
        Value::Array(items) => items.iter().find_map(problem),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The names of all variables in a value.
pub fn variables(value: &Value) -> Vec<&str> {
    if let Some(name) = variable(value) {
        return vec![name];
    }
    match value {
        Value::Object(map) => map.values().flat_map(variables).collect(),
        Value::Array(items) => items.iter().flat_map(variables).collect(),
        _ => Vec::new(),
    }
}

/// The value with every variable replaced by what `lookup` gives, or the names that it has not.
pub(crate) fn resolved(
    value: &Value,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Value, Vec<String>> {
    let missing: Vec<String> = variables(value)
        .into_iter()
        .filter(|name| lookup(name).is_none())
        .map(str::to_owned)
        .collect();
    if missing.is_empty() {
        Ok(replaced(value, &|inner| {
            let text = variable(inner).and_then(lookup)?;
            Some(Value::from(text))
        }))
    } else {
        Err(missing)
    }
}

/// The value as formats without dates hold it: dates are strings.
pub(crate) fn plain(value: &Value) -> Value {
    replaced(value, &|inner| datetime(inner).map(Value::from))
}

fn replaced(value: &Value, by: &dyn Fn(&Value) -> Option<Value>) -> Value {
    if let Some(new) = by(value) {
        return new;
    }
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), replaced(value, by)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| replaced(item, by)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_wrong() {
        for good in [
            json!({"from_env": "APP_TOKEN"}),
            json!({"a": [{"from_env": "_x1"}]}),
            json!({"toml_datetime": "2026-01-31T03:30:00Z"}),
            json!({"env": "production"}),
        ] {
            assert_eq!(problem(&good), None, "{good}");
        }
        for wrong in [
            json!({"from_env": 1}),
            json!({"from_env": "A", "or": "b"}),
            json!({"a": {"from_env": "a b"}}),
            json!({"from_env": "1A"}),
            json!({"toml_datetime": "soon"}),
        ] {
            assert!(problem(&wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn replaces_variables_or_names_those_that_are_not_set() {
        let value = json!({"a": [{"from_env": "SET"}, 1], "b": {"from_env": "GONE"}});
        let lookup = |name: &str| (name == "SET").then(|| "word".to_owned());
        assert_eq!(resolved(&value, &lookup), Err(vec!["GONE".to_owned()]));
        assert_eq!(resolved(&value["a"], &lookup), Ok(json!(["word", 1])));
    }
}
