//! Everything that SQLite can hold comes back, whatever happened to it in between.

use std::collections::HashSet;
use std::path::Path;

use migrate_core::Cancel;
use migrate_schema::db::{ConnectOptions, CreateMode, Database, DatabaseUrl};

use super::*;
use crate::backup::sqlite::copy;

const HOSTILE: &str = r#"
    PRAGMA user_version = 42; PRAGMA application_id = 77;
    CREATE TABLE "odd ""name""" (rowid TEXT, "a,b" INT, [c d] BLOB DEFAULT (x'00ff'));
    INSERT INTO "odd ""name"""(oid, rowid, "a,b", [c d]) VALUES (7, 'x', 1, x'00'), (-5, NULL, 2.5, 'é''"');
    CREATE TABLE hidden (rowid, _rowid_, oid); INSERT INTO hidden VALUES (1, 2, 3), (4, 5, 6);
    CREATE TABLE left_side (id INTEGER PRIMARY KEY, r INT REFERENCES right_side (id));
    CREATE TABLE right_side (id INTEGER PRIMARY KEY, l INT REFERENCES left_side (id) ON DELETE CASCADE);
    INSERT INTO left_side VALUES (1, 1), (-9223372036854775808, NULL); INSERT INTO right_side VALUES (1, 1), (2, 99);
    CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT UNIQUE COLLATE NOCASE);
    INSERT INTO counted (id, t) VALUES (1000, 'A'); DELETE FROM counted; INSERT INTO counted (t) VALUES ('b');
    CREATE TABLE made (a INT, b INT AS (a * 2) STORED, c INT GENERATED ALWAYS AS (a + 1) VIRTUAL);
    INSERT INTO made (a) VALUES (1), (NULL);
    CREATE TABLE pairs (a TEXT, b INT, c REAL, PRIMARY KEY (b, a)) WITHOUT ROWID;
    INSERT INTO pairs VALUES ('x', 1, 9e999), ('NULL', 1, -0.0);
    CREATE TABLE strict_one (a ANY, b INTEGER CHECK (b > 0)) STRICT; INSERT INTO strict_one VALUES ('1', 1), (1, 2);
    CREATE TABLE log (n INTEGER, what TEXT); INSERT INTO log VALUES (0, 'first');
    CREATE VIRTUAL TABLE notes USING fts5(title, body);
    INSERT INTO notes (rowid, title, body) VALUES (5, 'hello world', 'the body'), (9, 'ü', 'x');
    CREATE VIRTUAL TABLE area USING rtree(id, x0, x1); INSERT INTO area VALUES (1, 0.5, 1.5);
    CREATE INDEX by_expression ON log (lower(what), n DESC) WHERE n >= 0;
    CREATE UNIQUE INDEX one ON made (a);
    CREATE VIEW seen AS SELECT n, what FROM log WHERE n < 10;
    CREATE VIEW broken AS SELECT * FROM no_such_table;
    CREATE TRIGGER noisy AFTER INSERT ON counted BEGIN INSERT INTO log VALUES (new.id, 'in;sert'); END;
    CREATE TRIGGER instead INSTEAD OF INSERT ON seen BEGIN INSERT INTO notes (title) VALUES (new.what); END;
    INSERT INTO log SELECT value, hex(zeroblob(300)) FROM generate_series(1, 3000);
    ANALYZE;
"#;

const SERIES: &str = "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 3000) SELECT value FROM n)";

struct Case {
    dir: tempfile::TempDir,
    database: Sqlite,
    handle: Database,
}

impl Case {
    async fn new(journal_mode: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::sqlite(dir.path().join("it's 100% x?.db"));
        let options = ConnectOptions {
            create: CreateMode::Create,
            ..ConnectOptions::default()
        };
        let handle = Database::connect(&url, &options).await.unwrap();
        let database = match handle.clone() {
            Database::Sqlite(database) => database,
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => unreachable!("the URL is one of SQLite"),
        };
        let case = Self {
            dir,
            database,
            handle,
        };
        case.run(&format!("PRAGMA journal_mode = {journal_mode}"))
            .await;
        case
    }

    async fn hostile(journal_mode: &str) -> Self {
        let case = Self::new(journal_mode).await;
        // Foreign keys are off, as in most SQLite programs: one row has no parent.
        let sql = HOSTILE.replace("generate_series(1, 3000)", SERIES);
        case.run(&format!(
            "PRAGMA foreign_keys = OFF; {sql}; PRAGMA foreign_keys = ON"
        ))
        .await;
        case
    }

    async fn run(&self, sql: &str) {
        let mut connection = self.database.acquire().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&mut *connection)
            .await
            .unwrap();
    }

    async fn copy(&self) -> tempfile::TempPath {
        copy(
            &self.handle,
            &self.database,
            self.dir.path(),
            &Cancel::new(),
        )
        .await
        .unwrap()
    }

    async fn restore(&self, copy: &Path) -> Result<(), StepError> {
        restore(
            &self.database,
            self.handle.fence(),
            copy,
            &mut Proof::default(),
        )
        .await
    }

    /// Everything, as the sqlite3 program of the system sees it: an independent reader.
    fn contents(&self) -> String {
        let file = self.handle.url().unwrap().sqlite_path().unwrap();
        let ask = |query: &str| {
            let output = std::process::Command::new("sqlite3")
                .arg(&file)
                .arg(query)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let mut lines: Vec<String> = ask(".dump").lines().map(str::to_owned).collect();
        lines.sort();
        lines.retain(|line| !line.contains("_etlrs_"));
        for query in [
            "PRAGMA user_version",
            "PRAGMA application_id",
            "SELECT oid, * FROM \"odd \"\"name\"\"\" ORDER BY oid",
            "SELECT rowid, * FROM notes('hello')",
            "SELECT rowid, n FROM log ORDER BY rowid",
            "SELECT * FROM area WHERE x0 < 1",
            "SELECT * FROM sqlite_sequence WHERE name NOT LIKE '\\_etlrs%' ESCAPE '\\'",
            "SELECT * FROM sqlite_stat1 ORDER BY 1, 2, 3",
            "PRAGMA integrity_check",
        ] {
            lines.push(format!("{query}\n{}", ask(query)));
        }
        lines.join("\n")
    }
}

