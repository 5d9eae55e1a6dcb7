//! Whether what has the names of our objects is ours, before it is used.
//!
//! Whoever may create in a database can make our schema first, with triggers on our tables: they
//! would run as the role that runs the tool. So the schema and all that is in it must belong to this
//! role or to one that could do anything here anyway, and hold no code.

use crate::db::{Database, DbError, DbErrorKind};

#[cfg(feature = "postgres")]
const QUERY: &str = concat!(
    "WITH RECURSIVE ",
    include_str!("trust.sql"),
    include_str!("guard.sql")
);

/// Refuses to go on where something in the place of our objects is somebody else's. Read-only.
///
/// # Errors
/// What is there and whose it is, with the way out; or the database's.
pub async fn must_be_ours(db: &Database) -> Result<(), DbError> {
    Box::pin(look(db)).await
}

async fn look(db: &Database) -> Result<(), DbError> {
    let strange = match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(pg) => {
            if pg.is_guarded() {
                return Ok(());
            }
            let strange: Vec<String> = sqlx::query_scalar(QUERY)
                .fetch_all(&mut *pg.acquire().await?)
                .await?;
            let there: bool = sqlx::query_scalar("select to_regnamespace($1) is not null")
                .bind(super::SCHEMA)
                .fetch_one(&mut *pg.acquire().await?)
                .await?;
            if strange.is_empty() && there {
                pg.set_guarded();
            }
            strange
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(lite) => sqlite(lite).await?,
    };
    let Some(first) = strange.first() else {
        return Ok(());
    };
    let others = match strange.len() {
        1 => String::new(),
        more => format!(" (and {} more)", more - 1),
    };
    let error = DbError::new(
        DbErrorKind::Other,
        format!(
            "{first}{others}: it is not the tool's own and is not used, because its code would run as this role"
        ),
    );
    // As a detail: not every way to the reader keeps a hint.
    Err(DbError {
        detail: Some(way_out(db).to_owned()),
        ..error
    })
}

/// Refuses to use a table of the guide's where code of another role would run with it.
#[cfg(feature = "postgres")]
pub(crate) async fn must_hold_no_foreign_code(
    connection: &mut sqlx::PgConnection,
    table: &crate::quote::TableName,
) -> Result<(), DbError> {
    const QUERY: &str = concat!(
        "WITH RECURSIVE ",
        include_str!("trust.sql"),
        "SELECT w.what FROM pg_class c CROSS JOIN LATERAL ( \
             SELECT 'a trigger of role ' || quote_ident(pg_get_userbyid(p.proowner)) AS what \
             FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
             WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND p.proowner NOT IN (SELECT oid FROM trusted) \
             UNION ALL SELECT 'owner ' || quote_ident(pg_get_userbyid(c.relowner)) || ', and is no plain table' \
             WHERE c.relowner NOT IN (SELECT oid FROM trusted) AND (c.relkind <> 'r' OR c.relrowsecurity \
                 OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid) \
                 OR EXISTS (SELECT FROM pg_attrdef d JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass \
                     AND p.objid = d.oid AND p.refclassid = 'pg_proc'::regclass WHERE d.adrelid = c.oid) \
                 OR EXISTS (SELECT FROM pg_constraint k JOIN pg_depend p ON p.classid = 'pg_constraint'::regclass \
                     AND p.objid = k.oid AND p.refclassid = 'pg_proc'::regclass WHERE k.conrelid = c.oid)) \
         ) w WHERE c.oid = to_regclass($1)::oid LIMIT 1"
    );
    let found: Option<String> = sqlx::query_scalar(QUERY)
        .bind(table.sql())
        .fetch_optional(connection)
        .await?;
    match found {
        None => Ok(()),
        Some(what) => Err(DbError::new(
            DbErrorKind::Other,
            format!("{table} has {what}: it is not used, because that code would run as this role"),
        )
        .hint("find out who made it; then its owner or a superuser drops or renames it")),
    }
}

fn way_out(db: &Database) -> &'static str {
    match db {
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => {
            "find out who made it; then its owner or a superuser runs: DROP SCHEMA etlrs_migrate CASCADE; \
             if it is the tool's own, made by another operator, ALTER its OWNER to the role of the URL instead"
        }
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => {
            "find out who made it, then drop it: DROP TRIGGER NAME; or DROP VIEW NAME;"
        }
    }
}

#[cfg(feature = "sqlite")]
async fn sqlite(lite: &crate::db::Sqlite) -> Result<Vec<String>, DbError> {
    let mut connection = lite.acquire().await?;
    Ok(sqlx::query_scalar(
        "select case type when 'trigger' then 'table ' || tbl_name || ' has a trigger: ' || name \
                else name || ' is a view' end from sqlite_master \
         where (type = 'trigger' and lower(substr(tbl_name, 1, length(?1))) = ?1) \
            or (type = 'view' and lower(substr(name, 1, length(?1))) = ?1) order by 1",
    )
    .bind(super::SQLITE_PREFIX)
    .fetch_all(&mut *connection)
    .await?)
}
