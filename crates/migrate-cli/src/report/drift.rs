//! What a schema is and how it differs.

use std::path::Path;

use serde_json::json;

use super::{Output, document, out};

impl Output {
    /// That a dump was written.
    pub(crate) fn schema_dumped(&self, path: &Path, objects: usize) {
        if self.json() {
            document(&json!({
                "event": "result",
                "format": 1,
                "file": path.to_string_lossy(),
                "objects": objects,
            }));
        } else {
            out(&format!("{objects} objects written to {}", path.display()));
        }
    }
}
