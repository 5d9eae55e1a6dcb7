//! The rollback point: there before anything changes, verified, private, or the run does not start.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::files_differing;

use crate::on_both;

fn backup_files(deployment: &Deployment) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(deployment.path("backups")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| name(path).starts_with("etlrs_backup_"));
    files.sort();
    files
}

fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn it_is_private_and_listed(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let files = backup_files(&deployment);
    assert!(!files.is_empty(), "no etlrs_backup_* was made");
    for path in files.iter().filter(|path| path.is_file()) {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    let stem = name(&files[0]);
    let moment = &stem["etlrs_backup_".len()..][.."YYYYMMDD_HHMMSS".len()];
    let shape: String = moment
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "00000000_000000", "{stem}");
    let history = deployment.read("backups/rollback_history.json");
    serde_json::from_str::<serde_json::Value>(&history).expect("the history is JSON");
    assert!(history.contains(moment), "{history} does not name {moment}");
}

fn it_holds_the_config_of_before(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.read("config/config.toml");
    deployment.migrate().expect(0);
    assert_eq!(deployment.read("backups/config_1.5.0.toml"), before);
}

fn without_one_only_reverse_is_left(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    let arguments = ["--from", "1.5.0", "--to", "2.0.0", "--yes", "--no-backup"];
    deployment.run(&arguments).expect(0);
    deployment.must_be_v2();
    assert_eq!(backup_files(&deployment), Vec::<PathBuf>::new());
    let after = deployment.snapshot().of_the_user();
    deployment
        .rollback("restore")
        .expect(1)
        .says(&["no rollback point"]);
    after.must_equal(
        &deployment.snapshot().of_the_user(),
        "after a restore from nothing",
    );
    deployment.rollback("reverse").expect(0);
    before.must_equal(&deployment.snapshot(), "after a reverse without a backup");
}

fn a_damaged_one_is_refused(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    for path in backup_files(&deployment)
        .iter()
        .filter(|path| path.is_file())
    {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(path, bytes).unwrap();
    }
    let after = deployment.snapshot().of_the_user();
    deployment
        .rollback("restore")
        .expect_one_of(&[1, 4])
        .says(&["etlrs_backup_"]);
    after.must_equal(
        &deployment.snapshot().of_the_user(),
        "after a damaged backup",
    );
}

fn one_that_is_gone_is_refused(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    for path in backup_files(&deployment) {
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
    let after = deployment.snapshot().of_the_user();
    deployment
        .rollback("restore")
        .expect_one_of(&[1, 4])
        .says(&["etlrs_backup_"]);
    after.must_equal(
        &deployment.snapshot().of_the_user(),
        "after a backup that is gone",
    );
}

fn backups_that_cannot_be_written_stop_the_run(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.write("backups", "a file where the directory should be\n");
    let (files, before) = (deployment.files_of_user(), deployment.snapshot());
    deployment
        .migrate()
        .expect_one_of(&[1, 3])
        .says(&["backups"]);
    before.must_equal(&deployment.snapshot(), "without a place for backups");
    if store == Store::Postgres {
        assert_eq!(files_differing(&files, &deployment.files_of_user()), "");
    }
}

#[test]
fn a_pg_dump_that_fails_leaves_everything_as_it_was() {
    let deployment = Deployment::v1().postgres();
    // A large object of somebody else: only pg_dump looks at it.
    deployment.postgres().admin_psql("SELECT lo_create(4242)");
    let before = deployment.snapshot();
    let run = deployment.migrate();
    run.expect_one_of(&[1, 3]).says(&["pg_dump", "4242"]);
    before.must_equal(&deployment.snapshot(), "after a failed dump");
}

#[test]
fn a_table_that_cannot_be_read_is_refused_with_the_grant_that_is_missing() {
    let deployment = Deployment::v1().postgres();
    let hidden = "CREATE TABLE hidden (a integer); REVOKE ALL ON hidden FROM PUBLIC";
    deployment.postgres().admin_psql(hidden);
    let before = deployment.snapshot();
    let run = deployment.migrate();
    run.expect(1).says(&["hidden", "GRANT SELECT"]);
    before.must_equal(&deployment.snapshot(), "after a refusal");
}

on_both!(
    it_is_private_and_listed,
    it_holds_the_config_of_before,
    without_one_only_reverse_is_left,
    a_damaged_one_is_refused,
    one_that_is_gone_is_refused,
    backups_that_cannot_be_written_stop_the_run,
);
