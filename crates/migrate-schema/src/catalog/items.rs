//! The parts of a table's definition, for SQLite, which keeps it as one text.

use crate::db::Backend;
use crate::script::token::{Kind, Token, significant};

/// The columns and constraints of a `CREATE TABLE` of SQLite by name (`column id`, `constraint c`; a
/// constraint without a name by its text), each with its definition, and at the end what follows
/// the list. Empty for what is no such statement.
pub fn table_items(create: &str) -> Vec<(String, String)> {
    let tokens = significant(Backend::Sqlite, create);
    let Some(open) = tokens.iter().position(|token| token.kind == Kind::Open) else {
        return Vec::new();
    };
    let (mut depth, mut found, mut item) = (0_usize, Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth -= 1,
            _ => {}
        }
        let ends = depth == 0 || depth == 1 && token.text(create) == ",";
        if ends {
            found.extend(named(create, &item));
            item.clear();
        } else if at > open {
            item.push(*token);
        }
        if depth == 0 {
            let rest = between(create, &tokens[at + 1..]);
            if !rest.is_empty() {
                found.push(("options".to_owned(), rest));
            }
            break;
        }
    }
    found
}

fn named(create: &str, item: &[Token]) -> Option<(String, String)> {
    let first = item.first()?;
    let is = |words: &[&str]| words.iter().any(|word| first.is_word(create, word));
    if is(&["primary", "unique", "check", "foreign"]) {
        return Some((between(create, item), String::new()));
    }
    let (kind, rest) = if is(&["constraint"]) {
        ("constraint", &item[1..])
    } else {
        ("column", item)
    };
    let (name, rest) = rest.split_first()?;
    let name = name.text(create).trim_matches(['"', '`', '[', ']', '\'']);
    Some((format!("{kind} {name}"), between(create, rest)))
}

/// The tokens with one space where they were apart.
fn between(text: &str, tokens: &[Token]) -> String {
    let mut out = String::new();
    let mut end = None;
    for token in tokens {
        if end.is_some_and(|end| end < token.start) {
            out.push(' ');
        }
        out.push_str(token.text(text));
        end = Some(token.end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::table_items;

    #[test]
    fn columns_and_constraints_are_told_apart() {
        let create = "CREATE TABLE \"t\" (id INTEGER PRIMARY KEY, -- the key, (of it)\n \"a, b\" text \
            DEFAULT (lower('X, y')), c numeric(10, 2),\n CONSTRAINT positive CHECK (c > 0), \
            UNIQUE (\"a, b\", c), surprise integer) STRICT";
        let items = table_items(create);
        let expected = [
            ("column id", "INTEGER PRIMARY KEY"),
            ("column a, b", "text DEFAULT (lower('X, y'))"),
            ("column c", "numeric(10, 2)"),
            ("constraint positive", "CHECK (c > 0)"),
            ("UNIQUE (\"a, b\", c)", ""),
            ("column surprise", "integer"),
            ("options", "STRICT"),
        ];
        let found: Vec<(&str, &str)> = items
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_table_has_none() {
        for text in [
            "",
            "CREATE VIEW v AS SELECT 1",
            "CREATE TABLE t AS SELECT 1",
            "CREATE TABLE t (",
        ] {
            assert_eq!(table_items(text), [], "{text}");
        }
    }
}
