//! Values that a plan takes from the environment, and dates that stay dates.

use std::path::Path;

use migrate_tests::binary::Run;
use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::snapshot::files;
use serde_json::{Value, json};

use crate::{on_both, shipped};

const WORD: &str = "v4riable-planted-w0rd";
const UP: [&str; 5] = ["--from", "1.5.0", "--to", "2.0.0", "--yes"];

/// A last step that writes the variable to a key whose name says nothing, and to one that does.
fn taking(store: Store) -> Deployment {
    let deployment = Deployment::v1().rows(10).on(store);
    let mut config = deployment.read("config/config.toml");
    config.push_str("\n[notify]\nroom = \"lobby\"\npassword = \"old\"\n");
    deployment.write("config/config.toml", &config);
    let step = json!({
        "id": "rotate", "step_type": "ConfigUpdate", "timeout": "20s",
        "config_changes": {
            "notify.room": {"from_env": "ROOM"},
            "notify.password": {"from_env": "ROOM"},
            "notify.all": ["fixed", {"from_env": "ROOM"}],
        },
    });
    shipped::insert_step(&deployment, shipped::steps(), step);
    deployment
}

fn with(deployment: &Deployment, arguments: &[&str]) -> Run {
    deployment.tool(arguments).env("ROOM", WORD).run()
}

/// No file but the config and its copies holds the word.
#[track_caller]
fn nowhere_else(deployment: &Deployment) {
    let holds = |bytes: &[u8]| {
        bytes
            .windows(WORD.len())
            .any(|part| part == WORD.as_bytes())
    };
    let told: Vec<String> = files(deployment.root(), |name| {
        Path::new(name).extension().is_none_or(|end| end != "toml")
    })
    .into_iter()
    .filter(|(_, (_, bytes))| holds(bytes))
    .map(|(name, _)| name)
    .collect();
    assert_eq!(told, Vec::<String>::new());
}

fn the_value_is_in_the_config_and_nowhere_else(store: Store) {
    let deployment = taking(store);
    let before = deployment.snapshot();
    deployment
        .run(&UP)
        .expect(1)
        .says(&["ROOM", "notify.room", "not set"]);
    deployment
        .tool(&UP)
        .env("ROOM", "")
        .run()
        .expect(1)
        .says(&["empty"]);
    before.must_equal(&deployment.snapshot(), "after a variable was missing");

    let plan = deployment.path("up.json");
    let plan = plan.to_str().unwrap();
    for format in ["human", "json"] {
        let run = |arguments: &[&str]| {
            let run = with(
                &deployment,
                &[arguments, &["--format", format, "-v", "-v"]].concat(),
            );
            assert!(!run.output().contains(WORD), "{run}");
            run
        };
        run(&[&UP[..], &["--dry-run"]].concat())
            .expect(0)
            .says(&["ROOM"]);
        run(&["plan", "--from", "1.5.0", "--to", "2.0.0"])
            .expect(0)
            .says(&["ROOM"]);
        run(&["plan", "--from", "1.5.0", "--to", "2.0.0", "-o", plan]).expect(0);
        run(&["apply", plan]).expect(0);
        let config: toml_edit::DocumentMut = deployment.read("config/config.toml").parse().unwrap();
        assert_eq!(config["notify"]["room"].as_str(), Some(WORD));
        assert_eq!(config["notify"]["password"].as_str(), Some(WORD));
        assert_eq!(config["notify"]["all"][1].as_str(), Some(WORD));
        // The file holds the word already: no diff shows it.
        run(&["status"]).expect(0);
        run(&["history"]).expect(0);
        nowhere_else(&deployment);
        // Going back needs no variable.
        let back = deployment.run(&["--rollback", "--to", "1.5.0", "--yes", "--format", format]);
        back.expect(0);
        assert!(!back.output().contains(WORD), "{back}");
        std::fs::remove_file(plan).unwrap();
    }
    nowhere_else(&deployment);
    before.must_equal(&deployment.snapshot(), "after the way back");
}

