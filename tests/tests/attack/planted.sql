-- Run by the intruder, who may create in the schema. @words@ are the words that the tool's sources call.
SET search_path = pg_catalog;
CREATE TEMP TABLE word AS SELECT unnest(string_to_array('@words@', ','))::text AS name;

CREATE TEMP TABLE planted (kind text, name text, arguments text, result text);

-- A line in the log, and a value of the type that is asked for.
CREATE FUNCTION @schema@.planted_note(what text) RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN
    RAISE LOG 'ATTACK in % as %: @schema@.%', pg_catalog.current_database(), current_user, what;
    RETURN true;
END $f$;
GRANT EXECUTE ON FUNCTION @schema@.planted_note(text) TO PUBLIC;

-- With arguments that fit better than those of the system's, and with the very same ones.
INSERT INTO planted
WITH same(name, number, result) AS (
    SELECT p.proname::text, p.pronargs, min(format_type(p.prorettype, null)) FILTER (WHERE t.typtype <> 'p')
    FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype JOIN word w ON w.name = p.proname
    WHERE p.pronamespace = 'pg_catalog'::regnamespace GROUP BY 1, 2
),
numbers AS (
    SELECT name, number, coalesce(result, 'text') AS result FROM same
    UNION SELECT p.proname::text, n, min(format_type(p.prorettype, null)) FROM pg_proc p JOIN word w ON w.name = p.proname
        CROSS JOIN generate_series(1, 4) n
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.provariadic <> 0 GROUP BY 1, 2
),
arguments(number, list) AS (
    SELECT 1, unnest(array['text', 'varchar', 'name', 'int', 'bigint', 'oid', 'regclass', 'json', 'jsonb', 'boolean',
        'record', 'timestamptz', 'float8', 'text[]', 'numeric', 'int[]'])
    UNION ALL SELECT 2, unnest(array['text,text', 'text,int', 'text,varchar', 'varchar,varchar', 'varchar,int', 'varchar,text',
        'name,text', 'name,name', 'bigint,int', 'int,bigint', 'int,int', 'oid,text', 'oid,int', 'oid,boolean', 'record,int',
        'record,bigint', 'json,json', 'json,text', 'jsonb,text', 'text[],text', 'text,boolean', 'regclass,text'])
    UNION ALL SELECT 3, unnest(array['text,text,text', 'text,text,boolean', 'text,int,int', 'varchar,varchar,varchar',
        'name,text,text', 'oid,text,text', 'text,text,varchar', 'text,name,text', 'text,varchar,boolean', 'name,name,name'])
    UNION ALL SELECT 4, unnest(array['text,text,text,text', 'varchar,text,text,text'])
)
SELECT 'function', n.name, a.list, CASE WHEN n.result LIKE 'any%' THEN 'text' ELSE n.result END
FROM numbers n JOIN arguments a USING (number)
UNION
SELECT 'function', p.proname::text, replace(oidvectortypes(p.proargtypes), ', ', ','), format_type(p.prorettype, null)
FROM pg_proc p JOIN word w ON w.name = p.proname JOIN pg_type r ON r.oid = p.prorettype
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND r.typtype <> 'p' AND NOT p.proretset
  AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) x JOIN pg_type t ON t.oid = x WHERE t.typtype = 'p');

DO $do$
DECLARE item record;
BEGIN
    FOR item IN SELECT DISTINCT ON (name, arguments) * FROM planted WHERE kind = 'function' LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION @schema@.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', item.name, item.arguments,
                item.result, format('BEGIN PERFORM @schema@.planted_note(%L); RETURN NULL; END', item.name || '(' || item.arguments || ')'));
        EXCEPTION WHEN duplicate_function OR invalid_function_definition OR feature_not_supported THEN NULL;
        END;
    END LOOP;
END $do$;

