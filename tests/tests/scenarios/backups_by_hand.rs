//! `backup`, `backup list`, `backup verify`: copies apart from a run, proven and not kept for ever.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::postgres::TestDatabase;
use serde_json::Value;

use crate::on_both;

const BACKUP: &[&str] = &["backup", "--version", "1.5.0"];

fn listed(deployment: &Deployment) -> Vec<Value> {
    let run = deployment.run(&["backup", "list", "--format", "json"]);
    run.expect(0).json()["backups"].as_array().unwrap().clone()
}

fn made(deployment: &Deployment) -> String {
    let mut arguments = BACKUP.to_vec();
    arguments.extend(["--format", "json"]);
    let result = deployment.run(&arguments);
    result.expect(0).json()["id"].as_str().unwrap().to_owned()
}

fn file_of(deployment: &Deployment, id: &str) -> PathBuf {
    let one = listed(deployment).into_iter().find(|one| one["id"] == id);
    deployment.path(one.unwrap()["file"].as_str().unwrap())
}

fn one_is_made_listed_and_proven(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    let id = made(&deployment);
    let all = listed(&deployment);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["id"], id.as_str());
    assert_eq!(all[0]["version"], "1.5.0");
    assert_eq!(all[0]["kind"], "backup");
    assert_eq!(all[0]["there"], true);
    deployment
        .run(&["backup", "list"])
        .expect(0)
        .says(&[&id, "1.5.0", "backups/etlrs_backup_"]);
    for arguments in [&["backup", "verify"][..], &["backup", "verify", &id]] {
        deployment
            .run(arguments)
            .expect(0)
            .says(&["restores", "compared"]);
    }
    before.must_equal(&deployment.snapshot(), "after a backup and its proof");
    let left: Vec<_> = deployment
        .all_files()
        .into_keys()
        .filter(|name| name.contains("scratch") || name.contains(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn the_version_must_be_known(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment
        .run(&["backup"])
        .expect(2)
        .says(&["--version 1.5.0", "1.x"]);
    deployment.migrate().expect(0);
    deployment.run(&["backup"]).expect(0).says(&["2.0.0"]);
}

fn a_damaged_one_is_found_out(store: Store) {
    let deployment = Deployment::v1().on(store);
    let id = made(&deployment);
    let file = file_of(&deployment, &id);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&file, bytes).unwrap();
    deployment
        .run(&["backup", "verify", &id])
        .expect(8)
        .says(&["damaged", &id]);
    std::fs::remove_file(&file).unwrap();
    deployment.run(&["backup", "verify", &id]).expect(8);
    assert_eq!(listed(&deployment)[0]["there"], false);
    deployment
        .run(&["backup", "verify", "20200101_000000"])
        .expect(1)
        .says(&[&id]);
}

fn a_lost_history_loses_no_backup(store: Store) {
    let deployment = Deployment::v1().on(store);
    let id = made(&deployment);
    std::fs::remove_file(deployment.path("backups/rollback_history.json")).unwrap();
    let all = listed(&deployment);
    assert_eq!(all[0]["version"], "1.5.0", "{all:?}");
    deployment.run(&["backup", "verify", &id]).expect(0);
    deployment.write("backups/rollback_history.json", "{ not json");
    let run = deployment.run(&["backup", "list"]);
    run.expect(0).says(&[&id, "rollback_history.json"]);
}

fn old_ones_go_but_never_the_newest_nor_one_that_is_needed(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.write("etlrs-migrate.toml", "[backup]\nkeep = 2\n");
    let ids: Vec<String> = (0..4).map(|_| made(&deployment)).collect();
    let left = |deployment: &Deployment| -> Vec<String> {
        let id = |one: &Value| one["id"].as_str().unwrap().to_owned();
        listed(deployment).iter().map(id).collect()
    };
    assert_eq!(left(&deployment), ids[2..]);
    deployment.migrate().expect(0);
    let point = left(&deployment).pop().unwrap();
    for _ in 0..3 {
        deployment.run(&["backup"]).expect(0);
    }
    let kept = left(&deployment);
    assert!(kept.contains(&point), "the run's point is gone: {kept:?}");
    assert_eq!(kept.len(), 3, "{kept:?}");
    deployment.rollback("restore").expect(0);
}

on_both!(
    one_is_made_listed_and_proven,
    the_version_must_be_known,
    a_damaged_one_is_found_out,
    a_lost_history_loses_no_backup,
    old_ones_go_but_never_the_newest_nor_one_that_is_needed,
);

/// What the guide's own script does: `pg_dump URL > backups/etlrs_backup_DATE.sql`.
pub(crate) fn plain_dump(deployment: &Deployment, date: &str) -> String {
    let name = format!("backups/etlrs_backup_{date}.sql");
    deployment.write(&name, "");
    let file = std::fs::File::create(deployment.path(&name)).unwrap();
    let database = deployment.postgres();
    let status = Command::new(database.server().binaries().program("pg_dump"))
        .arg(database.url())
        .stdout(Stdio::from(file))
        .status()
        .unwrap();
    assert!(status.success());
    name
}

#[test]
fn a_plain_dump_of_the_guide_is_listed_and_proven() {
    let deployment = Deployment::v1().postgres();
    let name = plain_dump(&deployment, "20231201_140000");
    let all = listed(&deployment);
    assert_eq!(all[0]["file"], name.as_str());
    assert_eq!(all[0]["version"], Value::Null);
    deployment
        .run(&["backup", "verify", "20231201_140000"])
        .expect(0)
        .says(&["restores", "nothing is recorded"]);
    let text = deployment.read(&name);
    deployment.write(&name, &text[..text.len() / 2]);
    deployment
        .run(&["backup", "verify", "20231201_140000"])
        .expect(8)
        .says(&["cut off"]);
    deployment.write(&name, &format!("{text}\n\\! touch pwned\n"));
    deployment
        .run(&["backup", "verify", "20231201_140000"])
        .expect(8)
        .says(&["psql"]);
    assert!(!deployment.path("pwned").exists());
}

#[test]
fn several_workers_make_one_that_brings_everything_back() {
    let deployment = Deployment::v1().postgres();
    deployment.write("etlrs-migrate.toml", "[backup]\njobs = 2\n");
    let before = deployment.snapshot();
    let id = made(&deployment);
    assert!(file_of(&deployment, &id).is_dir());
    deployment.run(&["backup", "verify"]).expect(0);
    deployment.migrate().expect(0);
    deployment.rollback("restore").expect(0);
    before.must_equal(&deployment.snapshot(), "after a restore of a directory");
    let part = std::fs::read_dir(file_of(&deployment, &id)).unwrap().next();
    std::fs::remove_file(part.unwrap().unwrap().path()).unwrap();
    deployment.run(&["backup", "verify", &id]).expect(8);
}

/// A program that writes all the time.
struct Writer(std::process::Child);

impl Writer {
    fn on(database: &TestDatabase<'_>) -> Self {
        let script = format!(
            "i=1000000; while :; do i=$((i+1)); echo \"INSERT INTO pipelines_old VALUES ($i, 'w', '{{}}', 's', now());\"; sleep 0.002; done | {} -X -q '{}'",
            database.server().binaries().program("psql").display(),
            database.url()
        );
        let child = Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_is_of_one_moment_while_others_write() {
    let deployment = Deployment::v1().postgres();
    let rows = || deployment.sql("SELECT count(*) FROM pipelines_old");
    let before = rows();
    let writer = Writer::on(deployment.postgres());
    while rows() == before {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let id = made(&deployment);
    assert_ne!(rows(), before);
    drop(writer);
    deployment
        .run(&["backup", "verify", &id])
        .expect(0)
        .says(&["compared"]);
}

#[test]
fn without_the_right_to_make_a_database_the_way_out_is_named() {
    let deployment = Deployment::v1().postgres();
    let database = deployment.postgres();
    let role = format!("{}_poor", database.name());
    database.admin_psql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'geheim-4711' IN ROLE etlrs"
    ));
    let url = database.server().url(&role, "geheim-4711", database.name());
    made(&deployment);
    let run = deployment
        .tool(&["backup", "verify"])
        .env("DATABASE_URL", url)
        .run();
    run.expect(8).says(&["ALTER ROLE", "CREATEDB"]);
    assert!(!run.output().contains("geheim-4711"), "{run}");
}
