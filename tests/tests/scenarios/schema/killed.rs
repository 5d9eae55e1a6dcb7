//! SIGKILL at any moment, and of a statement whose session lives on; the next run ends in the
//! same place. (At every boundary: `struck`.)

use std::time::Duration;

use migrate_tests::deployment::Store;

use super::mixed::set;
use super::world::{World, until};
use crate::on_both;

fn nothing_runs_any_more(world: &World<'_>) {
    until("the killed run's sessions are gone", || {
        let database = world.database();
        database.server().sessions(database.name()).is_empty()
    });
}

fn a_kill_at_any_moment_ends_in_the_same_place(store: Store) {
    let world = World::on(store).files(set(store));
    let began = std::time::Instant::now();
    world.run(&["apply"]).expect(0);
    let whole = began.elapsed();
    let expected = world.snapshot();
    let steps: u32 = 30;
    for step in 0..steps {
        let world = World::on(store).files(set(store));
        let run = world.tool(&["apply"]).start();
        std::thread::sleep(whole * step / steps);
        run.kill();
        world.run(&["apply"]).expect(0);
        assert_eq!(world.snapshot(), expected, "killed at {step}/{steps}");
    }
}

/// The outcome of a statement can't be written while somebody holds the journal: what is
/// killed then is exactly between a statement and the word about it.
#[test]
fn a_kill_between_a_statement_and_the_word_about_it_is_decided_by_the_catalog() {
    for (number, statement, effect) in [
        (
            1,
            "create index concurrently i on t (a)",
            "select indisvalid from pg_index where indexrelid = to_regclass('i')",
        ),
        (
            2,
            "drop index concurrently i",
            "select to_regclass('i') is null",
        ),
        (
            3,
            "alter table p detach partition p1 concurrently",
            "select count(*) = 0 from pg_inherits",
        ),
    ] {
        let world = World::postgres().files(&[(
            "1_t.sql",
            "create table t (a int);\n\
             create table p (a int) partition by range (a);\n\
             create table p1 partition of p for values from (1) to (2);\n\
             create table u (n int);",
        )]);
        world.run(&["apply"]).expect(0);
        if number == 2 {
            world.sql("create index i on t (a)");
        }
        world.write(
            "2_alone.sql",
            &format!("-- no-transaction\n{statement};\ninsert into u values (1);"),
        );
        // The statement waits for this transaction, so that there is time to take the journal.
        let visitor =
            world.visitor("begin; insert into t values (1); select from p; select from p1");
        let mut run = world.tool(&["apply", "--format", "json"]).start();
        run.wait_for(|event| event["event"] == "waiting").unwrap();
        let journal = world.visitor("begin; lock etlrs_migrate.schema_statements in share mode");
        drop(visitor);
        until("the statement took effect", || world.sql(effect) == "t");
        std::thread::sleep(Duration::from_millis(50));
        run.kill();
        drop(journal);
        nothing_runs_any_more(&world);
        world
            .run(&["apply"])
            .expect(0)
            .says(&["it was interrupted, but took effect"]);
        assert_eq!(world.sql(effect), "t", "{statement}");
        assert_eq!(world.sql("select count(*) from u"), "1", "{statement}");
    }
}

#[test]
fn a_session_that_outlives_its_client_is_waited_for() {
    let world = World::postgres().files(&[(
        "1_t.sql",
        "create table t (a int);\ncreate table u (n int);",
    )]);
    world.run(&["apply"]).expect(0);
    world.write(
        "2_alone.sql",
        "-- no-transaction\ncreate index concurrently i on t (a);\ninsert into u values (1);",
    );
    let visitor = world.visitor("begin; insert into t values (1)");
    let mut run = world.tool(&["apply", "--format", "json"]).start();
    run.wait_for(|event| event["event"] == "waiting").unwrap();
    run.kill();
    let mut again = world.tool(&["apply", "--format", "json"]).start();
    let waiting = again.wait_for(|event| event["event"] == "waiting").unwrap();
    let waiting = waiting["for"].as_str().unwrap().to_owned();
    assert!(
        waiting.contains("of the interrupted run still runs"),
        "{waiting}"
    );
    drop(visitor);
    again.finish().expect(0);
    assert_eq!(world.sql("select count(*) from u"), "1");
}

on_both!(a_kill_at_any_moment_ends_in_the_same_place);
