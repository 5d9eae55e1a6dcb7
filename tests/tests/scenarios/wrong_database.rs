//! Databases that are not what the plan needs.

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::postgres::{PASSWORD, shared};
use migrate_tests::snapshot::files_differing;

use crate::on_both;

fn refused(deployment: &Deployment, more: &[&str], words: &[&str]) {
    let (files, before) = (deployment.files_of_user(), deployment.snapshot());
    let mut arguments = vec!["--from", "1.5.0", "--to", "2.0.0", "--yes"];
    arguments.extend(more);
    deployment.run(&arguments).expect(1).says(words);
    before.must_equal(&deployment.snapshot(), "after a refusal");
    assert_eq!(files_differing(&files, &deployment.files_of_user()), "");
}

fn no_source_table(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.sql("ALTER TABLE pipelines_old RENAME TO pipelines_ancient");
    refused(&deployment, &[], &["pipelines_old"]);
}

fn no_target_table(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.sql("DROP TABLE pipelines");
    refused(&deployment, &[], &["pipelines"]);
}

fn no_such_column(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.sql("ALTER TABLE pipelines_old RENAME COLUMN config TO settings");
    refused(&deployment, &[], &["config", "pipelines_old"]);
}

/// Its rows are found by their place: there and back all the same.
fn a_source_without_a_key_is_none_of_it(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.sql(
        "CREATE TABLE keyless AS SELECT * FROM pipelines_old;
         DROP TABLE pipelines_old;
         ALTER TABLE keyless RENAME TO pipelines_old",
    );
    let before = deployment.snapshot();
    deployment
        .migrate()
        .expect(0)
        .says(&["can't be carried back", "no key in common"]);
    deployment.must_be_v2();
    deployment.rollback("reverse").expect(0);
    before.must_equal(&deployment.snapshot(), "after a rollback");
}

fn a_column_that_is_there_already(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.sql("ALTER TABLE pipelines ADD COLUMN retry_attempts integer");
    let before = deployment.snapshot();
    deployment
        .migrate()
        .expect_one_of(&[1, 3])
        .says(&["retry_attempts"]);
    before.must_equal(&deployment.snapshot(), "after a refusal");
}

on_both!(
    no_source_table,
    no_target_table,
    no_such_column,
    a_source_without_a_key_is_none_of_it,
    a_column_that_is_there_already,
);

#[test]
fn not_a_database() {
    let deployment = Deployment::v1().sqlite();
    deployment.write(
        "data/other.db",
        "this is no database, though it is long enough to be one\n",
    );
    refused(
        &deployment,
        &["--database-url", "sqlite:data/other.db"],
        &["data/other.db"],
    );
}

#[test]
fn no_such_file() {
    let deployment = Deployment::v1().sqlite();
    refused(
        &deployment,
        &["--database-url", "sqlite:data/nowhere.db"],
        &["data/nowhere.db"],
    );
    assert!(!deployment.path("data/nowhere.db").exists());
}

#[test]
fn a_damaged_file() {
    use std::os::unix::fs::FileExt;
    let deployment = Deployment::v1().rows(2_000).sqlite();
    std::fs::copy(
        deployment.path("data/etlrs.db"),
        deployment.path("data/bad.db"),
    )
    .unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(deployment.path("data/bad.db"))
        .unwrap();
    for page in [5_u64, 9, 20, 30] {
        file.write_all_at(&[0xaa; 2048], page * 4096).unwrap();
    }
    refused(
        &deployment,
        &["--database-url", "sqlite:data/bad.db"],
        &["bad.db", "malformed"],
    );
}

#[test]
fn an_unreachable_server() {
    let deployment = Deployment::v1().postgres();
    let port = format!(":{}/", shared().port());
    let url = deployment.url().replace(&port, ":1/");
    refused(&deployment, &["--database-url", &url], &["127.0.0.1"]);
}

#[test]
fn a_wrong_password() {
    let deployment = Deployment::v1().postgres();
    let url = deployment.url().replace(PASSWORD, "wrong");
    refused(
        &deployment,
        &["--database-url", &url],
        &["password", "etlrs"],
    );
}

#[test]
fn no_such_database() {
    let deployment = Deployment::v1().postgres();
    let url = format!("{}_missing", deployment.url());
    refused(&deployment, &["--database-url", &url], &["_missing"]);
}

#[test]
fn no_right_to_change_the_table() {
    let deployment = Deployment::v1().postgres();
    deployment
        .postgres()
        .admin_psql("ALTER TABLE pipelines OWNER TO postgres; GRANT SELECT ON pipelines TO etlrs");
    let before = deployment.snapshot();
    deployment
        .migrate()
        .expect_one_of(&[1, 3])
        .says(&["pipelines"]);
    before.must_equal(&deployment.snapshot(), "after a refusal");
}
