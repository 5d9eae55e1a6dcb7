//! What somebody else wrote in the tool's name: logs, journals, backups. Nothing of it runs.

use std::io::Write as _;
use std::process::{Command, Stdio};

use migrate_tests::binary::Run;
use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::sqlite as sqlite3;
use serde_json::{Value, json};

use crate::{on_both, terminal};

const MIGRATE: &[&str] = &[
    "--from", "1.5.0", "--to", "2.0.0", "--yes", "--format", "json",
];

/// The run that the attacker makes up.
const FORGED: &str = "29990101000000dead";

fn own(store: Store, table: &str) -> String {
    match store {
        Store::Sqlite => format!("_etlrs_{table}"),
        Store::Postgres => format!("etlrs_migrate.{table}"),
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What an attacker would like to have run.
fn evil(store: Store) -> &'static str {
    match store {
        Store::Sqlite => "CREATE TABLE evil (x);",
        Store::Postgres => "CREATE TABLE public.evil (x int); CREATE ROLE evil SUPERUSER;",
    }
}

fn no_evil(deployment: &Deployment) {
    let there = match deployment.store() {
        Store::Sqlite => "SELECT count(*) FROM sqlite_master WHERE name = 'evil'",
        Store::Postgres => "SELECT count(*) FROM pg_class WHERE relname = 'evil'",
    };
    assert_eq!(deployment.sql(there), "0", "the forged script ran");
}

/// Puts a log into the database that says: a run is open, its schema step is done, and this is
/// how it is undone. It is the log of a real run with another name and another script.
fn forge(deployment: &Deployment, change: impl Fn(&mut Value)) {
    let store = deployment.store();
    let (runs, log) = (own(store, "runs"), own(store, "log"));
    let real = deployment.sql(&format!("SELECT run FROM {runs} ORDER BY at LIMIT 1"));
    let header = deployment.sql(&format!("SELECT header FROM {runs} WHERE run = '{real}'"));
    let mut header: Value = serde_json::from_str(&header).unwrap();
    header["run"] = json!(FORGED);
    change(&mut header);
    let mut sql = format!(
        "INSERT INTO {runs} (run, header) VALUES ('{FORGED}', {});",
        literal(&header.to_string())
    );
    sql.push_str(&format!(
        "INSERT INTO {log} (run, seq, at, record) SELECT '{FORGED}', seq, at, record FROM {log} \
         WHERE run = '{real}' AND seq <= (SELECT min(seq) FROM {log} WHERE run = '{real}' \
           AND record LIKE '%\"step_completed\"%\"schema\"%');"
    ));
    deployment.sql(&sql);
}

fn forge_script(deployment: &Deployment) {
    let script = evil(deployment.store());
    forge(deployment, |header| {
        for (_, text) in header["scripts"].as_object_mut().unwrap() {
            text["text"] = json!(script);
        }
        assert!(header.to_string().contains("evil"), "no script: {header}");
    });
}

fn status(deployment: &Deployment) -> Value {
    let run = deployment.run(&["status", "--format", "json"]);
    run.expect(0).json()
}

/// Takes everything away with which a log could be proven.
fn lose_everything(deployment: &Deployment) {
    std::fs::remove_dir_all(deployment.path(".etlrs-migrate")).unwrap();
    std::fs::remove_file(deployment.path("backups/etlrs_key.pub")).unwrap();
}

fn a_forged_log_is_refused_while_the_key_is_there(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    forge_script(&deployment);
    let before = deployment.snapshot();

    let seen = status(&deployment);
    assert_eq!(seen["next"], "manual", "{seen}");
    let said = seen.to_string();
    assert!(!said.contains("--adopt"), "{said}");
    assert!(
        said.contains(FORGED) && said.contains("not signed"),
        "{said}"
    );
    assert_eq!(seen["run"]["phase"], "completed", "{seen}");

    for arguments in [
        &["resume", "--adopt", "--yes"][..],
        &["resume", "--adopt", "--adopt-unverified", FORGED, "--yes"],
        &["--rollback", "--to", "1.5.0", "--adopt", "--yes"],
    ] {
        deployment
            .run(arguments)
            .expect(1)
            .says(&[FORGED, "is refused", "head"]);
    }
    deployment
        .run(&["resume", "--yes"])
        .expect(6)
        .says(&["nothing proves"]);
    let run = deployment.run(&["audit", "verify"]);
    run.expect(8).says(&[FORGED, "CREATE TABLE", "evil"]);
    before.must_equal(&deployment.snapshot(), "after a forged log was refused");
    no_evil(&deployment);
}

fn a_log_signed_by_another_key_is_refused(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let other = Deployment::v1().on(store);
    other.migrate().expect(0);
    // A log with a chain, as sound as any, of a key that this deployment does not know.
    let columns = [
        ("runs", "run, header"),
        ("log", "run, seq, at, record"),
        ("seals", "run, seq, link, signer, signature"),
    ];
    for (table, columns) in columns {
        let table = own(store, table);
        let quoted: Vec<String> = columns
            .split(", ")
            .map(|column| match column {
                "seq" => "seq".to_owned(),
                _ => format!("'''' || replace({column}, '''', '''''') || ''''"),
            })
            .collect();
        let rows = other.sql(&format!(
            "SELECT {} FROM {table}",
            quoted.join(" || ', ' || ")
        ));
        for row in rows.lines() {
            deployment.sql(&format!("INSERT INTO {table} ({columns}) VALUES ({row});"));
        }
    }
    let run = deployment.run(&["--rollback", "--to", "1.5.0", "--adopt", "--yes"]);
    run.expect(1)
        .says(&["is refused", "a key that this deployment does not know"]);
    deployment.must_be_v2();
}

fn a_changed_record_of_the_copy_is_named(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    deployment
        .run(&["audit", "verify"])
        .expect(0)
        .says(&["no difference"]);
    let log = own(store, "log");
    deployment.sql(&format!(
        "UPDATE {log} SET record = replace(record, '\"duration_ms\":', '\"duration_ms\":1') WHERE seq = 6"
    ));
    let changed = deployment.sql(&format!("SELECT record FROM {log} WHERE seq = 6"));
    assert!(changed.contains("duration_ms\":1"), "{changed}");
    let found = deployment.run(&["audit", "verify", "--format", "json"]);
    let document = found.expect(8).json();
    assert_eq!(document["runs"][0]["first_wrong"], 6, "{document}");
    assert_eq!(document["runs"][0]["copy"], "differs", "{document}");
    // The journal itself is whole, and is what decides.
    deployment.rollback("auto").expect(0);
}

fn without_a_key_only_what_lies_on_disk_is_taken_up(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    forge_script(&deployment);
    for table in ["runs", "log", "seals"] {
        let table = own(store, table);
        deployment.sql(&format!("DELETE FROM {table} WHERE run <> '{FORGED}'"));
    }
    lose_everything(&deployment);
    let before = deployment.snapshot();
    let seen = status(&deployment);
    assert_eq!(seen["next"], "manual", "{seen}");
    let line = seen["next_command"].as_str().unwrap();
    assert!(line.ends_with(&format!("audit verify {FORGED}")), "{line}");
    let audit = deployment.run(&["audit", "verify", FORGED]);
    audit
        .expect(8)
        .says(&["evil", "can't be recovered", "is not"]);
    let adopt = ["resume", "--adopt", "--adopt-unverified", FORGED, "--yes"];
    deployment
        .run(&adopt)
        .expect(1)
        .says(&["evil", "its script", "is not"]);
    deployment
        .migrate()
        .expect(6)
        .says(&["nothing proves", "audit verify"]);
    before.must_equal(&deployment.snapshot(), "after a forged log was refused");
    no_evil(&deployment);
    assert!(!deployment.path(".etlrs-migrate/key").exists());
}

fn a_forged_command_never_runs(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.write("etlrs-migrate.toml", "allow_commands = true\n");
    deployment.migrate().expect(0);
    forge(&deployment, |header| {
        let step = json!({
            "id": "schema", "step_type": "Command", "description": "x", "can_rollback": true,
            "timeout": "30s", "command": ["true"], "undo": ["touch", "owned"],
        });
        header["plan"]["steps"][1] = step;
    });
    for table in ["runs", "log", "seals"] {
        let table = own(store, table);
        deployment.sql(&format!("DELETE FROM {table} WHERE run <> '{FORGED}'"));
    }
    for keyless in [false, true] {
        if keyless {
            lose_everything(&deployment);
        }
        for arguments in [
            &["resume", "--adopt"][..],
            &["resume", "--adopt", "--adopt-unverified", FORGED],
            &["--rollback", "--to", "1.5.0", "--adopt"],
            &[
                "--rollback",
                "--to",
                "1.5.0",
                "--adopt",
                "--adopt-unverified",
                FORGED,
            ],
        ] {
            let mut all = arguments.to_vec();
            all.extend(["--yes", "--allow-commands"]);
            deployment.run(&all).expect(1);
        }
    }
    assert!(!deployment.path("owned").exists(), "the forged command ran");
}

/// A run that was killed in its data step, of whose writer nothing is left.
fn unproven(store: Store) -> (Deployment, String) {
    let deployment = Deployment::v1().rows(2_000).on(store);
    let mut running = deployment.tool(MIGRATE).start();
    let found =
        running.wait_for(|event| event["event"] == "step_started" && event["step"] == "data");
    assert!(found.is_some(), "the data step never began");
    running.kill();
    lose_everything(&deployment);
    let runs = own(store, "runs");
    let run = deployment.sql(&format!("SELECT run FROM {runs}"));
    // As an older build leaves it.
    deployment.sql(&format!("DROP TABLE {}", own(store, "seals")));
    (deployment, run)
}

fn a_run_of_an_older_build_is_taken_up_by_consent(store: Store) {
    let (deployment, run) = unproven(store);
    let before = deployment.snapshot();
    deployment
        .run(&["resume", "--adopt", "--yes"])
        .expect(7)
        .says(&[
            "it would run",
            "ALTER TABLE",
            &format!("--adopt-unverified {run}"),
        ]);
    deployment
        .run(&[
            "resume",
            "--adopt",
            "--adopt-unverified",
            "another",
            "--yes",
        ])
        .expect(7);
    before.must_equal(&deployment.snapshot(), "after consent was missing");
    deployment
        .run(&["audit", "verify", &run])
        .expect(8)
        .says(&[&format!("resume --adopt --adopt-unverified {run}")]);
    deployment
        .run(&["resume", "--adopt", "--adopt-unverified", &run, "--yes"])
        .expect(0);
    deployment.must_be_v2();
    // What it is known by then: nothing vouches for its beginning.
    deployment
        .run(&["audit", "verify"])
        .expect(0)
        .says(&["no chain of hashes"]);
}

#[test]
fn on_a_terminal_the_runs_name_is_typed() {
    let (deployment, run) = unproven(Store::Sqlite);
    let question = [("type its name", "no")];
    let (code, screen) = terminal::answered(&deployment, &["resume", "--adopt"], &question);
    assert_eq!(code, Some(7), "{screen}");
    let question = [("type its name", run.as_str())];
    let (code, screen) = terminal::answered(&deployment, &["resume", "--adopt"], &question);
    assert_eq!(code, Some(0), "{screen}");
    deployment.must_be_v2();
}

fn sha256(parts: &[&str]) -> String {
    let mut sum = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = sum.stdin.take().unwrap();
    for part in parts {
        input.write_all(part.as_bytes()).unwrap();
        input.write_all(&[0]).unwrap();
    }
    drop(input);
    let out = sum.wait_with_output().unwrap().stdout;
    String::from_utf8(out).unwrap()[..64].to_owned()
}

fn a_record_changed_with_its_checksum_is_named(store: Store) {
    let deployment = Deployment::v1().on(store);
    let done = deployment.migrate();
    let head = deployment.run(&["audit", "verify", "--format", "json"]);
    let head = head.expect(0).json()["runs"][0]["head"]
        .as_str()
        .unwrap()
        .to_owned();
    done.expect(0).says(&[&head]);
    let journal = deployment.path(".etlrs-migrate/journal.db");
    let row = &sqlite3::rows(
        &journal,
        "SELECT run, seq, at, record FROM entries WHERE seq = 6",
    )[0];
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    let (run, at, record) = (text("run"), text("at"), text("record"));
    let record = record.replacen("\"duration_ms\":", "\"duration_ms\":1", 1);
    let digest = sha256(&[&run, "6", &at, &record]);
    // The rule of the checksum is known: first that this is the one.
    let old = &sqlite3::rows(&journal, "SELECT digest FROM entries WHERE seq = 6")[0];
    assert_eq!(old["digest"], sha256(&[&run, "6", &at, &text("record")]));
    let change = format!(
        "UPDATE entries SET record = {}, digest = '{digest}' WHERE seq = 6",
        literal(&record)
    );
    sqlite3::run(&journal, &change);
    let found = deployment.run(&["audit", "verify"]);
    found.expect(8).says(&["entry 6", "signature"]);
    deployment.rollback("auto").expect(1).says(&["entry 6"]);
    deployment.must_be_v2();
}

fn a_flipped_byte_is_named(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let journal = deployment.path(".etlrs-migrate/journal.db");
    sqlite3::run(
        &journal,
        "UPDATE entries SET record = replace(record, 'record', 'recore') WHERE seq = 4",
    );
    deployment
        .run(&["audit", "verify"])
        .expect(8)
        .says(&["entry 4"]);
}

fn a_journal_of_an_older_build_is_reported_as_such(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let journal = deployment.path(".etlrs-migrate/journal.db");
    sqlite3::run(&journal, "DROP TABLE seals");
    deployment.sql(&format!("DROP TABLE {}", own(store, "seals")));
    deployment
        .run(&["audit", "verify"])
        .expect(0)
        .says(&["no chain of hashes"]);
    deployment.rollback("auto").expect(0);
    deployment.migrate().expect(0);
    let found = deployment.run(&["audit", "verify", "--format", "json"]);
    let document = found.expect(0).json();
    assert_eq!(document["runs"][0]["state"], "unchained");
    assert_eq!(document["runs"][1]["state"], "signed");
}

/// Changes every place that names a backup's facts.
fn edit_points(deployment: &Deployment, change: impl Fn(&mut Value)) {
    let names = std::fs::read_dir(deployment.path("backups")).unwrap();
    for path in names.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(mut value) = serde_json::from_slice::<Value>(&std::fs::read(&path).unwrap()) else {
            continue;
        };
        if name.ends_with(".point.json") {
            change(&mut value);
        } else if name == "rollback_history.json" {
            for points in value.as_object_mut().unwrap().values_mut() {
                points.as_array_mut().unwrap().iter_mut().for_each(&change);
            }
        } else {
            continue;
        }
        std::fs::write(&path, value.to_string()).unwrap();
    }
}

