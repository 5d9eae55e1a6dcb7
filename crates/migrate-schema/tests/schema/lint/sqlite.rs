//! SQLite's limits and rebuilds.

use super::{SQLITE, check};

#[test]
fn sqlites_alter_table_has_its_limits() {
    check(
        SQLITE,
        "create table t (a integer primary key, b text, c text unique)",
        &[
            ("alter table t add d text", &[]),
            ("alter table t add d text default 'x' not null", &[]),
            (
                "alter table t add d text unique",
                &["error sqlite-alter-limit 1"],
            ),
            (
                "alter table t add d integer primary key",
                &["error sqlite-alter-limit 1"],
            ),
            (
                "alter table t add d text not null",
                &["warning sqlite-alter-limit 1"],
            ),
            (
                "alter table t add d text default current_timestamp",
                &["warning sqlite-alter-limit 1"],
            ),
            (
                "alter table t add d generated always as (a * 2) stored",
                &["warning sqlite-alter-limit 1"],
            ),
            ("alter table t add d as (a * 2)", &[]),
            (
                "alter table t alter column b type integer",
                &["error sqlite-alter-limit 1"],
            ),
            (
                "alter table t add constraint k check (b)",
                &["error sqlite-alter-limit 1"],
            ),
            (
                "alter table t drop column c",
                &["error drop-column 1", "error sqlite-alter-limit 1"],
            ),
            ("alter table t rename column b to d", &[]),
        ],
    );
}

#[test]
fn sqlites_rebuilds_have_their_pitfalls() {
    check(
        SQLITE,
        "create table t (a integer primary key, b text); create index i on t (b); create table child (a integer references t (a));",
        &[
            // As SQLite's manual says.
            (
                "create table n (a integer primary key, b text); insert into n (a, b) select a, b from t; drop table t; alter table n rename to t; create index i on t (b)",
                &[],
            ),
            (
                "create table n (a, b);\ninsert into n select * from t;\ndrop table t;\nalter table n rename to t",
                &[
                    "warning sqlite-copy-by-position 2",
                    "warning sqlite-rebuild-loses 3",
                ],
            ),
            (
                "alter table t rename to old;\ncreate table t (a integer primary key, b text);\ninsert into t (a, b) select a, b from old;\ndrop table old; create index i on t (b)",
                &["error sqlite-rebuild-order 1"],
            ),
            (
                "-- no-transaction\nbegin;\npragma foreign_keys = off;\ncommit",
                &["error sqlite-foreign-keys-pragma 3"],
            ),
            ("pragma foreign_keys = off", &[]),
        ],
    );
}
