//! Types of columns, and what a change of type means for the rows that are there.

use std::fmt;

use crate::db::Backend;
use crate::script::Cursor;
use crate::script::token::Kind;

/// A column's type by its usual name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SqlType {
    /// In small letters; empty where there is none (SQLite).
    pub(crate) name: String,
    /// Length, or precision and scale.
    pub(crate) numbers: Vec<u32>,
    pub(crate) array: bool,
}

/// What changing a column's type does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypeChange {
    /// The catalog only.
    CatalogOnly,
    /// Every row is written again; all values fit.
    Rewrites,
    /// Values may not fit, or lose something.
    Narrows,
    /// The old type is not known.
    Unknown,
}

const ENDS_TYPE: &[&str] = &[
    "not",
    "null",
    "default",
    "primary",
    "unique",
    "references",
    "check",
    "generated",
    "constraint",
    "collate",
    "as",
    "using",
    "storage",
    "compression",
    "autoincrement",
    "on",
    "deferrable",
    "initially",
];

impl SqlType {
    /// Reads a type as a catalog writes it.
    pub(crate) fn parse(text: &str) -> Self {
        Self::read(&mut Cursor::new(Backend::Postgres, text))
    }

    /// Reads up to what can't belong to a type.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Self {
        let mut words: Vec<String> = Vec::new();
        let mut numbers = Vec::new();
        let mut array = false;
        let mut depth = 0_usize;
        while let Some(token) = cursor.peek() {
            let text = token.text(cursor.text);
            match token.kind {
                Kind::Word if depth == 0 => {
                    if ENDS_TYPE
                        .iter()
                        .any(|word| token.is_word(cursor.text, word))
                    {
                        break;
                    }
                    if text.eq_ignore_ascii_case("array") {
                        array = true;
                    } else {
                        words.push(text.to_lowercase());
                    }
                }
                Kind::QuotedName => words.push(text.trim_matches('"').to_owned()),
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.saturating_sub(1),
                Kind::Number if depth > 0 => numbers.extend(text.parse::<u32>().ok()),
                Kind::Sign if text == "[" => array = true,
                Kind::Sign if depth == 0 && text == "," => break,
                _ => {}
            }
            cursor.at += 1;
        }
        Self {
            name: usual(&words.join(" ")),
            numbers,
            array,
        }
    }

    /// What a change from this type does.
    pub(crate) fn changed_to(&self, new: &Self) -> TypeChange {
        if self.name.is_empty() {
            return TypeChange::Unknown;
        }
        if self.array || new.array {
            return if self == new {
                TypeChange::CatalogOnly
            } else {
                TypeChange::Rewrites
            };
        }
        match (self.name.as_str(), new.name.as_str()) {
            ("varchar" | "text", "text") | ("cidr", "inet") => TypeChange::CatalogOnly,
            ("text", "varchar") if new.numbers.is_empty() => TypeChange::CatalogOnly,
            ("varchar", "varchar") | ("varbit", "varbit") => longer(&self.numbers, &new.numbers),
            ("char", "char") => match longer(&self.numbers, &new.numbers) {
                // Each value is padded to the length.
                TypeChange::CatalogOnly if self.numbers != new.numbers => TypeChange::Rewrites,
                other => other,
            },
            ("numeric", "numeric") => numeric(&self.numbers, &new.numbers),
            ("timestamp" | "timestamptz" | "time" | "timetz" | "interval", same)
                if same == self.name =>
            {
                longer(&self.numbers, &new.numbers)
            }
            (old, new_name) if old == new_name => TypeChange::CatalogOnly,
            ("char", "varchar") if !new.numbers.is_empty() => {
                match longer(&self.numbers, &new.numbers) {
                    TypeChange::CatalogOnly => TypeChange::Rewrites,
                    other => other,
                }
            }
            (old, new_name) => other_type(old, new_name, !new.numbers.is_empty()),
        }
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.numbers.is_empty() {
            let numbers: Vec<String> = self.numbers.iter().map(u32::to_string).collect();
            write!(f, "({})", numbers.join(","))?;
        }
        if self.array {
            f.write_str("[]")?;
        }
        Ok(())
    }
}

fn usual(name: &str) -> String {
    match name {
        "int" | "int4" => "integer",
        "int8" => "bigint",
        "int2" => "smallint",
        "character varying" => "varchar",
        "character" | "bpchar" => "char",
        "decimal" => "numeric",
        "bool" => "boolean",
        "float8" | "float" | "double" => "double precision",
        "float4" => "real",
        "bit varying" => "varbit",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        "time with time zone" => "timetz",
        "time without time zone" => "time",
        "serial" | "serial4" => "serial",
        "bigserial" | "serial8" => "bigserial",
        "smallserial" | "serial2" => "smallserial",
        other => other,
    }
    .to_owned()
}

