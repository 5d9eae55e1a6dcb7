//! The bounded, seeded part of the crash sweep. `scripts/soak.sh ROUNDS` plays any number.

use migrate_tests::binary;
use migrate_tests::deployment::Store;
use migrate_tests::sweep::fault::can_mount;
use migrate_tests::sweep::place::Place;
use migrate_tests::sweep::world::{Clean, Plan};
use migrate_tests::sweep::{Ask, Case, Chance, End, Fault, Round, Tally, World};

/// So many random rounds a database, beside those that are always played.
const RANDOM: u64 = 10;

/// Another seed gives other rounds; a failure names its round.
const SEED: u64 = 20_260_101;

/// Places of the clean run that are struck in every sweep: each sort of place, first passing.
fn first_of_each_name(places: &[Place]) -> Vec<Place> {
    places
        .iter()
        .filter(|place| place.nth == 1)
        .cloned()
        .collect()
}

fn play(round: &Round, clean: &Clean, tally: &mut Tally, lost: &mut Vec<String>) {
    let played = round.play(clean);
    if let Err(why) = &played {
        lost.push(why.clone());
    }
    tally.count(round.fault.sort(), &played);
}

fn sweep(store: Store) {
    let mut world = World::default();
    let mut tally = Tally::default();
    let mut lost = Vec::new();
    let shipped = |ask| Case {
        plan: Plan::Shipped,
        store,
        ask,
    };
    for ask in [Ask::Migrate, Ask::Restore] {
        let clean = world.clean(shipped(ask));
        for (index, place) in first_of_each_name(&clean.places).into_iter().enumerate() {
            let action = ["kill", "fail"][index % 2];
            let round = Round {
                case: shipped(ask),
                fault: Fault::At(place, action),
                later: Vec::new(),
            };
            play(&round, clean, &mut tally, &mut lost);
        }
    }
    for number in 0..RANDOM {
        let mut chance = Chance::of_round(SEED, number);
        let case = *chance.one_of(&Case::all(store));
        let clean = world.clean(case);
        let round = Round::random(case, clean, &mut chance);
        play(&round, clean, &mut tally, &mut lost);
    }
    each_sort_once(&mut world, store, &mut tally, &mut lost);
    again_and_again(&mut world, store, &mut tally, &mut lost);
    assert!(lost.is_empty(), "{tally}\n{}", lost.join("\n\n"));
}

/// Every sort of strike in the middle of a request, whatever the random rounds are.
fn each_sort_once(world: &mut World, store: Store, tally: &mut Tally, lost: &mut Vec<String>) {
    let case = Case {
        plan: Plan::Shipped,
        store,
        ask: Ask::Migrate,
    };
    let clean = world.clean(case);
    let (half, some) = (clean.took / 2, clean.took / 3);
    let middle_of = |name: &str| {
        let all: Vec<_> = clean
            .places
            .iter()
            .filter(|place| place.name == name)
            .collect();
        all[all.len() / 2].clone()
    };
    let mut faults = vec![
        Fault::At(middle_of("journal.append.before"), "rofs+"),
        Fault::At(middle_of("journal.append.after"), "enospc+"),
        Fault::At(middle_of("file.write"), "enospc"),
        Fault::At(middle_of("backup.copied"), "enospc"),
        Fault::At(middle_of("marks.commit"), "kill"),
        Fault::At(middle_of("marks.committed"), "fail"),
        Fault::KillAfter(half),
        Fault::Signal("INT", half),
        Fault::SignalTwice("TERM", some),
    ];
    if can_mount() {
        faults.extend([Fault::BackupDiskFull, Fault::JournalDiskFull(40)]);
    }
    if store == Store::Postgres {
        faults.extend([
            Fault::SessionsEnd(half),
            Fault::LockSessionEnds(some),
            Fault::ServerCrash(half),
        ]);
    }
    for fault in faults {
        let round = Round {
            case,
            fault,
            later: Vec::new(),
        };
        play(&round, clean, tally, lost);
    }
}

