//! `[env.NAME]`: one set of plans, several deployments, and a name to be typed for production.

use std::path::Path;

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::files_differing;
use serde_json::{Value, json};

use crate::{on_both, terminal};

const PATH: [&str; 4] = ["--from", "1.5.0", "--to", "2.0.0"];

/// A deployment that is `staging` itself and holds another, `prod`, in a directory below it.
fn two(store: Store) -> (Deployment, Deployment) {
    let staging = Deployment::v1().on(store);
    let prod = Deployment::v1().rows(20).on(store);
    copy(prod.root(), &staging.path("prod"));
    staging.write(
        "etlrs-migrate.toml",
        r#"
[env.staging]

[env.prod]
root = "prod"
confirm = true

[env.prod.services.app]
manager = "command"
start = ["sh", "-c", "echo start >> app.log; touch app.runs"]
stop = ["sh", "-c", "echo stop >> app.log; rm app.runs"]
status = ["test", "-e", "app.runs"]

[[env.prod.checks]]
name = "production has its pipelines"
query = "SELECT count(*) > 0 FROM pipelines"
expected_result = true
"#,
    );
    staging.write("prod/app.runs", "");
    (staging, prod)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &name);
        } else {
            std::fs::copy(&path, &name).unwrap();
        }
    }
}

fn run(deployment: &Deployment, more: &[&str]) -> migrate_tests::binary::Run {
    let mut all = PATH.to_vec();
    all.extend(more);
    deployment.run(&all)
}

fn the_same_plan_goes_through_each(store: Store) {
    let (staging, prod) = two(store);
    let before = staging.snapshot();
    run(&staging, &["--env", "staging"]).expect(0);
    staging.must_be_v2();

    // The name must be typed; where nobody can type, a flag stands for it, and --yes does not.
    let untouched = staging.all_files();
    run(&staging, &["--env", "prod", "--yes"])
        .expect(7)
        .says(&["prod", "--confirm prod"]);
    run(
        &staging,
        &["--env", "prod", "--yes", "--confirm", "staging"],
    )
    .expect(7);
    assert_eq!(files_differing(&untouched, &staging.all_files()), "");

    let done = run(&staging, &["--env", "prod", "--confirm", "prod"]);
    done.expect(0).says(&[
        "production has its pipelines",
        "--env prod --rollback --to 1.5.0",
    ]);
    assert!(
        staging
            .read("prod/config/config.toml")
            .contains("[pipeline]")
    );
    assert_eq!(staging.read("prod/app.log"), "stop\nstart\n");
    if store == Store::Postgres {
        assert_eq!(prod.sql("SELECT max(version) FROM schema_versions"), "2");
    } else {
        let file = staging.path("prod/data/etlrs.db");
        assert_eq!(
            migrate_tests::sqlite::run(&file, "SELECT max(version) FROM schema_versions"),
            "2"
        );
    }

    let back = ["--rollback", "--to", "1.5.0", "--env", "prod"];
    staging.run(&back).expect(7).says(&["--confirm prod"]);
    let confirmed = [&back[..], &["--confirm", "prod"]].concat();
    staging.run(&confirmed).expect(0);
    staging
        .run(&["--rollback", "--to", "1.5.0", "--env", "staging"])
        .expect(0);
    let after = staging.snapshot();
    assert_eq!(before.database, after.database);
    assert_eq!(
        before.files["prod/config/config.toml"],
        after.files["prod/config/config.toml"]
    );
}

fn at_a_terminal(deployment: &Deployment, typed: &str) -> (Option<i32>, String) {
    let args = [&PATH[..], &["--env", "prod"]].concat();
    terminal::answered(deployment, &args, &[("type its name", typed)])
}

fn the_name_is_typed_at_a_terminal(store: Store) {
    let (staging, _prod) = two(store);
    let untouched = staging.all_files();
    for wrong in ["staging", "pro", ""] {
        let (code, seen) = at_a_terminal(&staging, wrong);
        assert_eq!(code, Some(7), "{seen}");
        assert!(seen.contains("nothing was changed"), "{seen}");
        assert_eq!(files_differing(&untouched, &staging.all_files()), "");
    }
    let (code, seen) = at_a_terminal(&staging, "prod");
    assert_eq!(code, Some(0), "{seen}");
    let config = staging.read("prod/config/config.toml");
    assert!(config.contains("[pipeline]"), "{config}");
    assert_eq!(staging.read("prod/app.log"), "stop\nstart\n");
}

on_both!(
    the_name_is_typed_at_a_terminal,
    single_layers_ask_for_the_name_too,
    the_same_plan_goes_through_each
);

