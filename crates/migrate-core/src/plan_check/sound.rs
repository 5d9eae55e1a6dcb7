//! What kinds find in the steps of a plan that has errors elsewhere: one report tells all.

use serde_json::{Value, json};

use crate::finding::Finding;
use crate::plan::MigrationPlan;
use crate::registry::StepRegistry;

const LISTS: [&str; 2] = ["steps", "rollback_steps"];

/// The kinds' findings in those steps in which nothing was found yet.
pub(super) fn findings(
    document: &Value,
    found: &[Finding],
    registry: &StepRegistry,
) -> Vec<Finding> {
    let faulty = |pointer: &str| {
        let below = format!("{pointer}/");
        found
            .iter()
            .any(|f| f.pointer == pointer || f.pointer.starts_with(&below))
    };
    let Some(fields) = document.as_object() else {
        return Vec::new();
    };
    let mut rest = fields.clone();
    rest.retain(|name, _| LISTS.contains(&name.as_str()) || !faulty(&format!("/{name}")));
    // What is missing or wrong in the head decides nothing about a step.
    for (name, value) in [
        ("from_version", "0.0.0"),
        ("to_version", "0.0.1"),
        ("migration_type", "Patch"),
    ] {
        rest.entry(name).or_insert_with(|| json!(value));
    }
    let places = LISTS.map(|list| {
        let steps = rest.get(list).and_then(Value::as_array);
        let count = steps.map_or(0, Vec::len);
        (0..count)
            .filter(|index| !faulty(&format!("/{list}/{index}")))
            .collect::<Vec<_>>()
    });
    for (list, places) in LISTS.iter().zip(&places) {
        let sound = places.iter().map(|index| fields[*list][*index].clone());
        rest.insert((*list).to_owned(), sound.collect());
    }
    let Ok(plan) = serde_json::from_value::<MigrationPlan>(Value::Object(rest)) else {
        return Vec::new();
    };
    let of = |list: &str, steps, places: &[usize]| match registry.build_all(&plan, list, steps) {
        Ok(_) => Vec::new(),
        Err(found) => found
            .into_iter()
            .map(|finding| moved(finding, list, places))
            .collect(),
    };
    let mut more = of(LISTS[0], &plan.steps, &places[0]);
    more.extend(of(LISTS[1], &plan.rollback_steps, &places[1]));
    more
}

/// From its place among the sound steps to its place in the document.
fn moved(mut finding: Finding, list: &str, places: &[usize]) -> Finding {
    let rest = finding.pointer.strip_prefix(&format!("/{list}/"));
    let (index, rest) = rest.map_or(("", ""), |rest| {
        rest.split_at(rest.find('/').unwrap_or(rest.len()))
    });
    if let Some(place) = index
        .parse()
        .ok()
        .and_then(|index: usize| places.get(index))
    {
        finding.pointer = format!("/{list}/{place}{rest}");
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_of_kinds_stand_beside_those_of_the_document() {
        let step = |id: &str, kind: &str| json!({"id": id, "step_type": kind});
        let document = json!({
            "from_version": "not a version",
            "to_version": "2.0.0",
            "migration_type": "MajorUpgrade",
            "surprise": 1,
            "steps": [{"id": "a", "step_type": "None", "timeout": "soon"}, step("b", "Nowhere")],
        });
        let found = crate::plan_check::read_with(&document, &StepRegistry::new()).unwrap_err();
        let pointers: Vec<_> = found.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/surprise",
                "/from_version",
                "/steps/0/timeout",
                "/steps/1/step_type"
            ]
        );
    }

    #[test]
    fn a_plan_of_too_many_steps_is_refused_by_their_number_alone() {
        let plan = |count: usize| -> Value {
            json!({
                "from_version": "1.0.0", "to_version": "1.0.1", "migration_type": "Patch",
                "steps": vec![json!({"id": 1}); count],
            })
        };
        let found = crate::plan_check::read_with(
            &plan(crate::plan_check::MAX_STEPS + 1),
            &StepRegistry::new(),
        )
        .unwrap_err();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].code, "plan.too-many-steps");
        assert!(found[0].message.contains("10001"), "{}", found[0]);
        let found =
            crate::plan_check::read_with(&plan(crate::plan_check::MAX_STEPS), &StepRegistry::new())
                .unwrap_err();
        assert!(found.len() > 1, "the steps themselves were looked at");
    }
}
