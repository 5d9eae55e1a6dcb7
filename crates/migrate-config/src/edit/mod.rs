//! Edits of a document's text by dotted path: text in, text out.
//!
//! An edit is first made on plain values, which decides whether it makes sense and whether it
//! changes anything; then on the text, as a few replaced spans; then the new text is parsed and
//! compared with the plain values. A text that says anything else is not handed out.

mod container;
mod json;
mod model;
mod render;
mod splice;
mod toml;
mod toml_insert;
mod toml_place;
mod toml_rename;

pub(crate) use model::{get as value_at, kind_of};

use migrate_core::Finding;
use serde_json::Value;

use crate::key_path::KeyPath;
use crate::located::{Located, parse};
use crate::syntax::Format;
use crate::written;

/// One change of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Gives a value. Missing tables on the way are made; a table is changed key by key until
    /// it equals the new one; an index one past the end appends to an array.
    Set {
        /// Where.
        path: KeyPath,
        /// To what; `{"toml_datetime": "2026-01-31"}` is a date in TOML, a string in JSON.
        value: Value,
    },
    /// Gives a key another path; comments go along. Nothing happens where there is no such key.
    Rename {
        /// The key as it is.
        from: KeyPath,
        /// The path that it gets, where nothing is yet.
        to: KeyPath,
    },
    /// Takes a key away, with the comment lines right above it. Nothing happens where there is none.
    Remove {
        /// Which.
        path: KeyPath,
    },
}

/// Makes the edits one after the other. `name` gives the format by its extension.
///
/// Bytes that no edit is about stay as they are; when no edit changes anything, all of them.
///
/// # Errors
/// Everything that is wrong with the document or with any edit; the text is then not changed at all.
pub fn edit_text(name: &str, text: &str, edits: &[Edit]) -> Result<String, Vec<Finding>> {
    let format = Format::of(name).map_err(|finding| vec![finding])?;
    let mut document = Document {
        name,
        format,
        located: parse(name, text)?,
        text: text.to_owned(),
        place: NewTable::AtEnd,
    };
    let mut findings = Vec::new();
    for edit in edits {
        if let Err(finding) = document.apply(edit) {
            findings.push(finding);
        }
    }
    if findings.is_empty() {
        Ok(document.text)
    } else {
        Err(findings)
    }
}

/// Where a new top-level table of TOML goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewTable {
    /// After everything else.
    AtEnd,
    /// Before the first table.
    First,
}

/// A document while it is edited.
pub(crate) struct Document<'a> {
    name: &'a str,
    format: Format,
    pub(crate) located: Located,
    pub(crate) text: String,
    place: NewTable,
}

impl<'a> Document<'a> {
    /// One whose new top-level tables go where `place` says.
    pub(crate) fn open(name: &'a str, text: &str, place: NewTable) -> Result<Self, Vec<Finding>> {
        Ok(Self {
            name,
            format: Format::of(name).map_err(|finding| vec![finding])?,
            located: parse(name, text)?,
            text: text.to_owned(),
            place,
        })
    }

    /// Makes one edit, or leaves everything as it was.
    pub(crate) fn apply(&mut self, edit: &Edit) -> Result<(), Finding> {
        let mut planned = self.located.value.clone();
        let plain = without_dates(edit);
        let changes =
            model::apply(&mut planned, &plain, self.format).map_err(|f| self.locate(f))?;
        if !changes && !self.becomes_date(edit) {
            return Ok(());
        }
        let edit = if self.format == Format::Json {
            &plain
        } else {
            edit
        };
        if let Edit::Set { path, value } = edit
            && let Some(parts) = model::table_parts(&self.located.value, path, value)
        {
            let before = (self.text.clone(), self.located.clone());
            return parts
                .iter()
                .try_for_each(|part| self.apply(part))
                .inspect_err(|_| {
                    (self.text, self.located) = before;
                });
        }
        let text = match self.format {
            Format::Json => Ok(json::apply(&self.text, &self.located.value, edit)),
            Format::Toml => toml::apply(&self.text, &self.located.value, edit, self.place),
        };
        let text = text.map_err(|finding| self.locate(finding))?;
        self.accept(text, &planned, edit)
    }

    /// Whether a date is to stand where a string says the same.
    fn becomes_date(&self, edit: &Edit) -> bool {
        let Edit::Set { path, value } = edit else {
            return false;
        };
        self.format == Format::Toml
            && written::datetime(value).is_some()
            && toml::is_quoted(&self.text, path)
    }

    fn accept(&mut self, text: String, planned: &Value, edit: &Edit) -> Result<(), Finding> {
        let located = parse(self.name, &text).ok();
        let same = |located: &Located| model::same(&located.value, planned, self.format);
        match located.filter(same) {
            Some(located) => {
                self.located = located;
                self.text = text;
                Ok(())
            }
            None => Err(self.locate(not_possible(edit))),
        }
    }

    fn locate(&self, finding: Finding) -> Finding {
        let place = self.located.nearest(&finding.pointer);
        finding.in_file(place)
    }
}

/// The edit with its dates as strings: what it means to plain values.
fn without_dates(edit: &Edit) -> Edit {
    match edit {
        Edit::Set { path, value } => Edit::Set {
            path: path.clone(),
            value: written::plain(value),
        },
        other => other.clone(),
    }
}

fn not_possible(edit: &Edit) -> Finding {
    let (what, path) = match edit {
        Edit::Set { path, .. } => ("set", path),
        Edit::Rename { from, .. } => ("rename", from),
        Edit::Remove { path } => ("remove", path),
    };
    Finding::error(
        "config.edit-unsafe",
        format!("can't {what} {path} here without changing something else"),
    )
    .at(path.pointer())
    .hint("the file writes this in a form that can't be edited in place; change it by hand first")
}
