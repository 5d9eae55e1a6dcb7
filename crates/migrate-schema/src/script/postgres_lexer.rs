//! PostgreSQL's tokens, by squawk's lexer.

use squawk_lexer::{LiteralKind, TokenKind, tokenize};

use super::token::{Kind, Token};

/// All tokens of a text; they cover it without a gap.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut start = 0;
    tokenize(text)
        .take_while(|token| token.kind != TokenKind::Eof)
        .map(|token| {
            let end = start + token.len as usize;
            let kind = kind(&token.kind, &text[start..end]);
            let token = Token { kind, start, end };
            start = end;
            token
        })
        .collect()
}

fn kind(kind: &TokenKind, text: &str) -> Kind {
    match kind {
        TokenKind::Whitespace
        | TokenKind::LineComment
        | TokenKind::BlockComment { terminated: true } => Kind::Trivia,
        TokenKind::BlockComment { terminated: false }
        | TokenKind::QuotedIdent {
            terminated: false, ..
        } => Kind::Unterminated,
        TokenKind::Ident => Kind::Word,
        TokenKind::QuotedIdent { .. } => Kind::QuotedName,
        TokenKind::Literal { kind } => literal(*kind),
        TokenKind::Semi => Kind::Semicolon,
        TokenKind::OpenParen => Kind::Open,
        TokenKind::CloseParen => Kind::Close,
        TokenKind::Unknown if text.starts_with('\\') => Kind::Backslash,
        _ => Kind::Sign,
    }
}

fn literal(kind: LiteralKind) -> Kind {
    match kind {
        LiteralKind::Int { .. } | LiteralKind::Numeric { .. } => Kind::Number,
        LiteralKind::Str { terminated }
        | LiteralKind::NationalStr { terminated }
        | LiteralKind::ByteStr { terminated }
        | LiteralKind::BitStr { terminated }
        | LiteralKind::DollarQuotedString { terminated }
        | LiteralKind::UnicodeEscStr { terminated }
        | LiteralKind::EscStr { terminated } => {
            if terminated {
                Kind::Text
            } else {
                Kind::Unterminated
            }
        }
    }
}
