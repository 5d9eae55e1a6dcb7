//! The head and the end of what `pg_restore` prints.
//!
//! A newer `pg_restore` sets parameters that an older server does not know. They only make
//! the restore robust against settings of roles, so those are left out.

use std::borrow::Cow;

use migrate_schema::quote;

/// Whether the line after this one may still belong to the head.
pub(super) fn is_open(line: &[u8]) -> bool {
    !line.starts_with(b"-- Name: ") && !line.starts_with(b"-- Data for Name: ")
}

/// What becomes of the lines of a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    /// The settings that the server knows.
    pub(super) settings: &'a [String],
    /// The search path that takes the place of the empty one.
    pub(super) path: Option<&'a str>,
}

impl Head<'_> {
    /// The line as `psql` is to read it, if it is to.
    pub(super) fn line<'l>(&self, line: &'l [u8]) -> Option<Cow<'l, [u8]>> {
        match self.path {
            Some(path) if line == NO_PATH => {
                let set = format!(
                    "SELECT pg_catalog.set_config('search_path', {}, true);\n",
                    quote::literal(path)
                );
                Some(Cow::Owned(set.into_bytes()))
            }
            _ => is_known(line, self.settings).then_some(Cow::Borrowed(line)),
        }
    }
}

/// How `pg_restore` has names mean nothing without their schema.
const NO_PATH: &[u8] = b"SELECT pg_catalog.set_config('search_path', '', false);\n";

/// Whether the server knows what a line of the head sets.
fn is_known(line: &[u8], settings: &[String]) -> bool {
    let Some(rest) = line.strip_prefix(b"SET ") else {
        return true;
    };
    let end = rest
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .unwrap_or(rest.len());
    settings.iter().any(|name| name.as_bytes() == &rest[..end])
}

/// The end of a text that `pg_restore --single-transaction` printed, without the `COMMIT` in it:
/// only comments follow that. None where there is no such statement.
pub(super) fn without_last_commit(mut end: Vec<u8>) -> Option<Vec<u8>> {
    const COMMIT: &[u8] = b"\nCOMMIT;\n";
    let at = end.windows(COMMIT.len()).rposition(|part| part == COMMIT)?;
    end.drain(at + 1..at + COMMIT.len());
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_at_the_end_is_left_to_us() {
        let text =
            b"COPY t FROM stdin;\nCOMMIT;\n\\.\n\n\nCOMMIT;\n\n--\n-- complete\n--\n\n".to_vec();
        let left = without_last_commit(text).unwrap();
        assert_eq!(
            String::from_utf8(left).unwrap(),
            "COPY t FROM stdin;\nCOMMIT;\n\\.\n\n\n\n--\n-- complete\n--\n\n"
        );
        assert_eq!(without_last_commit(b"SELECT 1;\n".to_vec()), None);
    }

    #[test]
    fn only_unknown_settings_are_left_out() {
        let known = ["statement_timeout".to_owned()];
        assert!(is_known(b"SET statement_timeout = 0;\n", &known));
        assert!(!is_known(b"SET transaction_timeout = 0;\n", &known));
        assert!(is_known(NO_PATH, &known));
        let with = |path| Head {
            settings: &known,
            path,
        };
        assert_eq!(with(None).line(NO_PATH).as_deref(), Some(NO_PATH));
        let set: &[u8] = b"SELECT pg_catalog.set_config('search_path', 'it''s', true);\n";
        assert_eq!(with(Some("it's")).line(NO_PATH).as_deref(), Some(set));
        assert!(is_known(b"\\restrict abc\n", &known));
        assert!(is_open(b"--\n") && !is_open(b"-- Name: x; Type: TABLE\n"));
    }
}
