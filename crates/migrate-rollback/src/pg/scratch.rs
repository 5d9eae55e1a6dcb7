//! A scratch database on the deployment's server: made, used, dropped.
//!
//! Crash behaviour: its name says which process made it, so there is no moment at which it is
//! nobody's. The next one drops what a dead process of the same host left.

use std::fmt::Write as _;

use migrate_core::StepError;
use migrate_schema::db::{DatabaseUrl, DbError, Postgres, split_path};
use migrate_schema::quote;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Row};

const PREFIX: &str = "etlrs_scratch_";

pub(crate) struct Scratch {
    name: String,
    url: DatabaseUrl,
}

impl Scratch {
    /// Makes an empty database with the encoding, locale and settings of the deployment's own.
    pub(crate) async fn create(
        database: &Postgres,
        url: Option<&DatabaseUrl>,
    ) -> Result<Self, StepError> {
        remove_leftovers(database)
            .await
            .map_err(|error| error.into_step_error("can't look for scratch databases"))?;
        let name = format!(
            "{PREFIX}{}_{}_{}",
            std::process::id(),
            own_host(),
            chrono::Utc::now().timestamp_millis()
        );
        let there = url.and_then(|url| url.with_database(&name));
        let there = there.ok_or_else(|| {
            StepError::failed("a scratch database needs the database's URL, not a pool alone")
        })?;
        let made = make(database, &name).await;
        made.map_err(refused)?;
        Ok(Self { name, url: there })
    }

    pub(crate) fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    pub(crate) async fn drop(self, database: &Postgres) -> Result<(), StepError> {
        let what = format!("the scratch database {} was not dropped", self.name);
        drop_database(database, &self.name)
            .await
            .map_err(|error| error.into_step_error(what))
    }
}

fn refused(error: DbError) -> StepError {
    let lacks_right = error.code.as_deref() == Some("42501");
    let error = error.into_step_error("no scratch database can be made");
    if lacks_right {
        error.hint("the right to create databases is missing: let a superuser run ALTER ROLE <this role> CREATEDB, or name a server where it has the right")
    } else {
        error
    }
}

async fn make(database: &Postgres, name: &str) -> Result<(), DbError> {
    let own = sqlx::query(
        "SELECT pg_encoding_to_char(encoding)::text AS encoding, datcollate::text AS sorting, \
                datctype::text AS letters FROM pg_database WHERE datname = current_database()",
    )
    .fetch_one(&mut *database.acquire().await?)
    .await?;
    let text = |column: &str| own.try_get::<String, _>(column);
    let name = quote::ident(name);
    let sql = format!(
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        quote::literal(&text("encoding")?),
        quote::literal(&text("sorting")?),
        quote::literal(&text("letters")?),
    );
    run(database, sql).await?;
    for setting in settings(database).await? {
        run(database, format!("ALTER DATABASE {name} SET {setting}")).await?;
    }
    Ok(())
}

/// Settings that decide how a text is read as a value, and what built-in functions make of it.
const KEPT: [&str; 9] = [
    "timezone",
    "datestyle",
    "intervalstyle",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "xmloption",
    "default_text_search_config",
    "quote_all_identifiers",
];

/// `name TO 'value'` of what was set for the database, and in it for the role; a restore reads dates and such by them.
async fn settings(database: &Postgres) -> Result<Vec<String>, DbError> {
    let all: Vec<String> = sqlx::query_scalar(
        "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase \
         WHERE d.datname = current_database() \
           AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user)) ORDER BY s.setrole",
    )
    .fetch_all(&mut *database.acquire().await?)
    .await?;
    let of = |setting: &String| {
        let (name, value) = setting.split_once('=')?;
        match name.to_lowercase().as_str() {
            // A list of names, which is kept as it has to be written.
            "search_path" => Some(format!("{name} TO {}", path(value))),
            name if KEPT.contains(&name) => Some(format!("{name} TO {}", quote::literal(value))),
            _ => None,
        }
    };
    Ok(all.iter().filter_map(of).collect())
}

/// A stored search path as `SET` takes it.
fn path(stored: &str) -> String {
    let name = |schema: String| match schema.as_str() {
        "" | "\"\"" => "''".to_owned(),
        quoted if quoted.starts_with('"') => schema,
        plain => quote::ident(&plain.to_lowercase()),
    };
    let names: Vec<String> = split_path(stored).into_iter().map(name).collect();
    names.join(", ")
}

async fn remove_leftovers(database: &Postgres) -> Result<(), DbError> {
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database \
         WHERE starts_with(datname, $1) AND pg_has_role(datdba, 'USAGE')",
    )
    .bind(PREFIX)
    .fetch_all(&mut *database.acquire().await?)
    .await?;
    let host = own_host();
    for name in found {
        if maker(&name, &host).is_some_and(is_gone) {
            drop_database(database, &name).await?;
        }
    }
    Ok(())
}

/// The process that made it, if that was one of this host.
fn maker(name: &str, host: &str) -> Option<Pid> {
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('_')?;
    let (of, _) = rest.split_once('_')?;
    let pid: i32 = pid.parse().ok()?;
    (of == host && pid > 0).then(|| Pid::from_raw(pid))
}

fn is_gone(pid: Pid) -> bool {
    kill(pid, None) == Err(Errno::ESRCH)
}

/// Where this process's number means something: its host, and there its container.
fn own_host() -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let numbers = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let all = format!(
        "{}\n{}\n{}",
        host.to_string_lossy(),
        machine.trim(),
        numbers.display()
    );
    let mut short = String::new();
    for byte in &Sha256::digest(all)[..6] {
        let _ = write!(short, "{byte:02x}");
    }
    short
}

/// Sessions in it are ended. Where one is not ours to end (an autovacuum worker is a superuser's),
/// the plain form follows: the server ends its own workers and waits some seconds for the rest.
async fn drop_database(database: &Postgres, name: &str) -> Result<(), DbError> {
    let plain = format!("DROP DATABASE IF EXISTS {}", quote::ident(name));
    match run(database, format!("{plain} WITH (FORCE)")).await {
        Err(error) if error.code.as_deref() == Some("42501") => run(database, plain).await,
        done => done,
    }
}

async fn run(database: &Postgres, sql: String) -> Result<(), DbError> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut *database.acquire().await?)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_path_is_written_again() {
        for (stored, written) in [
            ("\"$user\", public", "\"$user\", \"public\""),
            ("App, \"My, own\"", "\"app\", \"My, own\""),
            ("\"\"", "''"),
            ("", "''"),
        ] {
            assert_eq!(path(stored), written, "{stored}");
        }
    }

    #[test]
    fn only_a_name_of_this_host_says_who_made_it() {
        let of = |name: &str| maker(name, "0a1b").map(Pid::as_raw);
        assert_eq!(of("etlrs_scratch_7_0a1b_123"), Some(7));
        assert_eq!(of("etlrs_scratch_7_ffff_123"), None);
        assert_eq!(of("etlrs_scratch_7_123"), None);
        assert_eq!(of("etlrs_scratch_-1_0a1b_123"), None);
        assert_eq!(of("etlrs_scratch_of_mine"), None);
    }
}
