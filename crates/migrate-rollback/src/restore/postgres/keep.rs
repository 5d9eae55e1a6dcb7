//! Rows of others that outlive a restore: set aside in our schema, and put back into the restored
//! tables before their indexes, constraints and triggers are made again.

use migrate_schema::quote::{TableName, literal};

/// Sets the rows of tables aside, as texts: their types may be dropped and made again. So are the
/// values of their sequences.
pub(super) fn set_aside(tables: &[TableName]) -> String {
    let mut sql = String::from(SEQUENCES);
    for (number, table) in tables.iter().enumerate() {
        sql.push_str(&filled(SET_ASIDE, number, table));
    }
    sql
}

/// Puts them back into the tables that were restored, in the place of their rows.
pub(super) fn put_back(tables: &[TableName]) -> String {
    let mut sql = String::new();
    for (number, table) in tables.iter().enumerate() {
        sql.push_str(&filled(PUT_BACK, number, table));
    }
    sql + PUT_SEQUENCES_BACK
}

fn filled(template: &str, number: usize, table: &TableName) -> String {
    template
        .replace("@number@", &number.to_string())
        .replace("@table@", &literal(&table.sql()))
}

const SEQUENCES: &str = "
DROP TABLE IF EXISTS etlrs_migrate.kept_sequences;
CREATE TABLE etlrs_migrate.kept_sequences (name text PRIMARY KEY, value bigint, called boolean);
";

const SET_ASIDE: &str = r"
DO $etlrs$
DECLARE
    kept CONSTANT regclass := @table@;
    columns text;
    item record;
BEGIN
    SELECT string_agg(format('%I::text AS %I', attname, attname), ', ' ORDER BY attnum) INTO columns
    FROM pg_attribute WHERE attrelid = kept AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
    DROP TABLE IF EXISTS etlrs_migrate.kept_@number@;
    EXECUTE format('CREATE TABLE etlrs_migrate.kept_@number@ AS SELECT %s FROM %s %s', columns,
        (SELECT CASE relkind WHEN 'p' THEN '' ELSE 'ONLY' END FROM pg_class WHERE oid = kept), kept);
    FOR item IN
        SELECT s.oid::regclass::text AS name FROM pg_class s WHERE s.relkind = 'S' AND EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = s.oid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = kept AND d.deptype IN ('a', 'i')
            UNION ALL
            SELECT FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid
            WHERE d.classid = 'pg_attrdef'::regclass AND a.adrelid = kept
                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid)
    LOOP
        EXECUTE format('INSERT INTO etlrs_migrate.kept_sequences SELECT %L, last_value, is_called FROM %s
            ON CONFLICT DO NOTHING', item.name, item.name);
    END LOOP;
END $etlrs$;
";

const PUT_BACK: &str = r"
DO $etlrs$
DECLARE
    kept CONSTANT regclass := @table@;
    columns text;
    texts text;
BEGIN
    SELECT string_agg(format('%I', attname), ', ' ORDER BY attnum),
           string_agg(format('%I::%s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
    INTO columns, texts
    FROM pg_attribute WHERE attrelid = kept AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
    EXECUTE format('TRUNCATE %s %s',
        (SELECT CASE relkind WHEN 'p' THEN '' ELSE 'ONLY' END FROM pg_class WHERE oid = kept), kept);
    EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM etlrs_migrate.kept_@number@',
        kept, columns, texts);
    DROP TABLE etlrs_migrate.kept_@number@;
END $etlrs$;
";

const PUT_SEQUENCES_BACK: &str = r"
DO $etlrs$
BEGIN
    PERFORM pg_catalog.setval(name::regclass, value, called) FROM etlrs_migrate.kept_sequences
    WHERE to_regclass(name) IS NOT NULL;
    DROP TABLE etlrs_migrate.kept_sequences;
END $etlrs$;
";
