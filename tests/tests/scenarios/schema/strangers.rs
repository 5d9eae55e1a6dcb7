//! What other tools' files say, and what must not happen on somebody's server.

use migrate_tests::deployment::Store;
use migrate_tests::postgres::Server;

use super::world::World;
use crate::on_both;

fn up_and_down_in_one_file_never_run_together(store: Store) {
    for (tool, text) in [
        (
            "sql-migrate",
            "-- +migrate Up\ncreate table t (a integer);\n-- +migrate Down\ndrop table t;\n",
        ),
        (
            "tern",
            "create table t (a integer);\n---- create above / drop below ----\ndrop table t;\n",
        ),
        (
            "node-pg-migrate",
            "-- Up Migration\ncreate table t (a integer);\n-- Down Migration\ndrop table t;\n",
        ),
        (
            "MyBatis",
            "-- // t\ncreate table t (a integer);\n-- //@UNDO\ndrop table t;\n",
        ),
        (
            "rambler",
            "-- rambler up\ncreate table t (a integer);\n-- rambler down\ndrop table t;\n",
        ),
        (
            "up and down in one file",
            "-- UP\ncreate table t (a integer);\n-- DOWN\ndrop table t;\n",
        ),
    ] {
        let world = World::on(store).files(&[("001_t.sql", text)]);
        let before = world.snapshot();
        for layout in ["auto", "ours", "sqlx", "flyway"] {
            world
                .run(&["apply", "--layout", layout])
                .expect_one_of(&[1]);
        }
        world
            .run(&["apply", "--layout", "ours"])
            .expect(1)
            .says(&[tool, "001_t.sql"]);
        assert_eq!(world.snapshot(), before);
    }
}

fn what_its_tool_would_run_is_not_passed_by(store: Store) {
    for (layout, file, said) in [
        ("flyway", "afterMigrate.sql", "callback"),
        ("flyway", "V2__code.java", "program"),
        ("goose", "002_code.go", "program"),
        ("ours", "V2__u.sql", "would not run"),
    ] {
        let first = match layout {
            "flyway" => ("V1__t.sql", "create table t (a integer);\n"),
            "goose" => ("001_t.sql", "-- +goose Up\ncreate table t (a integer);\n"),
            _ => ("001_t.sql", "create table t (a integer);\n"),
        };
        let world = World::on(store).files(&[first, (file, "select 1;\n")]);
        world
            .run(&["apply", "--layout", layout])
            .expect(1)
            .says(&[file, said]);
    }
    let world = World::on(store).files(&[("notes.sql", "create table t (a integer);\n")]);
    world
        .run(&["apply", "--layout", "goose"])
        .expect(1)
        .says(&["reads none of the 1 files"]);
    let world = World::on(store).files(&[
        ("1_t.sql.up.sql", "create table t (a integer);\n"),
        ("30_u.up..sql", "create table u (a integer);\n"),
    ]);
    world
        .run(&["apply", "--layout", "golang-migrate"])
        .expect(0)
        .says(&["2 applied"]);
}

/// goose's mark ends a statement that has no semicolon, in either direction.
fn a_statement_of_goose_ends_at_its_mark(store: Store) {
    let world = World::on(store).files(&[(
        "001_t.sql",
        "-- +goose Up\n-- +goose StatementBegin\ncreate table t (a integer)\n-- +goose StatementEnd\n\
         create table u (a integer);\n-- +goose Down\n-- +goose StatementBegin\ndrop table u\n\
         -- +goose StatementEnd\n-- +goose StatementBegin\ndrop table t\n-- +goose StatementEnd\n",
    )]);
    world.run(&["apply"]).expect(0).says(&["1 applied"]);
    world.sql("select count(*) from t, u");
    world.run(&["down", "--yes"]).expect(0);
    world.run(&["apply"]).expect(0).says(&["1 applied"]);
}

/// A down that holds nothing takes nothing back, as its tool has it.
fn an_empty_down_is_gone_through(store: Store) {
    let world = World::on(store).files(&[
        ("1_t.up.sql", "create table t (a integer);\n"),
        ("1_t.down.sql", "drop table t;\n"),
        ("2_u.up.sql", "create table u (a integer);\n"),
        ("2_u.down.sql", "-- nothing\n"),
    ]);
    let layout = &["--layout", "golang-migrate"];
    world.run(&["apply", layout[0], layout[1]]).expect(0);
    world
        .run(&["down", "--all", "--yes", layout[0], layout[1]])
        .expect(0);
    world.sql("select count(*) from u");
}

