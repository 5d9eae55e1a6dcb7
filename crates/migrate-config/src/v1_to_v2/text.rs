//! The migration of the text that a user wrote: comments, order and unknown keys stay.

use std::time::Duration;

use migrate_core::Finding;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::shapes::{ConfigMigrator, ConfigV1, ConfigV2};
use super::v1_check::{self, V1_KEYS};
use crate::edit::{Document, Edit, NewTable, value_at};
use crate::key_path::{KeyPath, PathStep};
use crate::located::{Located, parse};
use crate::syntax::Format;

/// A migrated text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The whole new text. May hold passwords.
    pub text: String,
    /// The paths of keys that neither version knows; they stay where they were.
    pub unknown_keys: Vec<String>,
    /// Keys of the new version that had a value of the user's own, which was kept.
    pub kept_keys: Vec<String>,
}

/// Which version a configuration looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// It has top-level keys of 1.x and none that only 2.0 has.
    V1,
    /// It has the keys of 2.0 and none of 1.x.
    V2,
    /// It is broken, has keys of both or of none: why.
    Neither(String),
}

/// The tables of 2.0 with their keys: the old key, or the default and whether a value fits.
const SECTIONS: [(&str, &[NewKey]); 3] = [
    (
        "database",
        &[
            NewKey::moved("url", "database_url"),
            NewKey::new("pool_size", || json!(10), fits::<u32>),
            NewKey::new("timeout", || seconds(30), fits::<Duration>),
        ],
    ),
    (
        "pipeline",
        &[
            NewKey::moved("batch_size", "batch_size"),
            NewKey::moved("max_parallel_tasks", "parallel_tasks"),
            NewKey::new("retry_attempts", || json!(3), fits::<u32>),
            NewKey::new("timeout", || seconds(300), fits::<Duration>),
        ],
    ),
    (
        "observability",
        &[
            NewKey::moved("log_level", "log_level"),
            NewKey::new("enable_metrics", || json!(true), fits::<bool>),
            NewKey::new("enable_tracing", || json!(true), fits::<bool>),
            NewKey::new("metrics_port", || json!(9090), fits::<u16>),
        ],
    ),
];

struct NewKey {
    name: &'static str,
    origin: Origin,
}

enum Origin {
    Moved(&'static str),
    Default {
        value: fn() -> Value,
        fits: fn(&Value) -> bool,
    },
}

impl NewKey {
    const fn moved(name: &'static str, from: &'static str) -> Self {
        let origin = Origin::Moved(from);
        Self { name, origin }
    }

    const fn new(name: &'static str, value: fn() -> Value, fits: fn(&Value) -> bool) -> Self {
        let origin = Origin::Default { value, fits };
        Self { name, origin }
    }
}

fn seconds(secs: u64) -> Value {
    json!({"secs": secs, "nanos": 0})
}

fn fits<T: DeserializeOwned>(value: &Value) -> bool {
    T::deserialize(value).is_ok()
}

/// Migrates the text of a configuration, TOML or JSON by the name's extension.
///
/// Comments go along with their keys. Keys that neither version knows stay where they are.
/// A table that has the name of a new one is merged with it: its own keys stay, a key that
/// two values want is a finding.
///
/// # Errors
/// Everything that is wrong with the text, each with file, line, column and the line.
pub fn migrate_text_v1_to_v2(name: &str, text: &str) -> Result<Migrated, Vec<Finding>> {
    let mut document = Document::open(name, text, NewTable::First)?;
    if is_v2(&document.located.value) && !has_v1_key(&document.located.value) {
        return Err(vec![
            Finding::error(
                "config.is-v2",
                format!("{name} is a configuration of 2.0 already"),
            )
            .in_file(document.located.nearest("")),
        ]);
    }
    let checked = v1_check::check(&document.located);
    let conflicts = conflicts(&document.located);
    let v1 = match checked {
        Ok(v1) if conflicts.is_empty() => v1,
        checked => {
            let mut findings = checked.err().unwrap_or_default();
            findings.extend(conflicts);
            return Err(findings);
        }
    };
    let unknown_keys = unknown_keys(&document.located.value);
    let kept_keys = kept_keys(&document.located.value);
    make_edits(&mut document, Format::of(name).map_err(|f| vec![f])?)?;
    if !says(&document.located.value, &v1) {
        return Err(vec![Finding::error(
            "config.not-migrated",
            format!("{name} is written in a form that can't be migrated in place"),
        )]);
    }
    Ok(Migrated {
        text: document.text,
        unknown_keys,
        kept_keys,
    })
}

/// Tells the version of a configuration by its shape. `name` gives the format.
pub fn detect(name: &str, text: &str) -> Shape {
    let value = match parse(name, text) {
        Ok(located) => located.value,
        Err(findings) => {
            let why: Vec<_> = findings.iter().map(|f| f.message.clone()).collect();
            return Shape::Neither(why.join("; "));
        }
    };
    match (has_v1_key(&value), has_v2_key(&value)) {
        (true, false) => Shape::V1,
        (false, true) => Shape::V2,
        (true, true) => Shape::Neither("it has keys of 1.x and of 2.0".to_owned()),
        (false, false) => Shape::Neither(format!(
            "it has none of the keys of 1.x ({}) or 2.0 (database.url, ..)",
            V1_KEYS.join(", ")
        )),
    }
}

/// Whether a value is a whole configuration of 2.0.
pub(crate) fn is_v2(value: &Value) -> bool {
    fits::<ConfigV2>(value)
}

pub(crate) fn has_v1_key(value: &Value) -> bool {
    V1_KEYS.iter().any(|key| value.get(key).is_some())
}

fn has_v2_key(value: &Value) -> bool {
    moved_keys().any(|(table, key, _)| value.get(table).and_then(|t| t.get(key)).is_some())
}

/// Whether a step of a path names a table that 2.0 brought.
pub(super) fn section_has(step: &PathStep) -> bool {
    let PathStep::Key(name) = step else {
        return false;
    };
    SECTIONS.iter().any(|(table, _)| table == name)
}

/// The keys that moved: table and key of 2.0, key of 1.x.
pub(super) fn moved_keys() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    SECTIONS.iter().flat_map(|(table, keys)| {
        keys.iter().filter_map(|key| match key.origin {
            Origin::Moved(old) => Some((*table, key.name, old)),
            Origin::Default { .. } => None,
        })
    })
}

