//! Rows that can't be moved: they fail the copy and are named, or are kept aside, counted and
//! listed, and nothing else is lost or doubled. `ETLRS_KILL_ROUNDS` makes more rounds of killing.

use std::time::{Duration, Instant};

use migrate_tests::copies::{self, Tally, kill_rounds, numbers};
use migrate_tests::deployment::{Deployment, Store};
use serde_json::Value;

use crate::on_both;

const ROWS: u64 = 2_000;

/// What must not show anywhere but in the rejects themselves.
const SECRET: &str = "topsecret";

/// A source whose `n` is text, and a target that is strict about it. Every tenth row is there.
fn tables(store: Store, already: bool) -> Deployment {
    let deployment = Deployment::v1().rows(1).on(store);
    let series = numbers(store, ROWS);
    let strict = match store {
        Store::Postgres => "",
        Store::Sqlite => " STRICT",
    };
    deployment.sql(&format!(
        "CREATE TABLE src (id integer PRIMARY KEY, v text, n text);
         CREATE TABLE dst (id integer PRIMARY KEY, v text NOT NULL, n integer, CONSTRAINT short CHECK (length(v) < 30)){strict};
         INSERT INTO src SELECT i, 'value ' || i, i FROM {series}"
    ));
    if already {
        deployment.sql(
            "INSERT INTO dst (id, v) SELECT id, 'stale' FROM src WHERE CAST(n AS integer) % 10 = 0",
        );
    }
    let number = match store {
        Store::Postgres => "CAST(n AS integer)",
        Store::Sqlite => "n",
    };
    deployment.write(
        "copy.sql",
        &format!("SELECT CASE WHEN v LIKE 'twin%' THEN id - 1 ELSE id END AS id, v, {number} AS n FROM batch WHERE v IS NULL OR v <> 'left out'"),
    );
    deployment
}

/// What is wrong with row 777, and what the error has to say of it.
const WRONG: [(&str, [&str; 2], [&str; 2]); 5] = [
    (
        "v = NULL",
        ["column \"v\"", "not-null"],
        ["NOT NULL", "dst.v"],
    ),
    (
        "n = 'topsecret'",
        ["column n", "invalid input syntax for type integer"],
        ["TEXT", "dst.n"],
    ),
    (
        "v = 'topsecret, and longer than thirty letters'",
        ["check constraint", "\"short\""],
        ["CHECK", "short"],
    ),
    ("v = 'twin topsecret'", ["key", ""], ["key", ""]),
    (
        "v = 'left out'",
        ["gives 0 rows for it", "should give one"],
        ["gives 0 rows for it", "should give one"],
    ),
];

/// A copy that meets the bad rows itself: nobody looked for them before.
fn migrate(deployment: &Deployment, more: &[&str]) -> migrate_tests::binary::Run {
    let all = [&["--skip-check", "rows"], more].concat();
    run_with("migrate", deployment, &all)
}

fn bad_rows_are_told_before_a_copy_begins(store: Store) {
    for (at, (wrong, ..)) in WRONG.iter().enumerate() {
        let deployment = tables(store, true);
        deployment.sql(&format!("UPDATE src SET {wrong} WHERE id = 777"));
        let before = (state(&deployment), deployment.snapshot());
        let run = run_with("migrate", &deployment, &["--batch-size", "100"]);
        run.expect(1).says(&["of src", "nothing was changed"]);
        let key = if wrong.contains("twin") {
            "id=776"
        } else {
            "id=777"
        };
        run.says(&[key]);
        assert!(!run.output().contains(SECRET), "{wrong}: {run}");
        assert!(
            !run.output().contains("another process can help"),
            "{wrong}: {run}"
        );
        assert_eq!(before.0, state(&deployment), "{wrong}");
        before.1.must_equal(&deployment.snapshot(), wrong);
        // What may be kept aside is told and stops nothing.
        let aside = run_with("migrate", &deployment, &["--bad-rows", "quarantine 1"]);
        aside
            .expect(0)
            .says(&["bad_rows allows 1 to be kept aside", "1 in quarantine"]);
        assert!(!aside.output().contains(SECRET), "{wrong}, {at}: {aside}");
    }
}