/// So often a recovery is killed again, a step further each time.
const AGAIN: u32 = 5;

/// Killed in the middle, and then every recovery from it too: of a plan with every kind twice
/// that goes forward, of one that takes itself back, of a chain that hangs, and of a restore.
fn again_and_again(world: &mut World, store: Store, tally: &mut Tally, lost: &mut Vec<String>) {
    for (plan, ask) in [
        (Plan::Twice, Ask::Migrate),
        (Plan::Twice, Ask::MigrateHanging),
        (Plan::ThreeHops, Ask::MigrateHanging),
        (Plan::ThreeHops, Ask::MigrateInVain),
        (Plan::Shipped, Ask::Restore),
    ] {
        let case = Case { plan, store, ask };
        let clean = world.clean(case);
        let appends: Vec<&Place> = clean
            .places
            .iter()
            .filter(|place| place.name == "journal.append.before")
            .collect();
        let later = (1..=AGAIN).map(|nth| {
            let name = appends[0].name.clone();
            Fault::At(Place { name, nth }, "kill")
        });
        let round = Round {
            case,
            fault: Fault::At(appends[appends.len() * 2 / 3].clone(), "kill"),
            later: later.collect(),
        };
        play(&round, clean, tally, lost);
    }
}

#[test]
fn nothing_is_lost_on_sqlite() {
    sweep(Store::Sqlite);
}

#[test]
fn nothing_is_lost_on_postgres() {
    sweep(Store::Postgres);
}

/// An undo that fails leaves it stuck; the command that is printed brings everything back.
#[test]
fn an_undo_that_fails_has_a_way_out() {
    let mut world = World::default();
    let places = ["schema.undo", "data.undo", "file.rename"];
    let stores = [Store::Sqlite, Store::Postgres];
    let all = stores
        .into_iter()
        .flat_map(|store| places.map(|name| (name, store)));
    for (name, store) in all {
        let case = Case {
            plan: Plan::Shipped,
            store,
            ask: Ask::MigrateInVain,
        };
        let clean = world.clean(case);
        // The schema is taken back last: what was passed just before it belongs to other undos.
        let schema = clean.places.iter().rposition(|at| at.name == "schema.undo");
        let undos = &clean.places[..=schema.unwrap()];
        let last = undos.iter().rfind(|place| place.name == name).unwrap();
        let round = Round {
            case,
            fault: Fault::At(last.clone(), "fail+"),
            later: Vec::new(),
        };
        let outcome = round.play(clean).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(outcome.end, End::RolledBack, "{name} on {store:?}");
        assert!(
            outcome.commands > 0,
            "{name} on {store:?} needed no command"
        );
    }
}

/// The journal fails when its head of the last hop's run is durable: that run is open, and said so.
#[test]
fn a_run_of_a_chain_that_is_open_only_on_disk_is_told() {
    let mut world = World::default();
    let case = Case {
        plan: Plan::ThreeHops,
        store: Store::Sqlite,
        ask: Ask::Migrate,
    };
    let clean = world.clean(case);
    let name = "journal.open.after";
    let last = clean.places.iter().rfind(|place| place.name == name);
    let round = Round {
        case,
        fault: Fault::At(last.unwrap().clone(), "fail"),
        later: Vec::new(),
    };
    let outcome = round.play(clean).unwrap_or_else(|why| panic!("{why}"));
    assert!(outcome.commands > 0, "nothing was left to do");
}

/// The binary that people get holds neither a place to die at nor the way to order it.
#[test]
fn the_shipped_binary_has_no_place_to_die_at() {
    let bytes = std::fs::read(binary::path()).unwrap();
    let holds = |bytes: &[u8], text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    let armed = std::fs::read(binary::failpoints()).unwrap();
    for text in [
        "ETLRS_FAILPOINT",
        "journal.append.before",
        "schema.committed",
    ] {
        assert!(
            holds(&armed, text),
            "the test build has no {text}: this test proves nothing"
        );
        assert!(!holds(&bytes, text), "the shipped binary holds {text}");
    }
}
