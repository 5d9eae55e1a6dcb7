//! What can't all be one transaction.

use migrate_tests::binary;
use migrate_tests::deployment::Store;

use super::world::World;
use crate::on_both;

#[test]
fn a_new_enum_value_can_be_used_by_the_next_migration_and_in_the_same_file() {
    let world = World::postgres().files(&[
        ("1_mood.sql", "create type mood as enum ('sad');\ncreate table p (m mood);"),
        ("2_more.sql", "alter type mood add value 'ok';"),
        ("3_use.sql", "insert into p values ('ok');"),
        (
            "4_both.sql",
            "alter type mood add value 'glad';\ninsert into p values ('glad');\ncreate table q (m mood default 'glad');",
        ),
    ]);
    world
        .run(&["apply"])
        .expect(0)
        .says(&["4 applied in 3 transactions"]);
    assert_eq!(
        world.sql("select string_agg(m::text, ' ' order by m) from p"),
        "ok glad"
    );
}

#[test]
fn pending_triggers_of_the_migration_before_split_the_batch() {
    let world = World::postgres().files(&[
        (
            "1_t.sql",
            "create table a (id int primary key);\n\
             create table b (a int references a deferrable initially deferred);",
        ),
        (
            "2_rows.sql",
            "insert into a values (1); insert into b values (1);",
        ),
        ("3_alter.sql", "alter table b add column c int;"),
    ]);
    // Each by itself runs in every tool; in one transaction PostgreSQL refuses the third.
    world.run(&["apply"]).expect(0).says(&[
        "3 applied in 2 transactions",
        "needs a transaction of its own",
    ]);
}

#[test]
fn what_a_script_sets_for_the_session_ends_with_it() {
    let world = World::postgres().files(&[
        (
            "1_dump.sql",
            "set check_function_bodies = false;\n\
             select pg_catalog.set_config('search_path', '', false);\n\
             set statement_timeout = '1ms'; set statement_timeout = 0;\n\
             create table public.t (a int);",
        ),
        ("2_next.sql", "create table u (a int);"),
    ]);
    world
        .run(&["apply"])
        .expect(0)
        .says(&["2 applied in one transaction"]);
    world.sql("select from public.u");
}

fn statements_marked_so_run_one_by_one_and_go_on_after_a_failure(store: Store) {
    let world = World::on(store).files(&[(
        "1_t.sql",
        "-- no-transaction\n\
         create table t (a integer);\n\
         insert into t values (1);\n\
         insert into nowhere values (1);\n\
         insert into t values (3);\n",
    )]);
    world.run(&["apply"]).expect(4).says(&[
        "1_t.sql:4:",
        "stopped between two of its statements",
        "the next `schema apply` goes on there",
    ]);
    assert_eq!(world.states(&[]), ["1_t.sql half done"]);
    world.run(&["apply"]).expect(4);
    assert_eq!(
        world.sql("select count(*) from t"),
        "1",
        "nothing ran twice"
    );
    // The statements that ran can't be edited now.
    world.write(
        "1_t.sql",
        "-- no-transaction\ncreate table t (a integer, b integer);\n",
    );
    world.run(&["apply"]).expect(4).says(&["was edited after"]);
    world.write(
        "1_t.sql",
        "-- no-transaction\n\
         create table t (a integer);\n\
         insert into t values (1);\n\
         insert into t values (2);\n\
         insert into t values (3);\n",
    );
    world.run(&["apply"]).expect(0);
    assert_eq!(world.sql("select count(*) from t"), "3");
    assert_eq!(world.states(&[]), ["1_t.sql applied"]);
}

fn a_way_back_that_stopped_is_gone_on_with(store: Store) {
    let world = World::on(store).files(&[
        (
            "1_t.sql",
            "create table t (a integer);\ncreate table u (a integer);",
        ),
        (
            "1_t.down.sql",
            "-- no-transaction\ndrop table u;\ndrop table nowhere;\ndrop table t;",
        ),
    ]);
    let empty = world.snapshot();
    world.run(&["apply"]).expect(0);
    world
        .run(&["down", "--yes"])
        .expect(4)
        .says(&["1_t.down.sql:3:", "the next `schema down` goes on there"]);
    // Forward again would run everything over what is left.
    world
        .run(&["apply"])
        .expect(1)
        .says(&["taking 1 t back stopped", "schema down"]);
    world.sql("create table nowhere (a integer)");
    world.run(&["down", "--yes"]).expect(0);
    assert_eq!(world.snapshot(), empty);
    world.run(&["apply"]).expect(0);
}

#[test]
fn rebuilt_tables_keep_the_rows_that_refer_to_them() {
    let world = World::sqlite().files(&[
        (
            "1_t.sql",
            "create table parent (id integer primary key, a);\n\
             create table child (p references parent on delete cascade);\n\
             create view v as select a from parent;\n\
             create table log (n);\n\
             create trigger tr after insert on child begin insert into log values (new.p); end;\n\
             insert into parent values (1, 'x');\n\
             insert into child values (1);",
        ),
        (
            "2_rebuild.sql",
            "create table new_parent (id integer primary key, a text not null);\n\
             insert into new_parent select * from parent;\n\
             drop view v;\n\
             drop table parent;\n\
             alter table new_parent rename to parent;\n\
             create view v as select a from parent;",
        ),
        (
            "3_pragma.sql",
            "PRAGMA foreign_keys = OFF;\n\
             begin;\n\
             create table n (p integer references parent on delete cascade, q);\n\
             insert into n (p) select p from child;\n\
             drop table child;\n\
             alter table n rename to child;\n\
             commit;\n\
             PRAGMA foreign_keys = ON;",
        ),
    ]);
    world.run(&["apply"]).expect(0);
    assert_eq!(world.sql("select p from child"), "1");
    assert_eq!(world.sql("select n from log"), "1");
    assert_eq!(world.sql("select a from v"), "x");
    assert!(
        world
            .sql("select sql from sqlite_master where name = 'child'")
            .contains("references parent")
    );
}

