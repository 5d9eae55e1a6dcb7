//! A database that others use: locks that are taken, queues that must not grow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::world::{World, until};

const TABLE: (&str, &str) = ("1_t.sql", "create table t (a int);");
const ALTER: (&str, &str) = ("2_alter.sql", "alter table t add column b int;");

#[test]
fn a_taken_lock_is_tried_again_and_its_holder_named() {
    let world = World::postgres().files(&[TABLE]);
    world.run(&["apply"]).expect(0);
    world.write(ALTER.0, ALTER.1);
    let visitor = world.visitor("begin; select from t");
    let mut run = world.tool(&["apply", "--format", "json"]).start();
    let again = run
        .wait_for(|event| event["event"] == "again")
        .expect("it is tried again");
    let why = again["why"].as_str().unwrap();
    assert!(
        why.contains("blocked by session") && why.contains("visitor-ready"),
        "{why}"
    );
    drop(visitor);
    run.finish().expect(0);
    world.sql("select b from t");
}

#[test]
fn a_lock_that_is_never_let_go_ends_it_with_nothing_changed() {
    let world = World::postgres().files(&[TABLE]);
    world.run(&["apply"]).expect(0);
    world.write(ALTER.0, ALTER.1);
    let _visitor = world.visitor("begin; select from t");
    world
        .run(&["apply", "--give-up-after", "2s"])
        .expect(3)
        .says(&[
            "2_alter.sql:1:1",
            "lock timeout",
            "visitor-ready",
            "--give-up-after",
        ]);
}

/// Stops a writer even when the work it goes along with panics.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The longest that one of many small writes took while `work` ran.
fn worst_write(world: &World<'_>, work: impl FnOnce()) -> Duration {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut worst = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                world.sql("insert into t values (1)");
                worst = worst.max(began.elapsed());
            }
            worst
        });
        let stopped = StopAtEnd(&stop);
        work();
        drop(stopped);
        writer.join().unwrap()
    })
}

#[test]
fn writers_do_not_queue_behind_it_while_it_waits() {
    let world = World::postgres().files(&[TABLE]);
    world.run(&["apply"]).expect(0);
    world.write(ALTER.0, ALTER.1);
    let visitor = world.visitor("begin; select from t");
    let worst = worst_write(&world, || {
        let run = world.tool(&["apply"]).start();
        std::thread::sleep(Duration::from_secs(4));
        drop(visitor);
        run.finish().expect(0);
    });
    // Without the timeout a writer would wait for the visitor: four seconds.
    assert!(worst < Duration::from_millis(2_500), "{worst:?}");
}

#[test]
fn it_gives_way_when_others_wait_for_its_locks_too_long() {
    let world = World::postgres().files(&[TABLE]);
    world.run(&["apply"]).expect(0);
    world.write(ALTER.0, ALTER.1);
    world.write(
        "3_slow.sql",
        "create table u as select 1 as a from pg_sleep(4);",
    );
    let mut given_way = false;
    let worst = worst_write(&world, || {
        let run = world.run(&["apply", "--queue-budget", "500ms", "--format", "json"]);
        run.expect(0);
        given_way = run.stdout.contains("gave way");
    });
    assert!(given_way, "others waited and it did not give way");
    assert!(worst < Duration::from_secs(3), "{worst:?}");
    world.sql("select b from t; select from u");
}

#[test]
fn two_runs_at_once_are_one_after_the_other() {
    let world = World::postgres().files(&[
        TABLE,
        ("2_slow.sql", "insert into t select 1 from pg_sleep(1);"),
    ]);
    let first = world.tool(&["apply"]).start();
    let second = world.tool(&["apply"]).start();
    let (first, second) = (first.finish(), second.finish());
    first.expect(0);
    second.expect(0);
    assert_eq!(world.sql("select count(*) from t"), "1");
}

#[test]
fn the_holder_of_the_lock_is_named() {
    let world = World::postgres().files(&[("1_slow.sql", "select pg_sleep(14);")]);
    let first = world.tool(&["apply"]).start();
    until("the first runs", || {
        world
            .database()
            .server()
            .sessions(world.database().name())
            .iter()
            .any(|session| session.contains("active"))
    });
    let pid = first.pid().to_string();
    world.run(&["apply"]).expect(5).says(&[&pid]);
    first.finish().expect(0);
}
