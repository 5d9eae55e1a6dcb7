//! Takes secrets out of text.

use std::fmt;

const MASK: &str = "***";

/// Values that must not be seen. Its `Debug` shows only how many there are.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// The given values, each also in its percent-decoded form, because a password that
    /// stands in a URL encoded is printed by clients decoded. Empty values are left out.
    pub fn new<I, S>(values: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let mut all = Vec::new();
        for value in values {
            let value = value.into();
            if let Some(decoded) = percent_decoded(&value) {
                all.push(decoded);
            }
            all.push(value);
        }
        all.retain(|value| !value.is_empty());
        // The longest first: one secret may hold another.
        all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        Self(all)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} values)", self.0.len())
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out)
        .ok()
        .filter(|decoded| decoded != text)
}

/// Replaces every secret, the password of every `scheme://user:password@` and the value
/// of every `password=` by `***`. Where a text can be read in two ways it hides more.
pub fn redact(text: &str, secrets: &Secrets) -> String {
    let mut out = text.to_owned();
    for secret in &secrets.0 {
        out = out.replace(secret.as_str(), MASK);
    }
    hide_assignments(&hide_url_passwords(&out))
}

/// Whether a text holds a URL with a literal password; a shell variable is none.
pub fn holds_url_password(text: &str) -> bool {
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        rest = &rest[found + 3..];
        if let Some((start, end)) = url_password(rest) {
            let password = &rest[start..end];
            if !password.is_empty() && password != MASK && !password.starts_with('$') {
                return true;
            }
        }
    }
    false
}

/// Where the password is in the text after `://`. A raw password may hold `/`, `:` and
/// `@`, so it reaches from the first colon to the last `@` of the word.
fn url_password(rest: &str) -> Option<(usize, usize)> {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
    let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
    let at = word.rfind('@')?;
    let colon = word[..at].find(':')?;
    Some((colon + 1, at))
}

fn hide_url_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let (before, after) = rest.split_at(found + 3);
        out.push_str(before);
        rest = after;
        if let Some((start, end)) = url_password(rest) {
            out.push_str(&rest[..start]);
            out.push_str(MASK);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    out
}

fn hide_assignments(text: &str) -> String {
    const WORD: &str = "password";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // ASCII lowercase keeps every byte offset.
    while let Some(found) = rest.to_ascii_lowercase().find(WORD) {
        let (before, after) = rest.split_at(found + WORD.len());
        out.push_str(before);
        rest = after;
        let Some(value) = rest.trim_start_matches(' ').strip_prefix('=') else {
            continue;
        };
        let value = value.trim_start_matches(' ');
        out.push_str(&rest[..rest.len() - value.len()]);
        let (shown, hidden) = assigned(value);
        out.push_str(&value[..shown]);
        if hidden > shown {
            out.push_str(MASK);
        }
        rest = &value[hidden..];
    }
    out.push_str(rest);
    out
}

/// Start and end of the value after `password=`, without its quotes.
fn assigned(value: &str) -> (usize, usize) {
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &value[1..];
        return (1, 1 + inner.find(quote).unwrap_or(inner.len()));
    }
    let ends = |c: char| c.is_whitespace() || matches!(c, '&' | ';' | '"' | '\'');
    (0, value.find(ends).unwrap_or(value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_what_is_secret_and_nothing_else() {
        let secrets = Secrets::new(["hunter2", "hunter2-long", "p%40ss w", ""]);
        for (text, expected) in [
            ("nothing here", "nothing here"),
            ("it is hunter2!", "it is ***!"),
            ("hunter2-long", "***"),
            (
                "encoded p%40ss w, decoded p@ss w",
                "encoded ***, decoded ***",
            ),
            ("postgres://etl:x1@db/app", "postgres://etl:***@db/app"),
            (
                "postgres://etl:a/b:c@d@db/app?x=1",
                "postgres://etl:***@db/app?x=1",
            ),
            ("redis://:only@cache", "redis://:***@cache"),
            ("http://host:8080/path", "http://host:8080/path"),
            ("http://host/ mail me@x.org", "http://host/ mail me@x.org"),
            ("postgres://etl@db/app", "postgres://etl@db/app"),
            ("a='u://a:b@c' u://d:e@f", "a='u://a:***@c' u://d:***@f"),
            (
                "host=db password=geheim user=x",
                "host=db password=*** user=x",
            ),
            ("PGPASSWORD='two words' psql", "PGPASSWORD='***' psql"),
            ("password = \"x y\"", "password = \"***\""),
            ("db?user=a&password=b&c=d", "db?user=a&password=***&c=d"),
            (
                "password authentication failed",
                "password authentication failed",
            ),
            ("passwordless=no PASSWORD=", "passwordless=no PASSWORD="),
            ("ünï password=é ok", "ünï password=*** ok"),
        ] {
            assert_eq!(redact(text, &secrets), expected, "{text}");
        }
    }

    #[test]
    fn redacting_twice_changes_nothing_more() {
        let secrets = Secrets::new(["hunter2"]);
        let once = redact("x://u:p@h password=q hunter2", &secrets);
        assert_eq!(redact(&once, &secrets), once);
    }

    #[test]
    fn a_literal_password_in_a_url_is_seen() {
        for (text, literal) in [
            ("psql postgres://u:p@h/db", true),
            ("psql postgres://u:$PGPASS@h/db", false),
            ("psql postgres://u@h/db", false),
            ("psql \"$DATABASE_URL\"", false),
            ("curl http://h:80/x", false),
            ("a://u:$X@h b://u:lit@h", true),
        ] {
            assert_eq!(holds_url_password(text), literal, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(
            format!("{:?}", Secrets::new(["hunter2"])),
            "Secrets(1 values)"
        );
    }
}
