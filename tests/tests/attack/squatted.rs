//! What has the names of the tool's own objects before the tool has made them.

use migrate_tests::deployment::Deployment;

use crate::planted::{Intruder, calls};

const UPGRADE: [&str; 5] = ["--from", "1.5.0", "--to", "2.0.0", "--yes"];

/// A note in the server's log, as a trigger.
const TRIGGER: &str = "CREATE FUNCTION @.planted() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN \
     RAISE LOG 'ATTACK in % as %: trigger', pg_catalog.current_database(), current_user; RETURN NEW; END $f$;";

fn with_intruder() -> (Deployment, Intruder) {
    let deployment = Deployment::v1().rows(5).postgres();
    let intruder = Intruder::enters(&deployment);
    let database = deployment.postgres();
    database.admin_psql(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}; GRANT CREATE ON SCHEMA public TO {role}",
        database.name(),
        role = intruder.role()
    ));
    (deployment, intruder)
}

/// Each verb that would use what is there refuses it by name, as superuser and as owner.
#[track_caller]
fn is_refused(deployment: &Deployment, words: &[&str]) {
    let database = deployment.postgres();
    let before = database.dump_sorted();
    for url in [database.admin_url(), database.url()] {
        let with_url =
            |arguments: &[&str]| deployment.run(&[arguments, &["--database-url", &url]].concat());
        with_url(&UPGRADE).expect(1).says(words);
        with_url(&["health-check"]).expect(8).says(words);
        assert_eq!(calls(deployment), Vec::<String>::new());
    }
    assert_eq!(database.dump_sorted(), before);
}

#[test]
fn our_schema_of_another_role_is_refused_by_name() {
    let (deployment, intruder) = with_intruder();
    intruder.psql(
        &deployment,
        &format!(
            "CREATE SCHEMA etlrs_migrate; {}
             CREATE TABLE etlrs_migrate.runs (run text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), header text NOT NULL);
             CREATE TRIGGER planted BEFORE INSERT ON etlrs_migrate.runs FOR EACH ROW EXECUTE FUNCTION etlrs_migrate.planted();
             GRANT ALL ON SCHEMA etlrs_migrate TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA etlrs_migrate TO PUBLIC;",
            TRIGGER.replace('@', "etlrs_migrate")
        ),
    );
    is_refused(
        &deployment,
        &[
            "etlrs_migrate",
            intruder.role(),
            "DROP SCHEMA etlrs_migrate",
        ],
    );
}

#[test]
fn code_on_a_table_of_ours_is_refused_by_name() {
    let (deployment, intruder) = with_intruder();
    deployment.migrate().expect(0);
    let database = deployment.postgres();
    database.admin_psql(&format!(
        "GRANT USAGE ON SCHEMA etlrs_migrate TO {role}; GRANT TRIGGER ON etlrs_migrate.runs TO {role}",
        role = intruder.role()
    ));
    intruder.psql(
        &deployment,
        &format!(
            "{} CREATE TRIGGER planted BEFORE INSERT ON etlrs_migrate.runs FOR EACH ROW EXECUTE FUNCTION public.planted();",
            TRIGGER.replace('@', "public")
        ),
    );
    let rollback = ["--rollback", "--to", "1.5.0", "--yes"];
    for url in [database.admin_url(), database.url()] {
        for verb in [
            &rollback[..],
            &["backup", "--version", "2.0.0"],
            &["health-check"],
        ] {
            let run = deployment.run(&[verb, &["--database-url", &url]].concat());
            if verb[0] != "backup" {
                assert_ne!(run.code(), Some(0), "{run}");
                run.says(&["etlrs_migrate.runs", "trigger", "planted"]);
            }
        }
    }
    assert_eq!(calls(&deployment), Vec::<String>::new());
    // The way out that is printed.
    database.admin_psql("DROP TRIGGER planted ON etlrs_migrate.runs");
    deployment.run(&rollback).expect(0);
}

#[test]
fn schema_versions_with_the_code_of_another_role_is_not_used() {
    let (deployment, intruder) = with_intruder();
    intruder.psql(
        &deployment,
        &format!(
            "{} CREATE TABLE public.schema_versions (version integer PRIMARY KEY, applied_at timestamp DEFAULT now());
             CREATE TRIGGER planted BEFORE INSERT ON public.schema_versions FOR EACH ROW EXECUTE FUNCTION public.planted();
             GRANT ALL ON public.schema_versions TO PUBLIC;",
            TRIGGER.replace('@', "public")
        ),
    );
    let database = deployment.postgres();
    for url in [database.admin_url(), database.url()] {
        let run = deployment.run(&[&UPGRADE[..], &["--database-url", &url]].concat());
        assert_ne!(run.code(), Some(0), "{run}");
        run.says(&["schema_versions", intruder.role()]);
    }
    assert_eq!(calls(&deployment), Vec::<String>::new());
}

#[test]
fn a_trigger_on_a_table_of_ours_in_sqlite_is_refused_by_name() {
    let deployment = Deployment::v1().rows(5).sqlite();
    deployment.sql(
        "CREATE TABLE stolen (header text);
         CREATE TABLE _etlrs_runs (run text primary key, at text not null default current_timestamp, header text not null);
         CREATE TRIGGER planted AFTER INSERT ON _etlrs_runs BEGIN INSERT INTO stolen VALUES (new.header); END;",
    );
    let words = ["_etlrs_runs", "planted", "DROP TRIGGER"];
    deployment.migrate().expect(1).says(&words);
    deployment.run(&["health-check"]).expect(8).says(&words);
    assert_eq!(deployment.sql("SELECT count(*) FROM stolen"), "0");
    deployment.sql("DROP TRIGGER planted; DROP TABLE stolen");
    deployment.migrate().expect(0);
}
