//! Where a path is written in TOML, and what belongs to a line.

use crate::key_path::{KeyPath, PathStep};
use crate::syntax::toml::{Layout, LineKind};
use crate::syntax::{Node, NodeKind, Property, Span};

/// How a document writes the value at a path.
#[derive(Debug)]
pub(crate) enum Target<'l> {
    /// `key = value`: the line's index.
    Entry(usize),
    /// Inside of such a line's value: the container and the place in it.
    Inside { holder: &'l Node, index: usize },
    /// A table made by headers or dotted keys: the indexes of all lines with a path in it.
    Table(Vec<usize>),
}

impl Layout {
    /// The path of a line's header or value.
    pub(crate) fn path(&self, line: usize) -> Option<&KeyPath> {
        match &self.lines[line].kind {
            LineKind::Header { path, .. } | LineKind::Entry { path, .. } => Some(path),
            LineKind::Blank | LineKind::Comment => None,
        }
    }

    /// A line's key and value, and the table it stands in.
    pub(crate) fn entry(&self, line: usize) -> Option<(&Property, &KeyPath)> {
        match &self.lines[line].kind {
            LineKind::Entry {
                property, table, ..
            } => Some((property, table)),
            _ => None,
        }
    }

    /// How the document writes the value at a path.
    pub(crate) fn find(&self, path: &KeyPath) -> Option<Target<'_>> {
        let mut inside = Vec::new();
        for line in 0..self.lines.len() {
            let Some(here) = self.path(line) else {
                continue;
            };
            if here.starts_with(path) {
                if here == path && self.entry(line).is_some() {
                    return Some(Target::Entry(line));
                }
                inside.push(line);
            } else if path.starts_with(here)
                && let Some((property, _)) = self.entry(line)
            {
                let rest = &path.steps()[here.steps().len()..];
                return locate(&property.value, rest);
            }
        }
        (!inside.is_empty()).then_some(Target::Table(inside))
    }

    /// The value's own node, where it stands behind a `=` or in brackets.
    pub(crate) fn node(&self, path: &KeyPath) -> Option<&Node> {
        match self.find(path)? {
            Target::Entry(line) => self.entry(line).map(|(property, _)| &property.value),
            Target::Inside { holder, index } => Some(item(holder, index)),
            Target::Table(_) => None,
        }
    }

    /// The line that holds a byte.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        let after = self.lines.partition_point(|line| line.span.end <= offset);
        after.min(self.lines.len() - 1)
    }

    /// Where a line's block begins: at the comment lines right above it.
    pub(crate) fn block_start(&self, line: usize) -> usize {
        let above = self.lines[..line].iter().rev();
        let comments = above
            .take_while(|line| matches!(line.kind, LineKind::Comment))
            .count();
        self.lines[line - comments].span.start
    }

    /// The lines of the section that a header opens (of the root, for `None`), without the header.
    pub(crate) fn section(&self, header: Option<usize>) -> std::ops::Range<usize> {
        let start = header.map_or(0, |header| header + 1);
        let is_header = |line: &usize| matches!(self.lines[*line].kind, LineKind::Header { .. });
        let end = (start..self.lines.len()).find(is_header);
        start..end.unwrap_or(self.lines.len())
    }

    /// The last line of a section with a value.
    pub(crate) fn last_entry(&self, header: Option<usize>) -> Option<usize> {
        self.section(header)
            .rev()
            .find(|line| self.entry(*line).is_some())
    }

    /// What goes when a line goes: its block; of a header, its section's entries too.
    pub(crate) fn removal(&self, line: usize) -> Span {
        let last = match self.lines[line].kind {
            LineKind::Header { .. } => self.last_entry(Some(line)).unwrap_or(line),
            _ => line,
        };
        self.block_start(line)..self.lines[last].span.end
    }

    /// Whether two positions have nothing but blank lines between them.
    pub(crate) fn only_blank(&self, from: usize, to: usize) -> bool {
        self.lines
            .iter()
            .filter(|line| line.span.start >= from && line.span.end <= to)
            .all(|line| matches!(line.kind, LineKind::Blank))
    }

    /// A span of whole lines; with the blank line behind it if there is one before it too, so
    /// that no gap is left.
    pub(crate) fn with_blank(&self, span: Span) -> Span {
        let blank = |line: usize| matches!(self.lines[line].kind, LineKind::Blank);
        let first = self.line_at(span.start);
        let gap_before = first == 0 || blank(first - 1);
        let next = self
            .lines
            .iter()
            .position(|line| line.span.start == span.end);
        match next {
            Some(next) if gap_before && blank(next) => span.start..self.lines[next].span.end,
            _ => span,
        }
    }
}

fn item(holder: &Node, index: usize) -> &Node {
    match &holder.kind {
        NodeKind::Array(elements) => &elements[index],
        NodeKind::Object(properties) => &properties[index].value,
        NodeKind::Scalar => unreachable!("a scalar holds nothing"),
    }
}

fn locate<'n>(node: &'n Node, steps: &[PathStep]) -> Option<Target<'n>> {
    let (index, used) = match (&node.kind, steps.first()?) {
        (NodeKind::Array(elements), PathStep::Index(index)) => {
            (*index < elements.len()).then_some((*index, 1))?
        }
        (NodeKind::Object(properties), PathStep::Key(_)) => {
            let index = properties.iter().position(|p| begins(p, steps))?;
            (index, properties[index].keys.len())
        }
        _ => return None,
    };
    if used == steps.len() {
        Some(Target::Inside {
            holder: node,
            index,
        })
    } else {
        locate(item(node, index), &steps[used..])
    }
}

/// Whether the property's keys are the first of the steps.
fn begins(property: &Property, steps: &[PathStep]) -> bool {
    property.keys.len() <= steps.len()
        && property
            .keys
            .iter()
            .zip(steps)
            .all(|(key, step)| matches!(step, PathStep::Key(name) if *name == key.name))
}
