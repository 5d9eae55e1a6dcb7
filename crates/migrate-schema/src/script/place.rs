//! Where something stands in a file.

use migrate_core::Place;

/// The longest line that is shown whole, in characters.
const SHOWN: usize = 200;

/// The line and column (in characters, from 1) of a byte, with the line's text.
pub fn place(file: &str, text: &str, byte: usize) -> Place {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    let start = text[..byte].rfind('\n').map_or(0, |at| at + 1);
    let end = text[byte..].find('\n').map_or(text.len(), |at| byte + at);
    let line = text[start..end].trim_end_matches('\r');
    Place {
        file: file.to_owned(),
        line: number(text[..start].matches('\n').count() + 1),
        column: number(text[start..byte].chars().count() + 1),
        text: Some(shortened(line)),
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text = "a\r\nbé🦀;x\n";
        for (byte, line, column, shown) in [
            (0, 1, 1, "a"),
            (3, 2, 1, "bé🦀;x"),
            (text.find('x').unwrap(), 2, 5, "bé🦀;x"),
            (text.len(), 3, 1, ""),
            (999, 3, 1, ""),
        ] {
            let found = place("f.sql", text, byte);
            assert_eq!((found.line, found.column), (line, column), "{byte}");
            assert_eq!(found.text.as_deref(), Some(shown));
        }
        assert_eq!(place("f.sql", text, 3).to_string(), "f.sql:2:1");
    }
}
