//! Edits of TOML text.

use migrate_core::Finding;
use serde_json::Value;

use super::splice::{Splice, splice};
use super::toml_insert::{New, insert};
use super::toml_place::Target;
use super::{Edit, NewTable, container, not_possible, render, toml_rename};
use crate::key_path::KeyPath;
use crate::syntax::Span;
use crate::syntax::toml::{Layout, LineKind, layout};

/// The text with an edit made that the values allow.
pub(crate) fn apply(
    text: &str,
    values: &Value,
    edit: &Edit,
    place: NewTable,
) -> Result<String, Finding> {
    let layout = layout(text);
    let done = match edit {
        Edit::Set { path, value } => match layout.find(path) {
            None => return insert(text, &layout, values, path, &New::value(value), place),
            Some(_) => layout.node(path).map(|node| {
                let value = render::toml(value);
                splice(text, vec![Splice::replace(node.span.clone(), value)])
            }),
        },
        Edit::Remove { path } => remove(text, &layout, path),
        Edit::Rename { from, to } => {
            return toml_rename::rename(text, &layout, values, from, to, place)
                .unwrap_or_else(|| Err(not_possible(edit)));
        }
    };
    done.ok_or_else(|| not_possible(edit))
}

/// Whether the value at a path is a string as it is written.
pub(crate) fn is_quoted(text: &str, path: &KeyPath) -> bool {
    let layout = layout(text);
    let node = layout.node(path);
    node.is_some_and(|node| text[node.span.clone()].starts_with(['"', '\'']))
}

/// The text without a value; `None` if it is written in a way that can't be cut out.
pub(crate) fn remove(text: &str, layout: &Layout, path: &KeyPath) -> Option<String> {
    match layout.find(path)? {
        Target::Entry(line) => Some(remove_lines(text, layout, &[line])),
        Target::Inside { holder, index } => {
            Some(splice(text, container::remove(text, holder, index)))
        }
        Target::Table(lines) => {
            // The entries below a header go with it; what is left are dotted keys.
            let below_header = |line: &usize| {
                let table = layout.entry(*line).map(|(_, table)| table);
                table.is_some_and(|table| table.starts_with(path))
            };
            let lines: Vec<_> = lines
                .into_iter()
                .filter(|line| !below_header(line))
                .collect();
            Some(remove_lines(text, layout, &lines))
        }
    }
}

fn remove_lines(text: &str, layout: &Layout, lines: &[usize]) -> String {
    let mut spans: Vec<Span> = Vec::new();
    for line in lines {
        let span = layout.removal(*line);
        match spans.last_mut() {
            Some(last) if layout.only_blank(last.end, span.start) => last.end = span.end,
            _ => spans.push(span),
        }
    }
    let splices = spans
        .into_iter()
        .map(|span| Splice::remove(layout.with_blank(span)))
        .collect();
    let unended = !text.ends_with('\n');
    let mut out = splice(text, splices);
    if unended && out.ends_with('\n') && !out.is_empty() {
        out.pop();
        if out.ends_with('\r') {
            out.pop();
        }
    }
    out
}

/// The first header's line.
pub(crate) fn first_header(layout: &Layout) -> Option<usize> {
    layout
        .lines
        .iter()
        .position(|line| matches!(line.kind, LineKind::Header { .. }))
}
