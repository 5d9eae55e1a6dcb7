//! The journal keeps what it was told, and says so when it can't.

#![expect(clippy::unwrap_used, reason = "a test ends where it can not go on")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::{TimeZone, Utc};
use migrate_core::journal::FORMAT;
use migrate_core::{Fingerprint, Journal, JournalError, Receipt, Record, RunHeader, RunId};
use migrate_rollback::SqliteJournal;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

fn run(salt: u16) -> RunId {
    RunId::new(Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap(), salt)
}

fn header(salt: u16) -> RunHeader {
    let plan = serde_json::json!({
        "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MajorUpgrade",
        "steps": [], "rollback_steps": [], "validation_checks": [],
        "estimated_duration": "1m", "downtime_required": false
    });
    RunHeader {
        format: FORMAT,
        run: run(salt),
        plan: serde_json::from_value(plan).unwrap(),
        scripts: std::collections::BTreeMap::default(),
        inputs: [("plan".to_owned(), "00".to_owned())].into(),
        tool_version: "0.1.0".into(),
        host: "h".into(),
        pid: 7,
        user: "u".into(),
        database: "d".into(),
        started_at: Utc::now(),
        flags: vec!["--yes".into()],
        scope: Vec::new(),
        before: Fingerprint::default(),
    }
}

fn started(step: &str) -> Record {
    Record::StepStarted {
        step: serde_json::from_value(step.into()).unwrap(),
        receipt: Receipt(serde_json::json!({"text": "ü'\u{0}\"", "n": 1.5})),
    }
}

fn file(root: &Path) -> PathBuf {
    root.join(".etlrs-migrate/journal.db")
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .connect()
        .await
        .unwrap()
}

fn listing(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn what_is_written_is_read_back_by_another_process_in_order() {
    let root = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::create(root.path()).await.unwrap();
    // The second run has the smaller name: the order is that of opening.
    let heads = [header(9), header(3)];
    for head in &heads {
        journal.open(head).await.unwrap();
    }
    let records = [
        Record::ServicesStopping {
            running: serde_json::json!([]),
        },
        Record::ServicesStopped,
        started("a"),
        Record::Interrupted { signal: 15 },
    ];
    let at = Utc::now();
    for record in &records {
        journal.append(&run(3), at, record).await.unwrap();
        journal.append(&run(9), at, record).await.unwrap();
    }
    drop(journal);
    let journal = SqliteJournal::open_existing(root.path())
        .await
        .unwrap()
        .unwrap();
    let logs = Journal::runs(&journal).await.unwrap();
    assert_eq!(logs.len(), 2);
    for (log, head) in logs.iter().zip(&heads) {
        assert_eq!(&log.header, head);
        let read: Vec<_> = log
            .records
            .iter()
            .map(|(_, record)| record.clone())
            .collect();
        assert_eq!(read, records);
        assert!(log.records.iter().all(|(moment, _)| *moment == at));
    }
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(root.path().join(".etlrs-migrate")), 0o700);
    assert_eq!(mode(file(root.path())), 0o600);
}

#[tokio::test]
async fn reading_makes_no_file() {
    let root = tempfile::tempdir().unwrap();
    assert!(
        SqliteJournal::open_existing(root.path())
            .await
            .unwrap()
            .is_none()
    );
    assert!(listing(root.path()).is_empty());
    let journal = SqliteJournal::create(root.path()).await.unwrap();
    journal.open(&header(1)).await.unwrap();
    drop(journal);
    let before = listing(&root.path().join(".etlrs-migrate"));
    let reader = SqliteJournal::open_existing(root.path())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(reader.runs().await.unwrap().len(), 1);
    let refused = reader
        .append(&run(1), Utc::now(), &Record::ServicesStopped)
        .await;
    assert!(
        matches!(refused, Err(JournalError::Unavailable(_))),
        "{refused:?}"
    );
    drop(reader);
    assert_eq!(listing(&root.path().join(".etlrs-migrate")), before);
}

