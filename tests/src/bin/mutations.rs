//! `mutations [ROWS]`: one row of so many is changed, dropped, doubled or swapped after a copy, on
//! both databases, and `data verify` has to find and name it. Prints a table.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::process::ExitCode;
use std::time::Instant;

use migrate_tests::copies::{arguments, numbers};
use migrate_tests::deployment::{Deployment, Store};

/// What is done to the target, how it is mended, and what has to be said of it; `{N}` is a row
/// in the middle, `{M}` the one after it, `{X}` one beyond all.
const MUTATIONS: [(&str, &str, &str, &str); 6] = [
    (
        "a value changed by one letter's case",
        "UPDATE dst SET v = lower(v) WHERE id = {N}",
        "UPDATE dst SET v = upper(v) WHERE id = {N}",
        "id={N} of dst is different",
    ),
    (
        "a value made NULL",
        "UPDATE dst SET n = NULL WHERE id = {N}",
        "UPDATE dst SET n = id WHERE id = {N}",
        "id={N} of dst is different",
    ),
    (
        "a row dropped",
        "DELETE FROM dst WHERE id = {N}",
        "INSERT INTO dst VALUES ({N}, 'VALUE {N}', {N})",
        "id={N} of dst is missing",
    ),
    (
        "a row doubled under another key",
        "INSERT INTO dst SELECT {X}, v, n FROM dst WHERE id = {N}",
        "DELETE FROM dst WHERE id = {X}",
        "id={X} of dst is extra",
    ),
    (
        "the values of two rows swapped",
        "UPDATE dst SET v = CASE id WHEN {N} THEN 'VALUE {M}' ELSE 'VALUE {N}' END WHERE id IN ({N}, {M})",
        "UPDATE dst SET v = 'VALUE ' || id WHERE id IN ({N}, {M})",
        "id={N} of dst is different",
    ),
    (
        "a row moved to another key",
        "UPDATE dst SET id = {X} WHERE id = {N}",
        "UPDATE dst SET id = {N} WHERE id = {X}",
        "id={N} of dst is missing",
    ),
];

fn main() -> ExitCode {
    let rows = std::env::args().nth(1);
    let rows: u64 = rows.map_or(1_000_000, |text| text.parse().expect("a number of rows"));
    println!("| one of {rows} rows | database | found and named | seconds |");
    println!("|---|---|---|---|");
    let mut missed = 0;
    for store in [Store::Postgres, Store::Sqlite] {
        missed += on(store, rows);
    }
    if missed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{missed} were not found");
    ExitCode::FAILURE
}

/// How many mutations were not found, or something was found where nothing is wrong.
fn on(store: Store, rows: u64) -> u32 {
    let deployment = copied(store, rows);
    let name = match store {
        Store::Postgres => "PostgreSQL",
        Store::Sqlite => "SQLite",
    };
    let mut missed = row("nothing", name, &deployment, None);
    for (what, mutation, mend, said) in MUTATIONS {
        let filled = |text: &str| {
            text.replace("{N}", &(rows / 2 + 1).to_string())
                .replace("{M}", &(rows / 2 + 2).to_string())
                .replace("{X}", &(rows * 2).to_string())
        };
        deployment.sql(&filled(mutation));
        missed += row(what, name, &deployment, Some(&filled(said)));
        deployment.sql(&filled(mend));
    }
    missed + row("nothing, all mended", name, &deployment, None)
}

/// A finished copy.
fn copied(store: Store, rows: u64) -> Deployment {
    let deployment = Deployment::v1().rows(1).on(store);
    let series = numbers(store, rows);
    deployment.sql(&format!(
        "CREATE TABLE src (id integer PRIMARY KEY, v text);
         CREATE TABLE dst (id integer PRIMARY KEY, v text, n integer);
         INSERT INTO src SELECT i, 'value ' || i FROM {series}"
    ));
    deployment.write("copy.sql", "SELECT id, upper(v) AS v, id AS n FROM batch");
    verb("migrate", &deployment).expect(0);
    deployment
}

fn verb(verb: &str, deployment: &Deployment) -> migrate_tests::binary::Run {
    let script = deployment.path("copy.sql").display().to_string();
    deployment.run(&arguments(verb, &script, &[]))
}

fn row(what: &str, name: &str, deployment: &Deployment, said: Option<&str>) -> u32 {
    let began = Instant::now();
    let run = verb("verify", deployment);
    let took = began.elapsed().as_secs_f64();
    let found = match said {
        None => run.code() == Some(0),
        Some(said) => run.code() == Some(8) && run.output().contains(said),
    };
    let told = match (found, said) {
        (true, Some(said)) => said,
        (true, None) => "no difference",
        (false, _) => "NO",
    };
    println!("| {what} | {name} | {told} | {took:.1} |");
    u32::from(!found)
}
