//! Text of others, made safe to show: no control character reaches a terminal, and nothing
//! changes the order in which the text is read.

use std::borrow::Cow;

/// Whether a character is shown as an escape: control characters (line ends and tabs too),
/// those that turn the direction of writing, invisible ones, and line ends of Unicode.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{ad}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A text on one line: what is unprintable is escaped as Rust and TOML write it (`\n`, `\u{1b}`).
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unprintable)
}

/// The same, with line ends and tabs left as they are.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_unprintable(c) && !matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, refused: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&refused) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if refused(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printable_is_escaped() {
        for (text, line) in [
            ("größe 名前 👍", "größe 名前 👍"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}x\u{7f}", "\\u{9b}x\\u{7f}"),
            (
                "a\u{202e}b\u{2066}c\u{200f}",
                "a\\u{202e}b\\u{2066}c\\u{200f}",
            ),
            ("a\u{2028}b\u{85}", "a\\u{2028}b\\u{85}"),
            ("\0", "\\u{0}"),
        ] {
            assert_eq!(one_line(text), line);
        }
        assert_eq!(lines("a\n\tb\u{1b}"), "a\n\tb\\u{1b}");
    }
}
