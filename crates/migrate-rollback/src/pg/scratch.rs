//! A scratch database on the deployment's server: made, used, dropped.
//!
//! Crash behaviour: its comment says which process made it. The next one drops what a dead
//! process of the same host left.

use migrate_core::StepError;
use migrate_schema::db::{DatabaseUrl, DbError, Postgres};
use migrate_schema::quote;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
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
            "{PREFIX}{}_{}",
            std::process::id(),
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
    .fetch_one(database.pool())
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
    let host = nix::unistd::gethostname().unwrap_or_default();
    let owner = format!("{} {}", std::process::id(), host.to_string_lossy());
    let comment = format!("COMMENT ON DATABASE {name} IS {}", quote::literal(&owner));
    run(database, comment).await?;
    for setting in settings(database).await? {
        run(database, format!("ALTER DATABASE {name} SET {setting}")).await?;
    }
    Ok(())
}

/// `name TO 'value'` of what `ALTER DATABASE` set; a restore reads dates and such by them.
async fn settings(database: &Postgres) -> Result<Vec<String>, DbError> {
    let all: Vec<String> = sqlx::query_scalar(
        "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase \
         WHERE d.datname = current_database() AND s.setrole = 0",
    )
    .fetch_all(database.pool())
    .await?;
    let kept = ["timezone", "datestyle", "intervalstyle"];
    let of = |setting: &String| {
        let (name, value) = setting.split_once('=')?;
        kept.contains(&name.to_lowercase().as_str())
            .then(|| format!("{name} TO {}", quote::literal(value)))
    };
    Ok(all.iter().filter_map(of).collect())
}

async fn remove_leftovers(database: &Postgres) -> Result<(), DbError> {
    let found: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database \
         WHERE starts_with(datname, $1) AND pg_has_role(datdba, 'USAGE')",
    )
    .bind(PREFIX)
    .fetch_all(database.pool())
    .await?;
    let host = nix::unistd::gethostname().unwrap_or_default();
    for (name, owner) in found {
        let dead = owner
            .as_deref()
            .and_then(|owner| owner.split_once(' '))
            .filter(|(_, of)| *of == host.to_string_lossy())
            .and_then(|(pid, _)| pid.parse().ok())
            .is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH));
        if dead {
            drop_database(database, &name).await?;
        }
    }
    Ok(())
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
        .execute(database.pool())
        .await?;
    Ok(())
}
