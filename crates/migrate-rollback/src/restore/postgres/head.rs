//! The settings at the head of what `pg_restore` prints.
//!
//! A newer `pg_restore` sets parameters that an older server does not know. They only make
//! the restore robust against settings of roles, so those are left out.

/// Whether the line after this one may still belong to the head.
pub(super) fn is_open(line: &[u8]) -> bool {
    !line.starts_with(b"-- Name: ") && !line.starts_with(b"-- Data for Name: ")
}

/// Whether the server knows what a line of the head sets.
pub(super) fn is_known(line: &[u8], settings: &[String]) -> bool {
    let Some(rest) = line.strip_prefix(b"SET ") else {
        return true;
    };
    let end = rest
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .unwrap_or(rest.len());
    settings.iter().any(|name| name.as_bytes() == &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unknown_settings_are_left_out() {
        let known = ["statement_timeout".to_owned()];
        assert!(is_known(b"SET statement_timeout = 0;\n", &known));
        assert!(!is_known(b"SET transaction_timeout = 0;\n", &known));
        assert!(is_known(
            b"SELECT pg_catalog.set_config('search_path', '', false);\n",
            &known
        ));
        assert!(is_known(b"\\restrict abc\n", &known));
        assert!(is_open(b"--\n") && !is_open(b"-- Name: x; Type: TABLE\n"));
    }
}
