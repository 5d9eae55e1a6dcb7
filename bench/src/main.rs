//! The data engine against hand-written psql and sqlite3, the guide's algorithm and pgloader, in
//! interleaved rounds on the same tables; the schema engine against sqlx-cli, dbmate and the
//! databases' own command lines (tools found in PATH; a missing one is named).
//!
//! `migrate-bench [CASE] [ROWS] [ROUNDS]`; without a case, all of them. A ratio above 1 means that
//! ours is faster. Both sides of a pair write to the same throwaway server, which runs without
//! fsync and with 64 MB of shared buffers.

mod guide;
mod locks;
mod ours;
mod pairs;
mod postgres;
mod schema;
mod sqlite;
mod through;
mod tools;

use pairs::{say, table_head};

/// Rows and rounds of a case, where the command line does not say.
struct Case {
    name: &'static str,
    rows: u64,
    rounds: u64,
    run: fn(u64, u64),
}

const CASES: &[Case] = &[
    Case {
        name: "postgres",
        rows: 1_000_000,
        rounds: 3,
        run: postgres::into_empty,
    },
    Case {
        name: "distinct",
        rows: 1_000_000,
        rounds: 3,
        run: postgres::distinct,
    },
    Case {
        name: "half",
        rows: 1_000_000,
        rounds: 3,
        run: postgres::into_half,
    },
    Case {
        name: "guide",
        rows: 200_000,
        rounds: 3,
        run: postgres::against_the_guide,
    },
    Case {
        name: "indexes",
        rows: 1_000_000,
        rounds: 3,
        run: postgres::with_indexes,
    },
    Case {
        name: "growth",
        rows: 4_000_000,
        rounds: 1,
        run: postgres::growth,
    },
    Case {
        name: "sqlite",
        rows: 1_000_000,
        rounds: 3,
        run: sqlite::into_empty,
    },
    Case {
        name: "rust",
        rows: 1_000_000,
        rounds: 3,
        run: through::rust,
    },
    Case {
        name: "elsewhere",
        rows: 200_000,
        rounds: 3,
        run: through::elsewhere,
    },
    Case {
        name: "servers",
        rows: 200_000,
        rounds: 5,
        run: through::servers,
    },
    Case {
        name: "memory",
        rows: 4_000_000,
        rounds: 1,
        run: through::memory,
    },
    Case {
        name: "schema-sqlite",
        rows: 1_000,
        rounds: 5,
        run: schema::sqlite,
    },
    Case {
        name: "schema-postgres",
        rows: 1_000,
        rounds: 5,
        run: schema::postgres,
    },
    Case {
        name: "schema-linear",
        rows: 10_000,
        rounds: 3,
        run: schema::linear,
    },
    Case {
        name: "lint",
        rows: 1_000,
        rounds: 5,
        run: schema::lint,
    },
    // Rows stand for the seconds that the table is held.
    Case {
        name: "locks",
        rows: 10,
        rounds: 1,
        run: locks::head_to_head,
    },
];

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let [child, url, script] = &given[..]
        && child == "child"
    {
        return through::child(url, script);
    }
    let mut args = given.into_iter().peekable();
    let chosen = args
        .next_if(|arg| arg.parse::<u64>().is_err())
        .unwrap_or_else(|| "all".to_owned());
    let number = |arg: String| {
        arg.parse::<u64>().unwrap_or_else(|_| {
            panic!("{arg:?} is not a number; usage: migrate-bench [CASE] [ROWS] [ROUNDS]")
        })
    };
    let rows = args.next().map(number);
    let rounds = args.next().map(number);
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| chosen == "all" || chosen == case.name)
        .collect();
    if cases.is_empty() {
        let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        say(&format!(
            "no case {chosen}; cases: all, {}",
            names.join(", ")
        ));
        std::process::exit(2);
    }
    table_head();
    for case in cases {
        (case.run)(rows.unwrap_or(case.rows), rounds.unwrap_or(case.rounds));
    }
}
