//! Reading a plan with every finding at once, where serde would stop at the first.

mod fields;
mod nearest;
mod sound;

use serde_json::{Map, Value};

use self::fields::{Need, PlanDuration, field, known, list, object, optional};
pub use self::nearest::{edit_distance, nearest};
use crate::batch_size::BatchSize;
use crate::finding::Finding;
pub use crate::plan::STEP_FIELDS;
use crate::plan::{MigrationPlan, MigrationStep};
use crate::registry::StepRegistry;
use crate::version_pattern::VersionPattern;

/// The fields that a plan can have. `$schema` is for editors.
pub const PLAN_FIELDS: &[&str] = &[
    "$schema",
    "from_version",
    "to_version",
    "migration_type",
    "steps",
    "rollback_steps",
    "validation_checks",
    "estimated_duration",
    "downtime_required",
    "withdrawn",
    "mandatory_stop",
];
/// So many steps a plan has at most, and so many that roll it back.
pub const MAX_STEPS: usize = 10_000;
/// The fields of a step's `data_migration`.
pub const DATA_FIELDS: &[&str] = &[
    "source_table",
    "target_table",
    "transformation_script",
    "batch_size",
    "parallel_workers",
    "verify",
    "source_url",
    "reverse_script",
    "bad_rows",
];
/// The fields of a validation check.
pub const CHECK_FIELDS: &[&str] = &["name", "query", "expected_result", "critical", "phase"];

/// As [`read`], and where it finds errors, also what the kinds find in the steps that are sound.
///
/// # Errors
/// Every finding, each with its JSON pointer.
pub fn read_with(document: &Value, registry: &StepRegistry) -> Result<MigrationPlan, Vec<Finding>> {
    let many = too_many_steps(document);
    if !many.is_empty() {
        return Err(many);
    }
    read(document).map_err(|mut found| {
        let more = sound::findings(document, &found, registry);
        found.extend(more);
        found
    })
}

/// Reads a plan from its document. Fields of a kind's own are left to the kind
/// ([`StepRegistry::build_all`](crate::StepRegistry::build_all)).
///
/// # Errors
/// Every finding, each with its JSON pointer.
pub fn read(document: &Value) -> Result<MigrationPlan, Vec<Finding>> {
    let mut found = too_many_steps(document);
    if !found.is_empty() {
        return Err(found);
    }
    if let Some(plan) = object(document, "", "a plan", &mut found) {
        known(plan, "", PLAN_FIELDS, "a plan", &mut found);
        field::<crate::Version>(plan, "", "from_version", Need::Required, &mut found);
        field::<crate::Version>(plan, "", "to_version", Need::Required, &mut found);
        field::<crate::MigrationType>(plan, "", "migration_type", Need::Required, &mut found);
        field::<PlanDuration>(plan, "", "estimated_duration", Need::Optional, &mut found);
        field::<bool>(plan, "", "downtime_required", Need::Optional, &mut found);
        optional::<String>(plan, "", "withdrawn", &mut found);
        field::<bool>(plan, "", "mandatory_stop", Need::Optional, &mut found);
        steps(plan, "steps", Need::Required, &mut found);
        steps(plan, "rollback_steps", Need::Optional, &mut found);
        checks(plan, &mut found);
    }
    if !found.is_empty() {
        return Err(found);
    }
    let plan: MigrationPlan = serde_json::from_value(document.clone())
        .map_err(|error| vec![Finding::error("plan.invalid", error.to_string())])?;
    let whole = across_the_plan(&plan);
    if whole.is_empty() {
        Ok(plan)
    } else {
        Err(whole)
    }
}

/// Nothing else is looked at in a plan that is too large.
fn too_many_steps(document: &Value) -> Vec<Finding> {
    let lists = ["steps", "rollback_steps"].into_iter();
    let counted = lists.filter_map(|name| Some((name, document[name].as_array()?.len())));
    counted
        .filter(|(_, count)| *count > MAX_STEPS)
        .map(|(name, count)| {
            let message = format!("{name} has {count} entries; at most {MAX_STEPS} are taken");
            Finding::error("plan.too-many-steps", message)
                .at(format!("/{name}"))
                .hint("put what belongs together into one step, or into several versions")
        })
        .collect()
}