fn sum_of(path: &std::path::Path) -> String {
    let out = Command::new("sha256sum").arg(path).output().unwrap().stdout;
    String::from_utf8(out).unwrap()[..64].to_owned()
}

fn backup(deployment: &Deployment) -> (String, std::path::PathBuf) {
    let made = ["backup", "--version", "1.5.0"];
    deployment.run(&made).expect(0);
    let list = deployment.run(&["backup", "list", "--format", "json"]);
    let list = list.expect(0).json();
    let newest = list
        .as_array()
        .or_else(|| list["backups"].as_array())
        .unwrap()[0]
        .clone();
    let file = deployment.path(newest["file"].as_str().unwrap());
    (newest["id"].as_str().unwrap().to_owned(), file)
}

/// A copy that holds something else, with checksums that fit.
fn forge_backup(deployment: &Deployment, file: &std::path::Path) {
    match deployment.store() {
        Store::Sqlite => drop(sqlite3::run(file, "CREATE TABLE evil (x)")),
        Store::Postgres => {
            let other = Deployment::v1().postgres();
            other.sql("CREATE TABLE evil (x int)");
            let (_, dump) = backup(&other);
            std::fs::copy(dump, file).unwrap();
        }
    }
    let sum = sum_of(file);
    edit_points(deployment, |point| {
        point["data_snapshot"]["sha256"] = json!(sum);
    });
}

