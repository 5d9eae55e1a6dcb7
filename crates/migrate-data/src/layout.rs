//! What a copy reads and writes, as its receipt keeps it.

use migrate_schema::db::Backend;
use migrate_schema::quote::{TableName, ident};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::keyset::KeyColumns;
use crate::sequences::Sequence;
use crate::wire::Wire;

/// A column of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetColumn {
    pub(crate) name: String,
    pub(crate) type_name: String,
    /// The database computes it, so nobody can write it.
    pub(crate) computed: bool,
    /// The schema of its type's operators on PostgreSQL; a receipt of an older build has none.
    #[serde(default)]
    pub(crate) operators: Option<String>,
}

/// Whose images are kept for undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Images {
    /// Of the rows that were there; new ones are computed again.
    Existing,
    /// Of every row, because the transform does not give the same twice.
    All,
}

/// Who says what becomes of a statement that breaks a constraint of a table of SQLite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnBreach {
    /// The table: it has no clause of its own, so that the statement fails.
    #[default]
    Table,
    /// The statement, since a constraint of the table would replace or leave out rows in silence.
    Statement,
}

impl OnBreach {
    /// What stands after `INSERT` or `UPDATE`. It also goes before the clauses of triggers, so
    /// that it stands only where it is needed.
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Table => "",
            Self::Statement => " OR ABORT",
        }
    }
}

/// Everything about a copy that must stay the same from its preparation to its undo.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts about two tables, not choices"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// The ledger's table, without schema or prefix.
    pub(crate) ledger: String,
    /// The images' table, likewise.
    pub(crate) before: String,
    pub(crate) source: String,
    pub(crate) target: String,
    /// The source's key that batches follow.
    pub(crate) key: Vec<String>,
    /// The schemas of the operators of the key's types, as far as they are known.
    #[serde(default)]
    pub(crate) key_operators: Vec<String>,
    /// What the transform produces, in its order.
    pub(crate) outputs: Vec<String>,
    /// The target's key that decides what a row's own earlier self is.
    pub(crate) conflict: Vec<String>,
    /// All columns of the target.
    pub(crate) columns: Vec<TargetColumn>,
    /// Rows of the source, as far as that was known.
    pub(crate) rows: u64,
    /// Bytes of a row of the source, on average and with its share of the indexes.
    pub(crate) row_bytes: u64,
    /// The source has no key: ranges follow the places of rows (`ctid`, `rowid`).
    pub(crate) by_place: bool,
    /// The source's key is one whole number.
    pub(crate) whole_key: bool,
    /// The source is a table whose pages can be sampled.
    pub(crate) sampled: bool,
    /// The target's key has the names and types of the source's.
    pub(crate) same_key: bool,
    /// The target has triggers of the user's.
    pub(crate) triggers: bool,
    /// The target is a table of PostgreSQL without rules or row security, whose rows can be copied in.
    #[serde(default)]
    pub(crate) plain: bool,
    /// Whether the target's constraints say `ON CONFLICT` themselves.
    #[serde(default)]
    pub(crate) on_breach: OnBreach,
    /// Whether sums of row hashes are kept in the ledger.
    pub(crate) sums: bool,
    /// Rows of the target before the copy, where they were counted.
    pub(crate) target_rows: Option<u64>,
    /// Nothing was in the target: images are needed only where a key turns up nevertheless.
    pub(crate) target_was_empty: bool,
    pub(crate) images: Images,
    /// A transaction before those of the copy, where PostgreSQL tells which of them wrote a row.
    #[serde(default)]
    pub(crate) since: Option<String>,
    /// Whose copy it is.
    #[serde(default)]
    pub(crate) run: String,
    #[serde(default)]
    pub(crate) step: String,
    /// How many rows may be kept aside; none where a row that can't be moved fails the copy.
    #[serde(default)]
    pub(crate) reject_budget: Option<u64>,
    /// The sequences of the target as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sequences: Vec<Sequence>,
}

impl Layout {
    /// The table of the indexes that are put aside, without schema or prefix.
    pub(crate) fn put_aside(&self) -> String {
        self.ledger.replacen("ledger_", "indexes_", 1)
    }

    pub(crate) fn source_sql(&self) -> String {
        table_sql(&self.source)
    }

    pub(crate) fn target_sql(&self) -> String {
        table_sql(&self.target)
    }

    pub(crate) fn keys(&self, backend: Backend) -> KeyColumns {
        KeyColumns {
            backend,
            names: self.key.clone(),
            operators: self.key_operators.clone(),
        }
    }

    /// Whether every column reads the same whatever the session's settings are.
    pub(crate) fn steady(&self) -> bool {
        self.columns
            .iter()
            .all(|column| is_steady(&column.type_name))
    }

