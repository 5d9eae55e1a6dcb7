//! No plan changes what the tool itself trusts, nobody else writes what it obeys, and what is
//! no regular file is refused instead of read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use migrate_tests::deployment::{Deployment, Store};
use serde_json::{Value, json};

use crate::{on_both, shipped};

const UP: [&str; 5] = ["--from", "1.5.0", "--to", "1.5.1", "--yes"];

/// A plan of the given steps.
fn plan(deployment: &Deployment, steps: &[Value]) {
    let steps: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            let mut step = step.clone();
            step["id"] = json!(format!("step-{at}"));
            step["timeout"] = json!("20s");
            step
        })
        .collect();
    shipped::overlay(
        deployment,
        &json!({
            "from_version": "1.5.0", "to_version": "1.5.1", "migration_type": "Patch",
            "downtime_required": false, "steps": steps,
        }),
    );
}

fn change(file: &str) -> Value {
    json!({"step_type": "ConfigUpdate", "file": file, "config_changes": {"key": 2}})
}

fn remove(path: &str) -> Value {
    json!({"step_type": "Cleanup", "remove": [path]})
}

#[track_caller]
fn refused(deployment: &Deployment, step: &Value) {
    plan(deployment, std::slice::from_ref(step));
    let before = deployment.all_files();
    let run = deployment.run(&UP);
    run.expect(1).says(&["tool's own", "leave it out"]);
    let after = deployment.all_files();
    assert_eq!(
        migrate_tests::snapshot::files_differing(&before, &after),
        "",
        "{step}"
    );
    deployment
        .run(&["plan", "--from", "1.5.0", "--to", "1.5.1"])
        .expect(1)
        .says(&["tool's own"]);
}

fn a_plan_changes_nothing_that_the_tool_trusts(store: Store) {
    let deployment = Deployment::v1().rows(3).on(store);
    deployment.write("etlrs-migrate.toml", "");
    deployment.write("migrations/extra.toml", "key = 1\n");
    deployment.write("backups/extra.toml", "key = 1\n");
    deployment.write(".etlrs-migrate/extra.toml", "key = 1\n");
    deployment.write("other/etlrs-migrate.toml", "key = 1\n");
    symlink("../migrations", deployment.path("config/away")).unwrap();
    symlink("../etlrs-migrate.toml", deployment.path("config/link.toml")).unwrap();
    fs::hard_link(
        deployment.path("migrations/extra.toml"),
        deployment.path("config/hard.toml"),
    )
    .unwrap();
    for file in [
        "etlrs-migrate.toml",
        "./etlrs-migrate.toml",
        "Etlrs-Migrate.toml",
        "other/etlrs-migrate.toml",
        "migrations/extra.toml",
        "migrations/plans/1.5.0_1.5.1.json",
        "Migrations/new.toml",
        "backups/./extra.toml",
        "BACKUPS/extra.toml",
        ".etlrs-migrate/extra.toml",
        ".etlrs-migrate/recovery.json",
        "config/away/extra.toml",
        "config/link.toml",
        "config/hard.toml",
    ] {
        refused(&deployment, &change(file));
    }
    for path in [
        "etlrs-migrate.toml",
        "migrations",
        "./migrations/extra.toml",
        "backups/",
        "Backups/extra.toml",
        "config/hard.toml",
    ] {
        refused(&deployment, &remove(path));
    }
    if store == Store::Sqlite {
        for path in [
            "data/etlrs.db",
            "data/etlrs.db-wal",
            "data",
            "DATA/ETLRS.DB-shm",
        ] {
            refused(&deployment, &remove(path));
        }
        fs::hard_link(
            deployment.path("data/etlrs.db"),
            deployment.path("copy.toml"),
        )
        .unwrap();
        refused(&deployment, &change("copy.toml"));
        refused(&deployment, &remove("copy.toml"));
    }
    // A directory with another deployment in it, whatever its name.
    plan(&deployment, &[remove("other")]);
    deployment.run(&UP).expect(1).says(&["tool's own"]);
    assert!(deployment.path("other/etlrs-migrate.toml").exists());
}

