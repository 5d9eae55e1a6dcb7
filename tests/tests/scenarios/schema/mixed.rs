//! A set of migrations of every sort: transactional, statement by statement, CONCURRENTLY.
//!
//! Its rows tell whether anything ran twice.

use migrate_tests::deployment::Store;

const POSTGRES: &[(&str, &str)] = &[
    (
        "1_t.sql",
        "create table t (a int);\ninsert into t select generate_series(1, 200);\n\
         create type m as enum ('x');\n\
         create table p (a int) partition by range (a);\n\
         create table p1 partition of p for values from (1) to (2);",
    ),
    (
        "2_steps.sql",
        "-- no-transaction\n\
         set lock_timeout = '1s';\n\
         create table u (n int);\n\
         create index concurrently t_a on t (a);\n\
         insert into u values (2);\n\
         alter type m add value 'y';",
    ),
    (
        "3_use.sql",
        "create table w (v m default 'y');\ninsert into w default values;",
    ),
    (
        "4_more.sql",
        "-- no-transaction\n\
         drop index concurrently t_a;\n\
         create unique index concurrently t_b on t (a);\n\
         reindex index concurrently t_b;\n\
         vacuum t;\n\
         alter table p detach partition p1 concurrently;\n\
         insert into u values (4);",
    ),
    ("5_end.sql", "create view v as select count(*) from u;"),
];

const SQLITE: &[(&str, &str)] = &[
    (
        "1_t.sql",
        "create table t (a integer);\ninsert into t values (1);",
    ),
    (
        "2_steps.sql",
        "-- no-transaction\n\
         pragma foreign_keys = off;\n\
         create table u (n integer);\n\
         insert into u values (1);\n\
         create index t_a on t (a);\n\
         insert into u values (2);\n\
         vacuum;\n\
         insert into u values (3);",
    ),
    ("3_end.sql", "create view v as select count(*) from u;"),
];

/// The files for a database.
pub(crate) fn set(store: Store) -> &'static [(&'static str, &'static str)] {
    match store {
        Store::Postgres => POSTGRES,
        Store::Sqlite => SQLITE,
    }
}

/// The statements of a set that no transaction can cover, in order.
pub(crate) fn alone(store: Store) -> Vec<&'static str> {
    set(store)
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter(|line| line.contains("concurrently") || line.starts_with("vacuum"))
        .collect()
}
