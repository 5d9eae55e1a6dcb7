//! Ways back that are missing, or can't lead back.

use super::super::deed::Deed;
use super::super::rule::Level;
use super::super::scene::{Found, Read};

/// What is known of a migration's way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Downs {
    /// No migration of the set has one.
    NotUsed,
    /// Others have one, this one has none.
    Missing,
    /// There is a file with nothing in it.
    Empty,
    /// There is one.
    There,
    /// It runs again whenever it changes: there is no way back to have.
    NotForThis,
}

/// What is to say about a migration's way back, by statement.
pub(in super::super) fn look(
    downs: Downs,
    statements: &[Read<'_>],
    losing: &[usize],
) -> Vec<(usize, Found)> {
    let mut found = Vec::new();
    let missing = match downs {
        Downs::Missing => Some("it has no down, and other migrations have theirs"),
        Downs::Empty => Some("its down does nothing"),
        Downs::NotUsed | Downs::There | Downs::NotForThis => None,
    };
    if let Some(message) = missing {
        found.push((0, Found::new("missing-down", Level::Warning, message)));
    }
    if downs != Downs::There {
        return found;
    }
    for at in losing {
        found.push((
            *at,
            Found::new(
                "irreversible",
                Level::Note,
                "its down can't bring back what this deletes",
            ),
        ));
    }
    for (at, read) in statements.iter().enumerate() {
        if read.deed == Deed::AddEnumValue {
            found.push((
                at,
                Found::new(
                    "irreversible",
                    Level::Note,
                    "PostgreSQL can't take a value of an enum back",
                ),
            ));
        }
    }
    found
}
