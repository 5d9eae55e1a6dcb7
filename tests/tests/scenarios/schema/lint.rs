//! `schema lint`: what is dangerous is told before it runs.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::json;

use super::world::World;
use crate::{on_both, shipped};

const FILES: &[(&str, &str)] = &[
    ("1_users.sql", "create table users (id bigint, email text);"),
    (
        "2_drop.sql",
        "select 1;\n  alter table users drop column email;",
    ),
];

fn findings(run: &migrate_tests::binary::Run) -> Vec<String> {
    run.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{} {} {}:{}:{}",
                one["level"].as_str().unwrap(),
                one["rule"].as_str().unwrap(),
                one["file"].as_str().unwrap(),
                one["line"],
                one["column"]
            )
        })
        .collect()
}

fn lost_data_is_told_with_its_place_and_exit_8(store: Store) {
    let world = World::on(store).files(&FILES[..1]);
    world.run(&["apply"]).expect(0);
    world.sql("insert into users values (1, 'a')");
    world.write(FILES[1].0, FILES[1].1);
    let run = world.run(&["lint", "--format", "json"]);
    assert_eq!(
        findings(run.expect(8)),
        ["error drop-column 2_drop.sql:2:3"]
    );
    world
        .run(&["lint"])
        .expect(8)
        .says(&["2_drop.sql:2:3", "error[drop-column]", "users.email"]);
    // Another file, a rule that is off, a reason: nothing to say.
    for arguments in [
        &["lint", "1_users.sql"][..],
        &["lint", "--allow", "drop-column"],
    ] {
        world.run(arguments).expect(0);
    }
    world.write(
        "2_drop.sql",
        "-- lint:ignore drop-column it was never filled\nalter table users drop column email;",
    );
    world.run(&["lint"]).expect(0).says(&["1 ignored"]);
}

fn only_what_the_database_does_not_have_is_looked_at(store: Store) {
    let world = World::on(store).files(FILES);
    // What the same batch makes can't lose anything.
    world.run(&["lint"]).expect(0).says(&["of 2 migrations"]);
    world.run(&["apply"]).expect(0);
    let run = world.run(&["lint", "--format", "json"]);
    assert_eq!(run.expect(0).json()["migrations"], 0);
    let run = world.run(&["lint", "--all", "--format", "json"]);
    assert_eq!(run.json()["migrations"], 2);
    // The table is there and empty: nothing is lost with it.
    world.write("3_drop.sql", "drop table users;");
    let run = world.run(&["lint", "--format", "json"]);
    let empty = match store {
        Store::Sqlite => "note",
        // PostgreSQL has not counted its rows yet.
        Store::Postgres => "error",
    };
    assert_eq!(
        findings(&run),
        [format!("{empty} drop-table 3_drop.sql:1:1")]
    );
    world.sql("insert into users (id) values (1)");
    let run = world.run(&["lint", "--format", "json"]);
    assert_eq!(findings(run.expect(8)), ["error drop-table 3_drop.sql:1:1"]);
    world.sql("select id from users");
}

fn what_is_gravest_is_shown_by_the_plan_and_does_not_stop_it(store: Store) {
    let world = World::on(store).files(&FILES[..1]);
    world.run(&["apply"]).expect(0);
    world.sql("insert into users values (1, 'a')");
    world.write(FILES[1].0, FILES[1].1);
    world
        .run(&["plan"])
        .expect(0)
        .says(&["warning", "2_drop.sql:2:3", "users.email is dropped"]);
    let plan = world.run(&["plan", "--format", "json"]);
    assert_eq!(
        plan.expect(0).json()["warnings"][0]["code"],
        "lint.drop-column"
    );
    world.run(&["apply"]).expect(0);
}

