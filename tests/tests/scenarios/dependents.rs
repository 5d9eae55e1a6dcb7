//! What people have built on the tables that a migration rebuilds: keys, views, triggers,
//! indexes, rights. All of it survives the way forward and comes back on the way back.

use migrate_tests::deployment::{Deployment, Store};

use crate::on_both;

const COMMON: &str = "
    CREATE TABLE runs (
        id integer primary key,
        pipeline_id integer NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
        note text DEFAULT 'it''s; \"fine\"'
    );
    INSERT INTO runs (id, pipeline_id) VALUES (1, 1), (2, 2), (3, -3);
    CREATE INDEX by_status ON pipelines (status, name) WHERE status <> '';
    CREATE UNIQUE INDEX by_lower ON pipelines (lower(status), id);
    CREATE VIEW active AS SELECT id, name FROM pipelines WHERE status = 'active';
    CREATE TABLE \"Odd name\"\"s\" (\"order\" text, \"a;b\" integer);
    INSERT INTO \"Odd name\"\"s\" VALUES ('x', 1), (NULL, NULL);";

const OF_SQLITE: &str = "
    CREATE TRIGGER guard BEFORE INSERT ON pipelines WHEN NEW.id = -424242
    BEGIN
        SELECT RAISE(ABORT, 'never; this one');
    END;
    CREATE TABLE counted (id integer primary key AUTOINCREMENT, what blob);
    INSERT INTO counted (what) VALUES (X'00ff27'), (NULL);
    DELETE FROM counted WHERE id = 2;
    CREATE TABLE narrow (k text primary key, v) WITHOUT ROWID;
    INSERT INTO narrow VALUES ('a', 1.5), ('b', 'text'), ('c', X'00');
    PRAGMA user_version = 7;";

const OF_POSTGRESQL: &str = "
    CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS
        $body$ BEGIN RAISE EXCEPTION 'never; this one'; END; $body$;
    CREATE TRIGGER guard BEFORE INSERT ON pipelines FOR EACH ROW
        WHEN (NEW.id = -424242) EXECUTE FUNCTION guard();
    CREATE TABLE counted (id bigserial primary key, what bytea, mood numeric(5, 2)[]);
    INSERT INTO counted (what, mood) VALUES ('\\x00ff27', '{1.5,NULL}'), (NULL, NULL);
    DELETE FROM counted WHERE id = 2;
    CREATE TYPE mood AS ENUM ('good', 'so so');
    CREATE SCHEMA archive;
    CREATE TABLE archive.pipelines (id integer, at timestamptz, mood mood, doc jsonb);
    INSERT INTO archive.pipelines VALUES (1, '2024-01-01 00:00:00+09', 'so so', '{\"a\": [1]}');
    CREATE MATERIALIZED VIEW statuses AS SELECT status, count(*) FROM pipelines GROUP BY status;
    GRANT SELECT ON pipelines TO PUBLIC;
    COMMENT ON COLUMN pipelines.name IS 'what people call it';
    ALTER TABLE pipelines_old REPLICA IDENTITY FULL;";

fn crowded(store: Store) -> Deployment {
    let deployment = Deployment::v1().on(store);
    deployment.sql(COMMON);
    deployment.sql(match store {
        Store::Sqlite => OF_SQLITE,
        Store::Postgres => OF_POSTGRESQL,
    });
    deployment
}

fn they_survive_the_way_forward(store: Store) {
    let deployment = crowded(store);
    let everything = "SELECT count(*) FROM runs; SELECT count(*) FROM counted;
        SELECT count(*) FROM \"Odd name\"\"s\"";
    let before = deployment.sql(everything);
    deployment.migrate().expect(0);
    deployment.must_be_v2();
    assert_eq!(deployment.sql(everything), before);
    let active = deployment
        .source
        .iter()
        .filter(|row| row.status == "active")
        .count();
    assert_eq!(
        deployment.sql("SELECT count(*) FROM active"),
        active.to_string()
    );
    let cascade = match store {
        Store::Sqlite => {
            "PRAGMA foreign_keys = ON; DELETE FROM pipelines WHERE id = 2; SELECT count(*) FROM runs"
        }
        Store::Postgres => "DELETE FROM pipelines WHERE id = 2; SELECT count(*) FROM runs",
    };
    assert_eq!(deployment.sql(cascade), "2", "the foreign key is gone");
    let objects = match store {
        Store::Sqlite => "SELECT count(*) FROM sqlite_master WHERE name IN ('by_status', 'by_lower', 'guard', 'active')",
        Store::Postgres => "SELECT (SELECT count(*) FROM pg_class WHERE relname IN ('by_status', 'by_lower', 'active'))
            + (SELECT count(*) FROM pg_trigger WHERE tgname = 'guard')",
    };
    assert_eq!(deployment.sql(objects), "4");
}

fn they_come_back_by_reverse(store: Store) {
    come_back(store, "reverse");
}

fn they_come_back_by_restore(store: Store) {
    come_back(store, "restore");
}

fn come_back(store: Store, strategy: &str) {
    let deployment = crowded(store);
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.rollback(strategy).expect(0);
    before.must_equal(&deployment.snapshot(), strategy);
}

on_both!(
    they_survive_the_way_forward,
    they_come_back_by_reverse,
    they_come_back_by_restore,
);
