//! SIGKILL among copies that go other ways than one script into a table in use: straight COPY, rows of
//! another database, indexes put aside, bad rows with workers of other processes.

use std::time::{Duration, Instant};

use migrate_tests::binary::Running;
use migrate_tests::copies::{Tally, arguments, kill_rounds, numbers};
use migrate_tests::deployment::{Deployment, Store};
use serde_json::Value;

use crate::on_both;

/// A copy of `src` into `dst` that is killed again and again.
struct Killed<'a> {
    what: &'a str,
    deployment: &'a Deployment,
    /// What is given to `data migrate`, and of it to `data resume` and `data undo`.
    migrate: Vec<&'a str>,
    again: &'a [&'a str],
    /// Rows that are read.
    rows: u64,
    /// Processes that help, of which one is killed.
    helpers: usize,
    /// A query, and what it says when all is copied; nothing is lost or doubled then.
    copied: (&'a str, &'a str),
    /// A query that tells whether the target is as it was.
    state: &'a str,
    /// What brings the tables back to where they were before a round.
    reset: &'a str,
}

fn first(deployment: &Deployment) -> Value {
    let seen = deployment.run(&["data", "status", "--format", "json"]);
    seen.json().get(0).cloned().unwrap_or_default()
}

/// Waits until so many rows are moved or kept aside; gives the run.
fn under_way(deployment: &Deployment, process: &mut Running, least: u64) -> Option<String> {
    let began = Instant::now();
    while process.is_running() && began.elapsed() < Duration::from_mins(2) {
        let copy = first(deployment);
        let figure = |name: &str| copy[name].as_u64().unwrap_or_default();
        if copy["run"].is_string() && figure("moved") + figure("quarantined") >= least {
            return copy["run"].as_str().map(str::to_owned);
        }
    }
    None
}

impl Killed<'_> {
    /// Another part of the rows each round; in the first of four all of them, so that what comes after
    /// the rows is struck too.
    fn part(&self, round: u64) -> u64 {
        match round % 4 {
            0 => self.rows,
            _ => self.rows * (round * 37 % 95) / 100,
        }
    }

    fn must_be_copied(&self, round: u64) {
        let found = self.deployment.sql(self.copied.0);
        assert_eq!(found.trim(), self.copied.1, "{}, round {round}", self.what);
        let none = self.deployment.run(&["data", "status"]);
        none.expect(0).says(&["no copy is under way"]);
    }

    fn rounds(&self, rounds: u64) {
        let mut tally = Tally::of(self.what);
        for round in 0..rounds {
            let before = self.deployment.sql(self.state);
            self.round(round, &before, &mut tally);
            self.deployment.sql(self.reset);
            tally.rounds += 1;
        }
        assert!(tally.resumed > 0, "no round was killed half-way");
    }

    fn round(&self, round: u64, before: &str, tally: &mut Tally) {
        let mut copying = self.deployment.tool(&self.migrate).start();
        let mut helpers = Vec::new();
        if self.helpers > 0
            && let Some(run) = under_way(self.deployment, &mut copying, 1)
        {
            let help = ["work", "--run", &run];
            helpers.extend((0..self.helpers).map(|_| self.deployment.tool(&help).start()));
        }
        let run = under_way(self.deployment, &mut copying, self.part(round));
        if let Some(mut helper) = helpers.pop() {
            tally.kills += u64::from(helper.is_running());
            helper.kill();
        }
        let Some(run) = run else {
            copying.finish().expect(0);
            tally.ended += 1;
            return self.must_be_copied(round);
        };
        copying.kill();
        for helper in helpers {
            helper.finish();
        }
        tally.kills += 1;
        if first(self.deployment).is_null() {
            tally.ended += 1;
            return self.must_be_copied(round);
        }
        let verb = if round % 5 == 4 { "undo" } else { "resume" };
        let mut again = vec!["data", verb, "--run", &run];
        again.extend(self.again);
        // What goes on is struck too, and what goes on after it does not.
        if round.is_multiple_of(2) {
            let mut going = self.deployment.tool(&again).start();
            let further = self.rows - (self.rows - self.part(round)) / 2;
            let struck = match verb {
                "undo" => going.is_running(),
                _ => under_way(self.deployment, &mut going, further).is_some(),
            };
            if struck {
                tally.kills += 1;
                going.kill();
            } else {
                going.finish().expect(0);
            }
        }
        let over = first(self.deployment).is_null();
        if !over {
            self.deployment.run(&again).expect(0);
        }
        if verb == "undo" {
            tally.taken_back += 1;
            let after = self.deployment.sql(self.state);
            assert_eq!(before, after, "{}, round {round}", self.what);
        } else {
            tally.resumed += 1;
            self.must_be_copied(round);
        }
    }
}

