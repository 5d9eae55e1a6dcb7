//! The guide's two scripts, as an operator calls them.

use std::process::Command;

use migrate_tests::deployment::{Deployment, Store};

use crate::{on_both, shipped};

struct Said {
    code: i32,
    text: String,
}

impl Said {
    #[track_caller]
    fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "no {word:?} in\n{}", self.text);
        }
    }
}

fn script(name: &str, deployment: &Deployment, arguments: &[&str]) -> Said {
    let path = format!("{}/../scripts/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(path)
        .args(arguments)
        .env("PROJECT_ROOT", deployment.root())
        .env("ETLRS_MIGRATE", migrate_tests::binary::path())
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        code: output.status.code().unwrap(),
        text: String::from_utf8(text).unwrap(),
    }
}

fn there_back_and_the_emergency_way(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    let there = ["--from", "1.5.0", "--to", "2.0.0"];
    let dry = [&there[..], &["--dry-run"]].concat();
    script("migrate.sh", &deployment, &dry).expect(0, &["[WARNING] Running in DRY-RUN"]);
    before.must_equal(&deployment.snapshot(), "after a dry run");
    script(
        "migrate.sh",
        &deployment,
        &[&there[..], &["--", "--yes"]].concat(),
    )
    .expect(
        0,
        &[
            "[INFO] Upgrading from version 1.5.0",
            "[SUCCESS] Health check passed",
            "[SUCCESS] Migration completed",
        ],
    );
    deployment.must_be_v2();
    script("migrate.sh", &deployment, &["--rollback", "--to", "1.5.0"])
        .expect(0, &["[WARNING] Performing ROLLBACK"]);
    before.must_equal(&deployment.snapshot(), "after a rollback");
    script(
        "migrate.sh",
        &deployment,
        &[&there[..], &["--no-backup", "--", "--yes"]].concat(),
    )
    .expect(0, &["[WARNING] Running without a database backup"]);
    let emergency = ["--version", "1.5.0"];
    script("emergency-rollback.sh", &deployment, &emergency).expect(
        7,
        &[
            "[WARNING] EMERGENCY ROLLBACK TO VERSION 1.5.0",
            "--yes",
            "[ERROR]",
        ],
    );
    deployment.must_be_v2();
    script(
        "emergency-rollback.sh",
        &deployment,
        &[&emergency[..], &["--", "--yes"]].concat(),
    )
    .expect(0, &["[SUCCESS] Emergency rollback completed"]);
    let now = deployment.snapshot().of_the_user();
    before.of_the_user().must_equal(&now, "after an emergency");
}

fn a_failure_keeps_its_exit_code(store: Store) {
    let deployment = Deployment::v1().on(store);
    shipped::insert_step(&deployment, 1, shipped::failing_validation());
    let there = ["--from", "1.5.0", "--to", "2.0.0", "--", "--yes"];
    script("migrate.sh", &deployment, &there)
        .expect(3, &["[ERROR] Migration failed; everything is as before"]);
    for (name, arguments, words) in [
        (
            "migrate.sh",
            &["--to", "2.0.0"][..],
            "[ERROR] From version is required",
        ),
        (
            "migrate.sh",
            &["--from", "1.5.0"],
            "[ERROR] Target version is required",
        ),
        (
            "migrate.sh",
            &["--nonsense"],
            "[ERROR] Unknown option: --nonsense",
        ),
        ("migrate.sh", &["--from"], "[ERROR] --from needs a value"),
        (
            "emergency-rollback.sh",
            &[],
            "[ERROR] Target version is required",
        ),
    ] {
        script(name, &deployment, arguments).expect(1, &[words, "Usage:"]);
    }
    script("migrate.sh", &deployment, &["--help"]).expect(0, &["--rollback", "Examples:"]);
}

on_both!(
    there_back_and_the_emergency_way,
    a_failure_keeps_its_exit_code
);
