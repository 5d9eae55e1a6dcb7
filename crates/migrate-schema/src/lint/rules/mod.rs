//! The rules: each looks at one statement in its scene.

mod downs;
mod locking;
mod loss;
mod sqlite;

use super::scene::{Found, Scene};
use crate::db::Backend;

pub(super) use downs::{Downs, look as downs};

/// Everything that our rules say about a statement.
pub(super) fn look(scene: &Scene<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    loss::look(scene, &mut found);
    match scene.known.backend {
        Backend::Postgres => locking::look(scene, &mut found),
        Backend::Sqlite => sqlite::look(scene, &mut found),
    }
    found
}

/// Whether a rule is about what can't be brought back.
pub(super) fn loses(rule: &str) -> bool {
    matches!(
        rule,
        "drop-table"
            | "drop-column"
            | "drop-schema"
            | "truncate"
            | "narrowing-type"
            | "sqlite-drop-cascades"
    )
}
