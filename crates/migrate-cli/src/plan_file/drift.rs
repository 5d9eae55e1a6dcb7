//! What is no longer as a plan file says: pure, a finding a line.

use std::collections::{BTreeMap, BTreeSet};

use migrate_core::{Finding, Place};
use migrate_schema::catalog::table_items;
use serde_json::Value;

use super::{ConfigState, Contract, Hop};

/// What of a contract can still be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything: nothing of it was applied yet.
    Whole,
    /// Not config and schema: some plans of the chain were applied and have changed them.
    PlansOnly,
}

/// Everything that differs, in the order in which a person would look for it.
pub(crate) fn drift(then: &Contract, now: &Contract, extent: Extent) -> Vec<Finding> {
    let mut found = Vec::new();
    one(
        &mut found,
        "tool",
        "the tool",
        &then.tool_version,
        &now.tool_version,
    );
    let environment = |c: &Contract| c.environment.clone().unwrap_or_else(|| "none".to_owned());
    one(
        &mut found,
        "environment",
        "the environment",
        &environment(then),
        &environment(now),
    );
    one(
        &mut found,
        "database",
        "the database",
        &then.database,
        &now.database,
    );
    services(&mut found, &then.services, &now.services);
    hops(&mut found, &then.hops, &now.hops);
    if extent == Extent::Whole {
        for (path, state) in &then.config {
            config(&mut found, path, state, now.config.get(path));
        }
        schema(&mut found, &then.schema, &now.schema);
    }
    found
}

fn finding(area: &str, message: String) -> Finding {
    Finding::error(&format!("drift.{area}"), message)
}

fn one(found: &mut Vec<Finding>, area: &str, what: &str, then: &str, now: &str) {
    if then != now {
        found.push(finding(area, format!("{what} was {then} and is {now}")));
    }
}

fn services(
    found: &mut Vec<Finding>,
    then: &BTreeMap<String, Value>,
    now: &BTreeMap<String, Value>,
) {
    for (name, change) in changes(then, now) {
        found.push(finding(
            "service",
            format!("service {name}: its settings {change}"),
        ));
    }
}

/// The keys that differ, each with what became of it.
fn changes<'a, T: PartialEq>(
    then: &'a BTreeMap<String, T>,
    now: &'a BTreeMap<String, T>,
) -> Vec<(&'a str, &'static str)> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| match (then.get(name), now.get(name)) {
            (Some(a), Some(b)) if a == b => None,
            (Some(_), Some(_)) => Some((name.as_str(), "changed")),
            (Some(_), None) => Some((name.as_str(), "are gone")),
            _ => Some((name.as_str(), "are new")),
        })
        .collect()
}

fn hops(found: &mut Vec<Finding>, then: &[Hop], now: &[Hop]) {
    let path = |hops: &[Hop]| {
        let versions = hops.iter().map(|hop| hop.plan.to_version.to_string());
        let start = hops
            .iter()
            .take(1)
            .map(|hop| hop.plan.from_version.to_string());
        start.chain(versions).collect::<Vec<_>>().join(" -> ")
    };
    if path(then) != path(now) {
        found.push(finding(
            "chain",
            format!("the chain of plans was {} and is {}", path(then), path(now)),
        ));
        return;
    }
    for (then, now) in then.iter().zip(now) {
        let (a, b) = (
            serde_json::to_value(&then.plan),
            serde_json::to_value(&now.plan),
        );
        if let (Ok(a), Ok(b)) = (a, b) {
            values(found, &now.origin, "", &a, &b);
        }
        scripts(found, then, now);
    }
}

/// Walks two documents and names the places that differ.
fn values(found: &mut Vec<Finding>, origin: &str, pointer: &str, then: &Value, now: &Value) {
    if then == now {
        return;
    }
    match (then, now) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (one, other) = (a.get(key), b.get(key));
                let below = format!("{pointer}/{key}");
                let (one, other) = (one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null));
                values(found, origin, &below, one, other);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (one, other)) in a.iter().zip(b).enumerate() {
                values(found, origin, &format!("{pointer}/{index}"), one, other);
            }
        }
        _ => {
            let keys = pointer.split('/');
            let shown = |value: &Value| {
                let masked = migrate_config::secret::redact_value(keys.clone(), value);
                short(&masked.to_string())
            };
            found.push(finding(
                "plan",
                format!(
                    "{origin}: {pointer} was {} and is {}",
                    shown(then),
                    shown(now)
                ),
            ));
        }
    }
}

fn scripts(found: &mut Vec<Finding>, then: &Hop, now: &Hop) {
    let names: BTreeSet<&String> = then.scripts.keys().chain(now.scripts.keys()).collect();
    for name in names {
        match (then.scripts.get(name), now.scripts.get(name)) {
            (Some(a), Some(b)) if a.text == b.text => {}
            (Some(a), Some(b)) => found.push(line_that_differs(&b.origin, &a.text, &b.text)),
            (Some(a), None) => found.push(finding("script", format!("{}: is gone", a.origin))),
            (None, Some(b)) => found.push(finding("script", format!("{}: is new", b.origin))),
            (None, None) => {}
        }
    }
}

