//! What a database said, with everything that helps.

use std::fmt;

use migrate_core::printable::one_line;
use migrate_core::{StepError, StepErrorKind};

/// What sort of error it is, for callers that branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DbErrorKind {
    /// No server answers, or the connection broke.
    Unreachable,
    /// The server does not let this user in.
    Auth,
    /// No such database or file.
    Missing,
    /// The file is not a database.
    NotADatabase,
    /// A lock was not to be had, or a deadlock was broken: trying again can help.
    Lock,
    /// The statement was cancelled.
    Cancelled,
    /// Another run has taken the database over.
    FenceLost,
    /// A constraint was violated.
    Constraint,
    /// Anything else.
    Other,
}

/// An error of a database. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbError {
    /// What sort of error it is.
    pub kind: DbErrorKind,
    /// The database's own message.
    pub message: String,
    /// SQLSTATE, or the name of SQLite's result code.
    pub code: Option<String>,
    /// The database's own detail, and the context for errors inside functions.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the statement: characters, from 1.
    pub position: Option<usize>,
}

impl DbError {
    /// An error with a message only.
    pub fn new(kind: DbErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            detail: None,
            hint: None,
            position: None,
        }
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error of a step; `what` says what failed on what, as a lowercase fragment.
    pub fn into_step_error(self, what: impl Into<String>) -> StepError {
        let mut error = StepError::failed(what).cause(self.to_string());
        if self.kind == DbErrorKind::Unreachable {
            error.kind = StepErrorKind::Unreachable;
        }
        error.hint = self.hint;
        error
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The server repeats what others wrote into the database: that ends no line.
        f.write_str(&one_line(&self.message))?;
        if let Some(code) = &self.code {
            write!(f, " ({code})")?;
        }
        if let Some(detail) = &self.detail {
            write!(f, "; {}", one_line(detail))?;
        }
        Ok(())
    }
}

impl std::error::Error for DbError {}

impl From<std::io::Error> for DbError {
    fn from(error: std::io::Error) -> Self {
        Self::new(DbErrorKind::Other, error.to_string())
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => from_database(&*error),
            sqlx::Error::Io(error) => unreachable(format!("the connection failed: {error}")),
            sqlx::Error::Tls(error) => unreachable(format!("no encrypted connection: {error}")),
            sqlx::Error::PoolTimedOut => {
                unreachable("no connection became free in time".to_owned())
            }
            sqlx::Error::PoolClosed => unreachable("the connections are closed".to_owned()),
            sqlx::Error::WorkerCrashed => unreachable("the database worker ended".to_owned()),
            other => Self::new(DbErrorKind::Other, other.to_string()),
        }
    }
}

fn unreachable(message: String) -> DbError {
    DbError::new(DbErrorKind::Unreachable, message)
}

fn from_database(error: &dyn sqlx::error::DatabaseError) -> DbError {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return from_postgres(error);
    }
    #[cfg(feature = "sqlite")]
    if let Some(code) = error.code().and_then(|code| code.parse::<i32>().ok()) {
        return from_sqlite(code, error.message());
    }
    DbError::new(DbErrorKind::Other, error.message())
}

#[cfg(feature = "postgres")]
fn from_postgres(error: &sqlx::postgres::PgDatabaseError) -> DbError {
    use sqlx::postgres::PgErrorPosition;

    let position = match error.position() {
        Some(PgErrorPosition::Original(at)) => Some(at),
        _ => None,
    };
    let detail: Vec<&str> = [error.detail(), error.r#where()]
        .into_iter()
        .flatten()
        .collect();
    if error.routine() == Some(ROW_SECURITY_ROUTINE) {
        return hidden_rows(error);
    }
    DbError {
        kind: postgres_kind(error.code()),
        message: error.message().to_owned(),
        code: Some(error.code().to_owned()),
        detail: (!detail.is_empty()).then(|| detail.join("; ")),
        hint: error.hint().map(|hint| one_line(hint).into_owned()),
        position,
    }
}

/// Where the server refuses a query of which a policy would hide rows: told in any language.
#[cfg(feature = "postgres")]
const ROW_SECURITY_ROUTINE: &str = "check_enable_rls";

/// Every session of ours has `row_security = off`, so that no policy makes a part look like the whole.
#[cfg(feature = "postgres")]
fn hidden_rows(error: &sqlx::postgres::PgDatabaseError) -> DbError {
    let table = error.message().split('"').nth(1).unwrap_or("the table");
    DbError {
        code: Some(error.code().to_owned()),
        detail: Some(error.message().to_owned()),
        ..DbError::new(
            DbErrorKind::Other,
            format!(
                "row security on table {table} binds this role: it would see only some of the rows"
            ),
        )
    }
    .hint(format!(
        "connect as the table's owner or as a role with BYPASSRLS; where FORCE ROW LEVEL SECURITY binds \
         the owner, let the owner run ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY for the time of the run"
    ))
}

/// Sorts a SQLSTATE.
#[cfg(feature = "postgres")]
fn postgres_kind(code: &str) -> DbErrorKind {
    match code {
        "28P01" | "28000" => DbErrorKind::Auth,
        "3D000" => DbErrorKind::Missing,
        "55P03" | "40P01" => DbErrorKind::Lock,
        "57014" => DbErrorKind::Cancelled,
        "57P01" | "57P02" | "57P03" | "53300" => DbErrorKind::Unreachable,
        _ if code.starts_with("08") => DbErrorKind::Unreachable,
        _ if code.starts_with("23") => DbErrorKind::Constraint,
        _ => DbErrorKind::Other,
    }
}

#[cfg(feature = "sqlite")]
fn from_sqlite(code: i32, message: &str) -> DbError {
    // The low byte is the primary result code: https://sqlite.org/rescode.html
    let (name, kind) = match code & 0xff {
        5 => ("SQLITE_BUSY", DbErrorKind::Lock),
        6 => ("SQLITE_LOCKED", DbErrorKind::Lock),
        7 => ("SQLITE_NOMEM", DbErrorKind::Other),
        8 => ("SQLITE_READONLY", DbErrorKind::Other),
        9 => ("SQLITE_INTERRUPT", DbErrorKind::Cancelled),
        10 => ("SQLITE_IOERR", DbErrorKind::Other),
        11 => ("SQLITE_CORRUPT", DbErrorKind::Other),
        13 => ("SQLITE_FULL", DbErrorKind::Other),
        14 => ("SQLITE_CANTOPEN", DbErrorKind::Missing),
        19 => ("SQLITE_CONSTRAINT", DbErrorKind::Constraint),
        26 => ("SQLITE_NOTADB", DbErrorKind::NotADatabase),
        _ => ("SQLITE_ERROR", DbErrorKind::Other),
    };
    DbError {
        code: Some(match code {
            0..=0xff => name.to_owned(),
            _ => format!("{name}, extended code {code}"),
        }),
        ..DbError::new(kind, message)
    }
}
