//! What a restore leaves as it is.

use migrate_schema::db::{DbError, Postgres};
use sqlx::Row;

use crate::pg::archive::{Contents, LeftOut};

/// What is in the database and is not replaced.
pub(super) struct Stay {
    /// Extensions that the archive has too: their members are theirs.
    pub(super) extensions: Vec<String>,
    /// Schemas that hold members of those extensions.
    pub(super) schemas: Vec<String>,
    /// Publications of all tables that the archive has too, where only a superuser could make them again.
    pub(super) publications: Vec<String>,
    /// Event triggers need a superuser; for another role they stay.
    pub(super) superuser: bool,
    /// Roles whose default privileges the session may not change.
    pub(super) strangers: Vec<String>,
    /// The settings that the server knows.
    pub(super) settings: Vec<String>,
    /// The path under which our other sessions read rows.
    pub(super) search_path: String,
}

impl Stay {
    pub(super) async fn read(database: &Postgres, contents: &Contents) -> Result<Self, DbError> {
        let rows = sqlx::query(
            "SELECT e.extname::text AS name, n.nspname::text AS schema \
             FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
             WHERE e.oid >= 16384 ORDER BY 1",
        )
        .fetch_all(&mut *database.acquire().await?)
        .await?;
        let (mut extensions, mut schemas) = (Vec::new(), Vec::new());
        for row in rows {
            let name: String = row.try_get("name")?;
            if contents.has("EXTENSION", "-", &name) {
                schemas.push(row.try_get("schema")?);
                extensions.push(name);
            }
        }
        schemas.sort();
        schemas.dedup();
        let superuser: bool =
            sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
                .fetch_one(&mut *database.acquire().await?)
                .await?;
        let mut publications: Vec<String> = sqlx::query_scalar(
            "SELECT pubname::text FROM pg_publication WHERE puballtables AND NOT $1 ORDER BY 1",
        )
        .bind(superuser)
        .fetch_all(&mut *database.acquire().await?)
        .await?;
        publications.retain(|name| contents.has("PUBLICATION", "-", name));
        let strangers = sqlx::query_scalar(
            "SELECT rolname::text FROM pg_roles WHERE NOT pg_has_role(oid, 'USAGE')",
        )
        .fetch_all(&mut *database.acquire().await?)
        .await?;
        let settings = sqlx::query_scalar("SELECT name::text FROM pg_settings")
            .fetch_all(&mut *database.acquire().await?)
            .await?;
        let search_path = sqlx::query_scalar("SELECT pg_catalog.current_setting('search_path')")
            .fetch_one(&mut *database.acquire().await?)
            .await?;
        Ok(Self {
            extensions,
            schemas,
            publications,
            superuser,
            strangers,
            settings,
            search_path,
        })
    }

    /// The entries of the archive that must not be made again.
    pub(super) fn left_out(&self) -> LeftOut {
        LeftOut {
            entries: self.entries_left_out(),
            default_privileges_of: self.strangers.clone(),
        }
    }

    fn entries_left_out(&self) -> Vec<String> {
        let mut out = Vec::new();
        for name in &self.extensions {
            out.push(format!("EXTENSION - {name} "));
            out.push(format!("COMMENT - EXTENSION {name} "));
        }
        for name in &self.schemas {
            out.push(format!("SCHEMA - {name} "));
        }
        for name in &self.publications {
            out.push(format!("PUBLICATION - {name} "));
            out.push(format!("COMMENT - PUBLICATION {name} "));
        }
        if !self.superuser {
            out.push("EVENT TRIGGER - ".to_owned());
            out.push("COMMENT - EVENT TRIGGER ".to_owned());
        }
        out
    }
}
