//! Definitions as they read after a round through `pg_dump`.
//!
//! PostgreSQL prints what it has parsed, and parsing that again may give another text with
//! the same meaning. Known: a cast of an array constant moves onto its elements (every
//! `CHECK (status IN ('a', 'b'))` on a varchar column), and columns of SQL-body functions
//! get an alias. A restore would look like a change. So definitions are compared without
//! casts, without parentheses round a single value, and without those aliases; column
//! types, literals, operators and the bodies of other functions count in full.

use migrate_config::atomic::sha256;
use migrate_core::Fingerprint;
use migrate_schema::catalog::Catalog;
use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::fingerprint;

/// How much of a hash is kept, in hex digits.
const HASH: usize = 32;

/// The whole database's fingerprint with definitions in canonical form: the same before a
/// rollback point was made and after it was restored.
pub async fn database(database: &Database) -> Result<Fingerprint, DbError> {
    Ok(state(database).await?.fingerprint)
}

/// What a database is at one moment: its fingerprint, and the definitions that it stands for.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) catalog: Catalog,
    pub(crate) fingerprint: Fingerprint,
}

/// The state of the whole database.
pub(crate) async fn state(database: &Database) -> Result<State, DbError> {
    state_at(database, None).await
}

/// The same in a snapshot that another session of PostgreSQL exported.
pub(crate) async fn state_at(
    database: &Database,
    snapshot: Option<&str>,
) -> Result<State, DbError> {
    let (catalog, mut fingerprint) = fingerprint::with_catalog_at(database, snapshot).await?;
    if database.backend() == Backend::Postgres {
        fingerprint.0.extend(definitions(&catalog));
    }
    Ok(State {
        catalog,
        fingerprint,
    })
}

/// The state that a session of `psql` printed.
#[cfg(feature = "postgres")]
pub(crate) fn of_printed(printed: fingerprint::printed::Printed) -> State {
    let rows = printed.sums.iter();
    let mut found: Fingerprint = Fingerprint(
        rows.map(|(table, sum)| (format!("rows {table}"), sum.to_string()))
            .collect(),
    );
    found.0.extend([fingerprint::holds_facts()]);
    found.0.extend(definitions(&printed.catalog));
    State {
        catalog: printed.catalog,
        fingerprint: found,
    }
}

fn definitions(catalog: &Catalog) -> impl Iterator<Item = (String, String)> {
    catalog.objects().iter().map(|(name, definition)| {
        let hash = sha256(definition_text(name, definition).as_bytes());
        (fingerprint::entry_of(name), hash[..HASH].to_owned())
    })
}