#[test]
fn a_rebuild_that_loses_a_parent_is_taken_back() {
    let world = World::sqlite().files(&[(
        "1_t.sql",
        "create table parent (id integer primary key);\n\
         create table child (p references parent);\n\
         insert into parent values (1); insert into child values (1);",
    )]);
    world.run(&["apply"]).expect(0);
    let before = world.snapshot();
    world.write(
        "2_rebuild.sql",
        "create table n (id integer primary key);\n\
         drop table parent;\n\
         alter table n rename to parent;",
    );
    world
        .run(&["apply"])
        .expect(3)
        .says(&["a foreign key is violated: table child"]);
    assert_eq!(world.snapshot(), before);
}

#[test]
fn both_journal_modes_stay_as_they_are() {
    for mode in ["wal", "delete"] {
        let world = World::sqlite().files(&[("1_t.sql", "create table t (a);")]);
        world.sql(&format!("pragma journal_mode = {mode}"));
        world.run(&["apply"]).expect(0);
        assert_eq!(world.sql("pragma journal_mode"), mode);
    }
}

#[test]
fn a_writer_of_sqlite_is_waited_for() {
    let world = World::sqlite().files(&[("1_t.sql", "create table t (a);")]);
    let file = world.file();
    let mut writer = std::process::Command::new("sqlite3")
        .arg(&file)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    {
        use std::io::Write as _;
        let stdin = writer.stdin.as_mut().unwrap();
        writeln!(
            stdin,
            "create table w (a);\nbegin immediate;\ninsert into w values (1);"
        )
        .unwrap();
        stdin.flush().unwrap();
    }
    super::world::until("the writer holds the file", || {
        std::process::Command::new("sqlite3")
            .arg(&file)
            .arg("begin immediate")
            .output()
            .unwrap()
            .status
            .code()
            != Some(0)
    });
    let mut run = world.tool(&["apply"]).start();
    assert!(run.is_running());
    {
        use std::io::Write as _;
        writeln!(writer.stdin.take().unwrap(), "commit;").unwrap();
    }
    writer.wait().unwrap();
    run.finish().expect(0);
    assert_eq!(world.sql("select count(*) from w"), "1");
}

/// An answer that the driver can't read, or a connection that breaks, says nothing of what a
/// commit came to: the history does.
#[test]
fn a_commit_that_meets_an_error_is_looked_up() {
    let world = World::postgres().files(&[(
        "1_t.sql",
        "create table t (a integer);\nlisten x;\nnotify x;",
    )]);
    world.run(&["apply"]).expect(0);
    assert_eq!(world.states(&[]), ["1_t.sql applied"]);
    world.write("2_u.sql", "create table u (a integer);");
    let mut run = world
        .tool_of(binary::failpoints(), &["apply"])
        .env("ETLRS_FAILPOINT", "apply.commit:stop:1")
        .start();
    assert!(run.is_stopped(), "it never came to its commit");
    let ended = world.sql(
        "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity \
         where datname = current_database() and state = 'idle in transaction'",
    );
    assert_eq!(ended, "1");
    run.signal("CONT");
    run.finish().expect(3).says(&["nothing was changed"]);
    assert_eq!(world.states(&[]), ["1_t.sql applied", "2_u.sql pending"]);
    world.run(&["apply"]).expect(0);
}

/// The batches of a run share a session; nothing that a script leaves in it is there for the next.
#[test]
fn what_a_script_leaves_in_its_session_is_gone_for_the_next() {
    let world = World::postgres().files(&[
        (
            "1_t.sql",
            "-- no-transaction\ncreate schema s;\nset statement_timeout = '7s';\n\
             create temp table tmp (a integer);\nprepare p as select 1;\nselect pg_advisory_lock(42);\n\
             do $$ begin perform set_config('search_path', 's', false); end $$;\n\
             set session characteristics as transaction read only;",
        ),
        (
            "2_u.sql",
            "create table u (a integer);\n\
             do $$ begin\n\
               if to_regclass('pg_temp.tmp') is not null then raise exception 'a temporary table'; end if;\n\
               if exists (select from pg_prepared_statements where from_sql) then raise exception 'a statement'; end if;\n\
               if exists (select from pg_locks where locktype = 'advisory' and objid = 42) then raise exception 'a lock'; end if;\n\
               if current_setting('search_path') = 's' then raise exception 'a path'; end if;\n\
               if current_setting('statement_timeout') = '7s' then raise exception 'a limit'; end if;\n\
             end $$;",
        ),
        ("3_v.sql", "-- no-transaction\ncreate table v (a integer);"),
    ]);
    world.run(&["apply"]).expect(0).says(&["3 applied"]);
    world.sql("select a from public.u; select a from public.v");
}

on_both!(
    statements_marked_so_run_one_by_one_and_go_on_after_a_failure,
    a_way_back_that_stopped_is_gone_on_with,
);