fn a_missing_table_is_told_before_a_copy_begins(store: Store) {
    let deployment = tables(store, false);
    deployment.sql("DROP TABLE dst");
    let run = run_with("migrate", &deployment, &[]);
    run.expect(1)
        .says(&["there is no table dst", "tables there are"]);
    assert!(!run.output().contains("another process can help"), "{run}");
}

/// The shipped plan: its script fails on a row, which a dry run tells, and a run before it stops anything.
fn a_plan_is_refused_for_a_row_on_which_its_script_fails(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.sql(&format!(
        "UPDATE pipelines_old SET config = '{SECRET}' WHERE id IN (31, 40)"
    ));
    let before = deployment.snapshot();
    for more in [&["--dry-run"][..], &["--yes"]] {
        let all = [&["--from", "1.5.0", "--to", "2.0.0"], more].concat();
        let run = deployment.run(&all);
        run.expect(1).says(&[
            "checks failed; nothing was changed",
            "the row id=31 of pipelines_old can't be moved into pipelines",
            "the row id=40",
        ]);
        assert!(!run.output().contains(SECRET), "{run}");
    }
    before.must_equal(&deployment.snapshot(), "refused");
}

fn run_with(verb: &str, deployment: &Deployment, more: &[&str]) -> migrate_tests::binary::Run {
    let arguments = with_tables(verb, deployment, more);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    deployment.run(&arguments)
}

fn with_tables(verb: &str, deployment: &Deployment, more: &[&str]) -> Vec<String> {
    let script = deployment.path("copy.sql").display().to_string();
    let all = copies::arguments(verb, &script, more);
    all.iter().map(ToString::to_string).collect()
}

fn state(deployment: &Deployment) -> String {
    deployment.sql("SELECT count(*), sum(length(v)), sum(n) FROM dst")
}

fn rejects(deployment: &Deployment) -> Vec<Value> {
    let shown = deployment
        .run(&["data", "rejects", "--format", "json"])
        .json();
    shown.as_array().unwrap().clone()
}

fn reasons(store: Store, at: usize) -> [&'static str; 2] {
    match store {
        Store::Postgres => WRONG[at].1,
        Store::Sqlite => WRONG[at].2,
    }
}

fn one_bad_row_fails_the_copy_and_is_named_without_its_values(store: Store) {
    for already in [true, false] {
        for (at, (wrong, ..)) in WRONG.iter().enumerate() {
            let deployment = tables(store, already);
            deployment.sql(&format!("UPDATE src SET {wrong} WHERE id = 777"));
            let before = state(&deployment);
            let run = migrate(&deployment, &["--batch-size", "100"]);
            run.expect(3)
                .says(&["of src can't be moved into dst", "taken back"]);
            // Two rows that give one key: the one that came later, or the few that can't go together.
            let twin = wrong.contains("twin");
            let names = |key: &str| run.output().contains(key);
            let both = twin && (names("id=776") || names("together"));
            assert!(names("id=777") || both, "{wrong}: {run}");
            run.says(&reasons(store, at));
            assert!(!run.output().contains(SECRET), "{wrong}: {run}");
            assert_eq!(before, state(&deployment), "{wrong}");
            assert!(rejects(&deployment).is_empty());
        }
    }
}

fn one_bad_row_is_kept_aside_and_everything_else_is_moved(store: Store) {
    for already in [true, false] {
        for (at, (wrong, ..)) in WRONG.iter().enumerate() {
            let deployment = tables(store, already);
            deployment.sql(&format!("UPDATE src SET {wrong} WHERE id = 777"));
            let run = migrate(
                &deployment,
                &["--batch-size", "100", "--bad-rows", "quarantine 1"],
            );
            run.expect(0)
                .says(&["2000 rows read", "1 in quarantine", "data rejects --run"]);
            assert!(!run.output().contains(SECRET), "{wrong}: {run}");
            let found = rejects(&deployment);
            assert_eq!(found.len(), 1, "{wrong}: {found:?}");
            let reject = &found[0];
            let key = reject["key"].as_str().unwrap();
            assert!(
                key == "id=777" || wrong.contains("twin") && key == "id=776",
                "{key}"
            );
            for word in reasons(store, at) {
                let reason = reject["reason"].as_str().unwrap();
                assert!(
                    reason.contains(word) && !reason.contains(SECRET),
                    "{reason}"
                );
            }
            let row: Value = serde_json::from_str(reject["row"].as_str().unwrap()).unwrap();
            assert_eq!(format!("id={}", row["id"]), key);
            must_be_all_but_one(&deployment, wrong);
            deployment
                .run(&["data", "status"])
                .expect(0)
                .says(&["no copy is under way", "1 rows could not be moved"]);
            let verified = run_with("verify", &deployment, &[]);
            verified
                .expect(0)
                .says(&["1999 rows compared, no difference", "1 rows in quarantine"]);
            drop_them(&deployment);
        }
    }
}

