//! A transformation script: one SELECT over `batch`, with its policy in a comment.

use crate::transform::{OnConflict, Repeatable};

/// A script that was read and understood as far as that goes without a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlScript {
    /// The SELECT, without what ends it.
    pub(crate) select: String,
    /// What its header says.
    pub(crate) on_conflict: OnConflict,
    /// `No` if it names a clock or a source of random values.
    pub(crate) repeatable: Repeatable,
}

/// Words whose value is another one the next time.
const FICKLE: &[&str] = &[
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "clock_timestamp",
    "timeofday",
    "random",
    "random_normal",
    "randomblob",
    "gen_random_uuid",
    "uuid_generate_v1",
    "uuid_generate_v4",
    "nextval",
    "unixepoch",
    "txid_current",
    "pg_current_xact_id",
];

/// Reads a script, or says why it is none.
pub(crate) fn parse(text: &str) -> Result<SqlScript, String> {
    let tokens = tokens(text)?;
    let mut code = tokens.iter().filter(|t| !matches!(t.kind, Kind::Comment));
    let first = code.clone().find_map(|t| t.word(text));
    match first.as_deref() {
        Some("select" | "with" | "values") => {}
        Some(other) => {
            return Err(format!(
                "it begins with {} and not with SELECT",
                other.to_uppercase()
            ));
        }
        None => return Err("there is no statement in it".to_owned()),
    }
    let mut end = text.len();
    if let Some(semicolon) = code.find(|t| t.is(text, ";")) {
        if code.any(|t| !t.is(text, ";")) {
            return Err("there is more than one statement in it".to_owned());
        }
        end = semicolon.start;
    }
    let fickle = tokens.iter().any(|t| match t.kind {
        Kind::Word => FICKLE.contains(&text[t.start..t.end].to_lowercase().as_str()),
        Kind::String => text[t.start..t.end].eq_ignore_ascii_case("'now'"),
        _ => false,
    });
    let header = tokens
        .iter()
        .take_while(|t| matches!(t.kind, Kind::Comment));
    let mut on_conflict = OnConflict::default();
    for comment in header.map(|t| &text[t.start..t.end]) {
        if let Some(policy) = comment
            .trim_start_matches('-')
            .trim()
            .strip_prefix("on-conflict:")
        {
            on_conflict = policy_of(policy)?;
        }
    }
    Ok(SqlScript {
        select: text[..end].trim().to_owned(),
        on_conflict,
        repeatable: if fickle {
            Repeatable::No
        } else {
            Repeatable::Yes
        },
    })
}

fn policy_of(text: &str) -> Result<OnConflict, String> {
    const FORM: &str =
        "write `-- on-conflict: fail` or `-- on-conflict: update a, b; set c = expression`";
    let wrong = || format!("the on-conflict line says {:?}: {FORM}", text.trim());
    let (mut columns, mut set) = (Vec::new(), Vec::new());
    for part in text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (verb, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        match (verb, rest.trim()) {
            ("fail", "") if text.trim() == "fail" => return Ok(OnConflict::Fail),
            ("update", names) if !names.is_empty() => {
                columns.extend(names.split(',').map(|name| unquoted(name.trim())));
            }
            ("set", assignment) => {
                let (column, expression) = assignment.split_once('=').ok_or_else(wrong)?;
                set.push((unquoted(column.trim()), expression.trim().to_owned()));
            }
            _ => return Err(wrong()),
        }
    }
    if columns.is_empty()
        || columns.iter().any(String::is_empty)
        || set.iter().any(|(c, e)| c.is_empty() || e.is_empty())
    {
        return Err(wrong());
    }
    Ok(OnConflict::Update { columns, set })
}

fn unquoted(name: &str) -> String {
    name.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .map_or_else(|| name.to_owned(), |inner| inner.replace("\"\"", "\""))
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Comment,
    String,
    Name,
    Word,
    Other,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    pub(crate) fn is(&self, text: &str, what: &str) -> bool {
        matches!(self.kind, Kind::Other) && &text[self.start..self.end] == what
    }

    pub(crate) fn word(&self, text: &str) -> Option<String> {
        matches!(self.kind, Kind::Word).then(|| text[self.start..self.end].to_lowercase())
    }
}

