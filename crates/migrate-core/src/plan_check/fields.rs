//! Fields of a JSON object, with a finding for what is missing, unknown or of another type.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::nearest;
use crate::finding::Finding;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Need {
    Required,
    Optional,
}

pub(super) struct PlanDuration;

impl<'de> serde::Deserialize<'de> for PlanDuration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::duration::deserialize(deserializer).map(|_: Duration| Self)
    }
}

pub(super) fn object<'a>(
    value: &'a Value,
    at: &str,
    what: &str,
    found: &mut Vec<Finding>,
) -> Option<&'a Map<String, Value>> {
    let map = value.as_object();
    if map.is_none() {
        found.push(
            Finding::error(
                "plan.wrong-type",
                format!("{what} must be an object, found {}", sort_of(value)),
            )
            .at(at),
        );
    }
    map
}

pub(super) fn known(
    map: &Map<String, Value>,
    at: &str,
    fields: &[&str],
    what: &str,
    found: &mut Vec<Finding>,
) {
    for name in map.keys().filter(|name| !fields.contains(&name.as_str())) {
        let mut finding = Finding::error(
            "plan.unknown-field",
            format!("{what} has no field {name:?}"),
        )
        .at(format!("{at}/{name}"));
        finding.hint = Some(match nearest(name, fields) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known fields: {}", fields.join(", ")),
        });
        found.push(finding);
    }
}

pub(super) fn field<T: DeserializeOwned>(
    map: &Map<String, Value>,
    at: &str,
    name: &str,
    need: Need,
    found: &mut Vec<Finding>,
) -> Option<T> {
    let Some(value) = map.get(name) else {
        if need == Need::Required {
            found.push(
                Finding::error(
                    "plan.missing-field",
                    format!("the field {name:?} is missing"),
                )
                .at(at),
            );
        }
        return None;
    };
    match T::deserialize(value) {
        Ok(value) => Some(value),
        Err(error) => {
            let at = format!("{at}/{name}");
            found.push(Finding::error("plan.wrong-value", format!("{name}: {error}")).at(at));
            None
        }
    }
}

pub(super) fn optional<T: DeserializeOwned>(
    map: &Map<String, Value>,
    at: &str,
    name: &str,
    found: &mut Vec<Finding>,
) {
    if map.get(name).is_some_and(|value| !value.is_null()) {
        field::<T>(map, at, name, Need::Optional, found);
    }
}

pub(super) fn list<'a>(
    map: &'a Map<String, Value>,
    name: &str,
    need: Need,
    found: &mut Vec<Finding>,
) -> &'a [Value] {
    match map.get(name) {
        Some(Value::Array(items)) => items,
        Some(other) => {
            found.push(
                Finding::error(
                    "plan.wrong-type",
                    format!("{name} must be a list, found {}", sort_of(other)),
                )
                .at(format!("/{name}")),
            );
            &[]
        }
        None => {
            if need == Need::Required {
                found.push(Finding::error(
                    "plan.missing-field",
                    format!("the field {name:?} is missing"),
                ));
            }
            &[]
        }
    }
}

fn sort_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
