//! TOML: the lines of a document with the span of every key and value.
//!
//! Built from the parser's events, not from `toml_edit`'s tree: the tree merges the
//! repeated segments of dotted keys and ends lines its own way, so it can't give every byte back.

use std::collections::HashMap;

use toml_parser::Source;
use toml_parser::parser::{Event, EventKind, parse_document};

use super::{KeySpan, Node, NodeKind, Property, Span, bom_length};
use crate::key_path::{KeyPath, PathStep};

/// The lines of a TOML document, in order, without a gap; a byte order mark is before the first.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) lines: Vec<Line>,
}

/// One logical line: a value may go over several lines of the text.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its line end included.
    pub(crate) span: Span,
    pub(crate) kind: LineKind,
}

#[derive(Debug)]
pub(crate) enum LineKind {
    Blank,
    Comment,
    /// `[a.b]` or `[[a.b]]`.
    Header {
        keys: Vec<KeySpan>,
        /// The table it opens; ends in an index for `[[a.b]]`.
        path: KeyPath,
    },
    /// `a.b = value`.
    Entry {
        property: Property,
        /// The table that it stands in: the last header's.
        table: KeyPath,
        /// The whole path of its value.
        path: KeyPath,
        comment: Option<Span>,
    },
}

/// The layout of a document that `toml_edit` has accepted.
pub(crate) fn layout(text: &str) -> Layout {
    let source = Source::new(text);
    let tokens = source.lex().into_vec();
    let mut events: Vec<Event> = Vec::with_capacity(tokens.len());
    parse_document(&tokens, &mut events, &mut ());
    let mut builder = Builder {
        text,
        events: &events,
        next: 0,
        table: KeyPath::root(),
        arrays: HashMap::new(),
    };
    builder.lines()
}

struct Builder<'a> {
    text: &'a str,
    events: &'a [Event],
    next: usize,
    table: KeyPath,
    /// How many elements each array of tables has so far.
    arrays: HashMap<KeyPath, usize>,
}

impl Builder<'_> {
    fn lines(&mut self) -> Layout {
        let mut lines = Vec::new();
        let mut start = bom_length(self.text);
        while self.next < self.events.len() {
            let kind = self.line();
            let end = self
                .events
                .get(self.next)
                .map_or(self.text.len(), |event| event.span().start());
            lines.push(Line {
                span: start..end,
                kind,
            });
            start = end;
        }
        Layout { lines }
    }

    /// Reads to the end of a line, its newline included.
    fn line(&mut self) -> LineKind {
        let mut kind = LineKind::Blank;
        while let Some(event) = self.take() {
            match event.kind() {
                EventKind::Newline => break,
                EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                    kind = self.header(event.kind() == EventKind::ArrayTableOpen);
                }
                EventKind::SimpleKey => {
                    let property = self.property(&event);
                    kind = self.entry(property);
                }
                EventKind::Comment => match &mut kind {
                    LineKind::Blank => kind = LineKind::Comment,
                    LineKind::Entry { comment, .. } => *comment = Some(span(&event)),
                    _ => {}
                },
                _ => {}
            }
        }
        kind
    }

    fn take(&mut self) -> Option<Event> {
        let event = self.events.get(self.next).copied();
        self.next += 1;
        event
    }

    fn header(&mut self, array: bool) -> LineKind {
        let mut keys = Vec::new();
        while let Some(event) = self.take() {
            match event.kind() {
                EventKind::SimpleKey => keys.push(self.key(&event)),
                EventKind::StdTableClose | EventKind::ArrayTableClose => break,
                _ => {}
            }
        }
        let mut path = KeyPath::root();
        for (place, key) in keys.iter().enumerate() {
            path.push(PathStep::Key(key.name.clone()));
            if array && place + 1 == keys.len() {
                *self.arrays.entry(path.clone()).or_default() += 1;
            }
            if let Some(count) = self.arrays.get(&path) {
                path.push(PathStep::Index(count - 1));
            }
        }
        self.table = path.clone();
        LineKind::Header { keys, path }
    }

    fn entry(&self, property: Property) -> LineKind {
        let mut path = self.table.clone();
        for key in &property.keys {
            path.push(PathStep::Key(key.name.clone()));
        }
        LineKind::Entry {
            property,
            table: self.table.clone(),
            path,
            comment: None,
        }
    }

    fn property(&mut self, first: &Event) -> Property {
        let mut keys = vec![self.key(first)];
        while let Some(event) = self.take() {
            match event.kind() {
                EventKind::SimpleKey => keys.push(self.key(&event)),
                EventKind::KeyValSep => break,
                _ => {}
            }
        }
        let value = self.value();
        Property { keys, value }
    }

    fn value(&mut self) -> Node {
        loop {
            let event = self.take().expect("an accepted document has a value here");
            match event.kind() {
                EventKind::Scalar => {
                    return Node {
                        span: span(&event),
                        kind: NodeKind::Scalar,
                    };
                }
                EventKind::ArrayOpen => return self.array(event.span().start()),
                EventKind::InlineTableOpen => return self.inline_table(event.span().start()),
                _ => {}
            }
        }
    }

    fn array(&mut self, start: usize) -> Node {
        let mut elements = Vec::new();
        loop {
            let event = self.peek("an accepted array is closed");
            match event.kind() {
                EventKind::ArrayClose => {
                    self.next += 1;
                    return Node {
                        span: start..event.span().end(),
                        kind: NodeKind::Array(elements),
                    };
                }
                EventKind::Scalar | EventKind::ArrayOpen | EventKind::InlineTableOpen => {
                    elements.push(self.value());
                }
                _ => self.next += 1,
            }
        }
    }

    fn inline_table(&mut self, start: usize) -> Node {
        let mut properties = Vec::new();
        loop {
            let event = self.peek("an accepted inline table is closed");
            self.next += 1;
            match event.kind() {
                EventKind::InlineTableClose => {
                    return Node {
                        span: start..event.span().end(),
                        kind: NodeKind::Object(properties),
                    };
                }
                EventKind::SimpleKey => properties.push(self.property(&event)),
                _ => {}
            }
        }
    }

    fn peek(&self, invariant: &str) -> Event {
        *self.events.get(self.next).expect(invariant)
    }

    fn key(&self, event: &Event) -> KeySpan {
        let span = span(event);
        let raw = &self.text[span.clone()];
        let name = toml_edit::Key::parse(raw)
            .ok()
            .and_then(|keys| keys.first().map(|key| key.get().to_owned()))
            .unwrap_or_else(|| raw.to_owned());
        KeySpan { name, span }
    }
}

fn span(event: &Event) -> Span {
    event.span().start()..event.span().end()
}
