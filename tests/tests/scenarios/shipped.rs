//! The plan that the tool ships, as data to change.

use std::path::PathBuf;

use migrate_tests::deployment::Deployment;
use serde_json::{Value, json};

fn migrations() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../migrations")
}

/// `migrations/plans/1.5.0_2.0.0.json`.
pub(crate) fn plan() -> Value {
    let path = migrations().join("plans/1.5.0_2.0.0.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} can't be read: {error}", path.display()));
    serde_json::from_str(&text).expect("the shipped plan is JSON")
}

/// How many steps it has.
pub(crate) fn steps() -> usize {
    plan()["steps"].as_array().expect("a plan has steps").len()
}

/// The ids of its steps that are of a kind.
pub(crate) fn ids_of(kind: &str) -> Vec<String> {
    let plan = plan();
    let steps = plan["steps"].as_array().expect("a plan has steps");
    let fits = steps.iter().filter(|step| step["step_type"] == kind);
    fits.map(|step| step["id"].as_str().expect("a step has an id").to_owned())
        .collect()
}

/// Its first step of a kind.
pub(crate) fn step_of(kind: &str) -> Value {
    let plan = plan();
    let steps = plan["steps"].as_array().expect("a plan has steps");
    let found = steps.iter().find(|step| step["step_type"] == kind);
    found.expect("the shipped plan has such a step").clone()
}

/// The guide's script for PostgreSQL.
pub(crate) fn schema_script() -> String {
    script("001_v2_schema_updates.sql")
}

/// Its twin for SQLite.
pub(crate) fn schema_script_sqlite() -> String {
    script("001_v2_schema_updates.sqlite.sql")
}

pub(crate) fn script(name: &str) -> String {
    let path = migrations().join(name);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} can't be read: {error}", path.display()))
}

/// Gives a deployment the shipped plan with a step put in before `position`.
pub(crate) fn insert_step(deployment: &Deployment, position: usize, step: Value) {
    let mut changed = plan();
    let steps = changed["steps"].as_array_mut().expect("a plan has steps");
    steps.insert(position, step);
    overlay(deployment, &changed);
}

/// Puts a plan over the shipped one, in the deployment's own `migrations/`.
pub(crate) fn overlay(deployment: &Deployment, plan: &Value) {
    let from = plan["from_version"].as_str().expect("a plan has versions");
    let to = plan["to_version"].as_str().expect("a plan has versions");
    let text = serde_json::to_string_pretty(plan).expect("a plan is JSON");
    deployment.write(&format!("migrations/plans/{from}_{to}.json"), &text);
}

/// A step that looks at the database and is not content.
pub(crate) fn failing_validation() -> Value {
    json!({
        "id": "never-content",
        "description": "Expects what can't be",
        "step_type": "Validation",
        "validation": "SELECT count(*) < 0 FROM pipelines_old",
        "timeout": "30s",
        "can_rollback": true,
    })
}

/// A step that changes the schema and fails in its last statement.
pub(crate) fn failing_schema(deployment: &Deployment, position: usize) -> Value {
    // Its number is its version of the schema: before or after the shipped script's.
    let name = if position == 0 {
        "001_half.sql"
    } else {
        "003_half.sql"
    };
    deployment.write(
        &format!("migrations/{name}"),
        "CREATE TABLE half (a integer NOT NULL);\n\
         -- the next one can't be done\n\
         INSERT INTO half (a)\n  VALUES (NULL);\n",
    );
    json!({
        "id": "half",
        "description": "Fails in its second statement",
        "step_type": "SchemaUpdate",
        "command": name,
        "timeout": "30s",
        "can_rollback": true,
    })
}
