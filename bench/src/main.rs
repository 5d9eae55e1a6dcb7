//! Ratios of the data engine against hand-written psql and sqlite3, in interleaved pairs.
//!
//! `migrate-bench [ROWS] [ROUNDS]`; 200,000 rows and 5 rounds without arguments. Each round runs
//! the baseline and ours one after the other on the same tables; a ratio above 1 means that ours
//! is faster. Both sides write to the same throwaway server, which runs without fsync.

use std::path::Path;
use std::time::{Duration, Instant};

use migrate_data::DataMigrator;
use migrate_schema::db::{ConnectOptions, Database};
use migrate_tests::postgres::TestDatabase;

const BATCH: usize = 10_000;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| {
        arg.parse::<u64>().unwrap_or_else(|_| {
            panic!("{arg:?} is not a number; usage: migrate-bench [ROWS] [ROUNDS]")
        })
    });
    let rows = args.next().unwrap_or(200_000);
    let rounds = args.next().unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    say(&format!("{rows} rows, {rounds} rounds, batches of {BATCH}"));
    postgres(&runtime, rows, rounds);
    sqlite(&runtime, rows, rounds);
}

fn postgres(runtime: &tokio::runtime::Runtime, rows: u64, rounds: u64) {
    let test = TestDatabase::create();
    test.admin_psql(&with_rows(include_str!("../sql/source.postgres.sql"), rows));
    let url = test.admin_url().parse().expect("the harness gives a URL");
    let target = include_str!("../sql/target.postgres.sql");
    let baseline = include_str!("../sql/insert_select.postgres.sql");
    let db = runtime
        .block_on(Database::connect(&url, &ConnectOptions::default()))
        .expect("the throwaway server takes connections");
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        test.admin_psql(target);
        let theirs = time(|| {
            test.admin_psql(baseline);
        });
        test.admin_psql(target);
        let ours = time(|| migrate(runtime, &db, 2, rows));
        pairs.push((theirs, ours));
    }
    runtime.block_on(db.close());
    report(
        "PostgreSQL, 2 workers / one INSERT..SELECT in psql",
        rows,
        &pairs,
    );
}

fn sqlite(runtime: &tokio::runtime::Runtime, rows: u64, rounds: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("bench.db");
    let run = |sql: &str| sqlite3(&file, sql);
    run(&with_rows(include_str!("../sql/source.sqlite.sql"), rows));
    let target = include_str!("../sql/target.sqlite.sql");
    let baseline = include_str!("../sql/insert_select.sqlite.sql");
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        run(target);
        let theirs = time(|| run(baseline));
        run(target);
        let url = migrate_schema::db::DatabaseUrl::sqlite(&file);
        let ours = time(|| {
            let db = runtime
                .block_on(Database::connect(&url, &ConnectOptions::default()))
                .expect("the file opens");
            migrate(runtime, &db, 1, rows);
            runtime.block_on(db.close());
        });
        pairs.push((theirs, ours));
    }
    report(
        "SQLite, one writer / one INSERT..SELECT in sqlite3",
        rows,
        &pairs,
    );
}

fn migrate(runtime: &tokio::runtime::Runtime, db: &Database, workers: usize, rows: u64) {
    let migrator = DataMigrator::new(db.clone(), BATCH, workers);
    let counts = runtime
        .block_on(migrator.migrate_pipeline_data())
        .expect("the copy succeeds");
    assert_eq!(counts.inserted, rows, "every row arrives");
}

fn sqlite3(file: &Path, sql: &str) {
    let status = std::process::Command::new("sqlite3")
        .arg("-bail")
        .arg(file)
        .arg(sql)
        .status()
        .expect("sqlite3 is installed");
    assert!(status.success(), "sqlite3 failed");
}

fn with_rows(sql: &str, rows: u64) -> String {
    sql.replace(":rows", &rows.to_string())
}

fn time(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn report(what: &str, rows: u64, pairs: &[(Duration, Duration)]) {
    let mut ratios: Vec<f64> = pairs
        .iter()
        .map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = |time: Duration| rows as f64 / time.as_secs_f64();
    let (theirs, ours) = pairs[pairs.len() / 2];
    say(&format!(
        "{what}: median {median:.2}x (min {:.2}, max {:.2}); a round: {:.0} rows/s there, {:.0} here",
        ratios[0],
        ratios[ratios.len() - 1],
        rate(theirs),
        rate(ours)
    ));
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn say(line: &str) {
    println!("{line}");
}
