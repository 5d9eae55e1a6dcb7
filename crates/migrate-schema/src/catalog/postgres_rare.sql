-- What few databases have and pg_dump writes, in the columns of postgres.sql. What a dump of ours
-- writes out (publications, collations, ..) gets its owner and comment here; the rest is compared
-- by its content and named as not written out. Run with an empty search_path.
with
ns as materialized (
    select oid, quote_ident(nspname) || '.' as prefix from pg_namespace
    where nspname !~ '^pg_' and nspname not in ('information_schema', 'etlrs_migrate')
),
member as materialized (select classid, objid from pg_depend where deptype in ('e', 'i')),
-- Kind, name, address, whether a dump writes it, what is in it, its owner and privileges.
thing(kind, name, class, oid, written, content, owner, acl, defaults) as materialized (
    select 'event trigger', quote_ident(evtname), 'pg_event_trigger'::regclass::oid, oid, true, null::text, evtowner, null::aclitem[], null::aclitem[]
    from pg_event_trigger
    union all
    select 'publication', quote_ident(pubname), 'pg_publication'::regclass, oid, true, null, pubowner, null, null
    from pg_publication
    union all
    select 'collation', ns.prefix || quote_ident(collname), 'pg_collation'::regclass, o.oid, true, null, collowner, null, null
    from pg_collation o join ns on ns.oid = collnamespace
    union all
    select 'operator', o.oid::regoperator::text, 'pg_operator'::regclass, o.oid, true, null, oprowner, null, null
    from pg_operator o join ns on ns.oid = oprnamespace
    union all
    select 'cast', format_type(castsource, null) || ' as ' || format_type(casttarget, null), 'pg_cast'::regclass, oid, true,
           null, null, null, null
    from pg_cast where oid >= 16384
    union all
    select 'statistics', ns.prefix || quote_ident(stxname), 'pg_statistic_ext'::regclass, o.oid, true,
           'target ' || nullif((to_jsonb(o) ->> 'stxstattarget')::int, -1), stxowner, null, null
    from pg_statistic_ext o join ns on ns.oid = stxnamespace
    union all
    select 'language', quote_ident(lanname), 'pg_language'::regclass, oid, false,
           concat_ws(' ', case when lanpltrusted then 'trusted' end, lanplcallfoid::regprocedure,
                     laninline::regprocedure, lanvalidator::regprocedure), lanowner, lanacl, acldefault('l', lanowner)
    from pg_language where oid >= 16384
    union all
    select 'conversion', ns.prefix || quote_ident(conname), 'pg_conversion'::regclass, o.oid, false,
           concat_ws(' ', case when condefault then 'default' end, pg_encoding_to_char(conforencoding),
                     pg_encoding_to_char(contoencoding), conproc), conowner, null, null
    from pg_conversion o join ns on ns.oid = connamespace
    union all
    select 'access method', quote_ident(amname), 'pg_am'::regclass, oid, false, concat_ws(' ', amtype, amhandler), null, null, null
    from pg_am where oid >= 16384
    union all
    select 'transform', 'for ' || format_type(trftype, null) || ' language ' || (select quote_ident(lanname) from pg_language l where l.oid = trflang),
           'pg_transform'::regclass, oid, false, trffromsql::regprocedure || ' ' || trftosql::regprocedure, null, null, null
    from pg_transform where oid >= 16384
    union all
    select 'text search parser', ns.prefix || quote_ident(prsname), 'pg_ts_parser'::regclass, o.oid, false,
           concat_ws(' ', prsstart, prstoken, prsend, prsheadline, prslextype), null, null, null
    from pg_ts_parser o join ns on ns.oid = prsnamespace
    union all
    select 'text search template', ns.prefix || quote_ident(tmplname), 'pg_ts_template'::regclass, o.oid, false,
           concat_ws(' ', tmplinit, tmpllexize), null, null, null
    from pg_ts_template o join ns on ns.oid = tmplnamespace
    union all
    select 'text search dictionary', ns.prefix || quote_ident(dictname), 'pg_ts_dict'::regclass, o.oid, false,
           concat_ws(' ', (select n.nspname || '.' || t.tmplname from pg_ts_template t join pg_namespace n on n.oid = t.tmplnamespace
                           where t.oid = dicttemplate), dictinitoption), dictowner, null, null
    from pg_ts_dict o join ns on ns.oid = dictnamespace
    union all
    select 'text search configuration', ns.prefix || quote_ident(cfgname), 'pg_ts_config'::regclass, o.oid, false,
           concat_ws(' ', (select n.nspname || '.' || p.prsname from pg_ts_parser p join pg_namespace n on n.oid = p.prsnamespace
                           where p.oid = cfgparser),
                     (select string_agg(concat_ws(' ', maptokentype, mapseqno, mapdict::regdictionary), ', ' order by maptokentype, mapseqno)
                      from pg_ts_config_map where mapcfg = o.oid)), cfgowner, null, null
    from pg_ts_config o join ns on ns.oid = cfgnamespace
    union all
    select 'operator family', ns.prefix || quote_ident(opfname) || ' using ' || (select amname from pg_am m where m.oid = opfmethod),
           'pg_opfamily'::regclass, o.oid, false,
           concat_ws('; ', (select string_agg(concat_ws(' ', amopstrategy, amoppurpose, amopopr::regoperator), ', '
                                              order by amopstrategy, amopopr::regoperator::text)
                            from pg_amop where amopfamily = o.oid),
                     (select string_agg(concat_ws(' ', amprocnum, amproclefttype::regtype, amprocrighttype::regtype, amproc::regprocedure), ', '
                                        order by amprocnum, amproclefttype::regtype::text, amprocrighttype::regtype::text)
                      from pg_amproc where amprocfamily = o.oid)), opfowner, null, null
    from pg_opfamily o join ns on ns.oid = opfnamespace
    union all
    select 'operator class', ns.prefix || quote_ident(opcname) || ' using ' || (select amname from pg_am m where m.oid = opcmethod),
           'pg_opclass'::regclass, o.oid, false,
           concat_ws(' ', opcintype::regtype, case when opcdefault then 'default' end,
                     (select n.nspname || '.' || f.opfname from pg_opfamily f join pg_namespace n on n.oid = f.opfnamespace
                      where f.oid = opcfamily), nullif(opckeytype, 0)::regtype), opcowner, null, null
    from pg_opclass o join ns on ns.oid = opcnamespace
    union all
    select 'foreign-data wrapper', quote_ident(fdwname), 'pg_foreign_data_wrapper'::regclass, oid, false,
           concat_ws(' ', nullif(fdwhandler, 0)::regprocedure, nullif(fdwvalidator, 0)::regprocedure,
                     (select string_agg(option_name || ' ' || left(md5(option_value), 8), ', ' order by option_name)
                      from pg_options_to_table(fdwoptions))), fdwowner, fdwacl, acldefault('F', fdwowner)
    from pg_foreign_data_wrapper where oid >= 16384
    union all
    select 'server', quote_ident(srvname), 'pg_foreign_server'::regclass, o.oid, false,
           concat_ws(' ', (select quote_ident(fdwname) from pg_foreign_data_wrapper f where f.oid = srvfdw), srvtype, srvversion,
                     (select string_agg(option_name || ' ' || left(md5(option_value), 8), ', ' order by option_name)
                      from pg_options_to_table(srvoptions))), srvowner, srvacl, acldefault('S', srvowner)
    from pg_foreign_server o
    union all
    -- Values may be passwords: only a short sum of each, and only for who may read them.
    select 'user mapping', 'for ' || quote_ident(usename) || ' server ' || quote_ident(srvname), 'pg_user_mapping'::regclass, umid, false,
           (select string_agg(option_name || ' ' || left(md5(option_value), 8), ', ' order by option_name)
            from pg_options_to_table(umoptions)), null, null, null
    from pg_user_mappings
),
own as materialized (
    select t.*, t.kind || ' ' || t.name as block from thing t
    where not exists (select from member m where m.classid = t.class and m.objid = t.oid)
),
pieces(name, block, part, text) as (
    select block, block, 'note', 'not written out' from own
    where not written and kind not in ('operator class', 'server', 'text search configuration', 'text search dictionary')
    union all
    select 'content of ' || block, block, 'fact', content from own where not written and content <> ''
    union all
    select 'options of ' || block, block, 'then',
           'ALTER STATISTICS ' || name || ' SET STATISTICS ' || substring(content from 8)
    from own where kind = 'statistics' and content is not null
    union all
    select 'owner of ' || block, block, 'fact', pg_get_userbyid(owner) from own where owner is not null
    union all
    select 'privileges on ' || block, block, 'fact', has.privileges
    from own cross join lateral (
        select string_agg(concat_ws(' ', case when grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(grantee)) end,
                                    privilege_type, case when is_grantable then 'grantable' end), ', '
                          order by grantee, privilege_type) filter (where sort = 'has') as privileges,
               string_agg(concat_ws(' ', grantee, privilege_type, is_grantable), ', ' order by grantee, privilege_type)
                          filter (where sort = 'has')
               is distinct from
               string_agg(concat_ws(' ', grantee, privilege_type, is_grantable), ', ' order by grantee, privilege_type)
                          filter (where sort = 'default') as special
        from (select 'has' as sort, * from aclexplode(acl) union all select 'default', * from aclexplode(defaults)) e) has
    where acl is not null and has.special
    union all
    select 'comment on ' || o.block, o.block, case when o.written then 'then' else 'fact' end,
           case when o.written then 'COMMENT ON ' || upper(o.kind) || ' '
                    || case when o.kind = 'cast' then i.identity else o.name end || ' IS ' || quote_literal(d.description)
                else d.description end
    from own o join pg_description d on d.classoid = o.class and d.objoid = o.oid and d.objsubid = 0
    cross join lateral pg_identify_object(o.class, o.oid, 0) i
    where o.kind <> 'statistics'
    union all
    select 'comment on extension ' || quote_ident(extname), 'extension ' || quote_ident(extname), 'fact', d.description
    from pg_extension e join pg_description d on d.classoid = 'pg_extension'::regclass and d.objoid = e.oid
    where e.oid >= 16384
    union all
    select 'security label on ' || i.type || ' ' || i.identity, 'security label on ' || i.type || ' ' || i.identity, 'fact',
           l.provider || ' ' || l.label
    from pg_seclabel l cross join lateral pg_identify_object(l.classoid, l.objoid, l.objsubid) i
)
select name, block, null::text, 2000030, part, text, 0::int8, 0::int8
from pieces where text is not null
order by pieces.block, pieces.part, pieces.name, pieces.text
