//! Comment lines by which goose and dbmate tell the parts of one file apart.

use super::SourceFile;

/// The first line with a mark of goose, dbmate or a tool that is not read here, and whose it is. A file that has one must
/// not be read as SQL from its beginning to its end: that would run its down part too.
pub(super) fn foreign(file: &SourceFile) -> Option<(&'static str, usize)> {
    let ours = if file.text.contains("+goose") || file.text.contains("migrate:") {
        lines(&file.text).find_map(|(start, line)| {
            if goose(line).is_some() {
                Some(("goose", start))
            } else if dbmate(line).is_some() {
                Some(("dbmate", start))
            } else {
                None
            }
        })
    } else {
        None
    };
    ours.or_else(|| super::strangers::find(file))
}

/// What follows `-- +goose`.
pub(super) fn goose(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("--")?.trim_start();
    let rest = rest.strip_prefix("+goose")?;
    rest.starts_with(char::is_whitespace).then(|| rest.trim())
}

/// What follows `-- migrate:`.
pub(super) fn dbmate(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("--")?.trim_start();
    rest.strip_prefix("migrate:").map(str::trim)
}

/// Lines with the byte at which each begins; line ends are part of none.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let start = at;
        at += line.len();
        (start, line.trim_end_matches(['\n', '\r']))
    })
}
