//! What is at the database's URL now, and making it a database again.

use std::path::{Path, PathBuf};

use chrono::Utc;
use migrate_core::StepError;
use migrate_schema::db::{ConnectOptions, CreateMode, Database, DatabaseUrl, DbError, DbErrorKind};
use migrate_schema::quote;

/// What is there.
#[derive(Debug)]
pub enum Place {
    /// A database.
    Open(Database),
    /// A server without this database, or a directory without this file.
    Missing(String),
    /// A file that is no sound database, and why.
    Broken(String),
}

impl Place {
    /// Looks, and changes nothing.
    ///
    /// # Errors
    /// The server can't be reached or refuses the user: nothing can be said of the database.
    pub async fn look(url: &DatabaseUrl) -> Result<Self, StepError> {
        match Database::connect(url, &ConnectOptions::default()).await {
            Ok(database) => Ok(match broken(&database).await {
                None => Self::Open(database),
                Some(why) => {
                    database.close().await;
                    Self::Broken(why)
                }
            }),
            Err(error) if error.kind == DbErrorKind::Missing => {
                Ok(Self::Missing(error.to_string()))
            }
            Err(error) if url.sqlite_path().is_some() && is_broken(&error) => {
                Ok(Self::Broken(error.to_string()))
            }
            Err(error) => Err(error.into_step_error(format!("the database {url}"))),
        }
    }

    /// Makes it a database: a broken file is put aside, never removed; one that is missing
    /// is made, empty.
    pub(super) async fn make(self, url: &DatabaseUrl) -> Result<Made, StepError> {
        let before = match self {
            Self::Open(database) => {
                return Ok(Made {
                    database,
                    before: Before::Itself,
                });
            }
            Self::Missing(_) => Before::Nothing,
            Self::Broken(_) => match url.sqlite_path() {
                Some(file) => Before::Aside(put_aside(&file)?),
                None => Before::Itself,
            },
        };
        match url.sqlite_path() {
            Some(file) => make_parent(&file)?,
            None => on_server(url, "CREATE DATABASE @name@ TEMPLATE template0").await?,
        }
        let options = ConnectOptions {
            create: CreateMode::Create,
            ..ConnectOptions::default()
        };
        let database = Database::connect(url, &options)
            .await
            .map_err(|error| error.into_step_error(format!("can't make the database {url}")))?;
        Ok(Made { database, before })
    }
}

/// The database that is there now, and what was there.
pub(super) struct Made {
    pub(super) database: Database,
    pub(super) before: Before,
}

/// What was at the database's URL before it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    /// The database itself.
    Itself,
    Nothing,
    /// A broken file, which was put aside.
    Aside(PathBuf),
}

impl Before {
    /// Where a broken file was put.
    pub(super) fn aside(&self) -> Option<&Path> {
        match self {
            Self::Aside(file) => Some(file),
            Self::Itself | Self::Nothing => None,
        }
    }

    /// Removes the empty database again that was made in its place; nobody has it open.
    ///
    /// # Errors
    /// It stays, or the broken file does not get its name back.
    pub(super) async fn come_back(&self, url: &DatabaseUrl) -> Result<(), StepError> {
        if *self == Self::Itself {
            return Ok(());
        }
        let Some(file) = url.sqlite_path() else {
            return on_server(url, "DROP DATABASE IF EXISTS @name@").await;
        };
        for tail in BESIDE {
            let path = with_tail(&file, tail);
            if path.exists() {
                std::fs::remove_file(&path).map_err(|error| {
                    StepError::caused(format!("can't remove {}", path.display()), &error)
                })?;
            }
        }
        self.aside().map_or(Ok(()), |aside| rename(aside, &file))
    }
}

fn is_broken(error: &DbError) -> bool {
    error.kind == DbErrorKind::NotADatabase || error.code.as_deref() == Some("SQLITE_CORRUPT")
}

/// Why a SQLite file that opens is not sound.
async fn broken(database: &Database) -> Option<String> {
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(sqlite) => {
            let mut connection = sqlite.acquire().await.ok()?;
            let said: Result<Vec<String>, sqlx::Error> =
                sqlx::query_scalar("PRAGMA quick_check(3)")
                    .fetch_all(&mut *connection)
                    .await;
            match said {
                Ok(said) if said == ["ok"] => None,
                Ok(said) => Some(said.join("; ")),
                Err(error) => {
                    let error = DbError::from(error);
                    is_broken(&error).then(|| error.to_string())
                }
            }
        }
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => None,
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => None,
    }
}

/// What SQLite keeps beside a file, and the file.
const BESIDE: [&str; 4] = ["-wal", "-shm", "-journal", ""];

/// Renames a file with what SQLite keeps beside it.
fn put_aside(file: &Path) -> Result<PathBuf, StepError> {
    let mark = format!(".broken-{}", Utc::now().format("%Y%m%d_%H%M%S"));
    let aside = with_tail(file, &mark);
    rename(file, &aside)?;
    Ok(aside)
}

fn rename(from: &Path, to: &Path) -> Result<(), StepError> {
    for tail in BESIDE {
        let from = with_tail(from, tail);
        if from.exists() {
            std::fs::rename(&from, with_tail(to, tail)).map_err(|error| {
                StepError::caused(format!("can't rename {}", from.display()), &error)
            })?;
        }
    }
    Ok(())
}

fn with_tail(path: &Path, tail: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(tail);
    PathBuf::from(name)
}

fn make_parent(file: &Path) -> Result<(), StepError> {
    let parent = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)
        .map_err(|error| StepError::caused(format!("can't make {}", parent.display()), &error))
}

/// Makes or drops the database from one that every server has.
async fn on_server(url: &DatabaseUrl, statement: &str) -> Result<(), StepError> {
    let name = url.database_name();
    let sql = statement.replace("@name@", &quote::ident(&name));
    let failed_to = format!("{statement} failed").replace("@name@", &name);
    let mut failed = None;
    for other in ["postgres", "template1"] {
        let Some(there) = url.with_database(other) else {
            continue;
        };
        match run_from(&there, sql.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind == DbErrorKind::Missing => failed = Some(error),
            Err(error) => {
                let right = error.code.as_deref() == Some("42501");
                let error = error.into_step_error(failed_to.clone());
                return Err(if right {
                    error.hint(format!(
                        "let a superuser run: CREATE DATABASE {} OWNER <this role>; then try again",
                        quote::ident(&name)
                    ))
                } else {
                    error
                });
            }
        }
    }
    let error = failed.map_or_else(
        || StepError::failed(failed_to.clone()),
        |error| error.into_step_error(failed_to.clone()),
    );
    Err(error)
}

#[cfg_attr(
    not(feature = "postgres"),
    expect(unused_variables, reason = "a file has no other name")
)]
async fn run_from(there: &DatabaseUrl, sql: String) -> Result<(), DbError> {
    let options = ConnectOptions {
        max_connections: 1,
        ..ConnectOptions::default()
    };
    let server = Database::connect(there, &options).await?;
    let made = match &server {
        #[cfg(feature = "postgres")]
        Database::Postgres(server) => sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut *server.acquire().await?)
            .await
            .map(drop)
            .map_err(DbError::from),
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => Ok(()),
        #[cfg(not(all(feature = "postgres", feature = "sqlite")))]
        _ => Err(server.unsupported()),
    };
    server.close().await;
    made
}
