//! Configs that can't be migrated: the place and the line are named, nothing has changed.

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::files_differing;

use crate::on_both;

fn refused(deployment: &Deployment, words: &[&str]) {
    let (files, before) = (deployment.files_of_user(), deployment.snapshot());
    deployment.migrate().expect(1).says(words);
    before.must_equal(&deployment.snapshot(), "after a refusal");
    assert_eq!(files_differing(&files, &deployment.files_of_user()), "");
}

fn edited(store: Store, old: &str, new: &str, words: &[&str]) {
    let deployment = Deployment::v1().on(store);
    deployment.edit("config/config.toml", old, new);
    refused(&deployment, words);
}

/// As a user whom rights hold back: another one where this is root.
#[test]
fn a_directory_that_may_not_be_written_in_is_found_before() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    use std::path::Path;
    const NOBODY: u32 = 65_534;

    let deployment = Deployment::v1().sqlite();
    let before = deployment.snapshot();
    let config = deployment.path("config");
    let rights = |mode| {
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let root = deployment.root().to_str().unwrap();
    let rest = ["-C", root, "--from", "1.5.0", "--to", "2.0.0", "--yes"];
    rights(0o555);
    let run = if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        let place = tempfile::tempdir().unwrap();
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(place.path(), all).unwrap();
        let binary = place.path().join("etlrs-migrate");
        std::fs::copy(migrate_tests::binary::path(), &binary).unwrap();
        for path in [".", "config", "config/config.toml", "data", "data/etlrs.db"] {
            chown(deployment.path(path), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let nobody = format!("--reuid={NOBODY}");
        let group = format!("--regid={NOBODY}");
        let binary = binary.to_str().unwrap();
        let head = [nobody.as_str(), &group, "--clear-groups", binary];
        let all = [&head[..], &rest].concat();
        migrate_tests::binary::Tool::of(Path::new("setpriv"), &all).run()
    } else {
        migrate_tests::binary::Tool::new(&rest).run()
    };
    rights(0o755);
    run.expect(1).says(&[
        "config/config.toml",
        "can't be replaced",
        "write in its directory",
    ]);
    before.must_equal(&deployment.snapshot(), "after a refusal");
}

fn a_log_level_that_does_not_exist(store: Store) {
    edited(
        store,
        "log_level = \"info\"",
        "log_level = \"loud\"",
        &[
            "config/config.toml:9:13",
            "log_level = \"loud\"",
            "loud",
            "info",
        ],
    );
}

fn a_missing_key(store: Store) {
    edited(
        store,
        "batch_size = 1000\n",
        "",
        &["config/config.toml", "batch_size"],
    );
}

fn a_wrong_type(store: Store) {
    edited(
        store,
        "batch_size = 1000",
        "batch_size = \"many\"",
        &["config/config.toml:7:14", "batch_size = \"many\""],
    );
}

fn a_negative_number(store: Store) {
    edited(
        store,
        "batch_size = 1000",
        "batch_size = -5",
        &["config/config.toml:7:14", "batch_size = -5"],
    );
}

fn broken_toml(store: Store) {
    edited(
        store,
        "batch_size = 1000",
        "batch_size = = 1000",
        &["config/config.toml:7", "batch_size = = 1000"],
    );
}

fn a_key_that_stands_twice(store: Store) {
    edited(
        store,
        "batch_size = 1000",
        "batch_size = 1000\nbatch_size = 2000",
        &["config/config.toml:8", "batch_size"],
    );
}

fn no_config_at_all(store: Store) {
    let deployment = Deployment::v1().on(store);
    std::fs::remove_file(deployment.path("config/config.toml")).unwrap();
    refused(&deployment, &["config/config.toml"]);
}

fn a_config_that_is_no_text(store: Store) {
    let deployment = Deployment::v1().on(store);
    let mut bytes = deployment.read("config/config.toml").into_bytes();
    bytes.extend([0xff, 0xfe, 0x00]);
    std::fs::write(deployment.path("config/config.toml"), bytes).unwrap();
    refused(&deployment, &["config/config.toml"]);
}

fn a_config_that_leads_out_of_the_root(store: Store) {
    let deployment = Deployment::v1().on(store);
    let outside = tempfile::TempDir::new().unwrap();
    let file = outside.path().join("config.toml");
    std::fs::rename(deployment.path("config/config.toml"), &file).unwrap();
    std::os::unix::fs::symlink(&file, deployment.path("config/config.toml")).unwrap();
    let before = std::fs::read(&file).unwrap();
    refused(&deployment, &["config/config.toml"]);
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

on_both!(
    a_log_level_that_does_not_exist,
    a_missing_key,
    a_wrong_type,
    a_negative_number,
    broken_toml,
    a_key_that_stands_twice,
    no_config_at_all,
    a_config_that_is_no_text,
    a_config_that_leads_out_of_the_root,
);

#[test]
fn a_config_file_is_migrated_alone() {
    let deployment = Deployment::v1().sqlite();
    let before = deployment.read("config/config.toml");
    let (input, output) = (
        deployment.path("config/config.toml"),
        deployment.path("out.toml"),
    );
    let (input, output) = (input.to_str().unwrap(), output.to_str().unwrap());
    deployment
        .run(&["config", "migrate", input, output])
        .expect(0);
    assert_eq!(deployment.read("config/config.toml"), before);
    std::fs::copy(output, input).unwrap();
    deployment.config_must_be_v2();
}
