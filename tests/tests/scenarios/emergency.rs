//! `emergency-rollback` and `restore`: one command brings yesterday back, from whatever state.

use std::os::unix::fs::PermissionsExt;

use migrate_tests::binary::Run;
use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::files_differing;

use crate::backups_by_hand::plain_dump;
use crate::{on_both, shipped, terminal};

const EMERGENCY: &[&str] = &["emergency-rollback", "--version", "1.5.0", "--yes"];

/// At 2.0.0, and as it was before.
struct Case {
    deployment: Deployment,
    before: migrate_tests::snapshot::Snapshot,
}

impl Case {
    fn migrated(store: Store) -> Self {
        let deployment = Deployment::v1().on(store);
        let before = deployment.snapshot();
        deployment.migrate().expect(0);
        Self { deployment, before }
    }

    #[track_caller]
    fn emergency(&self) -> Run {
        self.deployment.run(EMERGENCY)
    }

    #[track_caller]
    fn must_be_back(&self, when: &str) {
        let now = self.deployment.snapshot().of_the_user();
        self.before.of_the_user().must_equal(&now, when);
        let status = self.deployment.run(&["status", "--format", "json"]);
        let status = status.expect(0).json();
        assert_eq!(status["next"], "migrate", "{status}");
        assert_eq!(status["problems"], serde_json::json!([]), "{status}");
    }

    fn files(&self, part: &str) -> Vec<String> {
        let all = self.deployment.all_files();
        all.into_keys().filter(|name| name.contains(part)).collect()
    }
}

/// Without `--yes` the version is typed; anything else changes nothing.
fn the_version_is_typed_at_a_terminal(store: Store) {
    let case = Case::migrated(store);
    let untouched = case.deployment.all_files();
    let typed = |word| {
        let args = ["emergency-rollback", "--version", "1.5.0"];
        terminal::answered(&case.deployment, &args, &[("(1.5.0)", word)])
    };
    for wrong in ["2.0.0", "yes", ""] {
        let (code, seen) = typed(wrong);
        assert_eq!(code, Some(7), "{seen}");
        assert!(seen.contains("nothing was changed"), "{seen}");
        assert_eq!(
            files_differing(&untouched, &case.deployment.all_files()),
            ""
        );
    }
    let (code, seen) = typed("1.5.0");
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("rows now"), "{seen}");
    case.must_be_back("after the version was typed");
}

fn from_healthy(store: Store) {
    let case = Case::migrated(store);
    case.emergency().expect(0).says(&[
        "EMERGENCY",
        "table",
        "rows now",
        "back at 1.5.0",
        "counts as rolled back",
    ]);
    case.must_be_back("from a healthy deployment");
    let version = case.deployment.run(&["status", "--format", "json"]).json();
    assert_eq!(version["version"], "1.5.0");
    // What was there was kept, is never taken for a backup of 1.5.0, and comes back too.
    assert!(!case.files("etlrs_safety_").is_empty());
    case.emergency().expect(0);
    case.must_be_back("a second time");
    let list = case
        .deployment
        .run(&["backup", "list", "--format", "json"])
        .json();
    let mut all = list["backups"].as_array().unwrap().iter();
    let safety = all.find(|one| one["kind"] == "safety").unwrap();
    let id = safety["id"].as_str().unwrap();
    case.deployment
        .run(&[
            "emergency-rollback",
            "--version",
            "1.5.0",
            "--backup-date",
            id,
            "--yes",
        ])
        .expect(1)
        .says(&["safety copy"]);
    case.deployment
        .run(&["restore", id])
        .expect(7)
        .says(&["--accept-data-loss"]);
    case.must_be_back("after a refusal");
    case.deployment
        .run(&["restore", id, "--accept-data-loss"])
        .expect(0);
    case.deployment.must_be_v2();
}