/// What stands where the new version needs something else.
fn conflicts(located: &Located) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (table, keys) in &SECTIONS {
        let Some(value) = located.value.get(table) else {
            continue;
        };
        let Some(own) = value.as_object() else {
            let message = format!("2.0 needs a table [{table}], and {table} is something else");
            let finding = Finding::error("config.conflict", message).at(format!("/{table}"));
            findings.push(finding.hint(format!("give your own {table} another name")));
            continue;
        };
        for key in *keys {
            if let Some(value) = own.get(key.name) {
                findings.extend(key.conflict(table, value, &located.value));
            }
        }
    }
    located.locate(findings)
}

impl NewKey {
    fn conflict(&self, table: &str, value: &Value, root: &Value) -> Option<Finding> {
        let path = format!("{table}.{}", self.name);
        let (message, hint) = match self.origin {
            Origin::Moved(old) if root.get(old).is_some() => (
                format!("{old} becomes {path}, and there is a {path} already"),
                format!("decide which value holds, and remove {path}"),
            ),
            Origin::Default { fits, value: new } if !fits(value) => (
                format!("{path} has a value that 2.0 can't read"),
                format!("2.0 wants something like {path} = {}", example(&new())),
            ),
            _ => return None,
        };
        let pointer = format!("/{table}/{}", self.name);
        Some(
            Finding::error("config.conflict", message)
                .at(pointer)
                .hint(hint),
        )
    }
}

fn example(value: &Value) -> String {
    match value.get("secs") {
        Some(secs) => format!("{{ secs = {secs}, nanos = 0 }}"),
        None => value.to_string(),
    }
}

fn unknown_keys(value: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = KeyPath::keys([name.as_str()]);
        if let Some((_, keys)) = SECTIONS.iter().find(|(table, _)| table == name) {
            let own = value.as_object().into_iter().flatten();
            let own = own.filter(|(key, _)| !keys.iter().any(|known| known.name == *key));
            unknown.extend(own.map(|(key, _)| path.key(key).to_string()));
        } else if !V1_KEYS.contains(&name.as_str()) {
            unknown.push(path.to_string());
        }
    }
    unknown
}

fn kept_keys(value: &Value) -> Vec<String> {
    let all = SECTIONS
        .iter()
        .flat_map(|(table, keys)| keys.iter().map(move |k| (*table, k.name)));
    all.filter(|(table, key)| value.get(table).and_then(|t| t.get(key)).is_some())
        .map(|(table, key)| format!("{table}.{key}"))
        .collect()
}

fn make_edits(document: &mut Document<'_>, format: Format) -> Result<(), Vec<Finding>> {
    let mut sections: Vec<_> = SECTIONS.iter().collect();
    if format == Format::Toml {
        // Each new table goes before the first one, so the last comes first.
        sections.reverse();
    }
    let mut findings = Vec::new();
    for (table, keys) in sections {
        for key in *keys {
            let path = KeyPath::keys([*table, key.name]);
            let edit = match key.origin {
                Origin::Moved(old) => Edit::Rename {
                    from: KeyPath::keys([old]),
                    to: path,
                },
                Origin::Default { .. } if value_at(&document.located.value, &path).is_some() => {
                    continue;
                }
                Origin::Default { value, .. } => Edit::Set {
                    path,
                    value: value(),
                },
            };
            findings.extend(document.apply(&edit).err());
        }
    }
    if findings.is_empty() {
        Ok(())
    } else {
        Err(findings)
    }
}

/// Whether the migrated document is what the typed migration makes, apart from kept values.
fn says(value: &Value, v1: &ConfigV1) -> bool {
    let Ok(found) = serde_json::from_value::<ConfigV2>(value.clone()) else {
        return false;
    };
    let Ok(typed) = ConfigMigrator::migrate_v1_to_v2(v1.clone()) else {
        return false;
    };
    let moved = |c: &ConfigV2| {
        (
            c.database.url.clone(),
            c.pipeline.batch_size,
            c.pipeline.max_parallel_tasks,
            c.observability.log_level,
        )
    };
    moved(&found) == moved(&typed) && !has_v1_key(value)
}
