//! The pieces that a catalog is read in.

/// What a piece is to the block that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "SQLite keeps an object as one text")
)]
pub(crate) enum Part {
    /// Begins it, and is the whole statement where no `Tail` follows.
    Head,
    /// A line between head and tail.
    Item,
    /// The default of the line before it.
    Default,
    /// Ends the statement.
    Tail,
    /// A statement after it.
    Then,
    /// A comment.
    Note,
    /// Compared and not written: an owner, or what follows from another object.
    Fact,
}

impl Part {
    #[cfg(feature = "postgres")]
    pub(super) fn named(name: &str) -> Self {
        match name {
            "head" => Self::Head,
            "item" => Self::Item,
            "default" => Self::Default,
            "tail" => Self::Tail,
            "then" => Self::Then,
            "note" => Self::Note,
            _ => Self::Fact,
        }
    }
}

/// Where PostgreSQL keeps an object: catalog and row, by oid.
pub(crate) type Address = (i64, i64);

/// A piece of an object.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// The object that a difference names.
    pub(crate) name: String,
    /// The block of a dump that it stands in.
    pub(crate) block: String,
    /// The block that its block belongs to, as an index to its table.
    pub(crate) parent: Option<String>,
    pub(crate) part: Part,
    pub(crate) text: String,
    pub(crate) address: Option<Address>,
}

/// That one object needs another, or stands for it.
#[cfg(feature = "postgres")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) from: Address,
    pub(crate) to: Address,
    /// The need can be met after `from` was made.
    pub(crate) soft: bool,
    /// `from` is a part of `to`.
    pub(crate) stands_for: bool,
}
