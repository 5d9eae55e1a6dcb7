//! A set for a scratch database: without what would change the server that others use.

use migrate_core::{Finding, Place};

use super::{MigrationSet, Section};
use crate::script::{shared, split};

/// A statement on what all databases of a server share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedStatement {
    /// Where it stands.
    pub place: Place,
    /// What of the server it changes, in words.
    pub what: &'static str,
}

impl SharedStatement {
    /// Why it does not run on a scratch database.
    pub fn finding(&self) -> Finding {
        Finding::error(
            "scratch.shared",
            format!(
                "it changes {}, which all databases of the server share: on a scratch database it \
                 would change the server that others use",
                self.what
            ),
        )
        .in_file(self.place.clone())
        .hint("leave such statements out of the comparison with --skip-shared")
    }
}

impl MigrationSet {
    /// The statements, up and down, that change what all databases of the server share.
    pub fn shared_statements(&self) -> Vec<SharedStatement> {
        self.sections()
            .flat_map(|section| self.shared_in(section))
            .map(|(_, found)| found)
            .collect()
    }

    /// The same set with blanks in the place of these statements.
    #[must_use]
    pub fn without_shared_statements(mut self) -> Self {
        let blanked = |set: &Self, section: &Section| {
            let found = set.shared_in(section);
            if found.is_empty() {
                return section.clone();
            }
            let mut sql = section.sql().as_bytes().to_vec();
            for (range, _) in found {
                for byte in &mut sql[range] {
                    if *byte != b'\n' {
                        *byte = b' ';
                    }
                }
            }
            section.with_sql(&String::from_utf8_lossy(&sql))
        };
        for at in 0..self.migrations.len() {
            let one = &self.migrations[at];
            let up = blanked(&self, &one.up);
            let down = one.down.as_ref().map(|down| blanked(&self, down));
            self.migrations[at].up = up;
            self.migrations[at].down = down;
        }
        self
    }

    fn sections(&self) -> impl Iterator<Item = &Section> {
        self.migrations
            .iter()
            .flat_map(|one| [Some(&one.up), one.down.as_ref()])
            .flatten()
    }

    fn shared_in(&self, section: &Section) -> Vec<(std::ops::Range<usize>, SharedStatement)> {
        split(self.backend, section.sql())
            .into_iter()
            .filter_map(|range| {
                let what = shared(self.backend, &section.sql()[range.clone()])?;
                let place = section.place(range.start);
                Some((range, SharedStatement { place, what }))
            })
            .collect()
    }
}
