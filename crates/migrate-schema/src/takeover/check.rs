//! Compares another tool's history with the files. Pure.

use migrate_core::Finding;
use sha2::{Digest, Sha384};

use super::{ForeignHistory, Line, Seen};
use crate::layout::{Layout, Migration, MigrationSet, Version};

/// No history that can be taken over: several may be of other applications, and some are of tools
/// whose histories are not read here.
pub(super) fn no_history(elsewhere: &[&Seen]) -> Finding {
    if elsewhere.is_empty() {
        return Finding::error(
            "takeover.none",
            "the database has no history table of another tool",
        )
        .hint("say which version it is at: `schema baseline --to VERSION`");
    }
    let named: Vec<String> = elsewhere
        .iter()
        .map(|one| format!("{} ({})", one.table, one.name()))
        .collect();
    let named = named.join(", ");
    Finding::error(
        "takeover.none",
        format!("several tables look like a migration history: {named}"),
    )
    .hint(
        "leave the others out with `--ignore-history TABLE`, put its schema into the search path, \
         or say which version it is at: `schema baseline --to VERSION`",
    )
}

/// Another tool's history where ours says nothing.
pub(super) fn foreign(seen: &Seen) -> Finding {
    let finding = Finding::error(
        "takeover.foreign-history",
        format!(
            "the database was migrated by {}: its table {} says what is applied, and our history nothing",
            seen.name(),
            seen.table
        ),
    );
    let ignore = format!(
        "if it is another application's: `--ignore-history {}`",
        seen.table
    );
    match seen.layout {
        Some(_) => finding.hint(format!(
            "take it over without running anything: `schema baseline --from-history`; {ignore}"
        )),
        None => finding.hint(format!(
            "say which version it is at, without running anything: `schema baseline --to VERSION`; {ignore}"
        )),
    }
}

/// The keys of the set's migrations that are applied.
pub(super) fn keys(
    set: &MigrationSet,
    history: &ForeignHistory,
) -> Result<Vec<String>, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut keys = Vec::new();
    for line in &history.lines {
        if !line.success {
            findings.push(failed(history, line));
            continue;
        }
        if history.upto || baseline(history, line) {
            let last = version(set, line);
            keys.extend(
                set.versioned()
                    .filter(|one| one.version <= last)
                    .map(Migration::key),
            );
            if history.upto && !set.versioned().any(|one| one.version == last) {
                findings.push(no_file(history, line));
            }
            continue;
        }
        match find(set, line) {
            None => findings.push(no_file(history, line)),
            // A repeatable one that was changed since is to be run again: it stays pending.
            Some(one) if one.version.is_none() && edited(history.layout, one, line) => {}
            Some(one) if edited(history.layout, one, line) => {
                findings.push(not_the_same(history, one));
            }
            Some(one) => keys.push(one.key()),
        }
    }
    if findings.is_empty() {
        Ok(keys)
    } else {
        Err(findings)
    }
}

/// Flyway's own baseline stands for all versions up to it.
fn baseline(history: &ForeignHistory, line: &Line) -> bool {
    history.layout == Layout::Flyway && line.name == "<< Flyway Baseline >>"
}

fn version(set: &MigrationSet, line: &Line) -> Option<Version> {
    let text = line.version.as_deref()?;
    Some(match set.layout {
        Layout::Diesel | Layout::Dbmate => Version::literal(text),
        _ => Version::numeric(text),
    })
}

fn find<'s>(set: &'s MigrationSet, line: &Line) -> Option<&'s Migration> {
    match version(set, line) {
        Some(version) => set
            .versioned()
            .find(|one| one.version.as_ref() == Some(&version)),
        None => set.repeatable().find(|one| one.name == line.name),
    }
}

/// Whether a file is not what was applied, where the other tool's checksum can be computed.
fn edited(layout: Layout, one: &Migration, line: &Line) -> bool {
    let Some(expected) = &line.checksum else {
        return false;
    };
    match layout {
        Layout::Sqlx => readings(one.up.sql())
            .iter()
            .all(|text| sha384(text) != *expected),
        Layout::Flyway => flyway_checksum(one.up.sql()).to_string() != *expected,
        _ => false,
    }
}

/// A text as it may have been when it was applied: an editor or git may have changed its line
/// ends, or its byte order mark, since.
fn readings(sql: &str) -> Vec<String> {
    let plain = sql.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let windows = plain.replace('\n', "\r\n");
    let marked = |text: &str| format!("\u{feff}{text}");
    vec![
        sql.to_owned(),
        marked(sql),
        marked(&plain),
        marked(&windows),
        plain,
        windows,
    ]
}

fn sha384(text: &str) -> String {
    use std::fmt::Write as _;
    let mut found = String::new();
    for byte in Sha384::digest(text.as_bytes()) {
        let _ = write!(found, "{byte:02x}");
    }
    found
}

/// CRC-32 of the lines without their ends, as a signed number.
fn flyway_checksum(sql: &str) -> i32 {
    let mut sum = u32::MAX;
    for byte in sql.lines().flat_map(str::bytes) {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            let low = sum & 1;
            sum >>= 1;
            if low == 1 {
                sum ^= 0xedb8_8320;
            }
        }
    }
    (!sum).cast_signed()
}

fn failed(history: &ForeignHistory, line: &Line) -> Finding {
    Finding::error(
        "takeover.dirty",
        format!(
            "{} says that version {} failed or is dirty",
            history.table,
            line.version.as_deref().unwrap_or(&line.name)
        ),
    )
    .hint("mend the database and that table with the tool it is of, then take it over")
}

fn no_file(history: &ForeignHistory, line: &Line) -> Finding {
    Finding::error(
        "takeover.no-file",
        format!(
            "{} says that version {} is applied, but the directory has no file for it",
            history.table,
            line.version.as_deref().unwrap_or(&line.name)
        ),
    )
    .hint("name the directory that the other tool used, or bring the file back")
}

fn not_the_same(history: &ForeignHistory, one: &Migration) -> Finding {
    Finding::error(
        "takeover.edited",
        format!(
            "{} is not what was applied: its checksum differs from the one in {}",
            one.label(),
            history.table
        ),
    )
    .in_file(one.up.place(0))
    .hint("bring the file back as it was applied, and write a new migration for the change")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_a_byte_order_mark_are_no_edit() {
        let applied = sha384("select 1;\nselect 2;\n");
        for text in [
            "select 1;\r\nselect 2;\r\n",
            "\u{feff}select 1;\r\nselect 2;\r\n",
            "select 1;\nselect 2;\n",
        ] {
            assert!(readings(text).iter().any(|one| sha384(one) == applied));
        }
        let marked = sha384("\u{feff}select 1;\r\n");
        assert!(
            readings("select 1;\n")
                .iter()
                .any(|one| sha384(one) == marked)
        );
        assert!(
            readings("select 3;\n")
                .iter()
                .all(|one| sha384(one) != marked)
        );
    }

    #[test]
    fn flyways_checksum_is_crc_32_of_the_lines() {
        // "123456789" is the check value of CRC-32.
        assert_eq!(
            flyway_checksum("12345\r\n6789\n"),
            0xcbf4_3926_u32.cast_signed()
        );
    }
}
