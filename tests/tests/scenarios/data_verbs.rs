//! Rows alone: `data migrate`, `data verify`, `data status`, and `work` from other processes,
//! with SIGKILL among them. `ETLRS_KILL_ROUNDS` makes more rounds of the kill tests.

use std::time::{Duration, Instant};

use migrate_tests::binary::Running;
use migrate_tests::copies::{Tally, arguments, kill_rounds, numbers};
use migrate_tests::deployment::{Deployment, Store};

use crate::on_both;

const ROWS: u64 = 6_000;

/// Two tables, the target with every tenth row stale and one row of somebody else.
fn two_tables(store: Store) -> Deployment {
    let deployment = Deployment::v1().rows(1).on(store);
    let series = numbers(store, ROWS);
    deployment.sql(&format!(
        "CREATE TABLE src (id integer PRIMARY KEY, v text NOT NULL);
         CREATE TABLE dst (id integer PRIMARY KEY, v text NOT NULL, made integer NOT NULL DEFAULT 1);
         INSERT INTO src SELECT i, 'value ' || i FROM {series};
         INSERT INTO dst (id, v) SELECT id, 'stale' FROM src WHERE id % 10 = 0;
         INSERT INTO dst (id, v) VALUES (-1, 'own')"
    ));
    deployment.write("shout.sql", "SELECT id, upper(v) AS v FROM batch");
    deployment
}

fn must_be_copied(deployment: &Deployment, what: &str) {
    let wrong = deployment.sql(
        "SELECT count(*) FROM src LEFT JOIN dst ON dst.id = src.id WHERE dst.id IS NULL OR dst.v <> upper(src.v)",
    );
    let rows = deployment.sql("SELECT count(*) FROM dst");
    assert_eq!(
        (wrong.trim(), rows.trim()),
        ("0", (ROWS + 1).to_string().as_str()),
        "{what}"
    );
}

fn rows_are_copied_compared_and_nothing_stays_behind(store: Store) {
    let deployment = two_tables(store);
    let script = deployment.path("shout.sql").display().to_string();
    deployment
        .run(&arguments("migrate", &script, &[]))
        .expect(0)
        .says(&["6000 rows read, 5400 inserted, 600 updated, 0 unchanged"]);
    must_be_copied(&deployment, "after one copy");
    deployment
        .run(&["data", "status"])
        .expect(0)
        .says(&["no copy is under way"]);
    // The row of somebody else is no row of the source.
    deployment
        .run(&arguments("verify", &script, &[]))
        .expect(8)
        .says(&["1 differ", "id=-1"]);
    deployment.sql("DELETE FROM dst WHERE id = -1");
    deployment
        .run(&arguments("verify", &script, &["--workers", "1"]))
        .expect(0)
        .says(&["6000 rows compared, no difference"]);
    // Each row counts once, whether it is missing, too many or another.
    deployment.sql(
        "DELETE FROM dst WHERE id <= 5000; INSERT INTO dst (id, v) SELECT id + 100000, v FROM dst WHERE id > 5990",
    );
    deployment
        .run(&arguments("verify", &script, &[]))
        .expect(8)
        .says(&["6000 rows compared, 5010 differ"]);
    deployment
        .run(&arguments("migrate", &script, &["--verify", "off"]))
        .expect(0);
    deployment.sql("DELETE FROM dst WHERE id > 100000");
    deployment.sql("UPDATE dst SET v = 'x' WHERE id = 4242");
    deployment
        .run(&arguments("verify", &script, &[]))
        .expect(8)
        .says(&["the row id=4242 of dst is different"]);
    deployment
        .run(&arguments(
            "migrate",
            &script,
            &["--batch-size", "100", "--verify", "off"],
        ))
        .expect(0)
        .says(&["0 inserted, 1 updated, 5999 unchanged"]);
}

fn a_copy_that_can_not_work_changes_nothing(store: Store) {
    let deployment = two_tables(store);
    deployment.write(
        "bad.sql",
        "SELECT id, CASE WHEN id = 77 THEN NULL ELSE v END AS v FROM batch",
    );
    let script = deployment.path("bad.sql").display().to_string();
    let before = deployment.sql("SELECT count(*), min(v), max(v) FROM dst");
    deployment
        .run(&arguments(
            "migrate",
            &script,
            &["--batch-size", "10", "--skip-check", "rows"],
        ))
        .expect(3)
        .says(&["the row id=77 of src can't be moved into dst", "taken back"]);
    assert_eq!(
        before,
        deployment.sql("SELECT count(*), min(v), max(v) FROM dst")
    );
    deployment
        .run(&arguments("migrate", "nowhere.sql", &[]))
        .expect(2)
        .says(&["nowhere.sql"]);
    deployment
        .run(&["work", "--run", "20240101000000abcd"])
        .expect_one_of(&[1, 4]);
    assert_eq!(
        before,
        deployment.sql("SELECT count(*), min(v), max(v) FROM dst")
    );
}

