//! How rows become rows: transforms in Rust, their registry, and what happens to rows that are there.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// A boolean; PostgreSQL only.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text, and every type that has no variant of its own, as the database writes it.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A moment of PostgreSQL's `timestamptz`, as the database writes it at UTC, without an offset:
    /// `2024-01-31 23:59:59.123456`. All digits are kept, as are `infinity` and years before Christ.
    Timestamp(String),
}

/// A row of the source, as a transform sees it.
#[derive(Debug, Clone, Copy)]
pub struct SourceRow<'a> {
    columns: &'a [String],
    cells: &'a [Cell],
}

impl<'a> SourceRow<'a> {
    /// A row of `cells`, named by `columns` in the same order.
    pub fn new(columns: &'a [String], cells: &'a [Cell]) -> Self {
        Self { columns, cells }
    }

    /// The value of a column; an error that names it if the source has none of that name.
    ///
    /// # Errors
    /// `the source has no column "x"`.
    pub fn get(&self, column: &str) -> Result<&'a Cell, String> {
        let at = self.columns.iter().position(|name| name == column);
        at.and_then(|at| self.cells.get(at))
            .ok_or_else(|| format!("the source has no column {column:?}"))
    }
}

/// What happens to a row of the target whose key a transform produces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Every produced column but the key is updated, where one of them is distinct.
    #[default]
    UpdateProduced,
    /// These columns are updated, where one of them is distinct; and then `set` too.
    Update {
        /// Columns that take the produced value.
        columns: Vec<String>,
        /// Columns with an SQL expression each.
        set: Vec<(String, String)>,
    },
    /// It is an error.
    Fail,
}

/// Whether a transform gives the same again for the same row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeatable {
    /// It does: undo computes again what was written.
    #[default]
    Yes,
    /// It may not (a clock, random numbers): a hash of every written row is kept for undo.
    No,
}

/// A transform in Rust: one row of the source in, one row for the target out.
///
/// It is called from several threads at once, outside any transaction, and possibly several
/// times for a row (after an interruption, when a bad row is looked for, and by undo).
pub trait RowTransform: Send + Sync {
    /// The names of the columns that it produces.
    fn columns(&self) -> &[&str];

    /// The row for the target: a cell for each of [`columns`](Self::columns), in that order.
    ///
    /// # Errors
    /// Why this row can't be transformed. It fails the step, which names table and key; the text
    /// must not hold the row's own values.
    fn transform(&self, row: &SourceRow<'_>) -> Result<Vec<Cell>, String>;

    /// What happens to rows that are there. Default: every produced column is updated.
    fn on_conflict(&self) -> OnConflict {
        OnConflict::UpdateProduced
    }

    /// Whether it gives the same again. Default: yes.
    fn repeatable(&self) -> Repeatable {
        Repeatable::Yes
    }
}

/// The Rust transforms that scripts can name with `rust:NAME`.
#[derive(Clone, Default)]
pub struct TransformRegistry {
    known: BTreeMap<String, Arc<dyn RowTransform>>,
}

impl TransformRegistry {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// The shipped ones: `transform_config`.
    pub fn shipped() -> Self {
        Self::new().with("transform_config", crate::pipelines::TransformConfig)
    }

    /// Adds one; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, name: &str, transform: impl RowTransform + 'static) -> Self {
        self.known.insert(name.to_owned(), Arc::new(transform));
        self
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn RowTransform>> {
        self.known.get(name).cloned()
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.known.keys().map(String::as_str).collect()
    }
}

impl std::fmt::Debug for TransformRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}