fn from_half_migrated(store: Store) {
    let deployment = Deployment::v1().on(store);
    let last = shipped::steps();
    let hanging = serde_json::json!({
        "id": "hangs", "description": "waits for ever", "step_type": "Command",
        "command": ["sleep", "60"], "timeout": "90s", "can_rollback": false,
    });
    shipped::insert_step(&deployment, last, hanging);
    let before = deployment.snapshot();
    let mut running = deployment
        .tool(&[
            "--from",
            "1.5.0",
            "--to",
            "2.0.0",
            "--yes",
            "--allow-commands",
            "--format",
            "json",
        ])
        .start();
    let hangs =
        running.wait_for(|event| event["event"] == "step_started" && event["index"] == last + 1);
    assert!(hangs.is_some());
    running.kill();
    let case = Case { deployment, before };
    case.emergency().expect(0);
    let now = case.deployment.snapshot().of_the_user();
    case.before
        .of_the_user()
        .must_equal(&now, "from a half migrated one");
    let history = case.deployment.run(&["history"]);
    history.expect(0).says(&["rolled-back"]);
}

/// Killed while it made its rollback point: no backup has anything of that run, so one that
/// was made later brings the same state back, and the run is over with it.
fn from_a_run_that_began_no_step(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    let upgrade = [
        "--from", "1.5.0", "--to", "2.0.0", "--yes", "--format", "json",
    ];
    let mut running = deployment.tool(&upgrade).start();
    let at_work = running.wait_for(|event| event["phase"] == "rollback-point");
    assert!(at_work.is_some());
    running.kill();
    let status = deployment.run(&["status", "--format", "json"]).json();
    assert_eq!(status["next"], "resume", "{status}");
    deployment.run(&["backup", "--version", "1.5.0"]).expect(0);
    let case = Case { deployment, before };
    case.emergency().expect(0).says(&["counts as rolled back"]);
    case.must_be_back("from a run that began no step");
}

fn from_a_lost_journal(store: Store) {
    let case = Case::migrated(store);
    std::fs::remove_dir_all(case.deployment.path(".etlrs-migrate")).unwrap();
    std::fs::remove_file(case.deployment.path("backups/rollback_history.json")).unwrap();
    case.emergency().expect(0);
    case.must_be_back("from a lost journal and history");
}

fn from_a_broken_journal(store: Store) {
    let case = Case::migrated(store);
    case.deployment
        .write(".etlrs-migrate/journal.db", "not a journal");
    case.emergency().expect(0).says(&["put aside"]);
    case.must_be_back("from a broken journal");
    assert_eq!(case.files("journal.db.unreadable-").len(), 1);
}

fn from_an_empty_database(store: Store) {
    let case = Case::migrated(store);
    match store {
        Store::Postgres => {
            let database = case.deployment.postgres();
            database.admin_psql(
                "DROP SCHEMA public CASCADE; DROP SCHEMA etlrs_migrate CASCADE; \
                 CREATE SCHEMA public AUTHORIZATION pg_database_owner; \
                 GRANT USAGE ON SCHEMA public TO PUBLIC",
            );
        }
        Store::Sqlite => std::fs::write(case.deployment.path("data/etlrs.db"), "").unwrap(),
    }
    case.emergency().expect(0);
    case.must_be_back("from an empty database");
    assert!(
        case.files("etlrs_safety_").is_empty(),
        "nothing was there to keep"
    );
}

fn from_a_database_that_is_gone(store: Store) {
    let case = Case::migrated(store);
    match store {
        Store::Postgres => {
            let name = case.deployment.postgres().name().to_owned();
            let server = case.deployment.postgres().server();
            server.admin_psql("postgres", &format!("DROP DATABASE {name}"));
            case.emergency().expect(0).says(&["GONE", "ALTER DATABASE"]);
            server.admin_psql(
                "postgres",
                &format!("ALTER DATABASE {name} SET timezone = 'America/Sao_Paulo'"),
            );
        }
        Store::Sqlite => {
            std::fs::remove_dir_all(case.deployment.path("data")).unwrap();
            case.emergency().expect(0).says(&["GONE"]);
            case.deployment
                .write("data/README", "files beside the database\n");
        }
    }
    case.must_be_back("from a database that is gone");
}

