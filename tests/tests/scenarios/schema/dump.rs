//! The schema as a file: what a reviewer reads and a new database is made of.

use migrate_tests::deployment::Store;

use super::world::World;
use crate::on_both;

fn a_dump_is_sorted_and_loads(store: Store) {
    let world = World::on(store).files(&[(
        "1_t.sql",
        "create table b (id integer primary key, n text not null default 'x');
         create table a (id integer primary key, b integer references b);
         create index a_b on a (b); create view v as select id from a;",
    )]);
    world.run(&["apply"]).expect(0);
    let file = world.source().with_file_name("schema.sql");
    let dump = world.bare(&["dump", "-o", file.to_str().unwrap()]);
    dump.expect(0).says(&["objects written to"]);
    let text = std::fs::read_to_string(&file).unwrap();
    let shown = world.bare(&["dump"]);
    assert_eq!(shown.expect(0).stdout, text);
    assert!(!text.contains("etlrs_schema") && !text.contains("schema_history"));
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    let table = |name: &str| match store {
        Store::Postgres => format!("--@ table public.{name}\n"),
        Store::Sqlite => format!("--@ table {name}\n"),
    };
    assert!(at(&table("a")) < at(&table("b")));

    let second = World::on(store);
    second.sql(&text);
    assert_eq!(second.bare(&["dump"]).expect(0).stdout, text);
}

fn machines_get_it_object_by_object(store: Store) {
    let world = World::on(store);
    world.sql("create table t (a integer); create table u (a integer)");
    let dump = world.bare(&["dump", "--format", "json"]).expect(0).json();
    let objects = dump["objects"].as_array().unwrap();
    let named = |name: &str| {
        let found = objects
            .iter()
            .find(|one| one["name"].as_str().unwrap().ends_with(name));
        found.unwrap()["sql"].as_str().unwrap().to_lowercase()
    };
    assert!(named("t").contains("create table") && named("u").contains("create table"));
}

fn what_is_not_there_is_said_and_nothing_is_written(store: Store) {
    let world = World::on(store);
    let run = world.bare(&["dump", "-o", "/nonexistent-dir/x.sql"]);
    run.expect(1)
        .says(&["/nonexistent-dir/x.sql can't be written"]);
}

on_both!(
    a_dump_is_sorted_and_loads,
    machines_get_it_object_by_object,
    what_is_not_there_is_said_and_nothing_is_written
);
