//! The last gate before a stream: nothing unprintable and nothing that looks like a key passes.

use std::borrow::Cow;

use migrate_core::printable::{is_unprintable, lines, one_line};
use migrate_core::secret::mask_keys;

/// The colours that our own marks have; other sequences are text of others.
const STYLES: [&str; 7] = [
    "\u{1b}[0m",
    "\u{1b}[1m",
    "\u{1b}[2m",
    "\u{1b}[31m",
    "\u{1b}[32m",
    "\u{1b}[33m",
    "\u{1b}[36m",
];

/// Whether our own marks are coloured on the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    On,
    Off,
}

/// A text on one line; only line ends before it stay.
pub(super) fn line(text: &str, colours: Colours) -> String {
    let body = text.trim_start_matches('\n');
    let before = &text[..text.len() - body.len()];
    format!("{before}{}", styled(&mask_keys(body), colours, one_line))
}

/// A text of several lines.
pub(super) fn block(text: &str, colours: Colours) -> String {
    styled(&mask_keys(text), colours, lines)
}

fn styled(text: &str, colours: Colours, escape: impl Fn(&str) -> Cow<'_, str>) -> String {
    if colours == Colours::Off {
        return escape(text).into_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        out.push_str(&escape(&rest[..at]));
        let own = STYLES.iter().find(|style| rest[at..].starts_with(**style));
        let length = own.map_or(1, |style| style.len());
        let sequence = &rest[at..at + length];
        match own {
            Some(_) => out.push_str(sequence),
            None => out.push_str(&escape(sequence)),
        }
        rest = &rest[at + length..];
    }
    out.push_str(&escape(rest));
    out
}

/// A JSON document: its strings' keys are masked, and what JSON need not escape but a terminal
/// obeys is escaped too.
pub(super) fn json(text: &str) -> String {
    let masked = mask_keys(text);
    let mut out = String::with_capacity(masked.len());
    for c in masked.chars() {
        if is_unprintable(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_colours_pass_and_only_where_there_are_any() {
        let text = "\n\u{1b}[32mok\u{1b}[0m a\u{1b}[8mb\nc\u{202e}";
        assert_eq!(
            line(text, Colours::On),
            "\n\u{1b}[32mok\u{1b}[0m a\\u{1b}[8mb\\nc\\u{202e}"
        );
        assert!(!line(text, Colours::Off).contains('\u{1b}'));
        assert_eq!(block("a\n  b\r", Colours::Off), "a\n  b\\r");
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({"a": "x\u{202e}\u{9b}\u{e0001}\u{1b}"});
        let text = json(&value.to_string());
        assert!(text.is_ascii(), "{text}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).ok(),
            Some(value)
        );
    }
}
