//! The forms in which values cross between databases and this process. Pure.
//!
//! Into a table of the session's own, numbers, booleans, bytes and text cross as themselves; every
//! other type crosses as text and is cast by the server, so that no type is left out. Straight into
//! a table, every column must be in its own form.

/// How a column crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Bytes,
    Text,
    /// Text that a type other than a text type is written as.
    Cast,
    /// A moment, which is text at UTC.
    Moment,
    /// A moment as PostgreSQL counts it.
    Instant,
    /// Likewise, where a text that names no zone is at UTC.
    InstantUtc,
    /// Date and time without a zone, likewise.
    Local,
    Day,
    Uuid,
    Json,
    Jsonb,
    /// A type of PostgreSQL's own that nobody opens on the way from one server to another.
    Sealed(&'static str),
}

impl Wire {
    /// How a type crosses into a table of the session's own.
    pub(crate) fn of(type_name: &str) -> Self {
        match base(type_name).as_str() {
            "boolean" => Self::Bool,
            "smallint" => Self::Int2,
            "integer" => Self::Int4,
            "bigint" => Self::Int8,
            "real" => Self::Float4,
            "double precision" => Self::Float8,
            "bytea" => Self::Bytes,
            "text" | "character varying" => Self::Text,
            "timestamp with time zone" => Self::Moment,
            _ => Self::Cast,
        }
    }

    /// How a type of the source comes to be opened.
    pub(crate) fn opened(type_name: &str) -> Self {
        match base(type_name).as_str() {
            "timestamp with time zone" => Self::Instant,
            "timestamp without time zone" => Self::Local,
            _ => Self::of(type_name),
        }
    }

    /// The own form of a type, of what was opened.
    pub(crate) fn exact(type_name: &str) -> Option<Self> {
        match base(type_name).as_str() {
            "timestamp with time zone" => Some(Self::Instant),
            "timestamp without time zone" => Some(Self::Local),
            "date" => Some(Self::Day),
            "uuid" => Some(Self::Uuid),
            "json" => Some(Self::Json),
            "jsonb" => Some(Self::Jsonb),
            _ => Some(Self::of(type_name)).filter(|wire| *wire != Self::Cast),
        }
    }

    /// The own form of a type that crosses unopened: its base is what the source gives, and the
    /// target applies its own limits to it.
    pub(crate) fn sealed(type_name: &str) -> Option<Self> {
        const SEALED: [&str; 8] = [
            "numeric",
            "interval",
            "inet",
            "cidr",
            "macaddr",
            "xml",
            "character",
            "bit varying",
        ];
        let base = base(type_name);
        let sealed = SEALED.into_iter().find(|name| *name == base);
        Self::exact(type_name).or(sealed.map(|name| match name {
            // Without a length it would be one character.
            "character" => Self::Sealed("bpchar"),
            name => Self::Sealed(name),
        }))
    }

    /// The type that holds it on the way.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Bytes => "bytea",
            Self::Text | Self::Cast | Self::Moment => "text",
            Self::Instant | Self::InstantUtc => "timestamp with time zone",
            Self::Local => "timestamp without time zone",
            Self::Day => "date",
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Sealed(name) => name,
        }
    }
}

/// A type's name without what limits it: `timestamp(3) with time zone`, `numeric(10,2)`.
fn base(type_name: &str) -> String {
    match (type_name.split_once('('), type_name.split_once(')')) {
        (Some((front, _)), Some((_, rest))) => format!("{front}{rest}"),
        _ => type_name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_whatever_limits_them() {
        for (kind, staged, exact, sealed) in [
            ("integer", Wire::Int4, Some(Wire::Int4), Some(Wire::Int4)),
            (
                "character varying(20)",
                Wire::Text,
                Some(Wire::Text),
                Some(Wire::Text),
            ),
            (
                "timestamp(3) with time zone",
                Wire::Moment,
                Some(Wire::Instant),
                Some(Wire::Instant),
            ),
            (
                "timestamp without time zone",
                Wire::Cast,
                Some(Wire::Local),
                Some(Wire::Local),
            ),
            (
                "numeric(10,2)",
                Wire::Cast,
                None,
                Some(Wire::Sealed("numeric")),
            ),
            (
                "character(3)",
                Wire::Cast,
                None,
                Some(Wire::Sealed("bpchar")),
            ),
            ("integer[]", Wire::Cast, None, None),
            ("mood", Wire::Cast, None, None),
        ] {
            assert_eq!(Wire::of(kind), staged, "{kind}");
            assert_eq!(Wire::exact(kind), exact, "{kind}");
            assert_eq!(Wire::sealed(kind), sealed, "{kind}");
        }
    }
}
