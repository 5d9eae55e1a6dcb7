//! Events as JSON lines on stdout.

use migrate_core::{Event, Reporter};

pub(super) struct JsonEvents;

impl Reporter for JsonEvents {
    fn event(&self, event: &Event) {
        if let Ok(text) = serde_json::to_string(event) {
            super::json_line(&text);
        }
    }
}
