//! What was changed by hand: seen object by object, on both databases.

use migrate_tests::deployment::Store;
use migrate_tests::postgres::Server;

use super::world::{World, until};
use crate::on_both;

fn world(store: Store) -> World<'static> {
    let world = World::undisturbed(store).files(&[
        (
            "1_t.sql",
            "create table t (id integer primary key, n text not null);
             create index t_n on t (n); create view v as select id from t;",
        ),
        ("2_u.sql", "create table u (id integer primary key);"),
    ]);
    world.run(&["apply", "--to", "1"]).expect(0);
    world
}

fn what_was_changed_by_hand_is_named(store: Store) {
    let world = world(store);
    let same = world.run(&["drift"]);
    same.expect(0).says(&[
        "no drift from 1 applied migrations",
        "pending, and not compared: 2 u",
    ]);
    world.sql("drop index t_n; alter table t add column byhand integer default 7; create table mine (a integer)");
    let before = world.snapshot();
    let drift = world.run(&["drift"]);
    drift.expect(8).says(&[
        "t_n (missing)",
        "- CREATE INDEX t_n",
        "byhand integer",
        "mine (new)",
        "3 objects differ",
    ]);
    let json = world.run(&["drift", "--format", "json"]).expect(8).json();
    assert_eq!(json["drift"], true);
    assert_eq!(json["applied"], 1);
    assert_eq!(json["pending"][0], "2 u");
    assert_eq!(json["objects"].as_array().unwrap().len(), 3);
    assert_eq!(json["objects"][0]["change"], "removed");
    assert_eq!(world.snapshot(), before, "the live database is only read");
    nothing_is_left(&world);
}

fn a_dump_is_compared_without_a_scratch_database(store: Store) {
    let world = world(store);
    let file = world.source().with_file_name("schema.sql");
    let file = file.to_str().unwrap();
    world.bare(&["dump", "-o", file]).expect(0);
    world.bare(&["drift", "--snapshot", file]).expect(0);
    world.sql("drop view v");
    let run = world.bare(&["drift", "--snapshot", file]);
    run.expect(8).says(&["v (missing)", "1 objects differ"]);
    std::fs::write(file, "create table t (a integer);").unwrap();
    let run = world.bare(&["drift", "--snapshot", file]);
    run.expect(1).says(&["was not written by `schema dump`"]);
    world.bare(&["drift"]).expect(2);
}

fn an_edited_file_and_one_that_does_not_run_are_said(store: Store) {
    let world = world(store);
    world.write("1_t.sql", "create table t (id integer primary key);");
    let run = world.run(&["drift"]);
    run.expect(8)
        .says(&["1_t.sql was edited since it was applied"]);
    world.write(
        "1_t.sql",
        "create table t (id integer primary key); select nonsense;",
    );
    let run = world.run(&["drift"]);
    run.expect(1)
        .says(&["1_t.sql", "nonsense", "nothing to compare with"]);
    nothing_is_left(&world);
}

#[test]
fn privileges_functions_and_comments_count_on_postgres() {
    let world = World::undisturbed(Store::Postgres).files(&[(
        "1_t.sql",
        "create type mood as enum ('a'); create sequence s; create table t (m mood);
         create function f() returns int language sql as 'select 1';
         create function g() returns trigger language plpgsql as 'begin return new; end';
         create trigger tg before insert on t for each row execute function g();",
    )]);
    world.run(&["apply"]).expect(0);
    world.sql(
        "alter type mood add value 'b'; alter sequence s increment 2; grant select on t to public;
         create or replace function f() returns int language sql as 'select 2';
         comment on column t.m is 'how'; alter table t disable trigger tg;",
    );
    world.run(&["drift"]).expect(8).says(&[
        "+     'b'",
        "+ CREATE SEQUENCE public.s INCREMENT BY 2;",
        "+ GRANT SELECT ON TABLE public.t TO PUBLIC;",
        "+ AS $function$select 2$function$;",
        "+ COMMENT ON COLUMN public.t.m IS 'how';",
        "+ ALTER TABLE public.t DISABLE TRIGGER tg;",
    ]);
}

