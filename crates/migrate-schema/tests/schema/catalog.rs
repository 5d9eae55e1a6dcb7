//! Catalogs, facts of tables and fingerprints of real databases.

use std::collections::BTreeSet;

use migrate_schema::catalog::{
    Catalog, row_estimate, table_bytes, table_columns, unique_keys, user_tables,
};
use migrate_schema::db::Database;
use migrate_schema::fingerprint;
use migrate_schema::own;
use migrate_schema::quote::TableName;

use super::place::Place;

async fn postgres() -> (Place, Database) {
    let place = Place::postgres().await;
    let db = place.db.clone();
    (place, db)
}

async fn sqlite() -> (Place, Database) {
    let place = Place::sqlite().await;
    let db = place.db.clone();
    (place, db)
}

fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

pub(crate) const EVERYTHING: &str = r#"
create schema "Odd name";
create type mood as enum ('sad', 'ok');
create type pair as (a int, b text);
create domain positive as int default 1 check (value > 0);
create sequence counter increment 5 cycle maxvalue 100;
create table parent (id int primary key, mood mood not null default 'ok', n positive,
    label text collate "C", twice int generated always as (id * 2) stored,
    who int generated always as identity, unique (label));
create table child (id serial primary key, parent_id int references parent on delete cascade,
    at timestamptz default now(), data jsonb, exclude using gist (int4range(id, id + 1) with &&));
create table "Odd name"."Table" ("a b" int);
create table parted (k int) partition by range (k);
create table parted_1 partition of parted for values from (0) to (10);
create index by_label on parent (lower(label)) where id > 0;
create view seen as select id, label from parent;
create materialized view counted as select count(*) from child;
create function add(a int, b int default 2) returns int language sql begin atomic select a + b; end;
create function touch() returns trigger language plpgsql as $$ begin new.at = now(); return new; end $$;
create procedure nothing() language plpgsql as $$ begin end $$;
create aggregate total (int) (sfunc = int4pl, stype = int, initcond = '0');
create trigger touched before update on child for each row execute function touch();
create rule quiet as on delete to "Odd name"."Table" do instead nothing;
alter table child enable row level security;
create policy own on child for select to public using (id > 0);
create statistics linked on id, parent_id from child;
comment on table parent is 'it''s';
comment on column parent.label is 'shown';
grant select on parent to public;
"#;

#[tokio::test]
async fn the_catalog_of_postgres_holds_every_sort_of_object() {
    let (place, db) = postgres().await;
    place.sql(EVERYTHING);
    own::ensure(&db).await.unwrap();
    let catalog = Catalog::read(&db).await.unwrap();
    let sorts: BTreeSet<&str> = catalog
        .objects()
        .keys()
        .map(|name| name.rsplit_once(' ').unwrap_or((name, "")).0)
        .map(|name| name.split_once(" \"").unwrap_or((name, "")).0)
        .map(|name| name.split_once(" public").unwrap_or((name, "")).0)
        .collect();
    for sort in [
        "aggregate",
        "column",
        "constraint",
        "extension",
        "function",
        "index",
        "materialized view",
        "policy",
        "procedure",
        "rule",
        "schema",
        "sequence",
        "statistics",
        "table",
        "trigger",
        "type",
        "view",
    ] {
        assert!(sorts.contains(sort), "{sort} is not in {sorts:?}");
    }
    assert!(
        !catalog
            .objects()
            .keys()
            .any(|name| name.contains("etlrs_migrate"))
    );
    let objects = catalog.objects();
    assert!(objects["column public.parent.label"].contains("COLLATE \"C\""));
    assert!(objects["column public.parent.label"].contains("IS 'shown'"));
    assert!(objects["type public.mood"].contains("'sad',\n    'ok'"));
    assert!(objects["function public.add(a integer, b integer)"].contains("BEGIN ATOMIC"));
    assert!(objects["sequence public.child_id_seq"].contains("OWNED BY public.child.id"));
}

