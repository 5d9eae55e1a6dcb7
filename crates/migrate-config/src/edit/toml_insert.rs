//! Adding keys and tables to TOML text.

use migrate_core::Finding;
use serde_json::{Map, Value};

use super::splice::{Splice, indent_at, newline, splice};
use super::toml::first_header;
use super::{NewTable, container, model, render};
use crate::key_path::{KeyPath, PathStep};
use crate::syntax::toml::{Layout, LineKind};
use crate::syntax::{Node, NodeKind, bom_length};
use crate::written::datetime;

/// A value to be written, with what stands round it.
#[derive(Debug, Clone)]
pub(crate) struct New<'a> {
    /// As it is written behind the `=`.
    value: String,
    /// Its entries, if it is a table.
    table: Option<&'a Map<String, Value>>,
    /// What stands between key and value.
    equals: String,
    /// Comment lines above it, without indentation.
    above: Vec<String>,
    /// The comment behind it, with the space before it.
    behind: String,
}

impl<'a> New<'a> {
    pub(crate) fn value(value: &'a Value) -> Self {
        Self {
            value: render::toml(value),
            table: value.as_object().filter(|_| datetime(value).is_none()),
            equals: " = ".to_owned(),
            above: Vec::new(),
            behind: String::new(),
        }
    }

    /// One that was written elsewhere before.
    pub(crate) fn moved(value: &str, equals: &str, above: Vec<String>, behind: &str) -> Self {
        Self {
            value: value.to_owned(),
            table: None,
            equals: equals.to_owned(),
            above,
            behind: behind.to_owned(),
        }
    }

    fn lines(&self, key: &str, indent: &str, newline: &str) -> String {
        let Self {
            value,
            equals,
            behind,
            ..
        } = self;
        let entry = format!("{indent}{key}{equals}{value}{behind}");
        let comments = self
            .above
            .iter()
            .map(|comment| format!("{indent}{comment}"));
        let mut lines: Vec<String> = comments.collect();
        lines.push(entry);
        lines.push(String::new());
        lines.join(newline)
    }
}

/// The text with a value added at a path where nothing is.
pub(crate) fn insert(
    text: &str,
    layout: &Layout,
    values: &Value,
    path: &KeyPath,
    new: &New<'_>,
    place: NewTable,
) -> Result<String, Finding> {
    let mut holder = model::existing(values, path);
    loop {
        let insertion = Insertion {
            text,
            layout,
            newline: newline(text),
            missing: &path.steps()[holder.steps().len()..],
            holder: &holder,
            new,
        };
        if let Some(splices) = insertion.splices(place)? {
            return Ok(splice(text, splices));
        }
        // Dotted keys inside brackets have no brackets of their own: go out to those that exist.
        let (parent, _) = holder.split_last().expect("the root takes every key");
        holder = parent;
    }
}

struct Insertion<'a> {
    text: &'a str,
    layout: &'a Layout,
    newline: &'static str,
    /// The deepest table or array on the way that exists.
    holder: &'a KeyPath,
    /// The steps from there on; at least one.
    missing: &'a [PathStep],
    new: &'a New<'a>,
}

