-- Every object of the user's schemas, in pieces: (name, block, parent, place, part, text, class,
-- oid). A block is what a dump writes in one place; an object is what a difference names. Run
-- with an empty search_path, so that all names come out qualified. No oid and no attnum is in
-- the text: what was changed and changed back reads the same.
--
-- Parts: head (begins a block), item (a line of a table), default (the default of such a line),
-- tail (ends the table), then (a statement after it), note (a comment), fact (compared, but
-- written by nobody: an owner, or what follows from another object).
with
-- The options that users set, by what has them. A server may keep others of its own beside them,
-- which differ from one CREATE TABLE to the next and which pg_dump does not write: not read here.
known_option(of, name) as materialized (
    select 'column', unnest(array['n_distinct', 'n_distinct_inherited'])
    union all
    select 'view', unnest(array['security_barrier', 'security_invoker', 'check_option'])
    union all
    select 'index', unnest(array['fillfactor', 'deduplicate_items', 'buffering', 'fastupdate',
        'gin_pending_list_limit', 'pages_per_range', 'autosummarize'])
    union all
    select 'table', unnest(array['fillfactor', 'toast_tuple_target', 'parallel_workers', 'user_catalog_table',
        'vacuum_index_cleanup', 'vacuum_truncate', 'vacuum_max_eager_freeze_failure_rate',
        'log_autovacuum_min_duration', 'log_autoanalyze_min_duration', 'autovacuum_enabled',
        'autovacuum_parallel_workers', 'autovacuum_vacuum_threshold', 'autovacuum_vacuum_max_threshold',
        'autovacuum_vacuum_insert_threshold', 'autovacuum_analyze_threshold',
        'autovacuum_vacuum_scale_factor', 'autovacuum_vacuum_insert_scale_factor',
        'autovacuum_analyze_scale_factor', 'autovacuum_vacuum_cost_delay', 'autovacuum_vacuum_cost_limit',
        'autovacuum_freeze_min_age', 'autovacuum_freeze_max_age', 'autovacuum_freeze_table_age',
        'autovacuum_multixact_freeze_min_age', 'autovacuum_multixact_freeze_max_age',
        'autovacuum_multixact_freeze_table_age'])
),
-- Each relation's known options, and all of them as pg_get_indexdef writes them. Of a relation whose
-- access method came with an extension, all are the user's.
options as materialized (
    select oid, string_agg(text, ', ' order by place) filter (where is_known and not toast) as known,
           string_agg('toast.' || text, ', ' order by place) filter (where is_known and toast) as toast,
           string_agg(written, ', ' order by place) filter (where not toast) as every,
           string_agg(written, ', ' order by place) filter (where is_known and not toast) as known_written
    from (
        select w.oid, w.text, w.place, w.toast,
               quote_ident(o.name) || '=' || case when quote_ident(o.value) = o.value then o.value
                                                  else quote_literal(o.value) end as written,
               w.of_extension or exists (select from known_option k where k.of = w.of and k.name = o.name) as is_known
        from (
            select c.oid, x.text, x.place, false as toast, c.relam >= 16384 as of_extension,
                   case when c.relkind in ('i', 'I') then 'index' when c.relkind = 'v' then 'view' else 'table' end as of
            from pg_class c cross join lateral unnest(c.reloptions) with ordinality x(text, place)
            union all
            select c.oid, x.text, x.place, true, false, 'table'
            from pg_class c join pg_class t on t.oid = c.reltoastrelid
            cross join lateral unnest(t.reloptions) with ordinality x(text, place)
        ) w
        cross join lateral (select split_part(w.text, '=', 1), substring(w.text from position('=' in w.text) + 1)) o(name, value)
    ) r
    group by oid
),
ext as materialized (select classid, objid from pg_depend where deptype = 'e'),
ns as materialized (
    select oid, nspname, nspowner, nspacl, quote_ident(nspname) as name from pg_namespace
    where nspname !~ '^pg_' and nspname not in ('information_schema', 'etlrs_migrate')
),
rel as materialized (
    select c.*, n.name || '.' || quote_ident(c.relname) as name,
           case c.relkind when 'v' then 'view ' when 'm' then 'materialized view '
                          when 'f' then 'foreign table ' when 'c' then 'type '
                          when 'S' then 'sequence ' when 'i' then 'index ' when 'I' then 'index '
                          else 'table ' end
               || n.name || '.' || quote_ident(c.relname) as block
    from pg_class c join ns n on n.oid = c.relnamespace
    where c.relkind <> 't'
      and not exists (select from ext where classid = 'pg_class'::regclass and objid = c.oid)
),
proc as materialized (
    select p.*, n.name || '.' || quote_ident(p.proname)
               || '(' || pg_get_function_identity_arguments(p.oid) || ')' as name,
           case p.prokind when 'p' then 'procedure ' when 'a' then 'aggregate ' else 'function ' end as sort
    from pg_proc p join ns n on n.oid = p.pronamespace
    where not exists (select from ext where classid = 'pg_proc'::regclass and objid = p.oid)
      -- A range type makes its own.
      and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'i')
),
typ as materialized (
    select t.*, n.name || '.' || quote_ident(t.typname) as name
    from pg_type t join ns n on n.oid = t.typnamespace
    where (t.typtype in ('e', 'd', 'r')
           or t.typtype = 'c' and exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
      and not exists (select from ext where classid = 'pg_type'::regclass and objid = t.oid)
),
-- A constraint that its table's own lines can hold.
con as materialized (
    select k.*, c.name as rel_name, c.block as rel_block,
           'constraint ' || c.name || '.' || quote_ident(k.conname) as name,
           case when k.contype in ('p', 'u', 'x') then 'item'
                when k.contype in ('c', 'n') and not k.conislocal and not c.relispartition then 'fact'
                when k.contype in ('c', 'n') and k.convalidated then 'item'
                -- The parent's, which is added later and reaches its partitions.
                when k.conparentid <> 0 or k.contype in ('c', 'n') and k.coninhcount > 0 then 'fact'
                else 'head' end as part
    from pg_constraint k join rel c on c.oid = k.conrelid
    where k.contype <> 't'
      -- Since PostgreSQL 18 each NOT NULL is one; the column says it unless its name is its own.
      and not (k.contype = 'n' and k.convalidated and not k.connoinherit
               and k.conname = (select c.relname || '_' || a.attname || '_not_null' from pg_attribute a
                                where a.attrelid = k.conrelid and a.attnum = k.conkey[1]))
),
idx as materialized (
    select c.oid, c.name, c.block, t.name as rel_name, t.block as rel_block, i.indisvalid,
           i.indisclustered, i.indisreplident, k.oid is not null as of_constraint
    from rel c join pg_index i on i.indexrelid = c.oid join rel t on t.oid = i.indrelid
    left join pg_constraint k on k.conindid = c.oid and k.conrelid = i.indrelid and k.contype in ('p', 'u', 'x')
),
trg as materialized (
    select t.*, c.name as rel_name, c.block as rel_block,
           'trigger ' || c.name || '.' || quote_ident(t.tgname) as name
    from pg_trigger t join rel c on c.oid = t.tgrelid where not t.tgisinternal
),
seq as materialized (
    select c.oid, c.name, c.block, c.relowner, c.relacl, c.relpersistence, s.*, d.deptype, d.refobjid, d.refobjsubid,
           format_type(s.seqtypid, null) as type_name,
           concat_ws(' ',
               'START WITH ' || nullif(s.seqstart, case when s.seqincrement > 0 then s.seqmin else s.seqmax end),
               'INCREMENT BY ' || nullif(s.seqincrement, 1),
               'MINVALUE ' || nullif(s.seqmin, case when s.seqincrement > 0 then 1 else b.low end),
               'MAXVALUE ' || nullif(s.seqmax, case when s.seqincrement > 0 then b.high else -1 end),
               'CACHE ' || nullif(s.seqcache, 1),
               case when s.seqcycle then 'CYCLE' end) as options
    from rel c join pg_sequence s on s.seqrelid = c.oid
    cross join lateral (select case s.seqtypid when 'int2'::regtype then -32768::int8 when 'int4'::regtype then -2147483648
                                               else -9223372036854775808 end as low,
                               case s.seqtypid when 'int2'::regtype then 32767::int8 when 'int4'::regtype then 2147483647
                                               else 9223372036854775807 end as high) b
    left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.objsubid = 0
         and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i')
),
col as materialized (
    select a.*, c.name as rel_name, c.block as rel_block, c.relkind, c.relname, t.typstorage, t.typcollation,
           'column ' || c.name || '.' || quote_ident(a.attname) as name,
           quote_ident(a.attname) as own_name,
           pg_get_expr(d.adbin, d.adrelid) as expr,
           -- Since PostgreSQL 17 partitions have the identity of their parent, and may not say so.
           case when not c.relispartition or current_setting('server_version_num')::int < 170000
                then a.attidentity else '' end as identity,
           a.attinhcount > 0 and not a.attislocal and not c.relispartition as inherited
    from rel c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
),
-- What can have a comment, an owner and privileges.
named(class, oid, sub, name, block, target, grants_on, owner, acl, defaults) as materialized (
    select 'pg_namespace'::regclass::oid, oid, 0, 'schema ' || name, 'schema ' || name, 'SCHEMA ' || name,
           'SCHEMA ' || name, nspowner, nspacl,
           acldefault('n', nspowner) || case when nspname = 'public'
               then array[makeaclitem(0, nspowner, 'USAGE', false)] end
    from ns where not exists (select from ext where classid = 'pg_namespace'::regclass and objid = ns.oid)
    union all
    select 'pg_class'::regclass, oid, 0, block, block, upper(left(block, length(block) - length(name))) || name,
           'TABLE ' || name, relowner, relacl, acldefault('r', relowner)
    from rel where relkind in ('r', 'p', 'v', 'm', 'f')
    union all
    select 'pg_class'::regclass, attrelid, attnum, name, rel_block, 'COLUMN ' || rel_name || '.' || own_name,
           null, null, null, null
    from col
    union all
    select 'pg_constraint'::regclass, oid, 0, name, case when part = 'head' then name else rel_block end,
           'CONSTRAINT ' || quote_ident(conname) || ' ON ' || rel_name, null, null, null, null
    from con
    union all
    select 'pg_constraint'::regclass, k.oid, 0, 'type ' || t.name, 'type ' || t.name,
           'CONSTRAINT ' || quote_ident(k.conname) || ' ON DOMAIN ' || t.name, null, null, null, null
    from pg_constraint k join typ t on t.oid = k.contypid where k.contype = 'c'
    union all
    select 'pg_class'::regclass, oid, 0, block, case when of_constraint then rel_block else block end,
           'INDEX ' || name, null, null, null, null
    from idx
    union all
    select 'pg_class'::regclass, oid, 0, block, block, 'SEQUENCE ' || name, 'SEQUENCE ' || name,
           relowner, relacl, acldefault('s', relowner)
    from seq
    union all
    select 'pg_proc'::regclass, oid, 0, sort || name, sort || name, upper(sort) || name,
           case when prokind = 'p' then 'PROCEDURE ' else 'FUNCTION ' end || name,
           proowner, proacl, acldefault('f', proowner)
    from proc
    union all
    select 'pg_trigger'::regclass, oid, 0, name, name, 'TRIGGER ' || quote_ident(tgname) || ' ON ' || rel_name,
           null, null, null, null
    from trg where tgparentid = 0
    union all
    select 'pg_type'::regclass, oid, 0, 'type ' || name, 'type ' || name,
           case when typtype = 'd' then 'DOMAIN ' else 'TYPE ' end || name,
           case when typtype = 'd' then 'DOMAIN ' else 'TYPE ' end || name, typowner, typacl, acldefault('T', typowner)
    from typ
    union all
    select 'pg_statistic_ext'::regclass, s.oid, 0, 'statistics ' || n.name || '.' || quote_ident(s.stxname),
           'statistics ' || n.name || '.' || quote_ident(s.stxname),
           'STATISTICS ' || n.name || '.' || quote_ident(s.stxname), null, null, null, null
    from pg_statistic_ext s join ns n on n.oid = s.stxnamespace
    union all
    select 'pg_policy'::regclass, p.oid, 0, 'policy ' || c.name || '.' || quote_ident(p.polname),
           'policy ' || c.name || '.' || quote_ident(p.polname),
           'POLICY ' || quote_ident(p.polname) || ' ON ' || c.name, null, null, null, null
    from pg_policy p join rel c on c.oid = p.polrelid
    union all
    select 'pg_rewrite'::regclass, r.oid, 0, 'rule ' || c.name || '.' || quote_ident(r.rulename),
           'rule ' || c.name || '.' || quote_ident(r.rulename),
           'RULE ' || quote_ident(r.rulename) || ' ON ' || c.name, null, null, null, null
    from pg_rewrite r join rel c on c.oid = r.ev_class where r.rulename <> '_RETURN'
),
privileges as (
    select class, oid, name, block, grants_on, owner, acl, defaults, '' as of_column from named where acl is not null
    union all
    select 'pg_class'::regclass, attrelid, name, rel_block, 'TABLE ' || rel_name, null, attacl,
           '{}'::aclitem[], ' (' || own_name || ')'
    from col where attacl is not null
),
pieces(name, block, parent, place, part, text, class, oid) as (
    select name, block, null, 0, 'head', case when name <> 'schema public' then 'CREATE ' || target else '' end, class, oid
    from named where class = 'pg_namespace'::regclass

    -- Tables, views, and types that are rows.
    union all
    select c.block, c.block, null, 0, 'head',
           case when c.relkind in ('v', 'm') then
                    'CREATE ' || case c.relkind when 'm' then 'MATERIALIZED ' else '' end || 'VIEW ' || c.name
                    || coalesce(' WITH (' || (select o.known from options o where o.oid = c.oid) || ')', '') || ' AS' || E'\n'
                    || rtrim(pg_get_viewdef(c.oid), ';') || case c.relkind when 'm' then E'\n  WITH NO DATA' else '' end
                when c.relkind = 'c' then 'CREATE TYPE ' || c.name || ' AS ('
                else 'CREATE ' || case when c.relpersistence = 'u' then 'UNLOGGED ' else '' end
                     || case when c.relkind = 'f' then 'FOREIGN ' else '' end || 'TABLE ' || c.name || ' (' end,
           'pg_class'::regclass, c.oid
    from rel c where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
    union all
    select c.block, c.block, null, 2000000, 'tail',
           concat_ws(' ', ')',
               'INHERITS (' || (select string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)
                                from pg_inherits i where i.inhrelid = c.oid and not c.relispartition) || ')',
               'PARTITION BY ' || case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end,
               'SERVER ' || (select quote_ident(s.srvname)
                             || coalesce(' OPTIONS (' || (select string_agg(quote_ident(o.option_name) || ' '
                                    || quote_literal(o.option_value), ', ' order by o.option_name)
                                from pg_options_to_table(f.ftoptions) o) || ')', '')
                             from pg_foreign_table f join pg_foreign_server s on s.oid = f.ftserver where f.ftrelid = c.oid),
               'USING ' || (select quote_ident(amname) from pg_am where oid = c.relam and amname <> 'heap'),
               'WITH (' || (select o.known from options o where o.oid = c.oid) || ')'),
           null, null
    from rel c where c.relkind in ('r', 'p', 'f', 'c')
    union all
    select 'options of toast of ' || c.block, c.block, null, 2000001, 'then',
           'ALTER ' || upper(left(c.block, length(c.block) - length(c.name))) || c.name || ' SET (' || o.toast || ')', null, null
    from rel c join options o on o.oid = c.oid where o.toast is not null
    union all
    select c.block, c.block, null, 2000000, 'fact', 'columns ' || string_agg(c.own_name, ', ' order by c.attnum), null, null
    from (select rel_block as block, own_name, attnum from col) c group by c.block
    union all
    select c.block, c.block, null, 2000001, 'then', 'ALTER TABLE ' || c.name || ' ' || what, null, null
    from rel c cross join lateral (values
        (case when c.relrowsecurity then 'ENABLE ROW LEVEL SECURITY' end),
        (case when c.relforcerowsecurity then 'FORCE ROW LEVEL SECURITY' end),
        ('REPLICA IDENTITY ' || case c.relreplident when 'f' then 'FULL' when 'n' then 'NOTHING' end)) w(what)
    where c.relkind in ('r', 'p') and what is not null
    union all
    select 'partition ' || c.name, 'partition ' || c.name, c.block, 0, 'head',
           'ALTER TABLE ONLY ' || i.inhparent::regclass || ' ATTACH PARTITION ' || c.name || ' '
           || pg_get_expr(c.relpartbound, c.oid), 'pg_inherits'::regclass, c.oid
    from rel c join pg_inherits i on i.inhrelid = c.oid where c.relispartition and c.relkind in ('r', 'p', 'f')

    union all
    select a.name, a.rel_block, null, a.attnum, case when a.relkind in ('v', 'm') or a.inherited then 'fact' else 'item' end,
           concat_ws(' ', a.own_name, format_type(a.atttypid, a.atttypmod),
               'COMPRESSION ' || case a.attcompression when 'p' then 'pglz' when 'l' then 'lz4' end,
               'COLLATE ' || case when a.attcollation <> a.typcollation then a.attcollation::regcollation::text end,
               'GENERATED ALWAYS AS (' || case when a.attgenerated <> '' then a.expr end || ') '
                   || case a.attgenerated when 's' then 'STORED' else 'VIRTUAL' end,
               case a.identity when 'a' then 'GENERATED ALWAYS AS IDENTITY' when 'd' then 'GENERATED BY DEFAULT AS IDENTITY' end,
               '(' || (select nullif(concat_ws(' ', 'SEQUENCE NAME ' || nullif(s.name, regexp_replace(a.rel_name, '"?$', '')
                              || '_' || a.attname || '_seq'), nullif(s.options, '')), '')
                       from seq s where s.deptype = 'i' and s.refobjid = a.attrelid and s.refobjsubid = a.attnum) || ')',
               case when a.attnotnull and not exists (
                   select from con k where k.contype = 'n' and k.conrelid = a.attrelid and k.conkey[1] = a.attnum and k.part <> 'fact')
                   then 'NOT NULL' end),
           null, null
    from col a
    union all
    select a.name, a.rel_block, null, a.attnum, 'default', a.expr, null, null
    from col a where a.expr is not null and a.attgenerated = '' and a.relkind in ('r', 'p', 'f') and not a.inherited
    union all
    select a.name, a.rel_block, null, 2000001, 'then',
           'ALTER TABLE ' || case when a.relkind in ('r', 'p') then 'ONLY ' else '' end || a.rel_name
           || ' ALTER COLUMN ' || a.own_name || ' ' || what, null, null
    from col a cross join lateral (values
        ('SET DEFAULT ' || case when a.attgenerated = '' and (a.relkind = 'v' or a.inherited and not exists (
             select from pg_inherits i join pg_attribute p on p.attrelid = i.inhparent and p.attname = a.attname
             join pg_attrdef d on d.adrelid = p.attrelid and d.adnum = p.attnum
             where i.inhrelid = a.attrelid and pg_get_expr(d.adbin, d.adrelid) = a.expr)) then a.expr end),
        (case when a.inherited and a.attnotnull and not exists (
             select from pg_inherits i join pg_attribute p on p.attrelid = i.inhparent and p.attname = a.attname
             where i.inhrelid = a.attrelid and p.attnotnull) then 'SET NOT NULL' end),
        ('SET STORAGE ' || case when a.attstorage <> a.typstorage then
             case a.attstorage when 'p' then 'PLAIN' when 'e' then 'EXTERNAL' when 'm' then 'MAIN' else 'EXTENDED' end end),
        ('SET STATISTICS ' || case when a.attstattarget >= 0 then a.attstattarget end),
        ('SET (' || (select string_agg(o.text, ', ' order by o.text) from unnest(a.attoptions) o(text)
             join known_option k on k.of = 'column' and k.name = split_part(o.text, '=', 1)) || ')'),
        ('OPTIONS (' || (select string_agg(quote_ident(o.option_name) || ' ' || quote_literal(o.option_value), ', '
                         order by o.option_name) from pg_options_to_table(a.attfdwoptions) o) || ')')) w(what)
    where what is not null and a.relkind <> 'c'

    union all
    select k.name, case when k.part = 'head' then k.name else k.rel_block end,
           case when k.part = 'head' then k.rel_block end,
           case when k.part = 'head' then 0 when k.contype = 'p' then 1000000 else 1000001 end, k.part,
           case when k.part = 'head' then 'ALTER TABLE ' || k.rel_name || ' ADD ' else '' end
           || 'CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid),
           'pg_constraint'::regclass, k.oid
    from con k

    union all
    select i.block, case when i.of_constraint then i.rel_block else i.block end,
           case when not i.of_constraint then i.rel_block end, 0,
           case when i.of_constraint then 'fact' else 'head' end,
           case when o.every is null or o.every = o.known_written then pg_get_indexdef(i.oid)
                else replace(pg_get_indexdef(i.oid), ' WITH (' || o.every || ')',
                             coalesce(' WITH (' || o.known_written || ')', '')) end,
           'pg_class'::regclass, i.oid
    from idx i left join options o on o.oid = i.oid
    union all
    select i.block, case when i.of_constraint then i.rel_block else i.block end, null, 2000001, part, text, null, null
    from idx i cross join lateral (values
        ('note', case when not i.indisvalid then 'not valid' end),
        ('then', case when i.indisclustered then 'ALTER TABLE ' || i.rel_name || ' CLUSTER ON '
             || substring(i.name from '[.](("[^"]*")+|[^".]+)$') end),
        ('then', case when i.indisreplident then 'ALTER TABLE ' || i.rel_name || ' REPLICA IDENTITY USING INDEX '
             || substring(i.name from '[.](("[^"]*")+|[^".]+)$') end)) w(part, text)
    where text is not null

    union all
    select s.block, case when s.deptype = 'i' then o.block else s.block end,
           case when s.deptype = 'a' then o.block end, 0, case when s.deptype = 'i' then 'fact' else 'head' end,
           'CREATE ' || case when s.relpersistence = 'u' then 'UNLOGGED ' else '' end || 'SEQUENCE ' || s.name
           || case when s.type_name <> 'bigint' then ' AS ' || s.type_name else '' end || rtrim(' ' || s.options),
           'pg_class'::regclass, s.oid
    from seq s left join rel o on o.oid = s.refobjid
    union all
    select s.block, a.rel_block, null, 2000000 + a.attnum, 'then',
           'ALTER SEQUENCE ' || s.name || ' OWNED BY ' || a.rel_name || '.' || a.own_name, null, null
    from seq s join col a on a.attrelid = s.refobjid and a.attnum = s.refobjsubid where s.deptype = 'a'

    union all
    select p.sort || p.name, p.sort || p.name, null, 0, 'head',
           case when p.prokind <> 'a' then rtrim(pg_get_functiondef(p.oid), E'\n')
           else (select 'CREATE AGGREGATE ' || split_part(p.name, '(', 1) || '('
                     || coalesce(nullif(pg_get_function_arguments(p.oid), ''), '*') || ') (' || E'\n    '
                     || concat_ws(E',\n    ', 'SFUNC = ' || g.aggtransfn, 'STYPE = ' || format_type(g.aggtranstype, null),
                         'SSPACE = ' || nullif(g.aggtransspace, 0), 'FINALFUNC = ' || nullif(g.aggfinalfn::regproc::text, '-'),
                         case when g.aggfinalextra then 'FINALFUNC_EXTRA' end,
                         'COMBINEFUNC = ' || nullif(g.aggcombinefn::regproc::text, '-'),
                         'SERIALFUNC = ' || nullif(g.aggserialfn::regproc::text, '-'),
                         'DESERIALFUNC = ' || nullif(g.aggdeserialfn::regproc::text, '-'), 'INITCOND = ' || quote_literal(g.agginitval),
                         'MSFUNC = ' || nullif(g.aggmtransfn::regproc::text, '-'), 'MINVFUNC = ' || nullif(g.aggminvtransfn::regproc::text, '-'),
                         'MSTYPE = ' || case when g.aggmtranstype <> 0 then format_type(g.aggmtranstype, null) end,
                         'MFINALFUNC = ' || nullif(g.aggmfinalfn::regproc::text, '-'), 'MINITCOND = ' || quote_literal(g.aggminitval),
                         'SORTOP = OPERATOR(' || (select n.nspname || '.' || o.oprname from pg_operator o
                              join pg_namespace n on n.oid = o.oprnamespace where o.oid = g.aggsortop) || ')',
                         'PARALLEL = ' || case p.proparallel when 's' then 'safe' when 'r' then 'restricted' end,
                         case when g.aggkind = 'h' then 'HYPOTHETICAL' end) || E'\n)'
                 from pg_aggregate g where g.aggfnoid = p.oid) end,
           'pg_proc'::regclass, p.oid
    from proc p

    union all
    select t.name, case when t.tgparentid = 0 then t.name else t.rel_block end, case when t.tgparentid = 0 then t.rel_block end,
           0, case when t.tgparentid = 0 then 'head' else 'fact' end, pg_get_triggerdef(t.oid),
           'pg_trigger'::regclass, t.oid
    from trg t
    union all
    select t.name, case when t.tgparentid = 0 then t.name else t.rel_block end, null, 2000001,
           case when t.tgparentid = 0 then 'then' else 'fact' end,
           'ALTER TABLE ' || t.rel_name || case t.tgenabled when 'D' then ' DISABLE' when 'R' then ' ENABLE REPLICA'
               else ' ENABLE ALWAYS' end || ' TRIGGER ' || quote_ident(t.tgname), null, null
    from trg t where t.tgenabled <> 'O'

    union all
    select 'rule ' || c.name || '.' || quote_ident(r.rulename), 'rule ' || c.name || '.' || quote_ident(r.rulename),
           c.block, case w.part when 'head' then 0 else 2000001 end, w.part, w.text, 'pg_rewrite'::regclass, r.oid
    from pg_rewrite r join rel c on c.oid = r.ev_class
    cross join lateral (values
        ('head', rtrim(pg_get_ruledef(r.oid), ';')),
        ('then', 'ALTER TABLE ' || c.name || case r.ev_enabled when 'D' then ' DISABLE' when 'R' then ' ENABLE REPLICA'
             when 'A' then ' ENABLE ALWAYS' end || ' RULE ' || quote_ident(r.rulename))) w(part, text)
    where r.rulename <> '_RETURN' and w.text is not null

    union all
    select 'policy ' || c.name || '.' || quote_ident(p.polname), 'policy ' || c.name || '.' || quote_ident(p.polname),
           c.block, 0, 'head',
           concat_ws(' ', 'CREATE POLICY ' || quote_ident(p.polname) || ' ON ' || c.name,
               case when not p.polpermissive then 'AS RESTRICTIVE' end,
               'FOR ' || case p.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE'
                                       when 'd' then 'DELETE' else 'ALL' end,
               'TO ' || (select string_agg(role, ', ' order by role)
                         from (select case when r = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(r)) end as role
                               from unnest(p.polroles) r) roles),
               'USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
               'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'),
           'pg_policy'::regclass, p.oid
    from pg_policy p join rel c on c.oid = p.polrelid

    union all
    select 'type ' || t.name, 'type ' || t.name, null, 0, 'head',
           case t.typtype
           when 'e' then 'CREATE TYPE ' || t.name || ' AS ENUM ('
               || coalesce((select E'\n    ' || string_agg(quote_literal(e.enumlabel), E',\n    ' order by e.enumsortorder) || E'\n'
                            from pg_enum e where e.enumtypid = t.oid), '') || ')'
           when 'd' then concat_ws(' ', 'CREATE DOMAIN ' || t.name || ' AS ' || format_type(t.typbasetype, t.typtypmod),
               'COLLATE ' || (select t.typcollation::regcollation::text from pg_type b
                              where b.oid = t.typbasetype and b.typcollation <> t.typcollation),
               'DEFAULT ' || t.typdefault, case when t.typnotnull then 'NOT NULL' end,
               (select string_agg('CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), ' ' order by k.conname)
                from pg_constraint k where k.contypid = t.oid and k.contype = 'c'))
           else (select 'CREATE TYPE ' || t.name || ' AS RANGE (' || E'\n    '
                     || concat_ws(E',\n    ', 'SUBTYPE = ' || format_type(r.rngsubtype, null),
                         'MULTIRANGE_TYPE_NAME = ' || format_type(r.rngmultitypid, null),
                         'SUBTYPE_OPCLASS = ' || (select quote_ident(n.nspname) || '.' || quote_ident(o.opcname) from pg_opclass o
                              join pg_namespace n on n.oid = o.opcnamespace where o.oid = r.rngsubopc and not o.opcdefault),
                         'COLLATION = ' || (select r.rngcollation::regcollation::text from pg_type b
                              where b.oid = r.rngsubtype and b.typcollation <> r.rngcollation),
                         'CANONICAL = ' || nullif(r.rngcanonical::regproc::text, '-'),
                         'SUBTYPE_DIFF = ' || nullif(r.rngsubdiff::regproc::text, '-')) || E'\n)'
                 from pg_range r where r.rngtypid = t.oid) end,
           'pg_type'::regclass, t.oid
    from typ t where t.typtype <> 'c'

    union all
    select 'statistics ' || n.name || '.' || quote_ident(s.stxname), 'statistics ' || n.name || '.' || quote_ident(s.stxname),
           (select block from rel where rel.oid = s.stxrelid), 0, 'head', pg_get_statisticsobjdef(s.oid),
           'pg_statistic_ext'::regclass, s.oid
    from pg_statistic_ext s join ns n on n.oid = s.stxnamespace

    union all
    select 'extension ' || quote_ident(e.extname), 'extension ' || quote_ident(e.extname), null, 0, w.part, w.text,
           'pg_extension'::regclass, e.oid
    from pg_extension e cross join lateral (values
        (case when e.extname = 'plpgsql' then 'fact' else 'head' end,
         'CREATE EXTENSION IF NOT EXISTS ' || quote_ident(e.extname) || ' WITH SCHEMA ' || e.extnamespace::regnamespace),
        (case when e.extname = 'plpgsql' then 'fact' else 'note' end, 'version ' || e.extversion)) w(part, text)

    union all
    select 'event trigger ' || quote_ident(e.evtname), 'event trigger ' || quote_ident(e.evtname), null,
           case w.part when 'head' then 0 else 1 end, w.part, w.text, 'pg_event_trigger'::regclass, e.oid
    from pg_event_trigger e cross join lateral (values
        ('head', concat_ws(' ', 'CREATE EVENT TRIGGER ' || quote_ident(e.evtname) || ' ON ' || e.evtevent,
             'WHEN TAG IN (' || (select string_agg(quote_literal(tag), ', ') from unnest(e.evttags) tag) || ')',
             'EXECUTE FUNCTION ' || e.evtfoid::regproc || '()')),
        ('then', 'ALTER EVENT TRIGGER ' || quote_ident(e.evtname) || case e.evtenabled when 'D' then ' DISABLE'
             when 'R' then ' ENABLE REPLICA' when 'A' then ' ENABLE ALWAYS' end)) w(part, text)
    where w.text is not null
      and not exists (select from ext where classid = 'pg_event_trigger'::regclass and objid = e.oid)

    union all
    select 'publication ' || quote_ident(p.pubname), 'publication ' || quote_ident(p.pubname), null, 0, 'head',
           concat_ws(' ', 'CREATE PUBLICATION ' || quote_ident(p.pubname),
               case when p.puballtables then 'FOR ALL TABLES' end,
               'FOR ' || (select string_agg(member, ', ' order by member) from (
                   select 'TABLE ' || r.prrelid::regclass
                          || coalesce(' (' || (select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                                from pg_attribute a where a.attrelid = r.prrelid and a.attnum = any(r.prattrs)) || ')', '')
                          || coalesce(' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')', '') as member
                   from pg_publication_rel r where r.prpubid = p.oid
                   union all
                   select 'TABLES IN SCHEMA ' || s.pnnspid::regnamespace from pg_publication_namespace s where s.pnpubid = p.oid) m),
               'WITH (publish = ' || quote_literal(concat_ws(', ', case when p.pubinsert then 'insert' end,
                   case when p.pubupdate then 'update' end, case when p.pubdelete then 'delete' end,
                   case when p.pubtruncate then 'truncate' end))
               || case when p.pubviaroot then ', publish_via_partition_root = true' else '' end
               || case to_jsonb(p) ->> 'pubgencols' when 's' then ', publish_generated_columns = stored' else '' end || ')'),
           'pg_publication'::regclass, p.oid
    from pg_publication p

    union all
    select 'cast ' || format_type(c.castsource, null) || ' as ' || format_type(c.casttarget, null),
           'cast ' || format_type(c.castsource, null) || ' as ' || format_type(c.casttarget, null), null, 0, 'head',
           concat_ws(' ', 'CREATE CAST (' || format_type(c.castsource, null) || ' AS ' || format_type(c.casttarget, null) || ')',
               case c.castmethod when 'f' then 'WITH FUNCTION ' || c.castfunc::regprocedure when 'i' then 'WITH INOUT'
                                 else 'WITHOUT FUNCTION' end,
               case c.castcontext when 'a' then 'AS ASSIGNMENT' when 'i' then 'AS IMPLICIT' end),
           'pg_cast'::regclass, c.oid
    from pg_cast c
    where c.oid >= 16384
      and not exists (select from pg_depend d where d.classid = 'pg_cast'::regclass and d.objid = c.oid
                      and d.deptype in ('e', 'i'))

    union all
    select 'operator ' || o.oid::regoperator, 'operator ' || o.oid::regoperator, null, 0, 'head',
           'CREATE OPERATOR ' || n.name || '.' || o.oprname || E' (\n    '
           || concat_ws(E',\n    ', 'FUNCTION = ' || o.oprcode, 'LEFTARG = ' || case when o.oprleft <> 0 then format_type(o.oprleft, null) end,
               'RIGHTARG = ' || format_type(o.oprright, null),
               'COMMUTATOR = OPERATOR(' || (select quote_ident(m.nspname) || '.' || x.oprname from pg_operator x
                    join pg_namespace m on m.oid = x.oprnamespace where x.oid = o.oprcom) || ')',
               'NEGATOR = OPERATOR(' || (select quote_ident(m.nspname) || '.' || x.oprname from pg_operator x
                    join pg_namespace m on m.oid = x.oprnamespace where x.oid = o.oprnegate) || ')',
               'RESTRICT = ' || nullif(o.oprrest::regproc::text, '-'), 'JOIN = ' || nullif(o.oprjoin::regproc::text, '-'),
               case when o.oprcanhash then 'HASHES' end, case when o.oprcanmerge then 'MERGES' end) || E'\n)',
           'pg_operator'::regclass, o.oid
    from pg_operator o join ns n on n.oid = o.oprnamespace
    where not exists (select from ext where classid = 'pg_operator'::regclass and objid = o.oid)

    union all
    select 'collation ' || n.name || '.' || quote_ident(c.collname), 'collation ' || n.name || '.' || quote_ident(c.collname),
           null, 0, 'head',
           'CREATE COLLATION ' || n.name || '.' || quote_ident(c.collname) || ' ('
           || concat_ws(', ', 'provider = ' || case c.collprovider when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end,
               'locale = ' || quote_literal(coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale')),
               'lc_collate = ' || quote_literal(c.collcollate), 'lc_ctype = ' || quote_literal(c.collctype),
               'rules = ' || quote_literal(to_jsonb(c) ->> 'collicurules'),
               case when not c.collisdeterministic then 'deterministic = false' end) || ')',
           'pg_collation'::regclass, c.oid
    from pg_collation c join ns n on n.oid = c.collnamespace
    where not exists (select from ext where classid = 'pg_collation'::regclass and objid = c.oid)

    -- What is seen and not written out.
    union all
    select w.sort || w.name, w.sort || w.name, null, 0, 'note', 'not written out', null, null
    from (
        select 'base type ' as sort, n.name || '.' || quote_ident(t.typname) as name, 'pg_type'::regclass as class, t.oid
        from pg_type t join ns n on n.oid = t.typnamespace where t.typtype = 'b' and t.typelem = 0
        union all select 'server ', quote_ident(srvname), 'pg_foreign_server'::regclass, oid from pg_foreign_server
        union all select 'operator class ', n.name || '.' || quote_ident(o.opcname), 'pg_opclass'::regclass, o.oid
                  from pg_opclass o join ns n on n.oid = o.opcnamespace
        union all select 'text search configuration ', n.name || '.' || quote_ident(o.cfgname), 'pg_ts_config'::regclass, o.oid
                  from pg_ts_config o join ns n on n.oid = o.cfgnamespace
        union all select 'text search dictionary ', n.name || '.' || quote_ident(o.dictname), 'pg_ts_dict'::regclass, o.oid
                  from pg_ts_dict o join ns n on n.oid = o.dictnamespace
    ) w where not exists (select from ext where classid = w.class and objid = w.oid)

    -- Owners, comments, privileges.
    union all
    select name, block, null, 0, 'fact', 'owner ' || pg_get_userbyid(owner), null, null from named where owner is not null
    union all
    select n.name, n.block, null, 2000010, 'then',
           'COMMENT ON ' || n.target || ' IS ' || quote_literal(d.description), null, null
    from named n join pg_description d on d.classoid = n.class and d.objoid = n.oid and d.objsubid = n.sub
    where not (n.name = 'schema public' and d.description = 'standard public schema')
    union all
    select n.name, n.block, null, 2000020, 'then',
           'REVOKE ' || string_agg(e.privilege_type || n.of_column, ', ' order by e.privilege_type)
           || ' ON ' || n.grants_on || ' FROM ' || case when e.grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(e.grantee)) end,
           null, null
    from privileges n cross join lateral (
        select grantee, privilege_type from aclexplode(nullif(n.defaults, '{}'))
        except select grantee, privilege_type from aclexplode(nullif(n.acl, '{}'))) e
    group by n.name, n.block, n.grants_on, n.of_column, e.grantee
    union all
    select n.name, n.block, null, 2000021, 'then',
           'GRANT ' || string_agg(e.privilege_type || n.of_column, ', ' order by e.privilege_type)
           || ' ON ' || n.grants_on || ' TO ' || case when e.grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(e.grantee)) end
           || case when e.is_grantable then ' WITH GRANT OPTION' else '' end,
           null, null
    from privileges n cross join lateral (
        select grantee, privilege_type, is_grantable from aclexplode(nullif(n.acl, '{}'))
        except select grantee, privilege_type, is_grantable from aclexplode(nullif(n.defaults, '{}'))) e
    group by n.name, n.block, n.grants_on, n.of_column, e.grantee, e.is_grantable
    union all
    select d.name, d.name, null, 0, 'then',
           'ALTER DEFAULT PRIVILEGES FOR ROLE ' || d.role || d.in_schema || ' ' || w.verb || ' '
           || string_agg(w.privilege_type, ', ' order by w.privilege_type) || ' ON ' || d.sort || w.direction
           || case when w.grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(w.grantee)) end
           || case when w.is_grantable then ' WITH GRANT OPTION' else '' end, null, null
    from (
        select 'default privileges ' || pg_get_userbyid(d.defaclrole) || ' ' || d.defaclobjtype::text
                   || coalesce(' in ' || quote_ident(n.nspname), '') as name,
               quote_ident(pg_get_userbyid(d.defaclrole)) as role, coalesce(' IN SCHEMA ' || quote_ident(n.nspname), '') as in_schema,
               case d.defaclobjtype when 'r' then 'TABLES' when 'S' then 'SEQUENCES' when 'f' then 'FUNCTIONS'
                                    when 'T' then 'TYPES' when 'n' then 'SCHEMAS' else 'LARGE OBJECTS' end as sort,
               d.defaclacl as acl, case when d.defaclnamespace = 0
                   then acldefault(case d.defaclobjtype when 'S' then 's' else d.defaclobjtype end, d.defaclrole)
                   else '{}'::aclitem[] end as defaults
        from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
    ) d cross join lateral (
        (select 'REVOKE' as verb, ' FROM ' as direction, grantee, privilege_type, false as is_grantable from (
            select grantee, privilege_type from aclexplode(nullif(d.defaults, '{}'))
            except select grantee, privilege_type from aclexplode(nullif(d.acl, '{}'))) lost)
        union all
        (select 'GRANT', ' TO ', grantee, privilege_type, is_grantable from (
            select grantee, privilege_type, is_grantable from aclexplode(nullif(d.acl, '{}'))
            except select grantee, privilege_type, is_grantable from aclexplode(nullif(d.defaults, '{}'))) won)) w
    group by d.name, d.role, d.in_schema, d.sort, w.verb, w.direction, w.grantee, w.is_grantable
)
select name, block, parent, place::int4, part, text, coalesce(class, 0)::int8, coalesce(oid, 0)::int8
from pieces where text is not null
order by block, place, case part when 'default' then 1 else 0 end, name, text