fn definition_text(name: &str, definition: &str) -> String {
    let is_routine = ["function ", "procedure "]
        .iter()
        .any(|kind| name.starts_with(kind));
    match (is_routine, definition.contains("BEGIN ATOMIC")) {
        // A body in quotes is kept as it was written.
        (true, false) => definition.to_owned(),
        (true, true) => reduce(&tokens(definition), Aliases::Dropped),
        (false, _) => reduce(&tokens(definition), Aliases::Kept),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Aliases {
    Kept,
    Dropped,
}

/// Splits into words, quoted texts, `::` and single characters; spaces are dropped.
fn tokens(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '\'' | '"' => quoted_end(rest, first),
            ':' if rest.starts_with("::") => 2,
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        out.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Where a quoted text ends; a doubled quote belongs to it.
fn quoted_end(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(next) = text[at..].find(quote) {
        at += next + 1;
        if !text[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    text.len()
}

fn reduce(tokens: &[&str], aliases: Aliases) -> String {
    let mut out: Vec<&str> = Vec::with_capacity(tokens.len());
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(&token) = tokens.get(at) {
        at += 1;
        match token {
            "::" => at += type_length(&tokens[at..]),
            "AS" if aliases == Aliases::Dropped => at += 1,
            "(" => {
                open.push(out.len());
                out.push(token);
            }
            ")" => {
                let from = open.pop();
                match from {
                    Some(from) if is_redundant(&out, from) => drop(out.remove(from)),
                    _ => out.push(token),
                }
            }
            _ => out.push(token),
        }
    }
    out.join(" ")
}

/// Whether the parenthesis opened at `from` holds a single value and calls nothing.
fn is_redundant(out: &[&str], from: usize) -> bool {
    let called = from
        .checked_sub(1)
        .is_some_and(|before| out[before].starts_with(is_word) || out[before].starts_with('"'));
    !called && is_single(&out[from + 1..])
}

fn is_single(inside: &[&str]) -> bool {
    match inside {
        [one] => *one != "*",
        ["ARRAY", "[", middle @ .., "]"] => {
            let mut depth = 0_i32;
            middle.iter().all(|token| {
                depth += i32::from(*token == "[") - i32::from(*token == "]");
                depth >= 0
            })
        }
        _ => false,
    }
}

/// How many tokens after `::` name the type.
fn type_length(tokens: &[&str]) -> usize {
    let is = |at: usize, word: &str| tokens.get(at) == Some(&word);
    let mut at = 1;
    while is(at, ".") {
        at += 2;
    }
    match tokens.first().copied() {
        Some("character" | "bit") if is(at, "varying") => at += 1,
        Some("double") if is(at, "precision") => at += 1,
        _ => {}
    }
    at += modifier_length(&tokens[at.min(tokens.len())..]);
    if is(at, "with") || is(at, "without") {
        at += 3;
    }
    while is(at, "[") && is(at + 1, "]") {
        at += 2;
    }
    at
}

/// `(20)` and `(10,2)`: a modifier holds numbers only.
fn modifier_length(tokens: &[&str]) -> usize {
    if tokens.first() != Some(&"(") {
        return 0;
    }
    let number = |token: &&&str| token.chars().all(|c| c.is_ascii_digit() || c == ',');
    let inside = tokens[1..].iter().take_while(number).count();
    if inside > 0 && tokens.get(inside + 1) == Some(&")") {
        inside + 2
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(definition: &str) -> String {
        definition_text("constraint t.c", definition)
    }

    #[test]
    fn what_pg_dump_rewrites_reads_the_same() {
        for (before, after) in [
            (
                "CHECK (((status)::text = ANY ((ARRAY['a'::character varying, 'it''s'::character varying])::text[])))",
                "CHECK (((status)::text = ANY (ARRAY[('a'::character varying)::text, ('it''s'::character varying)::text])))",
            ),
            ("'1'::numeric(10,2)", "'1'"),
            ("(now())::timestamp(3) without time zone", "(now())"),
            ("'x'::\"odd type\".\"t\"[]", "'x'"),
        ] {
            assert_eq!(text(before), text(after));
        }
        let function = |body: &str| {
            definition_text("function public.f()", &format!("BEGIN ATOMIC {body} END"))
        };
        assert_eq!(
            function("SELECT 'a'::text;"),
            function("SELECT 'a'::text AS text;")
        );
    }

    #[test]
    fn what_changes_the_meaning_reads_differently() {
        for (one, other) in [
            ("CHECK ((a + b) * c > 0)", "CHECK (a + (b * c) > 0)"),
            ("CHECK (f(x))", "CHECK (f x)"),
            ("CHECK (x = 'a::b')", "CHECK (x = 'a')"),
            (
                "CHECK (s = ANY (ARRAY['a', 'b']))",
                "CHECK (s = ANY (ARRAY['a', 'c']))",
            ),
            ("character varying(20)", "character varying(30)"),
            ("count(*)", "count(x)"),
        ] {
            assert_ne!(text(one), text(other), "{one}");
        }
        let body = |body: &str| definition_text("function public.f()", body);
        assert_ne!(body("AS $$ select (1)::int $$"), body("AS $$ select 1 $$"));
    }

    #[test]
    fn any_text_is_taken() {
        for odd in [
            "'",
            "\"",
            "::",
            ")",
            "(",
            "comment it's (odd",
            "x::",
            "x::a.",
            "::(",
            "é'é",
        ] {
            let _ = text(odd);
        }
    }
}
