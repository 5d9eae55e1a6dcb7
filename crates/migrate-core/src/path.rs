//! Ways between versions: the shortest chain of plans.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::version::Version;

/// A plan that leads from a version to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanEdge {
    /// Where it starts.
    pub from: Version,
    /// Where it ends.
    pub to: Version,
    /// The plan's name, for people and to load it.
    pub name: String,
}

/// The plans that exist, as a graph of versions.
#[derive(Debug, Clone, Default)]
pub struct VersionGraph {
    edges: Vec<PlanEdge>,
}

/// No chain of plans leads there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPath {
    /// Where from.
    pub from: Version,
    /// Where to.
    pub to: Version,
    /// The plans that exist, sorted.
    pub existing: Vec<PlanEdge>,
    /// The plan nearest to the wish.
    pub nearest: Option<PlanEdge>,
}

impl fmt::Display for NoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no plan leads from {} to {}", self.from, self.to)?;
        if self.existing.is_empty() {
            return f.write_str("; there are no plans at all");
        }
        f.write_str("; plans that exist:")?;
        for (index, edge) in self.existing.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma} {} -> {}", edge.from, edge.to)?;
        }
        if let Some(edge) = &self.nearest {
            write!(f, "; nearest: --from {} --to {}", edge.from, edge.to)?;
        }
        Ok(())
    }
}

impl std::error::Error for NoPath {}

impl VersionGraph {
    /// A graph of these plans.
    pub fn new(edges: impl IntoIterator<Item = PlanEdge>) -> Self {
        let mut edges: Vec<_> = edges.into_iter().collect();
        edges.sort();
        Self { edges }
    }

    /// All plans, sorted.
    pub fn edges(&self) -> &[PlanEdge] {
        &self.edges
    }

    /// The chain with the fewest plans (breadth-first search; among equals the one whose
    /// versions sort first, so that the answer never depends on the order of files).
    ///
    /// # Errors
    /// What exists, and the nearest.
    pub fn path(&self, from: &Version, to: &Version) -> Result<Vec<PlanEdge>, NoPath> {
        let mut came_by: BTreeMap<&Version, &PlanEdge> = BTreeMap::new();
        let mut seen = BTreeSet::from([from]);
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at == to {
                return Ok(walk_back(&came_by, from, to));
            }
            for edge in self.edges.iter().filter(|edge| &edge.from == at) {
                if seen.insert(&edge.to) {
                    came_by.insert(&edge.to, edge);
                    queue.push_back(&edge.to);
                }
            }
        }
        Err(NoPath {
            from: from.clone(),
            to: to.clone(),
            existing: self.edges.clone(),
            nearest: self
                .edges
                .iter()
                .min_by_key(|edge| distance(&edge.from, from) + distance(&edge.to, to))
                .cloned(),
        })
    }
}

fn walk_back(
    came_by: &BTreeMap<&Version, &PlanEdge>,
    from: &Version,
    to: &Version,
) -> Vec<PlanEdge> {
    let mut chain = Vec::new();
    let mut at = to;
    while at != from {
        let edge = came_by[at];
        chain.push(edge.clone());
        at = &edge.from;
    }
    chain.reverse();
    chain
}

fn distance(a: &Version, b: &Version) -> u64 {
    let major = a.major().abs_diff(b.major());
    let minor = a.minor().abs_diff(b.minor());
    let rest = u64::from(a != b);
    major
        .saturating_mul(1_000_000)
        .saturating_add(minor.saturating_mul(1_000))
        .saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn graph(edges: &[(&str, &str)]) -> VersionGraph {
        VersionGraph::new(edges.iter().map(|(from, to)| PlanEdge {
            from: version(from),
            to: version(to),
            name: format!("{from}_{to}"),
        }))
    }

    fn names(path: &[PlanEdge]) -> Vec<&str> {
        path.iter().map(|edge| edge.name.as_str()).collect()
    }

    #[test]
    fn prefers_one_plan_over_a_chain() {
        let graph = graph(&[
            ("1.0.0", "1.5.0"),
            ("1.5.0", "2.0.0"),
            ("1.0.0", "2.0.0"),
            ("2.0.0", "2.1.0"),
        ]);
        let direct = graph.path(&version("1.0.0"), &version("2.0.0")).unwrap();
        assert_eq!(names(&direct), ["1.0.0_2.0.0"]);
        let chain = graph.path(&version("1.5.0"), &version("2.1.0")).unwrap();
        assert_eq!(names(&chain), ["1.5.0_2.0.0", "2.0.0_2.1.0"]);
    }

    #[test]
    fn says_what_exists_and_what_is_nearest() {
        let graph = graph(&[("1.1.0", "1.2.0"), ("1.5.0", "2.0.0")]);
        let error = graph
            .path(&version("1.4.0"), &version("2.0.0"))
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("1.1.0 -> 1.2.0, 1.5.0 -> 2.0.0"), "{text}");
        assert!(text.contains("nearest: --from 1.5.0 --to 2.0.0"), "{text}");
    }

    #[test]
    fn circles_end() {
        let graph = graph(&[("1.0.0", "2.0.0"), ("2.0.0", "1.0.0")]);
        assert!(graph.path(&version("1.0.0"), &version("3.0.0")).is_err());
    }
}
