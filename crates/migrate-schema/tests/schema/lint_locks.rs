//! What the lint says of locks and rewrites, against a real PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};

use migrate_schema::db::Backend;
use migrate_schema::layout::{Choice, Layout, MigrationSet, Placeholders, SourceFile};
use migrate_schema::lint::{Chosen, Known, Levels, Work, lint};
use migrate_tests::postgres::TestDatabase;

const TABLES: &str = "create table u (a bigint primary key, b text unique); \
    create table t (a bigint, b varchar(50), c numeric(10,2), d timestamp, e text, f bigint references u (a)); \
    create index old on t (a); create unique index bu on t (b); \
    create table p (a int) partition by range (a); create table p1 partition of p for values from (0) to (10); \
    create table q (a int); create materialized view v as select 1 as a; create unique index vi on v (a); \
    create function tf() returns trigger language plpgsql as 'begin return new; end'; \
    create trigger tr before insert on t for each row execute function tf(); \
    create policy po on t using (true); \
    alter table t add constraint nv check (a > 0) not valid; \
    alter table t add constraint nf foreign key (f) references u (a) not valid; \
    insert into u select n, n::text from generate_series(1, 20) n; \
    insert into t select n, n::text, n, now(), n::text, n from generate_series(1, 20) n;";

/// One of each kind; what they lock is the server's to say.
const STATEMENTS: &[&str] = &[
    "alter table t add column x text",
    "alter table t add column x text default 'x' not null",
    "alter table t add column x timestamptz default now()",
    "alter table t add column x uuid default gen_random_uuid()",
    "alter table t add column x bigserial",
    "alter table t add column x bigint generated always as identity",
    "alter table t add column x bigint generated always as (a * 2) stored",
    "alter table t add column x text unique",
    "alter table t add column x bigint references u (a)",
    "alter table t drop column e",
    "alter table t alter column b type varchar(80)",
    "alter table t alter column b type text",
    "alter table t alter column b type varchar(20)",
    "alter table t alter column a type numeric",
    "alter table t alter column a type integer",
    "alter table t alter column c type numeric(12,2)",
    "alter table t alter column c type numeric(12,4)",
    "alter table t alter column d type timestamp(3)",
    "alter table t alter column d type date",
    "alter table t alter column e type varchar",
    "alter table t alter column e type varchar(10)",
    "alter table t alter column e type text using lower(e)",
    "alter table t alter column a set not null",
    "alter table t alter column a drop not null",
    "alter table t alter column a set default 1",
    "alter table t alter column a set statistics 100",
    "alter table t alter column e set storage external",
    "alter table t add constraint k check (a > 0)",
    "alter table t add constraint k check (a > 0) not valid",
    "alter table t validate constraint nv",
    "alter table t validate constraint nf",
    "alter table t add constraint k foreign key (a) references u (a)",
    "alter table t add constraint k foreign key (a) references u (a) not valid",
    "alter table t add primary key (a)",
    "alter table t add constraint k unique using index bu",
    "alter table t drop constraint nv",
    "alter table t rename column a to z",
    "alter table t rename to z",
    "alter table t set (fillfactor = 50)",
    "alter table t set unlogged",
    "alter table t disable trigger tr",
    "alter table t enable row level security",
    "alter table t replica identity full",
    "alter table t cluster on old",
    "alter table t owner to current_user",
    "alter table t alter constraint t_f_fkey deferrable",
    "alter table p attach partition q for values from (10) to (20)",
    "alter table p detach partition p1",
    "alter table t set schema information_schema",
    "create table n (a bigint references u (a))",
    "create table n partition of p for values from (20) to (30)",
    "create index i on t (a)",
    "drop index old",
    "reindex index old",
    "reindex table t",
    "drop table t",
    "truncate t",
    "insert into t (a) values (1)",
    "update t set a = 1",
    "delete from t",
    "create trigger n before insert on t for each row execute function tf()",
    "drop trigger tr on t",
    "create policy n on t using (true)",
    "alter policy po on t using (false)",
    "drop policy po on t",
    "create rule r as on insert to t do nothing",
    "create statistics s on a, b from t",
    "comment on table t is 'x'",
    "comment on column t.a is 'x'",
    "analyze t",
    "cluster t using old",
    "refresh materialized view v",
    "refresh materialized view concurrently v",
    "lock table t in exclusive mode",
    "lock t",
];

