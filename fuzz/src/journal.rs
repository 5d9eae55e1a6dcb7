//! The journal: files that were damaged, and logs that make no sense.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use migrate_core::journal::FORMAT;
use migrate_core::{
    Fingerprint, Journal, MigrationPlan, Receipt, Record, RunHeader, RunId, RunLog, RunState,
};
use migrate_rollback::SqliteJournal;
use serde_json::json;
use tokio::runtime::Runtime;

/// A journal's file, cut off or with bits turned: reading it fails, or gives what was written.
///
/// The input: every five bytes are a place (little endian, modulo the size) and a mask to turn
/// bits with; a mask of 0 cuts the file off there.
pub fn journal_file(data: &[u8]) {
    static WRITTEN: OnceLock<(Vec<u8>, Vec<RunLog>)> = OnceLock::new();
    let runtime = runtime();
    let (bytes, logs) = WRITTEN.get_or_init(|| runtime.block_on(written()));
    let mut bytes = bytes.clone();
    for change in data.chunks_exact(5).take(16) {
        let at = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize;
        if bytes.is_empty() {
            break;
        }
        let at = at % bytes.len();
        match change[4] {
            0 => bytes.truncate(at),
            mask => bytes[at] ^= mask,
        }
    }
    let root = folder();
    let file = root.path().join(".etlrs-migrate/journal.db");
    let dir = root.path().join(".etlrs-migrate");
    fs::create_dir(&dir).expect("a folder");
    fs::write(&file, &bytes).expect("a file");
    let read = runtime.block_on(async {
        match SqliteJournal::open_existing(root.path()).await {
            Ok(journal) => journal.expect("it is there").runs().await,
            Err(error) => Err(error),
        }
    });
    if let Ok(read) = read {
        assert!(
            read.is_empty() && bytes.is_empty() || &read == logs,
            "damage was read as something else: {read:#?} instead of {logs:#?}"
        );
    }
}

/// Any sequence of entries adds up to a state or is refused, and a state says what comes next.
///
/// The input: entries as JSON, one a line; what is none is passed over.
pub fn journal_records(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let records: Vec<Record> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for record in &records {
        let written = serde_json::to_string(record).expect("an entry can be written");
        let again: Record = serde_json::from_str(&written).expect("and read");
        assert_eq!(&again, record);
    }
    let at = moment();
    let mut log = RunLog {
        header: header(1),
        records: Vec::new(),
    };
    for record in records {
        log.records.push((at, record));
        let before = RunState::replay(&log);
        match before {
            Ok(state) => {
                let _ = state.next_action();
                let ids: Vec<_> = state.steps.iter().map(|step| &step.id).collect();
                let plan: Vec<_> = log.header.plan.steps.iter().map(|step| &step.id).collect();
                assert_eq!(ids, plan, "steps came or went");
            }
            Err(refused) => {
                assert!(!refused.to_string().is_empty());
                log.records.pop();
            }
        }
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    })
}

/// A folder in memory where there is one: millions of files are written.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory)
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

async fn written() -> (Vec<u8>, Vec<RunLog>) {
    let root = folder();
    let journal = SqliteJournal::create(root.path()).await.expect("a journal");
    for salt in [1, 2] {
        let header = header(salt);
        journal.open(&header).await.expect("a run");
        for record in records() {
            journal
                .append(&header.run, moment(), &record)
                .await
                .expect("an entry");
        }
    }
    let logs = journal.runs().await.expect("logs");
    let path = journal.path().to_owned();
    drop(journal);
    (fs::read(path).expect("the file"), logs)
}

fn records() -> Vec<Record> {
    let step = || serde_json::from_value(json!("one")).expect("a name");
    vec![
        Record::ServicesStopping {
            running: json!(["etlrs"]),
        },
        Record::ServicesStopped,
        Record::PointStarted,
        Record::PointCreated {
            point: json!({"id": "20260102_030405"}),
        },
        Record::StepStarted {
            step: step(),
            receipt: Receipt(json!({"file": "a.toml", "before": "00"})),
        },
        Record::StepResumed { step: step() },
        Record::Interrupted { signal: 15 },
    ]
}

fn moment() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_323_045, 0).expect("a moment")
}

fn header(salt: u16) -> RunHeader {
    let plan: MigrationPlan = serde_json::from_value(json!({
        "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MajorUpgrade",
        "steps": [
            {"id": "one", "name": "One", "step_type": "ConfigUpdate", "reversible": true},
            {"id": "two", "name": "Two", "step_type": "SchemaUpdate", "reversible": true},
        ],
        "rollback_steps": [], "validation_checks": [],
        "estimated_duration": "1m", "downtime_required": false
    }))
    .expect("a plan");
    RunHeader {
        format: FORMAT,
        run: RunId::new(moment(), salt),
        plan,
        scripts: std::collections::BTreeMap::default(),
        inputs: [("plan".to_owned(), "00".to_owned())].into(),
        tool_version: "0.1.0".into(),
        host: "h".into(),
        pid: 7,
        user: "u".into(),
        database: "d".into(),
        started_at: moment(),
        flags: vec!["--yes".into()],
        scope: Vec::new(),
        before: Fingerprint::default(),
    }
}
