//! SQL that is cut into statements, and folders of migrations.

use migrate_schema::db::Backend;
use migrate_schema::layout::{Choice, Layout, MigrationSet, SourceFile};
use migrate_schema::script::{SqlScript, split};

/// What both databases take for space.
const SPACE: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];

const BACKENDS: [Backend; 2] = [Backend::Postgres, Backend::Sqlite];

/// The pieces of a script are in order and apart, cut between characters, and nothing but space,
/// comments and semicolons is between them: joining all gives the file back. A piece is one
/// statement by itself too.
pub fn sql(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for backend in BACKENDS {
        let pieces = split(backend, text);
        let mut joined = String::new();
        let mut end = 0;
        for piece in &pieces {
            let between = &text[end..piece.start];
            assert!(
                split(backend, between).is_empty(),
                "{backend:?}: a statement between statements: {between:?}"
            );
            let statement = &text[piece.clone()];
            assert_eq!(
                statement,
                statement.trim_start_matches(SPACE),
                "{backend:?}: space before a statement"
            );
            assert!(!statement.is_empty(), "{backend:?}: an empty statement");
            joined.push_str(between);
            joined.push_str(statement);
            end = piece.end;
        }
        assert!(
            split(backend, &text[end..]).is_empty(),
            "{backend:?}: a statement after the last: {:?}",
            &text[end..]
        );
        joined.push_str(&text[end..]);
        assert_eq!(joined, text);
        if let Ok(script) = SqlScript::parse(backend, "a.sql", text) {
            for statement in script.statements() {
                let place = script.place_in(statement, None);
                assert!(!place.to_string().is_empty());
                assert_eq!(statement.text, statement.text.trim_end_matches(SPACE));
                assert_eq!(
                    split(backend, statement.text),
                    vec![0..statement.text.len()],
                    "{backend:?}: not one statement: {:?}",
                    statement.text
                );
            }
        }
    }
}

/// A folder is read or refused, by every layout; versions are in order and each is there once.
///
/// The input: files, each begun by a line `=== NAME`.
pub fn layouts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let files: Vec<SourceFile> = text
        .split("=== ")
        .skip(1)
        .take(32)
        .map(|part| part.split_once('\n').unwrap_or((part, "")))
        .map(|(name, text)| SourceFile::new(name, text))
        .collect();
    let named = Layout::ALL.into_iter().map(Choice::Named);
    for choice in named.chain([Choice::Auto { history: None }]) {
        for backend in BACKENDS {
            let Ok(set) = MigrationSet::of_files(&files, choice, backend) else {
                continue;
            };
            let versions: Vec<_> = set.versioned().filter_map(|m| m.version.as_ref()).collect();
            assert!(versions.is_sorted(), "{versions:?}");
            for version in versions {
                let found = set.find(version).expect("a version that is there");
                assert_eq!(found.version.as_ref(), Some(version));
            }
        }
    }
}
