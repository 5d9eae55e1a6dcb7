//! Documents whose every value knows its file, line and column.

use std::collections::{HashMap, HashSet};

use migrate_core::{Finding, Place, check_value};
use serde_json::Value;

use crate::key_path::{KeyPath, PathStep};
use crate::secret;
use crate::source::Source;
use crate::syntax::toml::{Layout, LineKind};
use crate::syntax::{Format, KeySpan, Node, NodeKind, Property, Span, bom_length, json, toml};
use crate::written;

/// A document as a value, with the place of everything in it.
///
/// Datetimes of TOML are strings in the value, and so are its `inf` and `nan`, which JSON
/// does not have.
#[derive(Debug, Clone)]
pub struct Located {
    /// The document.
    pub value: Value,
    source: Source,
    spans: HashMap<String, Spans>,
    datetimes: Vec<String>,
    /// Numbers with more digits than a float has, as they are written.
    decimals: Vec<(String, Value)>,
}

/// Where a key (if there is one) and its value begin.
#[derive(Debug, Clone, Copy)]
struct Spans {
    key: Option<usize>,
    value: usize,
}

impl Located {
    /// Where the value at a JSON pointer begins; the empty pointer is the document.
    pub fn place(&self, pointer: &str) -> Option<Place> {
        let spans = self.spans.get(pointer)?;
        Some(self.source.place(spans.value))
    }

    /// Where the key of the value at a JSON pointer stands (the element itself in an array).
    pub fn key_place(&self, pointer: &str) -> Option<Place> {
        let spans = self.spans.get(pointer)?;
        Some(self.source.place(spans.key.unwrap_or(spans.value)))
    }

    /// The place of the value, or of the nearest value around it that exists.
    pub fn nearest(&self, pointer: &str) -> Place {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.place(pointer) {
                return place;
            }
            match pointer.rsplit_once('/') {
                Some((parent, _)) => pointer = parent,
                None => return self.source.place(0),
            }
        }
    }

    /// The value with dates that stand in a table of this name kept as such, in the form that
    /// [`written`] tells of.
    pub fn with_dates_in(&self, table: &str) -> Value {
        let mut value = self.value.clone();
        let inside = format!("/{table}/");
        for pointer in self.datetimes.iter().filter(|one| one.contains(&inside)) {
            if let Some(date) = value.pointer_mut(pointer) {
                *date = written::of_datetime(date.as_str().unwrap_or_default());
            }
        }
        value
    }

    /// The document with the numbers below a key of this name as they are written: one that no
    /// float holds is text ([`check_value::written`]).
    #[must_use]
    pub fn with_decimals_in(mut self, key: &str) -> Self {
        let (inside, ends) = (format!("/{key}/"), format!("/{key}"));
        let (value, decimals) = (&mut self.value, &self.decimals);
        for (pointer, decimal) in decimals {
            if (pointer.contains(&inside) || pointer.ends_with(&ends))
                && let Some(place) = value.pointer_mut(pointer)
            {
                *place = decimal.clone();
            }
        }
        self
    }

    /// The document's text with its secrets masked.
    pub fn shown(&self) -> String {
        self.source.shown()
    }

    /// Gives findings with a pointer into this document their place, where they have none.
    #[must_use]
    pub fn locate(&self, findings: Vec<Finding>) -> Vec<Finding> {
        findings
            .into_iter()
            .map(|finding| {
                if finding.place.is_some() {
                    return finding;
                }
                let place = self.nearest(&finding.pointer);
                finding.in_file(place)
            })
            .collect()
    }
}

/// Reads a document in the format that its name's extension says.
///
/// # Errors
/// An unknown extension, and everything that [`parse_json`] and [`parse_toml`] find.
pub fn parse(name: &str, text: &str) -> Result<Located, Vec<Finding>> {
    match Format::of(name).map_err(|finding| vec![finding])? {
        Format::Json => parse_json(name, text),
        Format::Toml => parse_toml(name, text),
    }
}

/// Reads strict JSON. `name` is the file's name as people know it.
///
/// # Errors
/// What is not JSON, or every key that an object has twice, each with its place.
pub fn parse_json(name: &str, text: &str) -> Result<Located, Vec<Finding>> {
    let syntax = |offset, message: &str| vec![syntax_finding(name, text, offset, "JSON", message)];
    let root = json::parse(text).map_err(|error| syntax(error.offset, &error.message))?;
    let bom = bom_length(text);
    // A second, stricter opinion on strings, numbers and depth; it gives the value.
    let value: Value = serde_json::from_str(&text[bom..]).map_err(|error| {
        let offset = offset_of(text, error.line(), error.column());
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message);
        syntax(offset, message)
    })?;
    let mut collector = Collector::new(text, &value);
    collector.put(&KeyPath::root(), None, &root);
    let source = collector.source(name);
    if collector.duplicates.is_empty() {
        Ok(collector.located(source))
    } else {
        Err(collector.duplicate_findings(&source))
    }
}