/// A length or precision; none is the longest.
fn longer(old: &[u32], new: &[u32]) -> TypeChange {
    match (old.first(), new.first()) {
        (_, None) => TypeChange::CatalogOnly,
        (Some(old), Some(new)) if new >= old => TypeChange::CatalogOnly,
        _ => TypeChange::Narrows,
    }
}

/// More digits are free; another scale writes each value again.
fn numeric(old: &[u32], new: &[u32]) -> TypeChange {
    let scale = |numbers: &[u32]| numbers.get(1).copied().unwrap_or_default();
    match (old.first(), new.first()) {
        (_, None) => TypeChange::CatalogOnly,
        (None, Some(_)) => TypeChange::Narrows,
        (Some(before), Some(after)) => {
            let (scale_before, scale_after) = (scale(old), scale(new));
            let whole = |digits: &u32, scale: u32| i64::from(*digits) - i64::from(scale);
            if scale_after < scale_before || whole(after, scale_after) < whole(before, scale_before)
            {
                TypeChange::Narrows
            } else if scale_after == scale_before {
                TypeChange::CatalogOnly
            } else {
                TypeChange::Rewrites
            }
        }
    }
}

fn other_type(old: &str, new: &str, new_has_length: bool) -> TypeChange {
    let rank = |name: &str| match name {
        "smallint" | "smallserial" => Some(1),
        "integer" | "serial" => Some(2),
        "bigint" | "bigserial" => Some(3),
        "numeric" => Some(4),
        _ => None,
    };
    if let (Some(before), Some(after)) = (rank(old), rank(new)) {
        return if after > before && !(new == "numeric" && new_has_length) {
            TypeChange::Rewrites
        } else if after == before {
            TypeChange::CatalogOnly
        } else {
            TypeChange::Narrows
        };
    }
    let fits = fits(old, new) && (!new_has_length || new == "timestamptz");
    if fits || !narrows(old) {
        TypeChange::Rewrites
    } else {
        TypeChange::Narrows
    }
}

/// Whether every value of one type has its like in another.
fn fits(old: &str, new: &str) -> bool {
    match new {
        "text" => true,
        "citext" => matches!(old, "text" | "varchar"),
        "varchar" => matches!(
            old,
            "char" | "uuid" | "boolean" | "integer" | "bigint" | "smallint"
        ),
        "double precision" => matches!(old, "real" | "smallint" | "integer"),
        "timestamp" => matches!(old, "date" | "timestamptz"),
        "timestamptz" => matches!(old, "date" | "timestamp"),
        "jsonb" => old == "json",
        "json" => old == "jsonb",
        _ => false,
    }
}

/// Types whose values have no like in most others.
fn narrows(old: &str) -> bool {
    matches!(
        old,
        "text"
            | "varchar"
            | "char"
            | "double precision"
            | "real"
            | "numeric"
            | "timestamp"
            | "timestamptz"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_type_is_judged() {
        use TypeChange::{CatalogOnly, Narrows, Rewrites, Unknown};
        for (old, new, expected) in [
            ("varchar(50)", "character varying(80)", CatalogOnly),
            ("character varying(80)", "varchar(50)", Narrows),
            ("varchar(50)", "text", CatalogOnly),
            ("text", "varchar", CatalogOnly),
            ("text", "varchar(10)", Narrows),
            ("char(3)", "char(5)", Rewrites),
            ("int", "int8", Rewrites),
            ("bigint", "integer", Narrows),
            ("integer", "serial", CatalogOnly),
            ("numeric(10,2)", "numeric(12,2)", CatalogOnly),
            ("numeric(10,2)", "numeric(12,4)", Rewrites),
            ("numeric(10,2)", "numeric(10,4)", Narrows),
            ("numeric(10,2)", "numeric", CatalogOnly),
            ("timestamp with time zone", "date", Narrows),
            ("timestamp", "timestamptz", Rewrites),
            ("timestamp(3)", "timestamp(0)", Narrows),
            (
                "timestamp(3) without time zone",
                "timestamp(6)",
                CatalogOnly,
            ),
            ("json", "jsonb", Rewrites),
            ("text", "integer", Narrows),
            ("integer", "text", Rewrites),
            ("mood", "other_mood", Rewrites),
            ("text[]", "varchar[]", Rewrites),
            ("", "text", Unknown),
        ] {
            let found = SqlType::parse(old).changed_to(&SqlType::parse(new));
            assert_eq!(found, expected, "{old} -> {new}");
        }
    }
}
