//! Plans and arguments that can't be run: everything that is wrong, with its place.

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::files_differing;
use serde_json::{Value, json};

use crate::{on_both, shipped};

fn refused(deployment: &Deployment, arguments: &[&str], codes: &[i32], words: &[&str]) {
    let (files, before) = (deployment.files_of_user(), deployment.snapshot());
    deployment.run(arguments).expect_one_of(codes).says(words);
    before.must_equal(&deployment.snapshot(), "after a refusal");
    assert_eq!(files_differing(&files, &deployment.files_of_user()), "");
}

const MIGRATE: &[&str] = &["--from", "1.5.0", "--to", "2.0.0", "--yes"];
const FILE: &str = "plans/1.5.0_2.0.0.json:";

fn planted(store: Store, change: impl Fn(&mut Value), words: &[&str]) {
    let deployment = Deployment::v1().on(store);
    let mut plan = shipped::plan();
    change(&mut plan);
    shipped::overlay(&deployment, &plan);
    refused(&deployment, MIGRATE, &[1], words);
}

fn an_unknown_field(store: Store) {
    planted(
        store,
        |plan| plan["surprise"] = json!(1),
        &[FILE, "surprise"],
    );
    planted(
        store,
        |plan| plan["steps"][0]["tiemout"] = json!("30s"),
        &[FILE, "tiemout"],
    );
}

fn an_unknown_kind(store: Store) {
    planted(
        store,
        |plan| plan["steps"][0]["step_type"] = json!("SchemaUpdat"),
        &[FILE, "SchemaUpdat", "SchemaUpdate"],
    );
}

fn a_missing_script(store: Store) {
    planted(
        store,
        |plan| plan["steps"][0]["command"] = json!("no_such_script.sql"),
        &[FILE, "no_such_script.sql"],
    );
}

fn a_duplicate_id(store: Store) {
    planted(
        store,
        |plan| plan["steps"][1]["id"] = plan["steps"][0]["id"].clone(),
        &[FILE, "schema"],
    );
}

fn everything_that_is_wrong_is_told_at_once(store: Store) {
    planted(
        store,
        |plan| {
            plan["surprise"] = json!(1);
            plan["steps"][0]["command"] = json!("no_such_script.sql");
            plan["steps"][1]["data_migration"]["batch_size"] = json!(0);
            plan["steps"][2]["step_type"] = json!("Unheard");
            plan["steps"][3]["timeout"] = json!("soon");
        },
        &[
            "surprise",
            "no_such_script.sql",
            "batch_size",
            "Unheard",
            "soon",
        ],
    );
}

fn a_version_in_the_plan_that_is_none(store: Store) {
    let deployment = Deployment::v1().on(store);
    let text = shipped::plan()
        .to_string()
        .replacen("\"2.0.0\"", "\"two\"", 1);
    deployment.write("migrations/plans/1.5.0_2.0.0.json", &text);
    refused(&deployment, MIGRATE, &[1], &[FILE, "two"]);
}

fn a_plan_that_is_no_json(store: Store) {
    let deployment = Deployment::v1().on(store);
    deployment.write(
        "migrations/plans/1.5.0_2.0.0.json",
        "{\n  \"from_version\": \"1.5.0\",\n  oops\n}\n",
    );
    refused(&deployment, MIGRATE, &[1], &["plans/1.5.0_2.0.0.json:3"]);
}

fn no_plan_leads_there(store: Store) {
    let deployment = Deployment::v1().on(store);
    let arguments = ["--from", "1.5.0", "--to", "3.0.0", "--yes"];
    refused(&deployment, &arguments, &[1], &["3.0.0", "1.5.0", "2.0.0"]);
}

fn not_a_version(store: Store) {
    let deployment = Deployment::v1().on(store);
    refused(
        &deployment,
        &["--from", "1.5.0", "--to", "two", "--yes"],
        &[1, 2],
        &["two"],
    );
    refused(
        &deployment,
        &["--from", "1.5", "--to", "2.0.0", "--yes"],
        &[1, 2],
        &["1.5"],
    );
}

