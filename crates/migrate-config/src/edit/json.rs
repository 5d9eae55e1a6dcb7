//! Edits of JSON text.

use serde_json::Value;

use super::render::{self, JsonStyle};
use super::splice::{Splice, indent_at, newline, splice};
use super::{Edit, container, model};
use crate::key_path::{KeyPath, PathStep};
use crate::syntax::{Format, Node, NodeKind, json};

/// The text with an edit made that the values allow.
pub(crate) fn apply(text: &str, values: &Value, edit: &Edit) -> String {
    match edit {
        Edit::Set { path, value } => set(text, values, path, Payload::Value(value)),
        Edit::Remove { path } => remove(text, path),
        Edit::Rename { from, to } => rename(text, values, from, to),
    }
}

/// What is written: a value, or the text of one that moves.
#[derive(Clone, Copy)]
enum Payload<'a> {
    Value(&'a Value),
    Raw(&'a str),
}

fn parsed(text: &str) -> Node {
    json::parse(text).expect("the text was parsed before")
}

fn find<'n>(root: &'n Node, path: &KeyPath) -> Option<&'n Node> {
    path.steps()
        .iter()
        .try_fold(root, |node, step| match (&node.kind, step) {
            (NodeKind::Object(properties), PathStep::Key(key)) => properties
                .iter()
                .find(|property| property.keys[0].name == *key)
                .map(|property| &property.value),
            (NodeKind::Array(elements), PathStep::Index(index)) => elements.get(*index),
            _ => None,
        })
}

fn set(text: &str, values: &Value, path: &KeyPath, new: Payload<'_>) -> String {
    let root = parsed(text);
    if let (Some(node), Payload::Value(value)) = (find(&root, path), new) {
        let style = style_of(text, &root, node.span.start);
        let value = render::json(value, &style);
        return splice(text, vec![Splice::replace(node.span.clone(), value)]);
    }
    let holder = model::existing(values, path);
    let node = find(&root, &holder).expect("what exists as a value has a node");
    let missing = &path.steps()[holder.steps().len()..];
    let style = style_inside(text, &root, node);
    let item = item(missing, new, &style);
    let empty = container::item_spans(node).is_empty();
    let splices = match &style {
        JsonStyle::Lines {
            unit,
            indent,
            newline,
        } if empty => {
            let outer = indent.strip_suffix(unit.as_str()).unwrap_or("");
            let inside = node.span.start + 1..node.span.end - 1;
            let body = format!("{newline}{indent}{item}{newline}{outer}");
            vec![Splice::replace(inside, body)]
        }
        _ => container::push(text, node, &item, ""),
    };
    splice(text, splices)
}

/// The new item of the container: `"a": {"b": value}` for the missing steps `a`, `b`.
fn item(missing: &[PathStep], new: Payload<'_>, style: &JsonStyle) -> String {
    let (first, deeper) = missing.split_first().expect("something is missing");
    let value = match (deeper.is_empty(), new) {
        (true, Payload::Raw(raw)) => raw.to_owned(),
        (true, Payload::Value(value)) => render::json(value, style),
        (false, new) => {
            let inner = item(deeper, new, &style.inside());
            match style {
                JsonStyle::Compact { .. } => format!("{{{inner}}}"),
                JsonStyle::Lines {
                    unit,
                    indent,
                    newline,
                } => format!("{{{newline}{indent}{unit}{inner}{newline}{indent}}}"),
            }
        }
    };
    match first {
        PathStep::Key(key) => {
            let key = render::key(Format::Json, key);
            format!("{key}{}{value}", style.colon())
        }
        PathStep::Index(_) => value,
    }
}

/// The style of values that begin on the line of `offset`.
fn style_of(text: &str, root: &Node, offset: usize) -> JsonStyle {
    if !container::has_lines(text, root) {
        return compact(text);
    }
    JsonStyle::Lines {
        unit: unit(text, root),
        indent: indent_at(text, offset).to_owned(),
        newline: newline(text),
    }
}

/// The style of new items of a container.
fn style_inside(text: &str, root: &Node, node: &Node) -> JsonStyle {
    match container::item_spans(node).last() {
        Some(_) if !container::has_lines(text, node) => compact(text),
        Some(last) => style_of(text, root, last.start),
        None => style_of(text, root, node.span.start).inside(),
    }
}

fn compact(text: &str) -> JsonStyle {
    let spaced = text.contains("\": ") || !text.contains("\":");
    JsonStyle::Compact {
        colon: if spaced { ": " } else { ":" },
    }
}

/// One level's indentation: that of the document's first line inside.
fn unit(text: &str, root: &Node) -> String {
    let spans = container::item_spans(root);
    let indent = spans
        .first()
        .map_or("", |first| indent_at(text, first.start));
    if indent.is_empty() { "  " } else { indent }.to_owned()
}

fn remove(text: &str, path: &KeyPath) -> String {
    let root = parsed(text);
    let (parent, last) = path
        .split_last()
        .expect("the document itself is never removed");
    let node = find(&root, &parent).expect("what exists as a value has a node");
    let index = match (&node.kind, last) {
        (NodeKind::Object(properties), PathStep::Key(key)) => properties
            .iter()
            .position(|property| property.keys[0].name == *key),
        (_, PathStep::Index(index)) => Some(*index),
        _ => None,
    };
    let index = index.expect("what exists as a value has a place");
    splice(text, container::remove(text, node, index))
}

fn rename(text: &str, values: &Value, from: &KeyPath, to: &KeyPath) -> String {
    let root = parsed(text);
    let (old_parent, old) = from.split_last().expect("a key has a path");
    let (new_parent, new) = to.split_last().expect("a key has a path");
    let holder = find(&root, &old_parent).expect("what exists as a value has a node");
    let (NodeKind::Object(properties), PathStep::Key(old), PathStep::Key(new)) =
        (&holder.kind, old, new)
    else {
        unreachable!("only keys of objects are renamed");
    };
    let property = properties
        .iter()
        .find(|property| property.keys[0].name == *old)
        .expect("what exists as a value has a place");
    if old_parent == new_parent {
        let key = render::key(Format::Json, new);
        let span = property.keys[0].span.clone();
        return splice(text, vec![Splice::replace(span, key)]);
    }
    // Added first: what the key leaves behind may be empty brackets, without a layout to follow.
    let raw = &text[property.value.span.clone()];
    let both = set(text, values, to, Payload::Raw(raw));
    remove(&both, from)
}
