//! Reading a plain `.sql` backup before it is given to `psql`.
//!
//! `psql` would obey what stands in it: a `COMMIT` in the middle would keep half of it, a
//! `\!` would run a program. So the whole text is looked through first, as `psql` reads it:
//! quotes, dollar quotes, comments and the rows after `COPY ... FROM stdin` hold no commands.

use std::io::{self, BufRead, BufReader};
use std::path::Path;

use migrate_config::atomic::open_regular;
use migrate_core::StepError;

/// What is known of a text that may be restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// It makes our own schema: it is a copy of everything in the database.
    pub(crate) has_our_schema: bool,
}

/// Looks through the whole file.
///
/// # Errors
/// It is not whole, or holds something that can't run in one transaction: line and reason.
pub(crate) fn look(path: &Path) -> Result<Facts, StepError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = open_regular(path).and_then(|file| Scan::default().lines(BufReader::new(file)));
    match file {
        Err(error) => Err(StepError::caused(format!("{name} can't be read"), &error)),
        Ok(Err((line, what))) => Err(StepError::failed(format!(
            "{name}, line {line}: {what}; nothing was restored"
        ))
        .hint("make plain backups with `pg_dump URL > FILE`, without --create and --clean")),
        Ok(Ok(facts)) => Ok(facts),
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    /// `'...'`; whether a backslash escapes.
    Text(bool),
    Name,
    Dollar(Vec<u8>),
    Comment(usize),
    /// Rows after COPY.
    Rows,
}

#[derive(Debug, Default)]
struct Scan {
    inside: Inside,
    /// The statement so far, without quoted parts, shortened.
    statement: Vec<u8>,
    by_pg_dump: bool,
    complete: bool,
    facts: Facts,
}

/// More of a statement is never needed to know it.
const ENOUGH: usize = 64 * 1024;

type Found = Result<Facts, (usize, String)>;

impl Scan {
    fn lines(mut self, mut from: impl BufRead) -> io::Result<Found> {
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            if from.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            number += 1;
            if let Err(what) = self.line(&line) {
                return Ok(Err((number, what)));
            }
        }
        if self.inside != Inside::Nothing || (self.by_pg_dump && !self.complete) {
            let what = "the file ends in the middle: it was cut off".to_owned();
            return Ok(Err((number, what)));
        }
        Ok(Ok(self.facts))
    }

    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if self.inside == Inside::Rows {
            if line.trim_ascii_end() == b"\\." {
                self.inside = Inside::Nothing;
            }
            return Ok(());
        }
        if self.inside == Inside::Nothing {
            self.by_pg_dump |= line.starts_with(b"-- PostgreSQL database dump");
            self.complete |= line.starts_with(b"-- PostgreSQL database dump complete");
            let harmless: [&[u8]; 2] = [b"\\restrict ", b"\\unrestrict "];
            if harmless.iter().any(|start| line.starts_with(start)) {
                return Ok(());
            }
        }
        let mut at = 0;
        while at < line.len() {
            at += self.step(&line[at..], &line[..at])?;
        }
        Ok(())
    }

    /// Reads on from a place in a line; how many bytes were taken.
    fn step(&mut self, rest: &[u8], before: &[u8]) -> Result<usize, String> {
        let two = |pair: &[u8; 2]| rest.starts_with(pair);
        Ok(match &mut self.inside {
            Inside::Text(escapes) => match rest[0] {
                b'\\' if *escapes => 2,
                b'\'' if two(b"''") => 2,
                b'\'' => self.leave(1),
                _ => 1,
            },
            Inside::Name => match rest[0] {
                b'"' if two(b"\"\"") => 2,
                b'"' => self.leave(1),
                _ => 1,
            },
            Inside::Dollar(tag) if rest.starts_with(tag) => {
                let length = tag.len();
                self.leave(length)
            }
            Inside::Comment(depth) if two(b"*/") => {
                *depth -= 1;
                if *depth == 0 { self.leave(2) } else { 2 }
            }
            Inside::Comment(depth) if two(b"/*") => {
                *depth += 1;
                2
            }
            Inside::Dollar(_) | Inside::Comment(_) | Inside::Rows => 1,
            Inside::Nothing => return self.code(rest, before),
        })
    }

    fn leave(&mut self, length: usize) -> usize {
        self.inside = Inside::Nothing;
        length
    }

    fn code(&mut self, rest: &[u8], before: &[u8]) -> Result<usize, String> {
        let last = before.last().copied().unwrap_or(b' ');
        match rest[0] {
            b'-' if rest.starts_with(b"--") => return Ok(rest.len()),
            b'/' if rest.starts_with(b"/*") => {
                self.inside = Inside::Comment(1);
                return Ok(2);
            }
            b'\'' => self.inside = Inside::Text(matches!(last, b'E' | b'e')),
            b'"' => self.inside = Inside::Name,
            b'$' if !is_word(last) => {
                if let Some(tag) = dollar_tag(rest) {
                    self.inside = Inside::Dollar(tag.to_vec());
                    return Ok(tag.len());
                }
            }
            b'\\' => {
                let word = rest.split(u8::is_ascii_whitespace).next().unwrap_or(rest);
                let word = String::from_utf8_lossy(word);
                return Err(format!("the command {word} of psql is not run"));
            }
            b';' => self.end_of_statement()?,
            byte if self.statement.len() < ENOUGH => self.statement.push(byte),
            _ => {}
        }
        Ok(1)
    }

    fn end_of_statement(&mut self) -> Result<(), String> {
        let text = String::from_utf8_lossy(&self.statement).to_uppercase();
        if !is_whole(&text) {
            self.statement.push(b';');
            return Ok(());
        }
        self.statement.clear();
        let words: Vec<&str> = text.split_whitespace().collect();
        let ends = |word: &str| {
            matches!(
                word,
                "BEGIN" | "COMMIT" | "ROLLBACK" | "END" | "ABORT" | "SAVEPOINT" | "RELEASE"
            )
        };
        match words.as_slice() {
            [first, ..] if ends(first) => {
                return Err(format!("{first} would end or begin a transaction"));
            }
            ["START" | "PREPARE", "TRANSACTION", ..] => {
                return Err("it would begin or end a transaction".to_owned());
            }
            ["COPY", ..] if text.contains("FROM STDIN") => self.inside = Inside::Rows,
            _ if reaches_out(&words).is_some() => {
                let what = reaches_out(&words).unwrap_or_default();
                return Err(format!("{what}: a restore does not run it"));
            }
            ["CREATE", "SCHEMA", "ETLRS_MIGRATE", ..] => self.facts.has_our_schema = true,
            _ => {}
        }
        Ok(())
    }
}