fn the_wrong_from(store: Store) {
    let deployment = Deployment::v1().on(store);
    let next = json!({
        "from_version": "2.0.0",
        "to_version": "2.1.0",
        "migration_type": "MinorUpgrade",
        "steps": [{"id": "team", "step_type": "ConfigUpdate", "config_changes": {"custom.team": "x"}}],
    });
    shipped::overlay(&deployment, &next);
    let arguments = ["--from", "2.0.0", "--to", "2.1.0", "--yes"];
    refused(&deployment, &arguments, &[1], &["2.0.0"]);
    deployment.migrate().expect(0);
    let mut patch = next;
    patch["from_version"] = json!("1.6.0");
    shipped::overlay(&deployment, &patch);
    let arguments = ["--from", "1.6.0", "--to", "2.1.0", "--yes"];
    refused(&deployment, &arguments, &[1], &["1.6.0", "2.0.0"]);
}

fn no_rollback_point(store: Store) {
    let deployment = Deployment::v1().on(store);
    refused(
        &deployment,
        &["--rollback", "--to", "1.4.0", "--yes"],
        &[1],
        &["1.4.0"],
    );
    let restore = [
        "--rollback",
        "--to",
        "1.0.0",
        "--strategy",
        "restore",
        "--yes",
    ];
    deployment.migrate().expect(0);
    refused(&deployment, &restore, &[1], &["1.0.0"]);
}

fn a_step_without_undo_needs_consent(store: Store) {
    let deployment = Deployment::v1().on(store);
    let mut plan = shipped::plan();
    plan["steps"][0]["can_rollback"] = json!(false);
    shipped::overlay(&deployment, &plan);
    refused(&deployment, &MIGRATE[..4], &[2, 7], &["--yes"]);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.must_be_v2();
    // What has no undo comes back with the rollback point.
    deployment.rollback("auto").expect(0);
    before.must_equal(&deployment.snapshot(), "after a rollback");
}

fn commands_need_their_own_consent(store: Store) {
    let deployment = Deployment::v1().on(store);
    let clean = json!({
        "id": "clean",
        "step_type": "Cleanup",
        "command": "touch cleaned",
        "timeout": "30s",
    });
    shipped::insert_step(&deployment, shipped::steps(), clean);
    refused(&deployment, MIGRATE, &[1, 7], &["--allow-commands"]);
    assert!(!deployment.path("cleaned").exists());
    let mut allowed = MIGRATE.to_vec();
    allowed.push("--allow-commands");
    deployment.run(&allowed).expect(0);
    deployment.must_be_v2();
    assert!(deployment.path("cleaned").exists());
}

fn wrong_usage(store: Store) {
    let deployment = Deployment::v1().on(store);
    refused(&deployment, &["--to", "2.0.0", "--yes"], &[2], &["--from"]);
    refused(&deployment, &["--from", "1.5.0", "--yes"], &[2], &["--to"]);
    refused(&deployment, &["--rollback", "--yes"], &[2], &["--to"]);
    refused(&deployment, &["--no-such-flag"], &[2], &["--no-such-flag"]);
    refused(&deployment, &["no-such-verb"], &[2], &["no-such-verb"]);
    refused(
        &deployment,
        &["--rollback", "--to", "1.5.0", "--strategy", "magic"],
        &[2],
        &["magic"],
    );
}

on_both!(
    an_unknown_field,
    an_unknown_kind,
    a_missing_script,
    a_duplicate_id,
    everything_that_is_wrong_is_told_at_once,
    a_version_in_the_plan_that_is_none,
    a_plan_that_is_no_json,
    no_plan_leads_there,
    not_a_version,
    the_wrong_from,
    no_rollback_point,
    a_step_without_undo_needs_consent,
    commands_need_their_own_consent,
    wrong_usage,
);

#[test]
fn a_root_that_is_none() {
    let deployment = Deployment::v1().sqlite();
    let root = deployment.path("nowhere");
    let arguments = [
        "-C",
        root.to_str().unwrap(),
        "--from",
        "1.5.0",
        "--to",
        "2.0.0",
        "--yes",
    ];
    migrate_tests::binary::Tool::new(&arguments)
        .run()
        .expect(1)
        .says(&["nowhere"]);
    assert!(!root.exists());
}
