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
    let (version, rest) = name.split_once('_')?;
    let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    let (_, end) = rest.rsplit_once('.')?;
    let is_end = ENDS.iter().any(|one| end.eq_ignore_ascii_case(one));
    if !is_number || !is_end {
        return None;
    }
    // golang-migrate's own rule: `^([0-9]+)_(.*)\.(down|up)\.(.*)$`, the last such part.
    let (at, direction) = ["up", "down"]
        .into_iter()
        .filter_map(|direction| Some((rest.rfind(&format!(".{direction}."))?, direction)))
        .max()?;
    Some([version, &rest[..at], direction])
}

/// Whether a file that a layout does not read looks like a migration all the same, so that to
/// pass it by would leave something out.
pub(super) fn looks_like_a_migration(file: &SourceFile) -> bool {
    let name = file.name();
    let numbered = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    numbered(name)
        || name
            .strip_prefix(['V', 'U', 'B'])
            .is_some_and(|rest| numbered(rest) || rest.starts_with('_'))
        || name.starts_with("R__")
}

/// A name with its underscores as spaces.
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

/// Whether a file is a migration that a tool runs as a program: goose's `V_name.go`, Flyway's
/// `V1__name.java`. A test beside it is none.
pub(super) fn is_program(name: &str) -> bool {
    let Some((stem, end)) = name.rsplit_once('.') else {
        return false;
    };
    let numbered = |text: &str| {
        text.split_once('_').is_some_and(|(version, _)| {
            !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    match end {
        "go" => numbered(stem) && !stem.ends_with("_test"),
        "java" | "kt" | "groovy" => stem
            .strip_prefix(['V', 'U', 'B'])
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit())),
        _ => false,
    }
}