/// The first line that differs, with its number in the text of now.
fn line_that_differs(origin: &str, then: &str, now: &str) -> Finding {
    let (a, b): (Vec<&str>, Vec<&str>) = (then.lines().collect(), now.lines().collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let line = |lines: &[&str]| match lines.get(same) {
        Some(text) => short(&format!("{:?}", text.trim())),
        None => "not there".to_owned(),
    };
    let more = a.len().max(b.len()) - same;
    let number = u32::try_from(same + 1).unwrap_or(u32::MAX);
    let place = Place {
        file: origin.to_owned(),
        line: number,
        column: 1,
        text: None,
    };
    let rest = if more > 1 {
        " (and perhaps lines after it)"
    } else {
        ""
    };
    finding(
        "script",
        format!("was {} and is {}{rest}", line(&a), line(&b)),
    )
    .in_file(place)
}

fn config(found: &mut Vec<Finding>, path: &str, then: &ConfigState, now: Option<&ConfigState>) {
    let gone = ConfigState {
        sha256: None,
        keys: BTreeMap::new(),
    };
    let now = now.unwrap_or(&gone);
    let mut say = |message: String| found.push(finding("config", message));
    match (&then.sha256, &now.sha256) {
        (a, b) if a == b => {}
        (Some(_), None) => say(format!("{path}: is gone")),
        (None, Some(_)) => say(format!("{path}: is new")),
        _ => {
            let keys = changes(&then.keys, &now.keys);
            if keys.is_empty() {
                say(format!("{path}: its comments or layout changed"));
            }
            for (key, change) in keys {
                let change = change.replace("are ", "is ");
                say(format!("{path}: key {key} {change}"));
            }
        }
    }
}

fn schema(
    found: &mut Vec<Finding>,
    then: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
) {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    for name in names {
        let message = match (then.get(name), now.get(name)) {
            (Some(a), Some(b)) if a == b => continue,
            (Some(a), Some(b)) => {
                let parts = table_parts(name, a, b);
                if !parts.is_empty() {
                    found.extend(parts.into_iter().map(|part| finding("schema", part)));
                    continue;
                }
                let (a, b) = differing_parts(a, b);
                format!("{name} was {a} and is {b}")
            }
            (Some(_), None) => format!("{name} is gone"),
            _ => format!("{name} is new"),
        };
        found.push(finding("schema", message));
    }
}

/// What differs of a table that is kept as one text, a column or constraint each.
fn table_parts(name: &str, then: &str, now: &str) -> Vec<String> {
    if !name.starts_with("table ") {
        return Vec::new();
    }
    let parts = |text: &str| table_items(text).into_iter().collect::<BTreeMap<_, _>>();
    let (then, now) = (parts(then), parts(now));
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    names
        .into_iter()
        .filter_map(|part| match (then.get(part), now.get(part)) {
            (Some(a), Some(b)) if a == b => None,
            (Some(a), Some(b)) => Some(format!(
                "{name}: {part} was {} and is {}",
                short(a),
                short(b)
            )),
            (Some(_), None) => Some(format!("{name}: {part} is gone")),
            _ => Some(format!("{name}: {part} is new")),
        })
        .collect()
}

/// Two definitions from where they begin to differ, cut to a readable length.
fn differing_parts(a: &str, b: &str) -> (String, String) {
    let same: usize = a
        .chars()
        .zip(b.chars())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum();
    let from = if same > 40 {
        a[..same].rfind(char::is_whitespace).unwrap_or(0)
    } else {
        0
    };
    (short(a[from..].trim()), short(b[from..].trim()))
}

fn short(text: &str) -> String {
    const MOST: usize = 120;
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripts_line_is_named() {
        let found = line_that_differs("m/001.sql", "a;\nb;\nc;", "a;\nB;\nc;");
        assert_eq!(
            found.to_string(),
            "m/001.sql:2:1: was \"b;\" and is \"B;\" (and perhaps lines after it)"
        );
        let longer = line_that_differs("m/001.sql", "a;", "a;\nb;");
        assert_eq!(
            longer.to_string(),
            "m/001.sql:2:1: was not there and is \"b;\""
        );
    }

    #[test]
    fn a_plans_places_are_named_and_secrets_are_not() {
        let then = serde_json::json!({"steps": [{"timeout": "30s", "password": "old"}]});
        let now = serde_json::json!({"steps": [{"timeout": "40s", "password": "new"}]});
        let mut found = Vec::new();
        values(&mut found, "p.json", "", &then, &now);
        let text: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 2, "{text:?}");
        assert!(
            text.iter()
                .any(|line| line.contains("/steps/0/timeout was \"30s\" and is \"40s\""))
        );
        assert!(
            !text
                .iter()
                .any(|line| line.contains("old") || line.contains("new")),
            "{text:?}"
        );
    }

    #[test]
    fn long_definitions_are_cut_where_they_begin_to_differ() {
        let long = "x ".repeat(100);
        let (a, b) = differing_parts(&format!("{long}one"), &format!("{long}two"));
        assert_eq!((a.as_str(), b.as_str()), ("one", "two"));
    }
}