/// The strongest lock on each table, and the tables whose file is another one after.
fn measured(
    database: &TestDatabase<'_>,
    statement: &str,
) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let strength = "array_position(array['AccessShareLock','RowShareLock','RowExclusiveLock','ShareUpdateExclusiveLock','ShareLock','ShareRowExclusiveLock','ExclusiveLock','AccessExclusiveLock'], mode)";
    let files = "select oid, relname, pg_relation_filenode(oid) as file from pg_class where relname in ('t', 'u', 'p', 'p1', 'q', 'v')";
    let sql = format!(
        "create temp table before as {files}; begin; {statement}; \
         select 'lock', b.relname, (array_agg(l.mode order by {strength} desc))[1] from pg_locks l join before b on b.oid = l.relation where l.pid = pg_backend_pid() and l.granted group by 2; \
         select 'file', b.relname, '' from before b where pg_relation_filenode(b.oid) <> b.file; rollback;"
    );
    let (mut locks, mut rewritten) = (BTreeMap::new(), BTreeSet::new());
    for line in database.admin_psql(&sql).lines() {
        let parts: Vec<&str> = line.split('|').collect();
        match parts.as_slice() {
            ["lock", table, mode] => {
                locks.insert((*table).to_owned(), (*mode).to_owned());
            }
            ["file", table, _] => {
                rewritten.insert((*table).to_owned());
            }
            _ => {}
        }
    }
    (locks, rewritten)
}

#[test]
fn the_servers_locks_and_rewrites_are_those_of_the_rules() {
    let database = TestDatabase::create();
    database.admin_psql(TABLES);
    for statement in STATEMENTS {
        let files = [
            SourceFile::new("1_tables.sql", TABLES),
            SourceFile::new("2_x.sql", statement),
        ];
        let set =
            MigrationSet::of_files(&files, Choice::Named(Layout::Sqlx), Backend::Postgres).unwrap();
        let only = Chosen::Files(BTreeSet::from(["2_x.sql".to_owned()]));
        let report = lint(
            &set,
            &only,
            &Known::nothing(Backend::Postgres),
            &Levels::default(),
            &Placeholders::default(),
        );
        let said: Vec<_> = report.locks.into_iter().flat_map(|one| one.locks).collect();
        let (locks, rewritten) = measured(&database, statement);
        for lock in &said {
            let mode = format!("{}Lock", camel(lock.mode.name()));
            assert_eq!(
                locks.get(lock.table.table()),
                Some(&mode),
                "{statement}: the rule says {lock:?}, the server {locks:?}"
            );
            let writes_again = lock.work == Work::Rewrites
                && !statement.starts_with("refresh materialized view concurrently");
            // An empty file in its place is no rewrite of rows.
            let truncates = statement.starts_with("truncate");
            assert_eq!(
                rewritten.contains(lock.table.table()) && !truncates,
                writes_again,
                "{statement}: the rule says {lock:?}, rewritten were {rewritten:?}"
            );
        }
        // Nothing strong is left out, on the table that the statement is about.
        for (table, mode) in &locks {
            let blocks = [
                "ShareLock",
                "ShareRowExclusiveLock",
                "ExclusiveLock",
                "AccessExclusiveLock",
            ];
            let told = said.iter().any(|lock| lock.table.table() == table);
            // What a foreign key or partition drags along is not told where a drop does it.
            let dragged = table == "u"
                && (statement.starts_with("drop")
                    || statement.starts_with("truncate")
                    || statement.contains("alter constraint"));
            assert!(
                told || dragged || !blocks.contains(&mode.as_str()),
                "{statement}: the rule says nothing of {mode} on {table}"
            );
        }
    }
}

/// `ACCESS SHARE` as the server writes it: `AccessShare`.
fn camel(name: &str) -> String {
    let words: Vec<String> = name
        .split(' ')
        .map(|word| word[..1].to_owned() + &word[1..].to_lowercase())
        .collect();
    words.concat()
}
