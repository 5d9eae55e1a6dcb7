//! What names mean in a session of PostgreSQL.
//!
//! Whoever may create an object in a schema of the search path can give it the name of a built-in
//! one with arguments that fit better. So every session of ours is pinned to the system's names;
//! the path that the database gives its user holds only while SQL of the user's runs.

use std::sync::OnceLock;

use sqlx::PgConnection;
use sqlx::postgres::types::Oid;

use super::{DbError, Postgres};
use crate::quote::TableName;

/// What names mean in every session of ours: those of the system and nothing of anybody else's, and
/// a policy that would hide rows is an error. For the session, also where a transaction is open.
pub(super) const PIN: &str = "set search_path = pg_catalog, pg_temp; set row_security = off";

/// What names mean to a script in its session, as its last statement left it.
#[derive(Debug, Clone)]
pub(crate) struct ScriptNames {
    path: String,
    row_security: String,
}

impl ScriptNames {
    /// Gives a session the names of the script, for its next statement.
    pub(crate) async fn give(&self, connection: &mut PgConnection) -> Result<(), DbError> {
        sqlx::query(
            "select pg_catalog.set_config('search_path', $1, false), \
                    pg_catalog.set_config('row_security', $2, false)",
        )
        .bind(&self.path)
        .bind(&self.row_security)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Takes them back, with what the script made of them.
    pub(crate) async fn take(&mut self, connection: &mut PgConnection) -> Result<(), DbError> {
        let (path, row_security): (String, String) = sqlx::query_as(
            "select pg_catalog.current_setting('search_path'), \
                    pg_catalog.current_setting('row_security')",
        )
        .fetch_one(&mut *connection)
        .await?;
        *self = Self { path, row_security };
        Ok(pin(connection).await?)
    }

    /// The number of the relation that the script means by a name; none if there is none.
    pub(crate) async fn number_of(
        &self,
        connection: &mut PgConnection,
        name: &TableName,
    ) -> Result<Option<Oid>, DbError> {
        self.give(connection).await?;
        let number = sqlx::query_scalar("select pg_catalog.to_regclass($1)::pg_catalog.oid")
            .bind(name.sql())
            .fetch_one(&mut *connection)
            .await?;
        pin(connection).await?;
        Ok(number)
    }
}

impl Postgres {
    /// What names mean to a script at its beginning: as in a session of the user's.
    pub(crate) async fn script_names(&self) -> Result<ScriptNames, DbError> {
        Ok(ScriptNames {
            path: self.users_path().await?.to_owned(),
            row_security: "on".to_owned(),
        })
    }

    /// The search path that the database, the role and the URL give a session of the user's.
    ///
    /// # Errors
    /// The server can't be reached, or refuses the session.
    pub async fn users_path(&self) -> Result<&str, DbError> {
        if self.users_path.get().is_none() {
            drop(self.acquire().await?);
        }
        Ok(self.users_path.get().map_or("", String::as_str))
    }

    /// Lets names in a session mean what they mean to the user, for SQL that the user wrote;
    /// [`pin`] takes it back. Policies that would hide rows stay an error.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn as_the_user(&self, connection: &mut PgConnection) -> Result<(), DbError> {
        Box::pin(set_path(connection, self.users_path().await?)).await
    }