-- Operators.
DO $do$
DECLARE item record; result text; function text;
BEGIN
    FOR item IN
        SELECT o.name, p.l, p.r
        FROM unnest(array['=', '<>', '<', '>', '<=', '>=', '||', '+', '-', '*', '/', '%', '~', '!~', '~~', '->', '->>', '#>>', '^@']) o(name)
        CROSS JOIN (VALUES ('varchar', 'varchar'), ('varchar', 'text'), ('text', 'varchar'), ('text', 'text'), ('json', 'json'),
            ('jsonb', 'jsonb'), ('oid', 'regclass'), ('regclass', 'oid'), ('regclass', 'regclass'), ('oid', 'int'), ('oid', 'oid'),
            ('name', 'text'), ('name', 'name'), ('name', 'varchar'), ('int', 'int'), ('bigint', 'int'), ('bigint', 'bigint'), ('int', 'bigint'),
            ('numeric', 'int'), ('numeric', 'bigint'), ('"char"', '"char"'), ('"char"', 'text'), ('"char"', 'varchar'), ('text', 'int'),
            ('text[]', 'text[]'), ('oid[]', 'oid[]'), ('record', 'record'), ('date', 'timestamptz'), ('timestamptz', 'timestamptz'),
            ('json', 'text'), ('jsonb', 'text'), ('boolean', 'boolean'), ('pg_lsn', 'pg_lsn')) p(l, r)
    LOOP
        result := CASE WHEN item.name IN ('||', '->', '->>', '#>>') THEN 'text' WHEN item.name ~ '^[-+*/%]$' THEN item.l ELSE 'boolean' END;
        function := 'planted_' || substr(md5(item.name || item.l || item.r), 1, 12);
        BEGIN
            EXECUTE format('CREATE FUNCTION @schema@.%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', function, item.l, item.r, result,
                format('BEGIN PERFORM @schema@.planted_note(%L); RETURN NULL; END', item.l || ' ' || item.name || ' ' || item.r));
            EXECUTE format('CREATE OPERATOR @schema@.%s (function = @schema@.%s, leftarg = %s, rightarg = %s)',
                item.name, function, item.l, item.r);
        EXCEPTION WHEN feature_not_supported OR invalid_function_definition THEN NULL;
        END;
    END LOOP;
END $do$;

-- Types of the system's names whose check runs on every value, a type that casts itself, and the
-- system's relations as views that note who reads them.
DO $do$
DECLARE item record;
BEGIN
    FOR item IN SELECT unnest(array['regclass', 'oid', 'name', 'regnamespace', 'regproc', 'regprocedure', 'xid', 'pg_lsn', 'int8', 'int4', 'bool']) AS name LOOP
        EXECUTE format('CREATE DOMAIN @schema@.%1$I AS pg_catalog.%1$I CHECK (@schema@.planted_note(%2$L))', item.name, 'type ' || item.name);
    END LOOP;
    CREATE TYPE @schema@.planted_kind AS ENUM ('a');
    CREATE FUNCTION @schema@.planted_cast(@schema@.planted_kind) RETURNS text LANGUAGE plpgsql AS
        'BEGIN PERFORM @schema@.planted_note(''cast''); RETURN ''a''; END';
    CREATE CAST (@schema@.planted_kind AS text) WITH FUNCTION @schema@.planted_cast(@schema@.planted_kind) AS IMPLICIT;
    FOR item IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')
        AND relname IN ('pg_class', 'pg_namespace', 'pg_proc', 'pg_type', 'pg_depend', 'pg_trigger', 'pg_roles',
            'pg_stat_activity', 'pg_locks', 'pg_index', 'pg_constraint', 'pg_database', 'pg_extension', 'pg_settings', 'pg_attrdef')
    LOOP
        EXECUTE format('CREATE VIEW @schema@.%1$I AS SELECT * FROM pg_catalog.%1$I WHERE @schema@.planted_note(%2$L)',
            item.relname, 'relation ' || item.relname);
        EXECUTE format('GRANT SELECT ON @schema@.%I TO PUBLIC', item.relname);
    END LOOP;
END $do$;
