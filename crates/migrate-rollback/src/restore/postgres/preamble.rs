//! What goes before the archive: the transaction, the locks, and dropping what is there.

use migrate_schema::db::{Backend, Fence};
use migrate_schema::{own, quote};

use super::stay::Stay;

/// Begins the transaction, checks the fence in it, and locks every table. Texts are read as
/// `pg_dump` writes them, whatever the database or the role sets.
pub(super) fn opening(fence: Option<&Fence>) -> String {
    let fence = fence.map(fence_check).unwrap_or_default();
    format!("{OPENING}{fence}{LOCKING}")
}

/// Drops what is there, up to and without what `pg_restore` prints.
pub(super) fn dropping(stay: &Stay) -> String {
    let list = |names: &[String]| {
        let names: Vec<String> = names.iter().map(|name| quote::literal(name)).collect();
        format!("ARRAY[{}]::text[]", names.join(", "))
    };
    let dropping = DROPPING
        .replace("@extensions@", &list(&stay.extensions))
        .replace("@schemas@", &list(&stay.schemas))
        .replace("@publications@", &list(&stay.publications));
    dropping + DROP_DEFAULT_PRIVILEGES
}

/// Nothing is changed by a process that lost the database to another run.
fn fence_check(fence: &Fence) -> String {
    format!(
        "DO $etlrs$ BEGIN\n\
         IF NOT EXISTS (SELECT 1 FROM {} WHERE id = 1 AND epoch = {} AND run = {}) THEN\n\
         RAISE EXCEPTION 'run % no longer holds the database', {};\n\
         END IF; END $etlrs$;\n",
        own::name(Backend::Postgres, "fence"),
        fence.epoch,
        quote::literal(&fence.run),
        quote::literal(&fence.run),
    )
}

/// For a plain backup of everything in the database: what it holds of ours is of a run that
/// is gone.
pub(super) const DROP_OUR_SCHEMA: &str = "DROP SCHEMA IF EXISTS etlrs_migrate CASCADE;\n";

const OPENING: &str = "BEGIN;
SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = 0;
SET LOCAL client_min_messages = error;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL row_security = off;
SET LOCAL standard_conforming_strings = on;
SET LOCAL array_nulls = on;
SET LOCAL datestyle = 'ISO, MDY';
SET LOCAL intervalstyle = postgres;
";

/// Nobody writes from here on until the end of the transaction.
const LOCKING: &str = r"
DO $etlrs$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT c.oid::regclass AS name FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'etlrs_migrate')
        AND c.relkind IN ('r', 'p')
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                        AND d.objid = c.oid AND d.deptype = 'e')
        ORDER BY c.oid
    LOOP
        EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', item.name);
    END LOOP;
END $etlrs$;
";

/// Drops the event triggers before anything is made or dropped: what a restore does is no change
/// of the user's. Only a superuser may make them again; of another role's restore they stay.
pub(super) const DROP_EVENT_TRIGGERS: &str = r"
DO $etlrs$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT evtname FROM pg_event_trigger
        WHERE oid >= 16384 AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass
                        AND d.objid = pg_event_trigger.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('DROP EVENT TRIGGER %I', item.evtname);
    END LOOP;
END $etlrs$;
";

/// Sets default privileges to what a new database has: else they would be added to those of what
/// the source makes, which brings its own at its end. Those of roles that the session may not act
/// for stay.
const DROP_DEFAULT_PRIVILEGES: &str = r"
DO $etlrs$
DECLARE
    item record;
    who text;
BEGIN
    FOR item IN
        SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s ', r.rolname,
                      ' IN SCHEMA ' || quote_ident(n.nspname)) AS change,
               CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
                    WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS'
                    ELSE 'LARGE OBJECTS' END AS kind,
               d.defaclacl AS acl, quote_ident(r.rolname) AS owner,
               d.defaclobjtype AS letter, d.defaclnamespace = 0 AS everywhere
        FROM pg_default_acl d JOIN pg_roles r ON r.oid = d.defaclrole
        LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
        WHERE pg_has_role(d.defaclrole, 'USAGE') AND n.nspname IS DISTINCT FROM 'etlrs_migrate'
    LOOP
        FOR who IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC'
                                   ELSE quote_ident(pg_get_userbyid(a.grantee)) END
            FROM aclexplode(nullif(item.acl, '{}')) a
        LOOP
            EXECUTE format('%s REVOKE ALL ON %s FROM %s', item.change, item.kind, who);
        END LOOP;
        IF item.everywhere THEN
            EXECUTE format('%s GRANT ALL ON %s TO %s', item.change, item.kind, item.owner);
            IF item.letter IN ('f', 'T') THEN
                EXECUTE format('%s GRANT ALL ON %s TO PUBLIC', item.change, item.kind);
            END IF;
        END IF;
    END LOOP;
END $etlrs$;
";

/// For a source whose database had no schema `public`, which a new database has.
pub(super) const DROP_PUBLIC: &str = "DROP SCHEMA public;\n";

/// Drops every object of the user's. What belongs to an extension stays with it. Names and
/// kinds come from `pg_identify_object`, so each kind needs one line here; what went with
/// another object's CASCADE has no name any more and is passed over.
const DROPPING: &str = r"
DO $etlrs$
DECLARE
    kept_extensions CONSTANT text[] := @extensions@;
    kept_schemas CONSTANT text[] := @schemas@;
    kept_publications CONSTANT text[] := @publications@;
    mine oid[];
    item record;
    kind text;
    name text;
