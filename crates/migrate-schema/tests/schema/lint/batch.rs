//! What the rest of a set and the live database say about a statement.

use std::collections::BTreeSet;

use migrate_schema::db::Backend;
use migrate_schema::lint::{Chosen, Known, Levels, TableSize};

use super::{POSTGRES, SQLITE, report, short};

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

const COPY: &str = "create table n (a bigint, b text); insert into n (a, b) select a, b from t";
const DROP: &str = "drop table t";
const RENAME: &str = "alter table n rename to t";

/// `level rule NUMBER` of each finding, by the file's number from 1, when all of them are pending
/// on a database that has `t`.
fn pending(backend: Backend, texts: &[&str]) -> Vec<String> {
    let size = TableSize {
        rows: Some(5),
        bytes: 8192,
    };
    let known = Known::nothing(backend).with_size(&"t".parse().unwrap(), size);
    let keys = (1..=texts.len()).map(|number| number.to_string());
    by_number(&known, &Chosen::Pending(keys.collect()), texts)
}

/// The same when each is a run of its own, after one that made `t`.
fn apart(backend: Backend, texts: &[&str]) -> Vec<String> {
    let mut all = vec!["create table t (a bigint, b text)"];
    all.extend(texts);
    by_number(&Known::nothing(backend), &Chosen::All, &all)
}

fn by_number(known: &Known, chosen: &Chosen, texts: &[&str]) -> Vec<String> {
    let names: Vec<String> = (1..=texts.len())
        .map(|number| format!("{number}_x.sql"))
        .collect();
    let names = names.iter().map(String::as_str);
    let files: Vec<(&str, &str)> = names.zip(texts.iter().copied()).collect();
    let report = report(known, chosen, &Levels::default(), &files);
    let findings = report.findings.iter();
    findings
        .filter(|one| !one.rule.starts_with("prefer-"))
        .map(|one| format!("{} {} {}", one.level, one.rule, &one.place.file[..1]))
        .collect()
}

#[test]
fn a_table_that_is_built_again_over_several_files_loses_nothing() {
    for backend in [POSTGRES, SQLITE] {
        let files = [COPY, DROP, RENAME];
        assert_eq!(pending(backend, &files), Vec::<String>::new());
        // Others write in between, when each is a run of its own.
        let each = apart(backend, &files);
        assert_eq!(each[0], "note drop-table 3");
        assert!(!each.iter().any(|one| one.starts_with("error")), "{each:?}");
        assert_eq!(pending(backend, &[COPY, DROP]), ["error drop-table 2"]);
        let too_late = pending(backend, &[DROP, COPY, RENAME]);
        assert_eq!(too_late[0], "error drop-table 1");
    }
    // One that can't be in the transaction ends it.
    let alone = "-- no-transaction\nvacuum";
    assert_eq!(
        pending(POSTGRES, &[COPY, alone, DROP, RENAME]),
        ["note drop-table 3"]
    );
}

#[test]
fn what_took_a_tables_name_holds_its_rows() {
    let rebuild = format!("{COPY}; {DROP}; {RENAME}");
    let columns = "alter table t drop column b";
    for backend in [POSTGRES, SQLITE] {
        let found = pending(backend, &[&rebuild, columns]);
        assert_eq!(found, ["error drop-column 2"], "{backend}");
        let within = format!("{rebuild}; {columns}");
        assert_eq!(pending(backend, &[&within]), ["error drop-column 1"]);
    }
    // Nobody gets at it before the transaction ends, and everybody does after it.
    let index = "create index i on t (a)";
    assert_eq!(pending(POSTGRES, &[&rebuild, index]), Vec::<String>::new());
    let alone = "-- no-transaction\nvacuum";
    assert_eq!(
        pending(POSTGRES, &[&rebuild, alone, index]),
        ["note index-under-lock 3"]
    );
}

#[test]
fn what_a_rebuild_leaves_out_may_come_in_a_later_file() {
    let before = "create index i on t (b)";
    let rebuild = format!("{COPY}; {DROP}; {RENAME}");
    let files = [before, &rebuild];
    assert_eq!(pending(SQLITE, &files), ["warning sqlite-rebuild-loses 2"]);
    let files = [before, COPY, DROP, RENAME];
    assert_eq!(pending(SQLITE, &files), ["warning sqlite-rebuild-loses 3"]);
    let files = [before, COPY, DROP, RENAME, before];
    assert_eq!(pending(SQLITE, &files), Vec::<String>::new());
}

#[test]
fn a_name_that_is_given_away_first_is_seen_over_files() {
    let files = [
        "alter table t rename to old",
        "create table t (a bigint, b text); insert into t (a, b) select a, b from old",
        "drop table old",
    ];
    assert_eq!(pending(SQLITE, &files), ["warning sqlite-rebuild-order 1"]);
    let legacy = [
        "pragma legacy_alter_table = on",
        files[0],
        files[1],
        files[2],
    ];
    assert_eq!(pending(SQLITE, &legacy), Vec::<String>::new());
}