/// Reads TOML. `name` is the file's name as people know it.
///
/// # Errors
/// What is not TOML (a key that stands twice is not), with its place.
pub fn parse_toml(name: &str, text: &str) -> Result<Located, Vec<Finding>> {
    let bom = bom_length(text);
    let document = toml_edit::Document::parse(&text[bom..]).map_err(|error| {
        let offset = error.span().map_or(text.len(), |span| span.start + bom);
        vec![syntax_finding(
            name,
            text,
            offset,
            "TOML",
            &one_line(error.message()),
        )]
    })?;
    let value = table_value(document.as_table());
    let mut collector = Collector::new(text, &value);
    collector.put_layout(&toml::layout(text));
    let source = collector.source(name);
    Ok(collector.located(source))
}

fn one_line(message: &str) -> String {
    message
        .lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join("; ")
}

fn syntax_finding(name: &str, text: &str, offset: usize, format: &str, message: &str) -> Finding {
    let source = Source::new(name, text, &secret::redact(text));
    Finding::error("config.syntax", format!("not valid {format}: {message}"))
        .in_file(source.place(offset))
}

/// `column` is in bytes, from 1, as `serde_json` counts.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let bom = if line <= 1 { bom_length(text) } else { 0 };
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    start + bom + column.saturating_sub(1)
}

fn table_value(table: &toml_edit::Table) -> Value {
    table
        .iter()
        .map(|(key, item)| (key.to_owned(), item_value(item)))
        .collect()
}

fn item_value(item: &toml_edit::Item) -> Value {
    match item {
        toml_edit::Item::None => Value::Null,
        toml_edit::Item::Value(value) => toml_value(value),
        toml_edit::Item::Table(table) => table_value(table),
        toml_edit::Item::ArrayOfTables(tables) => tables.iter().map(table_value).collect(),
    }
}

fn toml_value(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => Value::from(text.value().as_str()),
        Toml::Integer(number) => Value::from(*number.value()),
        Toml::Float(number) => serde_json::Number::from_f64(*number.value())
            .map_or_else(|| Value::from(number.value().to_string()), Value::Number),
        Toml::Boolean(flag) => Value::from(*flag.value()),
        Toml::Datetime(when) => Value::from(when.value().to_string()),
        Toml::Array(items) => items.iter().map(toml_value).collect(),
        Toml::InlineTable(table) => table
            .iter()
            .map(|(key, value)| (key.to_owned(), toml_value(value)))
            .collect(),
    }
}

/// Collects the places of all values, and the spans that must not be shown.
struct Collector<'a> {
    text: &'a str,
    value: &'a Value,
    spans: HashMap<String, Spans>,
    masks: Vec<(Span, String)>,
    duplicates: Vec<(KeyPath, usize)>,
    datetimes: Vec<String>,
    decimals: Vec<(String, Value)>,
}

impl<'a> Collector<'a> {
    fn new(text: &'a str, value: &'a Value) -> Self {
        let start = bom_length(text);
        let root = Spans {
            key: None,
            value: start,
        };
        Self {
            text,
            value,
            spans: HashMap::from([(String::new(), root)]),
            masks: Vec::new(),
            duplicates: Vec::new(),
            datetimes: Vec::new(),
            decimals: Vec::new(),
        }
    }

    fn put_layout(&mut self, layout: &Layout) {
        for line in &layout.lines {
            match &line.kind {
                LineKind::Header { keys, path } => self.put_keys(&header_paths(keys, path), keys),
                LineKind::Entry {
                    property, table, ..
                } => self.put_property(table, property),
                LineKind::Blank | LineKind::Comment => {}
            }
        }
    }

    /// The first mention of a table is its place.
    fn put_keys(&mut self, paths: &[KeyPath], keys: &[KeySpan]) {
        for (path, key) in paths.iter().zip(keys) {
            let spans = Spans {
                key: Some(key.span.start),
                value: key.span.start,
            };
            self.spans.entry(path.pointer()).or_insert(spans);
            // `[[a]]` names both the array and its newest element.
            let mut outer = path.clone();
            while let Some((parent, PathStep::Index(_))) = outer.split_last() {
                self.spans.entry(parent.pointer()).or_insert(spans);
                outer = parent;
            }
        }
    }

