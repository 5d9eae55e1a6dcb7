//! What is printed is printable: names, keys, values and errors of others reach no terminal as
//! they are, begin no line of their own, and show no key.

use migrate_tests::binary::Run;
use migrate_tests::deployment::{Deployment, Store};
use serde_json::json;

use crate::{on_both, shipped};

/// A name that would clear the screen, begin a line and turn the rest round.
const EVIL: &str = "a\u{1b}[2J\u{1b}]0;x\u{7}\r\nnext: INJECTED\u{202e}\u{2066}\u{9b}31m\u{2028}z";

#[track_caller]
fn is_printable(run: &Run) {
    let output = run.output();
    let bad = output.chars().find(|c| {
        (c.is_control() && *c != '\n' && *c != '\t')
            || ('\u{202a}'..='\u{202e}').contains(c)
            || ('\u{2066}'..='\u{2069}').contains(c)
            || *c == '\u{2028}'
    });
    assert_eq!(bad, None, "{output:?}");
    for line in output.lines() {
        // SQL is shown as it is, indented: its own line ends stay.
        assert!(!line.starts_with("next: INJECTED"), "{output}");
    }
}

fn toml_key(name: &str) -> String {
    // JSON's escapes are those of TOML; DEL and C1 are allowed in neither's bare text.
    json!(name).to_string().replace('\u{9b}', "\\u009b")
}

fn names_and_errors_of_others_are_escaped(store: Store) {
    let deployment = Deployment::v1().rows(3).on(store);
    let config = deployment.read("config/config.toml");
    let key = toml_key(EVIL);
    deployment.write(
        "config/config.toml",
        &format!("{config}\n[{key}]\n{key} = {key}\n"),
    );
    let table = EVIL.replace('"', "");
    deployment.sql(&format!(
        "CREATE TABLE \"{table}\" (id integer PRIMARY KEY, \"{table}\" text UNIQUE)"
    ));
    let up = ["--from", "1.5.0", "--to", "1.5.1", "--yes"];
    let mut steps = vec![
        json!({"id": "edit", "description": EVIL, "step_type": "ConfigUpdate", "timeout": "20s",
               "config_changes": {(key.clone()): {EVIL: EVIL}, "custom.team": EVIL}}),
        json!({"id": "look", "description": EVIL, "step_type": "Validation", "timeout": "20s",
               "validation": format!("SELECT count(*) = 0 FROM \"{table}\"")}),
    ];
    let plan = |steps: &[serde_json::Value], checks: serde_json::Value| {
        shipped::overlay(
            &deployment,
            &json!({
                "from_version": "1.5.0", "to_version": "1.5.1", "migration_type": "Patch",
                "downtime_required": false, "steps": steps, "validation_checks": checks,
            }),
        );
    };
    let none = json!([]);
    plan(&steps, none.clone());
    let look = |arguments: &[&str]| {
        for format in ["human", "json"] {
            let mut all = arguments.to_vec();
            all.extend(["--format", format]);
            is_printable(&deployment.run(&all));
        }
    };
    look(&["plan", "--from", "1.5.0", "--to", "1.5.1"]);
    look(&["--from", "1.5.0", "--to", "1.5.1", "--dry-run"]);
    // Errors: of a plan, of the database, of a check.
    for wrong in [
        json!({"id": "x", "step_type": EVIL}),
        json!({"id": "x", "step_type": "ConfigUpdate", "file": EVIL, EVIL: 1}),
        json!({"id": "x", "step_type": "ConfigUpdate", "config_changes": {"a.b": {"from_env": EVIL}}}),
        json!({"id": "x", "step_type": "Cleanup", "remove": [format!("/{EVIL}")]}),
        json!({"id": "x", "step_type": "Validation", "validation": format!("SELECT \"no{table}\" FROM \"{table}\"")}),
        json!({"id": "x", "step_type": "Validation", "validation": format!("SELECT '{table}'")}),
    ] {
        plan(&[wrong], none.clone());
        look(&up);
    }
    let duplicate = format!(
        "INSERT INTO \"{table}\" VALUES (1, '{table}'); INSERT INTO \"{table}\" VALUES (2, '{table}');"
    );
    deployment.write("migrations/fail.sql", &duplicate);
    plan(
        &[
            json!({"id": "x", "step_type": "SchemaUpdate", "timeout": "20s", "command": "fail.sql", "schema_version": 1}),
        ],
        none.clone(),
    );
    look(&up);
    steps.rotate_left(1);
    plan(
        &steps,
        json!([{"name": EVIL, "query": format!("SELECT '{table}'"), "expected_result": EVIL, "critical": true}]),
    );
    is_printable(&deployment.run(&up));
    plan(&steps, none);
    is_printable(&deployment.run(&up));
    for verb in [
        &["status"][..],
        &["history", "-v"],
        &["health-check"],
        &["backup", "list"],
        &["schema", "status"],
        &["--rollback", "--to", "1.5.0", "--dry-run"],
    ] {
        look(verb);
    }
    let shown = deployment.run(&["--rollback", "--to", "1.5.0", "--yes"]);
    is_printable(&shown);
    shown.expect(0);
}

