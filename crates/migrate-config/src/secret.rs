//! Keeping passwords out of everything that is shown.

use migrate_core::secret::mask_keys;
use serde_json::Value;

use crate::syntax::Span;
use crate::written;

pub use migrate_core::secret::MASK;

/// Whether a key's name says that its value is secret.
pub fn is_secret_key(key: &str) -> bool {
    migrate_core::secret::is_secret_name(key)
}

/// A text without the passwords that its URLs and `password=..` parameters hold.
pub fn redact(text: &str) -> String {
    let text = mask_keys(text);
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        out.push_str(&redact_assignments(&redact_urls(line)));
    }
    out
}

/// A URL (or anything else) without the password in it, whatever characters that has.
pub fn redact_url(url: &str) -> String {
    let Some(scheme_end) = url.find("://").map(|at| at + 3) else {
        return redact(url);
    };
    let (scheme, rest) = url.split_at(scheme_end);
    let shown = redact_query(scheme, &redact_userinfo(rest));
    mask_keys(&format!("{scheme}{}", redact_assignments(&shown))).into_owned()
}

/// A value as it may be shown, given the names of the keys that lead to it.
pub fn redact_value<'a>(keys: impl IntoIterator<Item = &'a str>, value: &Value) -> Value {
    let secret = keys.into_iter().any(is_secret_key);
    redact_below(secret, value)
}

fn redact_below(secret: bool, value: &Value) -> Value {
    match value {
        // A variable's name is no secret.
        Value::Object(_) if written::variable(value).is_some() => value.clone(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let below = redact_below(secret || is_secret_key(key), value);
                (key.clone(), below)
            })
            .collect(),
        Value::Array(items) => items.iter().map(|v| redact_below(secret, v)).collect(),
        Value::String(_) | Value::Number(_) if secret => Value::from(MASK),
        Value::String(text) => Value::from(redact_url(text)),
        other => other.clone(),
    }
}

/// What a scalar's own text is replaced by where it is shown, if it must be.
pub(crate) fn mask_scalar(secret_key: bool, raw: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(_) | Value::Number(_) if secret_key => Some(format!(
            "\"{MASK}\"{}",
            "\n".repeat(raw.matches('\n').count())
        )),
        Value::String(text) if text.contains("://") => {
            let quote = if raw.ends_with('\'') { "'" } else { "\"" };
            let bare = raw.strip_suffix(quote);
            let masked = redact_url(bare.unwrap_or(raw));
            let masked = format!("{masked}{}", bare.map_or("", |_| quote));
            (masked != raw).then_some(masked)
        }
        _ => None,
    }
}

/// Text with some spans replaced, and with what a lexical look still finds redacted.
pub(crate) fn masked_text(text: &str, masks: &[(Span, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (span, mask) in masks {
        out.push_str(&text[from..span.start]);
        out.push_str(mask);
        from = span.end;
    }
    out.push_str(&text[from..]);
    redact(&out)
}

fn redact_urls(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>'))
            .unwrap_or(after.len());
        out.push_str(before);
        out.push_str(&redact_query(before, &redact_userinfo(&after[..end])));
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

/// `user:password@rest` -> `user:***@rest`; the last `@` ends the password, since a wrongly
/// written one may hold an `@` itself.
fn redact_userinfo(rest: &str) -> String {
    let Some((userinfo, host)) = rest.rsplit_once('@') else {
        return rest.to_owned();
    };
    match userinfo.split_once(':') {
        Some((user, _)) => format!("{user}:{MASK}@{host}"),
        None => rest.to_owned(),
    }
}

/// `?token=x&options=-c a=b`: what is secret by its name, and what PostgreSQL's `options` hold,
/// percent-encoded or not. `before` ends with the scheme.
fn redact_query(before: &str, rest: &str) -> String {
    let Some((front, query)) = rest.split_once('?') else {
        return rest.to_owned();
    };
    let postgres = before.ends_with("postgres://") || before.ends_with("postgresql://");
    let pairs = query.split('&').map(|pair| {
        let Some((key, value)) = pair.split_once('=') else {
            return pair.to_owned();
        };
        let (name, decoded) = (percent_decoded(key), percent_decoded(value));
        let hidden = is_secret_key(&name)
            || (postgres && name.starts_with("options"))
            || (decoded != value && redact(&decoded) != decoded);
        if hidden && !value.is_empty() {
            format!("{key}={MASK}")
        } else {
            pair.to_owned()
        }
    });
    format!("{front}?{}", pairs.collect::<Vec<_>>().join("&"))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `password = "x"`, `"token": "x"`, `?password=x&`: the value is masked, where it is not a table.
fn redact_assignments(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        rest = after;
        if !is_secret_key(last_word(&before[..at])) {
            continue;
        }
        // A sign too many, as in a line that can't be read, hides nothing.
        let value = after.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '=' | ':'));
        out.push_str(&after[..after.len() - value.len()]);
        let length = value_length(value);
        if matches!(&value[..length], "" | "true" | "false" | "null") {
            rest = value;
        } else {
            out.push_str(MASK);
            rest = &value[length..];
        }
    }
    out.push_str(rest);
    out
}

fn last_word(before: &str) -> &str {
    let before = before.trim_end().trim_end_matches(['"', '\'']);
    let start = before
        .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .map_or(0, |at| {
            at + before[at..].chars().next().map_or(1, char::len_utf8)
        });
    &before[start..]
}

fn value_length(value: &str) -> usize {
    let mut chars = value.char_indices();
    match chars.next() {
        Some((_, quote @ ('"' | '\''))) => {
            let mut escaped = false;
            for (at, c) in chars {
                if c == '\n' {
                    return at;
                }
                if c == quote && !escaped {
                    return at + 1;
                }
                escaped = c == '\\' && !escaped;
            }
            value.len()
        }
        Some((_, '[')) => value.find(['\n', '\r']).unwrap_or(value.len()),
        Some((_, '{')) | None => 0,
        Some(_) => value
            .find(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | '&' | '"' | '\''))
            .unwrap_or(value.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn masks_what_a_line_holds() {
        for (line, shown) in [
            (
                "url = \"postgres://u:hunter2@h/d\" # x",
                "url = \"postgres://u:***@h/d\" # x",
            ),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("password = = \"word\" # x", "password = = *** # x"),
            ("password := \"word\"", "password := ***"),
            ("u = 'postgres://u:a@b@h/d'", "u = 'postgres://u:***@h/d'"),
            (
                "postgres://h/d?user=x&password=hunter2&a=1",
                "postgres://h/d?user=x&password=***&a=1",
            ),
            ("# password = hunter2 old", "# password = *** old"),
            (
                "{\"token\": \"a\\\"b\", \"x\": 1}",
                "{\"token\": ***, \"x\": 1}",
            ),
            ("secrets = [\"a\", \"b\"]", "secrets = ***"),
            ("password = \"open", "password = ***"),
            ("use_token = true", "use_token = true"),
            ("größe_password=x y", "größe_password=*** y"),
            ("time = 10:30", "time = 10:30"),
        ] {
            assert_eq!(redact(line), shown);
        }
    }

    #[test]
    fn masks_values_below_a_secret_key() {
        let value = json!({"credentials": {"pin": 1234, "on": true}, "dsn": "pg://a:b c\"@h"});
        let shown = json!({"credentials": {"pin": "***", "on": true}, "dsn": "***"});
        assert_eq!(redact_value(["x"], &value), shown);
        assert_eq!(redact_value(["my_secret"], &json!("x")), json!("***"));
    }
}