/// A migrations directory of another name is one too.
fn the_directory_of_migrations_counts_by_any_name(store: Store) {
    let deployment = Deployment::v1().rows(3).on(store);
    plan(&deployment, &[change("deploy/plans/x.toml")]);
    fs::rename(deployment.path("migrations"), deployment.path("deploy")).unwrap();
    let mut up = UP.to_vec();
    up.extend(["--migrations", "deploy"]);
    deployment.run(&up).expect(1).says(&["tool's own"]);
}

/// What was a plan's file when the plan was checked is a link to ours when its step runs.
fn a_link_made_by_an_earlier_step_leads_to_nothing_of_ours(store: Store) {
    for last in [change("extra/x.toml"), remove("extra/x.toml")] {
        let deployment = Deployment::v1().rows(3).on(store);
        deployment.write("extra/x.toml", "key = 1\n");
        deployment.write("migrations/x.toml", "key = 1\n");
        let swap = json!({
            "step_type": "Command", "command": "mv extra kept && ln -s migrations extra",
            "undo": "rm -f extra && mv kept extra",
        });
        plan(&deployment, &[swap, last]);
        let mut up = UP.to_vec();
        up.push("--allow-commands");
        deployment.run(&up).expect_one_of(&[0, 3]);
        assert_eq!(deployment.read("migrations/x.toml"), "key = 1\n");
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn settings_that_others_may_write_are_refused(store: Store) {
    let deployment = Deployment::v1().rows(3).on(store);
    deployment.write("etlrs-migrate.toml", "allow_commands = true\n");
    let settings = deployment.path("etlrs-migrate.toml");
    let look = || deployment.run(&["status"]);
    for mode in [0o664, 0o646, 0o666] {
        chmod(&settings, mode);
        let shown = format!("{mode:04o}");
        look()
            .expect(1)
            .says(&["etlrs-migrate.toml", &shown, "chmod go-w"]);
        deployment.run(&UP).expect(1).says(&[&shown]);
    }
    chmod(&settings, 0o640);
    look().expect(0);
    for mode in [0o775, 0o777, 0o1777] {
        chmod(deployment.root(), mode);
        look()
            .expect(1)
            .says(&[&format!("{mode:04o}"), "chmod go-w"]);
    }
    chmod(deployment.root(), 0o755);
    look().expect(0);
    // Behind a link, file and directory count as they are.
    fs::create_dir(deployment.path("shared")).unwrap();
    chmod(&deployment.path("shared"), 0o777);
    fs::rename(&settings, deployment.path("shared/real.toml")).unwrap();
    symlink("shared/real.toml", &settings).unwrap();
    look().expect(1).says(&["shared", "0777"]);
    // Only root can give a file away.
    if fs::metadata(deployment.root()).unwrap().uid() == 0 {
        chmod(&deployment.path("shared"), 0o755);
        look().expect(0);
        let real = deployment.path("shared/real.toml");
        chown(&real, Some(4711), None).unwrap();
        look().expect(1).says(&["4711", "chown root"]);
    }
}

fn fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo")
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

fn a_fifo_is_refused_and_never_waited_for(store: Store) {
    for name in [
        "config/config.toml",
        "etlrs-migrate.toml",
        "migrations/plans/1.5.0_2.0.0.json",
        "migrations/001_v2_schema_updates.sql",
        ".etlrs-migrate/lock",
        ".etlrs-migrate/journal.db",
    ] {
        let deployment = Deployment::v1().rows(3).on(store);
        deployment.write("migrations/README", "");
        if name.contains("plans") {
            shipped::overlay(&deployment, &shipped::plan());
        }
        let path = deployment.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        fifo(&path);
        let base = Path::new(name).file_name().unwrap().to_str().unwrap();
        let run = deployment.migrate();
        let script = name.contains("001_v2") && store == Store::Sqlite;
        if !script {
            run.expect(1).says(&[base]);
        }
        // None of the verbs that only look hangs either.
        for verb in [
            &["status"][..],
            &["health-check"],
            &["history"],
            &["backup"],
        ] {
            deployment.run(verb);
        }
    }
    for name in ["backups/etlrs_key.pub", ".etlrs-migrate/key"] {
        let deployment = Deployment::v1().rows(3).on(store);
        let path = deployment.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fifo(&path);
        for verb in [&["status"][..], &["audit", "verify"], &["backup"]] {
            deployment.run(verb);
        }
        deployment.migrate().expect_one_of(&[0, 1]);
    }
    let deployment = Deployment::v1().rows(3).on(store);
    fifo(&deployment.path("plan.json"));
    let file = deployment.path("plan.json");
    let file = file.to_str().unwrap();
    deployment.run(&["apply", file]).expect(1).says(&["FIFO"]);
    let source = deployment.path("sql");
    fs::create_dir(&source).unwrap();
    fifo(&source.join("1_x.up.sql"));
    deployment
        .run(&["schema", "status", "--source", source.to_str().unwrap()])
        .expect_one_of(&[1, 2]);
}

fn a_link_in_the_place_of_a_state_file_is_not_followed(store: Store) {
    for name in ["lock", "journal.db", "recovery.json"] {
        let deployment = Deployment::v1().rows(3).on(store);
        deployment.write("victim", "as it was\n");
        fs::create_dir_all(deployment.path(".etlrs-migrate")).unwrap();
        symlink(
            "../victim",
            deployment.path(&format!(".etlrs-migrate/{name}")),
        )
        .unwrap();
        deployment
            .migrate()
            .expect(1)
            .says(&[name, "symbolic link"]);
        assert_eq!(deployment.read("victim"), "as it was\n", "{name}");
    }
    // Nor is one in the place of the directory: its target would be made private.
    let deployment = Deployment::v1().rows(3).on(store);
    fs::create_dir(deployment.path("victim")).unwrap();
    chmod(&deployment.path("victim"), 0o755);
    symlink("victim", deployment.path(".etlrs-migrate")).unwrap();
    deployment.migrate().expect(1).says(&["symbolic link"]);
    let mode = fs::metadata(deployment.path("victim"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o755);
}

fn a_dry_run_executes_nothing_and_says_so(store: Store) {
    let deployment = Deployment::v1().rows(3).on(store);
    let step = json!({
        "step_type": "Command", "command": "touch ran", "undo": "rm -f ran",
        "check": "touch checked; test -e ran",
    });
    plan(&deployment, &[step]);
    for look in [
        &[
            "--from",
            "1.5.0",
            "--to",
            "1.5.1",
            "--dry-run",
            "--allow-commands",
        ][..],
        &[
            "plan",
            "--from",
            "1.5.0",
            "--to",
            "1.5.1",
            "--allow-commands",
        ],
    ] {
        let run = deployment.run(look);
        run.expect(0).says(&["touch checked"]);
        assert!(!deployment.path("checked").exists(), "{run}");
        if look.contains(&"--dry-run") {
            run.says(&["a dry run executes nothing"]);
        }
    }
    let file = deployment.path("plan.json");
    deployment
        .run(&[
            "plan",
            "--from",
            "1.5.0",
            "--to",
            "1.5.1",
            "--allow-commands",
            "-o",
            file.to_str().unwrap(),
        ])
        .expect(0);
    assert!(!deployment.path("checked").exists());
    let mut up = UP.to_vec();
    up.push("--allow-commands");
    deployment.run(&up).expect(0);
    assert!(deployment.path("checked").exists() && deployment.path("ran").exists());
    let mut back = vec![
        "--rollback",
        "--to",
        "1.5.0",
        "--dry-run",
        "--allow-commands",
    ];
    fs::remove_file(deployment.path("checked")).unwrap();
    deployment.run(&back).expect(0);
    assert!(!deployment.path("checked").exists());
    back.retain(|flag| *flag != "--dry-run");
    back.push("--yes");
    deployment.run(&back).expect(0);
    assert!(!deployment.path("ran").exists());
}

on_both!(
    a_plan_changes_nothing_that_the_tool_trusts,
    the_directory_of_migrations_counts_by_any_name,
    a_link_made_by_an_earlier_step_leads_to_nothing_of_ours,
    settings_that_others_may_write_are_refused,
    a_fifo_is_refused_and_never_waited_for,
    a_link_in_the_place_of_a_state_file_is_not_followed,
    a_dry_run_executes_nothing_and_says_so,
);
