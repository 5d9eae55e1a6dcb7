//! Telling a program of PostgreSQL which server and who, without argv.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use migrate_core::StepError;
use migrate_schema::db::{DatabaseUrl, Postgres};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::backup::directory;

/// The environment of a child that shall reach the same database as a pool.
///
/// The password is in a file of mode 0600 that goes with this value. Without a password in
/// the URL, the child finds one as libpq does (`PGPASSWORD`, `PGPASSFILE`, `~/.pgpass`), as
/// the pool did.
pub(crate) struct Target {
    variables: Vec<(&'static str, OsString)>,
    passfile: Option<NamedTempFile>,
    password: Option<String>,
}

impl Target {
    /// `dir` is where the password file goes: a directory of the tool's own.
    pub(crate) fn new(
        database: &Postgres,
        url: Option<&DatabaseUrl>,
        dir: &Path,
    ) -> Result<Self, StepError> {
        let password = url.and_then(DatabaseUrl::password);
        directory::remove_leftovers(dir, "pgpass");
        let passfile = match &password {
            None => None,
            Some(password) => Some(write_passfile(dir, password)?),
        };
        let mut variables = variables(&database.pool().connect_options(), url);
        if let Some(file) = &passfile {
            variables.push(("PGPASSFILE", file.path().into()));
        }
        Ok(Self {
            variables,
            passfile,
            password,
        })
    }

    /// A command in a process group of its own with this environment.
    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, _) in std::env::vars_os() {
            let inherited = name.to_string_lossy();
            let is_password = ["PGPASSWORD", "PGPASSFILE"].contains(&&*inherited);
            if inherited.starts_with("PG") && (self.passfile.is_some() || !is_password) {
                command.env_remove(&name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A program's words without the password, should it ever repeat it.
    pub(crate) fn redact(&self, text: &str) -> String {
        match &self.password {
            Some(password) if !password.is_empty() => text.replace(password.as_str(), "***"),
            _ => text.to_owned(),
        }
    }
}

fn write_passfile(dir: &Path, password: &str) -> Result<NamedTempFile, StepError> {
    let line = passfile_line(password)?;
    let written = directory::temporary(dir, "pgpass").and_then(|mut file| {
        file.write_all(line.as_bytes())?;
        file.flush()?;
        Ok(file)
    });
    written.map_err(|error| StepError::caused("can't write the password file", &error))
}

/// One line for every server: the child is told one server only.
fn passfile_line(password: &str) -> Result<String, StepError> {
    if password.contains(['\n', '\r', '\0']) {
        return Err(StepError::failed(
            "the database password has a line break in it, which PostgreSQL's programs can't be given",
        ));
    }
    let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
    Ok(format!("*:*:*:*:{escaped}\n"))
}

fn variables(
    options: &PgConnectOptions,
    url: Option<&DatabaseUrl>,
) -> Vec<(&'static str, OsString)> {
    let host = options
        .get_socket()
        .map_or_else(|| PathBuf::from(options.get_host()), Clone::clone);
    let mode = match options.get_ssl_mode() {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    };
    let user = options.get_username();
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("PGHOST", host.into()),
        ("PGPORT", options.get_port().to_string().into()),
        ("PGUSER", user.into()),
        ("PGDATABASE", options.get_database().unwrap_or(user).into()),
        ("PGSSLMODE", mode.into()),
        ("PGAPPNAME", "etlrs-migrate backup".into()),
        ("PGCONNECT_TIMEOUT", "15".into()),
        ("PGCLIENTENCODING", "UTF8".into()),
    ];
    if let Some(options) = options.get_options() {
        variables.push(("PGOPTIONS", options.into()));
    }
    for (name, parameter) in [
        ("PGSSLROOTCERT", "sslrootcert"),
        ("PGSSLCERT", "sslcert"),
        ("PGSSLKEY", "sslkey"),
    ] {
        let written = url.and_then(|url| url.parameter(parameter));
        let value = written
            .map(OsString::from)
            .or_else(|| std::env::var_os(name));
        variables.extend(value.map(|value| (name, value)));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_escaped_for_the_file() {
        assert_eq!(
            passfile_line(r"a:b\c d'").unwrap(),
            "*:*:*:*:a\\:b\\\\c d'\n"
        );
        assert!(passfile_line("a\nb").is_err());
    }

    #[test]
    fn the_server_is_told_without_its_password() {
        let text = "postgres://us%40er:s3cret@db.example:5433/my%20db?sslmode=require&sslrootcert=%2Fetc%2Fca.pem";
        let url: DatabaseUrl = text.parse().unwrap();
        let options: PgConnectOptions = text.parse().unwrap();
        let all = variables(&options, Some(&url));
        for expected in [
            ("PGHOST", "db.example"),
            ("PGPORT", "5433"),
            ("PGUSER", "us@er"),
            ("PGDATABASE", "my db"),
            ("PGSSLMODE", "require"),
            ("PGSSLROOTCERT", "/etc/ca.pem"),
        ] {
            let (name, value) = expected;
            assert!(all.contains(&(name, value.into())), "{expected:?}: {all:?}");
        }
        assert!(!format!("{all:?}").contains("s3cret"));
    }
}