/// Waits until a copy is seen that has moved some rows, and gives its run.
fn run_under_way(deployment: &Deployment, copying: &mut Running, least: u64) -> Option<String> {
    let began = Instant::now();
    while copying.is_running() && began.elapsed() < Duration::from_mins(1) {
        let seen = deployment
            .run(&["data", "status", "--format", "json"])
            .json();
        let copy = &seen[0];
        if copy["moved"].as_u64().is_some_and(|moved| moved >= least) {
            return copy["run"].as_str().map(str::to_owned);
        }
    }
    None
}

/// How much of the rows is moved before somebody is killed: another part each round.
fn part(round: u64) -> u64 {
    ROWS * (round * 37 % 90) / 100
}

fn a_killed_copy_goes_on_or_back_and_doubles_nothing(store: Store) {
    let mut tally = Tally::of(format!("a script into a table in use, {store:?}"));
    for round in 0..kill_rounds(3) {
        tally.rounds += 1;
        let deployment = two_tables(store);
        let script = deployment.path("shout.sql").display().to_string();
        let before = deployment.sql("SELECT count(*), min(v), max(v) FROM dst");
        let mut copying = deployment
            .tool(&arguments("migrate", &script, &["--batch-size", "20"]))
            .start();
        let Some(run) = run_under_way(&deployment, &mut copying, part(round)) else {
            // It was faster than we looked.
            tally.ended += 1;
            copying.finish().expect(0);
            must_be_copied(&deployment, "not killed");
            continue;
        };
        copying.kill();
        let seen = deployment
            .run(&["data", "status", "--format", "json"])
            .json();
        if seen[0].is_null() {
            tally.ended += 1;
            must_be_copied(&deployment, "killed after its end");
            continue;
        }
        tally.kills += 1;
        if round % 2 == 0 {
            let done = deployment.run(&["data", "resume", "--run", &run]);
            done.expect(0);
            done.says(&["6000 rows read, 5400 inserted, 600 updated"]);
            tally.resumed += 1;
            must_be_copied(&deployment, &format!("round {round}"));
        } else {
            tally.taken_back += 1;
            deployment.run(&["data", "undo", "--run", &run]).expect(0);
            let after = deployment.sql("SELECT count(*), min(v), max(v) FROM dst");
            assert_eq!(before, after, "round {round}");
        }
        deployment
            .run(&["data", "status"])
            .expect(0)
            .says(&["no copy is under way"]);
    }
    assert!(tally.kills > 0, "no round was killed half-way");
}

#[test]
fn workers_of_other_processes_help_and_may_be_killed() {
    let mut tally = Tally::of("three worker processes, Postgres");
    let mut helped = 0;
    for round in 0..kill_rounds(3) {
        tally.rounds += 1;
        let deployment = two_tables(Store::Postgres);
        let script = deployment.path("shout.sql").display().to_string();
        let mut copying = deployment
            .tool(&arguments(
                "migrate",
                &script,
                &["--batch-size", "10", "--workers", "1"],
            ))
            .start();
        let Some(run) = run_under_way(&deployment, &mut copying, 1) else {
            tally.ended += 1;
            copying.finish().expect(0);
            must_be_copied(&deployment, "alone");
            continue;
        };
        helped += 1;
        let mut helpers: Vec<Running> = (0..2)
            .map(|_| deployment.tool(&["work", "--run", &run]).start())
            .collect();
        run_under_way(&deployment, &mut copying, part(round));
        tally.kills += u64::from(helpers[0].is_running());
        helpers.remove(0).kill();
        let owner_too = round % 3 == 2;
        if owner_too {
            tally.kills += u64::from(copying.is_running());
            copying.kill();
            helpers.remove(0).finish();
            let seen = deployment
                .run(&["data", "status", "--format", "json"])
                .json();
            if !seen[0].is_null() {
                tally.resumed += 1;
                let done = deployment.run(&["data", "resume", "--run", &run]);
                done.expect(0);
                done.says(&["6000 rows read, 5400 inserted, 600 updated"]);
            }
        } else {
            tally.ended += 1;
            let done = copying.finish();
            done.expect(0);
            done.says(&["6000 rows read, 5400 inserted, 600 updated"]);
            helpers.remove(0).finish().expect_one_of(&[0, 1, 4]);
        }
        must_be_copied(&deployment, &format!("round {round}"));
    }
    assert!(helped > 0, "every round was over before anybody could help");
}

#[test]
fn sqlite_has_one_writer_and_says_so() {
    let deployment = two_tables(Store::Sqlite);
    deployment
        .run(&["work", "--run", "20240101000000abcd"])
        .expect_one_of(&[1, 4])
        .says(&["SQLite has one writer"]);
}

on_both! {
    rows_are_copied_compared_and_nothing_stays_behind,
    a_copy_that_can_not_work_changes_nothing,
    a_killed_copy_goes_on_or_back_and_doubles_nothing,
}
