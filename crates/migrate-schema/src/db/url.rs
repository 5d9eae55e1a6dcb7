//! Where a database is. The only place that holds a password.

mod parameters;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Backend;

/// A database's URL: `postgres://…`, `postgresql://…`, `sqlite:PATH` or `sqlite://PATH`.
/// `Debug` and `Display` show it without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    place: Location,
}

#[derive(Clone, PartialEq, Eq)]
enum Location {
    Postgres,
    Sqlite(PathBuf),
}

/// Why a text is not a database URL. Does not repeat the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlError(String);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UrlError {}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let place = match text.split_once(':') {
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                parameters::check(text)?;
                Location::Postgres
            }
            Some(("sqlite", rest)) => Location::Sqlite(sqlite_path(rest)?),
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                return Err(UrlError(format!(
                    "{scheme:?} is not a database that is supported: use postgres://USER@HOST/DATABASE or sqlite:PATH"
                )));
            }
            _ => {
                return Err(UrlError(
                    "not a database URL: use postgres://USER@HOST/DATABASE or sqlite:PATH".into(),
                ));
            }
        };
        Ok(Self {
            text: text.to_owned(),
            place,
        })
    }
}

fn sqlite_path(rest: &str) -> Result<PathBuf, UrlError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let (path, parameters) = path.split_once('?').unwrap_or((path, ""));
    for parameter in parameters.split('&').filter(|one| !one.is_empty()) {
        // What the file is opened with in any case; whether it may be made, each command says.
        if !matches!(
            parameter,
            "mode=rw" | "mode=rwc" | "cache=private" | "cache=shared"
        ) {
            // A value can be a secret, wherever it does not belong.
            let known = ["mode", "cache", "immutable", "vfs", "key", "cipher"];
            let name = parameter.split('=').next().unwrap_or_default();
            let shown = known
                .iter()
                .find(|one| **one == name)
                .unwrap_or(&"like these");
            return Err(UrlError(format!(
                "a SQLite URL with parameters ({shown}) is not supported: leave them out \
                 (mode=rw and mode=rwc are passed by)"
            )));
        }
    }
    if path.is_empty() {
        return Err(UrlError(
            "a SQLite URL names a file: sqlite:PATH".to_owned(),
        ));
    }
    Ok(PathBuf::from(percent_decoded(path)))
}

impl DatabaseUrl {
    /// Which database it is.
    pub fn backend(&self) -> Backend {
        match self.place {
            Location::Postgres => Backend::Postgres,
            Location::Sqlite(_) => Backend::Sqlite,
        }
    }

    /// The whole URL, password included. Never print it, never put it into argv.
    pub fn secret(&self) -> &str {
        &self.text
    }

    /// The password, decoded.
    pub fn password(&self) -> Option<String> {
        match self.place {
            Location::Postgres => {
                let of_query = parameters::of(&self.text)
                    .into_iter()
                    .find(|parameter| parameter.name == "password");
                let before_host = password_span(&self.text)
                    .map(|(from, to)| percent_decoded(&self.text[from..to]));
                before_host.or(of_query.map(|parameter| parameter.value))
            }
            Location::Sqlite(_) => None,
        }
    }

    /// A parameter of a PostgreSQL URL, decoded, by the name that libpq gives it.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let found = match self.place {
            Location::Postgres => parameters::of(&self.text),
            Location::Sqlite(_) => Vec::new(),
        };
        let mut found = found.into_iter();
        found
            .find(|parameter| parameter.name == name)
            .map(|parameter| parameter.value)
    }

    /// How long connecting may take, if the URL says so.
    #[cfg(feature = "postgres")]
    pub(crate) fn connect_timeout(&self) -> Option<std::time::Duration> {
        parameters::connect_timeout(&self.text)
    }

    /// The same URL with a relative SQLite path taken from `root`.
    #[must_use]
    pub fn resolve(&self, root: &Path) -> Self {
        match &self.place {
            Location::Sqlite(path) if path.is_relative() && !is_memory(path) => {
                Self::sqlite(root.join(path))
            }
            _ => self.clone(),
        }
    }

    /// The URL of a SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            text: format!("sqlite:{}", percent_encoded(&path.to_string_lossy())),
            place: Location::Sqlite(path),
        }
    }

    /// The path of a SQLite file; none for PostgreSQL and for `:memory:`.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        match &self.place {
            Location::Sqlite(path) if !is_memory(path) => Some(path.clone()),
            _ => None,
        }
    }

    /// The URL of another database on the same server, for the same user; none for SQLite.
    pub fn with_database(&self, name: &str) -> Option<Self> {
        (self.place == Location::Postgres).then(|| Self {
            text: replace_database(&self.text, name),
            place: Location::Postgres,
        })
    }

    /// The name of the database on its server, or of the file without its folder.
    pub fn database_name(&self) -> String {
        match &self.place {
            Location::Sqlite(path) => path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            Location::Postgres => postgres_database(&self.text),
        }
    }
}