fn a_step_warns_before_it_runs_and_runs(store: Store) {
    let deployment = Deployment::v1().rows(20).on(store);
    for (name, text) in [
        ("1_notes.sql", "create table notes (a integer, b integer);"),
        (
            "2_drop.sql",
            "alter table pipelines_old add column extra integer;",
        ),
        ("3_drop.sql", "alter table pipelines_old drop column extra;"),
    ] {
        deployment.write(&format!("migrations/app/{name}"), text);
    }
    shipped::insert_step(
        &deployment,
        1,
        json!({
            "id": "app-migrations",
            "step_type": "SchemaUpdate",
            "description": "the application's own migrations",
            "source": "app",
            "timeout": "60s",
            "can_rollback": false,
        }),
    );
    deployment
        .run(&["--from", "1.5.0", "--to", "2.0.0", "--dry-run"])
        .expect(0)
        .says(&["3_drop.sql:1:1", "pipelines_old.extra is dropped"]);
    deployment
        .migrate()
        .expect(0)
        .says(&["3_drop.sql:1:1", "pipelines_old.extra is dropped"]);
}

on_both!(
    lost_data_is_told_with_its_place_and_exit_8,
    only_what_the_database_does_not_have_is_looked_at,
    what_is_gravest_is_shown_by_the_plan_and_does_not_stop_it,
    a_step_warns_before_it_runs_and_runs,
);

#[test]
fn a_big_table_that_would_be_written_again_is_an_error() {
    let world = World::postgres().files(&[("1_t.sql", "create table t (a bigint, b text);")]);
    world.run(&["apply"]).expect(0);
    world.write("2_i.sql", "create index i on t (a);");
    world.write("3_w.sql", "alter table t alter column a type numeric;");
    let levels = |arguments: &[&str]| findings(&world.run(arguments));
    let lint = &["lint", "--format", "json"];
    assert_eq!(
        levels(lint),
        [
            "note index-under-lock 2_i.sql:1:1",
            "note table-rewrite 3_w.sql:1:1"
        ]
    );
    world.run(&["lint", "--deny", "warnings"]).expect(0);
    world.run(&["lint", "--deny", "notes"]).expect(8);
    world.sql("insert into t select n from generate_series(1, 600000) n");
    world.sql("analyze t");
    assert_eq!(
        levels(lint),
        [
            "error index-under-lock 2_i.sql:1:1",
            "error table-rewrite 3_w.sql:1:1"
        ]
    );
    world.run(&["lint"]).expect(8).says(&[
        "create index CONCURRENTLY i on t (a);",
        "about 600000 rows",
        "ACCESS EXCLUSIVE on t",
    ]);
    world.run(&["plan"]).expect(0).says(&[
        "warning",
        "3_w.sql:1:1",
        "writes the whole table again",
    ]);
    let locks = world.run(&["lint", "--locks", "--format", "json"]);
    let locks = &locks.expect(8).json()["locks"];
    assert_eq!(locks[0]["mode"], "SHARE");
    assert_eq!(locks[1]["mode"], "ACCESS EXCLUSIVE");
    assert_eq!(locks[1]["work"], "rewrite");
}

#[test]
fn it_needs_no_database_and_lists_its_rules() {
    let world = World::sqlite().files(FILES);
    let source = world.source();
    let source = source.to_str().unwrap();
    let lint = |more: &[&str]| {
        let mut all = vec!["schema", "lint", "--source", source];
        all.extend(more);
        migrate_tests::binary::Tool::new(&all).run()
    };
    lint(&[]).expect(8).says(&["error[drop-column]"]);
    lint(&["--for", "sqlite"])
        .expect(8)
        .says(&["error[drop-column]"]);
    lint(&["--allow", "no-such-rule"])
        .expect(2)
        .says(&["no-such-rule", "--rules"]);
    lint(&["no_such_file.sql"])
        .expect(2)
        .says(&["no_such_file.sql"]);
    let rules =
        migrate_tests::binary::Tool::new(&["schema", "lint", "--rules", "--format", "json"]).run();
    let rules = rules.expect(0).json();
    let named = |name: &str| {
        rules["rules"]
            .as_array()
            .unwrap()
            .iter()
            .any(|rule| rule["rule"] == name)
    };
    assert!(named("drop-column") && named("renaming-column"));
}
