//! The rules by name.

use super::rule::Databases::{self, Both, Postgres, Sqlite};
use super::rule::Level::{self, Error, Note, Warning};
use super::rule::{Origin, Rule};

const fn own(
    name: &'static str,
    level: Level,
    databases: Databases,
    squawk: &'static [&'static str],
    about: &'static str,
) -> Rule {
    Rule {
        name,
        level: Some(level),
        databases,
        origin: Origin::Own(squawk),
        about,
    }
}

const fn squawk(name: &'static str, level: Option<Level>, about: &'static str) -> Rule {
    Rule {
        name,
        level,
        databases: Databases::Postgres,
        origin: Origin::Squawk,
        about,
    }
}

/// All rules: ours, then squawk's.
pub const RULES: &[Rule] = &[
    own(
        "cannot-run",
        Error,
        Both,
        &["ban-concurrent-index-creation-in-transaction"],
        "`schema apply` would refuse it: cut off, not transactional, a command of psql",
    ),
    own(
        "drop-table",
        Error,
        Both,
        &["ban-drop-table"],
        "a table is dropped with its rows",
    ),
    own(
        "drop-column",
        Error,
        Both,
        &["ban-drop-column"],
        "a column is dropped with its values",
    ),
    own(
        "drop-schema",
        Error,
        Postgres,
        &["ban-drop-schema", "ban-drop-database"],
        "a schema or database is dropped with all that is in it",
    ),
    own(
        "drop-cascade",
        Warning,
        Postgres,
        &[],
        "DROP TYPE, DOMAIN or EXTENSION … CASCADE takes columns along",
    ),
    own(
        "truncate",
        Error,
        Both,
        &["ban-truncate-cascade"],
        "all rows of a table are deleted",
    ),
    own(
        "narrowing-type",
        Error,
        Postgres,
        &["changing-column-type"],
        "values may not fit into a column's new type, or lose something",
    ),
    own(
        "table-rewrite",
        Warning,
        Postgres,
        &[
            "changing-column-type",
            "adding-field-with-default",
            "adding-serial-primary-key-field",
            "prefer-repack",
        ],
        "the whole table is written again while nobody can read it",
    ),
    own(
        "scan-under-lock",
        Warning,
        Postgres,
        &[
            "adding-not-nullable-field",
            "constraint-missing-not-valid",
            "adding-foreign-key-constraint",
        ],
        "the whole table is read while writers, or all, wait",
    ),
    own(
        "index-under-lock",
        Warning,
        Postgres,
        &[
            "require-concurrent-index-creation",
            "require-concurrent-reindex",
            "disallowed-unique-constraint",
        ],
        "an index is built while writers, or all, wait",
    ),
    own(
        "drop-index-lock",
        Note,
        Postgres,
        &["require-concurrent-index-deletion"],
        "DROP INDEX without CONCURRENTLY locks readers and writers out for a moment",
    ),
    own(
        "detach-lock",
        Note,
        Postgres,
        &["require-concurrent-partition-detach"],
        "DETACH PARTITION without CONCURRENTLY locks readers and writers of the whole table out for a moment",
    ),
    own(
        "lock-held",
        Warning,
        Postgres,
        &["constraint-missing-not-valid"],
        "a strong lock of an earlier statement is held while this one takes long",
    ),
    own(
        "whole-table-write",
        Warning,
        Both,
        &[],
        "UPDATE or DELETE without WHERE touches every row in one statement",
    ),
    own(
        "missing-down",
        Warning,
        Both,
        &[],
        "a migration has no down, or an empty one, where others have theirs",
    ),
    own(
        "irreversible",
        Note,
        Both,
        &[],
        "its down can't bring back what it deletes or adds",
    ),
    own(
        "sqlite-alter-limit",
        Error,
        Sqlite,
        &[],
        "SQLite's ALTER TABLE can't do it, or not once the table has rows",
    ),
    own(
        "sqlite-foreign-keys-pragma",
        Error,
        Sqlite,
        &[],
        "PRAGMA foreign_keys has no effect inside the script's own transaction",
    ),
    own(
        "sqlite-rebuild-order",
        Warning,
        Sqlite,
        &[],
        "renaming the old table first makes other tables' references follow it",
    ),
    own(
        "sqlite-rebuild-loses",
        Warning,
        Sqlite,
        &[],
        "a rebuilt table loses indexes and triggers that are not made again",
    ),
    own(
        "sqlite-drop-cascades",
        Error,
        Sqlite,
        &[],
        "with foreign keys on, dropping a table deletes the rows that refer to it by ON DELETE CASCADE",
    ),
    own(
        "sqlite-copy-by-position",
        Warning,
        Sqlite,
        &[],
        "INSERT … SELECT * puts values into columns by their order",
    ),
    own(
        "ignore-without-reason",
        Error,
        Both,
        &[],
        "`lint:ignore RULE` does not say why",
    ),
    own(
        "unused-ignore",
        Warning,
        Both,
        &[],
        "`lint:ignore` where there is nothing to ignore, or no such rule",
    ),
    squawk(
        "adding-required-field",
        Some(Warning),
        "a NOT NULL column without a default fails where there are rows",
    ),
    squawk(
        "renaming-column",
        Some(Warning),
        "running programs still use the old name",
    ),
    squawk(
        "renaming-table",
        Some(Warning),
        "running programs still use the old name",
    ),
    squawk(
        "renaming-object",
        Some(Note),
        "running programs may still use the old name",
    ),
    squawk(
        "ban-set-schema",
        Some(Warning),
        "running programs still look in the old schema",
    ),
    squawk(
        "ban-alter-domain-with-add-constraint",
        Some(Warning),
        "every column of the domain is checked under a lock",
    ),
    squawk(
        "ban-create-domain-with-constraint",
        Some(Note),
        "a domain's constraint is hard to change later",
    ),
    squawk(
        "ban-drop-not-null",
        Some(Note),
        "running programs may not expect nulls",
    ),
    squawk("ban-drop-view", Some(Note), "running programs may use it"),
    squawk(
        "ban-drop-function",
        Some(Note),
        "running programs may use it",
    ),
    squawk("ban-drop-type", Some(Note), "running programs may use it"),
    squawk("ban-drop-domain", Some(Note), "running programs may use it"),
    squawk(
        "ban-drop-sequence",
        Some(Note),
        "running programs may use it",
    ),
    squawk(
        "ban-drop-default",
        Some(Note),
        "running programs may rely on it",
    ),
    squawk(
        "ban-drop-constraint",
        Some(Note),
        "rows that break it can come in",
    ),
    squawk(
        "ban-drop-extension",
        Some(Note),
        "running programs may use it",
    ),
    squawk(
        "ban-drop-generated-expression",
        Some(Note),
        "the column is not computed any more",
    ),
    squawk(
        "ban-alter-identity",
        Some(Note),
        "running programs may write the column themselves",
    ),
    squawk(
        "ban-duplicate-column-assignments",
        Some(Warning),
        "one UPDATE sets a column twice",
    ),
    squawk(
        "identifier-too-long",
        Some(Warning),
        "PostgreSQL cuts a name after 63 bytes",
    ),
    squawk(
        "prefer-bigint-over-int",
        Some(Note),
        "a key of 32 bits runs out",
    ),
    squawk(
        "prefer-bigint-over-smallint",
        Some(Note),
        "a key of 16 bits runs out",
    ),
    squawk(
        "prefer-identity",
        Some(Note),
        "identity columns are managed better than serial ones",
    ),
    squawk(
        "prefer-text-field",
        Some(Note),
        "varchar(n) is hard to lengthen for other tools; text with a check is not",
    ),
    squawk(
        "prefer-timestamp-tz",
        Some(Note),
        "a timestamp without time zone is read as anybody's time",
    ),
    squawk("ban-char-field", Some(Note), "char(n) pads with blanks"),
    squawk(
        "require-enum-value-ordering",
        Some(Note),
        "ADD VALUE does not say where the value sorts",
    ),
    squawk(
        "require-table-schema",
        None,
        "tables are named with their schema",
    ),
    squawk(
        "prefer-robust-stmts",
        None,
        "IF EXISTS everywhere (our runs are transactional or journaled)",
    ),
    squawk(
        "require-lock-timeout",
        None,
        "SET lock_timeout (`schema apply` sets it)",
    ),
    squawk(
        "require-statement-timeout",
        None,
        "SET statement_timeout (`schema apply --statement-timeout`)",
    ),
    squawk("ban-drop-trigger", None, "running programs may rely on it"),
    squawk("ban-drop-policy", None, "rows may be seen or hidden"),
    squawk("ban-drop-index", None, "queries may become slow"),
    squawk("ban-revoke", None, "running programs may lose a privilege"),
    squawk("ban-disable-trigger", None, "what it guards is not guarded"),
    squawk(
        "ban-set-default",
        None,
        "running programs may rely on the old one",
    ),
    squawk(
        "ban-replace-view-function",
        None,
        "running programs see the new one at once",
    ),
    squawk(
        "ban-add-column",
        None,
        "SELECT * of running programs has one more",
    ),
    squawk(
        "ban-add-enum-value",
        None,
        "running programs may not know the value",
    ),
];
