//! The JSON Schemas that editors use say of plans and settings what the tool says of them.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use migrate_tests::binary::Tool;
use migrate_tests::deployment::Deployment;
use serde_json::{Value, json};

use crate::shipped;

#[track_caller]
fn schema(what: &str) -> Validator {
    let printed = Tool::new(&["schema-for", what]).run();
    let schema = printed.expect(0).json();
    jsonschema::draft7::new(&schema).unwrap_or_else(|error| panic!("no schema: {error}"))
}

#[track_caller]
fn takes(schema: &Validator, document: &Value, name: &str) {
    let errors: Vec<_> = schema
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
}

fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn document(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    if path.extension().is_some_and(|kind| kind == "toml") {
        toml_edit::de::from_str(&text).unwrap()
    } else {
        serde_json::from_str(&text).unwrap()
    }
}

#[test]
fn every_plan_that_there_is_fits() {
    let schema = schema("plan");
    let mut count = 0;
    for directory in ["../migrations/plans", "version-set/plans"] {
        for entry in std::fs::read_dir(here(directory)).unwrap() {
            let path = entry.unwrap().path();
            takes(&schema, &document(&path), &path.display().to_string());
            count += 1;
        }
    }
    assert!(count >= 9, "found {count} plans");
    let own = json!({
        "$schema": "plan.schema.json", "from_version": "1.x", "to_version": "2.0.0",
        "migration_type": "Patch", "steps": [
            {"id": "a", "step_type": "MyOwnKind", "anything": [1, 2]},
            {"id": "b", "step_type": "Command", "command": ["true"], "timeout": "1m 30s"},
        ],
    });
    takes(&schema, &own, "a plan with a kind of one's own");
}

/// What the schema marks in an editor is what the tool refuses, and the other way round.
#[test]
fn what_it_refuses_the_tool_refuses() {
    let schema = schema("plan");
    let good = shipped::plan();
    let pointers: &[(&str, Value)] = &[
        ("/from_version", json!("1.5")),
        ("/migration_type", json!("Huge")),
        ("/surprise", json!(1)),
        ("/withdrawn", json!(true)),
        ("/steps/0/id", json!("no spaces here")),
        ("/steps/0/timeout", json!("soon")),
        ("/steps/0/timeout", json!({"seconds": 3})),
        ("/steps/0/can_rollback", json!("yes")),
        ("/steps/0/migration", json!("etlrs_v1_to_v2")),
        ("/steps/1/data_migration/batch_size", json!(0)),
        ("/steps/1/data_migration/batchsize", json!(10)),
        ("/steps/2/rename", json!(["a", "b"])),
        ("/validation_checks/0/critical", json!("no")),
        ("/validation_checks/0/phase", json!("later")),
    ];
    for (pointer, value) in pointers {
        let deployment = Deployment::v1().rows(1).sqlite();
        let mut bad = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = value.clone();
        assert!(
            !schema.is_valid(&bad),
            "{pointer} = {value} fits the schema"
        );
        let text = bad.to_string();
        deployment.write("migrations/plans/1.5.0_2.0.0.json", &text);
        let run = deployment.run(&["plan", "--from", "1.5.0", "--to", "2.0.0"]);
        assert_eq!(run.code(), Some(1), "{pointer} = {value}: {run}");
    }
    let deployment = Deployment::v1().rows(1).sqlite();
    let mut with_schema = good;
    with_schema["$schema"] = json!("./plan.schema.json");
    shipped::overlay(&deployment, &with_schema);
    deployment.migrate().expect(0);
}

#[test]
fn settings_fit_and_mistakes_do_not() {
    let schema = schema("config");
    let parse = |text: &str| toml_edit::de::from_str::<Value>(text).unwrap();
    // Every TOML block of the pages about settings.
    let mut count = 0;
    for page in ["../docs/environments.md", "../docs/operations.md"] {
        let text = std::fs::read_to_string(here(page)).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let (block, _) = block.split_once("```").unwrap();
            takes(&schema, &parse(block), page);
            count += 1;
        }
    }
    assert!(count >= 2, "found {count} blocks");
    for (wrong, word) in [
        ("allow_command = true\n", "allow_command"),
        ("[env.prod]\nconfirm = \"yes\"\n", "etlrs-migrate.toml:2"),
        ("[services.a]\nmanager = \"runit\"\n", "runit"),
        (
            "[services.a]\nmanager = \"systemd\"\nstop_timeout = \"soon\"\n",
            "soon",
        ),
        ("[backup]\nkeep = \"five\"\n", "etlrs-migrate.toml:2"),
    ] {
        assert!(!schema.is_valid(&parse(wrong)), "{wrong} fits the schema");
        let deployment = Deployment::v1().rows(1).sqlite();
        deployment.write("etlrs-migrate.toml", wrong);
        deployment.run(&["status"]).expect(1).says(&[word]);
    }
}
