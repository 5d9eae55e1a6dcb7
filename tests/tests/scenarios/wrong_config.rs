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