/// The document for a deployment at `from`: a range in `from_version` that covers it becomes
/// that version, so that a run, its journal and its way back know exact versions only.
pub fn resolved(document: &Value, from: &crate::Version) -> Value {
    let mut resolved = document.clone();
    let range = document["from_version"]
        .as_str()
        .and_then(|text| text.parse::<VersionPattern>().ok());
    if range.is_some_and(|range| range.is_range() && range.covers(from)) {
        resolved["from_version"] = Value::String(from.to_string());
    }
    resolved
}

fn steps(plan: &Map<String, Value>, name: &str, need: Need, found: &mut Vec<Finding>) {
    let mut ids = std::collections::HashSet::new();
    for (index, value) in list(plan, name, need, found).iter().enumerate() {
        let at = format!("/{name}/{index}");
        let Some(map) = object(value, &at, "a step", found) else {
            continue;
        };
        step(map, &at, found);
        if let Some(id) = map.get("id").and_then(Value::as_str)
            && !ids.insert(id)
        {
            let message = format!("the id {id:?} is used by an earlier step of {name}");
            found.push(
                Finding::error("plan.duplicate-id", message)
                    .at(format!("{at}/id"))
                    .hint("give every step an id of its own"),
            );
        }
    }
}

fn step(map: &Map<String, Value>, at: &str, found: &mut Vec<Finding>) {
    field::<crate::StepId>(map, at, "id", Need::Required, found);
    field::<String>(map, at, "description", Need::Optional, found);
    field::<String>(map, at, "step_type", Need::Required, found);
    optional::<crate::CommandLine>(map, at, "command", found);
    optional::<Map<String, Value>>(map, at, "config_changes", found);
    optional::<String>(map, at, "validation", found);
    field::<PlanDuration>(map, at, "timeout", Need::Optional, found);
    field::<bool>(map, at, "can_rollback", Need::Optional, found);
    for near in misspelled(map) {
        found.push(near.at_step(at));
    }
    let Some(data) = map.get("data_migration").filter(|data| !data.is_null()) else {
        return;
    };
    let at = format!("{at}/data_migration");
    let Some(data) = object(data, &at, "data_migration", found) else {
        return;
    };
    known(data, &at, DATA_FIELDS, "data_migration", found);
    for name in ["source_table", "target_table", "transformation_script"] {
        field::<String>(data, &at, name, Need::Required, found);
    }
    let size = field::<BatchSize>(data, &at, "batch_size", Need::Required, found);
    let workers = field::<usize>(data, &at, "parallel_workers", Need::Required, found);
    for (name, zero) in [
        ("batch_size", size == Some(BatchSize::Rows(0))),
        ("parallel_workers", workers == Some(0)),
    ] {
        if zero {
            found.push(
                Finding::error("plan.wrong-value", format!("{name} must be at least 1"))
                    .at(format!("{at}/{name}")),
            );
        }
    }
    for name in ["verify", "source_url", "reverse_script", "bad_rows"] {
        field::<String>(data, &at, name, Need::Optional, found);
    }
}

struct Misspelled<'a> {
    name: &'a str,
    meant: &'static str,
}

impl Misspelled<'_> {
    fn at_step(&self, at: &str) -> Finding {
        Finding::error(
            "plan.unknown-field",
            format!("a step has no field {:?}", self.name),
        )
        .at(format!("{at}/{}", self.name))
        .hint(format!("did you mean {:?}?", self.meant))
    }
}

/// Fields close to one of ours and not one of ours: kinds judge all other extra fields themselves.
fn misspelled(map: &Map<String, Value>) -> Vec<Misspelled<'_>> {
    map.keys()
        .filter(|name| !STEP_FIELDS.contains(&name.as_str()))
        .filter_map(|name| nearest(name, STEP_FIELDS).map(|meant| Misspelled { name, meant }))
        .collect()
}