/// Why a statement is not for one database alone, if it is not: it changes what the cluster shares,
/// reads or writes files, runs programs, changes who runs the rest, or is code that can't be looked
/// through. `pg_dump` writes none of these.
fn reaches_out(words: &[&str]) -> Option<String> {
    let named = |what: &str| Some(what.to_owned());
    match words {
        ["COPY", ..] if words.contains(&"PROGRAM") => named("COPY .. PROGRAM runs a program"),
        ["COPY", ..] => named("COPY without its rows reads or writes a file of the server"),
        [verb @ ("CREATE" | "ALTER" | "DROP"), what, ..]
            if matches!(
                *what,
                "ROLE" | "USER" | "GROUP" | "DATABASE" | "TABLESPACE" | "SYSTEM" | "SUBSCRIPTION"
            ) && !matches!(words, [_, "USER", "MAPPING", ..]) =>
        {
            Some(format!(
                "{verb} {what} changes what the whole server shares"
            ))
        }
        ["REASSIGN" | "DROP", "OWNED", ..] => named("it changes objects of a role everywhere"),
        ["GRANT" | "REVOKE", rest @ ..] if !rest.contains(&"ON") => {
            named("GRANT of a role changes what the whole server shares")
        }
        ["SET" | "RESET", "ROLE", ..]
        | ["SET" | "RESET", "SESSION", "AUTHORIZATION", ..]
        | ["SET", "LOCAL" | "SESSION", "ROLE" | "SESSION", ..] => {
            named("it changes the role that runs the rest")
        }
        ["DO" | "CALL" | "EXECUTE" | "LOAD", ..] => Some(format!(
            "{} runs code that can't be looked through",
            words.first().unwrap_or(&"it")
        )),
        _ => None,
    }
}

