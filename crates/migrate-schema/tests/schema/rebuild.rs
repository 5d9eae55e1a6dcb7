//! Tables of SQLite that are rebuilt, with what users added to them.

use migrate_core::{Readiness, Undoable};
use migrate_schema::fingerprint;
use serde_json::json;

use super::place::{Place, Scripts, Update, V1, before, value};

#[tokio::test]
async fn what_users_added_to_sqlite_survives_the_rebuild_and_the_way_back() {
    let place = Place::sqlite().await;
    place.sql(
        "pragma foreign_keys = on;
         create table owners (id integer primary key);
         insert into owners values (1), (2);
         CREATE  TABLE pipelines (
           id integer primary key autoincrement, -- kept, as it stands
           name text not null collate nocase, config text not null, status text not null,
           owner integer references owners(id) on delete set null,
           loud text generated always as (upper(name)) stored, quiet text as (lower(name)),
           parent integer references pipelines(id), \"odd \"\"name\" blob default (x'00'),
           check (id <> 13), unique (name));
         insert into pipelines (id, name, config, status, owner, parent, \"odd \"\"name\")
           values (1, 'A', '{}', 'on', 1, null, null), (5, 'b', '{}', 'off', null, 1, x'ff'), (900, 'c', '{}', 'on', 2, 5, 'text');
         delete from pipelines where id = 900;
         create table children (id integer primary key, pipeline integer not null references pipelines(id) on delete cascade);
         insert into children values (1, 1), (2, 5);
         create index by_expression on pipelines (lower(status), owner desc) where owner is not null;
         create unique index by_status on pipelines (status, id);
         create view busy as select id, loud from pipelines where status = 'on';
         create table log (what text);
         create trigger noted after update of status on pipelines begin insert into log values (case when new.status = 'x' then 'end;' else 'b' end); end;
         create trigger seen instead of update on busy begin update pipelines set status = 'on' where id = new.id; end;
         create trigger other after insert on children begin update pipelines set status = status where id = new.pipeline; end;
         create table orphan (id integer references pipelines(id));
         pragma foreign_keys = off; insert into orphan values (12345); pragma foreign_keys = on;
         create table plain (a, b); insert into plain(rowid, a, b) values (7, 1, 2), (3, 3, 4);
         create table clustered (k text primary key, v) without rowid; insert into clustered values ('x', 1);
         create table strict_one (a integer, t text not null) strict; insert into strict_one values (1, 'x');
         analyze;",
    );
    let facts = "select (select group_concat(stat, ';') from (select stat from sqlite_stat1 order by tbl, idx)),
                        (select seq from sqlite_sequence where name = 'pipelines'),
                        (select group_concat(rowid || ':' || a) from plain),
                        (select count(*) from children), (select count(*) from log)";
    let old_facts = value(&place.db, facts).await;
    let old = before(&place).await;
    let script = Scripts::from([(
        "002_more.sql",
        "alter table pipelines add column created_at timestamp default current_timestamp;
         alter table plain add column at text default (date('now'));
         alter table clustered add column at default current_date;
         alter table strict_one add column at text not null default current_timestamp;
         alter table \"children\" add n integer default (1 + 1);",
    )]);
    let update = Update::new(&place, script, &json!({"script": "002_more.sql"})).unwrap();
    for _ in 0..2 {
        assert_eq!(update.check().await, Readiness::Ready);
        let receipt = update.prepare().await;
        update.run(&receipt).await.unwrap();
        assert_eq!(value(&place.db, facts).await, old_facts);
        let now = fingerprint::database(&place.db).await.unwrap();
        let changed = old.differences(&now);
        assert!(
            changed.iter().all(|line| [
                "pipelines",
                "plain",
                "clustered",
                "strict_one",
                "children",
                "schema_versions"
            ]
            .iter()
            .any(|name| line.starts_with(&format!("catalog table {name}:"))
                || line.starts_with(&format!("rows {name}:")))),
            "{changed:?}"
        );
        assert_eq!(
            value(
                &place.db,
                "select count(*) from pipelines where created_at is null"
            )
            .await,
            json!(0)
        );
        assert_eq!(
            value(&place.db, "select n, count(*) from children group by n").await,
            json!([2, 2])
        );
        assert_eq!(place.sql("pragma integrity_check"), "ok");
        assert_eq!(
            place.sql("select \"table\" from pragma_foreign_key_check"),
            "orphan"
        );
        // References still name the table, and cascades still work.
        assert_eq!(
            place.sql("pragma foreign_keys = on; begin; delete from pipelines where id = 1 or parent = 1; select count(*) from children; rollback"),
            "0"
        );
        assert_eq!(
            value(&place.db, "pragma foreign_key_list(children)")
                .await
                .as_array()
                .unwrap()[2],
            json!("pipelines")
        );

        let report = update.undo(&receipt).await.unwrap();
        assert!(report.left.is_empty());
        assert_eq!(old.differences(&before(&place).await), Vec::<String>::new());
        assert_eq!(value(&place.db, facts).await, old_facts);
        let text = place.sql("select sql from sqlite_master where name = 'pipelines'");
        assert!(
            text.starts_with("CREATE TABLE pipelines (") && text.contains("-- kept, as it stands"),
            "{text}"
        );
    }
    for _ in 0..8 {
        assert_eq!(
            value(&place.db, "select * from pragma_foreign_keys").await,
            json!(1)
        );
        assert_eq!(
            value(&place.db, "select * from pragma_legacy_alter_table").await,
            json!(0)
        );
    }
}

#[tokio::test]
async fn a_rebuild_does_not_hide_a_broken_reference() {
    let place = Place::sqlite().await;
    place.sql(V1);
    place.sql("create table kids (id integer primary key, p integer references pipelines(id) on delete cascade); insert into kids values (1, 70)");
    let old = before(&place).await;
    let scripts = Scripts::from([(
        "9.sql",
        "alter table pipelines add a default current_timestamp; delete from pipelines where id = 70;",
    )]);
    let update = Update::new(&place, scripts, &json!({"script": "9.sql"})).unwrap();
    let receipt = update.prepare().await;
    let error = update.run(&receipt).await.unwrap_err();
    assert!(
        error
            .message
            .contains("table kids, rowid 1, refers to a missing row of pipelines"),
        "{error}"
    );
    assert_eq!(before(&place).await, old);
}

#[tokio::test]
async fn a_script_that_rebuilds_by_hand_keeps_the_children() {
    let place = Place::sqlite().await;
    place.sql(V1);
    place.sql("create table kids (id integer primary key, p integer references pipelines(id) on delete cascade); insert into kids values (1, 70)");
    let scripts = Scripts::from([(
        "10_prisma.sql",
        "PRAGMA defer_foreign_keys=ON;\nPRAGMA foreign_keys=OFF;\n\
         CREATE TABLE new_pipelines (id integer primary key, name text, config text, status text, extra text);\n\
         INSERT INTO new_pipelines (id, name, config, status) SELECT id, name, config, status FROM pipelines;\n\
         DROP TABLE pipelines;\nALTER TABLE new_pipelines RENAME TO pipelines;\nPRAGMA foreign_keys=ON;\n",
    )]);
    let update = Update::new(&place, scripts, &json!({"script": "10_prisma.sql"})).unwrap();
    assert_eq!(update.step.describe().undo, Undoable::No);
    let receipt = update.prepare().await;
    update.run(&receipt).await.unwrap();
    assert_eq!(
        value(&place.db, "select count(*) from kids").await,
        json!(1)
    );
    assert_eq!(
        value(&place.db, "select count(extra), count(*) from pipelines").await,
        json!([0, 3])
    );
    assert_eq!(
        place.sql("select count(*) from pragma_foreign_key_check"),
        "0"
    );
}
