//! Keys of any orderable type, ranges between them, and both as SQL.

use migrate_schema::db::Backend;
use migrate_schema::quote::{ident, literal};
use serde::{Deserialize, Serialize};

use crate::hex::hex;
use crate::layout::qualified_operator;

/// One column's value of a key. In JSON: `5`, `"five"`, `{"real":"5.5"}`, `{"blob":"05"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyPart {
    /// A whole number.
    Integer(i64),
    /// Text; on PostgreSQL every type but whole numbers, as it is written.
    Text(String),
    /// A floating-point number of SQLite, as SQL.
    Real {
        /// The number.
        real: String,
    },
    /// Bytes of SQLite.
    Blob {
        /// In hexadecimal digits.
        blob: String,
    },
}

impl KeyPart {
    fn sql(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Text(text) if text.contains('\0') => {
                let hex = hex(text.as_bytes());
                format!("CAST(x'{hex}' AS TEXT)")
            }
            Self::Text(text) => literal(text),
            Self::Real { real } => real.clone(),
            Self::Blob { blob } => format!("x'{blob}'"),
        }
    }
}

/// A key: a value for each of its columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub Vec<KeyPart>);

impl Key {
    /// As people read it: `id=5` or `region=eu, id=5`.
    pub fn named(&self, columns: &[String]) -> String {
        let value = |part: &KeyPart| match part {
            KeyPart::Integer(number) => number.to_string(),
            KeyPart::Text(text) => text.clone(),
            KeyPart::Real { real } => real.clone(),
            KeyPart::Blob { blob } => format!("x'{blob}'"),
        };
        let pairs = columns.iter().zip(&self.0);
        pairs
            .map(|(column, part)| format!("{column}={}", value(part)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// As the ledger keeps it.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("a key is plain JSON")
    }

    /// From the ledger.
    pub(crate) fn from_json(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| format!("{json:?} is no key: {error}"))
    }
}

/// The keys above `after` (none: from the first) up to `upto`, which is included (none: to the last).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// The bound below, excluded.
    pub after: Option<Key>,
    /// The bound above, included.
    pub upto: Option<Key>,
    /// Keys between them that are not meant: those of rows in quarantine.
    pub except: Vec<Key>,
}

impl KeyRange {
    /// As people read it: `above id=5 up to id=9`.
    pub fn named(&self, columns: &[String]) -> String {
        match (&self.after, &self.upto) {
            (None, None) => "of all keys".to_owned(),
            (Some(after), None) => format!("above {}", after.named(columns)),
            (None, Some(upto)) => format!("up to {}", upto.named(columns)),
            (Some(after), Some(upto)) => {
                format!(
                    "above {} up to {}",
                    after.named(columns),
                    upto.named(columns)
                )
            }
        }
    }
}

/// The columns of a source's key with what SQL needs of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyColumns {
    pub(crate) backend: Backend,
    pub(crate) names: Vec<String>,
    /// The schemas of the operators of their types; empty where they are not known.
    pub(crate) operators: Vec<String>,
}

