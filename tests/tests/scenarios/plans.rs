//! Plans that people write: with the guide's own structs, in TOML, over the shipped one.

use std::collections::HashMap;
use std::time::Duration;

use migrate_tests::deployment::{Deployment, Store};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{on_both, shipped};

/// The guide's structs, word for word but for what is not used here.
mod guide {
    use super::{Duration, HashMap, Serialize, Value};

    #[derive(Debug, Serialize)]
    pub(super) struct MigrationPlan {
        pub(super) from_version: String,
        pub(super) to_version: String,
        pub(super) migration_type: MigrationType,
        pub(super) steps: Vec<MigrationStep>,
        pub(super) rollback_steps: Vec<MigrationStep>,
        pub(super) validation_checks: Vec<ValidationCheck>,
        pub(super) estimated_duration: Duration,
        pub(super) downtime_required: bool,
    }

    #[derive(Debug, Clone, Copy, Serialize)]
    pub(super) enum MigrationType {
        MinorUpgrade,
        MajorUpgrade,
        Patch,
        Hotfix,
        Rollback,
    }

    #[derive(Debug, Serialize)]
    pub(super) struct MigrationStep {
        pub(super) id: String,
        pub(super) description: String,
        pub(super) step_type: StepType,
        pub(super) command: Option<String>,
        pub(super) config_changes: Option<HashMap<String, Value>>,
        pub(super) data_migration: Option<DataMigration>,
        pub(super) validation: Option<String>,
        pub(super) timeout: Duration,
        pub(super) can_rollback: bool,
    }

    #[derive(Debug, Serialize)]
    pub(super) enum StepType {
        ConfigUpdate,
        DataMigration,
        SchemaUpdate,
        Validation,
    }

    #[derive(Debug, Serialize)]
    pub(super) struct DataMigration {
        pub(super) source_table: String,
        pub(super) target_table: String,
        pub(super) transformation_script: String,
        pub(super) batch_size: usize,
        pub(super) parallel_workers: usize,
    }

    #[derive(Debug, Serialize)]
    pub(super) struct ValidationCheck {
        pub(super) name: String,
        pub(super) query: String,
        pub(super) expected_result: Value,
        pub(super) critical: bool,
    }
}

fn step(id: &str, step_type: guide::StepType) -> guide::MigrationStep {
    guide::MigrationStep {
        id: id.to_owned(),
        description: format!("The step {id}"),
        step_type,
        command: None,
        config_changes: None,
        data_migration: None,
        validation: None,
        timeout: Duration::from_millis(30_500),
        can_rollback: true,
    }
}

fn guide_plan(rows: usize, migration_type: guide::MigrationType) -> guide::MigrationPlan {
    use guide::StepType::{ConfigUpdate, DataMigration, SchemaUpdate, Validation};
    let changes = [
        ("custom.team", json!("platform")),
        ("limits.most", json!(5)),
    ];
    guide::MigrationPlan {
        from_version: "1.5.0".to_owned(),
        to_version: "2.0.0".to_owned(),
        migration_type,
        steps: vec![
            guide::MigrationStep {
                config_changes: Some(changes.map(|(key, to)| (key.to_owned(), to)).into()),
                ..step("config", ConfigUpdate)
            },
            guide::MigrationStep {
                command: Some("001_v2_schema_updates.sql".to_owned()),
                ..step("schema", SchemaUpdate)
            },
            guide::MigrationStep {
                data_migration: Some(guide::DataMigration {
                    source_table: "pipelines_old".to_owned(),
                    target_table: "pipelines".to_owned(),
                    transformation_script: "transform_pipelines.sql".to_owned(),
                    batch_size: 100,
                    parallel_workers: 4,
                }),
                validation: Some("SELECT count(*) > 0 FROM pipelines".to_owned()),
                ..step("data", DataMigration)
            },
            guide::MigrationStep {
                validation: Some("SELECT count(*) = 0 FROM pipeline_metrics".to_owned()),
                ..step("look", Validation)
            },
        ],
        rollback_steps: Vec::new(),
        validation_checks: vec![guide::ValidationCheck {
            name: "all there".to_owned(),
            query: "SELECT count(*) FROM pipelines_old".to_owned(),
            expected_result: json!(rows),
            critical: true,
        }],
        estimated_duration: Duration::new(300, 1),
        downtime_required: true,
    }
}

fn a_plan_of_the_guides_structs_runs(store: Store) {
    let deployment = Deployment::v1().on(store);
    let plan = guide_plan(deployment.source.len(), guide::MigrationType::MajorUpgrade);
    shipped::overlay(&deployment, &serde_json::to_value(plan).unwrap());
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    let config = deployment.read("config/config.toml");
    assert!(
        config.contains("team = \"platform\"   # our own key"),
        "{config}"
    );
    assert!(config.contains("most = 5"), "{config}");
    assert_eq!(deployment.pipelines().len(), {
        let own = |row: &&migrate_tests::hostile::TargetRow| {
            deployment.source.iter().all(|source| source.id != row.id)
        };
        deployment.source.len() + deployment.target.iter().filter(own).count()
    });
    deployment.rollback("reverse").expect(0);
    before.must_equal(&deployment.snapshot(), "after a plan of the guide");
}

