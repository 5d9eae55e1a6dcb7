//! Comments and options that change what counts.

use migrate_schema::lint::{Chosen, Known, Level, Levels};

use super::{POSTGRES, check, report, short};

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
