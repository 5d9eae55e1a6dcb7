//! From 1.5.0 to 2.0.0, every row compared.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::json;

use crate::{on_both, shipped};

fn every_row_and_the_config_are_as_computed(store: Store) {
    let deployment = Deployment::v1().rows(1_000).on(store);
    deployment.migrate().expect(0);
    deployment.must_be_v2();
}

fn the_summary_says_what_changed_where_the_backup_is_and_how_to_go_back(store: Store) {
    let deployment = Deployment::v1().on(store);
    let rows = deployment.source.len().to_string();
    let steps = shipped::ids_of("DataMigration");
    let run = deployment.migrate();
    run.expect(0)
        .says(&[
            "2.0.0",
            "etlrs_backup_",
            "--rollback --to 1.5.0",
            "custom",
            &rows,
        ])
        .says(&[&steps[0]]);
}

fn the_schema_of_2_0_0_works(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    deployment.sql(
        "INSERT INTO pipeline_metrics (pipeline_id, metric_name, metric_value, labels)
         VALUES (1, 'rows', 1.5, '{\"a\": 1}')",
    );
    assert_eq!(deployment.sql("SELECT id FROM pipeline_metrics"), "1");
    let stale =
        "UPDATE pipelines SET updated_at = '2000-01-01 00:00:00', name = 'touched' WHERE id = 1;
         SELECT count(*) FROM pipelines WHERE id = 1 AND updated_at > '2001-01-01'";
    assert_eq!(
        deployment.sql(stale),
        "1",
        "updated_at does not follow updates"
    );
    let defaults =
        "INSERT INTO pipelines (id, name, config, status) VALUES (77777, 'n', '{}', 's');
         SELECT retry_attempts, timeout_seconds FROM pipelines
         WHERE id = 77777 AND created_at IS NOT NULL AND updated_at IS NOT NULL";
    assert_eq!(deployment.sql(defaults), "3|300");
}

fn a_second_run_is_already_there_and_changes_nothing(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let after = deployment.snapshot();
    deployment.migrate().expect(0).says(&["already", "2.0.0"]);
    after.must_equal(&deployment.snapshot(), "after a second run");
}

fn moving_the_rows_again_updates_none(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let rows = deployment.pipelines();
    let mut step = shipped::step_of("DataMigration");
    step["validation"] = json!(null);
    shipped::overlay(
        &deployment,
        &json!({
            "from_version": "2.0.0",
            "to_version": "2.0.1",
            "migration_type": "Patch",
            "steps": [step],
        }),
    );
    let run = deployment.run(&["--from", "2.0.0", "--to", "2.0.1", "--yes"]);
    run.expect(0);
    assert_eq!(deployment.pipelines(), rows, "{run}");
}

fn the_config_keeps_its_own_url_when_another_is_given(store: Store) {
    let deployment = Deployment::v1().on(store);
    let url = match store {
        Store::Sqlite => format!("sqlite:{}", deployment.path("data/etlrs.db").display()),
        Store::Postgres => format!("{}?application_name=given", deployment.url()),
    };
    let arguments = [
        "--from",
        "1.5.0",
        "--to",
        "2.0.0",
        "--yes",
        "--database-url",
        &url,
    ];
    deployment.run(&arguments).expect(0);
    deployment.must_be_v2();
}

fn the_url_may_come_from_the_environment(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment
        .tool(&["--from", "1.5.0", "--to", "2.0.0", "--yes"])
        .env("DATABASE_URL", deployment.url())
        .run()
        .expect(0);
    deployment.must_be_v2();
}

fn events_are_json_lines(store: Store) {
    let deployment = Deployment::v1().on(store);
    let run = deployment.run(&[
        "--from", "1.5.0", "--to", "2.0.0", "--yes", "--format", "json",
    ]);
    run.expect(0);
    let events = run.json_lines();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!(of("run_started"), 1, "{run}");
    assert_eq!(of("run_finished"), 1, "{run}");
    let finished = events.iter().find(|event| event["event"] == "run_finished");
    let figure = |name: &str| finished.unwrap()[name].as_u64().unwrap();
    assert!(figure("journal_ms") < figure("duration_ms"), "{run}");
    assert_eq!(of("step_finished"), shipped::steps(), "{run}");
}

fn status_is_one_document_at_every_stage(store: Store) {
    let deployment = Deployment::v1().on(store);
    let status = || {
        deployment
            .run(&["status", "--format", "json"])
            .expect(0)
            .json()
    };
    assert_eq!(status()["next"], "migrate", "{}", status());
    deployment.migrate().expect(0);
    assert_eq!(status()["next"], json!(null), "{}", status());
    assert!(status().to_string().contains("2.0.0"), "{}", status());
    let back = status()["go_back"].as_str().unwrap_or_default().to_owned();
    assert!(back.ends_with(" --rollback --to 1.5.0"), "{back}");
    deployment
        .run(&["status"])
        .expect(0)
        .says(&["go back", &back]);
    deployment.rollback("reverse").expect(0);
    assert_eq!(status()["next"], "migrate", "{}", status());
    assert_eq!(status()["go_back"], json!(null), "{}", status());
}

fn the_rest_of_the_directory_is_left_alone(store: Store) {
    let deployment = Deployment::v1().on(store);
    let mut before = deployment.snapshot().files;
    deployment.migrate().expect(0);
    let mut after = deployment.snapshot().files;
    before.remove("config/config.toml");
    after.remove("config/config.toml");
    assert_eq!(
        migrate_tests::snapshot::files_differing(&before, &after),
        ""
    );
}

on_both!(
    every_row_and_the_config_are_as_computed,
    the_summary_says_what_changed_where_the_backup_is_and_how_to_go_back,
    the_schema_of_2_0_0_works,
    a_second_run_is_already_there_and_changes_nothing,
    moving_the_rows_again_updates_none,
    the_config_keeps_its_own_url_when_another_is_given,
    the_url_may_come_from_the_environment,
    events_are_json_lines,
    status_is_one_document_at_every_stage,
    the_rest_of_the_directory_is_left_alone,
);
