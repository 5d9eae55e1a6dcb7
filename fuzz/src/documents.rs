//! Plans, and documents that are edited.

use migrate_config::{Edit, KeyPath, Located, edit_text, parse};
use migrate_core::{MigrationPlan, plan_check};
use serde_json::Value;

/// A plan is read or refused; what was read is written and read back as the same plan.
pub fn plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for name in ["plan.json", "plan.toml"] {
        let Ok(located) = parse(name, text) else {
            continue;
        };
        let read = match plan_check::read(&located.value) {
            Ok(read) => read,
            Err(findings) => {
                assert!(!findings.is_empty(), "refused without a reason");
                for finding in located.locate(findings) {
                    assert!(finding.place.is_some(), "without a place: {finding:?}");
                }
                continue;
            }
        };
        let written = serde_json::to_value(&read).expect("a plan can be written");
        let again = plan_check::read(&written);
        assert_eq!(again.as_ref(), Ok(&read), "{written}");
        let serde: MigrationPlan = serde_json::from_value(written).expect("serde reads it too");
        assert_eq!(serde, read);
    }
}

/// An edit is found again in the text, and bytes that it is not about stay.
///
/// The input: `json` or `toml`, then edits (`set PATH JSON`, `remove PATH`, `rename PATH PATH`),
/// one a line, an empty line, and the document.
pub fn config_edit(data: &[u8]) {
    let Some((name, edits, text)) = std::str::from_utf8(data).ok().and_then(edits_of) else {
        return;
    };
    let Ok(before) = parse(name, text) else {
        assert!(
            edit_text(name, text, &edits).is_err(),
            "edited what can't be read"
        );
        return;
    };
    let mut text = text.to_owned();
    let mut before = before;
    for edit in edits {
        let Ok(after) = edit_text(name, &text, std::slice::from_ref(&edit)) else {
            continue;
        };
        let located = parse(name, &after)
            .unwrap_or_else(|found| panic!("{edit:?}\n{text}\nbecame\n{after}\n{found:?}"));
        holds(&edit, &before, &located, &text, &after);
        let twice = edit_text(name, &after, std::slice::from_ref(&edit));
        if !matches!(&edit, Edit::Rename { .. } | Edit::Set { .. }) {
            assert_eq!(
                twice.as_ref(),
                Ok(&after),
                "{edit:?} is not idempotent on\n{text}"
            );
        }
        (text, before) = (after, located);
    }
}

fn edits_of(text: &str) -> Option<(&'static str, Vec<Edit>, &str)> {
    let (head, document) = text.split_once("\n\n")?;
    let mut lines = head.lines();
    let name = match lines.next()? {
        "json" => "c.json",
        "toml" => "c.toml",
        _ => return None,
    };
    Some((name, lines.filter_map(edit_of).take(8).collect(), document))
}

fn edit_of(line: &str) -> Option<Edit> {
    let (verb, rest) = line.split_once(' ')?;
    let path = |text: &str| text.parse::<KeyPath>().ok();
    match verb {
        "set" => {
            let (at, value) = rest.split_once(' ')?;
            Some(Edit::Set {
                path: path(at)?,
                value: serde_json::from_str(value).ok()?,
            })
        }
        "remove" => Some(Edit::Remove { path: path(rest)? }),
        "rename" => {
            let (from, to) = rest.split_once(' ')?;
            Some(Edit::Rename {
                from: path(from)?,
                to: path(to)?,
            })
        }
        _ => None,
    }
}

fn holds(edit: &Edit, before: &Located, after: &Located, old: &str, new: &str) {
    let had = |path: &KeyPath| before.value.pointer(&path.pointer());
    let has = |path: &KeyPath| after.value.pointer(&path.pointer());
    match edit {
        Edit::Set { path, value } => {
            if !hollow(value) {
                assert_eq!(
                    has(path).map(bare),
                    Some(bare(value)),
                    "{edit:?}\n{old}\nbecame\n{new}"
                );
            }
            if had(path).is_none() {
                only_added(edit, old, new);
            }
        }
        Edit::Remove { path } => {
            let in_array = matches!(
                path.steps().last(),
                Some(migrate_config::PathStep::Index(_))
            );
            if !in_array {
                assert!(
                    has(path).is_none_or(|left| had(path).is_some_and(hollow) || hollow(left)),
                    "{edit:?}\n{old}\nbecame\n{new}"
                );
            }
            if had(path).is_none() {
                assert_eq!(old, new, "{edit:?} of what is not there");
            }
        }
        Edit::Rename { from, to } => match had(from) {
            Some(value) => {
                if !hollow(value) && !to.starts_with(from) {
                    assert_eq!(has(to), Some(value), "{edit:?}\n{old}\nbecame\n{new}");
                }
            }
            None => assert_eq!(old, new, "{edit:?} of what is not there"),
        },
    }
    if before.value == after.value && !hollow(&before.value) {
        let same_set = matches!(edit, Edit::Set { path, value } if had(path) == Some(value));
        assert!(
            !same_set || old == new,
            "{edit:?} changed only bytes of\n{old}\nto\n{new}"
        );
    }
}

/// What an insertion may do: every line that was there is still there, in order, unless the new
/// value went into it.
fn only_added(edit: &Edit, old: &str, new: &str) {
    let mut kept = new.chars();
    let mut missing = old.chars().filter(|c| !c.is_whitespace() && *c != ',');
    let all = missing.all(|wanted| kept.any(|c| c == wanted));
    assert!(
        all,
        "{edit:?} took something away from\n{old}\nwhich became\n{new}"
    );
}

/// A table without values: TOML can't always say whether there is one.
fn hollow(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|map| map.values().all(hollow))
}

fn bare(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !hollow(value))
            .map(|(key, value)| (key.clone(), bare(value)))
            .collect(),
        Value::Array(items) => items.iter().map(bare).collect(),
        other => other.clone(),
    }
}
