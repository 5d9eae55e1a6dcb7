//! Adding to and taking from what stands in brackets: objects, arrays, inline tables.

use super::splice::{Splice, indent_at, newline};
use crate::syntax::{Node, NodeKind, Property, Span};

/// The spans of what a container holds, in order; empty for a scalar.
pub(crate) fn item_spans(node: &Node) -> Vec<Span> {
    match &node.kind {
        NodeKind::Scalar => Vec::new(),
        NodeKind::Array(elements) => elements.iter().map(|node| node.span.clone()).collect(),
        NodeKind::Object(properties) => properties.iter().map(Property::span).collect(),
    }
}

/// Whether each item of a container stands on a line of its own.
pub(crate) fn has_lines(text: &str, node: &Node) -> bool {
    match item_spans(node).last() {
        Some(last) => starts_its_line(text, last.start),
        None => false,
    }
}

fn starts_its_line(text: &str, offset: usize) -> bool {
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    start > 0 && text[start..offset].trim().is_empty()
}

/// Adds an item after the last. `padding` is put inside the brackets of an empty container on one line.
pub(crate) fn push(text: &str, node: &Node, item: &str, padding: &str) -> Vec<Splice> {
    let items = item_spans(node);
    let Some(last) = items.last() else {
        let inside = node.span.start + 1..node.span.end - 1;
        return vec![Splice::replace(inside, format!("{padding}{item}{padding}"))];
    };
    let rest = &text[last.end..node.span.end - 1];
    let comma = comma_in(rest).map(|at| last.end + at);
    let after = comma.map_or(last.end, |at| at + 1);
    let mut splices = Vec::new();
    if comma.is_none() {
        splices.push(Splice::insert(last.end, ","));
    }
    let closing = if comma.is_some() { "," } else { "" };
    if starts_its_line(text, last.start) {
        let indent = indent_at(text, last.start);
        let at = end_of_remark(text, after, node.span.end - 1);
        let line = format!("{}{indent}{item}{closing}", newline(text));
        splices.push(Splice::insert(at, line));
    } else {
        let space = separator(text, &items);
        splices.push(Splice::insert(after, format!("{space}{item}{closing}")));
    }
    splices
}

/// The space after the commas of a container on one line.
fn separator<'t>(text: &'t str, items: &[Span]) -> &'t str {
    let [.., before, last] = items else {
        let compact = items.first().is_some_and(|only| {
            text[only.clone()].contains("\":") && !text[only.clone()].contains("\": ")
        });
        return if compact { "" } else { " " };
    };
    let between = &text[before.end..last.start];
    let space = comma_in(between).map_or(" ", |at| &between[at + 1..]);
    if space.trim().is_empty() { space } else { " " }
}

/// Takes the item at `index` away, with its comma and the remark behind it.
pub(crate) fn remove(text: &str, node: &Node, index: usize) -> Vec<Splice> {
    let items = item_spans(node);
    let item = &items[index];
    if let Some(next) = items.get(index + 1) {
        let between = &text[item.end..next.start];
        let end = match between.find('\n') {
            Some(at) => {
                let line = &between[at + 1..];
                let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
                item.end + at + 1 + indent
            }
            None => next.start,
        };
        return vec![Splice::remove(item.start..end)];
    }
    let close = node.span.end - 1;
    let trailing = comma_in(&text[item.end..close]).map(|at| item.end + at);
    let Some(before) = index.checked_sub(1).map(|before| &items[before]) else {
        let inside = node.span.start + 1..close;
        let plain = !text[item.end..close].contains('#');
        let span = if plain {
            inside
        } else {
            item.start..trailing.map_or(item.end, |at| at + 1)
        };
        return vec![Splice::remove(span)];
    };
    remove_last(text, before, item, trailing, close)
}

fn remove_last(
    text: &str,
    before: &Span,
    item: &Span,
    trailing: Option<usize>,
    close: usize,
) -> Vec<Splice> {
    let between = &text[before.end..item.start];
    let comma = before.end + comma_in(between).expect("a comma parts two items");
    let from = match between.rfind('\n') {
        Some(at) => before.end + at - usize::from(between[..at].ends_with('\r')),
        None => comma + 1,
    };
    let mut end = trailing.map_or(item.end, |at| at + 1);
    if starts_its_line(text, item.start) {
        end = end_of_remark(text, end, close);
    }
    let mut splices = vec![Splice::remove(from.max(comma + 1)..end)];
    if trailing.is_none() {
        splices.push(Splice::remove(comma..comma + 1));
    }
    splices
}

/// The first comma that is not in a comment.
fn comma_in(text: &str) -> Option<usize> {
    let mut remark = false;
    text.char_indices().find_map(|(at, c)| {
        remark = match c {
            '#' => true,
            '\n' => false,
            _ => remark,
        };
        (c == ',' && !remark).then_some(at)
    })
}

/// Where the line's remark ends that begins behind `from`; `from` if there is none.
fn end_of_remark(text: &str, from: usize, close: usize) -> usize {
    let rest = &text[from..close];
    let line = rest.split('\n').next().unwrap_or(rest);
    if line.trim_start().starts_with('#') {
        from + line.trim_end_matches('\r').len()
    } else {
        from
    }
}
