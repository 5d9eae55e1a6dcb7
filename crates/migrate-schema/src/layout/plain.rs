//! Names of the form `V_name.sql`, which several layouts share.

use super::{SourceFile, Version};

/// What a file's name says.
pub(super) struct Named<'f> {
    pub(super) version: Version,
    pub(super) name: &'f str,
    /// What stands between the name and `.sql`, without the first dot: `up`, `down.sqlite`.
    pub(super) suffix: &'f str,
}

/// `V_name[.suffix].sql` directly in the directory.
pub(super) fn named(file: &SourceFile) -> Option<Named<'_>> {
    if !file.folder().is_empty() {
        return None;
    }
    let stem = file.name().strip_suffix(".sql")?;
    let (version, rest) = stem.split_once('_')?;
    let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    let (name, suffix) = rest.split_once('.').unwrap_or((rest, ""));
    is_number.then(|| Named {
        version: Version::numeric(version),
        name,
        suffix,
    })
}

/// Whether a file is one that may hold migrations of any layout.
pub(super) fn is_sql(file: &SourceFile) -> bool {
    is_script(file.name())
}

/// Whether a file of this name holds SQL: `*.sql`, and `V_name.up.pgsql` and its like, which
/// golang-migrate runs too. A layout whose tool would pass it by says so.
pub(super) fn is_script(name: &str) -> bool {
    std::path::Path::new(name)
        .extension()
        .is_some_and(|end| end == "sql")
        || directed(name).is_some()
}

/// Ends of files that hold SQL; golang-migrate itself takes any.
const ENDS: [&str; 6] = ["sql", "psql", "pgsql", "ddl", "sqlite", "sqlite3"];

/// `V_name.up.END` and `V_name.down.END` as version, name and direction.
pub(super) fn directed(name: &str) -> Option<[&str; 3]> {
    let (stem, end) = name.rsplit_once('.')?;
    let (stem, direction) = stem.rsplit_once('.')?;
    let (version, name) = stem.split_once('_')?;
    let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    let is_end = ENDS.iter().any(|one| end.eq_ignore_ascii_case(one));
    (is_number && is_end && matches!(direction, "up" | "down"))
        .then_some([version, name, direction])
}

/// A name with its underscores as spaces.
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ")
}
