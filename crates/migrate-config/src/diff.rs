//! What changes in a configuration, for people: a unified diff without secrets.

use similar::TextDiff;

use crate::located::parse;
use crate::secret;

/// The unified diff of two texts of a configuration; empty where only secrets differ or nothing does.
pub fn redacted_diff(name: &str, before: &str, after: &str) -> String {
    let (before, after) = (shown(name, before), shown(name, after));
    if before == after {
        return String::new();
    }
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(3)
        .header(&format!("a/{name}"), &format!("b/{name}"))
        .to_string()
}

/// The text with its secrets masked.
fn shown(name: &str, text: &str) -> String {
    match parse(name, text) {
        Ok(located) => located.shown(),
        Err(_) => secret::redact(text),
    }
}
