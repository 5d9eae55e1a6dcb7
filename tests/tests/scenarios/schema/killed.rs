//! SIGKILL at every boundary of a mixed set; the next run ends in the same place.

use std::time::Duration;

use migrate_tests::deployment::Store;
use migrate_tests::postgres::Server;

use super::world::{World, until};
use crate::on_both;

/// Transactional, statement by statement, and CONCURRENTLY, with rows that tell whether
/// anything ran twice.
const POSTGRES: &[(&str, &str)] = &[
    (
        "1_t.sql",
        "create table t (a int);\ninsert into t select generate_series(1, 2000);\ncreate type m as enum ('x');",
    ),
    (
        "2_steps.sql",
        "-- no-transaction\n\
         set lock_timeout = '1s';\n\
         create table u (n int);\n\
         insert into u values (1);\n\
         create index concurrently t_a on t (a);\n\
         insert into u values (2);\n\
         alter type m add value 'y';\n\
         insert into u values (3);",
    ),
    (
        "3_use.sql",
        "create table w (v m default 'y');\ninsert into w default values;",
    ),
    (
        "4_more.sql",
        "-- no-transaction\n\
         drop index concurrently t_a;\n\
         create unique index concurrently t_b on t (a);\n\
         reindex index concurrently t_b;\n\
         insert into u values (4);",
    ),
    ("5_end.sql", "create view v as select count(*) from u;"),
];

const SQLITE: &[(&str, &str)] = &[
    (
        "1_t.sql",
        "create table t (a integer);\ninsert into t values (1);",
    ),
    (
        "2_steps.sql",
        "-- no-transaction\n\
         pragma foreign_keys = off;\n\
         create table u (n integer);\n\
         insert into u values (1);\n\
         create index t_a on t (a);\n\
         insert into u values (2);\n\
         vacuum;\n\
         insert into u values (3);",
    ),
    ("3_end.sql", "create view v as select count(*) from u;"),
];

fn set(store: Store) -> &'static [(&'static str, &'static str)] {
    match store {
        Store::Postgres => POSTGRES,
        Store::Sqlite => SQLITE,
    }
}

fn applied_at_once(store: Store) -> (String, usize) {
    let world = World::on(store).files(set(store));
    let run = world.run(&["apply", "--format", "json"]);
    let events = run.expect(0).json_lines().len();
    (world.snapshot(), events)
}

fn nothing_runs_any_more(world: &World<'_>) {
    until("the killed run's sessions are gone", || {
        let database = world.database();
        database.server().sessions(database.name()).is_empty()
    });
}

fn a_kill_at_every_event_ends_in_the_same_place(store: Store) {
    let (expected, events) = applied_at_once(store);
    assert!(events > 8, "{events} events");
    for kill_at in 0..events {
        let world = World::on(store).files(set(store));
        let mut run = world.tool(&["apply", "--format", "json"]).start();
        for _ in 0..=kill_at {
            run.next_line();
        }
        run.kill();
        // A session of the killed run may still be at work: that must not matter.
        world.run(&["apply"]).expect(0);
        assert_eq!(world.snapshot(), expected, "killed at event {kill_at}");
    }
}

fn a_kill_at_any_moment_ends_in_the_same_place(store: Store) {
    let (expected, _) = applied_at_once(store);
    let world = World::on(store).files(set(store));
    let began = std::time::Instant::now();
    world.run(&["apply"]).expect(0);
    let whole = began.elapsed();
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

#[test]
fn a_restart_of_the_server_in_the_middle_ends_in_the_same_place() {
    let (expected, _) = applied_at_once(Store::Postgres);
    let server = Server::start();
    for kill_at in [2, 5, 8, 11] {
        let world = World::on_server(&server).files(POSTGRES);
        let mut run = world.tool(&["apply", "--format", "json"]).start();
        for _ in 0..=kill_at {
            run.next_line();
        }
        server.crash();
        let ended = run.finish();
        assert_ne!(ended.code(), Some(0), "{ended}");
        server.start_again();
        world.run(&["apply"]).expect(0);
        assert_eq!(world.snapshot(), expected, "restarted at event {kill_at}");
    }
}

on_both!(
    a_kill_at_every_event_ends_in_the_same_place,
    a_kill_at_any_moment_ends_in_the_same_place,
);
