//! What is said of a column or a constraint.

use super::types::SqlType;
use crate::db::Backend;
use crate::quote::TableName;
use crate::script::Cursor;
use crate::script::token::{Kind, Token};

/// A column's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) data_type: SqlType,
    pub(crate) not_null: bool,
    pub(crate) key: Option<Key>,
    pub(crate) default: DefaultKind,
    pub(crate) generated: Option<Generated>,
    pub(crate) check: bool,
    pub(crate) references: Option<TableName>,
    /// What becomes of its row when the one that it refers to is deleted.
    pub(crate) on_delete: OnDelete,
}

/// What becomes of a row when the one that it refers to is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OnDelete {
    /// It is deleted too.
    Cascade,
    /// It stays, or keeps the other one from being deleted.
    #[default]
    Stays,
}

impl OnDelete {
    /// What a constraint's text says.
    pub(crate) fn of(text: &str) -> Self {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let cascades = words.windows(3).any(|three| {
            three[0] == "on" && three[1] == "delete" && three[2].starts_with("cascade")
        });
        if cascades { Self::Cascade } else { Self::Stays }
    }
}

/// What a column that is added holds in the rows that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DefaultKind {
    None,
    Null,
    /// A literal.
    Literal,
    /// The same in all rows, but no literal: `now()`, `1 + 1`.
    Stable,
    /// Its own for each row, or what can't be told: its text.
    Volatile(String),
}

/// The key that a column is by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Primary,
    Unique,
}

/// How a column is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generated {
    /// From a sequence.
    Identity,
    Stored,
    Virtual,
}

/// A constraint of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Constraint {
    pub(crate) name: Option<String>,
    pub(crate) kind: ConstraintKind,
    pub(crate) not_valid: bool,
    /// Its definition as it stands.
    pub(crate) text: String,
}

/// Which constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConstraintKind {
    Check,
    ForeignKey(TableName),
    Unique { using_index: bool },
    PrimaryKey { using_index: bool },
    Exclude,
    NotNull(String),
}

/// Functions whose value is the same for all rows of a statement.
const STABLE: &[&str] = &[
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "current_setting",
    "current_user",
    "session_user",
    "current_schema",
    "to_timestamp",
    "to_date",
    "to_char",
    "date_trunc",
    "make_interval",
    "make_date",
    "timezone",
    "lower",
    "upper",
    "md5",
    "length",
    "concat",
    "coalesce",
    "encode",
    "decode",
    "round",
    "floor",
    "ceil",
    "abs",
    "extract",
    "date_part",
    "array_fill",
    "to_json",
    "to_jsonb",
    "json_build_object",
    "jsonb_build_object",
    "json_build_array",
    "jsonb_build_array",
    "to_tsvector",
    "to_tsquery",
    "int4range",
    "tstzrange",
    "cast",
];

/// Words of a default that are values themselves.
const NOW: &[&str] = &[
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
    "current_user",
    "session_user",
    "current_role",
    "current_catalog",
    "current_schema",
    "user",
];