fn from_a_config_that_is_gone(store: Store) {
    let case = Case::migrated(store);
    std::fs::remove_dir_all(case.deployment.path("config")).unwrap();
    case.emergency()
        .expect(0)
        .says(&["backups/config_1.5.0.toml"]);
    let config = case.deployment.path("config/config.toml");
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(config, mode).unwrap();
    case.must_be_back("from a config that is gone");
}

fn from_a_backup_that_is_damaged(store: Store) {
    let case = Case::migrated(store);
    let list = case
        .deployment
        .run(&["backup", "list", "--format", "json"])
        .json();
    let file = list["backups"][0]["file"].as_str().unwrap();
    let path = case.deployment.path(file);
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0xff;
    std::fs::write(&path, bad).unwrap();
    let after = case.deployment.snapshot();
    case.emergency().expect(1).says(&["damaged", file]);
    after.must_equal(&case.deployment.snapshot(), "after a damaged backup");
    assert!(case.files("recovery.json").is_empty());
    std::fs::write(&path, good).unwrap();
    case.emergency().expect(0);
    case.must_be_back("with the backup mended");
}

/// A full disk as far as one process sees it: no file of its may grow beyond this.
fn with_full_disk(
    deployment: &Deployment,
    kilobytes: u32,
    arguments: &[&str],
) -> std::process::Output {
    let script = format!("ulimit -f {kilobytes}; trap '' XFSZ; exec \"$@\"");
    let root = deployment.root().to_str().unwrap();
    std::process::Command::new("bash")
        .args(["-c", &script, "bash"])
        .arg(migrate_tests::binary::path())
        .args(["-C", root])
        .args(arguments)
        .env_remove("DATABASE_URL")
        .current_dir("/")
        .output()
        .unwrap()
}

fn from_a_disk_that_is_full(store: Store) {
    let deployment = Deployment::v1().rows(3_000).on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    let case = Case { deployment, before };
    let after = case.deployment.snapshot();
    let output = with_full_disk(&case.deployment, 40, EMERGENCY);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert!(said.contains("--skip-check safety-copy"), "{said}");
    after.must_equal(&case.deployment.snapshot(), "after a disk was full");
    assert!(case.files("recovery.json").is_empty());
    case.emergency().expect(0);
    case.must_be_back("with room again");
}

fn to_a_wrong_version(store: Store) {
    let case = Case::migrated(store);
    let after = case.deployment.snapshot();
    for (arguments, code, words) in [
        (&["--version", "1.4.0"][..], 1, &["1.4.0", "of 1.5.0"][..]),
        (&["--version", "nonsense"], 1, &["nonsense"]),
        (
            &["--version", "1.5.0", "--backup-date", "20200101_000000"],
            1,
            &["20200101_000000"],
        ),
    ] {
        let mut all = vec!["emergency-rollback", "--yes"];
        all.extend(arguments);
        case.deployment.run(&all).expect(code).says(words);
    }
    case.deployment
        .run(&["emergency-rollback", "--version", "1.5.0"])
        .expect(7)
        .says(&["--yes"]);
    after.must_equal(&case.deployment.snapshot(), "after refusals");
}

on_both!(
    the_version_is_typed_at_a_terminal,
    from_healthy,
    from_half_migrated,
    from_a_run_that_began_no_step,
    from_a_lost_journal,
    from_a_broken_journal,
    from_an_empty_database,
    from_a_database_that_is_gone,
    from_a_config_that_is_gone,
    from_a_backup_that_is_damaged,
    from_a_disk_that_is_full,
    to_a_wrong_version,
);

