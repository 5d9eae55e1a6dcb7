//! What must hold for any bytes that somebody may hand to the tool, one function each.
//!
//! Each function panics where it does not hold. The programs in `targets/` feed them to libFuzzer
//! (`scripts/fuzz.sh SECONDS`); `tests/corpus.rs` feeds them the seeds, every input that was ever
//! found to break one, and a bounded number of changes of both, in the ordinary suite.

mod documents;
mod journal;
mod scripts;
mod values;

pub use documents::{config_edit, plan};
pub use journal::{journal_file, journal_records};
pub use scripts::{layouts, sql};
pub use values::values;

/// A property.
pub type Property = fn(&[u8]);

/// All properties by name; the name is also the folder of its inputs in `corpus/`.
pub const PROPERTIES: [(&str, Property); 7] = [
    ("plan", plan),
    ("config_edit", config_edit),
    ("sql", sql),
    ("layouts", layouts),
    ("values", values),
    ("journal_file", journal_file),
    ("journal_records", journal_records),
];