fn restores(deployment: &Deployment, id: &str, more: &[&str]) -> Run {
    let mut all = vec!["restore", id, "--accept-data-loss", "--yes"];
    all.extend(more);
    deployment.run(&all)
}

fn a_copy_that_is_forged_with_its_manifest_is_refused(store: Store) {
    let deployment = Deployment::v1().on(store);
    let (id, file) = backup(&deployment);
    restores(&deployment, &id, &[]).expect(0);
    forge_backup(&deployment, &file);
    let before = deployment.snapshot();
    restores(&deployment, &id, &[]).expect(1).says(&[
        "is refused",
        "signed",
        "--skip-check signature",
    ]);
    let verify = deployment.run(&["backup", "verify", &id]);
    verify.expect(8).says(&["is refused"]);
    let emergency = [
        "emergency-rollback",
        "--version",
        "1.5.0",
        "--backup-date",
        &id,
        "--yes",
    ];
    deployment.run(&emergency).expect(1).says(&["is refused"]);
    // Taking the signature away makes it no older.
    edit_points(&deployment, |point| {
        point.as_object_mut().unwrap().remove("seal");
    });
    restores(&deployment, &id, &[])
        .expect(1)
        .says(&["it has no signature"]);
    before.must_equal(&deployment.snapshot(), "after a forged backup was refused");
    no_evil(&deployment);
}

