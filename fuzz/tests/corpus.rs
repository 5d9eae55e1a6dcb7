//! The seeds, everything that ever broke a property, and some changes of both.

#![expect(clippy::unwrap_used, reason = "a test ends where it can not go on")]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use migrate_fuzz::{PROPERTIES, Property};

/// Changed inputs of each one that is there.
const CHANGES: u64 = 60;

fn inputs(name: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut all: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    all.sort();
    assert!(!all.is_empty(), "no inputs in {}", dir.display());
    all
}

/// Numbers that are the same on every machine (`splitmix64`, Steele et al. 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }
}

/// One to four bytes turned, a part taken out, doubled or brought in from another input.
fn changed(input: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        let length = chance.below(12).min(bytes.len() - at);
        match chance.below(4) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 => drop(bytes.drain(at..at + length)),
            2 => {
                let part = bytes[at..at + length].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let from = chance.below(other.len() + 1);
                let part = &other[from..other.len().min(from + 1 + chance.below(20))];
                bytes.splice(at..at, part.iter().copied());
            }
        }
    }
    bytes
}

fn hold(name: &str) {
    let property: Property = PROPERTIES.into_iter().find(|(n, _)| *n == name).unwrap().1;
    let inputs = inputs(name);
    let mut chance = Chance(7);
    for (path, input) in &inputs {
        let held = catch_unwind(|| property(input)).is_ok();
        assert!(held, "{name} does not hold for {path}");
        for _ in 0..CHANGES {
            let other = &inputs[chance.below(inputs.len())].1;
            let input = changed(input, other, &mut chance);
            let held = catch_unwind(|| property(&input)).is_ok();
            assert!(
                held,
                "{name} does not hold for a change of {path}:\n{}",
                String::from_utf8_lossy(&input)
            );
        }
    }
}

#[test]
fn plans() {
    hold("plan");
}

#[test]
fn config_edits() {
    hold("config_edit");
}

#[test]
fn sql() {
    hold("sql");
}

#[test]
fn layouts() {
    hold("layouts");
}

#[test]
fn values() {
    hold("values");
}

#[test]
fn journal_files() {
    hold("journal_file");
}

#[test]
fn journal_records() {
    hold("journal_records");
}
