//! A part of a file that is run as one.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use migrate_core::Place;
use sha2::{Digest, Sha256};

use super::SourceFile;

/// SQL of one direction, and where it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    file: Arc<str>,
    whole: Arc<str>,
    range: Range<usize>,
}

impl Section {
    /// A part of a file.
    pub(super) fn new(file: &SourceFile, range: Range<usize>) -> Self {
        Self {
            file: file.path.clone(),
            whole: file.text.clone(),
            range,
        }
    }

    /// SQL that is in no file: what the history keeps. `origin` is the name to show.
    pub fn of_text(origin: &str, text: &str) -> Self {
        Self {
            file: origin.into(),
            range: 0..text.len(),
            whole: text.into(),
        }
    }

    /// The file's name, relative to the set's directory.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The SQL.
    pub fn sql(&self) -> &str {
        &self.whole[self.range.clone()]
    }

    /// The place in the file of a byte of the SQL.
    pub fn place(&self, byte: usize) -> Place {
        crate::script::place(&self.file, &self.whole, self.range.start + byte)
    }

    /// The same place with other SQL of the same lines (placeholders filled in).
    pub(super) fn with_sql(&self, sql: &str) -> Self {
        let head = &self.whole[..self.range.start];
        let mut whole = String::with_capacity(head.len() + sql.len());
        whole.push_str(head);
        whole.push_str(sql);
        Self {
            file: self.file.clone(),
            range: head.len()..whole.len(),
            whole: whole.into(),
        }
    }

    /// SHA-256 of the SQL without what editors change by themselves: line ends, blanks at a
    /// line's end, empty lines at the end, a byte order mark.
    pub fn checksum(&self) -> String {
        checksum(self.sql())
    }
}

/// All of a file, without a byte order mark.
pub(super) fn whole(file: &SourceFile) -> Section {
    let start = if file.text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    Section::new(file, start..file.text.len())
}

fn checksum(sql: &str) -> String {
    let mut hash = Sha256::new();
    let mut empty = 0;
    for line in sql.lines() {
        let line = line.trim_end();
        if line.is_empty() {
            empty += 1;
            continue;
        }
        for _ in 0..std::mem::take(&mut empty) {
            hash.update("\n");
        }
        hash.update(line);
        hash.update("\n");
    }
    let mut out = String::with_capacity(64);
    for byte in hash.finalize() {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_does_not_see_what_editors_change() {
        let same = checksum("select 1;\n\n  -- x\nselect 2;\n");
        for text in [
            "select 1;\r\n\r\n  -- x\r\nselect 2;\r\n",
            "select 1;  \n\t\n  -- x\nselect 2;",
            "select 1;\n\n  -- x\nselect 2;\n\n\n",
        ] {
            assert_eq!(checksum(text), same, "{text:?}");
        }
        for text in [
            "select 1;\n  -- x\nselect 2;\n",
            "select 1;\n\n -- x\nselect 2;\n",
            "select 1;\n\n  -- x\nselect 3;\n",
        ] {
            assert_ne!(checksum(text), same, "{text:?}");
        }
    }
}
