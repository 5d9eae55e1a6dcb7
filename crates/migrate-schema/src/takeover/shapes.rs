//! Histories known by their columns: tools let their users name the table.

use std::collections::BTreeSet;

use crate::layout::Layout;

/// The form of a tool's history.
#[derive(Debug, Clone, Copy)]
struct Shape {
    tool: &'static str,
    layout: Option<Layout>,
    columns: &'static [&'static str],
    /// Whether there are no other columns.
    exact: bool,
    /// What the table's name holds, where the columns alone say too little.
    named: &'static [&'static str],
}

const fn shape(
    tool: &'static str,
    layout: Option<Layout>,
    columns: &'static [&'static str],
) -> Shape {
    Shape {
        tool,
        layout,
        columns,
        exact: true,
        named: &[],
    }
}

const SHAPES: [Shape; 24] = [
    Shape {
        exact: false,
        ..shape(
            "goose",
            Some(Layout::Goose),
            &["version_id", "is_applied", "tstamp"],
        )
    },
    shape(
        "golang-migrate",
        Some(Layout::GolangMigrate),
        &["version", "dirty"],
    ),
    shape(
        "sqlx",
        Some(Layout::Sqlx),
        &[
            "version",
            "description",
            "installed_on",
            "success",
            "checksum",
            "execution_time",
        ],
    ),
    shape("diesel", Some(Layout::Diesel), &["version", "run_on"]),
    Shape {
        exact: false,
        ..shape(
            "Flyway",
            Some(Layout::Flyway),
            &[
                "installed_rank",
                "version",
                "description",
                "type",
                "script",
                "checksum",
                "installed_by",
            ],
        )
    },
    shape(
        "refinery",
        Some(Layout::Refinery),
        &["version", "name", "applied_on", "checksum"],
    ),
    Shape {
        exact: false,
        ..shape(
            "Prisma",
            None,
            &[
                "id",
                "checksum",
                "finished_at",
                "migration_name",
                "rolled_back_at",
                "applied_steps_count",
            ],
        )
    },
    Shape {
        exact: false,
        ..shape(
            "Liquibase",
            None,
            &[
                "id",
                "author",
                "filename",
                "dateexecuted",
                "orderexecuted",
                "md5sum",
            ],
        )
    },
    Shape {
        exact: false,
        ..shape(
            "Atlas",
            None,
            &[
                "version",
                "description",
                "applied",
                "total",
                "executed_at",
                "execution_time",
            ],
        )
    },
    Shape {
        exact: false,
        ..shape("Supabase", None, &["version", "statements"])
    },
    shape("Alembic", None, &["version_num"]),
    shape("node-pg-migrate", None, &["id", "name", "run_on"]),
    Shape {
        named: &["migration"],
        ..shape("sql-migrate", None, &["id", "applied_at"])
    },
    Shape {
        named: &["migration"],
        ..shape("Drizzle", None, &["id", "hash", "created_at"])
    },
    Shape {
        named: &["migration"],
        ..shape("morph", None, &["version", "name"])
    },
    shape("Django", None, &["id", "app", "name", "applied"]),
    Shape {
        exact: false,
        ..shape("Knex", None, &["id", "name", "batch", "migration_time"])
    },
    Shape {
        named: &["migration"],
        ..shape("TypeORM", None, &["id", "timestamp", "name"])
    },
    Shape {
        named: &["migration"],
        ..shape("Laravel", None, &["id", "migration", "batch"])
    },
    Shape {
        named: &["sequelize"],
        ..shape("Sequelize", None, &["name"])
    },
    shape("Entity Framework", None, &["migrationid", "productversion"]),
    Shape {
        named: &["migration"],
        ..shape("Ecto", None, &["version", "inserted_at"])
    },
    Shape {
        named: &["schema_version"],
        ..shape("tern", None, &["version"])
    },
    Shape {
        named: &["migration"],
        ..shape("dbmate", Some(Layout::Dbmate), &["version"])
    },
];

/// The tool whose history a table looks like, and its layout if it is one that is read here.
pub(super) fn of(
    table: &str,
    columns: &BTreeSet<String>,
) -> Option<(&'static str, Option<Layout>)> {
    let table = table.to_lowercase();
    let columns: BTreeSet<String> = columns.iter().map(|one| one.to_lowercase()).collect();
    SHAPES
        .iter()
        .find(|shape| {
            shape.columns.iter().all(|one| columns.contains(*one))
                && (!shape.exact || columns.len() == shape.columns.len())
                && (shape.named.is_empty() || shape.named.iter().any(|part| table.contains(part)))
        })
        .map(|shape| (shape.tool, shape.layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(table: &str, columns: &[&str]) -> Option<&'static str> {
        let columns = columns.iter().map(|one| (*one).to_owned()).collect();
        of(table, &columns).map(|(tool, _)| tool)
    }

    #[test]
    fn a_history_is_known_by_its_columns_whatever_its_name() {
        for (table, columns, expected) in [
            (
                "goose_migrations",
                &["id", "version_id", "is_applied", "tstamp"][..],
                "goose",
            ),
            ("schema_version", &["version"], "tern"),
            ("schema_migrations", &["version"], "dbmate"),
            ("gorp_migrations", &["id", "applied_at"], "sql-migrate"),
            ("pgmigrations", &["id", "name", "run_on"], "node-pg-migrate"),
            (
                "__drizzle_migrations",
                &["id", "hash", "created_at"],
                "Drizzle",
            ),
            (
                "schema_migrations",
                &["version", "statements", "name"],
                "Supabase",
            ),
            ("db_migrations", &["Version", "Name"], "morph"),
            ("alembic_version", &["version_num"], "Alembic"),
            (
                "flyway_schema_history",
                &[
                    "installed_rank",
                    "version",
                    "description",
                    "type",
                    "script",
                    "checksum",
                    "installed_by",
                    "installed_on",
                    "execution_time",
                    "success",
                ],
                "Flyway",
            ),
            (
                "databasechangelog",
                &[
                    "ID",
                    "AUTHOR",
                    "FILENAME",
                    "DATEEXECUTED",
                    "ORDEREXECUTED",
                    "MD5SUM",
                    "TAG",
                ],
                "Liquibase",
            ),
        ] {
            assert_eq!(tool(table, columns), Some(expected), "{table}");
        }
    }

    #[test]
    fn tables_of_applications_are_no_histories() {
        for (table, columns) in [
            ("orders", &["id", "applied_at"][..]),
            ("releases", &["version"]),
            ("schema_versions", &["version", "applied_at"]),
            ("users", &["id", "name"]),
            ("files", &["id", "hash", "created_at"]),
        ] {
            assert_eq!(tool(table, columns), None, "{table}");
        }
    }
}
