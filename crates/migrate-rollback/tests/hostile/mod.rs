//! Databases with everything in them that is hard to copy.

use migrate_schema::db::{Backend, Database};
use migrate_tests::postgres::TestDatabase;

pub(crate) fn make(database: &Database, server: Option<&TestDatabase<'_>>) {
    if let Some(server) = server {
        server.admin_psql(POSTGRES_ADMIN);
        server.psql(&server.server().fitted(POSTGRES));
    } else {
        let file = database.url().unwrap().sqlite_path().unwrap();
        migrate_tests::sqlite::run(&file, SQLITE);
    }
}

pub(crate) fn dump(database: &Database, server: Option<&TestDatabase<'_>>) -> String {
    if let Some(server) = server {
        as_reloaded(&server.dump_sorted())
    } else {
        let file = database.url().unwrap().sqlite_path().unwrap();
        migrate_tests::sqlite::dump_sorted(&file)
    }
}

/// The dump with the two texts that PostgreSQL itself prints differently once they went
/// through a dump. Nothing else may differ.
fn as_reloaded(dump: &str) -> String {
    dump.replace(
        "ANY ((ARRAY['a'::character varying, 'b'::character varying, 'it''s'::character varying])::text[])",
        "ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text, ('it''s'::character varying)::text])",
    )
    .replace(" SELECT 'a'::text;", " SELECT 'a'::text AS text;")
}

pub(crate) fn damages(database: &Database) -> Vec<&'static [&'static str]> {
    match database.backend() {
        Backend::Postgres => vec![&[], &POSTGRES_CHANGED, &POSTGRES_EMPTIED],
        Backend::Sqlite => vec![&[], &SQLITE_CHANGED, &SQLITE_EMPTIED],
    }
}

const SQLITE: &str = r"
    CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, b INT REFERENCES b (id), t TEXT);
    CREATE TABLE b (id INTEGER PRIMARY KEY, a INT REFERENCES a (id));
    INSERT INTO a VALUES (1, NULL, 'ü'''), (7, NULL, 'NULL'); INSERT INTO b VALUES (1, 7);
    UPDATE a SET b = 1 WHERE id = 1;
    CREATE TABLE g (x INT, y INT AS (x + 1) STORED); INSERT INTO g (x) VALUES (1), (NULL);
    CREATE VIRTUAL TABLE f USING fts5(t); INSERT INTO f VALUES ('hello'), ('world');
    CREATE VIEW v AS SELECT * FROM a; CREATE INDEX i ON a (lower(t));
    CREATE TRIGGER tr AFTER INSERT ON b BEGIN INSERT INTO g (x) VALUES (new.id); END;
    CREATE TABLE w (k TEXT PRIMARY KEY, big TEXT) WITHOUT ROWID;
    INSERT INTO w VALUES ('k', hex(zeroblob(300000)));
";

const SQLITE_CHANGED: [&str; 5] = [
    "INSERT INTO b VALUES (9, NULL)",
    "UPDATE a SET t = 'x'",
    "INSERT INTO f VALUES ('more')",
    "DROP VIEW v",
    "CREATE VIRTUAL TABLE f2 USING fts5(t)",
];

const SQLITE_EMPTIED: [&str; 6] = [
    "DROP TABLE f",
    "DROP TABLE g",
    "DROP TABLE w",
    "DROP VIEW v",
    "UPDATE a SET b = NULL",
    "DROP TABLE b",
];

/// What the role of the tests may not make: an extension that is not trusted, and one in a
/// schema of its own.
const POSTGRES_ADMIN: &str = "
    CREATE EXTENSION pageinspect;
    COMMENT ON EXTENSION pageinspect IS 'a comment that only the superuser may make';
";