    /// The same for SQL that is in part the user's and in part ours: built-in names come first also
    /// where the path puts other schemas before them, so that no object stands in for one of them.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn as_the_user_after_ours(
        &self,
        connection: &mut PgConnection,
    ) -> Result<(), DbError> {
        let path = self.users_path_after_ours().await?;
        Box::pin(set_path(connection, &path)).await
    }

    /// The user's search path without `pg_catalog`, which the server then looks into first.
    ///
    /// # Errors
    /// The server can't be reached, or refuses the session.
    pub async fn users_path_after_ours(&self) -> Result<String, DbError> {
        Ok(system_first(self.users_path().await?))
    }

    /// The schemas that the user's search path finds, in its order; the first takes new objects.
    ///
    /// # Errors
    /// The server can't be reached, or refuses the session.
    pub async fn users_schemas(&self) -> Result<Vec<String>, DbError> {
        let mut connection = self.acquire().await?;
        self.as_the_user(&mut connection).await?;
        let schemas =
            sqlx::query_scalar("select pg_catalog.current_schemas(false)::pg_catalog.text[]")
                .fetch_one(&mut *connection)
                .await?;
        pin(&mut connection).await?;
        Ok(schemas)
    }

    /// A table's name with the schema in which the user finds it; as it is if it has a schema, or
    /// if the user finds no such table.
    ///
    /// # Errors
    /// The server can't be reached, or refuses the session.
    pub async fn resolve(&self, table: &TableName) -> Result<TableName, DbError> {
        if table.schema().is_some() {
            return Ok(table.clone());
        }
        Box::pin(self.look_up(table)).await
    }

    async fn look_up(&self, table: &TableName) -> Result<TableName, DbError> {
        let mut connection = self.acquire().await?;
        self.as_the_user(&mut connection).await?;
        let schema: Result<Option<String>, sqlx::Error> = sqlx::query_scalar(
            "select n.nspname::pg_catalog.text from pg_catalog.pg_class c \
             join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace \
             where c.oid operator(pg_catalog.=) pg_catalog.to_regclass($1::pg_catalog.text)",
        )
        .bind(table.sql())
        .fetch_optional(&mut *connection)
        .await;
        pin(&mut connection).await?;
        Ok(match schema? {
            Some(schema) => TableName::new(Some(&schema), table.table()),
            None => table.clone(),
        })
    }
}

/// Makes names in a session mean the system's, and a policy that would hide rows an error. For
/// sessions that a [`Postgres`] did not open, and after SQL of the user's.
///
/// # Errors
/// The server refuses, or the session is in a transaction that failed.
pub async fn pin(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(PIN).execute(connection).await.map(drop)
}

/// A path without `pg_catalog`, which the server then looks into first, and does not make new
/// objects in.
fn system_first(path: &str) -> String {
    let schemas = split_path(path);
    let system = |schema: &&str| {
        let plain = schema.eq_ignore_ascii_case("pg_catalog");
        plain || *schema == "\"pg_catalog\""
    };
    let schemas = schemas.iter().map(String::as_str);
    let others: Vec<&str> = schemas.filter(|schema| !system(schema)).collect();
    others.join(", ")
}

/// The schemas of a search path as they are written there, with their quotes.
pub fn split_path(path: &str) -> Vec<String> {
    let mut schemas = vec![String::new()];
    let mut quoted = false;
    for letter in path.chars() {
        quoted ^= letter == '"';
        match schemas.last_mut() {
            Some(last) if letter != ',' || quoted => last.push(letter),
            _ => schemas.push(String::new()),
        }
    }
    let trimmed = schemas.iter().map(|schema| schema.trim().to_owned());
    trimmed.collect()
}

/// For the session, as [`pin`] does: in a transaction that is rolled back, the path before returns.
async fn set_path(connection: &mut PgConnection, path: &str) -> Result<(), DbError> {
    sqlx::query("select pg_catalog.set_config('search_path', $1, false)")
        .bind(path)
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes the path of a session that nobody has set anything in, if none is known.
pub(super) async fn note_users_path(
    connection: &mut PgConnection,
    known: &OnceLock<String>,
) -> Result<(), sqlx::Error> {
    if known.get().is_none() {
        let path = sqlx::query_scalar("select pg_catalog.current_setting('search_path')")
            .fetch_one(connection)
            .await?;
        known.get_or_init(|| path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::system_first;

    #[test]
    fn the_system_is_implied_before_the_schemas_of_a_path() {
        for (path, first) in [
            ("\"$user\", public", "\"$user\", public"),
            ("app, public, pg_catalog", "app, public"),
            (
                "app, PG_Catalog, \"a, pg_catalog\"",
                "app, \"a, pg_catalog\"",
            ),
            (
                "\"pg_catalog\",pg_temp,\"PG_CATALOG\"",
                "pg_temp, \"PG_CATALOG\"",
            ),
            ("", ""),
        ] {
            assert_eq!(system_first(path), first, "{path}");
        }
    }
}
