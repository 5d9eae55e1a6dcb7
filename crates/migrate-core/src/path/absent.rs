//! No way leads there: what there is, what is nearest, and what bars the way.

use std::collections::BTreeSet;
use std::fmt;

use super::PlanEdge;
use crate::version::Version;

/// Why a plan that exists may not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Barred {
    /// It was withdrawn, for the reason given.
    Withdrawn(PlanEdge, String),
    /// It passes over a mandatory stop.
    PassesOver(PlanEdge, Version),
}

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Withdrawn(edge, reason) => {
                write!(
                    f,
                    "the plan {} -> {} is withdrawn: {reason}",
                    edge.from, edge.to
                )
            }
            Self::PassesOver(edge, stop) => write!(
                f,
                "the plan {} -> {} passes over {stop}, a mandatory stop",
                edge.from, edge.to
            ),
        }
    }
}

/// No chain of plans leads there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoPath {
    /// Where from.
    pub from: Version,
    /// Where to.
    pub to: Version,
    /// The plans that exist, sorted.
    pub existing: Vec<PlanEdge>,
    /// The versions that can be reached from `from`.
    pub reachable: BTreeSet<Version>,
    /// What bars the way that there would be.
    pub barred: Vec<Barred>,
    /// The versions between which there is a way, nearest to the wish.
    pub nearest: Option<(Version, Version)>,
}

impl fmt::Display for NoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no plan leads from {} to {}", self.from, self.to)?;
        if self.existing.is_empty() {
            return f.write_str("; there are no plans at all");
        }
        for bar in &self.barred {
            write!(f, "; {bar}")?;
        }
        f.write_str("; plans that exist:")?;
        for (index, edge) in self.existing.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let mark = if edge.withdrawn.is_some() {
                " (withdrawn)"
            } else {
                ""
            };
            write!(f, "{comma} {} -> {}{mark}", edge.from, edge.to)?;
        }
        if !self.reachable.is_empty() {
            let versions: Vec<_> = self.reachable.iter().map(ToString::to_string).collect();
            write!(
                f,
                "; from {} there is a way to: {}",
                self.from,
                versions.join(", ")
            )?;
        }
        if let Some((from, to)) = &self.nearest {
            write!(f, "; nearest: --from {from} --to {to}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NoPath {}

/// How far two versions are apart: majors weigh more than any minors, those more than patches.
pub(super) fn distance(a: &Version, b: &Version) -> u64 {
    let part = |a: u64, b: u64| a.abs_diff(b).min(999);
    let pre = u64::from(a.is_prerelease() != b.is_prerelease());
    part(a.major(), b.major()) * 2_000_000
        + part(a.minor(), b.minor()) * 2_000
        + part(a.patch(), b.patch()) * 2
        + pre
}
