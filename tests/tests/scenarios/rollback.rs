//! And back, to the last byte and row.

use migrate_tests::deployment::{Deployment, Store};

use crate::on_both;

fn back_by(strategy: &str, store: Store) {
    let deployment = Deployment::v1().rows(1_000).on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    assert!(before.difference(&deployment.snapshot()).is_some());
    deployment.rollback(strategy).expect(0);
    before.must_equal(&deployment.snapshot(), strategy);
}

fn reverse_brings_everything_back(store: Store) {
    back_by("reverse", store);
}

fn restore_brings_everything_back(store: Store) {
    back_by("restore", store);
}

fn without_a_strategy_everything_comes_back(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment
        .run(&["--rollback", "--to", "1.5.0", "--yes"])
        .expect(0);
    before.must_equal(&deployment.snapshot(), "after a rollback");
}

fn there_and_back_and_there_again(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    for strategy in ["reverse", "restore"] {
        deployment.migrate().expect(0);
        deployment.rollback(strategy).expect(0);
        before.must_equal(&deployment.snapshot(), strategy);
    }
    deployment.migrate().expect(0);
    deployment.must_be_v2();
}

fn a_dry_run_of_a_rollback_changes_nothing(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.migrate().expect(0);
    let (files, after) = (deployment.all_files(), deployment.snapshot());
    for strategy in ["auto", "reverse", "restore"] {
        let arguments = [
            "--rollback",
            "--to",
            "1.5.0",
            "--dry-run",
            "--strategy",
            strategy,
        ];
        deployment.run(&arguments).expect(0).says(&["1.5.0"]);
        after.must_equal(&deployment.snapshot(), strategy);
        let changed = migrate_tests::snapshot::files_differing(&files, &deployment.all_files());
        assert_eq!(changed, "", "after a dry run of {strategy}");
    }
}

fn a_second_rollback_is_already_there(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.rollback("auto").expect(0);
    deployment
        .rollback("auto")
        .expect(0)
        .says(&["already", "1.5.0"]);
    before.must_equal(&deployment.snapshot(), "after a second rollback");
}

fn what_was_open_in_the_database_does_not_hinder_a_restore(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    // Somebody's view on a table that the restore replaces would be lost with it, so it
    // counts as a change since; consent is given.
    deployment.sql("CREATE VIEW somebody AS SELECT id FROM pipelines");
    let arguments = [
        "--rollback",
        "--to",
        "1.5.0",
        "--strategy",
        "restore",
        "--accept-data-loss",
        "--yes",
    ];
    deployment.run(&arguments).expect(0);
    before.must_equal(&deployment.snapshot(), "after a restore");
}

on_both!(
    reverse_brings_everything_back,
    restore_brings_everything_back,
    without_a_strategy_everything_comes_back,
    there_and_back_and_there_again,
    a_dry_run_of_a_rollback_changes_nothing,
    a_second_rollback_is_already_there,
    what_was_open_in_the_database_does_not_hinder_a_restore,
);
