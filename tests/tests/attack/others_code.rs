//! Code of other roles that would run on the way, and plain backups that reach out of their database.

use migrate_tests::deployment::Deployment;

use crate::planted::Intruder;

#[test]
fn health_check_lists_the_code_of_other_roles() {
    let deployment = Deployment::v1().rows(5).postgres();
    let intruder = Intruder::enters(&deployment);
    let (database, role) = (deployment.postgres(), intruder.role());
    database.admin_psql(&format!("GRANT CREATE ON SCHEMA public TO {role}"));
    intruder.psql(
        &deployment,
        "CREATE FUNCTION public.of_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE FUNCTION public.of_event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE FUNCTION public.of_row(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN x; END';
         CREATE FUNCTION public.upper(x varchar) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN x; END';
         CREATE TABLE public.of_intruder (id int);",
    );
    database.admin_psql(
        "CREATE TRIGGER watch BEFORE UPDATE ON pipelines FOR EACH ROW EXECUTE FUNCTION of_trigger();
         CREATE EVENT TRIGGER ddl ON ddl_command_end EXECUTE FUNCTION of_event();
         CREATE INDEX by_row ON pipelines (of_row(id));
         ALTER TABLE pipelines_old ADD COLUMN more int DEFAULT of_row(1), ADD CONSTRAINT whole CHECK (of_row(id) IS NOT NULL);
         CREATE POLICY partly ON pipelines USING (of_row(id) > 0);
         CREATE VIEW seen AS SELECT of_row(id) FROM pipelines;",
    );
    let url = database.admin_url();
    let run = deployment.run(&["health-check", "--database-url", &url]);
    run.expect(0).says(&[
        "trigger watch on public.pipelines",
        "event trigger ddl",
        "index public.by_row",
        "column public.pipelines_old.more",
        "constraint whole",
        "policy partly",
        "view public.seen",
        "public.of_intruder belongs to role",
        "names of built-in ones (public.upper(character varying))",
        "may create objects in schema public",
        role,
    ]);
    database.admin_psql("DROP EVENT TRIGGER ddl");
}

#[test]
fn the_code_of_the_owner_and_of_superusers_is_not_listed() {
    let deployment = Deployment::v1().rows(5).postgres();
    deployment.sql(
        "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER mine BEFORE UPDATE ON pipelines FOR EACH ROW EXECUTE FUNCTION mine();",
    );
    let url = deployment.postgres().admin_url();
    for more in [&[][..], &["--database-url", &url]] {
        let run = deployment.run(&[&["health-check"][..], more].concat());
        assert!(!run.output().contains("would run as this role"), "{run}");
    }
}

#[test]
fn a_plain_backup_that_reaches_out_is_neither_verified_nor_restored() {
    let deployment = Deployment::v1().rows(5).postgres();
    let database = deployment.postgres();
    let url = database.admin_url();
    let role = Intruder::enters(&deployment);
    let touched = deployment.path("touched");
    let name = "etlrs_backup_20260101_000000.sql";
    for (line, why) in [
        (
            format!("ALTER ROLE {} SUPERUSER;", role.role()),
            "ALTER ROLE",
        ),
        (
            format!("COPY pipelines TO PROGRAM 'touch {}';", touched.display()),
            "PROGRAM",
        ),
        (format!("\\! touch {}", touched.display()), "psql"),
        (
            format!(
                "DO $$ BEGIN EXECUTE 'ALTER ROLE {} SUPERUSER'; END $$;",
                role.role()
            ),
            "DO",
        ),
    ] {
        deployment.write(
            &format!("backups/{name}"),
            &format!("CREATE TABLE public.kept (id integer);\n{line}\n"),
        );
        for verb in [
            &["backup", "verify", name][..],
            &["restore", name, "--yes", "--accept-data-loss"],
        ] {
            let run = deployment.run(&[verb, &["--database-url", &url]].concat());
            assert_ne!(run.code(), Some(0), "{run}");
            run.says(&["line 2", why]);
        }
    }
    assert!(!touched.exists());
    let rights = format!(
        "SELECT rolsuper FROM pg_roles WHERE rolname = '{}'",
        role.role()
    );
    assert_eq!(database.admin_psql(&rights), "f");
}
