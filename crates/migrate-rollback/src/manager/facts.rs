//! What has to be known of the database round a backup.

#[cfg(feature = "postgres")]
use migrate_core::Finding;
use migrate_schema::db::{Database, DbError};
#[cfg(feature = "postgres")]
use migrate_schema::quote;
use migrate_schema::quote::TableName;

/// What the guide's `schema_versions` says: its highest version, 0 without the table.
pub(super) async fn schema_version(database: &Database) -> Result<i64, DbError> {
    let table = TableName::new(None, "schema_versions");
    if migrate_schema::catalog::table_columns(database, &table)
        .await?
        .is_empty()
    {
        return Ok(0);
    }
    let table = database.resolve(&table).await?;
    let query = format!("SELECT coalesce(max(version), 0) FROM {}", table.sql());
    let highest = database.query_ours(&query).await?;
    Ok(highest.as_i64().unwrap_or(0))
}

/// `15` of `15.6`.
#[cfg(feature = "postgres")]
pub(super) async fn server_major(database: &migrate_schema::db::Postgres) -> Result<u32, DbError> {
    let number: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut *database.acquire().await?)
        .await?;
    Ok(u32::try_from(number / 10_000).unwrap_or(0))
}

/// A warning if there are objects that this role may not drop, and so not restore.
#[cfg(feature = "postgres")]
pub(super) async fn foreign_objects(
    database: &migrate_schema::db::Postgres,
) -> Result<Option<Finding>, DbError> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "WITH mine AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' \
                       AND nspname NOT IN ('information_schema', 'etlrs_migrate')) \
         SELECT name, pg_get_userbyid(owner)::text FROM ( \
             SELECT c.oid, 'pg_class'::regclass AS class, c.oid::regclass::text AS name, relowner AS owner \
             FROM pg_class c WHERE relnamespace IN (SELECT oid FROM mine) AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
             UNION ALL SELECT p.oid, 'pg_proc', p.oid::regprocedure::text, proowner \
             FROM pg_proc p WHERE pronamespace IN (SELECT oid FROM mine) \
             UNION ALL SELECT p.oid, 'pg_publication', 'publication ' || quote_ident(pubname), pubowner \
             FROM pg_publication p WHERE NOT puballtables \
         ) o WHERE NOT pg_has_role(owner, 'USAGE') \
           AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e') \
         ORDER BY name",
    )
    .fetch_all(&mut *database.acquire().await?)
    .await?;
    let Some((first, _)) = found.first() else {
        return Ok(None);
    };
    let mut owners: Vec<String> = found.iter().map(|(_, owner)| quote::ident(owner)).collect();
    owners.sort();
    owners.dedup();
    let role: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(&mut *database.acquire().await?)
        .await?;
    let message = format!(
        "{} objects belong to roles that this one is no member of ({first}{}): \
         a rollback point could not be restored",
        found.len(),
        if found.len() > 1 { ", ..." } else { "" }
    );
    Ok(Some(
        Finding::warning("backup.foreign-owner", message).hint(format!(
            "connect as their owner, or let a superuser run: GRANT {} TO {};",
            owners.join(", "),
            quote::ident(&role)
        )),
    ))
}
