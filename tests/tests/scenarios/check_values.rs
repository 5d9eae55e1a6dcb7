//! A validation check passes on exactly the value that it names: beyond 2^53 no two numbers are
//! taken for one.

use migrate_tests::deployment::{Deployment, Store};
use serde_json::json;

use crate::{on_both, shipped};

const NEXT: &str = "9007199254740993";

/// What each database gives, what is expected of it as the plan writes it, and whether that is so.
const BOTH: [(&str, &str, bool); 16] = [
    ("SELECT c FROM big", NEXT, true),
    ("SELECT c FROM big", "9007199254740992", false),
    ("SELECT c FROM big", "9007199254740994", false),
    ("SELECT -c FROM big", "-9007199254740993", true),
    ("SELECT -c FROM big", "-9007199254740992", false),
    ("SELECT c, 1 FROM big", "[9007199254740992, 1]", false),
    ("SELECT c FROM big", "9007199254740992.0", false),
    ("SELECT 9223372036854775807", "9223372036854775807", true),
    ("SELECT 9223372036854775807", "9223372036854775806", false),
    (
        "SELECT -9223372036854775807 - 1",
        "-9223372036854775808",
        true,
    ),
    (
        "SELECT -9223372036854775807 - 1",
        "-9223372036854775807",
        false,
    ),
    ("SELECT 1", "1.0", true),
    ("SELECT 1", "'1'", false),
    ("SELECT 1", "true", true),
    ("SELECT 2", "true", false),
    ("SELECT '1'", "1", false),
];

const OF_SQLITE: [(&str, &str, bool); 4] = [
    ("SELECT sum(c) FROM big", "9007199254740992", false),
    ("SELECT sum(c) FROM big", NEXT, true),
    ("SELECT 0.1", "0.1", true),
    ("SELECT 9007199254740992.0", NEXT, false),
];

const OF_POSTGRES: [(&str, &str, bool); 16] = [
    ("SELECT sum(c)::bigint FROM big", "9007199254740992", false),
    ("SELECT sum(c) FROM big", "9007199254740992", false),
    ("SELECT sum(c) FROM big", NEXT, true),
    ("SELECT 0.10000000000000000001", "0.1", false),
    ("SELECT 0.1", "0.10000000000000000001", false),
    (
        "SELECT 0.10000000000000000001",
        "0.10000000000000000001",
        true,
    ),
    (
        "SELECT 0.10000000000000000001",
        "'0.10000000000000000001'",
        true,
    ),
    ("SELECT -0.10000000000000000001", "-0.1", false),
    ("SELECT 0.1000", "0.1", true),
    ("SELECT 12.50::numeric(20, 10)", "12.5", true),
    ("SELECT 0.1::float8", "0.1", true),
    ("SELECT 1e23::float8", "1e23", true),
    ("SELECT 9007199254740992::float8", NEXT, false),
    (
        "SELECT 18446744073709551617",
        "18446744073709551616.0",
        false,
    ),
    (
        "SELECT 18446744073709551617",
        "'18446744073709551617'",
        true,
    ),
    (
        "SELECT 123456789012345678901234567890.5",
        "'123456789012345678901234567890.5'",
        true,
    ),
];

/// Numbers that TOML has no integer for.
const OF_JSON: [(&str, &str, bool); 4] = [
    ("SELECT 18446744073709551615", "18446744073709551615", true),
    ("SELECT 18446744073709551615", "18446744073709551614", false),
    ("SELECT 18446744073709551617", "18446744073709551617", true),
    ("SELECT 18446744073709551617", "18446744073709551616", false),
];

