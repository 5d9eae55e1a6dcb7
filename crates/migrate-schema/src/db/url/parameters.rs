//! The parameters of a PostgreSQL URL: those that are obeyed as libpq obeys them, and no others.
//!
//! A parameter that is passed over in silence may be the one that asks for encryption. So what
//! is not obeyed is refused by its name, also where only the spelling differs.

use std::borrow::Cow;
#[cfg(feature = "postgres")]
use std::time::Duration;

use super::{UrlError, percent_decoded};

/// Obeyed, and harmless to show.
const SHOWN: [&str; 12] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "application_name",
    "connect_timeout",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "client_encoding",
];

/// Obeyed, but its value is never shown.
const HIDDEN: [&str; 2] = ["password", "options"];

/// Spellings of the driver that mean one of [`SHOWN`].
const SPELLINGS: [(&str, &str); 7] = [
    ("ssl-mode", "sslmode"),
    ("ssl-root-cert", "sslrootcert"),
    ("ssl-ca", "sslrootcert"),
    ("ssl-cert", "sslcert"),
    ("ssl-key", "sslkey"),
    ("statement-cache-capacity", "statement-cache-capacity"),
    ("statement_cache_capacity", "statement-cache-capacity"),
];

const MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// One parameter, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    /// The name as libpq spells it.
    pub(super) name: Cow<'static, str>,
    pub(super) value: String,
}

/// The parameters of a URL's query.
pub(super) fn of(text: &str) -> Vec<Parameter> {
    pairs(text)
        .map(|(key, value)| Parameter {
            name: canonical(percent_decoded(key)),
            value: percent_decoded(value),
        })
        .collect()
}

/// Whether a parameter's value may be shown.
pub(super) fn is_shown(key: &str) -> bool {
    let name = canonical(percent_decoded(key));
    SHOWN.contains(&&*name) || name == "statement-cache-capacity"
}

/// Refuses what would not be obeyed. Names are repeated, values are not.
pub(super) fn check(text: &str) -> Result<(), UrlError> {
    if text.contains('#') {
        return Err(UrlError(
            "`#` ends a URL, and what follows would be passed over: write %23 for it".to_owned(),
        ));
    }
    let found = of(text);
    for (at, parameter) in found.iter().enumerate() {
        let name = &*parameter.name;
        let option = name.starts_with("options[") && name.ends_with(']');
        if !SHOWN.contains(&name)
            && !HIDDEN.contains(&name)
            && name != "statement-cache-capacity"
            && !option
        {
            return Err(unknown(text, name));
        }
        if found[..at].iter().any(|other| other.name == parameter.name) {
            return Err(UrlError(format!(
                "the parameter {name} of the database URL is given twice: keep one"
            )));
        }
        check_value(name, &parameter.value)?;
    }
    let has = |name: &str| found.iter().any(|parameter| parameter.name == name);
    let authority = Authority::of(text);
    for (twice, name) in [(authority.password, "password"), (authority.user, "user")] {
        if twice && has(name) {
            return Err(UrlError(format!(
                "the database URL has a {name} before the host and as a parameter: keep one"
            )));
        }
    }
    if has("hostaddr") && (has("host") || authority.host) {
        return Err(UrlError(
            "the parameter hostaddr of the database URL is not supported beside a host: keep one"
                .to_owned(),
        ));
    }
    Ok(())
}

fn check_value(name: &str, value: &str) -> Result<(), UrlError> {
    let refuse = |why: &str| Err(UrlError(format!("{name} in the database URL {why}")));
    match name {
        "sslmode" if value == "allow" => {
            refuse("is `allow`, which is not supported: use prefer, or require")
        }
        "sslmode" if !MODES.contains(&value) => refuse(&format!(
            "has an unknown value: use one of {}",
            MODES.join(", ")
        )),
        "sslrootcert" if value == "system" => {
            refuse("is `system`, which is not supported: name the file with the certificates")
        }
        "connect_timeout" if seconds(value).is_none() => refuse("is not a number of seconds"),
        "client_encoding" if !matches!(&*value.to_ascii_lowercase(), "utf8" | "utf-8") => {
            refuse("is another than UTF8, which is always used: leave it out")
        }
        "host" | "hostaddr" | "port" if value.contains(',') => {
            refuse("names several servers, which is not supported: name the one that is written")
        }
        _ => Ok(()),
    }
}

fn seconds(value: &str) -> Option<u64> {
    value.trim().parse().ok()
}

/// As libpq takes it: 0 waits without an end, which is an hour here.
#[cfg(feature = "postgres")]
pub(super) fn connect_timeout(text: &str) -> Option<Duration> {
    let found = of(text);
    let given = found.iter().find(|one| one.name == "connect_timeout")?;
    Some(match seconds(&given.value)? {
        0 => Duration::from_hours(1),
        some => Duration::from_secs(some.max(2)),
    })
}