fn a_resume_says_that_it_is_gone_and_a_rollback_does_without(store: Store) {
    let deployment = taking(store);
    let slow = match store {
        Store::Postgres => "SELECT pg_sleep(60) IS NOT NULL",
        Store::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) \
             SELECT count(*) > 0 FROM n"
        }
    };
    let step =
        json!({"id": "slow", "step_type": "Validation", "validation": slow, "timeout": "10m"});
    let plan = deployment.read("migrations/plans/1.5.0_2.0.0.json");
    let mut plan: Value = serde_json::from_str(&plan).unwrap();
    let steps = plan["steps"].as_array_mut().unwrap();
    steps.insert(shipped::steps(), step);
    shipped::overlay(&deployment, &plan);
    let before = deployment.snapshot();
    let mut running = deployment
        .tool(&[&UP[..], &["--format", "json"]].concat())
        .env("ROOM", WORD)
        .start();
    running.wait_for(|event| event["event"] == "step_started" && event["step"] == "slow");
    running.kill();
    deployment
        .run(&["resume"])
        .expect(1)
        .says(&["ROOM", "rotate", "--rollback --to 1.5.0"]);
    nowhere_else(&deployment);
    deployment.rollback("auto").expect(0);
    before.must_equal(
        &deployment.snapshot(),
        "after the way back without the variable",
    );
}

on_both!(
    the_value_is_in_the_config_and_nowhere_else,
    a_resume_says_that_it_is_gone_and_a_rollback_does_without,
);

#[test]
fn a_word_in_the_plan_is_warned_of_and_a_wrong_form_is_refused() {
    let deployment = Deployment::v1().rows(5).sqlite();
    let step = |value: Value| {
        json!({"id": "rotate", "step_type": "ConfigUpdate", "timeout": "20s",
               "config_changes": {"notify.api_key": value}})
    };
    shipped::insert_step(&deployment, shipped::steps(), step(json!("l1teral-word")));
    let dry = deployment.run(&[&UP[..], &["--dry-run"]].concat());
    dry.expect(0)
        .says(&["rotate", "notify.api_key", "from_env"]);
    assert!(!dry.output().contains("l1teral-word"), "{dry}");
    let skipped = [
        &UP[..],
        &["--dry-run", "--skip-check", "config.literal-secret"],
    ]
    .concat();
    let quiet = deployment.run(&skipped);
    assert!(!quiet.expect(0).output().contains("from_env"), "{quiet}");

    for (wrong, word) in [
        (json!({"from_env": 7}), "stands alone"),
        (json!({"from_env": "A", "default": "x"}), "stands alone"),
        (json!([{"from_env": "not a name"}]), "no name of a variable"),
        (json!({"toml_datetime": "soon"}), "date"),
    ] {
        let deployment = Deployment::v1().rows(5).sqlite();
        shipped::insert_step(&deployment, shipped::steps(), step(wrong));
        deployment
            .run(&UP)
            .expect(1)
            .says(&[word, "1.5.0_2.0.0.json:"]);
    }
}

#[test]
fn a_date_stays_a_date_in_toml_and_is_a_string_in_json() {
    let deployment = Deployment::v1().rows(5).sqlite();
    deployment.write("config/extra.json", "{\n  \"a\": 1\n}\n");
    let mut config = deployment.read("config/config.toml");
    config.push_str("\n[license]\nsince = \"2025-01-01\"\n");
    deployment.write("config/config.toml", &config);
    deployment.write(
        "migrations/plans/1.5.0_1.5.1.toml",
        "from_version = \"1.5.0\"\nto_version = \"1.5.1\"\nmigration_type = \"Patch\"\n\
         [[steps]]\nid = \"dates\"\nstep_type = \"ConfigUpdate\"\n[steps.config_changes]\n\
         \"license.until\" = 2026-12-31\n\"license.since\" = 2025-01-01\n\
         \"license.checked\" = [2026-01-31T03:30:00Z, 07:32:00]\n\
         [[steps]]\nid = \"json\"\nstep_type = \"ConfigUpdate\"\nfile = \"config/extra.json\"\n\
         [steps.config_changes]\nuntil = 2026-12-31\n",
    );
    let before = deployment.snapshot();
    let up = ["--from", "1.5.0", "--to", "1.5.1", "--yes"];
    deployment
        .run(&[&up[..], &["--dry-run"]].concat())
        .expect(0)
        .says(&[
            "+until = 2026-12-31",
            "-since = \"2025-01-01\"",
            "+since = 2025-01-01",
        ]);
    deployment.run(&up).expect(0);
    let config = deployment.read("config/config.toml");
    for line in [
        "until = 2026-12-31",
        "since = 2025-01-01",
        "checked = [2026-01-31T03:30:00Z, 07:32:00]",
    ] {
        assert!(config.lines().any(|one| one == line), "{line} in {config}");
    }
    let json: Value = serde_json::from_str(&deployment.read("config/extra.json")).unwrap();
    assert_eq!(json["until"], "2026-12-31");
    deployment.rollback("auto").expect(0);
    before.must_equal(&deployment.snapshot(), "after the way back");
}
