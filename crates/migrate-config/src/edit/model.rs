//! Edits on plain values: what an edit means, apart from any text.

use migrate_core::Finding;
use serde_json::{Map, Value};

use super::Edit;
use crate::key_path::{KeyPath, PathStep};
use crate::syntax::Format;
use crate::written::datetime;

/// Makes the edit and tells whether it changed anything.
pub(crate) fn apply(root: &mut Value, edit: &Edit, format: Format) -> Result<bool, Finding> {
    match edit {
        Edit::Set { path, value } => {
            check_value(path, value, format)?;
            set(root, path, value)
        }
        Edit::Rename { from, to } => rename(root, from, to),
        Edit::Remove { path } => {
            let removed = take(root, path);
            Ok(removed.is_some())
        }
    }
}

/// Two documents that say the same. In TOML a table that only its keys made goes with its last
/// key, so empty tables do not count.
pub(crate) fn same(left: &Value, right: &Value, format: Format) -> bool {
    match format {
        Format::Json => left == right,
        Format::Toml => pruned(left) == pruned(right),
    }
}

fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), pruned(value)))
            .filter(|(_, value)| !value.as_object().is_some_and(Map::is_empty))
            .collect(),
        Value::Array(items) => items.iter().map(pruned).collect(),
        other => other.clone(),
    }
}

/// The value at a path.
pub(crate) fn get<'v>(root: &'v Value, path: &KeyPath) -> Option<&'v Value> {
    path.steps()
        .iter()
        .try_fold(root, |value, step| match step {
            PathStep::Key(key) => value.as_object()?.get(key),
            PathStep::Index(index) => value.as_array()?.get(*index),
        })
}

/// The longest path to a value that exists on the way to `path`.
pub(crate) fn existing(root: &Value, path: &KeyPath) -> KeyPath {
    let mut current = path.clone();
    while get(root, &current).is_none() {
        let Some((parent, _)) = current.split_last() else {
            break;
        };
        current = parent;
    }
    current
}

/// Setting a table over a table, key by key; `None` if it is not that.
pub(crate) fn table_parts(root: &Value, path: &KeyPath, value: &Value) -> Option<Vec<Edit>> {
    let old = get(root, path)?.as_object()?;
    let new = value.as_object().filter(|_| datetime(value).is_none())?;
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let removes = gone.map(|key| Edit::Remove {
        path: path.key(key),
    });
    let sets = new.iter().map(|(key, value)| Edit::Set {
        path: path.key(key),
        value: value.clone(),
    });
    Some(removes.chain(sets).collect())
}

fn check_value(path: &KeyPath, value: &Value, format: Format) -> Result<(), Finding> {
    let bad = |message: &str, hint: &str| {
        let message = format!("{path} can't be set: {message}");
        Err(Finding::error("config.value", message)
            .at(path.pointer())
            .hint(hint))
    };
    match value {
        _ if format == Format::Json => Ok(()),
        Value::Null => bad("TOML has no null", "use `remove` to take a key away"),
        Value::Number(n) if n.is_u64() && n.as_i64().is_none() => {
            bad("TOML's integers end at 9223372036854775807", "use a string")
        }
        Value::Array(items) => items.iter().try_for_each(|v| check_value(path, v, format)),
        Value::Object(map) => map.values().try_for_each(|v| check_value(path, v, format)),
        _ => Ok(()),
    }
}

fn set(root: &mut Value, path: &KeyPath, new: &Value) -> Result<bool, Finding> {
    let is_new = get(root, path).is_none();
    let mut value = root;
    let mut walked = KeyPath::root();
    for step in path.steps() {
        value = enter(value, step, &walked)?;
        walked.push(step.clone());
    }
    if value == new && !is_new {
        return Ok(false);
    }
    if value.as_object().is_some_and(|old| !old.is_empty()) && !new.is_object() {
        let message = format!("{path} is a table; setting it to a plain value would drop its keys");
        return Err(Finding::error("config.table", message)
            .at(path.pointer())
            .hint("remove it first, or set the keys in it"));
    }
    *value = new.clone();
    Ok(true)
}

/// Goes one step further, making what is missing.
fn enter<'v>(
    value: &'v mut Value,
    step: &PathStep,
    walked: &KeyPath,
) -> Result<&'v mut Value, Finding> {
    let kind = kind_of(value);
    match (step, value) {
        (PathStep::Key(key), Value::Object(map)) => {
            Ok(map.entry(key.as_str()).or_insert_with(missing))
        }
        (PathStep::Index(index), Value::Array(items)) => {
            let length = items.len();
            if *index > length {
                let message = format!("{walked}[{index}]: {walked} has only {length} elements");
                return Err(Finding::error("config.no-element", message).at(walked.pointer()));
            }
            if *index == length {
                items.push(missing());
            }
            Ok(&mut items[*index])
        }
        _ => Err(wrong_kind(walked, step, kind)),
    }
}

/// What is made on the way: a table, unless it is the end of the way and gets its value.
fn missing() -> Value {
    Value::Object(Map::new())
}

fn wrong_kind(walked: &KeyPath, step: &PathStep, found: &str) -> Finding {
    let wanted = match step {
        PathStep::Key(_) => "a table",
        PathStep::Index(_) => "an array",
    };
    let place = if walked.steps().is_empty() {
        "the document".to_owned()
    } else {
        walked.to_string()
    };
    let message = format!("{place} is {found}, not {wanted}");
    Finding::error("config.not-a-table", message).at(walked.pointer())
}

/// What a value is, for people.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(n) if n.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    }
}

fn rename(root: &mut Value, from: &KeyPath, to: &KeyPath) -> Result<bool, Finding> {
    for path in [from, to] {
        if !matches!(path.steps().last(), Some(PathStep::Key(_))) {
            let message = format!("{path} is no key: only keys can be renamed");
            return Err(Finding::error("config.rename", message));
        }
    }
    if get(root, from).is_none() || from == to {
        return Ok(false);
    }
    if to.starts_with(from) || from.starts_with(to) {
        let message = format!("{from} can't become {to}: one holds the other");
        return Err(Finding::error("config.rename", message).at(from.pointer()));
    }
    if get(root, to).is_some() {
        let message = format!("{from} can't become {to}: there is a {to} already");
        return Err(Finding::error("config.conflict", message)
            .at(to.pointer())
            .hint(format!(
                "decide which value holds, and remove {from} or {to}"
            )));
    }
    let value = take(root, from).expect("it was there a moment ago");
    set(root, to, &value)?;
    Ok(true)
}

fn take(root: &mut Value, path: &KeyPath) -> Option<Value> {
    let (parent, last) = path.split_last()?;
    let holder = parent
        .steps()
        .iter()
        .try_fold(root, |value, step| match step {
            PathStep::Key(key) => value.as_object_mut()?.get_mut(key),
            PathStep::Index(index) => value.as_array_mut()?.get_mut(*index),
        })?;
    match (last, holder) {
        (PathStep::Key(key), Value::Object(map)) => map.shift_remove(key),
        (PathStep::Index(index), Value::Array(items)) if *index < items.len() => {
            Some(items.remove(*index))
        }
        _ => None,
    }
}
