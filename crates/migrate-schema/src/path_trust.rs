//! Whether only trusted roles decide what a name in the user's search path means.

use sqlx::AssertSqlSafe;

use crate::db::{DbError, Postgres};
use crate::quote::literal;

/// What in some schemas belongs to a role that is not trusted, and who else may make something
/// there, a line each. `@schemas@` is an array of their names.
const QUERY: &str = concat!(
    "WITH RECURSIVE ",
    include_str!("own/trust.sql"),
    r"
, path AS (SELECT * FROM pg_namespace WHERE nspname = ANY (@schemas@) AND nspname !~ '^pg_')
SELECT format('schema %I belongs to role %s', nspname, quote_ident(pg_get_userbyid(nspowner))) AS what
FROM path WHERE nspowner NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT format('%s may create objects in schema %I', CASE a.grantee WHEN 0 THEN 'every role'
    ELSE 'role ' || quote_ident(pg_get_userbyid(a.grantee)) END, nspname)
FROM path CROSS JOIN LATERAL aclexplode(nspacl) a
WHERE a.privilege_type = 'CREATE' AND a.grantee NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT DISTINCT format('something in schema %I belongs to role %s', p.nspname, quote_ident(pg_get_userbyid(o.owner)))
FROM path p JOIN (
    SELECT pronamespace, proowner FROM pg_proc UNION ALL SELECT oprnamespace, oprowner FROM pg_operator
    UNION ALL SELECT typnamespace, typowner FROM pg_type UNION ALL SELECT relnamespace, relowner FROM pg_class
) o (schema, owner) ON o.schema = p.oid
WHERE o.owner NOT IN (SELECT oid FROM trusted)"
);

/// Who that is not trusted has a say in what names of the user's search path mean, a line each.
///
/// # Errors
/// The database's.
pub async fn of(pg: &Postgres) -> Result<Vec<String>, DbError> {
    let schemas = pg.users_schemas().await?;
    let names: Vec<String> = schemas.iter().map(|name| literal(name)).collect();
    let query = QUERY.replace("@schemas@", &format!("ARRAY[{}]::text[]", names.join(", ")));
    let mut connection = pg.acquire().await?;
    Ok(sqlx::query_scalar(AssertSqlSafe(query))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await?)
}

/// The same as a statement for another program's session, which fails where there is something.
/// `path` is the search path; afterwards it is empty.
pub fn check(path: &str) -> String {
    let query = QUERY.replace(
        "@schemas@",
        "current_setting('etlrs_migrate.schemas')::text[]",
    );
    let path = literal(path);
    format!(
        r"
SELECT pg_catalog.set_config('search_path', {path}, true);
SELECT pg_catalog.set_config('etlrs_migrate.schemas', pg_catalog.current_schemas(false)::pg_catalog.text, true);
SELECT pg_catalog.set_config('search_path', '', true);
DO $etlrs$
DECLARE
    found text;
BEGIN
    SELECT string_agg(what, '; ') INTO found FROM ({query}) q;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'names without a schema are not looked up in the search path: %', found;
    END IF;
END $etlrs$;
"
    )
}
