//! PostgreSQL: the guide's workload, against psql and the guide's own algorithm.

use migrate_data::Verify;
use migrate_tests::postgres::TestDatabase;

use crate::guide;
use crate::ours::{Progress, engine, open, pipelines, runtime};
use crate::pairs::{Rounds, Spread, rate, row};

const SOURCE: &str = include_str!("../sql/source.postgres.sql");
const TARGET: &str = include_str!("../sql/target.postgres.sql");
const INSERT_SELECT: &str = include_str!("../sql/insert_select.postgres.sql");

/// Rows of a chunk of the hand-written sessions.
const CHUNK: u64 = 10_000;

fn source(rows: u64) -> TestDatabase<'static> {
    source_of(SOURCE, rows)
}

fn source_of(script: &str, rows: u64) -> TestDatabase<'static> {
    let test = TestDatabase::create();
    test.admin_psql(&script.replace(":rows", &rows.to_string()));
    test
}

/// Two psql sessions, each with every other chunk, a transaction a chunk.
fn two_sessions(test: &TestDatabase<'_>, rows: u64) {
    // Every eleventh key is missing: a chunk of keys is a tenth longer than its rows.
    let step = CHUNK * 11 / 10;
    let session = |odd: u64| {
        let chunks = (0..=rows * 11 / 10 / step).filter(|at| at % 2 == odd);
        chunks
            .map(|at| {
                let within = format!(
                    "FROM pipelines_old WHERE id > {} AND id <= {}",
                    at * step,
                    (at + 1) * step
                );
                INSERT_SELECT.replace("FROM pipelines_old", &within)
            })
            .collect::<String>()
    };
    std::thread::scope(|scope| {
        for odd in [0, 1] {
            scope.spawn(move || test.admin_psql(&session(odd)));
        }
    });
}

/// Into an empty table, without and with verification.
pub(crate) fn into_empty(rows: u64, rounds: u64) {
    empty_from(&source(rows), "", rows, rounds);
}

/// The same where no config is there twice: a server that remembers what came out of one gains nothing.
pub(crate) fn distinct(rows: u64, rounds: u64) {
    let script = SOURCE.replace("i % 3 ||", "i ||");
    assert_ne!(script, SOURCE, "configs differ by their database");
    empty_from(
        &source_of(&script, rows),
        ", all configs differ",
        rows,
        rounds,
    );
}

fn empty_from(test: &TestDatabase<'_>, which: &str, rows: u64, rounds: u64) {
    let runtime = runtime();
    let db = open(&runtime, &test.admin_url().parse().expect("a URL"));
    let empty = || {
        test.admin_psql(TARGET);
    };
    let copy = |verify| {
        let counts = pipelines(&runtime, engine(&db, 2, verify), rows);
        assert_eq!(counts.inserted, rows, "every row arrives");
    };
    let one = "one INSERT..SELECT in psql";
    let two = "two psql chunk sessions";
    let done = Rounds::new(rows)
        .with(one, empty, || {
            test.admin_psql(INSERT_SELECT);
        })
        .with("off", empty, || copy(Verify::Off))
        .with(two, empty, || two_sessions(test, rows))
        .with("full", empty, || copy(Verify::Full))
        .run(rounds);
    let off = format!("2 workers, verify off{which}");
    done.compare(&off, one, "off", 1.5);
    done.compare(&off, two, "off", 0.95);
    let full = format!("2 workers, verify full{which}");
    done.compare(&full, one, "full", 0.9);
    runtime.block_on(db.close());
}