fn a_check_passes_on_the_very_number_that_it_names(store: Store) {
    let deployment = Deployment::v1().rows(1).on(store);
    deployment.sql(&format!(
        "CREATE TABLE big (c bigint); INSERT INTO big VALUES ({NEXT})"
    ));
    let own: &[_] = match store {
        Store::Sqlite => &OF_SQLITE,
        Store::Postgres => &OF_POSTGRES,
    };
    let cases: Vec<_> = BOTH.iter().chain(own).collect();
    let mut toml = head();
    for (at, (query, expected, _)) in cases.iter().enumerate() {
        toml += &format!(
            "[[validation_checks]]\nname = \"n{at}\"\nquery = \"{query}\"\ncritical = true\nexpected_result = {expected}\n"
        );
    }
    deployment.write("migrations/plans/1.5.0_1.5.1.toml", &toml);
    judge(&deployment, &cases);

    std::fs::remove_file(deployment.path("migrations/plans/1.5.0_1.5.1.toml")).unwrap();
    let more: &[_] = match store {
        Store::Sqlite => &[],
        Store::Postgres => &OF_JSON,
    };
    let cases: Vec<_> = cases.into_iter().chain(more).collect();
    let checks = cases.iter().enumerate().map(|(at, (query, expected, _))| {
        let expected = expected.replace('\'', "\"");
        format!("{{\"name\": \"n{at}\", \"query\": \"{query}\", \"critical\": true, \"expected_result\": {expected}}}")
    });
    let json = format!(
        "{{\"from_version\": \"1.5.0\", \"to_version\": \"1.5.1\", \"migration_type\": \"Patch\", \
         \"downtime_required\": false, \"steps\": [{{\"id\": \"a\", \"step_type\": \"Validation\", \"validation\": \"SELECT 1 = 1\", \"timeout\": \"9s\"}}], \"validation_checks\": [{}]}}",
        checks.collect::<Vec<_>>().join(",\n")
    );
    deployment.write("migrations/plans/1.5.0_1.5.1.json", &json);
    judge(&deployment, &cases);
}

fn head() -> String {
    "from_version = \"1.5.0\"\nto_version = \"1.5.1\"\nmigration_type = \"Patch\"\n\
     downtime_required = false\n[[steps]]\nid = \"a\"\nstep_type = \"Validation\"\nvalidation = \"SELECT 1 = 1\"\ntimeout = \"9s\"\n"
        .to_owned()
}

#[track_caller]
fn judge(deployment: &Deployment, cases: &[&(&str, &str, bool)]) {
    let run = deployment.run(&["validate", "--to", "1.5.1", "--format", "json"]);
    let told = run.expect(8).json();
    let rows = told["checks"]
        .as_array()
        .unwrap_or_else(|| told.as_array().unwrap());
    assert_eq!(rows.len(), cases.len(), "{run}");
    for (row, (query, expected, passes)) in rows.iter().zip(cases) {
        assert_eq!(row["error"], json!(null), "{query}");
        assert_eq!(row["passed"], json!(passes), "{query} = {expected}: {row}");
    }
}

/// The step kind and the checks of a run compare alike.
fn a_run_fails_on_the_number_beside(store: Store) {
    let deployment = Deployment::v1().rows(1).on(store);
    deployment.sql(&format!(
        "CREATE TABLE big (c bigint); INSERT INTO big VALUES ({NEXT})"
    ));
    let plan = |expected: &str, step: bool| {
        let validation = if step { "big" } else { "SELECT 1 = 1" };
        let phase = if step { "step" } else { "post" };
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        let plan = json!({
            "from_version": "1.5.0", "to_version": "1.5.1", "migration_type": "Patch",
            "downtime_required": false,
            "steps": [{"id": "look", "step_type": "Validation", "validation": validation, "timeout": "9s"}],
            "validation_checks": [{"name": "big", "query": "SELECT c FROM big", "critical": true,
                "phase": phase, "expected_result": expected}],
        });
        shipped::overlay(&deployment, &plan);
    };
    let up = ["--from", "1.5.0", "--to", "1.5.1", "--yes"];
    for step in [true, false] {
        plan("9007199254740992", step);
        deployment.run(&up).expect(3).says(&[NEXT]);
    }
    plan(NEXT, true);
    deployment.run(&up).expect(0);
}

on_both!(
    a_check_passes_on_the_very_number_that_it_names,
    a_run_fails_on_the_number_beside,
);