    /// How the produced columns cross into the target.
    pub(crate) fn wires(&self, target: Backend) -> Vec<(String, Wire)> {
        let wire = |name: &String| {
            let kind = self.type_of(name);
            let wire = match target {
                Backend::Postgres => Wire::of(kind),
                Backend::Sqlite => affine(kind),
            };
            (name.clone(), wire)
        };
        self.outputs.iter().map(wire).collect()
    }

    /// How they cross straight into the target, column by column in its own form; none where a
    /// column has no such form, or something else would become of the rows than of inserted ones.
    pub(crate) fn straight(
        &self,
        own: impl Fn(&str) -> Option<Wire>,
    ) -> Option<Vec<(String, Wire)>> {
        // The sums of what was written are those of the keys' range afterwards.
        let known = !self.sums || self.same_key;
        if !self.plain || !self.target_was_empty || self.images != Images::Existing || !known {
            return None;
        }
        let wire = |name: &String| Some((name.clone(), own(self.type_of(name))?));
        self.outputs.iter().map(wire).collect()
    }

    /// An operator between two values of a column of the target.
    pub(crate) fn operator(&self, column: &str, operator: &str) -> String {
        let found = self.columns.iter().find(|c| c.name == column);
        qualified_operator(found.and_then(|c| c.operators.as_deref()), operator)
    }

    /// An operator between two rows of the target's key.
    pub(crate) fn key_operator(&self, operator: &str) -> String {
        let schema = |name: &String| {
            let found = self.columns.iter().find(|c| c.name == *name);
            found.and_then(|c| c.operators.as_deref())
        };
        let mut schemas = self.conflict.iter().map(schema);
        let first = schemas.next().flatten();
        let same = schemas.all(|schema| schema == first);
        qualified_operator(first.filter(|_| same), operator)
    }

    /// The type of a column of the target.
    pub(crate) fn type_of(&self, column: &str) -> &str {
        let found = self.columns.iter().find(|c| c.name == column);
        found.map_or("text", |column| column.type_name.as_str())
    }
}

/// What a column of SQLite prefers to hold: <https://sqlite.org/datatype3.html>, 3.1.
fn affine(type_name: &str) -> Wire {
    let kind = type_name.to_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| kind.contains(part));
    if has(&["INT"]) {
        Wire::Int8
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        Wire::Text
    } else if has(&["BLOB"]) {
        Wire::Bytes
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        Wire::Float8
    } else if has(&["BOOL"]) {
        // SQLite has none: 0 and 1, which the text `true` would not become.
        Wire::Bool
    } else {
        Wire::Text
    }
}

/// An operator of a schema, which no other of the search path stands in for.
pub(crate) fn qualified_operator(schema: Option<&str>, operator: &str) -> String {
    schema.map_or_else(
        || operator.to_owned(),
        |schema| format!("OPERATOR({}.{operator})", ident(schema)),
    )
}

/// Types whose values compare as equal only when nothing about them differs.
pub(crate) fn plainly_equal(type_name: &str) -> bool {
    const PLAIN: &[&str] = &[
        "smallint",
        "integer",
        "bigint",
        "boolean",
        "uuid",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "text",
        "bytea",
    ];
    PLAIN.contains(&type_name) || type_name.starts_with("character varying")
}

/// Types that are compared as they are, or whose text is the same under all settings.
fn is_steady(type_name: &str) -> bool {
    const STEADY: &[&str] = &["json", "jsonb", "inet", "cidr", "macaddr", "xml"];
    plainly_equal(type_name)
        || STEADY.contains(&type_name)
        || type_name.starts_with("numeric")
        || type_name.starts_with("character(")
}

fn table_sql(name: &str) -> String {
    name.parse::<TableName>()
        .map_or_else(|_| ident(name), |table| table.sql())
}

/// The names of a step's ledger and images: short enough for PostgreSQL's 63 bytes, and never
/// those of another step.
pub(crate) fn own_names(run: &str, step: &str) -> (String, String) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let whole = format!("{run}_{step}");
    let suffix = if whole.len() <= 48 && whole.chars().all(plain) {
        whole
    } else {
        let kept: String = whole
            .chars()
            .map(|c| if plain(c) { c } else { '_' })
            .take(39)
            .collect();
        let digest = Sha256::digest(whole.as_bytes());
        format!("{kept}_{}", crate::hex::hex(&digest[..4]))
    };
    (format!("ledger_{suffix}"), format!("before_{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::own_names;

    #[test]
    fn names_are_plain_short_and_their_own() {
        let (ledger, before) = own_names("202401010000000abc", "move_pipelines");
        assert_eq!(ledger, "ledger_202401010000000abc_move_pipelines");
        assert_eq!(before, "before_202401010000000abc_move_pipelines");
        let names = [
            "move.pipelines",
            "move-pipelines",
            "Move_pipelines",
            &"x".repeat(64),
            &"x".repeat(63),
        ]
        .map(|step| own_names("202401010000000abc", step).0);
        for (at, name) in names.iter().enumerate() {
            assert!(
                name.len() <= 63
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert!(!names[..at].contains(name), "{name}");
        }
    }
}