fn must_be_all_but_one(deployment: &Deployment, wrong: &str) {
    let moved = deployment.sql("SELECT count(*) FROM dst WHERE v <> 'stale'");
    assert_eq!(moved.trim(), "1999", "{wrong}");
    let others = deployment.sql(
        "SELECT count(*) FROM src JOIN dst ON dst.id = src.id WHERE src.id <> 776 AND src.v = dst.v",
    );
    assert!(
        ["1998", "1999"].contains(&others.trim()),
        "{wrong}: {others}"
    );
}

/// They stay until somebody drops them, and nothing else of ours does.
fn drop_them(deployment: &Deployment) {
    let ours = |deployment: &Deployment| {
        deployment.sql(match deployment.store() {
            Store::Postgres => {
                "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
                 WHERE relnamespace = to_regnamespace('etlrs_migrate') AND relkind = 'r'"
            }
            Store::Sqlite => {
                "SELECT group_concat(name, ' ') FROM sqlite_master \
                 WHERE type = 'table' AND name LIKE '\\_etlrs%' ESCAPE '\\'"
            }
        })
    };
    assert!(
        ours(deployment).ends_with("rejects"),
        "{}",
        ours(deployment)
    );
    deployment
        .run(&["data", "rejects", "--drop", "--yes"])
        .expect(0)
        .says(&["1 rows in quarantine dropped"]);
    assert_eq!(ours(deployment), "");
    deployment
        .run(&["data", "rejects"])
        .expect(0)
        .says(&["no rows are in quarantine"]);
}

fn over_the_budget_the_copy_fails_and_is_taken_back(store: Store) {
    for (budget, rows) in [
        ("quarantine 3", 3),
        ("quarantine 0.2%", 4),
        ("quarantine 0", 0),
    ] {
        let deployment = tables(store, true);
        deployment.sql(
            "UPDATE src SET v = NULL WHERE id IN (5, 106, 507, 1008, 1009, 1010, 1511, 1912, 1913)",
        );
        let before = state(&deployment);
        let run = migrate(
            &deployment,
            &["--batch-size", "50", "--workers", "4", "--bad-rows", budget],
        );
        run.expect(3).says(&[
            "more rows can't be moved than bad_rows allows",
            &format!("which is {rows}"),
            "the last one was id=",
            "data rejects --run",
            "taken back",
        ]);
        assert_eq!(before, state(&deployment));
        let found = rejects(&deployment);
        assert_eq!(found.len(), rows, "{found:?}");
        assert!(found.iter().all(|reject| reject["taken_back"] == true));
    }
}

