//! A step of a plan that runs a directory of migrations.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::json;

use crate::{on_both, shipped};

fn step(id: &str, to: serde_json::Value) -> serde_json::Value {
    let mut step = json!({
        "id": id,
        "step_type": "SchemaUpdate",
        "description": "the application's own migrations",
        "source": "app",
        "timeout": "60s",
        "can_rollback": true,
    });
    if !to.is_null() {
        step["to"] = to;
    }
    step
}

fn with_migrations(store: Store) -> Deployment {
    let deployment = Deployment::v1().rows(20).on(store);
    for (name, text) in [
        ("app/1_notes.up.sql", "create table notes (a integer);"),
        ("app/1_notes.down.sql", "drop table notes;"),
        ("app/2_tags.up.sql", "create table tags (a integer);"),
        ("app/2_tags.down.sql", "drop table tags;"),
        ("app/3_later.up.sql", "create table later (a integer);"),
        ("app/3_later.down.sql", "drop table later;"),
    ] {
        deployment.write(&format!("migrations/{name}"), text);
    }
    shipped::insert_step(&deployment, 1, step("app-migrations", json!("2")));
    deployment
}

fn it_goes_up_to_its_version_and_back_either_way(store: Store) {
    for strategy in ["reverse", "restore"] {
        let deployment = with_migrations(store);
        let before = deployment.snapshot();
        deployment.migrate().expect(0);
        deployment.sql("select a from notes; select a from tags");
        deployment.rollback(strategy).expect(0);
        before.must_equal(&deployment.snapshot(), strategy);
        // Its history went back too: the next upgrade runs them again.
        deployment.migrate().expect(0);
        deployment.sql("select a from notes; select a from tags");
    }
}

fn a_dry_run_shows_its_sql_and_a_wrong_file_is_told_before_anything(store: Store) {
    let deployment = with_migrations(store);
    deployment
        .run(&["--from", "1.5.0", "--to", "2.0.0", "--dry-run"])
        .expect(0)
        .says(&["create table tags", "2 migrations of app in 1 transactions"]);
    // A second step on the same directory shows what is left for it.
    let mut both = shipped::plan();
    let steps = both["steps"].as_array_mut().unwrap();
    steps.insert(1, step("app-migrations", json!("2")));
    steps.insert(2, step("more-migrations", json!(null)));
    shipped::overlay(&deployment, &both);
    let shown = deployment.run(&["--from", "1.5.0", "--to", "2.0.0", "--dry-run"]);
    shown.expect(0).says(&[
        "create table later",
        "1 migrations of app in 1 transactions",
    ]);
    assert_eq!(
        shown.stdout.matches("create table tags").count(),
        1,
        "{}",
        shown.stdout
    );
    deployment.write(
        "migrations/app/2_tags.up.sql",
        "create table tags (a integer);\nselect 'x",
    );
    deployment.migrate().expect(1).says(&["2_tags.up.sql:2:8"]);
}

on_both!(
    it_goes_up_to_its_version_and_back_either_way,
    a_dry_run_shows_its_sql_and_a_wrong_file_is_told_before_anything,
);