/// As `assert_eq`, with the lines that differ instead of two long texts.
#[track_caller]
fn same(now: &str, before: &str, when: &str) {
    if now == before {
        return;
    }
    let lines = |text: &str| -> HashSet<String> {
        text.lines()
            .map(|line| line.chars().take(200).collect())
            .collect()
    };
    let (old, new) = (lines(before), lines(now));
    let gone: Vec<_> = old.difference(&new).collect();
    let made: Vec<_> = new.difference(&old).collect();
    panic!("{when}\ngone: {gone:#?}\nnew: {made:#?}");
}

/// What may have happened between the copy and the restore.
const DAMAGE: [&str; 4] = [
    "SELECT 1",
    "UPDATE log SET what = 'x' WHERE n % 2; DELETE FROM pairs; INSERT INTO notes (title) VALUES ('new'); \
     INSERT INTO counted (t) VALUES ('zz'); PRAGMA user_version = 1",
    "DROP TABLE notes; DROP VIEW seen; DROP TABLE log; CREATE TABLE log (other INT); \
     CREATE TABLE extra (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO extra VALUES (4); \
     CREATE VIRTUAL TABLE other USING fts5(z); CREATE VIEW hidden_view AS SELECT 1; \
     CREATE TRIGGER t AFTER DELETE ON extra BEGIN SELECT 1; END; ALTER TABLE made ADD COLUMN d; \
     DROP TABLE sqlite_stat1",
    "PRAGMA foreign_keys = OFF; DROP TABLE left_side; DROP TABLE right_side; DROP TABLE counted; DROP TABLE notes; \
     DROP TABLE area; DROP VIEW seen; DROP VIEW broken; DROP TABLE log; DROP TABLE made; DROP TABLE pairs; \
     DROP TABLE hidden; DROP TABLE strict_one; DROP TABLE \"odd \"\"name\"\"\"; PRAGMA foreign_keys = ON",
];

#[tokio::test]
async fn everything_comes_back_and_a_second_restore_changes_nothing() {
    for mode in ["DELETE", "WAL"] {
        let case = Case::hostile(mode).await;
        let before = case.contents();
        let copy = case.copy().await;
        for damage in DAMAGE {
            case.run(damage).await;
            for _ in 0..2 {
                case.restore(&copy).await.unwrap();
                same(&case.contents(), &before, &format!("{mode}: {damage}"));
            }
        }
    }
}

#[tokio::test]
async fn our_objects_stay_and_open_connections_see_the_result() {
    let case = Case::hostile("WAL").await;
    own::ensure(&case.handle).await.unwrap();
    case.run("CREATE TABLE _etlrs_before_1 (id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO _etlrs_before_1 VALUES (7, 1)").await;
    let before = case.contents();
    let copy = case.copy().await;
    case.run("INSERT INTO _etlrs_before_1 VALUES (8, 2); DELETE FROM log")
        .await;
    let mut open = case.database.acquire().await.unwrap();
    let count = "SELECT (SELECT count(*) FROM log) * 10 + (SELECT count(*) FROM _etlrs_before_1)";
    let now: i64 = sqlx::query_scalar(count)
        .fetch_one(&mut *open)
        .await
        .unwrap();
    assert_eq!(now, 2);
    let fence = own::raise_fence(&case.handle, "r1").await.unwrap();
    case.handle.set_fence(Some(fence));
    case.restore(&copy).await.unwrap();
    let now: i64 = sqlx::query_scalar(count)
        .fetch_one(&mut *open)
        .await
        .unwrap();
    assert_eq!(
        now, 30_012,
        "the rows of log are back, ours are as they were"
    );
    same(&case.contents(), &before, "contents");
    own::raise_fence(&case.handle, "r2").await.unwrap();
    let refused = case.restore(&copy).await.unwrap_err();
    assert!(refused.message.contains("no longer holds"), "{refused}");
}

#[tokio::test]
async fn a_failed_restore_changes_nothing() {
    let case = Case::hostile("DELETE").await;
    let copy = case.copy().await;
    case.run("DELETE FROM log WHERE n > 5; CREATE TABLE extra (x)")
        .await;
    let before = case.contents();
    // The copy is cut: its schema reads well and its last pages are not there.
    let bytes = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, &bytes[..bytes.len() / 2]).unwrap();
    assert!(case.restore(&copy).await.is_err());
    same(&case.contents(), &before, "contents");
    std::fs::write(&copy, b"no database".repeat(99)).unwrap();
    assert!(case.restore(&copy).await.is_err());
    assert!(case.restore(Path::new("/no/such/copy.db")).await.is_err());
    same(&case.contents(), &before, "contents");
}
