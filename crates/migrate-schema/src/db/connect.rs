//! How to connect.

use std::time::Duration;

/// How to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// What the server shows as the program (`application_name`); a suffix makes it unique.
    pub application_name: String,
    /// How many connections there may be at once, at least 1.
    pub max_connections: u32,
    /// How long the first connection may take.
    pub connect_timeout: Duration,
    /// What to do about a SQLite file that does not exist.
    pub create: CreateMode,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            application_name: "etlrs-migrate".to_owned(),
            max_connections: 8,
            connect_timeout: Duration::from_secs(10),
            create: CreateMode::MustExist,
        }
    }
}

/// What to do about a SQLite file that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateMode {
    /// It is an error: a mistyped path must not become an empty database.
    MustExist,
    /// It is made.
    Create,
}
