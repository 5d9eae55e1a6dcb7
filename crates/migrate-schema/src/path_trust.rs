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

/// Functions that an index, a constraint, a generated column or a materialized view calls, and whose
/// text names a function or table of the user's without its schema, as far as that can be seen.
const BY_PATH: &str = r"
WITH named AS MATERIALIZED (
    SELECT proname::text AS name, '\M\s*\(' AS after, '(^|[^.\w$])' AS before
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'etlrs_migrate')
      AND NOT EXISTS (SELECT FROM pg_proc b WHERE b.pronamespace = 'pg_catalog'::regnamespace AND b.proname = p.proname)
    UNION
    SELECT relname::text, '\M', '\m(from|join|into|update|only)\s+'
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'etlrs_migrate')
      AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
),
used AS MATERIALIZED (
    SELECT DISTINCT d.refobjid AS oid FROM pg_depend d
    LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
    LEFT JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
    LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    LEFT JOIN pg_class m ON m.oid = r.ev_class
    WHERE d.refclassid = 'pg_proc'::regclass AND (c.relkind IN ('i', 'I') OR a.attgenerated <> ''
          OR m.relkind = 'm' OR d.classid = 'pg_constraint'::regclass)
)
SELECT p.oid::regprocedure::text, min(named.name)
FROM used JOIN pg_proc p ON p.oid = used.oid JOIN pg_language l ON l.oid = p.prolang
JOIN named ON named.name ~ '^\w+$' AND p.prosrc ~* (named.before || named.name || named.after)
WHERE l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%')
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
GROUP BY p.oid ORDER BY 1";

/// Functions that stored data depends on and that find other objects by the search path, each with
/// such a name; none where only trusted roles decide what names in the path mean.
///
/// # Errors
/// The database's.
pub async fn depends_on(pg: &Postgres) -> Result<Vec<(String, String)>, DbError> {
    if of(pg).await?.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as(BY_PATH)
        .fetch_all(&mut *pg.acquire().await?)
        .await?)
}

/// What [`of`] looks for as a statement for another program's session, which fails where there is something.
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
