//! The order in which objects can be made: the same for the same catalog, near to the order of
//! sorts and names, each after what it needs. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::blocks::{self, Made};
use super::{Block, Snapshot};
use crate::catalog::{Address, Catalog, Edge};
use crate::db::Backend;

/// Sorts of objects in the order in which they are mostly needed. What has a parent stands with
/// its parent, unless it is among those that come late.
const SORTS: [&[&str]; 12] = [
    &["no schema", "schema"],
    &["extension", "server"],
    &[
        "collation",
        "type",
        "base type",
        "text search dictionary",
        "text search configuration",
    ],
    &["sequence"],
    &[
        "function",
        "procedure",
        "aggregate",
        "operator",
        "operator class",
        "cast",
    ],
    &["table", "foreign table"],
    &["view", "materialized view"],
    &["partition"],
    &["constraint"],
    &["trigger", "rule", "policy"],
    &["event trigger", "publication"],
    &["default privileges", "application_id", "user_version"],
];

/// From here on an object does not stand with its parent.
const LATE: usize = 7;

/// The sort of sequences.
const SEQUENCES: usize = 3;

/// Where a block wants to be: sort, the name that it stands with, after it, its own name.
type Place = (usize, String, bool, String);

fn sort_of(name: &str) -> Option<(usize, &str)> {
    SORTS
        .iter()
        .enumerate()
        .flat_map(|(at, sorts)| sorts.iter().map(move |sort| (at, *sort)))
        .filter(|(_, sort)| {
            name.strip_prefix(sort)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
        .max_by_key(|(_, sort)| sort.len())
}

fn place(name: &str, parent: Option<&str>) -> Place {
    let own = sort_of(name);
    let with = match (own, parent) {
        (Some((at, _)), Some(_)) if at >= LATE || at == 3 => (name, at, false),
        (_, Some(parent)) => (parent, sort_of(parent).map_or(6, |(at, _)| at), true),
        (Some((at, _)), None) => (name, at, false),
        (None, None) => (name, 6, true),
    };
    let (stands_with, at, after) = with;
    let sort = sort_of(stands_with).map_or("", |(_, sort)| sort);
    let bare = stands_with[sort.len()..].trim_start().to_owned();
    (at, bare, after, name.to_owned())
}

/// What is granted on an identity column's sequence comes after the table that makes it.
fn place_of(made: &Made<'_>) -> Place {
    let found = place(made.name, made.parent);
    if found.0 == SEQUENCES && made.is_made_elsewhere() {
        (LATE, found.1, found.2, found.3)
    } else {
        found
    }
}

/// Each block after those that it needs.
pub(super) fn ordered(catalog: &Catalog, edges: &[Edge]) -> Snapshot {
    let made = blocks::of(catalog.pieces(), Backend::Postgres);
    let needs = needs(&made.blocks, edges);
    Snapshot {
        backend: Backend::Postgres,
        blocks: sorted(&made.blocks, &needs),
        left_out: made.left_out,
    }
}

/// What a block needs, and whether only its defaults and checks do.
#[derive(Debug, Clone, Default)]
struct Needs {
    hard: BTreeSet<usize>,
    soft: BTreeSet<usize>,
}

fn needs(blocks: &[Made<'_>], edges: &[Edge]) -> Vec<Needs> {
    let at: HashMap<Address, usize> = blocks
        .iter()
        .enumerate()
        .flat_map(|(number, made)| made.addresses.iter().map(move |address| (*address, number)))
        .collect();
    let by_name: BTreeMap<&str, usize> = blocks
        .iter()
        .enumerate()
        .map(|(number, made)| (made.name, number))
        .collect();
    let stands: HashMap<Address, Address> = edges
        .iter()
        .filter(|edge| edge.stands_for)
        .map(|edge| (edge.from, edge.to))
        .collect();
    let find = |mut address: Address| {
        // An array of a table's rows stands for the row type, which stands for the table.
        for _ in 0..4 {
            if let Some(found) = at.get(&address) {
                return Some(*found);
            }
            address = *stands.get(&address)?;
        }
        None
    };
    let mut needs = vec![Needs::default(); blocks.len()];
    for edge in edges.iter().filter(|edge| !edge.stands_for) {
        let (Some(from), Some(to)) = (find(edge.from), find(edge.to)) else {
            continue;
        };
        if from == to {
            continue;
        }
        if edge.soft {
            needs[from].soft.insert(to);
        } else {
            needs[from].hard.insert(to);
        }
    }
    for (number, made) in blocks.iter().enumerate() {
        // A sequence belongs to its table and is made before it.
        let own = sort_of(made.name).is_some_and(|(at, _)| at == 3);
        if let Some(parent) = made
            .parent
            .filter(|_| !own)
            .and_then(|name| by_name.get(name))
        {
            needs[number].hard.insert(*parent);
        }
    }
    needs
}

fn sorted(blocks: &[Made<'_>], needs: &[Needs]) -> Vec<Block> {
    let mut waiting: BTreeSet<(Place, usize)> = blocks
        .iter()
        .enumerate()
        .map(|(number, made)| (place_of(made), number))
        .collect();
    let mut done: BTreeSet<usize> = BTreeSet::new();
    let mut bare: BTreeSet<usize> = BTreeSet::new();
    let mut out = Vec::with_capacity(blocks.len());
    while !waiting.is_empty() {
        let met = |set: &BTreeSet<usize>| set.iter().all(|one| done.contains(one));
        // What comes late waits for all others, also for those in a circle.
        let early = waiting.iter().any(|((sort, ..), _)| *sort < LATE);
        let open = || {
            waiting
                .iter()
                .filter(|((sort, ..), _)| !early || *sort < LATE)
        };
        let next = open()
            .find(|(_, one)| met(&needs[*one].hard) && met(&needs[*one].soft))
            .or_else(|| open().find(|(_, one)| met(&needs[*one].hard)))
            // A circle that defaults are no part of; the server's message will name it.
            .or_else(|| open().next())
            .cloned();
        let Some(next) = next else { break };
        waiting.remove(&next);
        let (_, number) = next;
        if met(&needs[number].soft) {
            out.push(blocks[number].whole());
        } else {
            out.push(blocks[number].bare());
            bare.insert(number);
        }
        done.insert(number);
        let late: Vec<usize> = bare
            .iter()
            .copied()
            .filter(|one| needs[*one].soft.iter().all(|need| done.contains(need)))
            .collect();
        for one in late {
            bare.remove(&one);
            out.push(blocks[one].later());
        }
    }
    out
}
