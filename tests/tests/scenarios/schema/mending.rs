//! Edited files, files that are gone, versions that come late.

use migrate_tests::deployment::Store;

use super::world::World;
use crate::on_both;

fn line_ends_and_blanks_are_no_edit(store: Store) {
    let world = World::on(store).files(&[("1_t.sql", "create table t (\n  a integer\n);\n")]);
    world.run(&["apply"]).expect(0);
    world.write("1_t.sql", "create table t (  \r\n  a integer\r\n);\r\n\r\n");
    world.run(&["apply"]).expect(0).says(&["nothing to do"]);
}

fn an_edit_is_shown_and_can_be_accepted(store: Store) {
    let world = World::on(store).files(&[("1_t.sql", "create table t (\n  a integer\n);\n")]);
    world.run(&["apply"]).expect(0);
    world.write("1_t.sql", "create table t (\n  a integer, b integer\n);\n");
    world.write("2_u.sql", "create table u (a integer);");
    world.run(&["apply"]).expect(1).says(&[
        "1 t was edited",
        "-  a integer\n",
        "+  a integer, b integer\n",
        "repair --accept",
    ]);
    assert!(!world.snapshot().contains(" u "), "nothing ran");
    world.run(&["repair", "--accept", "2_u.sql"]).expect(1);
    world.run(&["repair", "--accept", "1_t.sql"]).expect(0);
    world.run(&["apply"]).expect(0).says(&["1 applied"]);
    let log = world.sql(match store {
        Store::Postgres => {
            "select string_agg(action, ' ' order by seq) from etlrs_migrate.schema_history"
        }
        Store::Sqlite => "select group_concat(action, ' ') from _etlrs_schema_history",
    });
    assert_eq!(log, "up accept up");
}

fn one_that_comes_late_is_refused_or_recorded(store: Store) {
    let world = World::on(store).files(&[("10_t.sql", "create table t (a integer);")]);
    world.run(&["apply"]).expect(0);
    world.write("9_late.sql", "create table late (a integer);");
    world.run(&["apply"]).expect(1).says(&[
        "9 late is not applied, but the later 10 is",
        "--allow-out-of-order",
    ]);
    assert_eq!(world.states(&[])[0], "9_late.sql out of order");
    world.run(&["apply", "--allow-out-of-order"]).expect(0);
    let status = world.run(&["status", "--format", "json"]);
    assert_eq!(status.json()["migrations"][0]["out_of_order"], true);
    world.run(&["apply"]).expect(0).says(&["nothing to do"]);
}

fn a_file_that_is_gone_is_told(store: Store) {
    let world = World::on(store).files(&[
        ("1_t.sql", "create table t (a integer);"),
        ("2_u.sql", "create table u (a integer);"),
    ]);
    world.run(&["apply"]).expect(0);
    world.remove("1_t.sql");
    world
        .run(&["apply"])
        .expect(1)
        .says(&["1_t.sql", "--ignore-missing"]);
    world.run(&["apply", "--ignore-missing"]).expect(0);
    world.run(&["repair", "--forget", "1"]).expect(0);
    world.run(&["apply"]).expect(0).says(&["nothing to do"]);
}

/// On a branch without the newest file: another one must not be taken back in its place.
fn a_way_down_does_not_pass_by_one_whose_file_is_gone(store: Store) {
    let world = World::on(store).files(&[
        ("1_t.sql", "create table t (a integer);"),
        ("1_t.down.sql", "drop table t;"),
        ("2_u.sql", "create table u (a integer);"),
        ("2_u.down.sql", "drop table u;"),
    ]);
    world.run(&["apply"]).expect(0);
    let applied = world.snapshot();
    world.remove("2_u.sql");
    world.remove("2_u.down.sql");
    let ways: [&[&str]; 4] = [
        &["down", "--yes"],
        &["down", "--yes", "--all"],
        &["down", "--yes", "--to", "1"],
        &["redo", "--yes"],
    ];
    for way in ways {
        world
            .run(way)
            .expect(1)
            .says(&["2_u.sql, which is not there", "--ignore-missing"]);
    }
    assert_eq!(world.snapshot(), applied);
    world
        .run(&["down", "--yes", "--ignore-missing"])
        .expect(0)
        .says(&["down 1 t"]);
}