fn keys_and_passwords_show_by_neither_name_nor_looks(store: Store) {
    let deployment = Deployment::v1().rows(3).on(store);
    let aws = format!("AKIA{}", "QWERTYUIOPASDFGH");
    let github = format!("ghp_{}", "q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6j7k8");
    let jwt = [
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJzdWIiOiIxMjM0In0",
        "c2lnbmF0dXJl",
    ]
    .join(".");
    let pem = "-----BEGIN RSA PRIVATE KEY-----\\nMIIEhidden\\n-----END RSA PRIVATE KEY-----";
    let pairs = [
        ("auth", "hidden1"),
        ("bearer", "hidden2"),
        ("jwt", "hidden3"),
        ("salt", "hidden4"),
        ("credential", "hidden5"),
        ("dsn", "hidden6"),
        ("cookie", "hidden7"),
        ("session", "hidden8"),
        ("plain_a", &aws),
        ("plain_b", &github),
        ("plain_c", &jwt),
        ("plain_d", pem),
        ("plain_e", "postgres://u:hidden9@h/d"),
        (
            "plain_f",
            "see postgres://u@h/d?options=-c%20a.b%3Dhidden10",
        ),
    ];
    let lines: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name} = \"{value}\"\n"))
        .collect();
    let config = deployment.read("config/config.toml");
    deployment.write("config/config.toml", &format!("{config}{}", lines.concat()));
    let changes: serde_json::Map<_, _> = pairs
        .iter()
        .map(|(name, value)| (format!("custom.new_{name}"), json!(value)))
        .collect();
    shipped::overlay(
        &deployment,
        &json!({
            "from_version": "1.5.0", "to_version": "1.5.1", "migration_type": "Patch",
            "downtime_required": false,
            "steps": [{"id": "edit", "step_type": "ConfigUpdate", "timeout": "20s", "config_changes": changes}],
        }),
    );
    let file = deployment.path("plan-file.json").display().to_string();
    for format in ["human", "json"] {
        for arguments in [
            &["plan", "--from", "1.5.0", "--to", "1.5.1"][..],
            &["--from", "1.5.0", "--to", "1.5.1", "--dry-run"],
            &["plan", "--from", "1.5.0", "--to", "1.5.1", "-o", &file],
            &["--from", "1.5.0", "--to", "1.5.1", "--yes", "-v"],
            &["history", "-v"],
            &["status"],
            &["--rollback", "--to", "1.5.0", "--yes"],
        ] {
            let mut all = arguments.to_vec();
            all.extend(["--format", format]);
            let run = deployment.run(&all);
            run.expect(0);
            let output = run.output();
            for secret in ["hidden", &aws, &github, &jwt] {
                assert!(!output.contains(secret), "{secret}: {run}");
            }
            if format == "human" && arguments.contains(&"--dry-run") {
                run.says(&["new_plain_a", "***"]);
            }
        }
    }
}

on_both!(
    names_and_errors_of_others_are_escaped,
    keys_and_passwords_show_by_neither_name_nor_looks,
);
