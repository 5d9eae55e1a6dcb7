//! Formats of tools whose files hold up and down together, and that are not read here.
//!
//! Read as SQL from its beginning to its end, such a file would run its down part too.

use super::SourceFile;
use super::markers::lines;

/// Marks that only one tool's files have: what a line begins with after its comment sign, in
/// lowercase and with single spaces, and the tool.
const MARKS: [(&str, &str); 9] = [
    ("+migrate up", "sql-migrate"),
    ("+migrate down", "sql-migrate"),
    ("+micrate up", "micrate"),
    ("+micrate down", "micrate"),
    ("create above / drop below", "tern"),
    ("//@undo", "MyBatis Migrations"),
    ("@undo", "MyBatis Migrations"),
    ("rambler down", "rambler"),
    ("liquibase formatted sql", "Liquibase"),
];

/// Words that stand alone above the part that takes a migration back.
const DOWN_WORDS: [&str; 8] = [
    "down",
    "downs",
    "downgrade",
    "undo",
    "rollback",
    "revert",
    "backward",
    "drop below",
];

/// The first line that says that what follows takes back what stands before it, and whose
/// format that is.
pub(super) fn find(file: &SourceFile) -> Option<(&'static str, usize)> {
    let said: Vec<(usize, usize, String)> = lines(&file.text)
        .filter_map(|(start, line)| Some((start, start + line.len(), comment(line)?)))
        .collect();
    for (start, _, text) in &said {
        if let Some((_, tool)) = MARKS.iter().find(|(mark, _)| text.starts_with(mark)) {
            return Some((tool, *start));
        }
    }
    let headings: Vec<String> = said.iter().map(|(_, _, text)| heading(text)).collect();
    for (at, down) in headings.iter().enumerate() {
        let (start, end, _) = &said[at];
        // A file that only goes down may say so.
        let mixed = has_sql(&file.text[..*start]) && has_sql(&file.text[*end..]);
        let Some(up) = with_up(down).filter(|_| mixed) else {
            continue;
        };
        let pair = headings.contains(&up);
        let alone = DOWN_WORDS.contains(&down.as_str());
        if pair || alone {
            let tool = if down == "down migration" {
                "node-pg-migrate"
            } else {
                "another tool, with up and down in one file"
            };
            return Some((tool, *start));
        }
    }
    None
}

/// What a comment line says, in lowercase and with single spaces.
fn comment(line: &str) -> Option<String> {
    let line = line.trim_start_matches('\u{feff}').trim();
    let rest = line.strip_prefix("--").or_else(|| line.strip_prefix('#'))?;
    let rest = rest.trim_start_matches('-').trim_end_matches('-');
    let words: Vec<&str> = rest.split_whitespace().collect();
    Some(words.join(" ").to_lowercase())
}

/// The words of a comment without its ornaments: `==== UP ====` is `up`.
fn heading(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    if words.len() > 3 {
        return String::new();
    }
    words.join(" ")
}

/// The heading of the up part that belongs to a heading of a down part.
fn with_up(down: &str) -> Option<String> {
    const PAIRS: [(&str, &str); 6] = [
        ("down", "up"),
        ("downs", "ups"),
        ("downgrade", "upgrade"),
        ("undo", "do"),
        ("backward", "forward"),
        ("rollback", "up"),
    ];
    if down == "revert" {
        return Some("apply".to_owned());
    }
    let words: Vec<&str> = down.split(' ').collect();
    let (at, up) = words.iter().enumerate().find_map(|(at, word)| {
        let (_, up) = PAIRS.iter().find(|(down, _)| down == word)?;
        Some((at, *up))
    })?;
    let mut words = words;
    words[at] = up;
    Some(words.join(" "))
}

/// Whether a line that is no comment follows.
fn has_sql(text: &str) -> bool {
    lines(text).any(|(_, line)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("--") && !line.starts_with('#')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&'static str> {
        find(&SourceFile::new("1_x.sql", text)).map(|(tool, _)| tool)
    }

    #[test]
    fn formats_with_up_and_down_in_one_file_are_known() {
        for (text, tool) in [
            (
                "-- +migrate Up\ncreate table t (a);\n-- +migrate Down\ndrop table t;",
                "sql-migrate",
            ),
            (
                "create table t (a);\n---- create above / drop below ----\ndrop table t;",
                "tern",
            ),
            (
                "-- Up Migration\ncreate table t (a);\n-- Down Migration\ndrop table t;",
                "node-pg-migrate",
            ),
            (
                "-- // first\ncreate table t (a);\n-- //@UNDO\ndrop table t;",
                "MyBatis Migrations",
            ),
            ("--//@UNDO\ndrop table t;", "MyBatis Migrations"),
            (
                "-- rambler up\ncreate table t (a);\n-- rambler down\ndrop table t;",
                "rambler",
            ),
            (
                "--liquibase formatted sql\n--changeset a:1\ncreate table t (a);\n--rollback drop table t;",
                "Liquibase",
            ),
        ] {
            assert_eq!(found(text), Some(tool), "{text}");
        }
        for text in [
            "-- ==== UP ====\ncreate table t (a);\n-- ==== DOWN ====\ndrop table t;",
            "# --- !Ups\ncreate table t (a);\n# --- !Downs\ndrop table t;",
            "-- @up\ncreate table t (a);\n-- @down\ndrop table t;",
            "create table t (a);\n-- DOWN\ndrop table t;",
            "-- mytool upgrade\nselect 1;\n-- mytool downgrade\nselect 2;",
        ] {
            assert!(found(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_only_speaks_of_up_and_down_is_sql() {
        for text in [
            "-- clean up\ndelete from t;\n-- scale down\nupdate t set a = 1;",
            "create table t (a);\n-- rollback:\n-- drop table t;\n",
            "-- the up migration of the down table that we do not roll back\nselect 1;",
            "-- up\ncreate table t (a);",
            "-- Down Migration\ndrop table t;",
            "-- DOWN\ndrop table t;",
            "create table t (a);\n-- Down Migration\n",
            "select 'x -- Down Migration';",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
