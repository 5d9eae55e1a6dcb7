//! Others at work in the middle of runs, seeded and bounded. `scripts/world.sh ROUNDS` plays any number.

use std::collections::BTreeMap;

use migrate_tests::deployment::Store;
use migrate_tests::others::{Ended, Round};
use migrate_tests::sweep::{Case, Chance, World};

/// So many rounds a database.
const ROUNDS: u64 = 30;

/// Another seed gives other rounds; a failure names its round.
const SEED: u64 = 20_261_130;

fn play(store: Store) {
    let mut world = World::default();
    let mut ended: BTreeMap<Ended, u32> = BTreeMap::new();
    let mut lost = Vec::new();
    for number in 0..ROUNDS {
        let mut chance = Chance::of_round(SEED, number);
        let case = *chance.one_of(&Case::all(store));
        let round = Round::random(case, world.clean(case), &mut chance);
        match round.play() {
            Ok(end) => *ended.entry(end).or_default() += 1,
            Err(why) => lost.push(format!("round {number}: {why}")),
        }
    }
    assert!(lost.is_empty(), "{ended:?}\n{}", lost.join("\n\n"));
    assert!(ended.len() > 1, "every round ended the same way: {ended:?}");
}

#[test]
fn what_others_commit_meanwhile_is_there_or_named_on_sqlite() {
    play(Store::Sqlite);
}

#[test]
fn what_others_commit_meanwhile_is_there_or_named_on_postgres() {
    play(Store::Postgres);
}
