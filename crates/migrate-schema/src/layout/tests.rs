//! Each layout on small directories, and how it is chosen.

use migrate_core::Finding;

use super::*;

fn files(found: &[(&str, &str)]) -> Vec<SourceFile> {
    let mut files: Vec<SourceFile> = found
        .iter()
        .map(|(path, text)| SourceFile::new(path, text))
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// A line for each migration: key, name, transactions, up, down, verify.
fn lines(set: &MigrationSet) -> Vec<String> {
    let part =
        |section: Option<&Section>| section.map_or("-", Section::sql).trim().replace('\n', "/");
    let how = |transactions| match transactions {
        Transactions::One => "tx",
        Transactions::PerStatement => "alone",
    };
    set.migrations
        .iter()
        .map(|one| {
            format!(
                "{} {:?} {} up[{}] {} down[{}] verify[{}]",
                one.key(),
                one.name,
                how(one.transactions),
                part(Some(&one.up)),
                how(one.down_transactions),
                part(one.down.as_ref()),
                part(one.verify.as_ref()),
            )
        })
        .collect()
}

fn named(layout: Layout, backend: Backend, found: &[(&str, &str)]) -> Vec<String> {
    lines(&MigrationSet::of_files(&files(found), Choice::Named(layout), backend).unwrap())
}

fn auto(found: &[(&str, &str)]) -> Result<Layout, Vec<String>> {
    auto_with(None, found)
}

fn auto_with(history: Option<Layout>, found: &[(&str, &str)]) -> Result<Layout, Vec<String>> {
    MigrationSet::of_files(&files(found), Choice::Auto { history }, Backend::Postgres)
        .map(|set| set.layout)
        .map_err(|findings: Vec<Finding>| {
            findings.into_iter().map(|finding| finding.code).collect()
        })
}

#[test]
fn ours_takes_the_file_of_the_database_at_hand() {
    let found = [
        ("002_b.sql", "b"),
        ("002_b.sqlite.sql", "b lite"),
        ("002_b.down.sql", "-- no-transaction\nnot b"),
        ("002_b.verify.sql", "is b"),
        ("010_c.postgres.sql", "c"),
        ("1_a.sql", "-- no-transaction\na"),
        ("R__views.sql", "v"),
    ];
    assert_eq!(
        named(Layout::Ours, Backend::Sqlite, &found),
        [
            r#"1 "a" alone up[-- no-transaction/a] tx down[-] verify[-]"#,
            r#"2 "b" tx up[b lite] alone down[-- no-transaction/not b] verify[is b]"#,
            r#"R:views "views" tx up[v] tx down[-] verify[-]"#,
        ]
    );
    assert_eq!(named(Layout::Ours, Backend::Postgres, &found).len(), 4);
}

#[test]
fn sqlx_knows_both_of_its_forms() {
    assert_eq!(
        named(
            Layout::Sqlx,
            Backend::Postgres,
            &[
                ("20240102_create_users.sql", "a"),
                ("20240103_x.up.sql", "-- no-transaction\nb"),
                ("20240103_x.down.sql", "c"),
            ]
        ),
        [
            r#"20240102 "create users" tx up[a] tx down[-] verify[-]"#,
            r#"20240103 "x" alone up[-- no-transaction/b] tx down[c] verify[-]"#,
        ]
    );
}

#[test]
fn diesel_orders_by_text_and_reads_its_metadata() {
    assert_eq!(
        named(
            Layout::Diesel,
            Backend::Postgres,
            &[
                ("2024-01-02-000000_b/up.sql", "b"),
                ("2024-01-02-000000_b/down.sql", "not b"),
                (
                    "2024-01-02-000000_b/metadata.toml",
                    "run_in_transaction = false # why\n"
                ),
                ("00000000000000_setup/up.sql", "a"),
            ]
        ),
        [
            r#"00000000000000 "setup" tx up[a] tx down[-] verify[-]"#,
            r#"20240102000000 "b" alone up[b] alone down[not b] verify[-]"#,
        ]
    );
}

#[test]
fn golang_migrate_runs_alone_what_can_not_be_in_a_transaction() {
    assert_eq!(
        named(
            Layout::GolangMigrate,
            Backend::Postgres,
            &[
                ("2_i.up.sql", "create index concurrently i on t (a)"),
                ("2_i.down.sql", "drop index i"),
                ("1_t.up.sql", "create table t (a int)"),
            ]
        ),
        [
            r#"1 "t" tx up[create table t (a int)] tx down[-] verify[-]"#,
            r#"2 "i" alone up[create index concurrently i on t (a)] tx down[drop index i] verify[-]"#,
        ]
    );
}

#[test]
fn golang_migrate_takes_other_ends_and_no_other_layout_passes_one_by() {
    let found = [
        ("1_t.up.sql", "a"),
        ("2_u.up.pgsql", "b"),
        ("2_u.down.PGSQL", "c"),
        ("3_v.up.SQL", "d"),
    ];
    assert_eq!(
        named(Layout::GolangMigrate, Backend::Postgres, &found),
        [
            r#"1 "t" tx up[a] tx down[-] verify[-]"#,
            r#"2 "u" tx up[b] tx down[c] verify[-]"#,
            r#"3 "v" tx up[d] tx down[-] verify[-]"#,
        ]
    );
    assert_eq!(auto(&found), Ok(Layout::GolangMigrate));
    // Which of two would be run is nobody's guess.
    let twice = [
        ("1_t.up.sql", "a"),
        ("1_t.down.sql", "b"),
        ("1_t.down.ddl", "c"),
    ];
    let read = MigrationSet::of_files(
        &files(&twice),
        Choice::Named(Layout::GolangMigrate),
        Backend::Postgres,
    );
    assert!(
        read.unwrap_err()[0]
            .message
            .contains("takes the same version back")
    );
    for name in [
        "2_fill.up.py",
        "2_seed.up.gz",
        "Backup.SQL",
        "1_t.up.sql.bak",
    ] {
        assert!(!plain::is_script(name), "{name}");
    }
    let set = MigrationSet::of_files(&files(&found), Choice::Named(Layout::Sqlx), Backend::Sqlite);
    // Another layout does not leave them out in silence.
    let passed_by: Vec<String> = set
        .unwrap_err()
        .into_iter()
        .filter(|one| one.code == "layout.passed-by")
        .filter_map(|one| one.place.map(|place| place.file))
        .collect();
    assert_eq!(passed_by, ["2_u.down.PGSQL", "2_u.up.pgsql", "3_v.up.SQL"]);
}

#[test]
fn golang_migrate_takes_a_version_that_only_goes_down() {
    let found = [
        ("1_t.sql.up.sql", "a"),
        ("1_t.sql.down.sql", "b"),
        ("2_u.down.sql", "c"),
        ("30_x.up..sql", "d"),
    ];
    assert_eq!(
        named(Layout::GolangMigrate, Backend::Postgres, &found),
        [
            r#"1 "t.sql" tx up[a] tx down[b] verify[-]"#,
            r#"2 "" tx up[] tx down[c] verify[-]"#,
            r#"30 "x" tx up[d] tx down[-] verify[-]"#,
        ]
    );
}

#[test]
fn goose_marks_are_read_and_checked() {
    let text = "-- +goose NO TRANSACTION\n-- +goose Up\n-- +goose StatementBegin\na;\n-- +goose StatementEnd\n-- +goose Down\nb;\n";
    assert_eq!(
        named(Layout::Goose, Backend::Postgres, &[("001_x.sql", text)]),
        [
            r#"1 "x" alone up[-- +goose StatementBegin/a;/-- +goose StatementEnd] alone down[b;] verify[-]"#
        ]
    );
    for wrong in [
        "a;",
        "-- +goose Down\n-- +goose Up\n",
        "-- +goose Up\n-- +goose StatementBegin\n",
        "-- +goose Up\n-- +goose Sideways\n",
    ] {
        let found = MigrationSet::of_files(
            &files(&[("1_x.sql", wrong)]),
            Choice::Named(Layout::Goose),
            Backend::Postgres,
        );
        assert!(found.is_err(), "{wrong:?}");
    }
}

#[test]
fn dbmate_marks_are_read_and_checked() {
    let text = "-- a comment\n-- migrate:up transaction:false\na;\n\n-- migrate:down\nb;\n";
    assert_eq!(
        named(
            Layout::Dbmate,
            Backend::Postgres,
            &[("20240101_x.sql", text)]
        ),
        [r#"20240101 "x" alone up[a;] tx down[b;] verify[-]"#]
    );
    for wrong in ["a;", "a;\n-- migrate:up\n", "-- migrate:up speed:high\n"] {
        let found = MigrationSet::of_files(
            &files(&[("1_x.sql", wrong)]),
            Choice::Named(Layout::Dbmate),
            Backend::Postgres,
        );
        assert!(found.is_err(), "{wrong:?}");
    }
}

#[test]
fn flyway_has_versions_undos_and_repeatables() {
    assert_eq!(
        named(
            Layout::Flyway,
            Backend::Postgres,
            &[
                ("V1_10__b.sql", "b"),
                ("sub/V1_9__a.sql", "a"),
                ("U1.10__b.sql", "not b"),
                ("R__my_view.sql", "v"),
                ("V2__c.sql", "c"),
                ("V2__c.sql.conf", "executeInTransaction=false"),
            ]
        ),
        [
            r#"1.9 "a" tx up[a] tx down[-] verify[-]"#,
            r#"1.10 "b" tx up[b] tx down[not b] verify[-]"#,
            r#"2 "c" alone up[c] tx down[-] verify[-]"#,
            r#"R:my view "my view" tx up[v] tx down[-] verify[-]"#,
        ]
    );
}

#[test]
fn refinery_takes_nothing_back() {
    assert_eq!(
        named(
            Layout::Refinery,
            Backend::Postgres,
            &[("V2__b.sql", "b"), ("U10__c.sql", "c"), ("V1__a.sql", "a")]
        ),
        [
            r#"1 "a" tx up[a] tx down[-] verify[-]"#,
            r#"2 "b" tx up[b] tx down[-] verify[-]"#,
            r#"10 "c" tx up[c] tx down[-] verify[-]"#,
        ]
    );
}

#[test]
fn the_layout_is_found() {
    for (found, expected) in [
        (&[("1_a.sql", "a")][..], Layout::Ours),
        (&[("1_a.up.sql", "a"), ("1_a.down.sql", "b")], Layout::Sqlx),
        (&[("1_a/up.sql", "a")], Layout::Diesel),
        (&[("1_a.sql", "-- +goose Up\na")], Layout::Goose),
        (&[("1_a.sql", "-- migrate:up\na")], Layout::Dbmate),
        (&[("V1__a.sql", "a")], Layout::Flyway),
        // One stray file beside the folders of the only layout that finds anything.
        (&[("1_a/up.sql", "a"), ("notes.sql", "b")], Layout::Diesel),
        (
            &[("1_a.up.sql", "create index concurrently i on t (a)")],
            Layout::GolangMigrate,
        ),
    ] {
        assert_eq!(auto(found), Ok(expected), "{found:?}");
    }
}

#[test]
fn the_history_decides_only_between_readings_that_are_alike() {
    let plain = [("1_a.sql", "a")];
    assert_eq!(auto_with(Some(Layout::Sqlx), &plain), Ok(Layout::Sqlx));
    assert_eq!(auto_with(Some(Layout::Diesel), &plain), Ok(Layout::Ours));
    let pair = [("1_a.up.sql", "a")];
    assert_eq!(
        auto_with(Some(Layout::GolangMigrate), &pair),
        Ok(Layout::GolangMigrate)
    );
    let alike = [("V1__a.sql", "a")];
    assert_eq!(
        auto_with(Some(Layout::Refinery), &alike),
        Ok(Layout::Refinery)
    );
    // Flyway fills placeholders and takes back by `U`; refinery does neither.
    for differing in [
        &[("V1__a.sql", "a ${x}")][..],
        &[("V1__a.sql", "a"), ("U1__a.sql", "b")],
        &[
            ("V1__a.sql", "vacuum"),
            ("V2__b.sql", "b"),
            ("R__c.sql", "c"),
        ],
    ] {
        let found = auto_with(Some(Layout::Refinery), differing);
        assert_ne!(found, Ok(Layout::Refinery), "{differing:?}");
    }
    assert_eq!(
        auto(&[("V1__a.sql", "a ${x}")]),
        Err(vec!["layout.ambiguous".to_owned()])
    );
    assert_eq!(
        auto(&[("1_a.up.sql", "-- no-transaction\na")]),
        Err(vec!["layout.ambiguous".to_owned()])
    );
}

#[test]
fn what_can_not_be_read_is_told_with_its_place() {
    assert_eq!(auto(&[]), Err(vec!["layout.empty".to_owned()]));
    assert_eq!(
        auto(&[("1_a.sql", "a"), ("001_b.sql", "b")]),
        Err(vec!["layout.twice".to_owned()])
    );
    let found = auto(&[("1_a.sql", "a"), ("notes.sql", "b")]).unwrap_err();
    assert_eq!(found, ["layout.none", "layout.ignored"]);
    let down_only = auto(&[("1_a.down.sql", "a")]).unwrap_err();
    assert!(down_only.contains(&"layout.none".to_owned()));
}

#[test]
fn places_are_those_of_the_file() {
    let text = "-- +goose Up\ncreate table t (a int);\n-- +goose Down\ndrop table t;\n";
    let set = MigrationSet::of_files(
        &files(&[("1_x.sql", text)]),
        Choice::Named(Layout::Goose),
        Backend::Postgres,
    )
    .unwrap();
    let down = set.migrations[0].down.as_ref().unwrap();
    let at = down.sql().find("table").unwrap();
    assert_eq!(down.place(at).to_string(), "1_x.sql:4:6");
}

#[test]
fn placeholders_are_filled_where_the_layout_has_them() {
    let values = Placeholders::new([("schema".to_owned(), "app".to_owned())]);
    let fill = |layout, name, text| {
        let set = MigrationSet::of_files(
            &files(&[(name, text)]),
            Choice::Named(layout),
            Backend::Postgres,
        )
        .unwrap();
        let one = &set.migrations[0];
        values
            .fill(layout, one, &one.up)
            .map(|section| section.sql().to_owned())
            .map_err(|findings| findings[0].place.as_ref().unwrap().to_string())
    };
    assert_eq!(
        fill(Layout::Flyway, "V1__a.sql", "create table ${schema}.t"),
        Ok("create table app.t".to_owned())
    );
    assert_eq!(
        fill(Layout::Flyway, "V1__a.sql", "a\nb ${what}"),
        Err("V1__a.sql:2:3".to_owned())
    );
    assert_eq!(
        fill(Layout::Ours, "1_a.sql", "select '${schema}'"),
        Ok("select '${schema}'".to_owned())
    );
    let marked = "-- +goose Up\n${schema}\n-- +goose ENVSUB ON\n${schema} ${x:-y}\n-- +goose ENVSUB OFF\n${schema}";
    assert_eq!(
        fill(Layout::Goose, "1_a.sql", marked),
        Ok("${schema}\n-- +goose ENVSUB ON\napp y\n-- +goose ENVSUB OFF\n${schema}".to_owned())
    );
}