/// Every seventh row is bad; killed anywhere, what goes on loses and doubles nothing.
fn killed_while_it_looks_for_bad_rows(store: Store) {
    let mut tally = Tally::of(format!("bad rows in quarantine, {store:?}"));
    for round in 0..kill_rounds(4) {
        tally.rounds += 1;
        let deployment = tables(store, round % 2 == 0);
        deployment.sql("UPDATE src SET v = NULL WHERE id % 7 = 0");
        let before = state(&deployment);
        let arguments = with_tables(
            "migrate",
            &deployment,
            &["--batch-size", "200", "--bad-rows", "quarantine 50%"],
        );
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut copying = deployment.tool(&arguments).start();
        let least = 20 + round * 37 % 250;
        let mut run = None;
        let began = Instant::now();
        while run.is_none() && copying.is_running() && began.elapsed() < Duration::from_mins(1) {
            let seen = deployment
                .run(&["data", "status", "--format", "json"])
                .json();
            if seen[0]["quarantined"]
                .as_u64()
                .is_some_and(|rows| rows >= least)
            {
                run = seen[0]["run"].as_str().map(str::to_owned);
            }
        }
        copying.kill();
        let seen = deployment
            .run(&["data", "status", "--format", "json"])
            .json();
        if let (Some(run), false) = (run, seen[0].is_null()) {
            tally.kills += 1;
            if round % 4 == 3 {
                tally.taken_back += 1;
                deployment.run(&["data", "undo", "--run", &run]).expect(0);
                assert_eq!(before, state(&deployment), "round {round}");
                continue;
            }
            tally.resumed += 1;
            let done = deployment.run(&["data", "resume", "--run", &run]);
            done.expect(0);
            done.says(&["2000 rows read", "285 in quarantine"]);
        } else {
            tally.ended += 1;
        }
        let aside = rejects(&deployment);
        let mut keys: Vec<&str> = aside.iter().map(|r| r["key"].as_str().unwrap()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((keys.len(), aside.len()), (285, 285), "round {round}");
        let right = deployment
            .sql("SELECT count(*) FROM src JOIN dst ON dst.id = src.id WHERE src.v = dst.v");
        assert_eq!(right.trim(), "1715", "round {round}");
        let stale = deployment.sql("SELECT count(*) FROM dst WHERE v = 'stale' AND id % 7 <> 0");
        assert_eq!(stale.trim(), "0", "round {round}");
    }
    assert!(tally.kills > 0, "no round was killed half-way");
}

/// The step of the shipped plan, with a Rust transform and a row that is no JSON.
fn a_plan_keeps_rows_aside_and_a_rollback_brings_everything_back(store: Store) {
    for script in ["transform_pipelines.sql", "rust:transform_config"] {
        let deployment = Deployment::v1().on(store);
        let plan = allowing(script);
        deployment.write("migrations/plans/1.5.0_2.0.0.json", &plan);
        deployment.sql(&format!(
            "UPDATE pipelines_old SET config = '{SECRET}' WHERE id = 31"
        ));
        let there = |deployment: &Deployment| {
            deployment.sql("SELECT name, config, status FROM pipelines WHERE id = 31")
        };
        let stale = there(&deployment);
        let before = deployment.snapshot();
        let run = deployment.migrate();
        run.expect(0).says(&["data rejects --run"]);
        assert!(!run.output().contains(SECRET), "{run}");
        let found = rejects(&deployment);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["key"], "id=31");
        assert_eq!(there(&deployment), stale, "it is neither moved nor touched");
        deployment.rollback("reverse").expect(0);
        // What has to be mended can still be read.
        assert_eq!(rejects(&deployment)[0]["taken_back"], true);
        deployment
            .run(&["data", "rejects", "--drop", "--yes"])
            .expect(0);
        before.must_equal(&deployment.snapshot(), script);
    }
}

/// The shipped plan with `bad_rows` in its data step, and without the check that every row arrived.
fn allowing(script: &str) -> String {
    let shipped = include_str!("../../../migrations/plans/1.5.0_2.0.0.json");
    let mut plan: Value = serde_json::from_str(shipped).unwrap();
    let arrived = "every pipeline arrived";
    for step in plan["steps"].as_array_mut().unwrap() {
        if let Some(data) = step["data_migration"].as_object_mut() {
            data.insert("bad_rows".to_owned(), "quarantine 1%".into());
            data.insert("transformation_script".to_owned(), script.into());
            data.remove("reverse_script");
            step["validation"] = Value::Null;
        }
    }
    let checks = plan["validation_checks"].as_array_mut().unwrap();
    checks.retain(|check| check["name"] != arrived);
    plan.to_string()
}

#[test]
fn a_policy_that_is_none_is_refused_with_its_spelling() {
    let deployment = tables(Store::Sqlite, false);
    migrate(&deployment, &["--bad-rows", "ignore"])
        .expect(2)
        .says(&["quarantine 0.1%"]);
}

on_both! {
    bad_rows_are_told_before_a_copy_begins,
    a_missing_table_is_told_before_a_copy_begins,
    a_plan_is_refused_for_a_row_on_which_its_script_fails,
    one_bad_row_fails_the_copy_and_is_named_without_its_values,
    one_bad_row_is_kept_aside_and_everything_else_is_moved,
    over_the_budget_the_copy_fails_and_is_taken_back,
    killed_while_it_looks_for_bad_rows,
    a_plan_keeps_rows_aside_and_a_rollback_brings_everything_back,
}
