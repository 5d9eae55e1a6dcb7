//! A dry run looks at the real thing, shows everything, and writes nothing anywhere.

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::files_differing;

use crate::on_both;

const DRY: &[&str] = &["--from", "1.5.0", "--to", "2.0.0", "--dry-run"];

fn it_writes_nothing(store: Store) {
    let deployment = Deployment::v1().on(store);
    let (files, before) = (deployment.all_files(), deployment.snapshot());
    deployment.run(DRY).expect(0);
    let mut json = DRY.to_vec();
    json.extend(["--format", "json"]);
    deployment.run(&json).expect(0).json_lines();
    before.must_equal(&deployment.snapshot(), "after a dry run");
    assert_eq!(files_differing(&files, &deployment.all_files()), "");
}

fn it_shows_the_diff_the_sql_and_the_counts(store: Store) {
    let deployment = Deployment::v1().on(store);
    let rows = deployment.source.len().to_string();
    let run = deployment.run(DRY);
    run.expect(0).says(&[
        "-parallel_tasks",
        "+max_parallel_tasks",
        "+[observability]",
        "CREATE TABLE pipeline_metrics",
        "CREATE INDEX idx_pipeline_metrics_name",
        "custom",
        &rows,
    ]);
    if store == Store::Postgres {
        run.says(&[
            "ADD COLUMN retry_attempts INTEGER DEFAULT 3",
            "language 'plpgsql'",
        ]);
    }
}

fn it_works_without_the_right_to_write(store: Store) {
    let deployment = Deployment::v1().on(store);
    let database = deployment.path("data/etlrs.db");
    let readonly = |on: bool| {
        if store == Store::Sqlite {
            let mut rights = std::fs::metadata(&database)
                .expect("it is there")
                .permissions();
            rights.set_readonly(on);
            std::fs::set_permissions(&database, rights).expect("it is ours");
        }
    };
    readonly(true);
    deployment.run(DRY).expect(0);
    readonly(false);
    if store == Store::Postgres {
        let name = deployment.postgres().name();
        let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
        deployment.postgres().admin_psql(&set);
        deployment.run(DRY).expect(0);
    }
}

fn it_needs_no_consent_and_says_the_same_twice(store: Store) {
    let deployment = Deployment::v1().on(store);
    let one = deployment.run(DRY);
    one.expect(0);
    let two = deployment.run(DRY);
    two.expect(0);
    let steady = |text: &str| -> String {
        // Estimates and durations may differ from run to run.
        text.chars().filter(|c| !c.is_ascii_digit()).collect()
    };
    assert_eq!(steady(&one.stdout), steady(&two.stdout));
}

fn a_dry_run_finds_what_a_run_would_find(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.sql("DROP TABLE pipelines_old");
    deployment.run(DRY).expect(1).says(&["pipelines_old"]);
}

on_both!(
    it_writes_nothing,
    it_shows_the_diff_the_sql_and_the_counts,
    it_works_without_the_right_to_write,
    it_needs_no_consent_and_says_the_same_twice,
    a_dry_run_finds_what_a_run_would_find,
);
