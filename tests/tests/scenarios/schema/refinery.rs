//! Files of refinery on the real binary. Its history is taken over in `takeover`.

use migrate_tests::deployment::Store;

use super::world::World;
use crate::on_both;

const FILES: &[(&str, &str)] = &[
    ("V2__u.sql", "create table u (a integer references t (a));"),
    (
        "V10__v.sql",
        "create table v (a integer references u2 (a));",
    ),
    ("V1__t.sql", "create table t (a integer primary key);"),
    ("U3__u2.sql", "create table u2 (a integer primary key);"),
];

fn they_run_in_the_order_of_their_numbers(store: Store) {
    let world = World::on(store).files(FILES);
    let done = world.run(&["apply", "--layout", "refinery", "--format", "json"]);
    let applied = done.expect(0).json_lines();
    let result = applied.last().unwrap();
    assert_eq!(
        result["applied"],
        serde_json::json!(["1 t", "2 u", "3 u2", "10 v"]),
        "{result}"
    );
    world.sql("select a from v");
    world
        .run(&["apply", "--layout", "refinery"])
        .expect(0)
        .says(&["nothing to do"]);
    // refinery has no way down, and says nothing of one.
    world
        .run(&["down", "--layout", "refinery", "--yes"])
        .expect(1)
        .says(&["V10__v.sql"]);
}

on_both!(they_run_in_the_order_of_their_numbers,);