impl Insertion<'_> {
    fn splices(&self, place: NewTable) -> Result<Option<Vec<Splice>>, Finding> {
        if let Some(node) = self.layout.node(self.holder) {
            return self.in_brackets(node).map(Some);
        }
        if matches!(self.missing[0], PathStep::Index(_)) {
            let message = format!(
                "can't add an element to the array of tables {}",
                self.holder
            );
            return Err(Finding::error("config.array-of-tables", message)
                .at(self.holder.pointer())
                .hint(format!("write a new [[{}]] by hand", self.holder)));
        }
        let root = self.holder.steps().is_empty();
        let header = self.header();
        let whole_table = self.new.table.is_some() && root;
        let one_key = self.missing.len() == 1 && !whole_table;
        if root || header.is_some() {
            return Ok(Some(if one_key {
                self.in_section(header)
            } else {
                self.new_section(place)
            }));
        }
        if let Some(line) = self.last_dotted() {
            return Ok(Some(self.beside_dotted(line)));
        }
        Ok(self.first_inside().map(|first| {
            if one_key {
                self.before_subtables(first)
            } else {
                self.new_section(place)
            }
        }))
    }

    /// Inside an array or inline table. Comments go above the line that it is on.
    fn in_brackets(&self, node: &Node) -> Result<Vec<Splice>, Finding> {
        let New {
            value,
            above,
            behind,
            ..
        } = self.new;
        if value.contains('\n') && matches!(node.kind, NodeKind::Object(_)) {
            let message = format!("a value of several lines can't go into {}", self.holder);
            return Err(Finding::error("config.inline-table", message)
                .at(self.holder.pointer())
                .hint("write it as a [table] instead of { .. }"));
        }
        let item = match &node.kind {
            NodeKind::Object(_) => format!("{} = {value}", render::dotted(self.missing_names())),
            _ => value.clone(),
        };
        let mut splices = container::push(self.text, node, &item, padding(node));
        let line = self.layout.lines[self.layout.line_at(node.span.start)]
            .span
            .start;
        let start = line.max(bom_length(self.text));
        let remarks = above.iter().map(String::as_str).chain(Some(behind.trim()));
        let comments = remarks
            .filter(|remark| !remark.is_empty())
            .flat_map(|remark| [remark, self.newline])
            .collect::<String>();
        splices.push(Splice::insert(start, comments));
        Ok(splices)
    }

    /// As the last key of the root or of the table that a header opens.
    fn in_section(&self, header: Option<usize>) -> Vec<Splice> {
        let last = self.layout.last_entry(header);
        let key = render::dotted(self.missing_names());
        if let Some(line) = last.or(header) {
            let indent = self.indent(line);
            return vec![self.after(line, &self.new.lines(&key, indent, self.newline))];
        }
        let lines = self.new.lines(&key, "", self.newline);
        match first_header(self.layout) {
            Some(header) => {
                let at = self.layout.block_start(header).max(bom_length(self.text));
                vec![Splice::insert(at, format!("{lines}{}", self.newline))]
            }
            None => vec![self.at_end(&lines)],
        }
    }

    /// A table of its own: `[a.b]` with the key in it, or with all keys of a new table.
    fn new_section(&self, place: NewTable) -> Vec<Splice> {
        let body = self.section_text();
        let nl = self.newline;
        if !self.holder.steps().is_empty() {
            let belongs = |line: &usize| {
                let path = self.layout.path(*line);
                path.is_some_and(|path| path.starts_with(self.holder))
            };
            let last = (0..self.layout.lines.len()).rev().find(belongs);
            let last = last.expect("a table that exists has a line");
            return vec![self.after(last, &format!("{nl}{body}"))];
        }
        let first = first_header(self.layout).filter(|_| place == NewTable::First);
        let start = first.map(|header| self.layout.block_start(header));
        let gap = match start.unwrap_or(self.text.len()) {
            at if self.gap_before(at) => "",
            _ => nl,
        };
        match start {
            Some(at) => vec![Splice::insert(at, format!("{gap}{body}{nl}"))],
            None => vec![self.at_end(&format!("{gap}{body}"))],
        }
    }

    fn section_text(&self) -> String {
        let nl = self.newline;
        let names: Vec<&str> = key_names(self.holder.steps())
            .chain(self.missing_names())
            .collect();
        if let Some(table) = self.new.table.filter(|_| names.len() == 1) {
            let entries = table.iter().map(|(key, value)| {
                let key = render::dotted([key.as_str()]);
                format!("{key} = {}{nl}", render::toml(value))
            });
            let entries: String = entries.collect();
            return format!("[{}]{nl}{entries}", render::dotted(names));
        }
        let (key, table) = names.split_last().expect("a key has a name");
        let header = render::dotted(table.iter().copied());
        let entry = self.new.lines(&render::dotted([*key]), "", nl);
        format!("[{header}]{nl}{entry}")
    }

    /// `[a]` with the key in it, before the `[a.b]` that stands alone.
    fn before_subtables(&self, first: usize) -> Vec<Splice> {
        let names: Vec<&str> = key_names(self.holder.steps()).collect();
        let key = render::dotted(self.missing_names());
        let nl = self.newline;
        let entry = self.new.lines(&key, "", nl);
        let at = self.layout.block_start(first).max(bom_length(self.text));
        let text = format!("[{}]{nl}{entry}{nl}", render::dotted(names));
        vec![Splice::insert(at, text)]
    }

    /// `a.new = ..` after the last `a.old = ..`.
    fn beside_dotted(&self, line: usize) -> Vec<Splice> {
        let (_, table) = self.layout.entry(line).expect("a dotted key is an entry");
        let from_table = &self.holder.steps()[table.steps().len()..];
        let names = key_names(from_table).chain(self.missing_names());
        let lines = self
            .new
            .lines(&render::dotted(names), self.indent(line), self.newline);
        vec![self.after(line, &lines)]
    }

    /// The header that opens the holder.
    fn header(&self) -> Option<usize> {
        self.layout.lines.iter().position(
            |line| matches!(&line.kind, LineKind::Header { path, .. } if path == self.holder),
        )
    }

    /// The last entry whose dotted key goes through the holder.
    fn last_dotted(&self) -> Option<usize> {
        (0..self.layout.lines.len()).rev().find(|line| {
            let path = self.layout.path(*line);
            let table = self.layout.entry(*line).map(|(_, table)| table);
            path.is_some_and(|path| path.starts_with(self.holder))
                && table.is_some_and(|table| !table.starts_with(self.holder))
        })
    }

    fn first_inside(&self) -> Option<usize> {
        (0..self.layout.lines.len()).find(|line| {
            let path = self.layout.path(*line);
            path.is_some_and(|path| path.starts_with(self.holder))
        })
    }

    fn missing_names(&self) -> impl Iterator<Item = &str> {
        key_names(self.missing)
    }

    /// The indentation of a line with a key or header.
    fn indent(&self, line: usize) -> &str {
        let start = match &self.layout.lines[line].kind {
            LineKind::Entry { property, .. } => property.span().start,
            _ => self.layout.lines[line].span.start,
        };
        indent_at(self.text, start)
    }

    fn gap_before(&self, at: usize) -> bool {
        let before =
            self.text[bom_length(self.text)..].get(..at.saturating_sub(bom_length(self.text)));
        let before = before.unwrap_or("");
        before.is_empty() || before.replace('\r', "").ends_with("\n\n") || before.trim().is_empty()
    }

    fn after(&self, line: usize, lines: &str) -> Splice {
        self.whole_lines(self.layout.lines[line].span.end, lines)
    }

    fn at_end(&self, lines: &str) -> Splice {
        self.whole_lines(self.text.len(), lines)
    }

    /// Whole lines; at the end of a text without a last line end, it stays without one.
    fn whole_lines(&self, at: usize, lines: &str) -> Splice {
        let unended =
            at == self.text.len() && at > bom_length(self.text) && !self.text.ends_with('\n');
        if unended {
            let lines = lines.strip_suffix(self.newline).unwrap_or(lines);
            Splice::insert(at, format!("{}{lines}", self.newline))
        } else {
            Splice::insert(at, lines)
        }
    }
}

/// What stands inside the brackets of a container with one item on its line.
fn padding(node: &Node) -> &'static str {
    match node.kind {
        NodeKind::Object(_) => " ",
        _ => "",
    }
}

fn key_names(steps: &[PathStep]) -> impl Iterator<Item = &str> {
    steps.iter().filter_map(|step| match step {
        PathStep::Key(key) => Some(key.as_str()),
        PathStep::Index(_) => None,
    })
}
