//! Rows that others wrote since the upgrade are never lost without consent.

use migrate_tests::deployment::{Deployment, Store};

use crate::on_both;

const METRIC: &str = "INSERT INTO pipeline_metrics (pipeline_id, metric_name, metric_value)
     VALUES (1, 'written since', 1.0)";
const PIPELINE: &str = "INSERT INTO pipelines (id, name, config, status)
     VALUES (77777, 'written since', '{}', 'new')";

fn refused_then_accepted(store: Store, strategy: &str, write: &str) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.sql(write);
    let written = deployment.snapshot();
    let refused = deployment.rollback(strategy);
    refused.expect(7).says(&["--accept-data-loss", "pipeline"]);
    written.must_equal(&deployment.snapshot(), "after a refusal");
    let accepted = [
        "--rollback",
        "--to",
        "1.5.0",
        "--strategy",
        strategy,
        "--accept-data-loss",
        "--yes",
    ];
    deployment.run(&accepted).expect(0);
    before.must_equal(&deployment.snapshot(), "after a rollback with consent");
}

fn a_table_that_would_go_with_its_new_rows_is_kept_by_reverse(store: Store) {
    refused_then_accepted(store, "reverse", METRIC);
}

fn new_rows_are_kept_by_restore(store: Store) {
    refused_then_accepted(store, "restore", PIPELINE);
}

fn new_metrics_are_kept_by_restore(store: Store) {
    refused_then_accepted(store, "restore", METRIC);
}

fn a_changed_row_is_kept_by_restore(store: Store) {
    let change = "UPDATE pipelines SET name = 'written since' WHERE id = 1";
    refused_then_accepted(store, "restore", change);
}

fn a_deleted_row_counts_as_a_change(store: Store) {
    refused_then_accepted(store, "restore", "DELETE FROM pipelines_old WHERE id = 1");
}

/// Agreeing to lose something is not the same as having no way to it any more.
fn what_is_lost_with_consent_is_kept_in_a_copy(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.sql("UPDATE pipelines SET name = 'written since the upgrade' WHERE id = 1");
    deployment
        .run(&[
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            "restore",
            "--accept-data-loss",
            "--yes",
        ])
        .expect(0);
    before.must_equal(&deployment.snapshot(), "after the restore");
    let list = deployment
        .run(&["backup", "list", "--format", "json"])
        .expect(0)
        .json();
    let copies = list["backups"].as_array().unwrap();
    let safety = copies.iter().find(|one| one["kind"] == "safety");
    let safety = safety.unwrap_or_else(|| panic!("no safety copy: {list}"));
    if store == Store::Sqlite {
        let file = deployment.path(safety["file"].as_str().unwrap());
        let name = migrate_tests::sqlite::run(&file, "SELECT name FROM pipelines WHERE id = 1");
        assert_eq!(name, "written since the upgrade");
    }
}

on_both!(
    what_is_lost_with_consent_is_kept_in_a_copy,
    a_table_that_would_go_with_its_new_rows_is_kept_by_reverse,
    new_rows_are_kept_by_restore,
    new_metrics_are_kept_by_restore,
    a_changed_row_is_kept_by_restore,
    a_deleted_row_counts_as_a_change,
);