/// Verbs that work on the schema or the rows alone ask for the name as runs do.
fn single_layers_ask_for_the_name_too(store: Store) {
    let (staging, prod) = two(store);
    staging.write(
        "own/1_note.sql",
        "CREATE TABLE note (id integer PRIMARY KEY);\n",
    );
    let source = staging.path("own");
    let source = source.to_str().unwrap();
    let before = prod.snapshot();
    for verb in [
        &["schema", "apply", "--source", source][..],
        &[
            "data",
            "migrate",
            "--source",
            "pipelines_old",
            "--target",
            "pipelines",
        ],
    ] {
        let asked = [&["--env", "prod", "--yes"], verb].concat();
        staging.run(&asked).expect(7).says(&["--confirm prod"]);
    }
    before.must_equal(&prod.snapshot(), "after refusals");
    let named = [
        "--env",
        "prod",
        "--confirm",
        "prod",
        "schema",
        "apply",
        "--source",
        source,
    ];
    staging.run(&named).expect(0).says(&["1 applied"]);
}

#[test]
fn a_directory_of_one_environment_is_not_taken_for_another() {
    let (staging, _prod) = two(Store::Sqlite);
    run(&staging, &["--env", "staging"]).expect(0);
    let files = staging.all_files();
    staging
        .run(&["--rollback", "--to", "1.5.0"])
        .expect(1)
        .says(&["environment staging", "--env staging"]);
    assert_eq!(files_differing(&files, &staging.all_files()), "");
    let renamed = ["--rollback", "--to", "1.5.0", "--skip-check", "environment"];
    staging.run(&renamed).expect(0);
}

#[test]
fn list_shows_them_without_their_secrets() {
    let (staging, _prod) = two(Store::Sqlite);
    staging.write(
        "etlrs-migrate.toml",
        "[env.staging]\ndatabase_url = \"postgres://me:s3cret-word@db.example/etlrs\"\n\
         [env.prod]\nroot = \"prod\"\nconfirm = true\ndatabase_url_var = \"PROD_URL\"\n\
         [env.gone]\nroot = \"not-there\"\n",
    );
    let list = staging.run(&["env", "list"]);
    list.expect(0)
        .says(&["staging", "db.example", "$PROD_URL (not set)", "not-there"]);
    let json = staging.tool(&["env", "list", "--format", "json"]);
    let json = json
        .env("PROD_URL", "postgres://me:s3cret-word@prod/etlrs")
        .run();
    let rows: Value = json.expect(0).json()["environments"].clone();
    assert_eq!(rows[1]["name"], "prod");
    assert_eq!(rows[1]["database"], "$PROD_URL (set)");
    assert_eq!(rows[1]["confirm"], json!(true));
    for run in [list, json] {
        assert!(!run.output().contains("s3cret-word"), "{run}");
    }
    run(&staging, &["--env", "prod"])
        .expect(1)
        .says(&["$PROD_URL", "not set"]);
    let elsewhere = format!("sqlite:{}", staging.path("prod/data/etlrs.db").display());
    let arguments = [
        &PATH[..],
        &["--env", "prod", "--confirm", "prod", "--dry-run"],
    ]
    .concat();
    let named = staging.tool(&arguments).env("PROD_URL", elsewhere).run();
    named.expect(0).says(&["prod/data/etlrs.db"]);
}

#[test]
fn wrong_environments_are_refused_before_anything() {
    let (staging, _prod) = two(Store::Sqlite);
    run(&staging, &["--env", "prd"])
        .expect(1)
        .says(&["\"prd\"", "prod, staging"]);
    for outside in ["../elsewhere", "/", "prod/../.."] {
        staging.write(
            "etlrs-migrate.toml",
            &format!("[env.prod]\nroot = \"{outside}\"\n"),
        );
        run(&staging, &["--env", "prod"])
            .expect(1)
            .says(&["outside"]);
    }
    std::os::unix::fs::symlink("/", staging.path("away")).unwrap();
    staging.write("etlrs-migrate.toml", "[env.prod]\nroot = \"away\"\n");
    run(&staging, &["--env", "prod"])
        .expect(1)
        .says(&["outside"]);
    staging.write(
        "etlrs-migrate.toml",
        "[env.prod]\ndatabase_url = \"postgres://me:s3cret-word@db/etlrs\" oops\n",
    );
    let broken = run(&staging, &["--env", "prod"]);
    broken.expect(1).says(&["etlrs-migrate.toml:2"]);
    assert!(!broken.output().contains("s3cret-word"), "{broken}");
    staging.write("etlrs-migrate.toml", "[env.prod]\nconfirmation = true\n");
    run(&staging, &["--env", "prod"])
        .expect(1)
        .says(&["confirmation", "confirm"]);
}
