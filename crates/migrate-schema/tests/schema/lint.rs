//! The lint's rules: what each says, and what it leaves alone.

use std::collections::BTreeSet;

use migrate_schema::db::Backend;
use migrate_schema::layout::{Choice, Layout, MigrationSet, Placeholders, SourceFile};
use migrate_schema::lint::{Chosen, Known, Level, Levels, Report, TableSize, lint};

const POSTGRES: Backend = Backend::Postgres;
const SQLITE: Backend = Backend::Sqlite;

fn report(known: &Known, chosen: &Chosen, levels: &Levels, files: &[(&str, &str)]) -> Report {
    let files: Vec<SourceFile> = files
        .iter()
        .map(|(name, text)| SourceFile::new(name, text))
        .collect();
    let set = MigrationSet::of_files(&files, Choice::Named(Layout::Sqlx), known.backend).unwrap();
    lint(&set, chosen, known, levels, &Placeholders::default())
}

/// `level rule LINE` of each finding of a script that comes after `before`.
fn found(backend: Backend, before: &str, text: &str) -> Vec<String> {
    let files = [("1_before.sql", before), ("2_x.sql", text)];
    let only = Chosen::Files(BTreeSet::from(["2_x.sql".to_owned()]));
    let report = report(&Known::nothing(backend), &only, &Levels::default(), &files);
    short(&report)
}

fn short(report: &Report) -> Vec<String> {
    report
        .findings
        .iter()
        .map(|one| format!("{} {} {}", one.level, one.rule, one.place.line))
        .collect()
}

/// Each script's findings, notes of squawk's about style left out.
#[track_caller]
fn check(backend: Backend, before: &str, cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        let mut all = found(backend, before, text);
        all.retain(|one| !one.contains(" prefer-"));
        assert_eq!(&all, expected, "{text}");
    }
}

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
fn the_live_databases_sizes_decide_how_much_it_weighs() {
    let files = [("1_x.sql", "create index i on t (a)")];
    let pending = Chosen::Pending(BTreeSet::from(["1".to_owned()]));
    for (rows, bytes, expected) in [
        (Some(5), 8192, "note index-under-lock 1"),
        (Some(3_000_000), 400 << 20, "error index-under-lock 1"),
        (None, 1 << 30, "error index-under-lock 1"),
    ] {
        let size = TableSize { rows, bytes };
        let known = Known::nothing(POSTGRES).with_size(&"public.t".parse().unwrap(), size);
        let report = report(&known, &pending, &Levels::default(), &files);
        assert_eq!(short(&report), [expected]);
    }
}

#[test]
fn a_table_of_the_same_batch_is_nobodys_yet() {
    let files = [
        ("1_t.sql", "create table t (a bigint)"),
        ("2_i.sql", "create index i on t (a)"),
    ];
    let known = Known::nothing(POSTGRES);
    let both = Chosen::Pending(BTreeSet::from(["1".to_owned(), "2".to_owned()]));
    assert_eq!(
        short(&report(&known, &both, &Levels::default(), &files)),
        Vec::<String>::new()
    );
    // One that was there before, or a run of its own, is another matter.
    let last = Chosen::Pending(BTreeSet::from(["2".to_owned()]));
    for chosen in [last, Chosen::All] {
        assert_eq!(
            short(&report(&known, &chosen, &Levels::default(), &files)),
            ["warning index-under-lock 1"]
        );
    }
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

#[test]
fn a_comment_takes_a_finding_back_if_it_says_why() {
    let before = "create table t (a bigint, b text)";
    check(
        POSTGRES,
        before,
        &[
            (
                "-- lint:ignore drop-table the team has agreed on it\ndrop table t",
                &[],
            ),
            (
                "/* lint:ignore drop-column,table-rewrite nobody reads it */\nalter table t drop column b, alter a type numeric",
                &[],
            ),
            (
                "-- lint:ignore drop-table\ndrop table t",
                &["error drop-table 2", "error ignore-without-reason 1"],
            ),
            (
                "-- lint:ignore drop-table agreed\nselect 1;\ndrop table t",
                &["error drop-table 3", "warning unused-ignore 1"],
            ),
            (
                "-- lint:ignore drop-tables agreed\nselect 1",
                &["warning unused-ignore 1"],
            ),
            (
                "-- lint:ignore-file drop-table agreed\nselect 1;\ndrop table t",
                &[],
            ),
            ("-- squawk-ignore ban-drop-table\ndrop table t", &[]),
            (
                "-- squawk-ignore ban-drop-column\ndrop table t",
                &["error drop-table 2"],
            ),
            ("select '-- lint:ignore drop-table agreed'", &[]),
        ],
    );
    let ignored = [("1_x.sql", "-- lint:ignore drop-table: agreed\ndrop table t")];
    let report = report(
        &Known::nothing(POSTGRES),
        &Chosen::All,
        &Levels::default(),
        &ignored,
    );
    assert_eq!(report.ignored[0].reason.as_deref(), Some("agreed"));
}

#[test]
fn levels_are_the_callers_in_the_end() {
    let files = [(
        "1_x.sql",
        "drop table t; alter table u add column a bigint not null",
    )];
    let mut levels = Levels::default();
    levels.set("drop-table", None).unwrap();
    levels
        .set("adding-required-field", Some(Level::Error))
        .unwrap();
    levels.set("ban-add-column", Some(Level::Warning)).unwrap();
    assert!(levels.set("no-such-rule", None).is_err());
    let report = report(&Known::nothing(POSTGRES), &Chosen::All, &levels, &files);
    let rules: Vec<String> = short(&report);
    assert!(
        !rules.iter().any(|one| one.contains("drop-table")),
        "{rules:?}"
    );
    assert!(
        rules.contains(&"error adding-required-field 1".to_owned()),
        "{rules:?}"
    );
    assert!(
        rules.contains(&"warning ban-add-column 1".to_owned()),
        "{rules:?}"
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
