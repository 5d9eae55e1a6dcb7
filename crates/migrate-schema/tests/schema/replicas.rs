//! Replicas that start at once and bring the schema up to date by themselves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use migrate_schema::history;
use serde_json::json;

use crate::place::{both, value};

/// How many processes start at once.
const REPLICAS: usize = 8;

/// The example of the crate, built once by this process's cargo.
fn program() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args([
                "build",
                "-q",
                "-p",
                "migrate-schema",
                "--example",
                "apply_at_start",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(built.success(), "the example does not build");
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        profile.join("examples/apply_at_start")
    })
}

#[tokio::test]
async fn one_of_eight_replicas_runs_what_is_pending() {
    for place in both().await {
        place.sql(
            "create table account (id integer, money integer); insert into account values (1, 0)",
        );
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("001_first.sql", "update account set money = money + 1;"),
            ("002_second.sql", "update account set money = money + 10;"),
        ] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let replicas: Vec<_> = (0..REPLICAS)
            .map(|_| {
                Command::new(program())
                    .arg(place.db.url().unwrap().secret())
                    .arg(directory.path())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let mut ran = Vec::new();
        for replica in replicas {
            let output = replica.wait_with_output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{error}");
            let said = String::from_utf8(output.stdout).unwrap();
            ran.extend(Some(said.trim().to_owned()).filter(|said| !said.is_empty()));
        }
        assert_eq!(ran.len(), 1, "{ran:?}");
        assert_eq!(
            value(&place.db, "select money from account").await,
            json!(11)
        );
        let lines = history::read(&place.db).await.unwrap();
        assert_eq!(lines.records().len(), 2);
    }
}

#[tokio::test]
async fn a_change_is_recorded_once_whoever_writes_it() {
    for place in both().await {
        place.sql("create table t (id integer)");
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("001_a.sql"),
            "insert into t values (1);",
        )
        .unwrap();
        let run = Command::new(program())
            .arg(place.db.url().unwrap().secret())
            .arg(directory.path())
            .output()
            .unwrap();
        assert!(run.status.success(), "{run:?}");
        let table = migrate_schema::own::name(place.db.backend(), "schema_history");
        let columns = "action, key, version, name, layout, file, checksum, out_of_order, millis, \
                       applied_by, applied_at, turn";
        let again = format!("insert into {table} ({columns}) select {columns} from {table}");
        let error = place.db.execute(&again).await.unwrap_err();
        assert!(
            error.to_string().to_lowercase().contains("unique"),
            "{error}"
        );
    }
}
