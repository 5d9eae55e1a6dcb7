//! A statement of which nothing tells whether it took effect: a person says so.

use super::world::{World, until};

/// An index without a name, killed after the server made it and before that was written down.
fn in_doubt() -> World<'static> {
    let world = World::postgres().files(&[(
        "1_t.sql",
        "create table t (a int);\ncreate table u (n int);",
    )]);
    world.run(&["apply"]).expect(0);
    world.write(
        "2_alone.sql",
        "-- no-transaction\ncreate index concurrently on t (a);\ninsert into u values (1);",
    );
    let visitor = world.visitor("begin; insert into t values (1)");
    let mut run = world.tool(&["apply", "--format", "json"]).start();
    run.wait_for(|event| event["event"] == "waiting").unwrap();
    run.kill();
    drop(visitor);
    until("the killed run's session is gone", || {
        let database = world.database();
        database.server().sessions(database.name()).is_empty()
    });
    world
}

fn indexes(world: &World<'_>) -> String {
    world.sql("select count(*) from pg_index where indrelid = 't'::regclass and indisvalid")
}

#[test]
fn a_statement_in_doubt_is_not_run_again_by_itself_and_a_person_says_it_is_done() {
    let world = in_doubt();
    world
        .run(&["apply"])
        .expect(4)
        .says(&["2_alone.sql:2:1", "repair --statement"]);
    assert_eq!(world.sql("select count(*) from u"), "0");
    assert_eq!(world.states(&[])[1], "2_alone.sql half done");
    world
        .run(&["repair", "--statement", "done", "--version", "2"])
        .expect(0)
        .says(&["statement 1 of 2 is done"]);
    world.run(&["apply"]).expect(0);
    assert_eq!(world.sql("select count(*) from u"), "1");
    assert_eq!(indexes(&world), "1");
    // Nothing is in doubt any more.
    world
        .run(&["repair", "--statement", "done", "--version", "2"])
        .expect(1)
        .says(&["no statement of 2 is in doubt"]);
    world.run(&["repair", "--statement", "done"]).expect(2);
}

#[test]
fn a_person_says_that_it_runs_again() {
    let world = in_doubt();
    let before: u32 = indexes(&world).parse().unwrap();
    world.run(&["apply"]).expect(4);
    world
        .run(&["repair", "--statement", "again", "--version", "2"])
        .expect(0)
        .says(&["statement 1 of 2 runs again"]);
    world.run(&["apply"]).expect(0);
    let after: u32 = indexes(&world).parse().unwrap();
    assert_eq!(after, before + 1, "it ran once more");
    assert_eq!(world.sql("select count(*) from u"), "1");
}
