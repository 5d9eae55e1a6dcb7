//! Plans and settings are untrusted: no path leaves the root, no name becomes SQL, no command
//! runs without consent, and what the tool keeps is its owner's alone.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::{Files, files, files_differing};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{on_both, shipped};

/// A directory outside of any deployment, with files that must stay as they are.
struct Outside {
    directory: TempDir,
    before: Files,
}

impl Outside {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        file("victim.toml", "key = 1\n");
        file("victim.sql", "CREATE TABLE stolen (a integer);\n");
        file("select.sql", "SELECT * FROM batch\n");
        let before = files(directory.path(), |_| true);
        Self { directory, before }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    #[track_caller]
    fn must_be_untouched(&self, what: &str) {
        let now = files(self.directory.path(), |_| true);
        assert_eq!(files_differing(&self.before, &now), "", "{what}");
    }
}

fn step(kind: &str, mut fields: Value) -> Value {
    for (name, value) in [("id", "evil"), ("step_type", kind), ("timeout", "20s")] {
        fields[name] = json!(value);
    }
    fields
}

/// Steps that name a file in one of the ways that lead out of the root.
fn steps_that_lead_to(file: &str, script: &str, select: &str) -> Vec<Value> {
    vec![
        step(
            "ConfigUpdate",
            json!({"file": file, "config_changes": {"key": 2}}),
        ),
        step("Cleanup", json!({"remove": [file]})),
        step(
            "SchemaUpdate",
            json!({"command": script, "schema_version": 1}),
        ),
        step(
            "DataMigration",
            json!({"data_migration": {
                "source_table": "pipelines_old", "target_table": "pipelines",
                "transformation_script": select, "batch_size": 10, "parallel_workers": 1,
            }}),
        ),
    ]
}

#[track_caller]
fn refused(deployment: &Deployment, step: &Value) {
    shipped::insert_step(deployment, 0, step.clone());
    let before = deployment.snapshot();
    let run = deployment.run(&["--from", "1.5.0", "--to", "2.0.0", "--yes"]);
    run.expect_one_of(&[1, 3]);
    before.must_equal(&deployment.snapshot(), &step.to_string());
}

fn no_path_leaves_the_root(store: Store) {
    let outside = Outside::new();
    let deployment = Deployment::v1().rows(3).on(store);
    symlink(outside.directory.path(), deployment.path("config/away")).unwrap();
    std::fs::create_dir_all(deployment.path("migrations")).unwrap();
    symlink(outside.directory.path(), deployment.path("migrations/away")).unwrap();
    let up = outside
        .directory
        .path()
        .strip_prefix("/")
        .unwrap()
        .display();
    let up = format!("{}{up}", "../".repeat(24));
    for (file, script, select) in [
        (
            outside.path("victim.toml"),
            outside.path("victim.sql"),
            outside.path("select.sql"),
        ),
        (
            format!("{up}/victim.toml"),
            format!("{up}/victim.sql"),
            format!("{up}/select.sql"),
        ),
        (
            "config/away/victim.toml".to_owned(),
            "away/victim.sql".to_owned(),
            "away/select.sql".to_owned(),
        ),
        (
            "config/../config/away/victim.toml".to_owned(),
            "./away/../away/victim.sql".to_owned(),
            "away/./select.sql".to_owned(),
        ),
    ] {
        for step in steps_that_lead_to(&file, &script, &select) {
            // A cleanup is deferred: its failure is a warning, but nothing outside goes away.
            if step["step_type"] == "Cleanup" && !file.contains("..") && file.starts_with("config")
            {
                shipped::insert_step(&deployment, shipped::steps(), step.clone());
                deployment.migrate().expect_one_of(&[0, 1]);
                outside.must_be_untouched(&step.to_string());
                deployment
                    .run(&["--rollback", "--to", "1.5.0", "--yes"])
                    .expect_one_of(&[0, 1]);
                continue;
            }
            refused(&deployment, &step);
            outside.must_be_untouched(&step.to_string());
        }
    }
}

/// What was a directory when the plan was checked is a link out of the root when its step runs.
fn a_directory_that_becomes_a_link_leads_nowhere(store: Store) {
    for kind in ["ConfigUpdate", "Cleanup"] {
        let outside = Outside::new();
        let deployment = Deployment::v1().rows(3).on(store);
        deployment.write("extra/victim.toml", "key = 1\n");
        let last = if kind == "Cleanup" {
            step(kind, json!({"remove": ["extra/victim.toml"]}))
        } else {
            step(
                kind,
                json!({"file": "extra/victim.toml", "config_changes": {"key": 2}}),
            )
        };
        let swap = format!(
            "mv extra kept && ln -s {} extra",
            outside.directory.path().display()
        );
        let plan = json!({
            "from_version": "1.5.0", "to_version": "1.5.1", "migration_type": "Patch",
            "downtime_required": false,
            "steps": [
                {"id": "swap", "step_type": "Command", "command": swap, "timeout": "20s",
                 "undo": "rm -f extra && mv kept extra"},
                last,
            ],
        });
        shipped::overlay(&deployment, &plan);
        let path = [
            "--from",
            "1.5.0",
            "--to",
            "1.5.1",
            "--yes",
            "--allow-commands",
        ];
        let run = deployment.run(&path);
        outside.must_be_untouched(kind);
        if kind == "ConfigUpdate" {
            run.expect(3);
            assert_eq!(deployment.read("extra/victim.toml"), "key = 1\n");
        } else {
            run.expect(0).says(&["is not removed", "symbolic link"]);
        }
    }
}

