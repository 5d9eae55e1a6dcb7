//! The way back of a configuration that was edited after its migration to 2.0.
//!
//! The text of 1.x is taken, and what was changed since is changed there too: so comments, order
//! and everything that nobody touched are as they were.

use std::collections::BTreeMap;

use migrate_core::Finding;
use serde_json::Value;

use super::shapes::{ConfigMigrator, ConfigV1, ConfigV2};
use super::text::{Shape, detect, migrate_text_v1_to_v2, moved_keys, section_has};
use crate::edit::{Edit, edit_text, value_at};
use crate::key_path::KeyPath;
use crate::located::parse;

/// A text that went back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversed {
    /// The whole text in the old version. May hold passwords.
    pub text: String,
    /// The paths, in the old version, of edits that went along.
    pub kept: Vec<String>,
    /// What the old version has no place for: paths in the new one, or words. No values.
    pub dropped: Vec<String>,
}

/// Takes an edited configuration of 2.0 back to 1.x. `old` is the text before the migration.
///
/// # Errors
/// Either text is broken.
pub fn reverse_text_v2_to_v1(
    name: &str,
    old: &str,
    edited: &str,
) -> Result<Reversed, Vec<Finding>> {
    if detect(name, edited) == Shape::V1 {
        return Ok(Reversed {
            text: edited.to_owned(),
            kept: Vec::new(),
            dropped: Vec::new(),
        });
    }
    let migrated = migrate_text_v1_to_v2(name, old)?.text;
    let (then, now) = (parse(name, &migrated)?.value, parse(name, edited)?.value);
    let before = parse(name, old)?.value;
    let mut back = Reversed {
        text: old.to_owned(),
        kept: Vec::new(),
        dropped: Vec::new(),
    };
    let mut replayed = migrated;
    for (path, value) in changes(&then, &now) {
        // What can't be said in this place of the text is layout as well.
        replayed = edit_text(name, &replayed, &[edit(&path, value.as_ref())]).unwrap_or(replayed);
        match old_path(&before, &path, value.as_ref()) {
            Some(old) => match edit_text(name, &back.text, &[edit(&old, value.as_ref())]) {
                Ok(text) => {
                    back.text = text;
                    back.kept.push(old.to_string());
                }
                Err(_) => back.dropped.push(path.to_string()),
            },
            None => back.dropped.push(path.to_string()),
        }
    }
    if replayed != edited {
        back.dropped.push("comments, order or layout".to_owned());
    }
    if !agrees(name, &back.text, &now) {
        return Err(vec![Finding::error(
            "config.not-reversed",
            format!("{name} is written in a form that can't go back in place"),
        )]);
    }
    Ok(back)
}

fn edit(path: &KeyPath, value: Option<&Value>) -> Edit {
    let path = path.clone();
    match value {
        Some(value) => Edit::Set {
            path,
            value: value.clone(),
        },
        None => Edit::Remove { path },
    }
}

/// The paths whose values differ, with what is there now: tables key by key.
fn changes(then: &Value, now: &Value) -> BTreeMap<KeyPath, Option<Value>> {
    let mut found = BTreeMap::new();
    differ(&KeyPath::root(), Some(then), Some(now), &mut found);
    found
}

fn differ(
    at: &KeyPath,
    then: Option<&Value>,
    now: Option<&Value>,
    found: &mut BTreeMap<KeyPath, Option<Value>>,
) {
    match (then, now) {
        (Some(Value::Object(then)), Some(Value::Object(now))) => {
            for key in then
                .keys()
                .chain(now.keys().filter(|key| !then.contains_key(*key)))
            {
                differ(&at.key(key), then.get(key), now.get(key), found);
            }
        }
        (then, now) if then != now => {
            found.insert(at.clone(), now.cloned());
        }
        _ => {}
    }
}

/// Where an edit belongs in 1.x; none where that has no such key, or can't be without it.
fn old_path(old: &Value, path: &KeyPath, value: Option<&Value>) -> Option<KeyPath> {
    let moved = moved_keys().find(|(table, key, _)| KeyPath::keys([*table, *key]) == *path);
    if let Some((_, _, name)) = moved {
        return value.map(|_| KeyPath::keys([name]));
    }
    let table = path.steps().first()?;
    let known = value_at(old, path).is_some();
    // A table of 2.0 is none of 1.x, unless the user had one of that name with this very key.
    (known || !section_has(table)).then(|| path.clone())
}

/// Whether the text says what the typed way back makes of the edited one.
fn agrees(name: &str, text: &str, edited: &Value) -> bool {
    let found = parse(name, text).ok();
    let found = found.and_then(|found| serde_json::from_value::<ConfigV1>(found.value).ok());
    let typed = serde_json::from_value::<ConfigV2>(edited.clone()).ok();
    match (found, typed.map(ConfigMigrator::migrate_v2_to_v1)) {
        // The level may be written in another case.
        (Some(mut found), Some(typed)) => {
            found.log_level = found.log_level.to_lowercase();
            found == typed
        }
        // A key of 2.0 that was taken away has no type to go by.
        (found, None) => found.is_some(),
        (None, Some(_)) => false,
    }
}