#[test]
fn without_the_right_to_make_databases_it_says_which() {
    let server = Server::start();
    let world = World::on_server(&server).files(&[("1_t.sql", "create table t (a int);")]);
    world.run(&["apply"]).expect(0);
    let name = world.database().name();
    world.database().admin_psql(&format!(
        "create role weak_{name} login password 'weak'; grant all on schema public to weak_{name};
         grant usage on schema etlrs_migrate to weak_{name};
         grant select on all tables in schema etlrs_migrate to weak_{name}"
    ));
    let server = world.database().server();
    let url = server.url(&format!("weak_{name}"), "weak", name);
    let source = world.source();
    let tool = |more: &[&str]| {
        let mut all = vec!["schema", "drift", "--source", source.to_str().unwrap()];
        all.extend(["--database-url", &url]);
        all.extend(more);
        migrate_tests::binary::Tool::new(&all).run()
    };
    tool(&[]).expect(1).says(&["CREATEDB", "--scratch-url"]);
    tool(&["--scratch-url", &world.url()])
        .expect(8)
        .says(&["1 objects differ", "TO weak_"]);
    nothing_is_left(&world);
    world
        .database()
        .admin_psql(&format!("drop owned by weak_{name}; drop role weak_{name}"));
}

#[test]
fn a_killed_drift_is_cleaned_up_by_the_next() {
    let world = World::undisturbed(Store::Postgres)
        .files(&[("1_t.sql", "select pg_sleep(0); create table t (a int);")]);
    world.run(&["apply"]).expect(0);
    world.write("1_t.sql", "select pg_sleep(30); create table t (a int);");
    let running = world.tool(&["drift"]).start();
    let pid = running.pid();
    until("the scratch database is there", || {
        !scratches(&world, pid).is_empty()
    });
    until("the script is at work", || {
        let sql = format!(
            "select count(*) from pg_stat_activity where datname like 'etlrs_scratch_{pid}_%' \
             and query like '%pg_sleep(30)%'"
        );
        world.database().admin_psql(&sql).trim() != "0"
    });
    running.kill();
    assert_eq!(scratches(&world, pid).len(), 1);
    world.write("1_t.sql", "create table t (a int);");
    world.run(&["drift"]).expect(0);
    assert!(scratches(&world, pid).is_empty());
}

/// Nobody can write a comment on a database meanwhile: one that is killed as soon as it has made
/// its database has left no mark on it.
#[test]
fn a_drift_killed_just_after_its_database_was_made_is_cleaned_up_by_the_next() {
    let server = Server::start();
    let world = World::on_server(&server).files(&[("1_t.sql", "create table t (a int);")]);
    world.run(&["apply"]).expect(0);
    world.write("1_t.sql", "select pg_sleep(30); create table t (a int);");
    let visitor = world.visitor("begin; lock table pg_shdescription in share mode");
    let running = world.tool(&["drift"]).start();
    let pid = running.pid();
    until("the scratch database is there", || {
        !scratches(&world, pid).is_empty()
    });
    running.kill();
    // Its session would write the comment yet when it could.
    world.database().admin_psql(
        "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'",
    );
    drop(visitor);
    assert_eq!(scratches(&world, pid).len(), 1);
    world.write("1_t.sql", "create table t (a int);");
    world.run(&["drift"]).expect(0);
    assert!(scratches(&world, pid).is_empty());
}

#[test]
fn a_signal_removes_the_scratch_database() {
    let world =
        World::undisturbed(Store::Postgres).files(&[("1_t.sql", "create table t (a int);")]);
    world.run(&["apply"]).expect(0);
    world.write("1_t.sql", "select pg_sleep(30); create table t (a int);");
    let running = world.tool(&["drift"]).start();
    let pid = running.pid();
    until("the scratch database is there", || {
        !scratches(&world, pid).is_empty()
    });
    running.signal("TERM");
    running.finish().expect(143);
    assert!(scratches(&world, pid).is_empty());
}

fn scratches(world: &World<'_>, pid: u32) -> Vec<String> {
    let sql = format!("select datname from pg_database where datname like 'etlrs_scratch_{pid}_%'");
    let found = world.database().admin_psql(&sql);
    found.lines().map(str::to_owned).collect()
}

/// No scratch database of a run that has ended.
#[track_caller]
pub(super) fn nothing_is_left(world: &World<'_>) {
    if !world.url().starts_with("postgres") {
        return;
    }
    let found = world
        .database()
        .admin_psql("select datname from pg_database where datname like 'etlrs_scratch_%'");
    for name in found.lines() {
        let pid = name.split('_').nth(2).unwrap_or_default();
        let alive = std::path::Path::new("/proc").join(pid).exists();
        assert!(alive, "the scratch database {name} is left");
    }
}

on_both!(
    what_was_changed_by_hand_is_named,
    a_dump_is_compared_without_a_scratch_database,
    an_edited_file_and_one_that_does_not_run_are_said,
);
