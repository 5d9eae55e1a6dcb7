//! Services that do not stop or start when they are told to, while they write.

use migrate_tests::deployment::{Deployment, Store};

use crate::on_both;
use crate::services::{MIGRATE, Runit};

/// A deployment whose service refuses `verb` as long as the file `hold` is there.
struct Stubborn {
    deployment: Deployment,
    runit: Runit,
}

impl Stubborn {
    fn at(verb: &str, store: Store) -> Self {
        let deployment = Deployment::v1().on(store);
        let runit = Runit::with(&deployment, &["web"]);
        let at = runit.path("web");
        let hold = deployment.path("hold");
        deployment.edit(
            "etlrs-migrate.toml",
            &format!("{verb} = [\"sv\", \"-w\", \"20\", \"{verb}\", \"{at}\"]"),
            &format!(
                "{verb} = [\"sh\", \"-c\", \"test ! -e '{hold}' || {{ echo held back; exit 1; }}; \
                 exec sv -w 20 {verb} '{at}'\"]",
                hold = hold.display()
            ),
        );
        Self { deployment, runit }
    }

    fn hold(&self) {
        std::fs::write(self.deployment.path("hold"), "").unwrap();
    }

    fn let_go(&self) {
        std::fs::remove_file(self.deployment.path("hold")).unwrap();
    }

    fn next_command(&self) -> String {
        let status = self.deployment.run(&["status", "--format", "json"]).json();
        status["next_command"].as_str().unwrap_or("none").to_owned()
    }
}

fn a_stop_that_fails_changes_nothing(store: Store) {
    let stubborn = Stubborn::at("stop", store);
    stubborn.hold();
    let pipelines = stubborn.deployment.sql("SELECT count(*) FROM pipelines");
    let run = stubborn.deployment.run(MIGRATE);
    run.expect(3).says(&["web", "held back"]);
    assert!(!run.output().contains("NOT rolled back"), "{run}");
    stubborn.runit.wait("web", "run:");
    assert_eq!(
        stubborn.deployment.sql("SELECT count(*) FROM pipelines"),
        pipelines
    );
    stubborn.let_go();
    stubborn.deployment.run(MIGRATE).expect(0);
    stubborn.deployment.must_be_v2();
}

fn a_stop_that_fails_on_the_way_back_costs_nothing(store: Store) {
    let stubborn = Stubborn::at("stop", store);
    stubborn.deployment.run(MIGRATE).expect(0);
    stubborn.hold();
    stubborn
        .deployment
        .run(&["--rollback", "--to", "1.5.0", "--yes"])
        .expect(4)
        .says(&["web", "held back"]);
    stubborn.deployment.must_be_v2();
    let next = stubborn.next_command();
    assert!(next.contains("--rollback --to 1.5.0"), "{next}");
    assert!(!next.contains("restore"), "{next}");
    stubborn.let_go();
    stubborn
        .deployment
        .run(&["--rollback", "--to", "1.5.0", "--yes"])
        .expect(0)
        .says(&["web stopped", "web started"]);
    stubborn.runit.wait("web", "run:");
}

fn one_that_did_not_start_runs_after_the_way_back(store: Store) {
    let stubborn = Stubborn::at("start", store);
    stubborn.hold();
    stubborn
        .deployment
        .run(MIGRATE)
        .expect(4)
        .says(&["web", "held back"]);
    stubborn.runit.wait("web", "down:");
    let next = stubborn.next_command();
    assert!(next.contains("--rollback --to 1.5.0"), "{next}");
    stubborn.let_go();
    stubborn
        .deployment
        .run(&["--rollback", "--to", "1.5.0", "--yes"])
        .expect(0)
        .says(&["web started"]);
    stubborn.runit.wait("web", "run:");
}

/// The likeliest of all: something writes that nobody declared.
fn a_writer_that_nobody_declared_leaves_no_run_stuck(store: Store) {
    let deployment = Deployment::v1().on(store);
    let runit = Runit::with(&deployment, &["web"]);
    deployment.write("etlrs-migrate.toml", "");
    let pipelines = deployment.sql("SELECT count(*) FROM pipelines");
    let run = deployment.run(MIGRATE);
    run.expect_one_of(&[0, 1, 3]);
    if run.code() == Some(0) {
        deployment.must_be_v2();
    } else {
        assert_eq!(
            deployment.sql("SELECT count(*) FROM pipelines"),
            pipelines,
            "{run}"
        );
    }
    let status = deployment.run(&["status", "--format", "json"]).json();
    assert_ne!(status["next"], "manual", "{status}");
    runit.wait("web", "run:");
}

on_both!(
    a_writer_that_nobody_declared_leaves_no_run_stuck,
    a_stop_that_fails_changes_nothing,
    a_stop_that_fails_on_the_way_back_costs_nothing,
    one_that_did_not_start_runs_after_the_way_back,
);
