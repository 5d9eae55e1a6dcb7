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

fn reverse_leaves_rows_that_others_wrote_and_names_them(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.sql(PIPELINE);
    deployment
        .rollback("reverse")
        .expect(0)
        .says(&["pipelines"]);
    let row = "SELECT name, config, status FROM pipelines WHERE id = 77777";
    assert_eq!(deployment.sql(row), "written since|{}|new");
    deployment.sql("DELETE FROM pipelines WHERE id = 77777");
    before.must_equal(&deployment.snapshot(), "but for the row of others");
}

fn reverse_leaves_a_row_that_others_changed(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    // An ordinary row that only the migration brought: undo would delete it.
    let id = deployment
        .source
        .iter()
        .find(|row| row.id > 0 && deployment.target.iter().all(|other| other.id != row.id))
        .expect("most rows are new to the target")
        .id;
    deployment.sql(&format!(
        "UPDATE pipelines SET name = 'written since' WHERE id = {id}"
    ));
    deployment.rollback("reverse").expect(0);
    let name = deployment.sql(&format!("SELECT name FROM pipelines WHERE id = {id}"));
    assert_eq!(name, "written since");
    let others = "SELECT count(*) FROM pipelines";
    let expected = deployment.target.len() + 1;
    assert_eq!(deployment.sql(others), expected.to_string());
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
    reverse_leaves_rows_that_others_wrote_and_names_them,
    reverse_leaves_a_row_that_others_changed,
);
