//! The lint's rules: what each says, and what it leaves alone.

mod batch;
mod levels;
mod locking;
mod loss;
mod sqlite;

use std::collections::BTreeSet;

use migrate_schema::db::Backend;
use migrate_schema::layout::{Choice, Layout, MigrationSet, Placeholders, SourceFile};
use migrate_schema::lint::{Chosen, Known, Levels, Report, lint};

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
