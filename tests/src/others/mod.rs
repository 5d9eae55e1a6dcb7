//! Others at work in the middle of a run: what they committed is there in the end, or was named and
//! given up by consent.
//!
//! Reading order: [`act`] (what somebody does, and how it is looked up afterwards by psql or
//! sqlite3), [`round`] (a run that is stopped between two records of its journal, the act, and what
//! must hold in the end).

pub mod act;
pub mod round;

pub use act::{Act, Done};
pub use round::{Ended, Round};

use std::path::Path;
use std::process::{Command, Stdio};

use crate::deployment::{Deployment, Store};
use crate::postgres::ROLE;

/// A table that no step touches, made before the deployment is migrated.
pub const ORDERS: &str = "CREATE TABLE orders (id integer PRIMARY KEY, note text NOT NULL);
INSERT INTO orders SELECT id, 'old' FROM pipelines_old WHERE id BETWEEN 1 AND 40;";

/// Runs SQL as another program would, which gives up soon where it has to wait for a lock.
///
/// # Errors
/// What the database said.
///
/// # Panics
/// If psql or sqlite3 can't be started.
pub fn try_sql(deployment: &Deployment, sql: &str) -> Result<String, String> {
    match deployment.store() {
        Store::Postgres => {
            let database = deployment.postgres();
            let text = format!("SET lock_timeout = '400ms';\n{sql}");
            database.server().try_psql(ROLE, database.name(), &text)
        }
        Store::Sqlite => sqlite(&deployment.database_file(), sql),
    }
}

/// The same on a file of SQLite.
///
/// # Errors
/// What sqlite3 said.
///
/// # Panics
/// If it can't be started.
pub fn sqlite(file: &Path, sql: &str) -> Result<String, String> {
    let output = Command::new("sqlite3")
        .args(["-bail", "-list", "-cmd", ".timeout 400"])
        .arg(file)
        .arg(sql)
        .stdin(Stdio::null())
        .output()
        .expect("the tests need sqlite3: `apt-get install sqlite3` (scripts/test.sh does)");
    if output.status.success() && output.stderr.is_empty() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
