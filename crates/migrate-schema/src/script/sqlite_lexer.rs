//! SQLite's tokens, by the rules of its `tokenize.c`.

use super::token::{Kind, Token};

/// All tokens of a text; they cover it without a gap.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let (kind, length) = next(&bytes[start..]);
        let end = start + length;
        found.push(Token { kind, start, end });
        start = end;
    }
    found
}

/// The kind and length of the token that `rest` begins with. Never cuts a character: every
/// byte above 127 belongs to a word.
fn next(rest: &[u8]) -> (Kind, usize) {
    match rest[0] {
        b' ' | b'\t' | b'\n' | b'\r' | 0x0c => (Kind::Trivia, span(rest, is_space)),
        b'-' if rest.get(1) == Some(&b'-') => (Kind::Trivia, span(rest, |byte| byte != b'\n')),
        b'/' if rest.get(1) == Some(&b'*') => block_comment(rest),
        b';' => (Kind::Semicolon, 1),
        b'(' => (Kind::Open, 1),
        b')' => (Kind::Close, 1),
        b'\\' => (Kind::Backslash, 1),
        b'\'' => quoted(rest, b'\'', Kind::Text),
        b'"' => quoted(rest, b'"', Kind::QuotedName),
        b'`' => quoted(rest, b'`', Kind::QuotedName),
        b'[' => bracketed(rest),
        b'x' | b'X' if rest.get(1) == Some(&b'\'') => {
            let (kind, length) = quoted(&rest[1..], b'\'', Kind::Text);
            (kind, length + 1)
        }
        b'0'..=b'9' => (Kind::Number, number(rest)),
        b'.' if rest.get(1).is_some_and(u8::is_ascii_digit) => (Kind::Number, number(rest)),
        byte if is_word(byte) && byte != b'$' => (Kind::Word, span(rest, is_word)),
        _ => (Kind::Sign, 1),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

fn span(rest: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    rest.iter()
        .position(|byte| !belongs(*byte))
        .unwrap_or(rest.len())
}

/// SQLite's block comments do not nest, and the end of the text ends one.
fn block_comment(rest: &[u8]) -> (Kind, usize) {
    let end = rest[2..].windows(2).position(|pair| pair == b"*/");
    (Kind::Trivia, end.map_or(rest.len(), |at| at + 4))
}

/// A quote inside is doubled.
fn quoted(rest: &[u8], quote: u8, kind: Kind) -> (Kind, usize) {
    let mut at = 1;
    while at < rest.len() {
        if rest[at] == quote {
            if rest.get(at + 1) != Some(&quote) {
                return (kind, at + 1);
            }
            at += 1;
        }
        at += 1;
    }
    (Kind::Unterminated, rest.len())
}

fn bracketed(rest: &[u8]) -> (Kind, usize) {
    match rest.iter().position(|byte| *byte == b']') {
        Some(at) => (Kind::QuotedName, at + 1),
        None => (Kind::Unterminated, rest.len()),
    }
}

/// A number with what sticks to it; a sign belongs to it only after an exponent's `e`.
fn number(rest: &[u8]) -> usize {
    let hex = rest.len() > 1 && rest[0] == b'0' && matches!(rest[1], b'x' | b'X');
    let mut at = 0;
    while at < rest.len() {
        let exponent_sign = !hex
            && at > 0
            && matches!(rest[at], b'+' | b'-')
            && matches!(rest[at - 1], b'e' | b'E')
            && rest.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !is_word(rest[at]) && rest[at] != b'.' && !exponent_sign {
            break;
        }
        at += 1;
    }
    at
}