#[tokio::test]
async fn each_change_of_postgres_is_seen_and_its_way_back_too() {
    let (place, db) = postgres().await;
    place.sql(EVERYTHING);
    let before = Catalog::read(&db).await.unwrap();
    for (there, back, named) in [
        (
            "alter table parent add x int default 3",
            "alter table parent drop x",
            "column public.parent.x",
        ),
        (
            "alter table parent alter label set default 'x'",
            "alter table parent alter label drop default",
            "column public.parent.label",
        ),
        (
            "alter table parent alter mood drop not null",
            "alter table parent alter mood set not null",
            "column public.parent.mood",
        ),
        (
            "alter table child drop constraint child_parent_id_fkey",
            "alter table child add foreign key (parent_id) references parent on delete cascade",
            "constraint public.child.child_parent_id_fkey",
        ),
        (
            "alter table child disable trigger touched",
            "alter table child enable trigger touched",
            "trigger public.child.touched",
        ),
        (
            "create or replace view seen as select id, label, 1 as x from parent",
            "drop view seen; create view seen as select id, label from parent",
            "view public.seen",
        ),
        (
            "create or replace function add(a int, b int default 2) returns int language sql as 'select a'",
            "create or replace function add(a int, b int default 2) returns int language sql begin atomic select a + b; end",
            "function public.add",
        ),
        (
            "alter sequence counter cache 7",
            "alter sequence counter cache 1",
            "sequence public.counter",
        ),
        (
            "comment on table parent is 'other'",
            "comment on table parent is 'it''s'",
            "table public.parent",
        ),
        (
            "grant insert on child to public",
            "revoke insert on child from public",
            "table public.child",
        ),
        (
            "alter table child disable row level security",
            "alter table child enable row level security",
            "table public.child",
        ),
        (
            "alter domain positive drop constraint positive_check",
            "alter domain positive add check (value > 0)",
            "type public.positive",
        ),
        (
            "drop index by_label",
            "create index by_label on parent (lower(label)) where id > 0",
            "index public.by_label",
        ),
        (
            "create type fresh as enum ()",
            "drop type fresh",
            "type public.fresh",
        ),
    ] {
        place.sql(there);
        let differences = before.differences(&Catalog::read(&db).await.unwrap());
        assert!(!differences.is_empty(), "{there} is not seen");
        assert!(
            differences.iter().any(|line| line.starts_with(named)),
            "{there}: {differences:?}"
        );
        place.sql(back);
        let differences = before.differences(&Catalog::read(&db).await.unwrap());
        assert!(differences.is_empty(), "{back}: {differences:?}");
    }
}

#[tokio::test]
async fn the_catalog_of_sqlite_ignores_only_the_quotes_of_a_tables_name() {
    let (_place, db) = sqlite().await;
    for sql in [
        "create table t (a integer primary key autoincrement, b text default 'x')",
        "create index i on t (b)",
        "create view v as select a from t",
        "create trigger g after insert on t begin select 1; end",
    ] {
        db.execute(sql).await.unwrap();
    }
    own::ensure(&db).await.unwrap();
    let before = Catalog::read(&db).await.unwrap();
    let names: Vec<&str> = before.objects().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "application_id",
            "index i",
            "table t",
            "trigger g",
            "user_version",
            "view v"
        ]
    );
    for sql in ["alter table t rename to u", "alter table u rename to t"] {
        db.execute(sql).await.unwrap();
    }
    let renamed = Catalog::read(&db).await.unwrap();
    assert!(
        renamed.objects()["table t"].starts_with("CREATE TABLE \"t\" (a integer"),
        "{renamed:?}"
    );
    assert_eq!(before.objects()["table t"], renamed.objects()["table t"]);

    db.execute("alter table t add c").await.unwrap();
    db.execute("pragma user_version = 3").await.unwrap();
    let differences = before.differences(&Catalog::read(&db).await.unwrap());
    assert!(
        differences
            .iter()
            .any(|line| line.starts_with("table t is")),
        "{differences:?}"
    );
    assert!(
        differences
            .iter()
            .any(|line| line.starts_with("user_version is \"3\""))
    );
}

