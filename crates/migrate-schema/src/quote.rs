//! Names and values in SQL: the one place that quotes.

use std::fmt;
use std::str::FromStr;

/// A name as SQL, always in double quotes. Right for both databases.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as an SQL string. Right for both databases as long as PostgreSQL's
/// `standard_conforming_strings` is on, which it has been by default since 9.1.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A table's name, with its schema if one was given. Shown plainly, quoted by [`TableName::sql`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    schema: Option<String>,
    table: String,
}

impl TableName {
    /// A table in a schema.
    pub fn new(schema: Option<&str>, table: &str) -> Self {
        Self {
            schema: schema.map(str::to_owned),
            table: table.to_owned(),
        }
    }

    /// The schema, if one was given; without one the search path decides (`main` on SQLite).
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The name without the schema.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The name as SQL, each part quoted.
    pub fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", ident(schema), ident(&self.table)),
            None => ident(&self.table),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", part(schema))?;
        }
        f.write_str(&part(&self.table))
    }
}

/// A part is shown in quotes only where it would not be read back as it is.
fn part(name: &str) -> String {
    if name.is_empty() || name.contains(['.', '"']) || name.trim() != name {
        ident(name)
    } else {
        name.to_owned()
    }
}

impl FromStr for TableName {
    type Err = String;

    /// Reads `table` or `schema.table`; a part in double quotes may hold anything. Case is kept.
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} is not a table's name: use TABLE or SCHEMA.TABLE");
        let mut parts = Vec::new();
        let mut rest = text.trim();
        loop {
            let (name, after) = next_part(rest).ok_or_else(refuse)?;
            parts.push(name);
            match after.strip_prefix('.') {
                Some(more) => rest = more,
                None if after.is_empty() => break,
                None => return Err(refuse()),
            }
        }
        match parts.as_slice() {
            [table] => Ok(Self::new(None, table)),
            [schema, table] => Ok(Self::new(Some(schema), table)),
            _ => Err(refuse()),
        }
    }
}

/// The first part of a dotted name and what follows it.
fn next_part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let name = &text[..end];
        let fits = !name.is_empty() && !name.contains(['"', '\0', ';']);
        return fits.then(|| (name.to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return (!name.is_empty() && !name.contains('\0')).then_some((name, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_shown_and_quoted() {
        for (text, shown, sql) in [
            ("t", "t", "\"t\""),
            (" s.t ", "s.t", "\"s\".\"t\""),
            ("\"a.b\".T", "\"a.b\".T", "\"a.b\".\"T\""),
            ("\"q\"\"q\"", "\"q\"\"q\"", "\"q\"\"q\""),
            ("weird name", "weird name", "\"weird name\""),
        ] {
            let name: TableName = text.parse().unwrap();
            assert_eq!(name.to_string(), shown);
            assert_eq!(name.sql(), sql);
            assert_eq!(shown.parse::<TableName>().unwrap(), name);
        }
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a.b.c",
            "\"a",
            "\"\"",
            "a\"b",
            "x; drop table y",
        ] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(ident("a\"; drop"), "\"a\"\"; drop\"");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