impl KeyColumns {
    /// `"a", "b"`.
    pub(crate) fn list(&self) -> String {
        self.names
            .iter()
            .map(|name| ident(name))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// `src."a", src."b"`.
    pub(crate) fn list_of(&self, alias: &str) -> String {
        let column = |name: &String| format!("{alias}.{}", ident(name));
        let all: Vec<String> = self.names.iter().map(column).collect();
        all.join(", ")
    }

    /// What a query selects so that [`Self::read`] gets a key back: two columns for each.
    pub(crate) fn selection(&self) -> String {
        let column = |name: &String| {
            let name = ident(name);
            match self.backend {
                // As JSON has it: dates read the same under every DateStyle.
                Backend::Postgres => format!(
                    "pg_catalog.pg_typeof({name})::text, pg_catalog.to_json({name}) #>> '{{}}'::text[]"
                ),
                Backend::Sqlite => format!(
                    "typeof({name}), CASE typeof({name}) WHEN 'blob' THEN hex({name}) WHEN 'real' THEN quote({name}) ELSE {name} END"
                ),
            }
        };
        self.names.iter().map(column).collect::<Vec<_>>().join(", ")
    }

    /// How many columns [`Self::selection`] has.
    pub(crate) fn width(&self) -> usize {
        2 * self.names.len()
    }

    /// A key from the columns of [`Self::selection`].
    pub(crate) fn read(&self, columns: &[Option<String>]) -> Result<Key, String> {
        let part = |pair: &[Option<String>]| {
            let [Some(kind), Some(value)] = pair else {
                return Err("a key holds NULL".to_owned());
            };
            Ok(match kind.as_str() {
                "smallint" | "integer" | "bigint" => KeyPart::Integer(
                    value
                        .parse()
                        .map_err(|_| "a whole number does not parse".to_owned())?,
                ),
                "real" if self.backend == Backend::Sqlite => KeyPart::Real {
                    real: value.clone(),
                },
                "blob" if self.backend == Backend::Sqlite => KeyPart::Blob {
                    blob: value.clone(),
                },
                _ => KeyPart::Text(value.clone()),
            })
        };
        Ok(Key(columns[..self.width()]
            .chunks(2)
            .map(part)
            .collect::<Result<_, String>>()?))
    }

    fn values(&self, key: &Key) -> String {
        let value = |part: &KeyPart| match (self.backend, part) {
            // A quoted number takes the column's own type, so that the index serves whatever its width.
            (Backend::Postgres, KeyPart::Integer(number)) => format!("'{number}'"),
            _ => part.sql(),
        };
        key.0.iter().map(value).collect::<Vec<_>>().join(", ")
    }

    /// `"a" > 5`, `("a", "b") <= (5, 'x')`.
    pub(crate) fn compare(&self, operator: &str, key: &Key) -> String {
        let values = self.values(key);
        let operator = self.operator(operator);
        if self.names.len() == 1 {
            format!("{} {operator} {values}", self.list())
        } else {
            format!("({}) {operator} ({values})", self.list())
        }
    }

    /// An operator between two keys.
    fn operator(&self, operator: &str) -> String {
        let first = self.operators.first();
        let same = self.operators.iter().all(|schema| Some(schema) == first);
        qualified_operator(first.filter(|_| same).map(String::as_str), operator)
    }

    /// The condition for a range's rows.
    pub(crate) fn within(&self, range: &KeyRange) -> String {
        let above = range.after.as_ref().map(|key| self.compare(">", key));
        let upto = range.upto.as_ref().map(|key| self.compare("<=", key));
        let except = self.is_none_of(&range.except);
        let all: Vec<String> = [above, upto, except].into_iter().flatten().collect();
        if all.is_empty() {
            return "true".to_owned();
        }
        all.join(" AND ")
    }

    /// `"a" NOT IN (5, 7)`, `("a", "b") NOT IN (VALUES (5, 'x'))`.
    fn is_none_of(&self, keys: &[Key]) -> Option<String> {
        if keys.is_empty() {
            return None;
        }
        let list = self.list();
        if !self.operators.is_empty() {
            let others = keys.iter().map(|key| self.compare("<>", key));
            return Some(others.collect::<Vec<_>>().join(" AND "));
        }
        if self.names.len() == 1 {
            let values: Vec<String> = keys.iter().map(|key| self.values(key)).collect();
            return Some(format!("{list} NOT IN ({})", values.join(", ")));
        }
        let rows: Vec<String> = keys
            .iter()
            .map(|key| format!("({})", self.values(key)))
            .collect();
        let values = match self.backend {
            // In a list, values take the types of the columns.
            Backend::Postgres => "",
            Backend::Sqlite => "VALUES ",
        };
        Some(format!("({list}) NOT IN ({values}{})", rows.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[KeyPart]) -> Key {
        Key(parts.to_vec())
    }

    #[test]
    fn keys_keep_their_types_in_the_ledger() {
        let all = key(&[
            KeyPart::Integer(-5),
            KeyPart::Text("-5".into()),
            KeyPart::Real { real: "1.5".into() },
            KeyPart::Blob {
                blob: "00FF".into(),
            },
        ]);
        assert_eq!(all.json(), r#"[-5,"-5",{"real":"1.5"},{"blob":"00FF"}]"#);
        assert_eq!(Key::from_json(&all.json()).unwrap(), all);
        assert!(Key::from_json("{").is_err());
    }

    #[test]
    fn ranges_become_conditions_that_an_index_serves() {
        let one = KeyColumns {
            backend: Backend::Postgres,
            names: vec!["id".into()],
            operators: Vec::new(),
        };
        let range = KeyRange {
            after: Some(key(&[KeyPart::Integer(-7)])),
            upto: Some(key(&[KeyPart::Integer(9)])),
            except: Vec::new(),
        };
        assert_eq!(one.within(&range), r#""id" > '-7' AND "id" <= '9'"#);
        let but = KeyRange {
            except: vec![key(&[KeyPart::Integer(1)]), key(&[KeyPart::Integer(2)])],
            ..KeyRange::default()
        };
        assert_eq!(one.within(&but), r#""id" NOT IN ('1', '2')"#);
        let qualified = KeyColumns {
            operators: vec!["pg_catalog".into()],
            ..one.clone()
        };
        assert_eq!(
            qualified.within(&KeyRange {
                upto: range.upto.clone(),
                ..but.clone()
            }),
            r#""id" OPERATOR("pg_catalog".<=) '9' AND "id" OPERATOR("pg_catalog".<>) '1' AND "id" OPERATOR("pg_catalog".<>) '2'"#
        );
        let two = KeyColumns {
            backend: Backend::Sqlite,
            names: vec!["a".into(), "b".into()],
            operators: Vec::new(),
        };
        let upto = key(&[KeyPart::Text("o'x".into()), KeyPart::Integer(1)]);
        assert_eq!(
            two.within(&KeyRange {
                upto: Some(upto.clone()),
                except: vec![upto],
                ..KeyRange::default()
            }),
            r#"("a", "b") <= ('o''x', 1) AND ("a", "b") NOT IN (VALUES ('o''x', 1))"#
        );
        let all = KeyRange::default();
        assert_eq!(two.within(&all), "true");
        assert_eq!(range.named(&one.names), "above id=-7 up to id=9");
    }
}