/// Into a table that holds half of the rows, which are kept for the way back.
pub(crate) fn into_half(rows: u64, rounds: u64) {
    let runtime = runtime();
    let test = source(rows);
    let db = open(&runtime, &test.admin_url().parse().expect("a URL"));
    let half = || {
        test.admin_psql(TARGET);
        test.admin_psql(
            "INSERT INTO pipelines (id, name, config, status) SELECT id, name, config, 'stale' FROM pipelines_old WHERE id % 2 = 0; VACUUM ANALYZE pipelines; CHECKPOINT",
        );
    };
    let two = "two psql upsert sessions that keep nothing";
    let done = Rounds::new(rows)
        .with(two, half, || two_sessions(&test, rows))
        .with("ours", half, || {
            let counts = pipelines(&runtime, engine(&db, 2, Verify::Off), rows);
            assert!(counts.updated * 2 > rows * 9 / 10, "half is updated");
        })
        .run(rounds);
    done.compare("into a half-full target, images kept", two, "ours", 0.6);
    runtime.block_on(db.close());
}

/// Into an empty table with three secondary indexes, against one whose indexes are kept meanwhile.
pub(crate) fn with_indexes(rows: u64, rounds: u64) {
    let runtime = runtime();
    let test = source(rows);
    let db = open(&runtime, &test.admin_url().parse().expect("a URL"));
    let empty = |comment: &str| {
        test.admin_psql(&format!(
            "{TARGET}; CREATE INDEX by_name ON pipelines (name); CREATE INDEX by_time ON pipelines (created_at, name); \
             CREATE INDEX by_hash ON pipelines (md5(name || config)); {comment}"
        ));
    };
    // An index with a comment is never put aside.
    let kept = "COMMENT ON INDEX by_name IS 'kept'; COMMENT ON INDEX by_time IS 'kept'; COMMENT ON INDEX by_hash IS 'kept'";
    let copy = || {
        pipelines(&runtime, engine(&db, 2, Verify::Off), rows);
    };
    let done = Rounds::new(rows)
        .with("indexes kept", || empty(kept), copy)
        .with("built after", || empty(""), copy)
        .run(rounds);
    done.compare(
        "three secondary indexes, 2 workers",
        "indexes kept",
        "built after",
        1.0,
    );
    runtime.block_on(db.close());
}

/// Against OFFSET, an upsert a row, four tasks.
pub(crate) fn against_the_guide(rows: u64, rounds: u64) {
    let runtime = runtime();
    let test = source(rows);
    let url = test.admin_url();
    let db = open(&runtime, &url.parse().expect("a URL"));
    let empty = || {
        test.admin_psql(TARGET);
    };
    let theirs = "the guide's algorithm";
    let done = Rounds::new(rows)
        .with(theirs, empty, || runtime.block_on(guide::migrate(&url)))
        .with("ours", empty, || {
            pipelines(&runtime, engine(&db, 2, Verify::Off), rows);
        })
        .run(rounds);
    done.compare("2 workers, verify off", theirs, "ours", 6.0);
    runtime.block_on(db.close());
}

/// Whether the last rows of a large table are as fast as the first ones of a small one.
pub(crate) fn growth(rows: u64, rounds: u64) {
    let runtime = runtime();
    let test = source(rows);
    let db = open(&runtime, &test.admin_url().parse().expect("a URL"));
    let mut ratios = Vec::new();
    let mut rates = (0.0, 0.0);
    for _ in 0..rounds {
        test.admin_psql(TARGET);
        let progress = Progress::new();
        let engine = engine(&db, 2, Verify::Off).reporter(progress.clone());
        pipelines(&runtime, engine, rows);
        let seen = progress.0.lock().expect("nobody panics here");
        let speed = |from: u64, to: u64| {
            let at = |rows: u64| seen.iter().find(|(_, done)| *done >= rows).copied();
            let (Some((t0, d0)), Some((t1, d1))) = (at(from), at(to)) else {
                panic!("too few rows to tell");
            };
            rate(d1 - d0, t1 - t0)
        };
        let tenth = rows / 10;
        rates = (speed(rows / 40, tenth), speed(rows - tenth, rows));
        ratios.push(rates.1 / rates.0);
    }
    row(
        "rows/s of the last tenth / of the first (after a fortieth)",
        rows,
        &Spread::of(ratios),
        0.85,
        &format!(
            "{:.0} rows/s at the end, {:.0} at the start",
            rates.1, rates.0
        ),
    );
    runtime.block_on(db.close());
}
