//! Where statements begin and end.

use std::ops::Range;

use crate::db::Backend;

use super::token::{Kind, Token, tokens};

/// The statements of a script as byte ranges, in order: from the first token that means
/// something to the last one before the semicolon. Between them are spaces, comments and
/// semicolons only.
pub fn split(backend: Backend, text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut current: Vec<Token> = Vec::new();
    let mut body = Body::default();
    let mut skip_until = 0;
    for token in tokens(backend, text) {
        if token.kind == Kind::Trivia {
            if ends_statement(token.text(text)) {
                push(&mut found, &mut current);
                body = Body::default();
            }
            continue;
        }
        if token.start < skip_until {
            continue;
        }
        if backend == Backend::Postgres
            && token.kind == Kind::Backslash
            && let Some(end) = dump_guard(text, token.start)
        {
            skip_until = end;
            continue;
        }
        if token.kind == Kind::Semicolon && body.may_end(backend, text, &current) {
            push(&mut found, &mut current);
            body = Body::default();
            continue;
        }
        body.see(backend, text, token, &current);
        current.push(token);
    }
    push(&mut found, &mut current);
    found
}

/// goose's mark ends a statement that has no semicolon.
fn ends_statement(trivia: &str) -> bool {
    trivia.contains("+goose")
        && trivia.lines().any(|line| {
            line.trim()
                .strip_prefix("--")
                .and_then(|rest| rest.trim_start().strip_prefix("+goose"))
                .is_some_and(|mark| mark.trim().eq_ignore_ascii_case("statementend"))
        })
}

/// The end of a line `\\restrict KEY` or `\\unrestrict KEY`, which newer dumps put round
/// themselves for psql alone.
pub(super) fn dump_guard(text: &str, at: usize) -> Option<usize> {
    let at_line_start = at == 0 || text[..at].ends_with('\n');
    let line = text[at..].lines().next()?;
    let guard = line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ");
    (at_line_start && guard).then_some(at + line.len())
}

fn push(found: &mut Vec<Range<usize>>, current: &mut Vec<Token>) {
    if let (Some(first), Some(last)) = (current.first(), current.last()) {
        found.push(first.start..last.end);
    }
    current.clear();
}

/// How deep inside a statement a token stands.
#[derive(Default)]
struct Body {
    parentheses: usize,
    blocks: usize,
}

impl Body {
    /// psql's rule (`psqlscan.l`): a semicolon ends nothing inside parentheses and inside the
    /// `BEGIN ATOMIC … END` of a routine, where `CASE` opens one more `END`.
    fn see(&mut self, backend: Backend, text: &str, token: Token, before: &[Token]) {
        if backend == Backend::Sqlite {
            return;
        }
        match token.kind {
            Kind::Open => self.parentheses += 1,
            Kind::Close => self.parentheses = self.parentheses.saturating_sub(1),
            Kind::Word if self.parentheses == 0 && creates_routine(text, before) => {
                if token.is_word(text, "begin") || (token.is_word(text, "case") && self.blocks > 0)
                {
                    self.blocks += 1;
                } else if token.is_word(text, "end") {
                    self.blocks = self.blocks.saturating_sub(1);
                }
            }
            _ => {}
        }
    }

    /// SQLite's rule (`sqlite3_complete`): a trigger ends at the semicolon after `; END`,
    /// everything else at the first one.
    fn may_end(&self, backend: Backend, text: &str, before: &[Token]) -> bool {
        match backend {
            Backend::Postgres => self.parentheses == 0 && self.blocks == 0,
            Backend::Sqlite if creates_trigger(text, before) => match before {
                [.., semicolon, end] => {
                    semicolon.kind == Kind::Semicolon && end.is_word(text, "end")
                }
                _ => false,
            },
            Backend::Sqlite => true,
        }
    }
}

fn begins(text: &str, tokens: &[Token], words: &[&[&str]]) -> bool {
    tokens.len() >= words.len()
        && words
            .iter()
            .zip(tokens)
            .all(|(allowed, token)| allowed.iter().any(|word| token.is_word(text, word)))
}