const POSTGRES: &str = r#"
    CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION pg_trgm;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s; fine');
    ALTER TYPE mood ADD VALUE 'between' BEFORE 'ok';
    CREATE DOMAIN small AS int CHECK (VALUE < 100);
    CREATE TYPE pair AS (x int, y text);
    CREATE TYPE span AS RANGE (subtype = float8);
    CREATE COLLATION german (provider = icu, locale = 'de');
    CREATE TABLE a (id serial PRIMARY KEY, b int, m mood DEFAULT 'ok', s small, p pair, c ext.citext,
                    t text COLLATE german, j jsonb, ts timestamptz DEFAULT now(), r span, arr text[], xm xml);
    CREATE TABLE b (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int REFERENCES a (id),
                    twice int GENERATED ALWAYS AS (a * 2) STORED);
    ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b (id) DEFERRABLE INITIALLY DEFERRED;
    INSERT INTO a (m, s, p, c, t, j, r, arr, xm) VALUES
        ('sad', 1, '(1,"a,b")', 'X', E'tab\t\\ "q"', '{"a": null}', '[1,2)', '{NULL,"NULL"}', '<a/>'),
        (NULL, NULL, NULL, NULL, '\.', NULL, NULL, NULL, NULL);
    INSERT INTO a (m, t) SELECT 'between', repeat('long ', 20000);
    INSERT INTO b (a) VALUES (1), (2); UPDATE a SET b = 1 WHERE id = 1;
    SELECT setval('a_id_seq', 500, true);
    CREATE SEQUENCE lonely START 7 INCREMENT -3 MINVALUE -100 MAXVALUE 10 CYCLE; SELECT nextval('lonely');
    CREATE SCHEMA "odd "" schema"; CREATE TABLE "odd "" schema"."tab le" ("co""l" int); 
    INSERT INTO "odd "" schema"."tab le" VALUES (1);
    CREATE TABLE parts (k int, v text) PARTITION BY RANGE (k);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
    CREATE TABLE parts_rest PARTITION OF parts DEFAULT; INSERT INTO parts VALUES (1, 'x'), (99, 'y');
    CREATE TABLE mum (x int); CREATE TABLE child (y int) INHERITS (mum); INSERT INTO child VALUES (1, 2);
    CREATE TABLE dropped (a int, gone int, z text); INSERT INTO dropped VALUES (1, 2, 'z');
    ALTER TABLE dropped DROP COLUMN gone; ALTER TABLE dropped ADD COLUMN late int DEFAULT 5;
    CREATE VIEW v AS SELECT id, m FROM a; CREATE VIEW vv AS SELECT * FROM v;
    CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS n FROM a; CREATE UNIQUE INDEX ON mv (n);
    CREATE INDEX trgm ON a USING gin (t gin_trgm_ops); CREATE INDEX part ON a (lower(t)) WHERE id > 1;
    CREATE TABLE chosen (status varchar(20) DEFAULT 'a' CHECK (status IN ('a', 'b', 'it''s')));
    CREATE STATISTICS st ON k, v FROM parts;
    CREATE FUNCTION f(x int, y text DEFAULT 'a;b') RETURNS int LANGUAGE plpgsql AS $b$ BEGIN RETURN x; END; $b$;
    CREATE FUNCTION f(x mood) RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT 'a'; SELECT x::text; END;
    CREATE PROCEDURE pr(INOUT n int) LANGUAGE plpgsql AS $$ BEGIN n := 1; END; $$;
    CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int, initcond = '0');
    CREATE AGGREGATE rows_seen(*) (sfunc = int8inc, stype = int8, initcond = '0');
    CREATE FUNCTION near(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT abs($1 - $2) < 2';
    CREATE OPERATOR ~~~ (leftarg = int, rightarg = int, function = near);
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.ts = '2020-01-01'; RETURN NEW; END; $$;
    CREATE TRIGGER touched BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION touch();
    CREATE FUNCTION as_pair(mood) RETURNS pair LANGUAGE sql IMMUTABLE AS 'SELECT (1, ''a'')::pair';
    CREATE CAST (mood AS pair) WITH FUNCTION as_pair(mood);
    SELECT lo_from_bytea(4711, 'large object');
"#;

const POSTGRES_CHANGED: [&str; 14] = [
    "UPDATE a SET m = 'ok', t = 'x'",
    "INSERT INTO b (a) VALUES (3)",
    "ALTER TABLE a ADD COLUMN extra int DEFAULT 1",
    "CREATE TABLE new_one (id serial PRIMARY KEY, a int REFERENCES a (id))",
    "CREATE TYPE new_type AS ENUM ('a')",
    "CREATE SCHEMA new_schema",
    "CREATE TABLE new_schema.t (x new_type)",
    "CREATE EXTENSION hstore",
    "CREATE TABLE hs (h hstore)",
    "DROP EXTENSION pg_trgm CASCADE",
    "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
    "CREATE OR REPLACE FUNCTION f(x int, y text DEFAULT 'z') RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SELECT setval('lonely', 1)",
    "GRANT ALL ON SCHEMA public TO PUBLIC",
];

const POSTGRES_EMPTIED: [&str; 6] = [
    "DROP TABLE a CASCADE",
    "DROP TABLE b CASCADE",
    "DROP TYPE mood CASCADE",
    "DROP SCHEMA \"odd \"\" schema\" CASCADE",
    "DROP TABLE parts",
    "DROP EXTENSION citext CASCADE",
];
