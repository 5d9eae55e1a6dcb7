//! A PostgreSQL database's fingerprint as `psql` prints it: for a transaction that is another
//! program's session, and can't be seen from any other.

use std::collections::BTreeMap;

use super::TableSum;
use super::postgres::{HASHED_BY_CATALOG, SETTINGS, low_bits};
use crate::catalog::{Catalog, READ_UNDER};
use crate::quote::{TableName, literal};

/// What a session printed.
#[derive(Debug, Clone, Default)]
pub struct Printed {
    /// Every object.
    pub catalog: Catalog,
    /// Every table's rows, by name.
    pub sums: BTreeMap<String, TableSum>,
}

/// The settings under which [`query`] prints what other sessions read. They last until the end
/// of the transaction.
pub fn settings() -> String {
    let mut sql = String::from(
        "SET LOCAL client_encoding = 'UTF8'; SET LOCAL row_security = off;\n\
         SET LOCAL client_min_messages = error;\n",
    );
    for (name, value) in READ_UNDER {
        let value = literal(value);
        sql.push_str(&format!(
            "SELECT pg_catalog.set_config('{name}', {value}, true);\n"
        ));
    }
    sql
}

/// The query, a line of output for each object and one for all tables. `search_path` is the one
/// under which the rows were read that they are compared with.
pub fn query(search_path: &str) -> String {
    let catalog = [
        include_str!("../catalog/postgres.sql"),
        include_str!("../catalog/postgres_rare.sql"),
    ]
    .map(|sql| {
        format!(
            "SELECT 'object ' || pg_catalog.row_to_json(q)::text FROM (\n{sql}\n) \
                 AS q (name, block, parent, place, part, text, class, oid);\n"
        )
    })
    .concat();
    let sums = SUMS.replace(
        "@by_catalog@",
        &HASHED_BY_CATALOG.replace("to_regclass($1)", "at_table"),
    );
    let path = literal(search_path);
    format!(
        "{catalog}\
         DO $etlrs$ BEGIN PERFORM FROM ({SETTINGS}) s;\n\
         PERFORM pg_catalog.set_config('search_path', {path}, true); END $etlrs$;\n\
         {sums}\n\
         DO $etlrs$ BEGIN PERFORM pg_catalog.set_config('search_path', '', true); END $etlrs$;\n\
         SELECT 'tables ' || pg_catalog.current_setting('etlrs_migrate.sums');\n"
    )
}

/// As [`super::postgres::sum`] does it, for every table: by hashes of rows, or by their texts
/// where a type has no hash or one of the catalog's own numbers.
const SUMS: &str = r"
DO $etlrs$
DECLARE
    item record;
    at_table oid;
    source text;
    by_text boolean;
    found record;
    sums jsonb := '[]';
    hashed CONSTANT text := 'SELECT pg_catalog.count(*) AS n,
        coalesce(pg_catalog.sum(pg_catalog.hash_record_extended(row(t.*), 0)), 0)::text AS a,
        coalesce(pg_catalog.sum(pg_catalog.hash_record_extended(row(t.*), 1)), 0)::text AS b FROM %s t';
    texts CONSTANT text := 'SELECT pg_catalog.count(*) AS n,
        coalesce(pg_catalog.sum(pg_catalog.hashtextextended(row(t.*)::text, 0)), 0)::text AS a,
        coalesce(pg_catalog.sum(pg_catalog.hashtextextended(row(t.*)::text, 1)), 0)::text AS b FROM %s t';
BEGIN
    FOR item IN
        SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind AS kind
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
          AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'etlrs_migrate')
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                          WHERE d.classid = 'pg_catalog.pg_class'::regclass
                          AND d.objid = c.oid AND d.deptype = 'e')
        ORDER BY 2, 3
    LOOP
        at_table := item.oid;
        source := pg_catalog.format(CASE item.kind WHEN 'p' THEN '%I.%I' ELSE 'ONLY %I.%I' END,
                                    item.schema, item.name);
        by_text := (@by_catalog@);
        IF NOT by_text THEN
            BEGIN
                EXECUTE pg_catalog.format(hashed, source) INTO found;
            EXCEPTION WHEN undefined_function THEN
                by_text := true;
            END;
        END IF;
        IF by_text THEN
            EXECUTE pg_catalog.format(texts, source) INTO found;
        END IF;
        sums := sums || pg_catalog.jsonb_build_array(
            pg_catalog.jsonb_build_array(item.schema, item.name, found.n, found.a, found.b));
    END LOOP;
    PERFORM pg_catalog.set_config('etlrs_migrate.sums', sums::text, true);
END $etlrs$;";

/// Reads what [`query`] printed; none where a line is missing or is not one of its.
pub fn read(lines: &[String]) -> Option<Printed> {
    let (mut objects, mut sums) = (Vec::new(), None);
    for line in lines {
        match line.split_once(' ')? {
            ("object", row) => objects.push(serde_json::from_str(row).ok()?),
            ("tables", rows) => sums = Some(read_sums(rows)?),
            _ => return None,
        }
    }
    Some(Printed {
        catalog: Catalog::of_printed(objects),
        sums: sums?,
    })
}

fn read_sums(rows: &str) -> Option<BTreeMap<String, TableSum>> {
    let rows: Vec<(String, String, u64, String, String)> = serde_json::from_str(rows).ok()?;
    let sum = |(schema, name, rows, first, second): (String, String, u64, String, String)| {
        let table = TableName::new(Some(&schema), &name);
        let sum = format!("{:016x}{:016x}", low_bits(&first), low_bits(&second));
        (table.to_string(), TableSum { rows, sum })
    };
    Some(rows.into_iter().map(sum).collect())
}