impl Column {
    /// Reads `name type constraints…`.
    pub(crate) fn read(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Self> {
        let name = cursor.name(backend)?;
        let data_type = SqlType::read(cursor);
        let mut column = Self {
            name,
            not_null: false,
            key: None,
            default: DefaultKind::None,
            generated: None,
            check: false,
            references: None,
            on_delete: OnDelete::Stays,
            data_type,
        };
        while cursor.peek().is_some() {
            column.read_clause(backend, cursor);
        }
        Some(column)
    }

    fn read_clause(&mut self, backend: Backend, cursor: &mut Cursor<'_>) {
        if cursor.take(&["not", "null"]) {
            self.not_null = true;
        } else if cursor.take(&["primary", "key"]) {
            self.key = Some(Key::Primary);
        } else if cursor.take(&["unique"]) {
            self.key.get_or_insert(Key::Unique);
        } else if cursor.take(&["check"]) {
            self.check = true;
        } else if cursor.take(&["references"]) {
            self.references = cursor.table(backend);
        } else if cursor.take(&["on", "delete", "cascade"]) {
            self.on_delete = OnDelete::Cascade;
        } else if cursor.take(&["default"]) {
            self.default = default_kind(cursor);
        } else if cursor.take(&["generated", "always", "as", "identity"])
            || cursor.take(&["generated", "by", "default", "as", "identity"])
        {
            self.generated = Some(Generated::Identity);
        } else if cursor.take(&["generated", "always", "as"]) || cursor.take(&["as"]) {
            // SQLite's are virtual unless they say otherwise; PostgreSQL's up to 17 must say it.
            self.generated = Some(Generated::Virtual);
        } else if cursor.take(&["stored"]) {
            self.generated = Some(Generated::Stored);
        } else {
            skip_one(cursor);
        }
    }

    /// Whether PostgreSQL makes a sequence for it.
    pub(crate) fn is_serial(&self) -> bool {
        self.generated == Some(Generated::Identity) || self.data_type.name.ends_with("serial")
    }
}

/// Steps over a token, or over all of it in parentheses.
pub(super) fn skip_one(cursor: &mut Cursor<'_>) {
    let mut depth = 0_usize;
    while let Some(token) = cursor.peek() {
        cursor.at += 1;
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

const ENDS_DEFAULT: &[&str] = &[
    "not",
    "null",
    "primary",
    "unique",
    "check",
    "references",
    "constraint",
    "generated",
    "collate",
    "deferrable",
    "initially",
];

fn default_kind(cursor: &mut Cursor<'_>) -> DefaultKind {
    let begin = cursor.at;
    while let Some(token) = cursor.peek() {
        let ends = cursor.at > begin
            && ENDS_DEFAULT
                .iter()
                .any(|word| token.is_word(cursor.text, word));
        if ends {
            break;
        }
        skip_one(cursor);
    }
    let end = cursor.at;
    cursor.at = begin;
    let tokens = cursor.rest()[..end - begin].to_vec();
    cursor.at = end;
    kind_of(cursor.text, &tokens)
}

fn kind_of(text: &str, tokens: &[Token]) -> DefaultKind {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return DefaultKind::None;
    };
    if first.is_word(text, "null") {
        return DefaultKind::Null;
    }
    let whole = &text[first.start..last.end];
    let mut kind = DefaultKind::Literal;
    for (at, token) in tokens.iter().enumerate() {
        let calls = tokens
            .get(at + 1)
            .is_some_and(|next| next.kind == Kind::Open);
        let casts = at > 0 && tokens[at - 1].text(text) == ":";
        match token.kind {
            Kind::Word if calls && !casts => {
                let name = token.text(text).to_lowercase();
                if !STABLE.contains(&name.as_str()) && !is_type_with_length(&name) {
                    return DefaultKind::Volatile(whole.to_owned());
                }
                kind = DefaultKind::Stable;
            }
            Kind::QuotedName if calls && !casts => {
                return DefaultKind::Volatile(whole.to_owned());
            }
            Kind::Word if NOW.iter().any(|word| token.is_word(text, word)) => {
                kind = DefaultKind::Stable;
            }
            Kind::Open => kind = DefaultKind::Stable,
            _ => {}
        }
    }
    kind
}

fn is_type_with_length(name: &str) -> bool {
    matches!(
        name,
        "varchar" | "char" | "numeric" | "decimal" | "timestamp" | "timestamptz" | "varying"
    )
}

impl Constraint {
    /// Reads `[CONSTRAINT name] CHECK | FOREIGN KEY | UNIQUE | …`; none if it is no constraint.
    pub(crate) fn read(backend: Backend, cursor: &mut Cursor<'_>) -> Option<Self> {
        let begin = cursor.at;
        let name = if cursor.take(&["constraint"]) {
            Some(cursor.name(backend)?)
        } else {
            None
        };
        let text_from = cursor.peek()?.start;
        let kind = kind(backend, cursor);
        let Some(kind) = kind else {
            cursor.at = begin;
            return None;
        };
        let not_valid = cursor.rest().windows(2).any(|pair| {
            pair[0].is_word(cursor.text, "not") && pair[1].is_word(cursor.text, "valid")
        });
        let text_to = cursor.rest().last().map_or(text_from, |token| token.end);
        Some(Self {
            name,
            kind,
            not_valid,
            text: cursor.text[text_from..text_to.max(text_from)].to_owned(),
        })
    }
}

fn kind(backend: Backend, cursor: &mut Cursor<'_>) -> Option<ConstraintKind> {
    let uses_index = |cursor: &mut Cursor<'_>| cursor.take(&["using", "index"]);
    if cursor.take(&["check"]) {
        return Some(ConstraintKind::Check);
    }
    if cursor.take(&["foreign", "key"]) {
        while cursor.peek().is_some() {
            if cursor.take(&["references"]) {
                return cursor.table(backend).map(ConstraintKind::ForeignKey);
            }
            cursor.at += 1;
        }
        return None;
    }
    if cursor.take(&["unique"]) {
        return Some(ConstraintKind::Unique {
            using_index: uses_index(cursor),
        });
    }
    if cursor.take(&["primary", "key"]) {
        return Some(ConstraintKind::PrimaryKey {
            using_index: uses_index(cursor),
        });
    }
    if cursor.take(&["exclude"]) {
        return Some(ConstraintKind::Exclude);
    }
    if cursor.take(&["not", "null"]) {
        return cursor.name(backend).map(ConstraintKind::NotNull);
    }
    None
}