fn canonical(name: String) -> Cow<'static, str> {
    let spelled = SPELLINGS.iter().find(|(spelling, _)| *spelling == name);
    spelled.map_or(Cow::Owned(name), |(_, libpq)| Cow::Borrowed(*libpq))
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = text.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn unknown(text: &str, name: &str) -> UrlError {
    // With an `@` behind it, a `?` may stand in a password.
    let query = text.split_once('?').map_or("", |(_, query)| query);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_name = !query.contains('@') && name.len() <= 40 && name.chars().all(plain);
    if !is_name || name.is_empty() {
        return UrlError(
            "the database URL has a parameter that is not known; `?`, `&`, `=`, `@` and `/` in a password are written percent-encoded".to_owned(),
        );
    }
    let meant = name.to_ascii_lowercase().replace(['_', '-'], "");
    let near = SHOWN
        .iter()
        .chain(&HIDDEN)
        .find(|known| known.replace('_', "") == meant);
    UrlError(match near {
        Some(near) => format!(
            "the database URL has a parameter {name}, which is not known: it is spelled {near}"
        ),
        None => format!(
            "the parameter {name} of the database URL is not supported, and nothing is passed over in silence: take it out if what it asks for is not needed (supported: {}, {})",
            SHOWN.join(", "),
            HIDDEN.join(", ")
        ),
    })
}

/// What stands before the path.
struct Authority {
    user: bool,
    password: bool,
    host: bool,
}

impl Authority {
    fn of(text: &str) -> Self {
        let rest = text.split_once("//").map_or("", |(_, rest)| rest);
        let front = rest.split_once('?').map_or(rest, |(front, _)| front);
        let (userinfo, host) = front.rsplit_once('@').unwrap_or(("", front));
        let host = host.split('/').next().unwrap_or_default();
        Self {
            user: !userinfo.split(':').next().unwrap_or_default().is_empty(),
            password: userinfo.contains(':'),
            host: !host.is_empty() && !host.starts_with(':'),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::db::DatabaseUrl;

    fn refusal(text: &str) -> String {
        let read: Result<DatabaseUrl, _> = text.parse();
        read.expect_err(text).to_string()
    }

    #[test]
    fn what_is_not_obeyed_is_refused_by_its_name() {
        for name in [
            "ssl_mode",
            "SSLMODE",
            "sslMode",
            "channel_binding",
            "require_auth",
            "gssencmode",
            "sslcrl",
            "sslcrldir",
            "ssl_min_protocol_version",
            "sslpassword",
            "sslnegotiation",
            "requirepeer",
            "target_session_attrs",
            "load_balance_hosts",
            "passfile",
            "service",
            "krbsrvname",
            "replication",
            "requiressl",
            "sslcompression",
            "sslsni",
            "whatever",
            "Password",
            "HOST",
            "ssl%5Fmode",
        ] {
            let error = refusal(&format!("postgres://u:s3cret@h/db?{name}=s3cret"));
            let shown = name.replace("%5F", "_");
            assert!(error.contains(&format!("parameter {shown}")), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(refusal("postgres://h/db?SSLMODE=require").contains("spelled sslmode"));
        assert!(refusal("postgres://h/db?ssl_root_cert=x").contains("spelled sslrootcert"));
    }

    #[test]
    fn values_that_would_be_read_otherwise_are_refused() {
        for (query, word) in [
            ("sslmode=allow", "allow"),
            ("sslmode=s3cret", "sslmode"),
            ("sslmode=", "sslmode"),
            ("sslmode", "sslmode"),
            ("sslmode=require&sslmode=disable", "twice"),
            ("sslmode=require&ssl-mode=disable", "twice"),
            ("sslrootcert=system", "system"),
            ("connect_timeout=s3cret", "connect_timeout"),
            ("client_encoding=latin1", "client_encoding"),
            ("host=a,b", "several"),
            ("hostaddr=127.0.0.1", "hostaddr"),
            ("password=s3cret", "password"),
            ("user=x", "user"),
        ] {
            let error = refusal(&format!("postgres://u:s3cret@h/db?{query}"));
            assert!(error.contains(word), "{query}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(refusal("postgres://h/db#?sslmode=verify-full").contains("%23"));
    }

    #[test]
    fn a_piece_of_a_password_is_no_name() {
        let error = refusal("postgres://u:a?s3cret=x&y@h/db");
        assert!(!error.contains("s3cret"), "{error}");
        let error = refusal("postgres://h/db?s3%20cret%40=1");
        assert!(!error.contains("s3"), "{error}");
    }

    #[test]
    fn what_is_obeyed_is_taken() {
        for query in [
            "sslmode=verify-full&sslrootcert=/ca.pem&sslcert=c&sslkey=k",
            "ssl-mode=require&ssl-ca=x",
            "host=/run&port=5433&dbname=x&user=y&password=z",
            "hostaddr=127.0.0.1",
            "application_name=x&connect_timeout=10&options=-c%20a%3D1",
            "options[search_path]=x",
            "statement-cache-capacity=0",
            "",
        ] {
            let text = format!("postgres:///db?{query}");
            assert!(text.parse::<DatabaseUrl>().is_ok(), "{text}");
        }
    }
}