/// `rust:` into an empty target: on PostgreSQL its rows are copied straight in.
fn a_killed_copy_through_the_process_loses_and_doubles_nothing(store: Store) {
    const ROWS: u64 = 20_000;
    let deployment = Deployment::v1().rows(1).on(store);
    let moment = match store {
        Store::Postgres => "timestamp",
        Store::Sqlite => "text",
    };
    deployment.sql(&format!(
        "CREATE TABLE src (id integer PRIMARY KEY, name text, config text, status text, created_at {moment});
         CREATE TABLE dst (id integer PRIMARY KEY, name text NOT NULL, config text NOT NULL, status text, retry_attempts integer,
            timeout_seconds integer, created_at {moment}, updated_at {moment});
         INSERT INTO src SELECT i, 'p ' || i, '{{\"batch_size\":' || i || '}}', 'active', '2024-01-01 00:00:00' FROM {}",
        numbers(store, ROWS)
    ));
    Killed {
        what: &format!("`rust:` into an empty target, {store:?}"),
        deployment: &deployment,
        migrate: arguments("migrate", "rust:transform_config", &["--batch-size", "100"]),
        again: &[],
        rows: ROWS,
        helpers: 0,
        copied: (
            "SELECT (SELECT count(*) FROM dst), count(*) FROM src JOIN dst ON dst.id = src.id AND dst.name = src.name \
             AND dst.config LIKE '%\"batch_size\":' || src.id || ',%'",
            "20000|20000",
        ),
        state: "SELECT count(*) FROM dst",
        reset: "DELETE FROM dst",
    }
    .rounds(kill_rounds(2));
}

/// A million rows: plain indexes are put aside, and built when the rows are there.
fn a_killed_copy_loses_no_index_that_was_put_aside(store: Store) {
    const ROWS: u64 = 1_000_000;
    let deployment = Deployment::v1().rows(1).on(store);
    let indexes = match store {
        Store::Postgres => {
            "SELECT (SELECT string_agg(indexdef, ';' ORDER BY indexname) FROM pg_indexes WHERE tablename = 'dst')"
        }
        Store::Sqlite => {
            "SELECT (SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'dst' ORDER BY name))"
        }
    };
    deployment.sql(&format!(
        "CREATE TABLE src (id integer PRIMARY KEY, n bigint);
         CREATE TABLE dst (id integer PRIMARY KEY, n bigint NOT NULL);
         CREATE INDEX by_n ON dst (n); CREATE INDEX by_both ON dst (n DESC, id); CREATE INDEX partly ON dst (n) WHERE n > 500;
         INSERT INTO src SELECT i, i * CAST(7919 AS bigint) % 1000003 FROM {}",
        numbers(store, ROWS)
    ));
    deployment.write("copy.sql", "SELECT id, n + 1 AS n FROM batch");
    let script = deployment.path("copy.sql").display().to_string();
    let all = format!(
        "{indexes}, (SELECT count(*) FROM dst), (SELECT count(*) FROM src JOIN dst ON dst.id = src.id AND dst.n = src.n + 1)"
    );
    let state = format!("{indexes}, (SELECT count(*) FROM dst)");
    let there = deployment.sql(indexes);
    let expected = format!("{}|1000000|1000000", there.trim());
    Killed {
        what: &format!("indexes put aside, 1,000,000 rows, {store:?}"),
        deployment: &deployment,
        migrate: arguments("migrate", &script, &["--skip-check", "rows"]),
        again: &[],
        rows: ROWS,
        helpers: 0,
        copied: (&all, &expected),
        state: &state,
        reset: match store {
            Store::Postgres => "TRUNCATE dst",
            Store::Sqlite => "DELETE FROM dst",
        },
    }
    .rounds(kill_rounds(4).div_ceil(4).max(2));
}

