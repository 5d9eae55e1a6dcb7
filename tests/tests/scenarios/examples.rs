//! The examples of the crates, run as an embedder would run them: what docs/embedding.md
//! promises is what they print.

use std::process::{Command, Output};

#[track_caller]
fn example(package: &str, name: &str, arguments: &[&str]) -> Output {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    Command::new(cargo)
        .args(["run", "--quiet", "-p", package, "--example", name, "--"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started")
}

#[track_caller]
fn printed(output: &Output) -> Vec<String> {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_step_kind_of_ones_own_runs_fails_and_goes_back() {
    let lines = printed(&example("migrate-core", "own_step", &[]));
    assert_eq!(
        lines,
        [
            "would: show \"version 2 is here\"",
            "would: show \"read the notes\"",
            "site: []",
            "Completed, site: [\"read the notes\", \"version 2 is here\"]",
            "RolledBack, site: []",
            "failed and rolled back: step news: \"read all of the notes\" is longer than 20 letters",
            "    hint: say it shorter",
            "site: []",
            "the plan has errors",
            "  - step news: a Banner step has no field \"mots\"",
            "    hint: known fields: id, description, step_type, command, config_changes, \
             data_migration, validation, timeout, can_rollback, text, most",
        ]
    );
}

#[test]
fn rows_are_copied_with_a_pool_that_exists() {
    let lines = printed(&example("migrate-data", "copy_table", &[]));
    let told = lines.join("\n");
    for line in [
        "names: 10000 read, 10000 inserted",
        "domains: 10000 read, 10000 inserted",
        "again: 10000 read, 10000 unchanged",
        "refused: ",
    ] {
        assert!(told.contains(line), "{line:?} in {told}");
    }
    assert!(told.contains("7777") && !told.contains("nowhere"), "{told}");
}

#[test]
fn a_config_is_migrated_without_the_rest() {
    let old = "# mine\ndatabase_url = \"sqlite:x.db\"\nbatch_size = 5\nparallel_tasks = 2\nlog_level = \"info\"\n";
    let lines = printed(&example("migrate-config", "edit_config", &[old]));
    let told = lines.join("\n");
    for word in [
        "# mine",
        "url = \"sqlite:x.db\"",
        "pool_size = 20",
        "max_parallel_tasks = 2",
    ] {
        assert!(told.contains(word), "{word:?} in {told}");
    }
    let wrong = example("migrate-config", "edit_config", &["batch_size = \"many\""]);
    assert_eq!(wrong.status.code(), Some(1));
}