/// Splits as both databases do: strings, quoted names, comments (nested ones too) and `$tag$` bodies stay whole.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut start = 0;
    while let Some(c) = text[start..].chars().next() {
        if c.is_whitespace() {
            start += c.len_utf8();
            continue;
        }
        let rest = &text[start..];
        let (kind, length) = if rest.starts_with("--") {
            (Kind::Comment, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (Kind::Comment, block_comment(rest)?)
        } else if c == '\'' {
            let escapes = text[..start].ends_with(['e', 'E']) && last_is_lone_e(&out, text);
            (Kind::String, quoted(rest, '\'', escapes)?)
        } else if c == '"' || c == '`' {
            (Kind::Name, quoted(rest, c, false)?)
        } else if c == '$' {
            match dollar(rest)? {
                Some(length) => (Kind::String, length),
                None => (Kind::Other, 1),
            }
        } else if c.is_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
            (Kind::Word, end.unwrap_or(rest.len()))
        } else {
            (Kind::Other, c.len_utf8())
        };
        out.push(Token {
            kind,
            start,
            end: start + length,
        });
        start += length;
    }
    Ok(out)
}

fn last_is_lone_e(before: &[Token], text: &str) -> bool {
    before
        .last()
        .and_then(|t| t.word(text))
        .is_some_and(|word| word == "e")
}

fn quoted(rest: &str, quote: char, escapes: bool) -> Result<usize, String> {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_none_or(|(_, next)| *next != quote) {
                return Ok(at + 1);
            }
            chars.next();
        }
    }
    Err(format!("a {quote} is never closed"))
}

fn block_comment(rest: &str) -> Result<usize, String> {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Ok(at);
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    Err("a /* is never closed".to_owned())
}

fn dollar(rest: &str) -> Result<Option<usize>, String> {
    let Some(second) = rest[1..].find('$') else {
        return Ok(None);
    };
    let tag = &rest[..second + 2];
    let inner = &tag[1..tag.len() - 1];
    if inner.starts_with(|c: char| c.is_ascii_digit())
        || !inner.chars().all(|c| c.is_alphanumeric() || c == '_')
    {
        return Ok(None);
    }
    match rest[tag.len()..].find(tag) {
        Some(end) => Ok(Some(end + 2 * tag.len())),
        None => Err(format!("a {tag} is never closed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_select_and_says_what_else_it_is() {
        for (text, wrong) in [
            ("SELECT 1 FROM batch", None),
            (
                "-- a; b\nselect ';', $$;$$, $x$ ; $$ $x$, \"a;b\", e'\\';' from batch ; -- end",
                None,
            ),
            (
                "/* /* nested ; */ */ WITH x AS (SELECT * FROM batch) SELECT * FROM x;;",
                None,
            ),
            ("", Some("there is no statement in it")),
            ("-- only this", Some("there is no statement in it")),
            (
                "DELETE FROM batch",
                Some("it begins with DELETE and not with SELECT"),
            ),
            (
                "SELECT 1; SELECT 2",
                Some("there is more than one statement in it"),
            ),
            ("SELECT 'a", Some("a ' is never closed")),
            ("SELECT /* a", Some("a /* is never closed")),
        ] {
            assert_eq!(parse(text).err().as_deref(), wrong, "{text}");
        }
        assert_eq!(parse("SELECT ';' ; -- x").unwrap().select, "SELECT ';'");
    }

    #[test]
    fn reads_the_policy_of_the_header() {
        let policy = |line: &str| {
            parse(&format!("-- words\n-- on-conflict: {line}\nSELECT 1")).map(|s| s.on_conflict)
        };
        assert_eq!(policy("fail").unwrap(), OnConflict::Fail);
        assert_eq!(
            policy("update name, \"Odd one\"; set updated_at = CURRENT_TIMESTAMP; set n = n + 1")
                .unwrap(),
            OnConflict::Update {
                columns: vec!["name".into(), "Odd one".into()],
                set: vec![
                    ("updated_at".into(), "CURRENT_TIMESTAMP".into()),
                    ("n".into(), "n + 1".into())
                ],
            }
        );
        for wrong in [
            "",
            "ignore",
            "update",
            "set a = 1",
            "update a; set b",
            "update a,",
            "fail; update a",
        ] {
            assert!(policy(wrong).is_err(), "{wrong}");
        }
        let later = parse("SELECT 1 -- on-conflict: fail").unwrap();
        assert_eq!(later.on_conflict, OnConflict::UpdateProduced);
    }

    #[test]
    fn sees_clocks_and_dice() {
        for (text, repeatable) in [
            ("SELECT id FROM batch -- now()", Repeatable::Yes),
            ("SELECT 'random' AS x, \"now\" FROM batch", Repeatable::Yes),
            ("SELECT now() FROM batch", Repeatable::No),
            ("SELECT datetime('now') FROM batch", Repeatable::No),
            ("SELECT CURRENT_TIMESTAMP FROM batch", Repeatable::No),
        ] {
            assert_eq!(parse(text).unwrap().repeatable, repeatable, "{text}");
        }
    }
}