fn creates_routine(text: &str, tokens: &[Token]) -> bool {
    const ROUTINE: &[&str] = &["function", "procedure"];
    begins(text, tokens, &[&["create"], ROUTINE])
        || begins(text, tokens, &[&["create"], &["or"], &["replace"], ROUTINE])
}

fn creates_trigger(text: &str, tokens: &[Token]) -> bool {
    let tokens = match tokens {
        [explain, query, plan, rest @ ..]
            if explain.is_word(text, "explain")
                && query.is_word(text, "query")
                && plan.is_word(text, "plan") =>
        {
            rest
        }
        [explain, rest @ ..] if explain.is_word(text, "explain") => rest,
        all => all,
    };
    begins(text, tokens, &[&["create"], &["trigger"]])
        || begins(
            text,
            tokens,
            &[&["create"], &["temp", "temporary"], &["trigger"]],
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::script::token::significant;

    use super::*;

    fn pieces(backend: Backend, text: &str) -> Vec<&str> {
        split(backend, text)
            .into_iter()
            .map(|range| &text[range])
            .collect()
    }

    #[test]
    fn the_guides_script_has_its_eight_statements() {
        let text = include_str!("../../../../migrations/001_v2_schema_updates.sql");
        let found = pieces(Backend::Postgres, text);
        let heads: Vec<_> = found
            .iter()
            .map(|piece| {
                piece
                    .split_whitespace()
                    .take(3)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        assert_eq!(
            heads,
            [
                "ALTER TABLE pipelines",
                "CREATE TABLE pipeline_metrics",
                "CREATE INDEX idx_pipeline_metrics_pipeline_id",
                "CREATE INDEX idx_pipeline_metrics_timestamp",
                "CREATE INDEX idx_pipeline_metrics_name",
                "UPDATE pipelines SET",
                "CREATE OR REPLACE",
                "CREATE TRIGGER update_pipelines_updated_at",
            ]
        );
        assert!(found[6].ends_with("$$ language 'plpgsql'"));
    }

    #[test]
    fn postgres_bodies_quotes_and_comments_hold_their_semicolons() {
        for (text, expected) in [
            ("", vec![]),
            (" ;; -- x\n;", vec![]),
            ("a;b", vec!["a", "b"]),
            ("select ';' ; select 1", vec!["select ';'", "select 1"]),
            (r"select 'a\'; select 2", vec![r"select 'a\'", "select 2"]),
            (r"select E'a\';b'; x", vec![r"select E'a\';b'", "x"]),
            (
                "a /* ; /* ; */ ; */ b; c",
                vec!["a /* ; /* ; */ ; */ b", "c"],
            ),
            (
                "do $x$ a; $$ b; $$ c $x$; d",
                vec!["do $x$ a; $$ b; $$ c $x$", "d"],
            ),
            ("select a$b$c; d", vec!["select a$b$c", "d"]),
            ("select \"a;\"\"b\"; c", vec!["select \"a;\"\"b\"", "c"]),
            (
                "create rule r as on insert to t do also (insert into a values(1); insert into b values (2)); x",
                vec![
                    "create rule r as on insert to t do also (insert into a values(1); insert into b values (2))",
                    "x",
                ],
            ),
            (
                "create or replace procedure p() begin atomic select case when true then 1 end; select 2; end; x",
                vec![
                    "create or replace procedure p() begin atomic select case when true then 1 end; select 2; end",
                    "x",
                ],
            ),
            (
                "begin; select 1; end; x",
                vec!["begin", "select 1", "end", "x"],
            ),
        ] {
            assert_eq!(pieces(Backend::Postgres, text), expected, "{text}");
        }
    }

    #[test]
    fn gooses_mark_ends_a_statement_and_guards_of_dumps_are_none() {
        let text = "-- +goose StatementBegin\ncreate function f() returns int as $$ select 1; $$ language sql\n\
                    -- +goose StatementEnd\nselect 2";
        let found = pieces(Backend::Postgres, text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("language sql"));
        let trigger = "create trigger t after insert on a begin select 1; end\n-- +goose StatementEnd\nselect 2";
        assert_eq!(pieces(Backend::Sqlite, trigger).len(), 2);
        let dump = "\\restrict aBc9\n\nselect 1;\n\n\\unrestrict aBc9\n";
        assert_eq!(pieces(Backend::Postgres, dump), ["select 1"]);
    }

    #[test]
    fn sqlite_triggers_quotes_and_comments_hold_their_semicolons() {
        for (text, expected) in [
            ("", vec![]),
            ("; /* x", vec![]),
            ("a;b", vec!["a", "b"]),
            ("select 'it''s;'; x", vec!["select 'it''s;'", "x"]),
            (
                "select [a;b], `c;``d`, \"e;\"\"f\"; x",
                vec!["select [a;b], `c;``d`, \"e;\"\"f\"", "x"],
            ),
            ("a /* ; /* ; */ c; b", vec!["a /* ; /* ; */ c", "b"]),
            (
                "select x'00', 1e-5, $a; x",
                vec!["select x'00', 1e-5, $a", "x"],
            ),
            (
                "create trigger t after update on a begin update a set b = case when 1 then 2 end; delete from c; end; x",
                vec![
                    "create trigger t after update on a begin update a set b = case when 1 then 2 end; delete from c; end",
                    "x",
                ],
            ),
            (
                "Create Temp Trigger \"end\" after delete on a begin select 1; /* ; end; */ END ; x",
                vec![
                    "Create Temp Trigger \"end\" after delete on a begin select 1; /* ; end; */ END",
                    "x",
                ],
            ),
            (
                "create table trigger_log(a); x",
                vec!["create table trigger_log(a)", "x"],
            ),
        ] {
            assert_eq!(pieces(Backend::Sqlite, text), expected, "{text}");
        }
    }

    fn sql() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("'".to_owned()),
            Just("\"".to_owned()),
            Just("`".to_owned()),
            Just("[".to_owned()),
            Just("]".to_owned()),
            Just("$$".to_owned()),
            Just("$a$".to_owned()),
            Just("--".to_owned()),
            Just("/*".to_owned()),
            Just("*/".to_owned()),
            Just("\n".to_owned()),
            Just(";".to_owned()),
            Just(" ".to_owned()),
            Just("(".to_owned()),
            Just(")".to_owned()),
            Just("\\".to_owned()),
            Just("create trigger x begin ".to_owned()),
            Just("create function f() begin atomic ".to_owned()),
            Just("case ".to_owned()),
            Just("end".to_owned()),
            "[a-zé🦀0-9.+-]{0,4}".prop_map(|text: String| text),
        ];
        proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn statements_and_what_is_between_give_the_script_back(text in sql()) {
            for backend in [Backend::Postgres, Backend::Sqlite] {
                let mut at = 0;
                let mut joined = String::new();
                for range in split(backend, &text) {
                    prop_assert!(range.start >= at && range.end > range.start);
                    let between = &text[at..range.start];
                    prop_assert!(
                        significant(backend, between)
                            .iter()
                            .all(|token| token.kind == Kind::Semicolon),
                        "{between:?} is skipped"
                    );
                    joined.push_str(between);
                    joined.push_str(&text[range.clone()]);
                    at = range.end;
                }
                joined.push_str(&text[at..]);
                prop_assert_eq!(&joined, &text);
            }
        }

        #[test]
        fn tokens_cover_the_text(text in sql()) {
            for backend in [Backend::Postgres, Backend::Sqlite] {
                let mut at = 0;
                for token in super::super::token::tokens(backend, &text) {
                    prop_assert_eq!(token.start, at);
                    prop_assert!(token.end > token.start);
                    prop_assert!(text.is_char_boundary(token.end));
                    at = token.end;
                }
                prop_assert_eq!(at, text.len());
            }
        }
    }
}
