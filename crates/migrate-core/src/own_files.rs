//! Files below the deployment's root that belong to the tool, and that no plan may change.

use std::path::Path;
use std::sync::Arc;

/// What a step would do to a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Its bytes are replaced.
    Write,
    /// It is removed, with everything in it.
    Remove,
}

/// Says why a path (relative to the root) is the tool's own and not a plan's to touch; `None`
/// where a plan may touch it. Called when a step is built and again right before it acts.
pub type OwnFiles = Arc<dyn Fn(&Path, Touch) -> Option<String> + Send + Sync>;

/// What to do about a path that [`OwnFiles`] refuses.
pub const OWN_FILES_HINT: &str =
    "leave it out of the plan; what the tool itself trusts is changed by hand only";

/// A rule under which a plan may touch every path, for embedders that keep nothing below the root.
pub fn none_are_own() -> OwnFiles {
    Arc::new(|_, _| None)
}
