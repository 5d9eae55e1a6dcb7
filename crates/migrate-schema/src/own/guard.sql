, ours AS MATERIALIZED (
    SELECT c.* FROM pg_class c WHERE c.relnamespace = to_regnamespace('etlrs_migrate')
)
SELECT format('schema etlrs_migrate belongs to role %s', quote_ident(pg_get_userbyid(n.nspowner)))
FROM pg_namespace n WHERE n.nspname = 'etlrs_migrate' AND n.nspowner NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT format('etlrs_migrate.%I belongs to role %s', c.relname, quote_ident(pg_get_userbyid(c.relowner)))
FROM ours c WHERE c.relowner NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT format('etlrs_migrate.%I is no table of the tool''s', c.relname)
FROM ours c WHERE c.relkind NOT IN ('r', 'p', 'i', 'I', 'S', 't')
UNION ALL
SELECT format('etlrs_migrate.%I has a trigger: %s', c.relname, t.tgname)
FROM ours c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT format('etlrs_migrate.%I has a rule: %s', c.relname, r.rulename)
FROM ours c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE c.relkind IN ('r', 'p')
UNION ALL
SELECT format('etlrs_migrate.%I has row security', c.relname)
FROM ours c WHERE c.relrowsecurity OR c.relforcerowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
UNION ALL
SELECT format('etlrs_migrate.%I is inherited from', c.relname)
FROM ours c JOIN pg_inherits i ON i.inhparent = c.oid
WHERE c.relkind = 'r' AND NOT EXISTS (SELECT FROM ours o WHERE o.oid = i.inhrelid)
UNION ALL
-- Defaults, checks and indexes that call what is not the system's.
SELECT format('etlrs_migrate.%I calls %s', c.relname, d.what)
FROM ours c JOIN (
    SELECT a.adrelid AS relid, p.refobjid::regprocedure::text AS what FROM pg_attrdef a JOIN pg_depend p
        ON p.classid = 'pg_attrdef'::regclass AND p.objid = a.oid AND p.refclassid = 'pg_proc'::regclass
    UNION ALL
    SELECT k.conrelid, p.refobjid::regprocedure::text FROM pg_constraint k JOIN pg_depend p
        ON p.classid = 'pg_constraint'::regclass AND p.objid = k.oid AND p.refclassid = 'pg_proc'::regclass
    UNION ALL
    SELECT i.indrelid, p.refobjid::regprocedure::text FROM pg_index i JOIN pg_depend p
        ON p.classid = 'pg_class'::regclass AND p.objid = i.indexrelid AND p.refclassid = 'pg_proc'::regclass
) d ON d.relid = c.oid
UNION ALL
-- Images of rows have the columns of the user's tables; the tool's own tables have the system's types only.
SELECT format('column etlrs_migrate.%I.%I is of type %s, which belongs to role %s', c.relname, a.attname,
    a.atttypid::regtype, quote_ident(pg_get_userbyid(t.typowner)))
FROM ours c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p') AND c.relname IN ('fence', 'markers', 'runs', 'log', 'schema_history', 'schema_statements')
  AND t.typnamespace <> 'pg_catalog'::regnamespace
ORDER BY 1
