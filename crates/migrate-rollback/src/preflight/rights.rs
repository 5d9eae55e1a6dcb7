//! Rights that are missing, with the statement that gives them.

use migrate_core::{Finding, ScopeObject};
use migrate_schema::db::{DbError, Postgres};
use migrate_schema::{own, quote};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{tables, touches_schema};

/// What the connected role may not do and a run needs.
pub(super) async fn missing(db: &Postgres, scope: &[ScopeObject]) -> Result<Vec<Finding>, DbError> {
    let schemas = db.users_schemas().await?;
    // None where the search path finds no schema at all.
    let home = schemas.first().map_or("", String::as_str);
    let row = sqlx::query(
        "SELECT current_user::text AS role, current_database()::text AS name, \
                has_database_privilege(current_database(), 'CREATE') AS may_make_schemas, \
                coalesce(has_schema_privilege(to_regnamespace($1), 'CREATE'), false) AS may_use_ours, \
                $2::text AS home, coalesce(has_schema_privilege(to_regnamespace($3), 'CREATE'), false) AS may_make_tables",
    )
    .bind(own::SCHEMA)
    .bind(home)
    .bind(quote::ident(home))
    .fetch_one(&mut *db.acquire().await?)
    .await?;
    let role = quote::ident(&row.try_get::<String, _>("role")?);
    let mut findings = Vec::new();
    if !row.try_get("may_make_schemas")? && !row.try_get("may_use_ours")? {
        let name = quote::ident(&row.try_get::<String, _>("name")?);
        findings.push(lacks(
            "rights.database",
            format!("role {role} may not make a schema in the database {name}, for this tool's own tables"),
            &format!("GRANT CREATE ON DATABASE {name} TO {role};"),
        ));
    }
    if touches_schema(scope) && home.is_empty() {
        let message = "the search path finds no schema: names without one have no place";
        findings.push(Finding::warning("rights.no-schema", message).hint(
            "where the plan's scripts use such names, make a schema of the path \
             (CREATE SCHEMA public), or let the database's owner run: \
             ALTER DATABASE ... SET search_path = ...",
        ));
    } else if touches_schema(scope) && !row.try_get::<bool, _>("may_make_tables")? {
        let home = quote::ident(&row.try_get::<String, _>("home")?);
        findings.push(lacks(
            "rights.schema",
            format!("role {role} may not make tables in the schema {home}"),
            &format!("GRANT CREATE ON SCHEMA {home} TO {role};"),
        ));
    }
    findings.extend(of_tables(db, scope, &role).await?);
    Ok(findings)
}

/// Tables of the plan that the role does not own, or may not read and write.
async fn of_tables(
    db: &Postgres,
    scope: &[ScopeObject],
    role: &str,
) -> Result<Vec<Finding>, DbError> {
    let rows = sqlx::query(
        "SELECT c.oid::regclass::text AS name, r.rolname::text AS owner, r.rolsuper AS supers, \
                pg_has_role(c.relowner, 'USAGE') AS owns, \
                has_table_privilege(c.oid, 'SELECT') AS reads, \
                has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE') AS writes \
         FROM unnest($1::text[]) AS wanted (name) \
         JOIN pg_class c ON c.oid = to_regclass(wanted.name) \
         JOIN pg_roles r ON r.oid = c.relowner ORDER BY 1",
    )
    .bind(tables(db, scope).await?)
    .fetch_all(&mut *db.acquire().await?)
    .await?;
    let findings = rows
        .iter()
        .map(|row| of_table(row, touches_schema(scope), role));
    let findings: Vec<Option<Finding>> = findings.collect::<Result<_, DbError>>()?;
    Ok(findings.into_iter().flatten().collect())
}

fn of_table(row: &PgRow, alters: bool, role: &str) -> Result<Option<Finding>, DbError> {
    let (name, owner): (String, String) = (row.try_get("name")?, row.try_get("owner")?);
    if row.try_get("owns")? {
        return Ok(None);
    }
    if alters {
        let owner = quote::ident(&owner);
        // Membership in a superuser would be far more than the table.
        let statement = if row.try_get("supers")? {
            format!("ALTER TABLE {name} OWNER TO {role};")
        } else {
            format!("GRANT {owner} TO {role};")
        };
        return Ok(Some(lacks(
            "rights.owner",
            format!(
                "table {name} belongs to {owner}, and only its owner may change it; this is {role}"
            ),
            &statement,
        )));
    }
    let (reads, writes): (bool, bool) = (row.try_get("reads")?, row.try_get("writes")?);
    if reads && writes {
        return Ok(None);
    }
    Ok(Some(lacks(
        "rights.table",
        format!("role {role} may not read and write table {name}"),
        &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {role};"),
    )))
}

fn lacks(code: &str, message: String, statement: &str) -> Finding {
    Finding::error(code, message).hint(format!("let its owner or a superuser run: {statement}"))
}

/// What is worth having beside a run.
pub(super) async fn of_the_operator(db: &Postgres) -> Result<Vec<Finding>, DbError> {
    let row = sqlx::query(
        "SELECT rolname::text AS role, rolsuper, rolcreatedb, \
                pg_has_role('pg_read_all_stats', 'USAGE') AS sees, \
                (SELECT count(*) FROM pg_event_trigger) AS event_triggers \
         FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(&mut *db.acquire().await?)
    .await?;
    let role = quote::ident(&row.try_get::<String, _>("role")?);
    let superuser: bool = row.try_get("rolsuper")?;
    let mut findings = Vec::new();
    if !superuser && !row.try_get::<bool, _>("rolcreatedb")? {
        let message = format!(
            "role {role} may not make databases: `backup verify` has no scratch database, and one \
             that is gone can't be made again"
        );
        findings.push(
            Finding::warning("rights.createdb", message)
                .hint(format!("let a superuser run: ALTER ROLE {role} CREATEDB;")),
        );
    }
    if !superuser && !row.try_get::<bool, _>("sees")? {
        let message = format!(
            "role {role} sees neither state nor query of other roles' sessions: writers are named \
             without them"
        );
        findings.push(Finding::warning("rights.statistics", message).hint(format!(
            "let a superuser run: GRANT pg_read_all_stats TO {role};"
        )));
    }
    if !superuser && row.try_get::<i64, _>("event_triggers")? > 0 {
        let message =
            "there are event triggers, which only a superuser can restore: they stay as they are";
        findings.push(Finding::warning("rights.event-triggers", message));
    }
    Ok(findings)
}
