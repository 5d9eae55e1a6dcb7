//! Ways between versions: the shortest chain of plans that may be taken.

mod absent;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::version::Version;
use crate::version_pattern::VersionPattern;

pub use absent::{Barred, NoPath};

/// A plan that leads from a version, or a range of them, to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanEdge {
    /// Where it starts.
    pub from: VersionPattern,
    /// Where it ends.
    pub to: Version,
    /// The plan's name, for people and to load it.
    pub name: String,
    /// Why it may not be taken any more, if it was withdrawn.
    pub withdrawn: Option<String>,
    /// Whether no way may pass over `to`.
    pub mandatory_stop: bool,
}

impl PlanEdge {
    /// Whether it leads on from `version`. A range that holds its own target leads upwards only.
    pub fn starts_at(&self, version: &Version) -> bool {
        let onwards = !self.from.covers(&self.to) || version < &self.to;
        self.from.covers(version) && version != &self.to && onwards
    }
}

/// One plan of a chain, from the very version at which the chain takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The version that the deployment is at then.
    pub from: Version,
    /// The plan.
    pub edge: PlanEdge,
}

/// The plans that exist, as a graph of versions.
///
/// A withdrawn plan is never taken. A version that a plan in force calls a mandatory stop is
/// never passed over on the way up: a plan from below it to above it is not taken.
#[derive(Debug, Clone, Default)]
pub struct VersionGraph {
    edges: Vec<PlanEdge>,
    stops: BTreeSet<Version>,
}

impl VersionGraph {
    /// A graph of these plans.
    pub fn new(edges: impl IntoIterator<Item = PlanEdge>) -> Self {
        let mut edges: Vec<_> = edges.into_iter().collect();
        edges.sort();
        let stops = edges
            .iter()
            .filter(|edge| edge.mandatory_stop && edge.withdrawn.is_none())
            .map(|edge| edge.to.clone())
            .collect();
        Self { edges, stops }
    }

    /// All plans, sorted.
    pub fn edges(&self) -> &[PlanEdge] {
        &self.edges
    }

    /// The versions that no way may pass over.
    pub fn stops(&self) -> &BTreeSet<Version> {
        &self.stops
    }

    /// The plan of that name's versions, in force or not: a run that took it goes on with it.
    pub fn edge(&self, from: &Version, to: &Version) -> Option<&PlanEdge> {
        let fits = |edge: &&PlanEdge| &edge.to == to && edge.starts_at(from);
        self.edges.iter().find(fits)
    }

    /// The plans that may be taken from a version, exact ones before ranges.
    pub fn leaving(&self, version: &Version) -> Vec<&PlanEdge> {
        let fits = |edge: &&PlanEdge| edge.starts_at(version) && self.bar(version, edge).is_none();
        self.edges.iter().filter(fits).collect()
    }

    /// The versions that chains lead to from `version`, without it.
    pub fn reachable(&self, version: &Version) -> BTreeSet<Version> {
        let came_by = self.search(version, |from, edge| self.bar(from, edge).is_none());
        came_by.into_keys().cloned().collect()
    }

    /// The chain with the fewest plans (breadth-first search; among equals the one whose
    /// versions sort first, so that the answer never depends on the order of files).
    ///
    /// # Errors
    /// What exists, what is nearest, and what bars the way that there would be.
    pub fn path(&self, from: &Version, to: &Version) -> Result<Vec<Hop>, Box<NoPath>> {
        let came_by = self.search(from, |at, edge| self.bar(at, edge).is_none());
        walk_back(&came_by, from, to).ok_or_else(|| Box::new(self.no_path(from, to)))
    }

    /// Why the plan may not be taken from a version that it starts at.
    fn bar(&self, from: &Version, edge: &PlanEdge) -> Option<Barred> {
        if let Some(reason) = &edge.withdrawn {
            return Some(Barred::Withdrawn(edge.clone(), reason.clone()));
        }
        let over = |stop: &&Version| from < *stop && *stop < &edge.to;
        let stop = self.stops.iter().find(over)?;
        Some(Barred::PassesOver(edge.clone(), stop.clone()))
    }

    /// By which plan each version is reached first, with the version before it.
    fn search<'a>(
        &'a self,
        from: &'a Version,
        may: impl Fn(&Version, &PlanEdge) -> bool,
    ) -> BTreeMap<&'a Version, (&'a Version, &'a PlanEdge)> {
        let mut came_by = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for edge in &self.edges {
                let new = &edge.to != from && !came_by.contains_key(&edge.to);
                if new && edge.starts_at(at) && may(at, edge) {
                    came_by.insert(&edge.to, (at, edge));
                    queue.push_back(&edge.to);
                }
            }
        }
        came_by
    }

    fn no_path(&self, from: &Version, to: &Version) -> NoPath {
        let any = self.search(from, |_, _| true);
        let bars = walk_back(&any, from, to).into_iter().flatten();
        NoPath {
            from: from.clone(),
            to: to.clone(),
            existing: self.edges.clone(),
            reachable: self.reachable(from),
            barred: bars
                .filter_map(|hop| self.bar(&hop.from, &hop.edge))
                .collect(),
            nearest: self.nearest(from, to),
        }
    }

    /// The pair of versions between which there is a way and that is nearest to the wish.
    fn nearest(&self, from: &Version, to: &Version) -> Option<(Version, Version)> {
        let starts = self.edges.iter().map(|edge| edge.from.lowest());
        let mut starts: BTreeSet<Version> = starts.collect();
        starts.insert(from.clone());
        let pairs = starts.into_iter().flat_map(|start| {
            let ends = self.reachable(&start).into_iter();
            ends.map(move |end| (start.clone(), end))
        });
        pairs.min_by_key(|(start, end)| absent::distance(start, from) + absent::distance(end, to))
    }
}

fn walk_back(
    came_by: &BTreeMap<&Version, (&Version, &PlanEdge)>,
    from: &Version,
    to: &Version,
) -> Option<Vec<Hop>> {
    let mut chain = Vec::new();
    let mut at = to;
    while at != from {
        let (before, edge) = came_by.get(at)?;
        chain.push(Hop {
            from: (*before).clone(),
            edge: (*edge).clone(),
        });
        at = before;
    }
    chain.reverse();
    Some(chain)
}
