-- What needs what, as (class, oid, class, oid, soft): soft where the need can be met after the
-- object was made (a default, a check). The second part says what stands for what: a default, a
-- view's rule, a row type and an array for the table, view or type that they are of.
select d.classid::int8, d.objid::int8, d.refclassid::int8, d.refobjid::int8,
       coalesce(a.attgenerated = '', k.contype = 'c', false), false
from pg_depend d
left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
left join pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
where d.objid >= 16384 and d.refobjid >= 16384 and d.deptype in ('n', 'a', 'i')
  and not (coalesce(c.relkind = 'S', false) and d.deptype in ('a', 'i'))
union all
select 'pg_attrdef'::regclass::int8, oid::int8, 'pg_class'::regclass::int8, adrelid::int8, false, true from pg_attrdef
union all
select 'pg_rewrite'::regclass::int8, oid::int8, 'pg_class'::regclass::int8, ev_class::int8, false, true
from pg_rewrite where oid >= 16384
union all
select 'pg_type'::regclass::int8, oid::int8,
       case when typrelid <> 0 then 'pg_class'::regclass else 'pg_type'::regclass end::int8,
       case when typrelid <> 0 then typrelid else typelem end::int8, false, true
from pg_type where oid >= 16384 and (typrelid <> 0 or typelem <> 0)
union all
select 'pg_type'::regclass::int8, rngmultitypid::int8, 'pg_type'::regclass::int8, rngtypid::int8, false, true
from pg_range where rngtypid >= 16384
