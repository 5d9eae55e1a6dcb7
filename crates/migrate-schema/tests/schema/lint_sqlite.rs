//! What the lint says of SQLite's limits, against SQLite itself.

use std::collections::BTreeSet;

use migrate_schema::db::{ConnectOptions, CreateMode, Database, DatabaseUrl};
use migrate_schema::layout::{Choice, Layout, MigrationSet, Placeholders, SourceFile};
use migrate_schema::lint::{Chosen, Known, Level, Levels, lint};

const TABLE: &str = "create table t (a integer primary key, b text, c text unique)";

const STATEMENTS: &[&str] = &[
    "alter table t add d text",
    "alter table t add d text default 'x' not null",
    "alter table t add d text default (1 + 1)",
    "alter table t add d text default current_timestamp",
    "alter table t add d text not null",
    "alter table t add d text not null default null",
    "alter table t add d text unique",
    "alter table t add d integer primary key",
    "alter table t add d integer references t (a)",
    "alter table t add d integer default 1 references t (a)",
    "alter table t add d as (a * 2)",
    "alter table t add d as (a * 2) virtual",
    "alter table t add d generated always as (a * 2) stored",
    "alter table t add d text check (d <> '')",
    "alter table t drop column a",
    "alter table t drop column b",
    "alter table t drop column c",
    "alter table t rename column b to d",
    "alter table t alter column b type integer",
    "alter table t alter column b set not null",
    "alter table t add constraint k check (b <> '')",
    "alter table t drop constraint k",
];

#[tokio::test]
async fn sqlite_refuses_what_the_rules_say_and_nothing_else() {
    for rows in [0, 1] {
        for statement in STATEMENTS {
            let dir = tempfile::tempdir().unwrap();
            let url = DatabaseUrl::sqlite(dir.path().join("x.db"));
            let options = ConnectOptions {
                create: CreateMode::Create,
                ..ConnectOptions::default()
            };
            let db = Database::connect(&url, &options).await.unwrap();
            db.execute(TABLE).await.unwrap();
            if rows > 0 {
                db.execute("insert into t values (1, 'x', 'y')")
                    .await
                    .unwrap();
            }
            let files = [SourceFile::new("1_x.sql", statement)];
            let set =
                MigrationSet::of_files(&files, Choice::Named(Layout::Sqlx), db.backend()).unwrap();
            let known = Known::read(&db).await.unwrap();
            let report = lint(
                &set,
                &Chosen::Pending(BTreeSet::from(["1".to_owned()])),
                &known,
                &Levels::default(),
                &Placeholders::default(),
            );
            let refused = report
                .findings
                .iter()
                .any(|one| one.rule == "sqlite-alter-limit" && one.level == Level::Error);
            let ran = db.execute(statement).await;
            assert_eq!(
                ran.is_err(),
                refused,
                "{statement} with {rows} rows: {ran:?}, {:?}",
                report.findings
            );
            db.close().await;
        }
    }
}