fn one_that_is_half_done_is_not_forgotten_with_its_file(store: Store) {
    let world = World::on(store).files(&[(
        "1_t.sql",
        "-- no-transaction\ncreate table t (a integer);\nselect * from nothing;",
    )]);
    world.run(&["apply"]).expect(4);
    world.remove("1_t.sql");
    world.write("2_u.sql", "create table u (a integer);");
    assert_eq!(
        world.states(&[]),
        ["2_u.sql pending", "not there half done"]
    );
    for more in [&[][..], &["--ignore-missing"]] {
        world.run(&[&["apply"], more].concat()).expect(1).says(&[
            "1 stopped between two of its statements",
            "bring the file back",
        ]);
    }
    world.write(
        "1_t.sql",
        "-- no-transaction\ncreate table t (a integer);\nselect * from t;",
    );
    world.run(&["apply"]).expect(0);
}

/// SQLite's reader stops at it, and would be asked for the rest for ever.
fn a_plan_leaves_out_what_is_done_of_a_half_done_one(store: Store) {
    let world = World::on(store).files(&[(
        "1_t.sql",
        "-- no-transaction\ncreate table t (a integer);\ncreate table u (a integer);\n\
         select * from nothing;\ncreate table v (a integer);",
    )]);
    world.run(&["apply"]).expect(4);
    let plan = world.run(&["plan"]);
    plan.expect(0);
    plan.says(&[
        "statement by statement, 2 of its statements are done",
        "select * from nothing;",
        "create table v",
    ]);
    assert!(!plan.stdout.contains("create table u"), "{}", plan.stdout);
    let plan = world.run(&["plan", "--format", "json"]).expect(0).json();
    assert_eq!(plan["transactions"][0]["migrations"][0]["done"], 2);
}

fn a_nul_byte_is_refused(store: Store) {
    let world = World::on(store).files(&[("1_t.sql", "create table t (a integer);\n\0")]);
    for verb in ["apply", "lint", "plan", "status"] {
        world
            .run(&[verb])
            .expect(1)
            .says(&["1_t.sql has a NUL byte in line 2"]);
    }
}

/// Nothing but the mark is missing: that is what is said, without naming the layout too.
#[test]
fn a_mark_that_is_missing_is_named_by_itself() {
    let world = World::postgres().files(&[(
        "1_t.sql",
        "create table t (a integer);\ncreate index concurrently i on t (a);",
    )]);
    for (verb, code) in [("apply", 1), ("lint", 8)] {
        world.run(&[verb]).expect(code).says(&["no-transaction"]);
    }
}

/// Nothing had begun: not 3, which would say that something was taken back.
#[test]
fn a_history_that_cant_be_read_refuses() {
    let world = World::postgres().files(&[("1_t.sql", "create table t (a integer);")]);
    world.run(&["apply"]).expect(0);
    world.sql("revoke all on schema etlrs_migrate from current_user");
    for verb in ["status", "apply", "plan"] {
        world
            .run(&[verb])
            .expect(1)
            .says(&["the history can't be read", "42501"]);
    }
}

fn a_baseline_runs_nothing(store: Store) {
    let world = World::on(store).files(&[
        ("1_t.sql", "create table t (a integer);"),
        ("2_u.sql", "create table u (a integer);"),
    ]);
    world.sql("create table t (a integer)");
    world.run(&["baseline", "--to", "1"]).expect(0);
    assert_eq!(world.states(&[]), ["1_t.sql baseline", "2_u.sql pending"]);
    world.run(&["apply"]).expect(0).says(&["1 applied"]);
}

on_both!(
    line_ends_and_blanks_are_no_edit,
    an_edit_is_shown_and_can_be_accepted,
    one_that_comes_late_is_refused_or_recorded,
    a_file_that_is_gone_is_told,
    a_way_down_does_not_pass_by_one_whose_file_is_gone,
    one_that_is_half_done_is_not_forgotten_with_its_file,
    a_plan_leaves_out_what_is_done_of_a_half_done_one,
    a_nul_byte_is_refused,
    a_baseline_runs_nothing,
);
