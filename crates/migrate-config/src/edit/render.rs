//! Values and keys as text.

use serde_json::Value;

use crate::syntax::Format;
use crate::written::datetime;

/// A string in double quotes, by rules that JSON and TOML share.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A key as it is written: bare where TOML allows it.
pub(crate) fn key(format: Format, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match format {
        Format::Toml if !key.is_empty() && key.chars().all(bare) => key.to_owned(),
        _ => quoted(key),
    }
}

/// Keys with dots between them.
pub(crate) fn dotted<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    keys.into_iter()
        .map(|name| key(Format::Toml, name))
        .collect::<Vec<_>>()
        .join(".")
}

/// A value of TOML on one line.
pub(crate) fn toml(value: &Value) -> String {
    match value {
        Value::Null => unreachable!("a null is refused before it is written"),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.to_string(),
            (None, Some(float)) => toml_edit::Value::from(float).to_string().trim().to_owned(),
            (None, None) => number.to_string(),
        },
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        dated if datetime(dated).is_some() => datetime(dated).unwrap_or_default().to_owned(),
        Value::Object(map) => {
            let entry = |(name, value): (&String, &Value)| {
                format!("{} = {}", key(Format::Toml, name), toml(value))
            };
            let entries: Vec<_> = map.iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// How JSON is laid out round a place.
#[derive(Debug, Clone)]
pub(crate) enum JsonStyle {
    /// On one line.
    Compact {
        /// What stands between a key and its value.
        colon: &'static str,
    },
    /// One value a line.
    Lines {
        /// One level's indentation.
        unit: String,
        /// The indentation of the line that the value begins on.
        indent: String,
        /// The text's line end.
        newline: &'static str,
    },
}

impl JsonStyle {
    /// What stands between a key and its value.
    pub(crate) fn colon(&self) -> &'static str {
        match self {
            Self::Compact { colon } => colon,
            Self::Lines { .. } => ": ",
        }
    }

    /// The style of what a value in this style holds.
    pub(crate) fn inside(&self) -> Self {
        let mut inside = self.clone();
        if let Self::Lines { unit, indent, .. } = &mut inside {
            indent.push_str(unit);
        }
        inside
    }

    fn join(&self, open: char, items: &[String], close: char) -> String {
        match self {
            Self::Compact { colon } => {
                let separator = if *colon == ":" { "," } else { ", " };
                format!("{open}{}{close}", items.join(separator))
            }
            Self::Lines {
                unit,
                indent,
                newline,
            } => {
                let items = items.join(&format!(",{newline}{indent}{unit}"));
                format!("{open}{newline}{indent}{unit}{items}{newline}{indent}{close}")
            }
        }
    }
}

/// A value of JSON.
pub(crate) fn json(value: &Value, style: &JsonStyle) -> String {
    match value {
        Value::Array(items) if !items.is_empty() => {
            let items: Vec<_> = items.iter().map(|v| json(v, &style.inside())).collect();
            style.join('[', &items, ']')
        }
        Value::Object(map) if !map.is_empty() => {
            let entry = |(name, value): (&String, &Value)| {
                let value = json(value, &style.inside());
                format!("{}{}{value}", quoted(name), style.colon())
            };
            let entries: Vec<_> = map.iter().map(entry).collect();
            style.join('{', &entries, '}')
        }
        plain => plain.to_string(),
    }
}