/// Whether a semicolon ends it, by the rules of `psql`: not in parentheses (CREATE RULE), nor
/// in the body of a function in SQL.
fn is_whole(text: &str) -> bool {
    let count = |c: char| text.matches(c).count();
    if count('(') > count(')') {
        return false;
    }
    let words = text
        .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$')
        .filter(|word| !word.is_empty());
    let head: Vec<&str> = words.clone().take(4).collect();
    let routine = match head.as_slice() {
        ["CREATE", "OR", "REPLACE", kind] | ["CREATE", kind, ..] => {
            matches!(*kind, "FUNCTION" | "PROCEDURE")
        }
        _ => false,
    };
    let depth = words.fold(0_usize, |depth, word| match word {
        "BEGIN" => depth + 1,
        "CASE" if depth > 0 => depth + 1,
        "END" => depth.saturating_sub(1),
        _ => depth,
    });
    !routine || depth == 0
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// `$tag$` at the start of a text.
fn dollar_tag(rest: &[u8]) -> Option<&[u8]> {
    let end = rest[1..].iter().position(|byte| *byte == b'$')? + 1;
    let inner = &rest[1..end];
    let plain = inner.iter().all(|byte| is_word(*byte) && *byte != b'$');
    let first = inner.first().is_none_or(|byte| !byte.is_ascii_digit());
    (plain && first).then(|| &rest[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Found {
        Scan::default().lines(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_data_is_no_command() {
        for text in [
            "COPY public.t (a) FROM stdin;\nBEGIN;\n\\\\! rm\n\\.\nSELECT 1;\n",
            "INSERT INTO t VALUES ('COMMIT; \\! rm', E'it\\'s; COMMIT;');\n",
            "CREATE FUNCTION f() RETURNS int AS $_$\nBEGIN\n COMMIT;\n \\! $$ \nEND\n$_$;\n",
            "/* BEGIN; /* \\! */ COMMIT; */ SELECT 1; -- COMMIT;\n",
            "SELECT \"COMMIT;\\!\" FROM a$b;\n",
            "CREATE FUNCTION f(a int) RETURNS int BEGIN ATOMIC\n SELECT CASE a WHEN 1 THEN 2 END;\nEND;\n",
            "CREATE RULE r AS ON UPDATE TO t DO ALSO (\n SELECT 1;\n SELECT 2;\n);\n",
            "\\restrict abc\nSELECT 1;\n\\unrestrict abc\n",
            "GRANT SELECT ON t TO u;\nCREATE USER MAPPING FOR u SERVER s;\nSET default_tablespace = '';\n",
            "ALTER DEFAULT PRIVILEGES FOR ROLE u GRANT SELECT ON TABLES TO r;\nALTER TABLE t OWNER TO role;\n",
        ] {
            assert_eq!(scan(text), Ok(Facts::default()), "{text}");
        }
    }

    #[test]
    fn what_ends_the_transaction_or_leaves_sql_is_refused() {
        for (text, line) in [
            ("SELECT 1;\nCOMMIT;\n", 2),
            ("\n\nbegin ;\n", 3),
            ("SELECT 1 \\! rm -rf x\n", 1),
            ("\\connect other\n", 1),
            ("start transaction;\n", 1),
            ("COPY t FROM stdin;\n1\n", 2),
            ("SELECT 'open\n", 1),
            ("-- PostgreSQL database dump\nSELECT 1;\n", 2),
            ("SELECT 1;\nALTER ROLE postgres PASSWORD 'x';\n", 2),
            ("create /* x */ user u superuser;\n", 1),
            ("GRANT postgres TO u;\n", 1),
            ("ALTER SYSTEM SET archive_command = 'x';\n", 1),
            ("COPY t TO PROGRAM 'touch x';\n", 1),
            ("COPY t\nFROM PROGRAM 'id';\n", 2),
            ("COPY (SELECT 1) TO '/tmp/x';\n", 1),
            ("DO $$ BEGIN EXECUTE 'ALTER ROLE x'; END $$;\n", 1),
            ("DO LANGUAGE plpgsql 'BEGIN END';\n", 1),
            ("SET ROLE other;\n", 1),
            ("SET LOCAL SESSION AUTHORIZATION other;\n", 1),
        ] {
            let (at, what) = scan(text).unwrap_err();
            assert_eq!(at, line, "{text}: {what}");
        }
    }

    #[test]
    fn our_schema_is_seen() {
        let text = "-- PostgreSQL database dump\nCREATE SCHEMA etlrs_migrate;\n\
                    -- PostgreSQL database dump complete\n";
        assert!(scan(text).unwrap().has_our_schema);
    }
}
