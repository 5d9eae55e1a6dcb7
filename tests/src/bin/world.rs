//! `world ROUNDS [SEED] [FIRST]`: others at work in the middle of runs, and a table.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use migrate_tests::deployment::Store;
use migrate_tests::others::{Ended, Round};
use migrate_tests::sweep::{Case, Chance, World};

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
    let mut ended: BTreeMap<Ended, u32> = BTreeMap::new();
    let mut lost = 0_u32;
    for number in first..first + rounds {
        let mut chance = Chance::of_round(seed, number);
        let case = *chance.one_of(&cases);
        let round = Round::random(case, world.clean(case), &mut chance);
        let played = catch_unwind(AssertUnwindSafe(|| round.play()));
        match played.unwrap_or_else(|_| Err(format!("{round:?} panicked"))) {
            Ok(end) => *ended.entry(end).or_default() += 1,
            Err(why) => {
                lost += 1;
                eprintln!("=== LOST in round {number} of seed {seed}:\n{why}\n");
            }
        }
    }
    println!("seed {seed}, rounds {first} to {}", first + rounds - 1);
    for (end, count) in &ended {
        println!("{end:?} {count}");
    }
    println!("lost {lost}");
    if lost == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
