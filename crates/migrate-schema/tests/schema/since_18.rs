//! What newer releases of PostgreSQL brought; on older ones the same tests ask for what they have.

use migrate_schema::catalog::{table_columns, unique_keys};
use migrate_schema::quote::TableName;

use super::place::Place;

/// What PostgreSQL 18 brought: NOT NULL as a constraint of its own, computed columns that are not
/// stored, constraints that are not enforced, keys over time.
pub(crate) const SINCE_18: &str = "
create table late (a int, b int, twice int generated always as (a * 2) virtual,
    constraint b_there not null b no inherit);
alter table late add constraint a_there not null a not valid;
alter table late add constraint a_big check (a > 0) not enforced;
comment on constraint a_there on late is 'not yet';
create table spans_of (k int4range, during daterange,
    constraint spans_key primary key (k, during without overlaps));
create table in_span (k int4range, during daterange,
    foreign key (k, period during) references spans_of (k, period during));
alter table uses add constraint free foreign key (id) references parent not enforced;
create publication computed for table late with (publish_generated_columns = stored);
";

#[tokio::test]
async fn a_column_that_may_still_hold_nulls_is_no_key() {
    let place = Place::postgres().await;
    let key: TableName = "k".parse().unwrap();
    place.sql("create table k (a int); insert into k values (null); create unique index on k (a)");
    let validate = if place.major() >= 18 {
        place.sql("alter table k add constraint there not null a not valid");
        "alter table k validate constraint there"
    } else {
        "alter table k alter a set not null"
    };
    assert!(!table_columns(&place.db, &key).await.unwrap()[0].not_null);
    assert_eq!(unique_keys(&place.db, &key).await.unwrap(), []);
    place.sql("delete from k");
    place.sql(validate);
    assert!(table_columns(&place.db, &key).await.unwrap()[0].not_null);
    assert_eq!(unique_keys(&place.db, &key).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_computed_column_is_known_stored_or_not() {
    let place = Place::postgres().await;
    place.sql("create table c (a int, s int generated always as (a + 1) stored)");
    if place.major() >= 18 {
        place.sql("alter table c add v int generated always as (a + 2) virtual");
    }
    let columns = table_columns(&place.db, &"c".parse().unwrap()).await;
    let computed = columns.unwrap().into_iter().map(|one| one.generated);
    let expected = if place.major() >= 18 { 3 } else { 2 };
    assert_eq!(
        computed.collect::<Vec<_>>(),
        [false, true, true][..expected]
    );
}
