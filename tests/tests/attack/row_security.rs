//! A policy that would make a part of a table look like the whole.

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::postgres::ROLE;

/// 50 rows of which a policy shows 10, to the role that runs the tool.
fn bound(forced: bool) -> Deployment {
    let deployment = Deployment::v1().rows(5).on(Store::Postgres);
    let owner = if forced { ROLE } else { "postgres" };
    let force = if forced {
        "ALTER TABLE seen FORCE ROW LEVEL SECURITY;"
    } else {
        ""
    };
    deployment.postgres().admin_psql(&format!(
        "CREATE TABLE seen (id integer PRIMARY KEY, name text); INSERT INTO seen SELECT n, 'row ' || n FROM generate_series(1, 50) n; \
         CREATE POLICY partly ON seen USING (id <= 10); ALTER TABLE seen ENABLE ROW LEVEL SECURITY; {force} \
         ALTER TABLE seen OWNER TO {owner}; GRANT ALL ON seen TO {ROLE}; \
         CREATE TABLE taken (id integer PRIMARY KEY, name text); ALTER TABLE taken OWNER TO {ROLE}"
    ));
    deployment.write("copy.sql", "SELECT id, name FROM batch");
    deployment
}

fn a_bound_role_is_told(forced: bool) {
    let deployment = bound(forced);
    let script = deployment.path("copy.sql").to_str().unwrap().to_owned();
    let tables = [
        "--source",
        "seen",
        "--target",
        "taken",
        "--transform",
        &script,
    ];
    for verb in ["migrate", "verify"] {
        let run = deployment.run(&[&["data", verb][..], &tables].concat());
        assert_ne!(run.code(), Some(0), "{run}");
        run.says(&["row security on table seen", "BYPASSRLS"]);
    }
    let preview = deployment.run(&[&["data", "migrate", "--dry-run"][..], &tables].concat());
    assert_ne!(preview.code(), Some(0), "{preview}");
    assert_eq!(deployment.sql("SELECT count(*) FROM taken"), "0");
    // Who is not bound copies them all.
    let url = deployment.postgres().admin_url();
    let free =
        deployment.run(&[&["data", "migrate", "--database-url", &url][..], &tables].concat());
    free.expect(0);
    assert_eq!(deployment.sql("SELECT count(*) FROM taken"), "50");
}

#[test]
fn a_role_that_a_policy_binds_is_told() {
    a_bound_role_is_told(false);
}

#[test]
fn an_owner_that_force_binds_is_told() {
    a_bound_role_is_told(true);
}

#[test]
fn a_source_elsewhere_is_read_whole_or_not_at_all() {
    let source = bound(false);
    let target = Deployment::v1().rows(5).on(Store::Sqlite);
    target.sql("CREATE TABLE taken (id integer PRIMARY KEY, name text)");
    target.write("copy.sql", "SELECT id, name FROM batch");
    let script = target.path("copy.sql").to_str().unwrap().to_owned();
    let url = source.postgres().url();
    let run = target.run(&[
        "data",
        "migrate",
        "--source-url",
        &url,
        "--source",
        "seen",
        "--target",
        "taken",
        "--transform",
        &script,
    ]);
    assert_ne!(run.code(), Some(0), "{run}");
    run.says(&["row security on table seen"]);
    assert_eq!(target.sql("SELECT count(*) FROM taken"), "0");
}

#[test]
fn a_validation_does_not_count_a_part() {
    let deployment = bound(false);
    let plan = serde_json::json!({
        "from_version": "1.5.0", "to_version": "1.6.0", "migration_type": "MinorUpgrade", "rollback_steps": [], "downtime_required": false,
        "estimated_duration": "10s",
        "steps": [{"id": "counted", "description": "", "step_type": "Validation", "timeout": "20s",
                   "validation": "SELECT count(*) = 10 FROM seen"}],
        "validation_checks": [],
    });
    deployment.write("migrations/plans/1.5.0_1.6.0.json", &plan.to_string());
    let run = deployment.run(&["--from", "1.5.0", "--to", "1.6.0", "--yes"]);
    assert_ne!(run.code(), Some(0), "{run}");
    run.says(&["row security on table seen"]);
}