fn names_never_become_sql(store: Store) {
    let deployment = Deployment::v1().rows(3).on(store);
    // As a name in SQL: a quote, a statement, a comment.
    let (old, new) = (
        r#""or""dem; DROP TABLE pipelines; --""#,
        r#""nova'; DROP TABLE pipelines_old; --""#,
    );
    let column = r#""valor""); DROP TABLE pipelines; --""#;
    deployment.sql(&format!(
        "CREATE TABLE {old} (id integer PRIMARY KEY, {column} text NOT NULL);\n\
         CREATE TABLE {new} (id integer PRIMARY KEY, {column} text NOT NULL);\n\
         INSERT INTO {old} VALUES (1, 'a'), (2, 'b'), (3, 'c');"
    ));
    let move_rows = json!({
        "id": "hostile", "step_type": "DataMigration", "timeout": "20s",
        "data_migration": {
            "source_table": old, "target_table": new,
            "transformation_script": "hostile.sql", "batch_size": 2, "parallel_workers": 2,
        },
    });
    deployment.write("migrations/hostile.sql", "SELECT * FROM batch\n");
    shipped::insert_step(&deployment, shipped::steps(), move_rows);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.must_be_v2();
    assert_eq!(deployment.sql(&format!("SELECT count(*) FROM {new}")), "3");
    deployment.rollback("auto").expect(0);
    before.must_equal(&deployment.snapshot(), "after hostile names");
}

fn what_is_kept_is_its_owners_alone(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    deployment.run(&["backup"]).expect(0);
    deployment.rollback("restore").expect(0);
    deployment.migrate().expect(0);
    let mut seen = 0;
    for directory in [".etlrs-migrate", "backups"] {
        let mut left = vec![deployment.path(directory)];
        while let Some(path) = left.pop() {
            let about = std::fs::symlink_metadata(&path).unwrap();
            let mode = about.permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
            seen += 1;
            if about.is_dir() {
                let entries = std::fs::read_dir(&path).unwrap();
                left.extend(entries.map(|entry| entry.unwrap().path()));
            }
        }
    }
    assert!(seen > 6, "saw {seen}");
}

fn no_command_runs_without_consent(store: Store) {
    let touch = |name: &str| json!(["touch", name]);
    let deployment = Deployment::v1().rows(3).on(store);
    for step in [
        step("Command", json!({"command": touch("ran")})),
        step(
            "Command",
            json!({"command": touch("ran"), "check": touch("ran")}),
        ),
        step("Cleanup", json!({"command": touch("ran")})),
        step(
            "ServiceRestart",
            json!({"health": {"command": touch("ran")}}),
        ),
    ] {
        shipped::insert_step(&deployment, 0, step.clone());
        let run = deployment.run(&["--from", "1.5.0", "--to", "2.0.0", "--yes"]);
        run.expect_one_of(&[1, 7]).says(&["allow"]);
        assert!(!deployment.path("ran").exists(), "{step} ran: {run}");
        for look in [
            &["--from", "1.5.0", "--to", "2.0.0", "--dry-run"][..],
            &["plan", "--from", "1.5.0", "--to", "2.0.0"],
        ] {
            let run = deployment.run(look);
            assert!(!deployment.path("ran").exists(), "{step} ran: {run}");
        }
    }
    // Consent to the way there is none to a command on the way back.
    let mut plan = shipped::plan();
    plan["rollback_steps"] = json!([step("Command", json!({"command": touch("ran")}))]);
    shipped::overlay(&deployment, &plan);
    let forward = deployment.run(&["--from", "1.5.0", "--to", "2.0.0", "--yes"]);
    if forward.code() == Some(0) {
        let back = deployment.run(&["--rollback", "--to", "1.5.0", "--yes"]);
        assert_ne!(back.code(), Some(0), "{back}");
    }
    assert!(!deployment.path("ran").exists());
}

on_both!(
    no_path_leaves_the_root,
    a_directory_that_becomes_a_link_leads_nowhere,
    names_never_become_sql,
    what_is_kept_is_its_owners_alone,
    no_command_runs_without_consent,
);
