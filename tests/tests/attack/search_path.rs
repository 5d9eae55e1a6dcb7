//! Objects with the names of built-in ones, in every schema that a search path may hold.

use migrate_tests::binary::Run;
use migrate_tests::deployment::Deployment;

use crate::planted::{Intruder, calls};

/// Who runs the tool.
#[derive(Clone, Copy)]
enum Runs {
    Superuser,
    Owner,
}

impl Runs {
    /// The role's name, which is also a schema of the default search path.
    fn role(self) -> &'static str {
        match self {
            Self::Superuser => migrate_tests::postgres::ADMIN,
            Self::Owner => migrate_tests::postgres::ROLE,
        }
    }
}

struct Attacked {
    deployment: Deployment,
    runs: Runs,
}

impl Attacked {
    /// A verb as this role; nothing that was planted has run afterwards.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Run {
        let url = match self.runs {
            Runs::Superuser => self.deployment.postgres().admin_url(),
            Runs::Owner => self.deployment.postgres().url(),
        };
        let run = self
            .deployment
            .run(&[arguments, &["--database-url", &url]].concat());
        let called = calls(&self.deployment);
        assert!(called.is_empty(), "{arguments:?} ran {called:#?}\n{run}");
        run
    }

    fn path(&self, name: &str) -> String {
        self.deployment.path(name).to_str().unwrap().to_owned()
    }

    fn upgrades_and_rollbacks(&self) {
        let path = ["--from", "1.5.0", "--to", "2.0.0"];
        for look in [&["health-check"][..], &["status"], &["history"]] {
            self.run(look);
        }
        self.run(&[&["plan"][..], &path].concat()).expect(0);
        self.run(&[&path[..], &["--dry-run"]].concat()).expect(0);
        for strategy in self.strategies() {
            self.run(&[&path[..], &["--yes"]].concat()).expect(0);
            self.run(&["validate"]).expect(0);
            self.run(&["status"]).expect(0);
            self.run(&[
                "--rollback",
                "--to",
                "1.5.0",
                "--strategy",
                strategy,
                "--yes",
            ])
            .expect(0);
        }
    }

    /// The owner can't give a restored function back to the role that owned it.
    fn strategies(&self) -> &'static [&'static str] {
        match self.runs {
            Runs::Superuser => &["reverse", "restore"],
            Runs::Owner => &["reverse"],
        }
    }

    fn backups(&self) {
        self.run(&["backup", "--version", "1.5.0"]).expect(0);
        if matches!(self.runs, Runs::Owner) {
            return;
        }
        let path = ["--from", "1.5.0", "--to", "2.0.0"];
        self.run(&[&["rehearse"][..], &path].concat()).expect(0);
        self.run(&["backup", "verify"]).expect(0);
        self.run(&["emergency-rollback", "--version", "1.5.0", "--yes"])
            .expect(0);
    }

    fn schema(&self) {
        let source = self.path("schema");
        let run = |name: &str, more: &[&str]| {
            self.run(&[&["schema", name, "--source", &source][..], more].concat())
        };
        run("plan", &[]).expect(0);
        run("lint", &[]);
        run("apply", &[]).expect(0);
        run("status", &[]).expect(0);
        run("drift", &[]);
        // Other tests make roles on this server meanwhile, which is told.
        let verified = run("verify", &["--scratch"]);
        if verified.code() == Some(4) {
            verified.says(&["what all databases of its server share"]);
        } else {
            verified.expect(0);
        }
        self.run(&["schema", "dump"]).expect(0);
        run("redo", &["--yes"]).expect(0);
        run("down", &["--steps", "1", "--yes"]).expect(0);
        run("baseline", &["--to", "001", "--yes"]).expect(0);
    }

    fn data(&self) {
        let transform = self.path("copy.sql");
        let tables = ["--source", "pipelines_old", "--target", "copied"];
        let tables = [&tables[..], &["--transform", &transform]].concat();
        self.run(&[&["data", "migrate"][..], &tables].concat())
            .expect(0);
        // Again, over rows that are there.
        self.run(&[&["data", "migrate"][..], &tables].concat())
            .expect(0);
        self.run(&[&["data", "verify"][..], &tables].concat())
            .expect(0);
        self.run(&["data", "status"]).expect(0);
    }
}

fn attacked(runs: Runs, late: Late) -> Attacked {
    let deployment = Deployment::v1().rows(30).postgres();
    deployment.write(
        "schema/001_notes.sql",
        "CREATE TABLE notes (id integer PRIMARY KEY, note text);",
    );
    deployment.write("schema/001_notes.down.sql", "DROP TABLE notes;");
    deployment.write(
        "copy.sql",
        "SELECT id, name, status, day, kind FROM batch CROSS JOIN LATERAL (SELECT DATE '2020-01-01' AS day, CAST('open' AS public.kind) AS kind) AS more",
    );
    deployment.sql(
        "CREATE TYPE kind AS ENUM ('open', 'shut'); \
         CREATE TABLE copied (id integer, name varchar(20000), status varchar(200), day date, kind kind, \
                              PRIMARY KEY (id, name))",
    );
    let intruder = Intruder::enters(&deployment);
    let database = deployment.postgres();
    match late {
        Late::No => {
            intruder.plants(&deployment, "public");
            intruder.plants(&deployment, runs.role());
        }
        Late::Yes => {
            intruder.plants(&deployment, "app");
            database.admin_psql(&format!(
                "ALTER DATABASE {} SET search_path = app, public, pg_catalog",
                database.name()
            ));
        }
    }
    // What the owner may not drop, it could not restore.
    database.admin_psql(&format!(
        "GRANT {} TO {}",
        intruder.role(),
        migrate_tests::postgres::ROLE
    ));
    Attacked { deployment, runs }
}

/// Whether the search path names `pg_catalog` behind the schema of the intruder.
#[derive(Clone, Copy)]
enum Late {
    No,
    Yes,
}

fn nothing_that_was_planted_runs(runs: Runs, late: Late) {
    let attacked = attacked(runs, late);
    attacked.upgrades_and_rollbacks();
    attacked.data();
    attacked.schema();
    attacked.backups();
}

#[test]
fn nothing_planted_runs_as_the_superuser() {
    nothing_that_was_planted_runs(Runs::Superuser, Late::No);
}

#[test]
fn nothing_planted_runs_as_the_owner() {
    nothing_that_was_planted_runs(Runs::Owner, Late::No);
}

#[test]
fn nothing_planted_before_the_system_runs_as_the_superuser() {
    nothing_that_was_planted_runs(Runs::Superuser, Late::Yes);
}

/// The test would see a call: one that a session with the user's search path makes.
#[test]
fn what_is_planted_would_be_called() {
    let attacked = attacked(Runs::Superuser, Late::No);
    let database = attacked.deployment.postgres();
    let asked = "SELECT left('a'::varchar, 1), 'a'::varchar = 'b'::varchar, \
                 hashtextextended('a', 0), '{}'::json -> '1'";
    database.admin_psql(asked);
    assert_eq!(calls(&attacked.deployment).len(), 4);
}
