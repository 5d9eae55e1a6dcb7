//! `--skip-check`: a name that does not exist is a typing error, not a check that was left out.

use std::collections::BTreeSet;

use migrate_tests::binary::Tool;
use migrate_tests::deployment::{Deployment, Store};

/// The names as `--help` tells them.
fn in_help() -> BTreeSet<String> {
    let help = Tool::new(&["status", "--help"]).run();
    let text = help
        .expect(0)
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let (_, names) = text.split_once("Names: ").unwrap();
    let (names, _) = names.split_once(';').unwrap();
    names.split(", ").map(str::to_owned).collect()
}

/// The names as the docs' table has them.
fn in_docs() -> BTreeSet<String> {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, table) = docs
        .split_once("| `--skip-check` | leaves out |\n|---|---|\n")
        .unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('`').nth(1).unwrap().to_owned())
        .collect()
}

#[test]
fn help_and_docs_name_the_same_checks_and_each_is_taken() {
    let names = in_help();
    assert_eq!(names, in_docs());
    assert!(names.len() > 20, "{names:?}");
    for name in &names {
        let paths = Tool::new(&["-C", "/", "paths", "--skip-check", name]).run();
        paths.expect(0);
    }
    let script = Tool::new(&["completions", "fish"]).run();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    script.expect(0).says(&all);
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_first() {
    let deployment = Deployment::v1().on(Store::Sqlite);
    let before = deployment.snapshot();
    for (wrong, nearest) in [
        ("writer", "writers"),
        ("dsik", "disk"),
        ("safety_copy", "safety-copy"),
        ("createdb", "rights.createdb"),
        ("backup.dsk", "backup.disk"),
    ] {
        for verb in [
            &["--from", "1.5.0", "--to", "2.0.0", "--yes"][..],
            &["--rollback", "--to", "1.5.0", "--yes"],
            &["health-check"],
            &["resume"],
            &["emergency-rollback", "--version", "1.5.0", "--yes"],
        ] {
            let run = deployment.run(&[verb, &["--skip-check", wrong]].concat());
            run.expect(2);
            let mut lines = run.stderr.lines();
            let first = lines.next().unwrap();
            assert!(
                first.contains(&format!("--skip-check {wrong}: no check")),
                "{first}"
            );
            let named = lines.next().unwrap().split_whitespace().next();
            assert_eq!(named, Some(nearest), "{}", run.stderr);
            run.says(&["same-database", "environment"]);
        }
    }
    assert_eq!(deployment.snapshot(), before);
}
