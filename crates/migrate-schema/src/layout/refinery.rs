//! refinery: `V1__name.sql`, and `U1__name.sql` for those that may come out of order. Neither
//! takes anything back.

use super::migration::Migration;
use super::plain::{is_sql, spaced};
use super::section::whole;
use super::{Reading, SourceFile, Version, markers};

pub(super) fn read(files: &[SourceFile]) -> Reading {
    let mut reading = Reading::default();
    for file in files.iter().filter(|file| is_sql(file)) {
        let Some((version, name)) = parts(file.name()) else {
            reading.ignore(file, "its name is neither V1__name.sql nor U1__name.sql");
            continue;
        };
        if let Some((whose, at)) = markers::foreign(file) {
            reading.error(file, at, format!("this is a mark of {whose}"));
            continue;
        }
        let up = whole(file);
        reading
            .migrations
            .push(Migration::versioned(version, &spaced(name), up));
    }
    reading
}

fn parts(name: &str) -> Option<(Version, &str)> {
    let stem = name.strip_suffix(".sql")?;
    let rest = stem.strip_prefix(['V', 'U'])?;
    let (version, name) = rest.split_once("__")?;
    let whole = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| (Version::numeric(version), name))
}
