//! Every exit code that is documented, from the real binary.

use migrate_tests::binary::{self, Running};
use migrate_tests::deployment::{Deployment, Store};

use serde_json::json;

use crate::{on_both, shipped};

const MIGRATE: &[&str] = &[
    "--from", "1.5.0", "--to", "2.0.0", "--yes", "--format", "json",
];

/// With batches so small that a signal finds the data step still at work, on a busy machine too.
fn slow(store: Store) -> Deployment {
    let deployment = Deployment::v1().rows(3_000).on(store);
    let mut plan = shipped::plan();
    for step in plan["steps"].as_array_mut().expect("a plan has steps") {
        if step["step_type"] == "DataMigration" {
            step["data_migration"]["batch_size"] = json!(3);
        }
    }
    shipped::overlay(&deployment, &plan);
    deployment
}

/// A run whose data step moves rows.
fn moving(deployment: &Deployment) -> Running {
    let mut running = deployment.tool(MIGRATE).start();
    running
        .wait_for(|event| event["event"] == "step_progress" && event["step"] == "data")
        .expect("the data step moves rows");
    running
}

fn each_code_means_what_is_documented(store: Store) {
    let deployment = slow(store);
    let before = deployment.snapshot();
    deployment
        .run(&["--from", "9.9.9", "--to", "10.0.0"])
        .expect(1);
    deployment.run(&["--nonsense"]).expect(2);
    deployment.run(&["status"]).expect(0);

    // 129, 130, 143: stopped at a boundary; 6 until it is gone on with.
    for (signal, code) in [("HUP", 129), ("INT", 130), ("TERM", 143)] {
        let running = moving(&deployment);
        running.signal(signal);
        running.finish().expect(code);
        deployment.migrate().expect(6);
        deployment.rollback("auto").expect(0);
        before.must_equal(&deployment.snapshot(), "after a stopped run was taken back");
    }

    // 5: another run holds the lock.
    let running = moving(&deployment);
    running.signal("STOP");
    deployment.migrate().expect(5);
    running.signal("CONT");
    running.finish().expect(0);

    // 8: a check finds a difference.
    let spoil = "UPDATE schema_versions SET version = 77 WHERE version = 2";
    deployment.sql(spoil);
    deployment.run(&["validate", "--to", "2.0.0"]).expect(8);
    deployment.sql("UPDATE schema_versions SET version = 2 WHERE version = 77");

    // 7: a restore would lose what was written since.
    deployment.sql("UPDATE pipelines SET name = 'written since' WHERE id = 1");
    deployment.rollback("restore").expect(7);
    deployment
        .run(&[
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            "restore",
            "--accept-data-loss",
            "--yes",
        ])
        .expect(0);
    before.must_equal(&deployment.snapshot(), "after the restore");

    // 3: failed and back; 4: failed and not back, until the printed command is run.
    shipped::insert_step(&deployment, shipped::steps(), shipped::failing_validation());
    let before = deployment.snapshot();
    deployment.migrate().expect(3);
    before.must_equal(&deployment.snapshot(), "after a run that failed");
    let root = deployment.root().to_str().unwrap();
    let mut arguments = vec!["-C", root];
    arguments.extend(MIGRATE);
    binary::Tool::of(binary::failpoints(), &arguments)
        .env("ETLRS_FAILPOINT", "schema.undo:fail")
        .run()
        .expect(4)
        .says(&["next: etlrs-migrate", "--strategy restore"]);
    deployment.rollback("restore").expect(0);
    before.must_equal(&deployment.snapshot(), "after the way out");
}

on_both!(each_code_means_what_is_documented);
