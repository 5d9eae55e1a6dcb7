//! `CREATE INDEX CONCURRENTLY` and its kin.

use migrate_tests::postgres::ROLE;

use super::world::{World, until};

const TABLE: (&str, &str) = (
    "1_t.sql",
    "create table t (a int);\ninsert into t select generate_series(1, 1000);",
);
const INDEX: (&str, &str) = (
    "2_i.sql",
    "-- no-transaction\ncreate index concurrently if not exists i on t (a);",
);

fn valid(world: &World<'_>, index: &str) -> String {
    world.sql(&format!(
        "select indisvalid from pg_index where indexrelid = to_regclass('{index}')"
    ))
}

#[test]
fn the_mark_is_needed_and_named() {
    let world =
        World::postgres().files(&[TABLE, ("2_i.sql", "create index concurrently i on t (a);")]);
    world.run(&["apply", "--layout", "sqlx"]).expect(1).says(&[
        "2_i.sql:1:1",
        "can't run inside a transaction",
        "-- no-transaction",
    ]);
    assert!(!world.snapshot().contains("CREATE TABLE"));
}

#[test]
fn an_invalid_index_is_dropped_and_built_again() {
    let world = World::postgres().files(&[TABLE]);
    world.run(&["apply"]).expect(0);
    world.sql("insert into t values (1)");
    world.write(
        "2_i.sql",
        "-- no-transaction\ncreate unique index concurrently if not exists i on t (a);",
    );
    // It fails on the row that is there twice, and leaves nothing that slows writes down.
    world.run(&["apply"]).expect(4).says(&[
        "2_i.sql:2:1",
        "could not create unique index",
        "Key (a)=(1) is duplicated",
    ]);
    assert_eq!(valid(&world, "i"), "", "no invalid index is left");
    // What another tool left behind is no index, though IF NOT EXISTS takes it for one.
    let database = world.database();
    database
        .server()
        .try_psql(
            ROLE,
            database.name(),
            "create unique index concurrently i on t (a)",
        )
        .expect_err("a row is there twice");
    assert_eq!(valid(&world, "i"), "f");
    world.sql("delete from t where a = 1");
    world
        .run(&["apply"])
        .expect(0)
        .says(&["dropping the invalid index public.i"]);
    assert_eq!(valid(&world, "i"), "t");
}

#[test]
fn who_is_waited_for_is_named_and_writers_go_on() {
    let world = World::postgres().files(&[TABLE]);
    world.run(&["apply"]).expect(0);
    world.write(INDEX.0, INDEX.1);
    let visitor = world.visitor("begin; insert into t values (7)");
    let mut run = world.tool(&["apply", "--format", "json"]).start();
    let waiting = run
        .wait_for(|event| event["event"] == "waiting")
        .expect("it tells what it waits for");
    let waiting = waiting["for"].as_str().unwrap();
    assert!(waiting.contains("visitor-ready"), "{waiting}");
    world.sql("insert into t values (8)");
    drop(visitor);
    run.finish().expect(0);
    assert_eq!(valid(&world, "i"), "t");
}

#[test]
fn its_time_budget_ends_it_and_leaves_no_carcass() {
    let world = World::postgres().files(&[TABLE]);
    world.run(&["apply"]).expect(0);
    world.write(INDEX.0, INDEX.1);
    let visitor = world.visitor("begin; insert into t values (7)");
    let mut run = world
        .tool(&["apply", "--concurrently-budget", "1s", "--format", "json"])
        .start();
    run.wait_for(|event| event["event"] == "waiting").unwrap();
    // Dropping what is left waits for the same transaction, and for no longer than the budget.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    drop(visitor);
    run.finish()
        .expect(4)
        .says(&["statement timeout", "visitor-ready"]);
    assert_eq!(valid(&world, "i"), "");
    world.run(&["apply"]).expect(0);
    assert_eq!(valid(&world, "i"), "t");
}

#[test]
fn the_others_of_its_kind_run_too() {
    let world = World::postgres().files(&[
        TABLE,
        INDEX,
        (
            "3_r.sql",
            "-- no-transaction\nreindex index concurrently i;\nvacuum t;",
        ),
        ("4_d.sql", "-- no-transaction\ndrop index concurrently i;"),
        (
            "5_p.sql",
            "create table p (a int) partition by range (a);\n\
             create table p1 partition of p for values from (1) to (2);",
        ),
        (
            "6_detach.sql",
            "-- no-transaction\nalter table p detach partition p1 concurrently;",
        ),
    ]);
    world.run(&["apply"]).expect(0).says(&["6 applied"]);
    assert_eq!(valid(&world, "i"), "");
    assert_eq!(world.sql("select count(*) from pg_inherits"), "0");
}

#[test]
fn a_signal_ends_it_and_the_next_run_goes_on() {
    let world = World::postgres().files(&[TABLE]);
    world.run(&["apply"]).expect(0);
    world.write(INDEX.0, INDEX.1);
    let visitor = world.visitor("begin; insert into t values (7)");
    let mut run = world.tool(&["apply", "--format", "json"]).start();
    run.wait_for(|event| event["event"] == "waiting").unwrap();
    run.signal("TERM");
    run.finish().expect(143);
    drop(visitor);
    until("nothing of it runs", || {
        world
            .database()
            .server()
            .sessions(world.database().name())
            .is_empty()
    });
    world.run(&["apply"]).expect(0);
    assert_eq!(valid(&world, "i"), "t");
}
