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
    std::path::Path::new(file.name())
        .extension()
        .is_some_and(|end| end == "sql")
}

/// A name with its underscores as spaces.
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ")
}