on_both!(
    up_and_down_in_one_file_never_run_together,
    what_its_tool_would_run_is_not_passed_by,
    a_statement_of_goose_ends_at_its_mark,
    an_empty_down_is_gone_through,
);

/// The tools that leave SQLite's foreign keys off lose no rows of others to a dropped table.
#[test]
fn foreign_keys_of_sqlite_are_as_its_tool_has_them() {
    const TABLES: &str = "create table org (id integer primary key); \
         create table member (id integer primary key, org integer references org (id) on delete cascade); \
         insert into org values (1); insert into member values (1, 1), (2, 1)";
    for (layout, file, text) in [
        (
            "dbmate",
            "1_x.sql",
            "-- migrate:up\ndrop table org;\n-- migrate:down\n",
        ),
        ("goose", "1_x.sql", "-- +goose Up\ndrop table org;\n"),
        ("golang-migrate", "1_x.up.sql", "drop table org;\n"),
        ("flyway", "V1__x.sql", "drop table org;\n"),
    ] {
        let world = World::sqlite().files(&[(file, text)]);
        world.sql(TABLES);
        world.run(&["apply", "--layout", layout]).expect(0);
        assert_eq!(world.sql("select count(*) from member"), "2", "{layout}");
    }
    let world = World::sqlite().files(&[("1_x.sql", "drop table org;\n")]);
    world.sql(TABLES);
    let plan = world.run(&["plan", "--layout", "ours"]);
    plan.expect(0).says(&["also deletes the rows of member"]);
}

/// What all databases of a server share is not touched by a comparison.
#[test]
fn a_comparison_does_not_change_the_servers_roles() {
    let server = Server::start();
    let world = World::on_server(&server);
    let role = format!("app_{}", world.database().name());
    world.write("1_t.sql", "create table t (a integer);\n");
    world.write(
        "2_role.sql",
        &format!("alter role {role} login connection limit 5;\n"),
    );
    world.database().admin_psql(&format!("create role {role}"));
    world.run(&["baseline", "--to", "2"]).expect(0);
    world.sql("create table t (a integer)");
    let limit = format!("select rolconnlimit from pg_roles where rolname = '{role}'");
    let before = world.database().admin_psql(&limit);
    for verb in [&["drift"][..], &["verify", "--scratch"]] {
        world
            .run(verb)
            .expect(1)
            .says(&["2_role.sql", "--skip-shared"]);
    }
    world
        .run(&["drift", "--skip-shared"])
        .expect(0)
        .says(&["left out", "no drift"]);
    assert_eq!(world.database().admin_psql(&limit), before);
    world.database().admin_psql(&format!("drop role {role}"));
}

/// A file that says so runs without a transaction of ours round it.
#[test]
fn a_procedure_that_commits_runs_where_the_file_says_so() {
    let world = World::postgres().files(&[(
        "1_t.sql",
        "-- no-transaction\ncreate table t (a integer);\n\
         create procedure fill() language plpgsql as $$ begin insert into t values (1); commit; end $$;\n\
         call fill();\ndo $$ begin insert into t values (2); commit; end $$;\n",
    )]);
    world.run(&["apply", "--layout", "ours"]).expect(0);
    assert_eq!(world.sql("select count(*) from t"), "2");
    world.run(&["apply", "--layout", "ours"]).expect(0);
    assert_eq!(world.sql("select count(*) from t"), "2");
}

/// The isolation that a script's own transaction asks for is the one that it runs in.
#[test]
fn a_scripts_isolation_is_taken() {
    let world = World::postgres().files(&[
        (
            "1_a.sql",
            "begin isolation level repeatable read;\n\
             create table a as select current_setting('transaction_isolation') as level;\ncommit;\n",
        ),
        (
            "2_b.sql",
            "begin;\nset transaction isolation level serializable;\n\
             create table b as select current_setting('transaction_isolation') as level;\ncommit;\n",
        ),
        (
            "3_c.sql",
            "create table c as select current_setting('transaction_isolation') as level;\n",
        ),
    ]);
    world.run(&["apply"]).expect(0).says(&["3 applied"]);
    for (table, level) in [
        ("a", "repeatable read"),
        ("b", "serializable"),
        ("c", "read committed"),
    ] {
        assert_eq!(world.sql(&format!("select level from {table}")), level);
    }
}
