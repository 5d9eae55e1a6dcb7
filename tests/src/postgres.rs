//! A throwaway PostgreSQL for tests: one server per test process, one database per test.
//!
//! [`TestDatabase::create`] is all that most tests need. The server is started on first use
//! from the installed binaries, in a directory of its own, and never touches another server
//! of the machine. It is gone when the test process is gone, however that ended.

mod binaries;
mod client;
mod server;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub use binaries::Binaries;
pub use server::Server;

/// The role that tests connect as: it may log in and create databases, and is no superuser.
pub const ROLE: &str = "etlrs";

/// The password of [`ROLE`], checked on every connection over TCP.
pub const PASSWORD: &str = "etlrs-hunter2-secret";

/// The superuser of the throwaway server.
pub const ADMIN: &str = "postgres";

/// The password of [`ADMIN`].
pub const ADMIN_PASSWORD: &str = "admin-hunter3-secret";

/// The server that all tests of this process share. Started on the first call.
///
/// # Panics
/// If PostgreSQL is not installed (the message says how to get it) or does not start.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// A second one, for tests that compare what all databases of a server share: nobody makes roles or
/// settings there.
///
/// # Panics
/// As [`shared`].
pub fn undisturbed() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// An empty database that belongs to [`ROLE`]. Dropped with the value, its sessions ended.
#[derive(Debug)]
pub struct TestDatabase<'server> {
    server: &'server Server,
    name: String,
}

impl TestDatabase<'static> {
    /// Creates one on the [`shared`] server.
    ///
    /// # Panics
    /// As [`shared`].
    #[must_use = "the database is dropped with this value"]
    pub fn create() -> Self {
        Self::create_on(shared())
    }
}

impl<'server> TestDatabase<'server> {
    /// Creates one on a server of the test's own.
    ///
    /// # Panics
    /// If the server does not take it.
    #[must_use = "the database is dropped with this value"]
    pub fn create_on(server: &'server Server) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("etlrs_test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        server.admin_psql(
            "postgres",
            &format!("CREATE DATABASE {name} OWNER {ROLE} TEMPLATE template0"),
        );
        Self { server, name }
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server it is on.
    pub fn server(&self) -> &'server Server {
        self.server
    }

    /// Its URL for [`ROLE`], over TCP with the password in it.
    pub fn url(&self) -> String {
        self.server.url(ROLE, PASSWORD, &self.name)
    }

    /// Its URL for the superuser.
    pub fn admin_url(&self) -> String {
        self.server.url(ADMIN, ADMIN_PASSWORD, &self.name)
    }

    /// Runs SQL as [`ROLE`] and returns what `psql -At` prints, without the last newline.
    ///
    /// # Panics
    /// If a statement fails, with the database's message.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.server.psql(ROLE, &self.name, sql)
    }

    /// Runs SQL as the superuser.
    ///
    /// # Panics
    /// If a statement fails, with the database's message.
    #[track_caller]
    pub fn admin_psql(&self, sql: &str) -> String {
        self.server.admin_psql(&self.name, sql)
    }

    /// Everything in the database as sorted lines of a `pg_dump`, rows as INSERT statements,
    /// without the lines that differ from dump to dump.
    ///
    /// # Panics
    /// If `pg_dump` fails.
    #[track_caller]
    pub fn dump_sorted(&self) -> String {
        self.server.dump_sorted(&self.name)
    }
}

impl Drop for TestDatabase<'_> {
    fn drop(&mut self) {
        // A server that a test crashed on purpose can't drop it; its directory goes anyway.
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = self.server.try_psql(ADMIN, "postgres", &drop);
    }
}

#[cfg(test)]
mod tests;