    fn put_property(&mut self, table: &KeyPath, property: &Property) {
        let mut path = table.clone();
        for (place, key) in property.keys.iter().enumerate() {
            path.push(PathStep::Key(key.name.clone()));
            if place + 1 < property.keys.len() {
                self.put_keys(std::slice::from_ref(&path), std::slice::from_ref(key));
            } else {
                self.put(&path, Some(key.span.start), &property.value);
            }
        }
    }

    fn put(&mut self, path: &KeyPath, key: Option<usize>, node: &Node) {
        let pointer = path.pointer();
        let spans = Spans {
            key,
            value: node.span.start,
        };
        self.spans.insert(pointer.clone(), spans);
        match &node.kind {
            NodeKind::Scalar => {
                self.mask(path, &pointer, &node.span);
                if let Some(decimal) = self.decimal(&pointer, &node.span) {
                    self.decimals.push((pointer.clone(), decimal));
                }
                if self.is_datetime(&pointer, &node.span) {
                    self.datetimes.push(pointer);
                }
            }
            NodeKind::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    let mut path = path.clone();
                    path.push(PathStep::Index(index));
                    self.put(&path, None, element);
                }
            }
            NodeKind::Object(properties) => self.put_object(path, properties),
        }
    }

    fn put_object(&mut self, path: &KeyPath, properties: &[Property]) {
        let mut seen = HashSet::new();
        for property in properties {
            let names: Vec<&str> = property.keys.iter().map(|k| k.name.as_str()).collect();
            if !seen.insert(names) {
                let key = &property.keys[0];
                self.duplicates.push((path.key(&key.name), key.span.start));
            }
            self.put_property(path, property);
        }
    }

    /// A number whose digits say something else than its value.
    fn decimal(&self, pointer: &str, span: &Span) -> Option<Value> {
        let value = self.value.pointer(pointer)?;
        if !value.is_f64() {
            return None;
        }
        let digits = self.text[span.clone()].replace('_', "");
        let decimal = check_value::written(digits.strip_prefix('+').unwrap_or(&digits));
        (decimal != *value).then_some(decimal)
    }

    /// What is a string in the value, has digits and no quotes: not `inf`, not `nan`.
    fn is_datetime(&self, pointer: &str, span: &Span) -> bool {
        let raw = &self.text[span.clone()];
        self.value.pointer(pointer).is_some_and(Value::is_string)
            && !raw.starts_with(['"', '\''])
            && raw.contains(|c: char| c.is_ascii_digit())
    }

    fn mask(&mut self, path: &KeyPath, pointer: &str, span: &Span) {
        let secret_key = path
            .steps()
            .iter()
            .any(|step| matches!(step, PathStep::Key(key) if secret::is_secret_key(key)));
        let raw = &self.text[span.clone()];
        // Of a key that stands twice the value is the last one's; the look at the line's text
        // (`secret::redact`) still finds what the others hold.
        let value = self.value.pointer(pointer).cloned();
        let value = value.unwrap_or_else(|| Value::from(raw));
        if let Some(mask) = secret::mask_scalar(secret_key, raw, &value) {
            self.masks.push((span.clone(), mask));
        }
    }

    fn source(&mut self, name: &str) -> Source {
        self.masks.sort_by_key(|(span, _)| span.start);
        Source::new(
            name,
            self.text,
            &secret::masked_text(self.text, &self.masks),
        )
    }

    fn duplicate_findings(&self, source: &Source) -> Vec<Finding> {
        self.duplicates
            .iter()
            .map(|(path, offset)| {
                Finding::error(
                    "config.duplicate-key",
                    format!("the key {path} stands twice"),
                )
                .at(path.pointer())
                .in_file(source.place(*offset))
                .hint("remove one of them")
            })
            .collect()
    }

    fn located(self, source: Source) -> Located {
        Located {
            value: self.value.clone(),
            source,
            spans: self.spans,
            datetimes: self.datetimes,
            decimals: self.decimals,
        }
    }
}

/// The path up to each key of a header: `a`, `a[0].b` for `[a.b]` below `[[a]]`.
fn header_paths(keys: &[KeySpan], path: &KeyPath) -> Vec<KeyPath> {
    let mut paths = Vec::new();
    let mut steps = path.steps().iter().peekable();
    let mut current = KeyPath::root();
    for _ in keys {
        if let Some(step) = steps.next() {
            current.push(step.clone());
        }
        while let Some(step @ PathStep::Index(_)) = steps.peek() {
            current.push((*step).clone());
            steps.next();
        }
        paths.push(current.clone());
    }
    paths
}