#[tokio::test]
async fn an_entry_torn_by_a_crash_is_not_there_and_reading_leaves_its_remains() {
    let root = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::create(root.path()).await.unwrap();
    journal.open(&header(1)).await.unwrap();
    journal
        .append(&run(1), Utc::now(), &started("a"))
        .await
        .unwrap();
    drop(journal);
    // A writer that has spilled half a transaction into the file, caught in the act.
    let mut writer = raw(&file(root.path())).await;
    let half = "PRAGMA cache_size = 1; BEGIN IMMEDIATE; DELETE FROM entries; \
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) \
                INSERT INTO runs (run, format, header, digest) \
                SELECT 'x' || i, 1, hex(zeroblob(500)), '' FROM n";
    sqlx::raw_sql(half).execute(&mut writer).await.unwrap();
    let crashed = tempfile::tempdir().unwrap();
    let state = crashed.path().join(".etlrs-migrate");
    fs::create_dir(&state).unwrap();
    for (name, bytes) in listing(&root.path().join(".etlrs-migrate")) {
        let path = state.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    drop(writer);
    assert!(
        state.join("journal.db-journal").exists(),
        "nothing was spilled"
    );

    let before = listing(&state);
    let reader = SqliteJournal::open_existing(crashed.path())
        .await
        .unwrap()
        .unwrap();
    let logs = reader.runs().await.unwrap();
    assert_eq!((logs.len(), logs[0].records.len()), (1, 1));
    drop(reader);
    assert_eq!(listing(&state), before);

    let writer = SqliteJournal::create(crashed.path()).await.unwrap();
    writer
        .append(&run(1), Utc::now(), &Record::ServicesStopped)
        .await
        .unwrap();
    assert_eq!(writer.runs().await.unwrap()[0].records.len(), 2);
}

#[tokio::test]
async fn a_newer_journal_is_refused_naming_both_formats() {
    let root = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::create(root.path()).await.unwrap();
    let newer = RunHeader {
        format: FORMAT + 4,
        ..header(1)
    };
    let refused = journal.open(&newer).await.unwrap_err().to_string();
    assert!(
        refused.contains("format 5") && refused.contains("up to 1"),
        "{refused}"
    );
    journal.open(&header(1)).await.unwrap();
    drop(journal);

    let mut connection = raw(&file(root.path())).await;
    sqlx::raw_sql("UPDATE runs SET format = 5, header = '{\"unlike\": \"ours\"}'")
        .execute(&mut connection)
        .await
        .unwrap();
    let journal = SqliteJournal::open_existing(root.path())
        .await
        .unwrap()
        .unwrap();
    let error = journal.runs().await.unwrap_err();
    assert!(
        matches!(&error, JournalError::Unreadable(why)
        if why.contains("format 5") && why.contains("up to 1")),
        "{error}"
    );
    drop(journal);

    sqlx::raw_sql("PRAGMA user_version = 6")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let error = SqliteJournal::create(root.path()).await.unwrap_err();
    assert!(
        matches!(&error, JournalError::Unreadable(why)
        if why.contains("format 6") && why.contains("up to 1")),
        "{error}"
    );
}

#[tokio::test]
async fn damage_is_an_error_and_never_skipped() {
    let cases: [(&str, &str); 5] = [
        (
            "UPDATE entries SET record = replace(record, '15', '16')",
            "entry 3 was changed",
        ),
        ("DELETE FROM entries WHERE seq = 2", "entry 2 is missing"),
        ("UPDATE runs SET header = '{'", "the head of run"),
        (
            "UPDATE runs SET header = replace(header, '2.0.0', '2.0.1')",
            "was changed after it was written",
        ),
        (
            "PRAGMA application_id = 1",
            "not a journal of etlrs-migrate",
        ),
    ];
    for (damage, expected) in cases {
        let root = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::create(root.path()).await.unwrap();
        journal.open(&header(1)).await.unwrap();
        for record in [
            Record::ServicesStopping {
                running: serde_json::json!([]),
            },
            Record::ServicesStopped,
            Record::Interrupted { signal: 15 },
        ] {
            journal.append(&run(1), Utc::now(), &record).await.unwrap();
        }
        drop(journal);
        let mut connection = raw(&file(root.path())).await;
        sqlx::raw_sql(damage)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let journal = SqliteJournal::open_existing(root.path())
            .await
            .unwrap()
            .unwrap();
        let error = journal.runs().await.unwrap_err();
        assert!(
            matches!(&error, JournalError::Unreadable(why) if why.contains(expected)),
            "{damage}: {error}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_or_is_cut_short_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::create(root.path()).await.unwrap();
    journal.open(&header(1)).await.unwrap();
    drop(journal);
    let whole = fs::read(file(root.path())).unwrap();
    let garbage = b"not a database at all, but long enough to have a header".repeat(40);
    for bytes in [garbage, whole[..whole.len() / 2 + 100].to_vec()] {
        fs::write(file(root.path()), bytes).unwrap();
        let read = async {
            let journal = SqliteJournal::open_existing(root.path()).await?;
            journal.expect("the file is there").runs().await
        };
        let error = read.await.unwrap_err();
        assert!(matches!(error, JournalError::Unreadable(_)), "{error:?}");
        // A writer sees it at once, or at its first entry if only later pages are gone.
        let written = async {
            let journal = SqliteJournal::create(root.path()).await?;
            journal
                .append(&run(1), Utc::now(), &Record::ServicesStopped)
                .await
        };
        written.await.unwrap_err();
    }
}

#[tokio::test]
async fn an_entry_of_a_run_that_is_not_open_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::create(root.path()).await.unwrap();
    let error = journal
        .append(&run(1), Utc::now(), &Record::ServicesStopped)
        .await;
    assert!(
        matches!(error, Err(JournalError::Unavailable(_))),
        "{error:?}"
    );
    journal.open(&header(1)).await.unwrap();
    assert!(
        journal.open(&header(1)).await.is_err(),
        "a run is opened once"
    );
}
