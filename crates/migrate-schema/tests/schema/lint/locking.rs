//! What stands in the way of others, and what `apply` would refuse.

use super::{POSTGRES, check};

#[test]
fn work_under_a_strong_lock_is_told() {
    check(
        POSTGRES,
        "create table t (a bigint, b text); create table u (a bigint primary key); create index old on t (a);",
        &[
            ("alter table t add c text", &[]),
            ("alter table t add c text default 'x' not null", &[]),
            ("alter table t add c timestamptz default now()", &[]),
            (
                "alter table t add c uuid default gen_random_uuid()",
                &["warning table-rewrite 1"],
            ),
            (
                "alter table t add c bigserial",
                &["warning table-rewrite 1"],
            ),
            (
                "alter table t add c bigint generated always as (a * 2) stored",
                &["warning table-rewrite 1"],
            ),
            (
                "alter table t add c text unique",
                &["warning index-under-lock 1"],
            ),
            (
                "alter table t add c text check (c <> '')",
                &["warning scan-under-lock 1"],
            ),
            (
                "alter table t alter a set not null",
                &["warning scan-under-lock 1"],
            ),
            (
                "alter table t add constraint k check (a > 0)",
                &["warning scan-under-lock 1"],
            ),
            (
                "alter table t add constraint k check (a > 0) not valid",
                &[],
            ),
            (
                "alter table t add constraint k foreign key (a) references u (a)",
                &["warning scan-under-lock 1"],
            ),
            (
                "alter table t add constraint k foreign key (a) references u (a) not valid",
                &[],
            ),
            (
                "alter table t add primary key (a)",
                &["warning index-under-lock 1"],
            ),
            ("alter table t add constraint k unique using index old", &[]),
            ("create index i on t (a)", &["warning index-under-lock 1"]),
            ("create table n (a bigint); create index i on n (a)", &[]),
            ("drop index old", &["note drop-index-lock 1"]),
            ("alter table t set unlogged", &["warning table-rewrite 1"]),
            ("alter table t detach partition t1", &["note detach-lock 1"]),
            ("refresh materialized view v", &["warning table-rewrite 1"]),
            ("reindex table t", &["warning index-under-lock 1"]),
            (
                "-- no-transaction\ncreate index concurrently i on t (a)",
                &[],
            ),
            (
                "-- no-transaction\nvacuum full t",
                &["warning table-rewrite 2"],
            ),
            ("-- no-transaction\nvacuum t", &[]),
        ],
    );
}

#[test]
fn a_check_that_was_validated_makes_set_not_null_short() {
    let before = "create table t (a bigint); alter table t add constraint k check (a is not null) not valid;";
    let set = "alter table t alter a set not null";
    check(POSTGRES, before, &[(set, &["warning scan-under-lock 1"])]);
    let validated = format!("{before} alter table t validate constraint k");
    check(POSTGRES, &validated, &[(set, &[])]);
}

#[test]
fn a_lock_that_is_held_while_others_work_is_told() {
    let before = "create table t (a bigint, b text); create table u (a bigint);";
    check(
        POSTGRES,
        before,
        &[
            (
                "alter table t add c text;\nupdate t set c = b",
                &["warning whole-table-write 2", "warning lock-held 2"],
            ),
            (
                "alter table t add c text;\ninsert into u select a from t",
                &["warning lock-held 2"],
            ),
            (
                "alter table t add constraint k check (a > 0) not valid;\nalter table t validate constraint k",
                &["warning lock-held 2"],
            ),
            // Each in a transaction of its own.
            (
                "-- no-transaction\nalter table t add c text;\ninsert into u select a from t",
                &[],
            ),
            (
                "-- no-transaction\nbegin;\nalter table t add c text;\ninsert into u select a from t;\ncommit",
                &["warning lock-held 4"],
            ),
            // What is locked is new.
            (
                "create table n (a bigint);\nalter table n add c text;\ninsert into u select a from t",
                &[],
            ),
        ],
    );
}

#[test]
fn what_apply_would_refuse_is_an_error() {
    check(
        POSTGRES,
        "",
        &[
            (
                "create index concurrently i on t (a)",
                &["error cannot-run 1"],
            ),
            ("select 'x", &["error cannot-run 1"]),
            ("select 1;\n\\i other.sql", &["error cannot-run 2"]),
        ],
    );
}

#[test]
fn squawks_rules_leave_new_tables_alone() {
    check(
        POSTGRES,
        "create table t (a bigint, b text)",
        &[
            (
                "alter table t rename column a to c",
                &["warning renaming-column 1"],
            ),
            (
                "create table n (a bigint); alter table n rename column a to c; alter table n alter c drop not null",
                &[],
            ),
            (
                "alter table t alter a drop not null",
                &["note ban-drop-not-null 1"],
            ),
        ],
    );
}
