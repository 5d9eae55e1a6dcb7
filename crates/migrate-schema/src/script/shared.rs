//! Statements on what all databases of a PostgreSQL server share: roles and their memberships,
//! databases, tablespaces, the server's settings, subscriptions.
//!
//! Run on a scratch database, they would change the server of others.

use super::token::{Kind, significant};
use crate::db::Backend;

/// What of a server a statement changes, in words; none if it stays within its database. What
/// stands in the bodies and texts of a statement that can run them counts too.
pub(crate) fn shared(backend: Backend, statement: &str) -> Option<&'static str> {
    if backend == Backend::Sqlite {
        return None;
    }
    let tokens = significant(backend, statement);
    let outer: Vec<String> = tokens
        .iter()
        .filter(|token| token.kind != Kind::Text)
        .map(|token| token.text(statement).to_lowercase())
        .collect();
    let outer: Vec<&str> = outer.iter().map(String::as_str).collect();
    if let Some(what) = named(&outer) {
        return Some(what);
    }
    let membership = matches!(outer.first(), Some(&("grant" | "revoke")))
        && !outer.contains(&"on")
        && outer.iter().any(|word| matches!(*word, "to" | "from"));
    if membership {
        return Some("memberships of roles");
    }
    let runs_texts = matches!(
        outer.first(),
        Some(&("do" | "create" | "call" | "select" | "perform" | "execute" | "with"))
    );
    if !runs_texts {
        return None;
    }
    let inner: Vec<String> = tokens
        .iter()
        .filter(|token| token.kind == Kind::Text)
        .flat_map(|token| words(token.text(statement)))
        .collect();
    let inner: Vec<&str> = inner.iter().map(String::as_str).collect();
    named(&inner).or_else(|| grants_a_role(&inner).then_some("memberships of roles"))
}

/// Words of a body; `%I` and the like are words too.
fn words(text: &str) -> Vec<String> {
    text.split(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | '%')))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn named(words: &[&str]) -> Option<&'static str> {
    words.iter().enumerate().find_map(|(at, word)| {
        let next = |step: usize| words.get(at + step).copied().unwrap_or_default();
        match (*word, next(1)) {
            ("create" | "alter" | "drop", "user") if next(2) == "mapping" => None,
            ("create" | "alter" | "drop", "role" | "user" | "group") => Some("roles"),
            ("create" | "alter" | "drop", "database") => Some("databases and their settings"),
            ("create" | "alter" | "drop", "tablespace") => Some("tablespaces"),
            ("create" | "alter" | "drop", "subscription") => Some("subscriptions"),
            ("alter", "system") => Some("settings of the server"),
            ("reassign" | "drop", "owned") => Some("what roles own"),
            ("comment", "on") if matches!(next(2), "role" | "database" | "tablespace") => {
                Some("comments on roles, databases and tablespaces")
            }
            ("on", "database" | "tablespace" | "parameter")
                if words[..at]
                    .iter()
                    .rev()
                    .take(12)
                    .any(|word| matches!(*word, "grant" | "revoke")) =>
            {
                Some("privileges on databases, tablespaces and settings")
            }
            _ => None,
        }
    })
}

/// `grant A to B` in a body: no `on` between.
fn grants_a_role(words: &[&str]) -> bool {
    words.iter().enumerate().any(|(at, word)| {
        matches!(*word, "grant" | "revoke")
            && words[at + 1..]
                .iter()
                .take(8)
                .position(|word| matches!(*word, "to" | "from"))
                .is_some_and(|end| {
                    (1..=4).contains(&end) && !words[at + 1..=at + end].contains(&"on")
                })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_servers_databases_share_is_known() {
        for statement in [
            "create role app",
            "CREATE USER app PASSWORD 'x'",
            "alter role app login connection limit 5",
            "alter database live set work_mem = '1GB'",
            "ALTER SYSTEM SET work_mem = '1GB'",
            "create subscription s connection 'x' publication p",
            "grant reader to app",
            "revoke reader from app",
            "grant connect on database live to app",
            "reassign owned by a to b",
            "comment on role app is 'x'",
            "do $$ begin if not exists (select from pg_roles) then create role app; end if; end $$",
            "do $$ begin execute 'create   ROLE ' || quote_ident('app'); end $$",
            "do $$ begin execute format('alter role %I set search_path = x', 'app'); end $$",
            "create function f() returns void as 'begin execute ''grant reader to app''; end' language plpgsql",
            "select dblink_exec('x', 'drop database y')",
            "drop tablespace fast",
        ] {
            assert!(
                shared(Backend::Postgres, statement).is_some(),
                "{statement}"
            );
        }
    }

    #[test]
    fn what_stays_in_its_database_is_not() {
        for statement in [
            "create table role (a int)",
            "grant select on t to app",
            "grant usage on schema s to app",
            "alter default privileges in schema s grant select on tables to app",
            "create user mapping for app server s",
            "insert into notes values ('please drop user bob')",
            "set role app",
            "alter table t owner to app",
            "create policy p on t to app",
            "do $$ begin grant select on t to app; end $$",
            "create extension pgcrypto",
        ] {
            assert_eq!(shared(Backend::Postgres, statement), None, "{statement}");
        }
        assert_eq!(shared(Backend::Sqlite, "create role app"), None);
    }
}
