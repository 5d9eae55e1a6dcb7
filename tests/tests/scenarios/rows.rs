//! Rows that can't be carried over stop the run, and say which row it was.

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::hostile::SourceRow;

use crate::on_both;

fn with_config(store: Store, config: &str) -> Deployment {
    let deployment = Deployment::v1().on(store);
    let text = config.replace('\'', "''");
    deployment.sql(&format!(
        "UPDATE pipelines_old SET config = '{text}' WHERE id = 31"
    ));
    deployment
}

fn stops_at_the_row(store: Store, config: &str) {
    let deployment = with_config(store, config);
    let before = deployment.snapshot();
    deployment
        .migrate()
        .expect_one_of(&[1, 3])
        .says(&["pipelines_old", "31"]);
    before.must_equal(&deployment.snapshot(), config);
}

fn a_config_that_is_no_json_is_named(store: Store) {
    stops_at_the_row(store, "not JSON at all");
}

fn a_config_cut_short_is_named(store: Store) {
    stops_at_the_row(store, r#"{"batch_size": 1"#);
}

fn an_empty_config_is_named(store: Store) {
    stops_at_the_row(store, "");
}

/// What `serde_json` reads and databases like to read otherwise.
fn unusual_json_is_carried_as_the_guide_does(store: Store) {
    for config in [
        "[]",
        "\"text\"",
        "5",
        "null",
        r#"{"batch_size":1,"batch_size":2}"#,
        r#"{"log_level":"nul \u0000 inside"}"#,
        r#"{"batch_size":1.0,"parallel_tasks":100000000000000000000.0}"#,
    ] {
        let mut deployment = with_config(store, config);
        let row = deployment.source.iter_mut().find(|row| row.id == 31);
        config.clone_into(&mut row.expect("it is an ordinary row").config);
        let run = deployment.migrate();
        assert_eq!(run.code(), Some(0), "with the config {config}: {run}");
        deployment.must_be_v2();
    }
}

fn an_empty_source_is_no_problem(store: Store) {
    let mut deployment = Deployment::v1().on(store);
    deployment.sql("DELETE FROM pipelines_old");
    deployment.source.clear();
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.must_be_v2();
    deployment.rollback("reverse").expect(0);
    before.must_equal(&deployment.snapshot(), "after an empty migration");
}

fn an_empty_target_is_no_problem(store: Store) {
    let mut deployment = Deployment::v1().on(store);
    deployment.sql("DELETE FROM pipelines");
    deployment.target.clear();
    deployment.migrate().expect(0);
    deployment.must_be_v2();
}

fn a_row_that_was_added_since_is_carried_by_the_next_run(store: Store) {
    let mut deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    deployment.rollback("reverse").expect(0);
    let added = SourceRow {
        id: 99_999,
        name: "added".to_owned(),
        config: "{}".to_owned(),
        status: "new".to_owned(),
        created_at: "2024-05-05T05:05:05+00:00".to_owned(),
    };
    deployment.sql(&format!(
        "INSERT INTO pipelines_old VALUES (99999, 'added', '{{}}', 'new', '{}')",
        added.created_at
    ));
    deployment.source.push(added);
    deployment.migrate().expect(0);
    deployment.must_be_v2();
}

on_both!(
    a_config_that_is_no_json_is_named,
    a_config_cut_short_is_named,
    an_empty_config_is_named,
    unusual_json_is_carried_as_the_guide_does,
    an_empty_source_is_no_problem,
    an_empty_target_is_no_problem,
    a_row_that_was_added_since_is_carried_by_the_next_run,
);
