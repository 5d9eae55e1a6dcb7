//! What the `schema` verbs found.

use serde_json::Value;

use super::{Output, document, out};

impl Output {
    /// The state of a schema.
    pub(crate) fn schema(&self, status: &Value) {
        if self.json() {
            document(status);
            return;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for one in status["migrations"].as_array().into_iter().flatten() {
            out(&format!("{}  {}", text(&one["file"]), text(&one["name"])));
        }
    }
}
