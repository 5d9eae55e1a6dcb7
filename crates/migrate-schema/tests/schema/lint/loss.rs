//! What loses rows or values, and ways back.

use migrate_schema::lint::{Chosen, Known, Levels};

use super::{POSTGRES, SQLITE, check, report};

#[test]
fn what_loses_rows_is_an_error_on_both_databases() {
    for backend in [POSTGRES, SQLITE] {
        check(
            backend,
            "create table t (a bigint, b text); create table u (a bigint);",
            &[
                ("drop table t", &["error drop-table 1"]),
                ("drop table if exists t", &["error drop-table 1"]),
                (
                    "select 1;\nalter table t drop column b",
                    &["error drop-column 2"],
                ),
                ("delete from t", &["warning whole-table-write 1"]),
                ("update t set a = 1", &["warning whole-table-write 1"]),
                ("delete from t where a = 1", &[]),
                ("update t set a = 1 where a in (select a from u)", &[]),
                // Nobody else has rows in what this script makes.
                (
                    "create table n (a bigint, b text); alter table n drop column b; update n set a = 1; delete from n; drop table n",
                    &[],
                ),
                // A rebuild keeps the rows.
                (
                    "create table n (a bigint); insert into n (a) select a from u; drop table u; alter table n rename to u",
                    &[],
                ),
                (
                    "drop view v",
                    if backend == POSTGRES {
                        &["note ban-drop-view 1"]
                    } else {
                        &[]
                    },
                ),
                ("insert into t values (1, 'drop table t;')", &[]),
                ("-- drop table t\nselect 1", &[]),
            ],
        );
    }
    check(
        POSTGRES,
        "create table t (a text)",
        &[
            ("truncate t, u", &["error truncate 1", "error truncate 1"]),
            ("drop schema s cascade", &["error drop-schema 1"]),
            (
                "drop type mood cascade",
                &["warning drop-cascade 1", "note ban-drop-type 1"],
            ),
            ("do $$ begin drop table t; end $$", &[]),
        ],
    );
}

#[test]
fn a_change_of_type_is_judged_by_the_type_before() {
    check(
        POSTGRES,
        "create table t (a varchar(50), b bigint, c text, d timestamp(3) not null default now())",
        &[
            ("alter table t alter a type varchar(80)", &[]),
            ("alter table t alter column a set data type text", &[]),
            ("alter table t alter a type text using a::text", &[]),
            (
                "alter table t alter a type text using lower(a)",
                &["warning table-rewrite 1"],
            ),
            (
                "alter table t alter a type varchar(20)",
                &["error narrowing-type 1", "warning table-rewrite 1"],
            ),
            (
                "alter table t alter b type int",
                &["error narrowing-type 1", "warning table-rewrite 1"],
            ),
            (
                "alter table t alter b type numeric",
                &["warning table-rewrite 1"],
            ),
            (
                "alter table t alter d type date",
                &["error narrowing-type 1", "warning table-rewrite 1"],
            ),
            // Nothing is known of the type before.
            (
                "alter table other alter x type bigint",
                &["warning table-rewrite 1"],
            ),
        ],
    );
}

#[test]
fn ways_back_are_looked_at() {
    let known = Known::nothing(POSTGRES);
    let look = |files: &[(&str, &str)]| {
        let report = report(&known, &Chosen::All, &Levels::default(), files);
        let with_file = |one: &migrate_schema::lint::LintFinding| {
            format!("{} {} {}", one.level, one.rule, one.place.file)
        };
        report.findings.iter().map(with_file).collect::<Vec<_>>()
    };
    assert_eq!(
        look(&[("1_a.sql", "select 1"), ("2_b.sql", "select 2")]),
        Vec::<String>::new()
    );
    assert_eq!(
        look(&[
            ("1_a.up.sql", "select 1"),
            ("1_a.down.sql", "select 2"),
            ("2_b.up.sql", "select 3"),
            ("3_c.up.sql", "drop table t"),
            ("3_c.down.sql", "create table t (a bigint)"),
            ("4_d.up.sql", "alter type m add value 'x' before 'y'"),
            ("4_d.down.sql", "-- nothing to do"),
            ("5_e.up.sql", "alter type m add value 'z' before 'y'"),
            ("5_e.down.sql", "select 4"),
        ]),
        [
            "warning missing-down 2_b.up.sql",
            "error drop-table 3_c.up.sql",
            "note irreversible 3_c.up.sql",
            "warning missing-down 4_d.up.sql",
            "note irreversible 5_e.up.sql",
        ]
    );
}
