//! `soak ROUNDS [SEED] [FIRST]`: random rounds of the crash sweep, one after another, and a table.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use migrate_tests::deployment::Store;
use migrate_tests::sweep::{Case, Chance, Round, Tally, World};

fn main() -> ExitCode {
    let number = |at: usize, default: u64| {
        std::env::args()
            .nth(at)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (rounds, seed, first) = (number(1, 100), number(2, 1), number(3, 0));
    let mut cases = Case::all(Store::Sqlite);
    cases.extend(Case::all(Store::Postgres));
    let mut world = World::default();
    let mut tally = Tally::default();
    for number in first..first + rounds {
        let mut chance = Chance::of_round(seed, number);
        let case = *chance.one_of(&cases);
        let clean = world.clean(case);
        let round = Round::random(case, clean, &mut chance);
        let played = catch_unwind(AssertUnwindSafe(|| round.play(clean)));
        let played = played.unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("{round:?}\npanicked: {}", text.unwrap_or_default()))
        });
        if let Err(why) = &played {
            eprintln!("=== LOST in round {number} of seed {seed}:\n{why}\n");
        }
        tally.count(round.fault.sort(), &played);
        if (number - first + 1).is_multiple_of(100) {
            eprintln!("{tally}");
        }
    }
    println!("{tally}");
    println!("seed {seed}, rounds {first} to {}", first + rounds - 1);
    if tally.lost() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
