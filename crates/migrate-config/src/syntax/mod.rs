//! Where everything of a document stands: spans, by format.

pub(crate) mod json;
pub(crate) mod toml;

use std::ops::Range;
use std::path::Path;

use migrate_core::Finding;

/// Byte positions in a document.
pub(crate) type Span = Range<usize>;

/// The formats that are read and edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.0.
    Toml,
    /// Strict JSON: no comments, no trailing commas.
    Json,
}

impl Format {
    /// The format that a file's extension names.
    ///
    /// # Errors
    /// The name ends neither in `.toml` nor in `.json`.
    pub fn of(name: &str) -> Result<Self, Finding> {
        let extension = Path::new(name).extension().and_then(|e| e.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("toml") => Ok(Self::Toml),
            Some("json") => Ok(Self::Json),
            _ => Err(Finding::error(
                "config.unknown-format",
                format!("{name}: not a format that can be read or edited"),
            )
            .hint("use a file that ends in .toml or .json")),
        }
    }

    /// The extension, without its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Toml => "toml",
            Self::Json => "json",
        }
    }
}

/// A value with the places of all that it holds.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// From its first to its last byte, without space or comments around it.
    pub(crate) span: Span,
    pub(crate) kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeKind {
    Scalar,
    Array(Vec<Node>),
    Object(Vec<Property>),
}

/// A key with its value, in a JSON object or an inline table.
#[derive(Debug, Clone)]
pub(crate) struct Property {
    /// One in JSON; several for a dotted key of TOML.
    pub(crate) keys: Vec<KeySpan>,
    pub(crate) value: Node,
}

impl Property {
    /// From the first byte of its key to the last of its value.
    pub(crate) fn span(&self) -> Span {
        self.keys[0].span.start..self.value.span.end
    }
}

/// One segment of a key.
#[derive(Debug, Clone)]
pub(crate) struct KeySpan {
    pub(crate) name: String,
    pub(crate) span: Span,
}

/// The length of a byte order mark at the start of `text`.
pub(crate) fn bom_length(text: &str) -> usize {
    if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    }
}