#[tokio::test]
async fn facts_of_a_table_on_postgres() {
    let (place, db) = postgres().await;
    place.sql(EVERYTHING);
    place.sql("insert into parent (id, label) values (1, 'a'), (2, null)");
    let columns = table_columns(&db, &table("parent")).await.unwrap();
    let shown: Vec<_> = columns
        .iter()
        .map(|c| {
            (
                c.name.as_str(),
                c.type_name.as_str(),
                c.not_null,
                c.generated,
                c.identity_always,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("id", "integer", true, false, false),
            ("mood", "public.mood", true, false, false),
            ("n", "public.positive", false, false, false),
            ("label", "text", false, false, false),
            ("twice", "integer", false, true, false),
            ("who", "integer", true, false, true),
        ]
    );
    assert_eq!(columns[1].default.as_deref(), Some("'ok'::public.mood"));
    assert!(
        table_columns(&db, &table("nowhere"))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        table_columns(&db, &table("Odd name.Table")).await.unwrap()[0].name,
        "a b"
    );
    let keys = unique_keys(&db, &table("public.parent")).await.unwrap();
    assert_eq!(keys.len(), 1, "label can be null: {keys:?}");
    assert!(keys[0].primary && keys[0].columns == ["id"]);
    assert_eq!(row_estimate(&db, &table("parent")).await.unwrap(), 2);
    assert!(table_bytes(&db, &table("parent")).await.unwrap() > 0);
    place.sql("create table big as select g, repeat('x', 500) t from generate_series(1, 150000) g; analyze big");
    let estimate = row_estimate(&db, &table("big")).await.unwrap();
    assert!((140_000..160_000).contains(&estimate), "{estimate}");
    let names: Vec<String> = user_tables(&db)
        .await
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "Odd name.Table",
            "public.big",
            "public.child",
            "public.parent",
            "public.parted"
        ]
    );
}

#[tokio::test]
async fn keys_by_which_a_table_can_be_walked_on_sqlite() {
    let (_place, db) = sqlite().await;
    for (sql, expected) in [
        (
            "create table k1 (id integer primary key, x)",
            vec![("k1", vec!["id"], true)],
        ),
        ("create table k2 (id int primary key, x)", vec![]),
        (
            "create table k3 (id int not null primary key)",
            vec![("sqlite_autoindex_k3_1", vec!["id"], true)],
        ),
        (
            "create table k4 (a, b, primary key (a, b)) without rowid",
            vec![("sqlite_autoindex_k4_1", vec!["a", "b"], true)],
        ),
        (
            "create table k5 (a text not null unique, b text unique)",
            vec![("sqlite_autoindex_k5_1", vec!["a"], false)],
        ),
        (
            "create table k6 (a text not null collate nocase unique)",
            vec![("sqlite_autoindex_k6_1", vec!["a"], false)],
        ),
        ("create table k7 (x)", vec![]),
        (
            "create table k8 (id integer primary key desc not null)",
            vec![("sqlite_autoindex_k8_1", vec!["id"], true)],
        ),
        (
            "create table \"k 9\" (\"i d\" integer primary key)",
            vec![("k 9", vec!["i d"], true)],
        ),
    ] {
        db.execute(sql).await.unwrap();
        let name = sql
            .split(" (")
            .next()
            .unwrap()
            .trim_start_matches("create table ");
        let keys = unique_keys(&db, &table(name)).await.unwrap();
        let shown: Vec<_> = keys
            .iter()
            .map(|key| {
                (
                    key.name.as_str(),
                    key.columns.iter().map(String::as_str).collect::<Vec<_>>(),
                    key.primary,
                )
            })
            .collect();
        assert_eq!(shown, expected, "{sql}");
    }
    db.execute("create table c (a text not null collate nocase, b text not null)")
        .await
        .unwrap();
    db.execute("create unique index c1 on c (a collate binary)")
        .await
        .unwrap();
    db.execute("create unique index c2 on c (b) where b > 'x'")
        .await
        .unwrap();
    db.execute("create unique index c3 on c (lower(b))")
        .await
        .unwrap();
    assert_eq!(unique_keys(&db, &table("c")).await.unwrap(), []);
    db.execute("create unique index c4 on c (b, a)")
        .await
        .unwrap();
    assert_eq!(
        unique_keys(&db, &table("c")).await.unwrap()[0].columns,
        ["b", "a"]
    );
    assert!(table_bytes(&db, &table("c")).await.unwrap() >= 4096);
}

#[tokio::test]
async fn sums_do_not_depend_on_numbers_of_the_catalog() {
    let (_place, db) = postgres().await;
    let make = "create type mood as enum ('sad', 'ok');
        create domain feeling as mood;
        create type pair as (a int, f feeling);
        create table kept (id int);
        create table m (one mood, many mood[], inside pair, of regclass);
        insert into m values ('ok', '{sad,ok}', '(1,sad)', 'kept')";
    let drop = "drop table m, kept; drop type pair; drop domain feeling; drop type mood";
    let run = async |script: &str| {
        for sql in script.split(';') {
            db.execute(sql).await.unwrap();
        }
    };
    run(make).await;
    let first = sum(&db, "m").await;
    run(drop).await;
    run(make).await;
    assert_eq!(sum(&db, "m").await, first);
    run("update m set many = '{ok,sad}'").await;
    assert_ne!(sum(&db, "m").await, first);
}