#[test]
fn from_a_file_that_is_no_database_any_more() {
    let case = Case::migrated(Store::Sqlite);
    let file = case.deployment.path("data/etlrs.db");
    let mut bytes = std::fs::read(&file).unwrap();
    for byte in bytes.iter_mut().skip(4096).step_by(7) {
        *byte ^= 0x5a;
    }
    std::fs::write(&file, bytes).unwrap();
    case.emergency().expect(0).says(&["BROKEN", "put aside"]);
    assert_eq!(case.files("etlrs.db.broken-").len(), 1);
    for name in case.files("etlrs.db.broken-") {
        std::fs::remove_file(case.deployment.path(&name)).unwrap();
    }
    case.must_be_back("from a broken file");
}

#[test]
fn from_a_plain_dump_as_the_guide_makes_it() {
    let deployment = Deployment::v1().postgres();
    let before = deployment.snapshot();
    plain_dump(&deployment, "20231201_140000");
    let arguments = ["--from", "1.5.0", "--to", "2.0.0", "--yes", "--no-backup"];
    let config = deployment.read("config/config.toml");
    deployment.run(&arguments).expect(0);
    deployment.write("backups/config_1.5.0.toml", &config);
    // A dump of everything holds this tool's own tables as well.
    plain_dump(&deployment, "20231101_140000");
    let case = Case { deployment, before };
    case.emergency().expect(0).says(&[
        "not recorded",
        "20231201_140000",
        "backups/config_1.5.0.toml",
    ]);
    let now = case.deployment.snapshot().of_the_user();
    case.before
        .of_the_user()
        .must_equal(&now, "from a plain dump");
    let dated = [
        "emergency-rollback",
        "--version",
        "2.0.0",
        "--backup-date",
        "20231101_140000",
        "--yes",
    ];
    case.deployment.run(&dated).expect(0);
    assert_eq!(
        case.deployment
            .sql("SELECT max(version) FROM schema_versions"),
        "2"
    );
    assert_eq!(
        case.deployment
            .sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'etlrs_migrate'"),
        "0"
    );
}

#[test]
fn a_second_try_after_a_killed_one_works() {
    let case = Case::migrated(Store::Postgres);
    let database = case.deployment.postgres();
    // Somebody holds a lock, so that the restore waits and can be killed in the middle.
    let script = format!(
        "(echo 'BEGIN; LOCK TABLE pipelines;'; sleep 60) | {} -X -q '{}'",
        database.server().binaries().program("psql").display(),
        database.url()
    );
    let mut holder = std::process::Command::new("sh")
        .args(["-c", &script])
        .spawn()
        .unwrap();
    let locked = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
                  WHERE relname = 'pipelines' AND mode = 'AccessExclusiveLock'";
    while database.psql(locked) == "0" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut running = case
        .deployment
        .tool(
            &[
                EMERGENCY,
                &[
                    "--format",
                    "json",
                    "--skip-check",
                    "writers",
                    "--skip-check",
                    "safety-copy",
                ],
            ]
            .concat(),
        )
        .start();
    let began = running.wait_for(|event| event["event"] == "phase" && event["phase"] == "restore");
    assert!(began.is_some());
    running.kill();
    case.deployment
        .migrate()
        .expect(6)
        .says(&["emergency-rollback --version 1.5.0 --backup-date"]);
    case.deployment
        .run(&["status"])
        .expect(0)
        .says(&["not finished", "emergency-rollback"]);
    let _ = holder.kill();
    let _ = holder.wait();
    database.admin_psql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
        database.name()
    ));
    case.emergency().expect(0);
    case.must_be_back("after a second try");
}

#[test]
fn a_backup_of_another_database_is_not_put_over_data() {
    let case = Case::migrated(Store::Postgres);
    let other = Deployment::v1().postgres();
    let before = other.snapshot();
    let url = other.url();
    let arguments = [EMERGENCY, &["--database-url", &url]].concat();
    case.deployment
        .run(&arguments)
        .expect(1)
        .says(&["copy of", "--skip-check same-database"]);
    before.must_equal(&other.snapshot(), "of the other deployment");
}
