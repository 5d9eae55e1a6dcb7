, functions AS MATERIALIZED (
    SELECT p.oid, p.oid::regprocedure::text AS name, quote_ident(pg_get_userbyid(p.proowner)) AS owner
    FROM pg_proc p WHERE p.oid >= 16384 AND p.proowner NOT IN (SELECT oid FROM trusted)
),
users AS MATERIALIZED (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'etlrs_migrate')
),
calls AS MATERIALIZED (
    SELECT d.classid, d.objid, f.name, f.owner FROM pg_depend d JOIN functions f
        ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = f.oid
)
SELECT 'trigger', format('trigger %I on %s runs function %s of role %s', t.tgname, t.tgrelid::regclass, f.name, f.owner)
FROM pg_trigger t JOIN functions f ON f.oid = t.tgfoid WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
UNION ALL
SELECT 'trigger', format('event trigger %I runs function %s of role %s', t.evtname, f.name, f.owner)
FROM pg_event_trigger t JOIN functions f ON f.oid = t.evtfoid WHERE t.evtenabled <> 'D'
UNION ALL
SELECT 'trigger', format('event trigger %I belongs to role %s', t.evtname, quote_ident(pg_get_userbyid(t.evtowner)))
FROM pg_event_trigger t WHERE t.evtenabled <> 'D' AND t.evtowner NOT IN (SELECT oid FROM trusted)
  AND NOT EXISTS (SELECT FROM functions f WHERE f.oid = t.evtfoid)
UNION ALL
SELECT 'index', format('index %s calls function %s of role %s', c.objid::regclass, c.name, c.owner)
FROM calls c JOIN pg_class i ON i.oid = c.objid AND i.relkind IN ('i', 'I') WHERE c.classid = 'pg_class'::regclass
UNION ALL
SELECT 'default', format('column %s.%I is computed by function %s of role %s', a.attrelid::regclass, a.attname, c.name, c.owner)
FROM calls c JOIN pg_attrdef d ON d.oid = c.objid JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE c.classid = 'pg_attrdef'::regclass
UNION ALL
SELECT 'constraint', format('constraint %I of %s calls function %s of role %s', k.conname,
    CASE WHEN k.conrelid <> 0 THEN k.conrelid::regclass::text ELSE k.contypid::regtype::text END, c.name, c.owner)
FROM calls c JOIN pg_constraint k ON k.oid = c.objid WHERE c.classid = 'pg_constraint'::regclass
UNION ALL
SELECT 'policy', format('policy %I on %s calls function %s of role %s', p.polname, p.polrelid::regclass, c.name, c.owner)
FROM calls c JOIN pg_policy p ON p.oid = c.objid WHERE c.classid = 'pg_policy'::regclass
UNION ALL
SELECT 'rule', format('%s %s calls function %s of role %s',
    CASE r.rulename WHEN '_RETURN' THEN 'view' ELSE format('rule %I on', r.rulename) END, r.ev_class::regclass, c.name, c.owner)
FROM calls c JOIN pg_rewrite r ON r.oid = c.objid WHERE c.classid = 'pg_rewrite'::regclass
UNION ALL
SELECT 'table', format('%s belongs to role %s, who can have code run when it is read or written', c.oid::regclass,
    quote_ident(pg_get_userbyid(c.relowner)))
FROM pg_class c JOIN users u ON u.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relowner NOT IN (SELECT oid FROM trusted)
UNION ALL
-- Names of built-in ones: scripts that call them unqualified may call these.
SELECT 'shadow', format('%s functions of role %s in schema %I have names of built-in ones (%s%s): scripts that call those may run these',
    count(*), f.owner, u.nspname, min(f.name), CASE WHEN count(*) > 1 THEN ', ...' ELSE '' END)
FROM functions f JOIN pg_proc p ON p.oid = f.oid JOIN users u ON u.oid = p.pronamespace
WHERE u.nspname = ANY ($1) AND EXISTS (SELECT FROM pg_proc b WHERE b.pronamespace = 'pg_catalog'::regnamespace AND b.proname = p.proname)
GROUP BY f.owner, u.nspname
UNION ALL
SELECT 'shadow', format('%s operators of role %s in schema %I have names of built-in ones: scripts that use those may run these',
    count(*), quote_ident(pg_get_userbyid(o.oprowner)), u.nspname)
FROM pg_operator o JOIN users u ON u.oid = o.oprnamespace
WHERE o.oid >= 16384 AND u.nspname = ANY ($1) AND o.oprowner NOT IN (SELECT oid FROM trusted)
  AND EXISTS (SELECT FROM pg_operator b WHERE b.oprnamespace = 'pg_catalog'::regnamespace AND b.oprname = o.oprname)
GROUP BY o.oprowner, u.nspname
UNION ALL
SELECT 'create', format('%s may create objects in schema %I of the search path', CASE a.grantee WHEN 0 THEN 'every role'
    ELSE 'role ' || quote_ident(pg_get_userbyid(a.grantee)) END, u.nspname)
FROM users u JOIN pg_namespace n ON n.oid = u.oid CROSS JOIN LATERAL aclexplode(n.nspacl) a
WHERE u.nspname = ANY ($1) AND a.privilege_type = 'CREATE' AND a.grantee NOT IN (SELECT oid FROM trusted)
ORDER BY 1, 2