/// Rows of another database, which pass through the process into an empty target.
#[test]
fn a_killed_copy_from_another_database_loses_and_doubles_nothing() {
    const ROWS: u64 = 20_000;
    let old = Deployment::v1().rows(1).on(Store::Sqlite);
    let deployment = Deployment::v1().rows(1).on(Store::Postgres);
    old.sql(&format!(
        "CREATE TABLE src (id integer PRIMARY KEY, v text); INSERT INTO src SELECT i, 'value ' || i FROM {}",
        numbers(Store::Sqlite, ROWS)
    ));
    deployment.sql("CREATE TABLE dst (id integer PRIMARY KEY, v text NOT NULL)");
    deployment.write("copy.sql", "SELECT id, v FROM batch");
    let script = deployment.path("copy.sql").display().to_string();
    let url = format!("sqlite:{}", old.path("data/etlrs.db").display());
    Killed {
        what: "SQLite into PostgreSQL (`--source-url`)",
        deployment: &deployment,
        migrate: arguments(
            "migrate",
            &script,
            &["--source-url", &url, "--batch-size", "100"],
        ),
        again: &["--source-url", &url],
        rows: ROWS,
        helpers: 0,
        copied: (
            "SELECT count(*), count(*) FILTER (WHERE v = 'value ' || id) FROM dst",
            "20000|20000",
        ),
        state: "SELECT count(*) FROM dst",
        reset: "TRUNCATE dst",
    }
    .rounds(kill_rounds(2));
}

/// Every fiftieth row is bad; three processes work on the ranges, and two of them die.
#[test]
fn killed_workers_lose_and_double_no_row_in_quarantine() {
    const ROWS: u64 = 10_000;
    let deployment = Deployment::v1().rows(1).on(Store::Postgres);
    deployment.sql(&format!(
        "CREATE TABLE src (id integer PRIMARY KEY, v text);
         CREATE TABLE dst (id integer PRIMARY KEY, v text NOT NULL);
         INSERT INTO src SELECT i, CASE WHEN i % 50 = 0 THEN NULL ELSE 'value ' || i END FROM {}",
        numbers(Store::Postgres, ROWS)
    ));
    deployment.write("copy.sql", "SELECT id, v FROM batch");
    let script = deployment.path("copy.sql").display().to_string();
    let quarantine = ["--batch-size", "50", "--bad-rows", "quarantine 5%"];
    Killed {
        what: "bad rows in quarantine, three worker processes, PostgreSQL",
        deployment: &deployment,
        migrate: arguments("migrate", &script, &quarantine),
        again: &[],
        rows: ROWS,
        helpers: 2,
        copied: (
            "SELECT (SELECT count(*) FROM dst), (SELECT count(*) FROM src JOIN dst ON dst.id = src.id AND dst.v = src.v), \
             (SELECT count(DISTINCT key) FROM etlrs_migrate.rejects), (SELECT count(*) FROM etlrs_migrate.rejects)",
            "9800|9800|200|200",
        ),
        state: "SELECT count(*) FROM dst",
        reset: "TRUNCATE dst; TRUNCATE etlrs_migrate.rejects",
    }
    .rounds(kill_rounds(2));
}

on_both! {
    a_killed_copy_through_the_process_loses_and_doubles_nothing,
    a_killed_copy_loses_no_index_that_was_put_aside,
}