BEGIN
    SELECT coalesce(array_agg(oid), '{}') INTO mine FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'etlrs_migrate');

    FOR item IN SELECT extname FROM pg_extension
        WHERE oid >= 16384 AND extname <> ALL (kept_extensions)
    LOOP
        EXECUTE format('DROP EXTENSION IF EXISTS %I CASCADE', item.extname);
    END LOOP;

    FOR item IN SELECT t.oid::regclass AS name, c.condition FROM pg_extension e
        CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) AS c (oid, condition)
        JOIN pg_class t ON t.oid = c.oid AND t.relkind IN ('r', 'p')
    LOOP
        EXECUTE format('DELETE FROM %s %s', item.name, item.condition);
    END LOOP;

    FOR item IN
        SELECT * FROM (
            SELECT 1 AS rank, 'pg_publication'::regclass AS class, oid FROM pg_publication
                WHERE pubname <> ALL (kept_publications)
            UNION ALL SELECT 2, 'pg_class', oid FROM pg_class
                WHERE relnamespace = ANY (mine) AND relkind IN ('v', 'm')
            UNION ALL SELECT 3, 'pg_class', oid FROM pg_class
                WHERE relnamespace = ANY (mine) AND relkind IN ('r', 'p', 'f')
            UNION ALL SELECT 4, 'pg_class', oid FROM pg_class
                WHERE relnamespace = ANY (mine) AND relkind = 'S'
            UNION ALL SELECT 5, 'pg_cast', oid FROM pg_cast WHERE oid >= 16384
            UNION ALL SELECT 6, 'pg_opclass', oid FROM pg_opclass WHERE opcnamespace = ANY (mine)
            UNION ALL SELECT 7, 'pg_opfamily', oid FROM pg_opfamily WHERE opfnamespace = ANY (mine)
            UNION ALL SELECT 8, 'pg_operator', oid FROM pg_operator WHERE oprnamespace = ANY (mine)
            UNION ALL SELECT 9, 'pg_proc', oid FROM pg_proc WHERE pronamespace = ANY (mine)
            UNION ALL SELECT 10, 'pg_ts_config', oid FROM pg_ts_config WHERE cfgnamespace = ANY (mine)
            UNION ALL SELECT 11, 'pg_ts_dict', oid FROM pg_ts_dict WHERE dictnamespace = ANY (mine)
            UNION ALL SELECT 12, 'pg_ts_parser', oid FROM pg_ts_parser WHERE prsnamespace = ANY (mine)
            UNION ALL SELECT 13, 'pg_ts_template', oid FROM pg_ts_template WHERE tmplnamespace = ANY (mine)
            UNION ALL SELECT 14, 'pg_statistic_ext', oid FROM pg_statistic_ext WHERE stxnamespace = ANY (mine)
            UNION ALL SELECT 15, 'pg_conversion', oid FROM pg_conversion WHERE connamespace = ANY (mine)
            UNION ALL SELECT 16, 'pg_type', oid FROM pg_type WHERE typnamespace = ANY (mine)
            UNION ALL SELECT 17, 'pg_collation', oid FROM pg_collation WHERE collnamespace = ANY (mine)
            UNION ALL SELECT 18, 'pg_foreign_server', oid FROM pg_foreign_server
            UNION ALL SELECT 19, 'pg_foreign_data_wrapper', oid FROM pg_foreign_data_wrapper
            UNION ALL SELECT 20, 'pg_am', oid FROM pg_am WHERE oid >= 16384
            UNION ALL SELECT 21, 'pg_language', oid FROM pg_language WHERE oid >= 16384
        ) AS objects
        WHERE NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = objects.class
                          AND d.objid = objects.oid AND d.objsubid = 0 AND d.deptype IN ('e', 'i'))
        ORDER BY rank, oid
    LOOP
        SELECT i.type, i.identity INTO kind, name FROM pg_identify_object(item.class, item.oid, 0) i;
        CONTINUE WHEN name IS NULL;
        EXECUTE format('DROP %s %s CASCADE',
            CASE
                WHEN kind IN ('function', 'procedure', 'aggregate') THEN 'ROUTINE'
                WHEN kind = 'statistics object' THEN 'STATISTICS'
                WHEN kind = 'foreign-data wrapper' THEN 'FOREIGN DATA WRAPPER'
                ELSE upper(kind)
            END, name);
    END LOOP;

    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;

    FOR item IN SELECT nspname FROM pg_namespace
        WHERE oid = ANY (mine) AND nspname <> 'public' AND nspname <> ALL (kept_schemas)
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass
                        AND d.objid = pg_namespace.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('DROP SCHEMA %I', item.nspname);
    END LOOP;

    -- pg_dump writes of public only what differs from how a new database has it.
    IF NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'public') THEN
        CREATE SCHEMA public;
    END IF;
    IF EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'public' AND pg_has_role(nspowner, 'USAGE')) THEN
        FOR item IN SELECT DISTINCT r.rolname AS who FROM pg_namespace n
            CROSS JOIN LATERAL aclexplode(n.nspacl) a JOIN pg_roles r ON r.oid = a.grantee
            WHERE n.nspname = 'public' AND a.grantee <> n.nspowner
        LOOP
            EXECUTE format('REVOKE ALL ON SCHEMA public FROM %I CASCADE', item.who);
        END LOOP;
        COMMENT ON SCHEMA public IS 'standard public schema';
        BEGIN
            ALTER SCHEMA public OWNER TO pg_database_owner;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
        REVOKE ALL ON SCHEMA public FROM PUBLIC;
        GRANT ALL ON SCHEMA public TO pg_database_owner;
        GRANT USAGE ON SCHEMA public TO PUBLIC;
    END IF;
END $etlrs$;
SET LOCAL lock_timeout = 0;
";
