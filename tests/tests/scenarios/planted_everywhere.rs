//! The same search after every verb there is: each runs with secrets in the config, in the
//! environment and in the database's URL, and neither tells nor writes one.

use std::path::Path;

use migrate_tests::binary::Run;
use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::postgres::PASSWORD;
use migrate_tests::snapshot::files;
use serde_json::json;

use crate::{on_both, planted};

/// In the config file, unchanged by the plan.
const OLD: &str = "0ld-hidden-w0rd";
/// In a URL of the config file.
const IN_URL: &str = "url-hidden-w0rd";
/// In the variable from which the plan takes a value.
const IN_ENV: &str = "env-hidden-w0rd";
/// In the URL of a database that does not answer.
const ELSEWHERE: &str = "elsewhere-hidden-w0rd";

const WORDS: [&str; 5] = [OLD, IN_URL, IN_ENV, ELSEWHERE, PASSWORD];

struct Planted {
    deployment: Deployment,
    format: &'static str,
}

impl Planted {
    fn on(store: Store) -> Deployment {
        let changes = json!({ "notify.api_token": { "from_env": "PLANTED_TOKEN" } });
        let deployment = planted::with_words(store, (OLD, IN_URL), &changes);
        deployment.write(
            "schema/001_notes.sql",
            "CREATE TABLE notes (id integer PRIMARY KEY, note text);",
        );
        deployment.write("schema/001_notes.down.sql", "DROP TABLE notes;");
        deployment.write("copy.sql", "SELECT id, name FROM batch");
        deployment.sql("CREATE TABLE copied (id integer PRIMARY KEY, name text)");
        deployment
    }

    /// Runs a verb: it must be one (exit code 2 is a mistake of this test), and tell nothing.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Run {
        let all = [arguments, &["--format", self.format, "-v", "-v"]].concat();
        let run = self
            .deployment
            .tool(&all)
            .env("PLANTED_TOKEN", IN_ENV)
            .run();
        assert_ne!(run.code(), Some(2), "{run}");
        let output = run.output();
        for word in WORDS {
            assert!(!output.contains(word), "{word} was told by {run}");
        }
        run
    }

    fn upgrades_and_ways_back(&self) {
        let path = ["--from", "1.5.0", "--to", "2.0.0"];
        let with = |verb: &[&'static str], more: &[&'static str]| [verb, &path[..], more].concat();
        for look in [
            &["paths"][..],
            &["env", "list"],
            &["health-check"],
            &["history"],
            &["status"],
        ] {
            self.run(look);
        }
        self.run(&with(&["plan"], &[])).expect(0);
        self.run(&with(&[], &["--dry-run"])).expect(0);
        self.run(&with(&["rehearse"], &["--full"])).expect(0);
        let file = self.deployment.path("up.plan.json");
        let file = file.to_str().unwrap().to_owned();
        let _ = std::fs::remove_file(&file);
        self.run(&[&with(&["plan"], &["-o"])[..], &[&file]].concat())
            .expect(0);
        self.run(&["apply", &file]).expect(0);
        assert!(self.deployment.read("config/config.toml").contains(IN_ENV));
        self.run(&["validate"]).expect(0);
        let status = self.deployment.run(&["status", "--format", "json"]).json();
        let id = status["run"]["id"].as_str().unwrap().to_owned();
        self.run(&["history", "show", &id]).expect(0);
        self.run(&["resume"]);
        self.run(&["--rollback", "--to", "1.5.0", "--dry-run"])
            .expect(0);
        self.run(&["--rollback", "--to", "1.5.0", "--yes"])
            .expect(0);
        self.run(&with(&[], &["--yes"])).expect(0);
        self.run(&[
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            "restore",
            "--yes",
        ]);
    }

    fn backups(&self) {
        self.run(&["backup", "--version", "1.5.0"]).expect(0);
        self.run(&["backup", "list"]).expect(0);
        self.run(&["backup", "verify"]).expect(0);
        let list = self.deployment.run(&["backup", "list", "--format", "json"]);
        let list = list.json();
        let newest = list["backups"]
            .as_array()
            .and_then(|all| all.first().cloned());
        let id = newest.expect("a backup")["id"].as_str().unwrap().to_owned();
        self.run(&["restore", &id, "--yes", "--accept-data-loss"]);
        self.run(&["emergency-rollback", "--version", "1.5.0", "--yes"])
            .expect(0);
    }

    fn path(&self, name: &str) -> String {
        self.deployment.path(name).to_str().unwrap().to_owned()
    }

    fn schema(&self) {
        let (source, first) = (self.path("schema"), self.path("schema/001_notes.sql"));
        let run = |name: &str, more: &[&str]| {
            self.run(&[&["schema", name, "--source", &source][..], more].concat())
        };
        run("plan", &[]).expect(0);
        run("lint", &[]);
        run("apply", &[]).expect(0);
        run("status", &[]).expect(0);
        run("drift", &[]);
        run("verify", &["--scratch"]);
        self.run(&["schema", "dump"]).expect(0);
        run("redo", &["--yes"]);
        run("repair", &["--accept", &first]);
        run("down", &["--steps", "1", "--yes"]);
        run("baseline", &["--to", "001", "--yes"]);
        run("down", &["--all", "--yes"]);
    }

    fn data(&self) {
        let transform = self.path("copy.sql");
        let tables = [
            "--source",
            "pipelines_old",
            "--target",
            "copied",
            "--transform",
            &transform,
        ];
        self.run(&[&["data", "migrate"][..], &tables].concat())
            .expect(0);
        self.run(&[&["data", "verify"][..], &tables].concat())
            .expect(0);
        self.run(&["data", "status"]).expect(0);
        // A copy that ended leaves nothing to go on with: these look for a run that is not there.
        let id = "20260101000000abcd";
        self.run(&["data", "resume", "--run", id]);
        self.run(&["work", "--run", id]);
        self.run(&["data", "undo", "--run", id, "--yes"]);
    }

    fn what_does_not_answer(&self) {
        let url = format!("postgres://u:{ELSEWHERE}@127.0.0.1:1/none");
        let url = ["--database-url", &url];
        for verb in [
            &["health-check"][..],
            &["--from", "1.5.0", "--to", "2.0.0", "--yes"],
            &["backup", "--version", "1.5.0"],
            &["schema", "dump"],
            &["data", "status"],
            &["emergency-rollback", "--version", "1.5.0", "--yes"],
        ] {
            self.run(&[verb, &url[..]].concat());
        }
    }
}

fn not_toml(name: &str) -> bool {
    Path::new(name).extension().is_none_or(|end| end != "toml")
}

/// Every file but the config, which holds what the user put there, and its copies.
#[track_caller]
fn nothing_is_written(deployment: &Deployment) {
    let mut told = Vec::new();
    for (name, (_, bytes)) in files(deployment.root(), not_toml) {
        for word in WORDS {
            let word = word.as_bytes();
            if bytes.windows(word.len()).any(|part| part == word) {
                told.push(format!("{name}: {}", String::from_utf8_lossy(word)));
            }
        }
    }
    assert!(told.is_empty(), "{told:?}");
}

fn no_verb_tells_or_writes_a_secret(store: Store) {
    let mut deployment = Planted::on(store);
    for format in ["human", "json"] {
        let planted = Planted { deployment, format };
        planted.upgrades_and_ways_back();
        planted.backups();
        planted.data();
        planted.schema();
        planted.what_does_not_answer();
        deployment = planted.deployment;
        nothing_is_written(&deployment);
    }
}

on_both!(no_verb_tells_or_writes_a_secret);
