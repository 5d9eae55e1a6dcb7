//! Downs that do not restore, found before they are needed.

use migrate_tests::deployment::Store;

use super::drift::nothing_is_left;
use super::world::World;
use crate::on_both;

fn downs_are_tried_one_by_one(store: Store) {
    let world = World::undisturbed(store).files(&[
        (
            "1_good.sql",
            "create table t (id integer primary key, n text);",
        ),
        ("1_good.down.sql", "drop table t;"),
        ("1_good.verify.sql", "select count(*) = 0 from t"),
        (
            "2_forgets.sql",
            "create table u (a integer); create index t_n on t (n);",
        ),
        ("2_forgets.down.sql", "drop table u;"),
        ("3_none.sql", "create table w (a integer);"),
        ("4_fails.sql", "create table x (a integer);"),
        ("4_fails.down.sql", "drop table nonsense;"),
        (
            "5_rows.sql",
            "create table y (a integer); insert into y values (1);",
        ),
        ("5_rows.down.sql", "drop table y;"),
        ("6_once.sql", "insert into t values (1, 'x');"),
        ("6_once.down.sql", "select 1;"),
    ]);
    let before = world.snapshot();
    let run = world.run(&["verify", "--scratch"]);
    run.expect(8).says(&[
        "does not restore 2 forgets (2_forgets.down.sql)",
        "+ CREATE INDEX t_n",
        "no down 3 none (3_none.sql)",
        "down fails 4 fails (4_fails.down.sql)",
        "nonsense",
        "second up fails 6 once",
        "6 migrations tried: 2 restore",
    ]);
    let json = world
        .run(&["verify", "--scratch", "--format", "json"])
        .expect(8)
        .json();
    assert_eq!(json["restore"], 2);
    assert_eq!(json["faults"], 3);
    assert_eq!(json["migrations"][1]["verdict"], "does not restore");
    assert_eq!(json["migrations"][1]["objects"][0]["change"], "added");
    assert_eq!(
        world.snapshot(),
        before,
        "only the scratch database is written to"
    );
    nothing_is_left(&world);
}

fn all_that_restore_are_fine(store: Store) {
    let world = World::undisturbed(store).files(&[
        (
            "1_t.sql",
            "create table t (id integer primary key, a integer, b integer);",
        ),
        ("1_t.down.sql", "drop table t;"),
        ("2_drop.sql", "alter table t drop column a;"),
        ("2_drop.down.sql", "alter table t add column a integer;"),
        ("3_none.sql", "create table w (a integer);"),
    ]);
    let run = world.run(&["verify", "--scratch"]);
    run.expect(match store {
        Store::Postgres => 0,
        // SQLite keeps the table's text, where the column is at the end.
        Store::Sqlite => 8,
    });
    if store == Store::Postgres {
        run.says(&["other order 2 drop", "1 have no down"]);
    }
    world.run(&["verify", "--scratch", "--to", "1"]).expect(0);
    world.run(&["verify", "--scratch", "--to", "9"]).expect(1);
    world.run(&["verify"]).expect(2);
}

fn an_up_that_fails_ends_it(store: Store) {
    let world = World::undisturbed(store).files(&[
        ("1_t.sql", "create table t (a integer);"),
        ("1_t.down.sql", "drop table t;"),
        ("2_bad.sql", "create table t (a integer);"),
        ("3_u.sql", "create table u (a integer);"),
    ]);
    world.run(&["verify", "--scratch"]).expect(8).says(&[
        "up fails 2 bad (2_bad.sql)",
        "1 after it were not tried",
        "1 migrations tried: 1 restore",
    ]);
    world.write("2_bad.sql", "create table x (a integer);");
    world.write("2_bad.verify.sql", "select 1 = 2");
    world
        .run(&["verify", "--scratch"])
        .expect(8)
        .says(&["up fails 2 bad", "false, null or zero"]);
    nothing_is_left(&world);
}

#[test]
fn what_no_transaction_covers_is_tried_too() {
    let world = World::undisturbed(Store::Postgres).files(&[
        (
            "1_t.sql",
            "create table t (a integer, b integer); create type m as enum ('a');",
        ),
        ("1_t.down.sql", "drop table t; drop type m;"),
        (
            "2_i.sql",
            "-- no-transaction\ncreate index concurrently t_a on t (a);",
        ),
        (
            "2_i.down.sql",
            "-- no-transaction\ndrop index concurrently t_a;",
        ),
        (
            "3_bad.sql",
            "-- no-transaction\ncreate index concurrently t_b on t (b);",
        ),
        (
            "3_bad.down.sql",
            "-- no-transaction\ndrop index concurrently t_a;",
        ),
        ("4_enum.sql", "alter type m add value 'b';"),
        ("4_enum.down.sql", "select 1;"),
        ("5_last.sql", "create table after (a integer);"),
        ("5_last.down.sql", "drop table after;"),
    ]);
    let run = world.run(&["verify", "--scratch"]);
    run.expect(8).says(&[
        "does not restore 3 bad",
        "does not restore 4 enum",
        "5 migrations tried: 3 restore, 2 do not restore",
    ]);
    nothing_is_left(&world);
}

#[test]
fn a_scratch_server_is_enough() {
    let world = World::undisturbed(Store::Postgres).files(&[
        ("1_t.sql", "create table t (a integer);"),
        ("1_t.down.sql", "drop table t;"),
    ]);
    let (source, url) = (world.source(), world.url());
    let source = source.to_str().unwrap();
    let run = migrate_tests::binary::Tool::new(&[
        "schema",
        "verify",
        "--scratch",
        "--source",
        source,
        "--scratch-url",
        &url,
    ])
    .run();
    run.expect(0).says(&["1 migrations tried: 1 restore"]);
}

on_both!(
    downs_are_tried_one_by_one,
    all_that_restore_are_fine,
    an_up_that_fails_ends_it,
);