fn is_memory(path: &Path) -> bool {
    path == Path::new(":memory:")
}

/// libpq's rule: `dbname` of the query, else the path, else the user's name.
fn postgres_database(text: &str) -> String {
    let rest = text.split_once("//").map_or(text, |(_, rest)| rest);
    let (front, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameter = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| percent_decoded(value))
    };
    // As in `replace_database`: a `/` in a password is none of the path's.
    let host = front.rfind('@').map_or(0, |at| at + 1);
    let end = front[host..].find('/').map_or(front.len(), |at| host + at);
    let (authority, path) = (&front[..end], front[end..].trim_start_matches('/'));
    let user = authority
        .rsplit_once('@')
        .map(|(user, _)| percent_decoded(user.split(':').next().unwrap_or(user)));
    parameter("dbname")
        .or_else(|| (!path.is_empty()).then(|| percent_decoded(path)))
        .or_else(|| parameter("user"))
        .or(user)
        .unwrap_or_default()
}

/// The text with another database's name, which goes into the path. An `@` or `/` in a
/// password stays where it is: the path begins after the last `@`.
fn replace_database(text: &str, name: &str) -> String {
    let (front, query) = text.split_once('?').unwrap_or((text, ""));
    let start = front.find("//").map_or(0, |at| at + 2);
    let host = front.rfind('@').map_or(start, |at| at + 1).max(start);
    let end = front[host..].find('/').map_or(front.len(), |at| host + at);
    let name: String = name
        .bytes()
        .map(|byte| match byte {
            b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("dbname="))
        .collect();
    let mut out = format!("{}/{name}", &front[..end]);
    if !kept.is_empty() {
        out.push('?');
        out.push_str(&kept.join("&"));
    }
    out
}

/// Where the password stands before the host. One with a raw `/` or `@` in it is covered too:
/// everything up to the last `@` before the query counts, or up to the last at all, as a `?`
/// may stand in it too.
fn password_span(text: &str) -> Option<(usize, usize)> {
    let start = text.find("//").map_or(0, |at| at + 2);
    let query = text[start..].find('?').map_or(text.len(), |at| start + at);
    let at = text[start..query].rfind('@');
    let at = at.or_else(|| text[start..].rfind('@'))?;
    let colon = text[start..start + at].find(':')?;
    Some((start + colon + 1, start + at))
}

/// Where secrets stand in a PostgreSQL URL, in bytes: the password, and the value of every
/// parameter that is not known to be harmless.
fn secret_spans(text: &str) -> Vec<(usize, usize)> {
    let mut spans: Vec<_> = password_span(text).into_iter().collect();
    let start = text.find("//").map_or(0, |at| at + 2);
    let query = text[start..].find('?').map_or(text.len(), |at| start + at);
    // A `?` begins a parameter too, as one that was typed twice does.
    let mut from = query + 1;
    while from < text.len() {
        let to = text[from..].find('&').map_or(text.len(), |at| from + at);
        let end = text[from..to].find('=').map_or(to, |at| from + at);
        let key = &text[from..end];
        if let Some(at) = key.rfind('?') {
            from += at + 1;
        } else if end < to && !parameters::is_shown(key) {
            spans.push((end + 1, to));
            from = to + 1;
        } else if let Some(at) = text[end..to].find('?') {
            from = end + at + 1;
        } else {
            from = to + 1;
        }
    }
    spans
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spans = match self.place {
            Location::Postgres => secret_spans(&self.text),
            Location::Sqlite(_) => Vec::new(),
        };
        let mut done = 0;
        for (from, to) in spans {
            // A text that is no URL may have one inside of another.
            if let Some(open) = self.text.get(done..from) {
                write!(f, "{open}***")?;
            }
            done = done.max(to);
        }
        f.write_str(&self.text[done..])
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Encodes what would be read as something else in a SQLite URL.
fn percent_encoded(path: &str) -> String {
    path.replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> DatabaseUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "postgres://u:s3cret@h/db",
            "postgresql://u:s3c/ret@h/db",
            "postgres://u:s3cret@x@h:5432/db?sslmode=require",
            "postgres://u@h/db?password=s3cret",
            "postgres://u:s3cret@h/db?sslmode=prefer&options=-c%20x.y%3Ds3cret",
            "postgres://u@h/db?options[my.pass]=s3cret",
            "postgres://u@h/db?pass%77ord=s3cret",
        ] {
            let shown = format!("{} {:?}", url(text), url(text));
            assert!(!shown.contains("cret"), "{shown}");
            assert!(shown.contains("***"), "{shown}");
            assert_eq!(url(text).secret(), text);
        }
    }

    #[test]
    fn parts_are_found() {
        let full = url("postgres://u:p%40ss@h:5433/my%20db?sslmode=disable");
        assert_eq!(full.password().as_deref(), Some("p@ss"));
        assert_eq!(full.database_name(), "my db");
        assert_eq!(url("postgres://u@h").database_name(), "u");
        assert_eq!(url("postgres:///x?host=/tmp&dbname=y").database_name(), "y");
        assert_eq!(url("postgres://u@h/db").password(), None);
        assert_eq!(url("sqlite:a:b@c.db").to_string(), "sqlite:a:b@c.db");
    }

    #[test]
    fn another_database_of_the_same_server() {
        for (from, to) in [
            (
                "postgres://u:p@h:5433/a?sslmode=disable",
                "postgres://u:p@h:5433/x%20y?sslmode=disable",
            ),
            ("postgres://u:a/b@c@h/db", "postgres://u:a/b@c@h/x%20y"),
            ("postgres://h", "postgres://h/x%20y"),
            (
                "postgres:///a?host=/run&dbname=b",
                "postgres:///x%20y?host=/run",
            ),
        ] {
            let there = url(from).with_database("x y").unwrap();
            assert_eq!(there.secret(), to);
            assert_eq!(there.database_name(), "x y");
        }
        assert!(url("sqlite:a.db").with_database("x").is_none());
    }

    #[test]
    fn a_relative_path_is_taken_from_the_root() {
        for text in ["sqlite:data/x.db", "sqlite://data/x.db?mode=rwc"] {
            let there = url(text).resolve(Path::new("/srv/a?b"));
            assert_eq!(there.sqlite_path(), Some("/srv/a?b/data/x.db".into()));
            assert_eq!(url(there.secret()), there);
            assert_eq!(there.database_name(), "x.db");
        }
        let absolute = url("sqlite:///srv/x.db");
        assert_eq!(absolute.resolve(Path::new("/y")), absolute);
        assert_eq!(absolute.sqlite_path(), Some("/srv/x.db".into()));
        assert_eq!(url("sqlite::memory:").sqlite_path(), None);
    }

    #[test]
    fn parameters_that_would_not_be_obeyed_are_refused() {
        for text in [
            "sqlite:a.db?mode=ro",
            "sqlite:a.db?mode=rw&immutable=1",
            "sqlite:a.db?x=s3cret",
        ] {
            let error = text.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(error.contains("leave them out"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(
            "sqlite:a.db?mode=rwc&cache=shared"
                .parse::<DatabaseUrl>()
                .is_ok()
        );
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for text in [
            "",
            "x",
            "mysql://u:s3cret@h/db",
            "sqlite:",
            "u:s3cret@h",
            "postgres:x",
        ] {
            let error = text.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
            assert!(error.contains("sqlite:PATH"), "{error}");
        }
    }
}
