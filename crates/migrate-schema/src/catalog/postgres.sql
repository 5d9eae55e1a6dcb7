-- Every object of the user's schemas as (name, definition). Run with an empty search_path, so
-- that all names come out qualified. No oid and no attnum is in the text: what was changed and
-- changed back reads the same.
with
ns as (
    select oid, nspname from pg_namespace
    where nspname !~ '^pg_' and nspname not in ('information_schema', 'etlrs_migrate')
),
ext as (select classid, objid from pg_depend where deptype = 'e'),
rel as (
    select c.*, n.nspname,
           quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name
    from pg_class c join ns n on n.oid = c.relnamespace
    where not exists (select from ext where classid = 'pg_class'::regclass and objid = c.oid)
),
objects(name, definition) as (
    select 'schema ' || quote_ident(n.nspname),
           concat_ws('; ', 'owner ' || pg_get_userbyid(d.nspowner),
               'acl ' || (select string_agg(a::text, ',' order by a::text)
                          from unnest(coalesce(d.nspacl, acldefault('n', d.nspowner))) a),
               'comment ' || obj_description(n.oid, 'pg_namespace'))
    from ns n join pg_namespace d on d.oid = n.oid

    union all
    select case c.relkind when 'v' then 'view ' when 'm' then 'materialized view '
                          when 'f' then 'foreign table ' when 'c' then 'type ' else 'table ' end || c.name,
           concat_ws('; ',
               'kind ' || c.relkind::text || c.relpersistence::text,
               'columns ' || (select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                              from pg_attribute a
                              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
               'owner ' || pg_get_userbyid(c.relowner),
               'acl ' || (select string_agg(a::text, ',' order by a::text)
                          from unnest(coalesce(c.relacl, acldefault('r', c.relowner))) a),
               'options ' || array_to_string(c.reloptions, ','),
               case when c.relrowsecurity then 'row security' end,
               case when c.relforcerowsecurity then 'force row security' end,
               'replica identity ' || c.relreplident::text,
               'partition by ' || case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end,
               'partition ' || pg_get_expr(c.relpartbound, c.oid),
               'inherits ' || (select string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)
                               from pg_inherits i where i.inhrelid = c.oid),
               'as ' || case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end,
               'comment ' || obj_description(c.oid, 'pg_class'))
    from rel c where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')

    union all
    select 'column ' || c.name || '.' || quote_ident(a.attname),
           concat_ws('; ',
               format_type(a.atttypid, a.atttypmod),
               'collate ' || case when a.attcollation <> t.typcollation
                                  then a.attcollation::regcollation::text end,
               case when a.attnotnull then 'not null' end,
               'identity ' || nullif(a.attidentity::text, ''),
               'generated ' || nullif(a.attgenerated::text, ''),
               'default ' || pg_get_expr(d.adbin, d.adrelid),
               'storage ' || case when a.attstorage <> t.typstorage then a.attstorage::text end,
               'compression ' || nullif(a.attcompression::text, ''),
               'options ' || array_to_string(a.attoptions, ','),
               'acl ' || (select string_agg(x::text, ',' order by x::text) from unnest(a.attacl) x),
               'comment ' || col_description(c.oid, a.attnum))
    from rel c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')

    union all
    select 'constraint ' || c.name || '.' || quote_ident(k.conname),
           concat_ws('; ', pg_get_constraintdef(k.oid),
               case when not k.conislocal then 'inherited' end,
               'comment ' || obj_description(k.oid, 'pg_constraint'))
    from pg_constraint k join rel c on c.oid = k.conrelid where k.contype <> 't'

    union all
    select 'index ' || quote_ident(c.nspname) || '.' || quote_ident(c.relname),
           concat_ws('; ', pg_get_indexdef(c.oid),
               case when not i.indisvalid then 'not valid' end,
               case when i.indisclustered then 'clustered' end,
               case when i.indisreplident then 'replica identity' end,
               'comment ' || obj_description(c.oid, 'pg_class'))
    from rel c join pg_index i on i.indexrelid = c.oid

    union all
    select 'sequence ' || c.name,
           concat_ws('; ', format_type(s.seqtypid, null),
               format('start %s increment %s min %s max %s cache %s', s.seqstart, s.seqincrement,
                      s.seqmin, s.seqmax, s.seqcache),
               case when s.seqcycle then 'cycle' end,
               'kind ' || c.relpersistence::text,
               'owned by ' || (select o.name || '.' || quote_ident(a.attname)
                               from pg_depend d
                               join rel o on o.oid = d.refobjid
                               join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                               where d.classid = 'pg_class'::regclass and d.objid = c.oid
                                 and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')),
               'owner ' || pg_get_userbyid(c.relowner),
               'acl ' || (select string_agg(a::text, ',' order by a::text)
                          from unnest(coalesce(c.relacl, acldefault('s', c.relowner))) a),
               'comment ' || obj_description(c.oid, 'pg_class'))
    from rel c join pg_sequence s on s.seqrelid = c.oid

    union all
    select case p.prokind when 'p' then 'procedure ' when 'a' then 'aggregate ' else 'function ' end
               || quote_ident(n.nspname) || '.' || quote_ident(p.proname)
               || '(' || pg_get_function_identity_arguments(p.oid) || ')',
           concat_ws('; ',
               case when p.prokind <> 'a' then pg_get_functiondef(p.oid)
                    else (select (to_jsonb(g) - 'aggfnoid')::text
                                 || pg_get_function_result(p.oid)
                          from pg_aggregate g where g.aggfnoid = p.oid) end,
               'owner ' || pg_get_userbyid(p.proowner),
               'acl ' || (select string_agg(a::text, ',' order by a::text)
                          from unnest(coalesce(p.proacl, acldefault('f', p.proowner))) a),
               'comment ' || obj_description(p.oid, 'pg_proc'))
    from pg_proc p join ns n on n.oid = p.pronamespace
    where not exists (select from ext where classid = 'pg_proc'::regclass and objid = p.oid)

    union all
    select 'trigger ' || c.name || '.' || quote_ident(t.tgname),
           concat_ws('; ', pg_get_triggerdef(t.oid), 'enabled ' || t.tgenabled::text,
               'comment ' || obj_description(t.oid, 'pg_trigger'))
    from pg_trigger t join rel c on c.oid = t.tgrelid where not t.tgisinternal

    union all
    select 'rule ' || c.name || '.' || quote_ident(r.rulename),
           concat_ws('; ', pg_get_ruledef(r.oid), 'enabled ' || r.ev_enabled::text)
    from pg_rewrite r join rel c on c.oid = r.ev_class where r.rulename <> '_RETURN'

    union all
    select 'policy ' || c.name || '.' || quote_ident(p.polname),
           concat_ws('; ', 'for ' || p.polcmd::text,
               case when p.polpermissive then 'permissive' else 'restrictive' end,
               'to ' || (select string_agg(case when r = 0 then 'public' else pg_get_userbyid(r)::text end, ','
                                           order by case when r = 0 then 'public' else pg_get_userbyid(r)::text end)
                         from unnest(p.polroles) r),
               'using ' || pg_get_expr(p.polqual, p.polrelid),
               'check ' || pg_get_expr(p.polwithcheck, p.polrelid))
    from pg_policy p join rel c on c.oid = p.polrelid

    union all
    select 'type ' || quote_ident(n.nspname) || '.' || quote_ident(t.typname),
           concat_ws('; ',
               'kind ' || t.typtype::text,
               'labels ' || (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
                             from pg_enum e where e.enumtypid = t.oid),
               case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end,
               case when t.typnotnull then 'not null' end,
               'default ' || t.typdefault,
               'checks ' || (select string_agg(quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), ', '
                                               order by k.conname)
                             from pg_constraint k where k.contypid = t.oid),
               'range of ' || (select format_type(r.rngsubtype, null) from pg_range r where r.rngtypid = t.oid),
               'owner ' || pg_get_userbyid(t.typowner),
               'acl ' || (select string_agg(a::text, ',' order by a::text)
                          from unnest(coalesce(t.typacl, acldefault('T', t.typowner))) a),
               'comment ' || obj_description(t.oid, 'pg_type'))
    from pg_type t join ns n on n.oid = t.typnamespace
    where t.typtype in ('e', 'd', 'r')
      and not exists (select from ext where classid = 'pg_type'::regclass and objid = t.oid)

    union all
    select 'statistics ' || quote_ident(n.nspname) || '.' || quote_ident(s.stxname),
           pg_get_statisticsobjdef(s.oid)
    from pg_statistic_ext s join ns n on n.oid = s.stxnamespace

    union all
    select 'extension ' || quote_ident(e.extname), e.extversion || ' in ' || e.extnamespace::regnamespace::text
    from pg_extension e

    union all
    select 'event trigger ' || quote_ident(e.evtname),
           concat_ws('; ', e.evtevent, array_to_string(e.evttags, ','), e.evtfoid::regprocedure::text,
               'enabled ' || e.evtenabled::text)
    from pg_event_trigger e

    union all
    select 'publication ' || quote_ident(p.pubname),
           concat_ws('; ', case when p.puballtables then 'all tables' end,
               'insert ' || p.pubinsert, 'update ' || p.pubupdate, 'delete ' || p.pubdelete,
               'truncate ' || p.pubtruncate,
               (select string_agg(r.prrelid::regclass::text, ', ' order by r.prrelid::regclass::text)
                from pg_publication_rel r where r.prpubid = p.oid))
    from pg_publication p

    union all
    select 'cast ' || format_type(c.castsource, null) || ' as ' || format_type(c.casttarget, null),
           concat_ws('; ', c.castcontext, c.castmethod,
               case when c.castfunc <> 0 then c.castfunc::regprocedure::text end)
    from pg_cast c
    where c.oid >= 16384
      and not exists (select from ext where classid = 'pg_cast'::regclass and objid = c.oid)

    union all
    select 'operator ' || o.oid::regoperator::text, o.oprcode::regprocedure::text
    from pg_operator o join ns n on n.oid = o.oprnamespace
    where not exists (select from ext where classid = 'pg_operator'::regclass and objid = o.oid)

    union all
    select 'collation ' || quote_ident(n.nspname) || '.' || quote_ident(c.collname),
           concat_ws('; ', c.collprovider, c.collcollate, c.collctype, c.collisdeterministic::text)
    from pg_collation c join ns n on n.oid = c.collnamespace
    where not exists (select from ext where classid = 'pg_collation'::regclass and objid = c.oid)

    union all
    select 'default privileges ' || pg_get_userbyid(d.defaclrole) || ' ' || d.defaclobjtype::text
               || coalesce(' in ' || quote_ident(n.nspname), ''),
           (select string_agg(a::text, ',' order by a::text) from unnest(d.defaclacl) a)
    from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
)
select name, coalesce(definition, '') from objects order by name, definition
