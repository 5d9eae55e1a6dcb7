//! Encryption as libpq understands the URL and the environment.

use std::path::PathBuf;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{DatabaseUrl, DbError, DbErrorKind};

/// Variables of libpq that ask for something which is not supported here. Empty, or with the
/// value that stands beside them, they ask for nothing.
const REFUSED: [(&str, &[&str]); 12] = [
    ("PGREQUIREAUTH", &[]),
    ("PGCHANNELBINDING", &["disable", "prefer"]),
    ("PGGSSENCMODE", &["disable", "prefer"]),
    ("PGREQUIREPEER", &[]),
    ("PGSSLCRL", &[]),
    ("PGSSLCRLDIR", &[]),
    ("PGSSLMINPROTOCOLVERSION", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("PGSSLMAXPROTOCOLVERSION", &[]),
    ("PGTARGETSESSIONATTRS", &["any", "read-write", "primary"]),
    ("PGSERVICE", &[]),
    ("PGREQUIRESSL", &["0"]),
    ("PGSSLNEGOTIATION", &["postgres"]),
];

const MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// How to connect to a URL, or what of it or of the environment is not supported.
pub(super) fn options(url: &DatabaseUrl) -> Result<PgConnectOptions, DbError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    refuse_variables(url, variable)?;
    let base: PgConnectOptions = url.secret().parse().map_err(|error| {
        DbError::new(DbErrorKind::Other, format!("{url} can't be used: {error}"))
            .hint("use postgres://USER:PASSWORD@HOST:PORT/DATABASE")
    })?;
    let named = url
        .parameter("sslrootcert")
        .or_else(|| variable("PGSSLROOTCERT"));
    let root = match named {
        Some(file) => Some(PathBuf::from(file)),
        None => variable("HOME")
            .map(|home| PathBuf::from(home).join(".postgresql/root.crt"))
            .filter(|file| file.exists()),
    };
    let Some(root) = root else { return Ok(base) };
    // libpq: with a root certificate, `require` verifies as `verify-ca` does.
    let mode = match base.get_ssl_mode() {
        PgSslMode::Require => PgSslMode::VerifyCa,
        other => other,
    };
    Ok(base.ssl_mode(mode).ssl_root_cert(root))
}

fn refuse_variables(
    url: &DatabaseUrl,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), DbError> {
    let refuse = |name: &str, hint: String| {
        let message = format!("${name} asks for what is not supported, and is not passed over");
        Err(DbError::new(DbErrorKind::Other, message).hint(hint))
    };
    for (name, harmless) in REFUSED {
        if let Some(value) = variable(name)
            && !harmless.contains(&&*value)
        {
            let hint = format!("unset {name} if what it asks for is not needed");
            return refuse(name, hint);
        }
    }
    let given = url.parameter("sslmode").is_some();
    if let Some(mode) = variable("PGSSLMODE")
        && !given
        && !MODES.contains(&&*mode)
    {
        return refuse("PGSSLMODE", format!("use one of {}", MODES.join(", ")));
    }
    if variable("PGSSLROOTCERT").as_deref() == Some("system")
        && url.parameter("sslrootcert").is_none()
    {
        let hint = "name the file with the certificates".to_owned();
        return refuse("PGSSLROOTCERT", hint);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_would_be_passed_over_are_refused() {
        let url: DatabaseUrl = "postgres://h/db".parse().unwrap();
        let look = |name: &'static str, value: &'static str| {
            refuse_variables(&url, |asked| (asked == name).then(|| value.to_owned()))
        };
        for (name, value) in [
            ("PGREQUIREAUTH", "scram-sha-256"),
            ("PGCHANNELBINDING", "require"),
            ("PGGSSENCMODE", "require"),
            ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
            ("PGSSLMODE", "allow"),
            ("PGSSLMODE", "REQUIRE"),
            ("PGSSLROOTCERT", "system"),
            ("PGSERVICE", "x"),
        ] {
            let error = look(name, value).unwrap_err();
            assert!(error.message.contains(name), "{error:?}");
        }
        for (name, value) in [
            ("PGCHANNELBINDING", "prefer"),
            ("PGGSSENCMODE", "disable"),
            ("PGSSLMODE", "require"),
            ("PGSSLROOTCERT", "/ca.pem"),
        ] {
            assert!(look(name, value).is_ok(), "{name}");
        }
    }
}