async fn sum(db: &Database, name: &str) -> fingerprint::TableSum {
    fingerprint::table(db, &table(name)).await.unwrap()
}

async fn sums_tell_rows_apart(db: &Database) {
    for sql in [
        "create table a (id int, t text)",
        "create table b (id int, t text)",
        "insert into a values (1, 'x'), (2, null), (3, ''), (3, '')",
        "insert into b values (3, ''), (2, null), (3, ''), (1, 'x')",
    ] {
        db.execute(sql).await.unwrap();
    }
    let first = sum(db, "a").await;
    assert_eq!(first.rows, 4);
    assert_eq!(first.sum.len(), 32);
    assert_eq!(first, sum(db, "b").await);
    for (there, back) in [
        (
            "update a set t = 'y' where id = 1",
            "update a set t = 'x' where id = 1",
        ),
        (
            "update a set t = '' where id = 2",
            "update a set t = null where id = 2",
        ),
        (
            "update a set t = null where id = 3",
            "update a set t = '' where id = 3",
        ),
        (
            "delete from a where id = 3",
            "insert into a values (3, ''), (3, '')",
        ),
        ("alter table a add c int", "alter table a drop c"),
    ] {
        db.execute(there).await.unwrap();
        assert_ne!(sum(db, "a").await, first, "{there} on {}", db.backend());
        db.execute(back).await.unwrap();
        assert_eq!(sum(db, "a").await, first, "{back}");
    }
    assert!(fingerprint::table(db, &table("nowhere")).await.is_err());
    let before = fingerprint::database(db).await.unwrap();
    own::ensure(db).await.unwrap();
    assert_eq!(fingerprint::database(db).await.unwrap(), before);
    db.execute("insert into a values (9, 'z')").await.unwrap();
    let differences = before.differences(&fingerprint::database(db).await.unwrap());
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].contains("a: 4 "), "{differences:?}");
}

#[tokio::test]
async fn sums_of_rows_tell_every_change() {
    let (_place, db) = sqlite().await;
    sums_tell_rows_apart(&db).await;
    let (_place, db) = postgres().await;
    sums_tell_rows_apart(&db).await;
}

#[tokio::test]
async fn storage_classes_and_nuls_of_sqlite_are_told_apart() {
    let (_place, db) = sqlite().await;
    db.execute("create table t (v)").await.unwrap();
    let mut seen = BTreeSet::new();
    let values = [
        "1",
        "'1'",
        "x'31'",
        "1.0",
        "null",
        "'NULL'",
        "'a'||char(0)||'b'",
        "'a'||char(0)||'c'",
        "'a'",
        "1e300",
        "0.1+0.2",
        "0.3",
    ];
    for value in values {
        db.execute("delete from t").await.unwrap();
        db.execute(&format!("insert into t values ({value})"))
            .await
            .unwrap();
        seen.insert(sum(&db, "t").await.sum);
    }
    assert_eq!(seen.len(), values.len());
}

#[tokio::test]
async fn types_without_a_hash_and_partitions_are_summed_too() {
    let (place, db) = postgres().await;
    place.sql(
        "create table j (a json, p point); insert into j values ('{\"x\": 1}', '(1,2)'), (null, null);
         create table part (k int) partition by range (k);
         create table part_1 partition of part for values from (0) to (10);
         insert into part values (1), (2);
         create table up (a int); create table down () inherits (up);
         insert into up values (1); insert into down values (2)",
    );
    let first = sum(&db, "j").await;
    assert_eq!(first.rows, 2);
    place.sql("update j set a = '{\"x\":1}' where a is not null");
    assert_ne!(sum(&db, "j").await, first);
    assert_eq!(sum(&db, "part").await.rows, 2);
    place.sql("create table t (t text, q json, n int); insert into t values ('x', '1', 1)");
    let first = sum(&db, "t").await;
    place.sql("update t set n = 2");
    assert_ne!(
        sum(&db, "t").await,
        first,
        "a column called t hides no other"
    );
    place.sql("update t set n = 1");
    assert_eq!(sum(&db, "t").await, first);
    assert_eq!(sum(&db, "up").await.rows, 1);
}
