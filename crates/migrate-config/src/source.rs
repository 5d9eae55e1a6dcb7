//! A document's text with its name: byte positions to places that may be shown.

use migrate_core::Place;

/// The longest line that is shown whole; of a longer one, the part round the place.
const SHOWN: usize = 160;

/// A text and what may be shown of it, line by line.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    name: String,
    text: String,
    /// The same lines with secrets masked.
    shown: Vec<String>,
}

impl Source {
    /// `masked` has the same number of lines as `text`.
    pub(crate) fn new(name: &str, text: &str, masked: &str) -> Self {
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            shown: masked.split('\n').map(str::to_owned).collect(),
        }
    }

    /// All of the text, with secrets masked.
    pub(crate) fn shown(&self) -> String {
        self.shown.join("\n")
    }

    /// The place of a byte position; one beyond the end is the end.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line = before.matches('\n').count();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before[start..].chars().filter(|c| *c != '\u{feff}').count();
        let text = self.shown.get(line).map(|line| window(line, column));
        Place {
            file: self.name.clone(),
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
            text,
        }
    }
}

fn window(line: &str, column: usize) -> String {
    let line = line.trim_end_matches('\r').trim_start_matches('\u{feff}');
    let length = line.chars().count();
    if length <= SHOWN {
        return line.to_owned();
    }
    let from = column.saturating_sub(SHOWN / 2).min(length - SHOWN);
    let part: String = line.chars().skip(from).take(SHOWN).collect();
    let left = if from > 0 { "…" } else { "" };
    let right = if from + SHOWN < length { "…" } else { "" };
    format!("{left}{part}{right}")
}
