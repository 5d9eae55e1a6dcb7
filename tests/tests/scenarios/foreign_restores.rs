//! Backups of databases that this project did not make: each is proven, and brought back in its own
//! database, by what `pg_dump` says of it.

use migrate_tests::binary::Run;
use migrate_tests::deployment::Deployment;

/// As whom the tool connects.
#[derive(Clone, Copy)]
enum As {
    Owner,
    Superuser,
}

struct Case {
    deployment: Deployment,
    role: As,
    before: String,
}

impl Case {
    fn of(role: As, sql: &str) -> Self {
        let deployment = Deployment::v1().postgres();
        let database = deployment.postgres();
        let sql = sql.replace("@database@", database.name());
        let mut case = Self {
            deployment,
            role,
            before: String::new(),
        };
        case.sql(&sql);
        case.before = case.deployment.postgres().dump_sorted();
        case
    }

    fn sql(&self, sql: &str) {
        let database = self.deployment.postgres();
        drop(match self.role {
            As::Owner => database.psql(sql),
            As::Superuser => database.admin_psql(sql),
        });
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Run {
        let url = match self.role {
            As::Owner => self.deployment.postgres().url(),
            As::Superuser => self.deployment.postgres().admin_url(),
        };
        let all = [arguments, &["--database-url", &url]].concat();
        self.deployment.run(&all)
    }

    fn id(&self) -> String {
        let list = self.run(&["backup", "list", "--format", "json"]).json();
        list["backups"][0]["id"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn must_be_back(&self) {
        let mut differing = differing(&self.before, &self.deployment.postgres().dump_sorted());
        // Event triggers see that our own tables are removed afterwards.
        differing.retain(|line| !line.starts_with("+ INSERT INTO public.evlog VALUES ('DROP "));
        assert_eq!(differing, Vec::<String>::new());
    }

    /// A backup is made, proven in a scratch database, and restored over a later change.
    #[track_caller]
    fn comes_back(&self, later: &str) {
        self.run(&["backup", "--version", "1.5.0"]).expect(0);
        let id = self.id();
        self.run(&["backup", "verify"]).expect(0);
        self.sql(later);
        self.run(&["restore", &id, "--accept-data-loss"]).expect(0);
        self.must_be_back();
    }
}

/// The lines of two dumps that are in one of them only.
fn differing(before: &str, now: &str) -> Vec<String> {
    let only = |one: &str, other: &str, sign: char| -> Vec<String> {
        let mut rest: Vec<&str> = other.lines().collect();
        let mut found = Vec::new();
        for line in one.lines() {
            match rest.iter().position(|other| *other == line) {
                Some(at) => drop(rest.swap_remove(at)),
                None => found.push(format!("{sign} {line}")),
            }
        }
        found
    };
    [only(before, now, '-'), only(now, before, '+')].concat()
}

const LATER: &str = "DELETE FROM pipelines_old";

#[test]
fn constants_of_every_style() {
    Case::of(
        As::Owner,
        "CREATE DOMAIN pause AS interval DEFAULT '1 month 2 days' CHECK (value > '1 minute'::interval);
         CREATE TABLE sess (id int PRIMARY KEY, ttl interval DEFAULT '-1 days 02:00:00',
             started timestamptz DEFAULT '2020-01-02 03:04:05+06', day date DEFAULT '2020-02-01',
             share float8 DEFAULT 0.1, mark bytea DEFAULT '\\x00ff', price money DEFAULT '12.5',
             path text DEFAULT 'c:\\dir', CHECK (ttl < '1 year'::interval));
         CREATE INDEX ON sess ((ttl + '3 hours'::interval));
         CREATE VIEW late AS SELECT *, ttl * 2 > '5 days 3 hours'::interval AS far FROM sess;
         INSERT INTO sess VALUES (1)",
    )
    .comes_back(LATER);
}

#[test]
fn constants_under_settings_of_the_database() {
    let case = Case::of(
        As::Owner,
        "ALTER DATABASE @database@ SET intervalstyle = sql_standard;
         ALTER DATABASE @database@ SET datestyle = 'SQL, DMY';
         ALTER DATABASE @database@ SET timezone = 'Asia/Kolkata';
         ALTER DATABASE @database@ SET extra_float_digits = -5;
         ALTER DATABASE @database@ SET bytea_output = escape;
         ALTER DATABASE @database@ SET quote_all_identifiers = on;
         ALTER DATABASE @database@ SET standard_conforming_strings = off;
         ALTER DATABASE @database@ SET array_nulls = off;
         ALTER DATABASE @database@ SET xmlbinary = hex;
         CREATE TABLE sess (id int PRIMARY KEY, ttl interval DEFAULT '-1 days +02:00:00',
             started timestamptz DEFAULT '2020-01-02 03:04:05+06', day date DEFAULT '01/02/2020',
             share float8 DEFAULT 0.123456789012345678, mark bytea DEFAULT E'\\\\x00ff', path text DEFAULT E'c:\\\\dir',
             names text[]);
         CREATE VIEW late AS SELECT *, path || E'\\\\' AS longer FROM sess;
         INSERT INTO sess (id, names) VALUES (1, ARRAY['NULL', NULL])",
    );
    case.comes_back(LATER);
}

#[test]
fn default_privileges_are_not_added_to_what_was_there() {
    let server = migrate_tests::postgres::shared();
    server.admin_psql("postgres", "CREATE ROLE fr_bob; CREATE ROLE fr_stranger");
    let tables = "CREATE TABLE secret (id int PRIMARY KEY); CREATE SEQUENCE counter;
         CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1';
         CREATE TYPE mood AS ENUM ('a'); CREATE SCHEMA s; CREATE TABLE s.hidden (a int);";
    let given = "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO fr_bob;
         ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO fr_bob WITH GRANT OPTION;
         ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO fr_bob;
         ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO fr_bob;
         ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT ALL ON TABLES TO PUBLIC;";
    Case::of(As::Owner, &format!("{tables}{given}")).comes_back(LATER);
    // Made by the change that is taken back.
    Case::of(As::Owner, tables).comes_back(given);
    let of_others =
        "ALTER DEFAULT PRIVILEGES FOR ROLE fr_stranger GRANT SELECT ON TABLES TO fr_bob;";
    Case::of(As::Superuser, &format!("{tables}{given}{of_others}")).comes_back(LATER);
}

/// What the role may not change stays as it is, and is no reason to restore nothing.
#[test]
fn default_privileges_of_a_stranger_stay() {
    let server = migrate_tests::postgres::shared();
    server.admin_psql("postgres", "CREATE ROLE fr_other");
    let case = Case::of(As::Owner, "CREATE TABLE secret (id int PRIMARY KEY)");
    let database = case.deployment.postgres();
    database
        .admin_psql("ALTER DEFAULT PRIVILEGES FOR ROLE fr_other GRANT SELECT ON TABLES TO PUBLIC");
    let before = database.dump_sorted();
    case.run(&["backup", "--version", "1.5.0"]).expect(0);
    drop(database.psql(LATER));
    case.run(&["restore", &case.id(), "--accept-data-loss"])
        .expect(0);
    assert_eq!(
        differing(&before, &database.dump_sorted()),
        Vec::<String>::new()
    );
}

#[test]
fn a_database_without_public() {
    let case = Case::of(
        As::Owner,
        "CREATE SCHEMA s; ALTER TABLE pipelines SET SCHEMA s; ALTER TABLE pipelines_old SET SCHEMA s;
         CREATE TABLE s.t (a int); INSERT INTO s.t VALUES (1); DROP SCHEMA public",
    );
    case.comes_back("CREATE SCHEMA public; CREATE TABLE public.later (a int)");
    let name = case.deployment.postgres().name();
    let server = case.deployment.postgres().server();
    server.admin_psql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
    case.run(&["emergency-rollback", "--version", "1.5.0", "--yes"])
        .expect(0);
    let timezone = format!("ALTER DATABASE {name} SET timezone = 'America/Sao_Paulo'");
    server.admin_psql("postgres", &timezone);
    case.must_be_back();
}

/// `log_ddl` writes a row for each command that makes something.
const LOGGED: &str = "CREATE TABLE evlog (tag text);
     CREATE FUNCTION log_ddl() RETURNS event_trigger LANGUAGE plpgsql
         AS $$ BEGIN INSERT INTO public.evlog VALUES (tg_tag); END $$;
     CREATE EVENT TRIGGER log_ddl ON ddl_command_end EXECUTE FUNCTION log_ddl();
     COMMENT ON EVENT TRIGGER log_ddl IS 'what was made';
     CREATE EVENT TRIGGER log_drops ON sql_drop EXECUTE FUNCTION log_ddl();
     ALTER EVENT TRIGGER log_drops ENABLE ALWAYS;
     CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; CREATE UNIQUE INDEX ON m (a);
     CREATE MATERIALIZED VIEW n AS SELECT a + 1 AS b FROM m;";

#[test]
fn event_triggers_do_not_see_the_restore() {
    Case::of(As::Superuser, LOGGED).comes_back("CREATE TABLE later (a int); DELETE FROM evlog");
}

/// A run that only its rollback point takes back.
#[test]
fn a_failed_run_comes_back_whatever_event_triggers_write() {
    let case = Case::of(As::Superuser, LOGGED);
    let deployment = &case.deployment;
    deployment.write(
        "migrations/001_drop.sql",
        "ALTER TABLE pipelines DROP COLUMN status;\n",
    );
    let drop = serde_json::json!({"id": "drop", "step_type": "SchemaUpdate", "timeout": "30s",
        "command": "001_drop.sql", "can_rollback": false});
    let plan = serde_json::json!({
        "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MinorUpgrade",
        "downtime_required": false, "steps": [drop, crate::shipped::failing_validation()],
    });
    crate::shipped::overlay(deployment, &plan);
    case.run(&["--from", "1.5.0", "--to", "2.0.0", "--yes"])
        .expect(3);
    let mut differing = differing(&case.before, &deployment.postgres().dump_sorted());
    differing.retain(|line| !line.starts_with("+ INSERT INTO public.evlog"));
    assert_eq!(differing, Vec::<String>::new());
}

/// `up2` finds `helper` by the search path only, which `pg_dump` empties.
const BY_PATH: &str = "CREATE FUNCTION up2(text) RETURNS text LANGUAGE plpgsql IMMUTABLE
         AS 'begin return helper($1); end';
     CREATE FUNCTION helper(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'select upper($1)';
     CREATE TABLE allowed (a text); INSERT INTO allowed VALUES ('q');
     CREATE FUNCTION is_known(text) RETURNS boolean LANGUAGE plpgsql STABLE
         AS 'begin return exists (select from allowed where a = $1); end';
     CREATE TABLE fx (a text CHECK (is_known(a)), b text GENERATED ALWAYS AS (up2(a)) STORED);
     INSERT INTO fx VALUES ('q'); CREATE INDEX ON fx (up2(a));
     CREATE MATERIALIZED VIEW m AS SELECT up2(a) FROM fx;";

#[test]
fn functions_that_find_others_by_the_path() {
    Case::of(As::Owner, BY_PATH).comes_back(LATER);
    let in_app = format!(
        "CREATE SCHEMA \"App, own\"; ALTER DATABASE @database@ SET search_path = \"App, own\", public;
         SET search_path = \"App, own\"; {BY_PATH}"
    );
    Case::of(As::Owner, &in_app).comes_back(LATER);
}

#[test]
fn a_path_in_which_others_may_create_is_not_used() {
    let case = Case::of(
        As::Owner,
        &format!("{BY_PATH} GRANT CREATE ON SCHEMA public TO PUBLIC"),
    );
    let look = ["--from", "1.5.0", "--to", "2.0.0", "--dry-run"];
    case.run(&look).says(&[
        "function public.up2(text)",
        "names helper without its schema",
    ]);
    case.run(&["backup", "--version", "1.5.0"]).expect(0);
    case.sql(LATER);
    let before = case.deployment.postgres().dump_sorted();
    case.run(&["restore", &case.id(), "--accept-data-loss"])
        .expect(1)
        .says(&["helper", "every role may create objects in schema public"]);
    assert_eq!(
        differing(&before, &case.deployment.postgres().dump_sorted()),
        Vec::<String>::new()
    );
}

/// The failed emergency leaves what was there: nothing.
#[test]
fn a_database_that_cannot_be_filled_is_not_left() {
    let case = Case::of(
        As::Superuser,
        "CREATE ROLE fr_gone; ALTER TABLE pipelines OWNER TO fr_gone",
    );
    case.run(&["backup", "--version", "1.5.0"]).expect(0);
    let name = case.deployment.postgres().name();
    let server = case.deployment.postgres().server();
    server.admin_psql(
        "postgres",
        &format!("DROP DATABASE {name} WITH (FORCE); DROP ROLE fr_gone"),
    );
    let emergency = ["emergency-rollback", "--version", "1.5.0", "--yes"];
    case.run(&emergency)
        .expect(1)
        .says(&["fr_gone", "nothing was changed"]);
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(server.admin_psql("postgres", &left), "0");
    server.admin_psql("postgres", "CREATE ROLE fr_gone");
    case.run(&emergency).expect(0);
    let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'pipelines'";
    assert_eq!(case.deployment.postgres().admin_psql(owner), "fr_gone");
}

/// A new file takes the encoding of the copy.
#[test]
fn a_sqlite_file_in_utf_16() {
    for encoding in ["UTF-16le", "UTF-16be"] {
        let deployment = Deployment::v1().sqlite();
        let file = deployment.database_file();
        let text = migrate_tests::sqlite::run(&file, ".dump");
        std::fs::remove_file(&file).unwrap();
        let made = format!("PRAGMA encoding = '{encoding}'; {text}");
        migrate_tests::sqlite::run(&file, &made);
        deployment.run(&["backup", "--version", "1.5.0"]).expect(0);
        deployment.run(&["backup", "verify"]).expect(0);
        std::fs::remove_file(&file).unwrap();
        deployment
            .run(&["emergency-rollback", "--version", "1.5.0", "--yes"])
            .expect(0);
        assert_eq!(
            migrate_tests::sqlite::run(&file, "PRAGMA encoding"),
            encoding
        );
        assert_eq!(migrate_tests::sqlite::run(&file, ".dump"), text);
        deployment
            .run(&["rehearse", "--from", "1.5.0", "--to", "2.0.0"])
            .expect(0);
    }
}