fn checks(plan: &Map<String, Value>, found: &mut Vec<Finding>) {
    let mut names: Vec<&str> = Vec::new();
    let values = list(plan, "validation_checks", Need::Optional, found);
    for (index, value) in values.iter().enumerate() {
        let at = format!("/validation_checks/{index}");
        let Some(map) = object(value, &at, "a validation check", found) else {
            continue;
        };
        known(map, &at, CHECK_FIELDS, "a validation check", found);
        field::<String>(map, &at, "name", Need::Required, found);
        field::<String>(map, &at, "query", Need::Required, found);
        field::<Value>(map, &at, "expected_result", Need::Required, found);
        field::<bool>(map, &at, "critical", Need::Optional, found);
        field::<crate::CheckPhase>(map, &at, "phase", Need::Optional, found);
        if let Some(name) = map.get("name").and_then(Value::as_str) {
            if names.contains(&name) {
                let message = format!("the name {name:?} is used by an earlier check");
                found.push(Finding::error("plan.duplicate-id", message).at(format!("{at}/name")));
            }
            names.push(name);
        }
    }
}

fn across_the_plan(plan: &MigrationPlan) -> Vec<Finding> {
    let mut found = Vec::new();
    if plan.from_version == plan.to_version {
        found.push(
            Finding::error("plan.no-change", "from_version and to_version are the same")
                .at("/to_version"),
        );
    }
    if plan.steps.is_empty() {
        found.push(Finding::error("plan.no-steps", "the plan has no steps").at("/steps"));
    }
    let all = plan.steps.iter().chain(&plan.rollback_steps);
    for step in all.filter(|step| step.timeout.is_zero()) {
        found.push(zero_timeout(plan, step));
    }
    found
}

fn zero_timeout(plan: &MigrationPlan, step: &MigrationStep) -> Finding {
    let place = plan.steps.iter().position(|one| std::ptr::eq(one, step));
    let pointer = place.map_or_else(String::new, |index| format!("/steps/{index}/timeout"));
    Finding::error(
        "plan.wrong-value",
        format!(
            "step {}: a timeout of zero would cancel it at once",
            step.id
        ),
    )
    .at(pointer)
    .hint("give it a time like \"5m\"")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({
            "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MajorUpgrade",
            "steps": [{
                "id": "data", "description": "move", "step_type": "DataMigration",
                "command": null, "config_changes": null,
                "data_migration": {
                    "source_table": "a", "target_table": "b", "transformation_script": "t.sql",
                    "batch_size": 1000, "parallel_workers": 4
                },
                "validation": null, "timeout": {"secs": 30, "nanos": 0}, "can_rollback": true
            }],
            "rollback_steps": [],
            "validation_checks": [
                {"name": "c", "query": "select 1", "expected_result": 1, "critical": true}
            ],
            "estimated_duration": {"secs": 60, "nanos": 0}, "downtime_required": true
        })
    }

    #[test]
    fn reads_what_the_guides_structs_write() {
        let plan = read(&good()).unwrap();
        assert_eq!(plan.steps[0].timeout, Duration::from_secs(30));
        assert!(plan.steps[0].extra.is_empty());
        let again = serde_json::to_value(&plan).unwrap();
        assert_eq!(read(&again).unwrap(), plan);
    }

    #[test]
    fn reports_every_finding_with_its_pointer() {
        let mut bad = good();
        bad["from_version"] = json!("1.5");
        bad["stepz"] = json!([]);
        bad["steps"][0]["timeout"] = json!("30 parsecs");
        bad["steps"][0]["descripton"] = json!("x");
        bad["steps"][0]["data_migration"]["batch_size"] = json!(0);
        bad["validation_checks"][0]["critical"] = json!("yes");
        let found = read(&bad).unwrap_err();
        let pointers: Vec<_> = found.iter().map(|one| one.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/stepz",
                "/from_version",
                "/steps/0/timeout",
                "/steps/0/descripton",
                "/steps/0/data_migration/batch_size",
                "/validation_checks/0/critical"
            ]
        );
    }

    #[test]
    fn refuses_duplicate_ids() {
        let mut bad = good();
        let twice = bad["steps"][0].clone();
        bad["steps"].as_array_mut().unwrap().push(twice);
        let found = read(&bad).unwrap_err();
        assert_eq!(found[0].code, "plan.duplicate-id");
    }
}