fn a_forged_rollback_point_is_refused(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let list = deployment
        .run(&["backup", "list", "--format", "json"])
        .json();
    let points = list
        .as_array()
        .or_else(|| list["backups"].as_array())
        .unwrap();
    let file = deployment.path(points[0]["file"].as_str().unwrap());
    forge_backup(&deployment, &file);
    // The journal's own record of the point is another than the manifest now.
    deployment.rollback("restore").expect(1);
    deployment.must_be_v2();
    no_evil(&deployment);
}

fn backups_of_an_older_build_are_taken_with_a_note(store: Store) {
    let deployment = Deployment::v1().on(store);
    let (id, file) = backup(&deployment);
    lose_everything(&deployment);
    edit_points(&deployment, |point| {
        point.as_object_mut().unwrap().remove("seal");
    });
    // The first run or backup makes the key, and writes down what was there.
    backup(&deployment);
    restores(&deployment, &id, &[])
        .expect(0)
        .says(&["older than this deployment's key"]);
    forge_backup(&deployment, &file);
    restores(&deployment, &id, &[])
        .expect(1)
        .says(&["it has no signature"]);
    no_evil(&deployment);
}

#[test]
fn an_operator_may_vouch_for_a_backup() {
    let deployment = Deployment::v1().sqlite();
    let before = deployment.snapshot();
    let (id, _) = backup(&deployment);
    edit_points(&deployment, |point| {
        point.as_object_mut().unwrap().remove("seal");
    });
    deployment.sql("DELETE FROM pipelines_old");
    restores(&deployment, &id, &[]).expect(1);
    restores(&deployment, &id, &["--skip-check", "signature"])
        .expect(0)
        .says(&["--skip-check signature"]);
    before.must_equal(
        &deployment.snapshot(),
        "after a backup that was vouched for",
    );
}

on_both!(
    a_forged_log_is_refused_while_the_key_is_there,
    a_log_signed_by_another_key_is_refused,
    a_changed_record_of_the_copy_is_named,
    without_a_key_only_what_lies_on_disk_is_taken_up,
    a_forged_command_never_runs,
    a_run_of_an_older_build_is_taken_up_by_consent,
    a_record_changed_with_its_checksum_is_named,
    a_flipped_byte_is_named,
    a_journal_of_an_older_build_is_reported_as_such,
    a_copy_that_is_forged_with_its_manifest_is_refused,
    a_forged_rollback_point_is_refused,
    backups_of_an_older_build_are_taken_with_a_note,
);
