//! What speaks against a run is told before anything is stopped, all together.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::Value;

use crate::on_both;

fn codes(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|one| one["code"].as_str().unwrap().to_owned())
        .collect()
}

fn health(deployment: &Deployment, code: i32) -> Value {
    deployment
        .run(&["health-check", "--format", "json"])
        .expect(code)
        .json()
}

fn a_healthy_deployment_is_healthy(store: Store) {
    let deployment = Deployment::v1().on(store);
    let before = deployment.all_files();
    let report = health(&deployment, 0);
    assert_eq!(report["healthy"], true, "{report}");
    deployment.run(&["health-check"]).expect(0).says(&[
        "parses, as 1.x",
        "answers",
        "nobody holds the lock",
    ]);
    deployment.migrate().expect(0);
    assert_eq!(health(&deployment, 0)["healthy"], true);
    deployment.rollback("reverse").expect(0);
    assert!(before.len() <= deployment.all_files().len());
}

fn a_mistake_in_the_config_is_told_once(store: Store) {
    let deployment = Deployment::v1().on(store);
    let config = deployment.read("config/config.toml");
    deployment.write("config/config.toml", "batch_size = = 1\n");
    let tool = deployment.tool(&["health-check"]).run();
    let output = tool.expect(8).says(&["config/config.toml:1:"]).output();
    assert_eq!(output.matches("not valid TOML").count(), 1, "{output}");
    std::fs::remove_file(deployment.path("config/config.toml")).unwrap();
    let output = deployment.run(&["health-check"]).expect(8).output();
    assert_eq!(output.matches("can't be read").count(), 1, "{output}");
    deployment.write("config/config.toml", &config);
}

fn everything_wrong_is_told_at_once(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.write("config/config.toml", "batch_size = = 1\n");
    deployment.write(
        "etlrs-migrate.toml",
        "[services.web]\nmanager = \"command\"\nstart = [\"no-such-program\"]\nstop = [\"true\"]\nstatus = [\"true\"]\n",
    );
    let url = match store {
        Store::Sqlite => format!("sqlite:{}", deployment.path("data/etlrs.db").display()),
        Store::Postgres => deployment.url(),
    };
    let run = deployment
        .tool(&["health-check", "--format", "json"])
        .env("DATABASE_URL", url)
        .run();
    let found = codes(&run.expect(8).json());
    for code in ["config.", "service.no-program"] {
        assert!(
            found.iter().any(|one| one.starts_with(code)),
            "{code}: {found:?}"
        );
    }
}

on_both!(
    a_healthy_deployment_is_healthy,
    a_mistake_in_the_config_is_told_once,
    everything_wrong_is_told_at_once,
);

/// A role that may connect and read, and nothing else.
fn poor(deployment: &Deployment) -> (String, String) {
    let database = deployment.postgres();
    let role = format!("{}_poor", database.name());
    database.admin_psql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'geheim-4711'; \
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    let url = database.server().url(&role, "geheim-4711", database.name());
    (role, url)
}

#[test]
fn rights_that_are_missing_are_named_with_the_grant() {
    let deployment = Deployment::v1().postgres();
    let (role, url) = poor(&deployment);
    let before = deployment.snapshot();
    let run = deployment
        .tool(&["--from", "1.5.0", "--to", "2.0.0", "--yes"])
        .env("DATABASE_URL", &url)
        .run();
    run.expect(1).says(&[
        &format!(
            "GRANT CREATE ON DATABASE {} TO \"{role}\"",
            quoted(deployment.postgres().name())
        ),
        &format!("GRANT CREATE ON SCHEMA \"public\" TO \"{role}\""),
        &format!("GRANT \"etlrs\" TO \"{role}\""),
        "table public.pipelines belongs to",
    ]);
    assert!(!run.output().contains("geheim-4711"), "{run}");
    before.must_equal(&deployment.snapshot(), "after a refusal");
    // Each statement as it was printed is enough.
    let health = deployment
        .tool(&["health-check"])
        .env("DATABASE_URL", &url)
        .run();
    health.expect(8).says(&["CREATEDB", "pg_read_all_stats"]);
    for line in run
        .output()
        .lines()
        .filter(|line| line.contains("run: GRANT"))
    {
        let statement = line.split("run: ").nth(1).unwrap();
        deployment.postgres().admin_psql(statement);
    }
    deployment
        .tool(&["--from", "1.5.0", "--to", "2.0.0", "--yes"])
        .env("DATABASE_URL", &url)
        .run()
        .expect(0);
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

#[test]
fn a_database_that_is_not_there_is_told_with_everything_else() {
    let deployment = Deployment::v1().postgres();
    let url = deployment
        .postgres()
        .server()
        .url("etlrs", "wrong-geheim", "no_such_db");
    let run = deployment
        .tool(&["health-check", "--format", "json"])
        .env("DATABASE_URL", &url)
        .run();
    let found = codes(&run.expect(8).json());
    assert!(found.contains(&"database.failed".to_owned()), "{found:?}");
    assert!(!run.output().contains("wrong-geheim"));
}

#[test]
fn a_run_that_is_open_and_an_unfinished_restore_are_told() {
    let deployment = Deployment::v1().sqlite();
    deployment.migrate().expect(0);
    deployment.write(
        ".etlrs-migrate/recovery.json",
        "{\"started_at\":\"2026-01-01T00:00:00Z\",\"command\":\"etlrs-migrate emergency-rollback --version 1.5.0\",\
         \"backup\":\"20260101_000000\",\"running\":[],\"safety\":null}",
    );
    let run = deployment.run(&["health-check"]);
    run.expect(8)
        .says(&["not finished", "emergency-rollback --version 1.5.0"]);
    deployment.rollback("auto").expect(6);
}
