//! Words that must stay secret are planted wherever an operator may have some; then everything
//! that was printed and written is searched for them.

use std::path::Path;

use migrate_tests::binary::Run;
use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::postgres::PASSWORD;
use migrate_tests::snapshot::files;
use serde_json::json;

use crate::{on_both, shipped};

/// In the config file, unchanged by the plan.
const OLD: &str = "0ld-planted-w0rd";
/// In the plan, as the new value of a secret key.
const NEW: &str = "n3w-planted-w0rd";
/// In a URL of the config file.
const IN_URL: &str = "url-planted-w0rd";

const WORDS: [&str; 4] = [OLD, NEW, IN_URL, PASSWORD];

#[track_caller]
fn quiet(run: &Run) {
    let output = run.output();
    for word in WORDS {
        assert!(!output.contains(word), "{word} was told by {run}");
    }
}

/// The files that hold a word, but for the user's own: the config, its copies, the plan.
fn told_by(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (name, (_, bytes)) in files(root, |_| true) {
        let path = Path::new(&name);
        let of_the_user =
            path.extension().is_some_and(|end| end == "toml") || name.starts_with("migrations/");
        for word in WORDS {
            let holds = bytes
                .windows(word.len())
                .any(|part| part == word.as_bytes());
            if holds && !of_the_user {
                found.push(format!("{name}: {word}"));
            }
        }
    }
    found
}

/// A deployment whose config holds these words, and whose plan then makes the changes.
pub(crate) fn with_words(
    store: Store,
    (old, in_url): (&str, &str),
    changes: &serde_json::Value,
) -> Deployment {
    let deployment = Deployment::v1().rows(10).on(store);
    let mut config = deployment.read("config/config.toml");
    config.push_str(&format!(
        "\n[notify]\npassword = \"{old}\"\napi_token = \"{old}\"\n\
         webhook = \"https://me:{in_url}@example.org/hook\"\n"
    ));
    deployment.write("config/config.toml", &config);
    shipped::insert_step(
        &deployment,
        shipped::steps(),
        json!({
            "id": "rotate", "step_type": "ConfigUpdate", "timeout": "20s",
            "config_changes": changes,
        }),
    );
    deployment
}

fn planted(store: Store) -> Deployment {
    let changes = json!({
        "notify.password": NEW,
        "notify.api_token": NEW,
        "notify.webhook": format!("https://me:{NEW}@example.org/hook"),
    });
    with_words(store, (OLD, IN_URL), &changes)
}

fn nothing_tells_a_planted_word(store: Store) {
    let deployment = planted(store);
    for format in ["human", "json"] {
        let run = |arguments: &[&str]| {
            let all = [arguments, &["--format", format, "-v", "-v"]].concat();
            let run = deployment.run(&all);
            quiet(&run);
            run
        };
        let path = ["--from", "1.5.0", "--to", "2.0.0"];
        run(&[&path[..], &["--dry-run"]].concat()).expect(0);
        run(&["plan", "--from", "1.5.0", "--to", "2.0.0"]).expect(0);
        run(&["paths"]).expect(0);
        run(&["env", "list"]).expect(0);
        run(&[&path[..], &["--yes"]].concat()).expect(0);
        assert!(deployment.read("config/config.toml").contains(NEW));
        for look in [
            &["status"][..],
            &["history"],
            &["validate"],
            &["backup", "list"],
        ] {
            run(look).expect(0);
        }
        let status = deployment.run(&["status", "--format", "json"]).json();
        let id = status["run"]["id"].as_str().unwrap().to_owned();
        run(&["history", "show", &id]);
        run(&["--rollback", "--to", "1.5.0", "--dry-run"]).expect(0);
        run(&["--rollback", "--to", "1.5.0", "--yes"]).expect(0);
    }
    let told = told_by(deployment.root());
    // The journal keeps a plan as it was read, to go on with it, and so does its copy in the
    // database (docs/plan-format.md says so): the plan's own words, and no others.
    let keeps_plans = [
        ".etlrs-migrate/journal.db",
        "data/etlrs.db",
        "backups/etlrs_backup_",
    ];
    let of_the_plan = |line: &String| {
        line.ends_with(NEW) && keeps_plans.iter().any(|name| line.starts_with(name))
    };
    let not_of_the_plan: Vec<_> = told.iter().filter(|line| !of_the_plan(line)).collect();
    assert!(not_of_the_plan.is_empty(), "{not_of_the_plan:?}");
}

fn no_failure_tells_a_planted_word(store: Store) {
    let deployment = planted(store);
    let shout = "echo \"I have $DATABASE_URL\"; echo \"and $DATABASE_URL\" >&2; exit 3";
    let mut plan: serde_json::Value =
        serde_json::from_str(&deployment.read("migrations/plans/1.5.0_2.0.0.json")).unwrap();
    plan["steps"].as_array_mut().unwrap().push(json!({
        "id": "shout", "step_type": "Command", "command": shout, "timeout": "20s",
    }));
    shipped::overlay(&deployment, &plan);
    for format in ["human", "json"] {
        let run = deployment.run(&[
            "--from",
            "1.5.0",
            "--to",
            "2.0.0",
            "--yes",
            "--allow-commands",
            "-v",
            "--format",
            format,
        ]);
        run.expect(3).says(&["shout"]);
        quiet(&run);
        let status = deployment.run(&["status", "--format", format]);
        quiet(&status);
        quiet(&deployment.run(&["history", "--format", format]));
    }
    let told = told_by(deployment.root());
    assert!(
        !told.iter().any(|line| line.ends_with(PASSWORD)),
        "{told:?}"
    );

    // A config that can't be read, with the words on the line in error.
    deployment.edit("config/config.toml", "password = \"", "password = = \"");
    quiet(&deployment.run(&["--from", "1.5.0", "--to", "2.0.0", "--yes"]));
    quiet(&deployment.run(&["status"]));
    // A plan with a mistake beside a secret.
    deployment.edit("migrations/plans/1.5.0_2.0.0.json", "\"20s\"", "\"soon\"");
    quiet(&deployment.run(&["plan", "--from", "1.5.0", "--to", "2.0.0"]));
}

on_both!(
    nothing_tells_a_planted_word,
    no_failure_tells_a_planted_word
);