#[test]
fn every_migration_type_loads() {
    use guide::MigrationType::{Hotfix, MajorUpgrade, MinorUpgrade, Patch, Rollback};
    let deployment = Deployment::v1().sqlite();
    for migration_type in [MinorUpgrade, MajorUpgrade, Patch, Hotfix, Rollback] {
        let plan = guide_plan(deployment.source.len(), migration_type);
        shipped::overlay(&deployment, &serde_json::to_value(plan).unwrap());
        let run = deployment.run(&[
            "plan", "--from", "1.5.0", "--to", "2.0.0", "--format", "json",
        ]);
        run.expect(0);
        assert!(
            run.json()
                .to_string()
                .contains(&format!("{migration_type:?}")),
            "{run}"
        );
    }
}

#[test]
fn the_shipped_plan_is_printed_without_a_database() {
    let deployment = Deployment::v1().sqlite();
    std::fs::remove_file(deployment.path("data/etlrs.db")).unwrap();
    let run = deployment.run(&[
        "plan", "--from", "1.5.0", "--to", "2.0.0", "--format", "json",
    ]);
    run.expect(0);
    let printed = run.json().to_string();
    for kind in ["ConfigUpdate", "SchemaUpdate", "DataMigration"] {
        for id in shipped::ids_of(kind) {
            assert!(printed.contains(&id), "{id} is not in {printed}");
        }
    }
    let people = deployment.run(&["plan", "--from", "1.5.0", "--to", "2.0.0"]);
    people
        .expect(0)
        .says(&["1.5.0", "2.0.0", "001_v2_schema_updates"]);
}

/// TOML has no null: such fields are left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn a_toml_plan_runs(store: Store) {
    let deployment = Deployment::v1().on(store);
    let mut plan = without_nulls(shipped::plan());
    let look = json!({
        "id": "only-in-toml",
        "step_type": "Validation",
        "validation": "SELECT count(*) > 0 FROM pipelines_old",
        "timeout": "1m 30s",
    });
    plan["steps"].as_array_mut().unwrap().insert(0, look);
    let text = toml_edit::ser::to_string_pretty(&plan).unwrap();
    deployment.write("migrations/plans/1.5.0_2.0.0.toml", &text);
    deployment.migrate().expect(0).says(&["only-in-toml"]);
    deployment.must_be_v2();
}

fn a_script_of_the_deployment_goes_before_the_shipped_one(store: Store) {
    let deployment = Deployment::v1().on(store);
    // A name for one database only goes before the plain name.
    let (file, script) = match store {
        Store::Postgres => (
            "migrations/001_v2_schema_updates.sql",
            shipped::schema_script(),
        ),
        Store::Sqlite => (
            "migrations/001_v2_schema_updates.sqlite.sql",
            shipped::schema_script_sqlite(),
        ),
    };
    deployment.write(
        file,
        &format!("{script}\nCREATE TABLE extra (a integer);\n"),
    );
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.must_be_v2();
    assert_eq!(deployment.sql("SELECT count(*) FROM extra"), "0");
    deployment.rollback("restore").expect(0);
    before.must_equal(&deployment.snapshot(), "after an overlaid script");
}

fn migrations_may_lie_elsewhere(store: Store) {
    let deployment = Deployment::v1().on(store);
    shipped::insert_step(&deployment, 0, shipped::failing_validation());
    let elsewhere = tempfile::TempDir::new().unwrap();
    std::fs::rename(deployment.path("migrations"), elsewhere.path().join("m")).unwrap();
    let named = elsewhere.path().join("m");
    let named = named.to_str().unwrap();
    let before = deployment.snapshot();
    let arguments = [
        "--from",
        "1.5.0",
        "--to",
        "2.0.0",
        "--yes",
        "--migrations",
        named,
    ];
    deployment
        .run(&arguments)
        .expect(3)
        .says(&["never-content"]);
    before.must_equal(&deployment.snapshot(), "after a failure");
    deployment.migrate().expect(0);
}

fn a_chain_of_plans_is_found(store: Store) {
    let deployment = Deployment::v1().on(store);
    shipped::overlay(
        &deployment,
        &json!({
            "from_version": "2.0.0",
            "to_version": "2.1.0",
            "migration_type": "MinorUpgrade",
            "steps": [{
                "id": "team",
                "step_type": "ConfigUpdate",
                "config_changes": {"custom.team": "platform"},
            }],
        }),
    );
    let before = deployment.snapshot();
    deployment
        .run(&["--from", "1.5.0", "--to", "2.1.0", "--yes"])
        .expect(0);
    assert!(deployment.read("config/config.toml").contains("platform"));
    assert_eq!(
        deployment.sql("SELECT max(version) FROM schema_versions"),
        "2"
    );
    deployment.rollback("auto").expect(0);
    before.must_equal(&deployment.snapshot(), "after a chain");
}

on_both!(
    a_plan_of_the_guides_structs_runs,
    a_toml_plan_runs,
    a_script_of_the_deployment_goes_before_the_shipped_one,
    migrations_may_lie_elsewhere,
    a_chain_of_plans_is_found,
);
