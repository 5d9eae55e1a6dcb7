//! Command lines as text: how they are shown and what is wrong with them.

use std::path::Path;

use migrate_core::CommandLine;
use nix::unistd::{AccessFlags, access};

use super::redact::holds_url_password;

/// A command line as a person would type it.
pub fn show(line: &CommandLine) -> String {
    match line {
        CommandLine::Text(text) => text.clone(),
        CommandLine::Argv(argv) => argv
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What makes a command line one that can never run, as a lowercase fragment with its way out.
pub(crate) fn problem(line: &CommandLine) -> Option<(&'static str, &'static str)> {
    let empty = match line {
        CommandLine::Text(text) => text.trim().is_empty(),
        CommandLine::Argv(argv) => argv.first().is_none_or(String::is_empty),
    };
    if empty {
        return Some((
            "the command is empty",
            "give a shell string or an array of program and arguments",
        ));
    }
    let words = match line {
        CommandLine::Text(text) => std::slice::from_ref(text),
        CommandLine::Argv(argv) => argv,
    };
    if words.iter().any(|word| word.contains('\0')) {
        return Some((
            "the command holds a NUL character",
            "no program can take one",
        ));
    }
    words.iter().any(|word| holds_url_password(word)).then_some((
        "the command holds a URL with a password, which every user of the host could read in the process list",
        "pass it in the environment (DATABASE_URL is given to every command) or in a file of its own such as ~/.pgpass",
    ))
}

/// The program of an argv, if it is not there: a relative path is taken from `root`, a
/// bare name is looked up in `PATH`. A shell string is the shell's business.
pub(crate) fn missing_program(line: &CommandLine, root: &Path) -> Option<String> {
    let CommandLine::Argv(argv) = line else {
        return None;
    };
    let program = argv.first()?;
    let runs = |path: &Path| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    let found = if program.contains('/') {
        runs(&root.join(program))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| runs(&root.join(dir).join(program)))
    };
    (!found).then(|| program.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> CommandLine {
        CommandLine::Argv(words.iter().map(|&word| word.to_owned()).collect())
    }

    #[test]
    fn shows_what_a_person_would_type() {
        for (line, expected) in [
            (argv(&["rm", "-f", "a b"]), "rm -f 'a b'"),
            (argv(&["echo", "it's", ""]), r"echo 'it'\''s' ''"),
            (CommandLine::Text("a | b".into()), "a | b"),
        ] {
            assert_eq!(show(&line), expected);
        }
    }

    #[test]
    fn names_what_can_never_run() {
        for (line, expected) in [
            (argv(&[]), Some("empty")),
            (argv(&["", "x"]), Some("empty")),
            (CommandLine::Text(" \n".into()), Some("empty")),
            (argv(&["a\0b"]), Some("NUL")),
            (argv(&["psql", "postgres://u:p@h/d"]), Some("password")),
            (CommandLine::Text("psql \"$DATABASE_URL\"".into()), None),
            (argv(&["true"]), None),
        ] {
            let found = problem(&line).map(|(message, _)| message);
            match expected {
                Some(word) => assert!(
                    found.is_some_and(|m| m.contains(word)),
                    "{line:?}: {found:?}"
                ),
                None => assert_eq!(found, None, "{line:?}"),
            }
        }
    }

    #[test]
    fn finds_programs_where_the_runner_would() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("plain.sh"), "").unwrap();
        for (program, missing) in [
            ("sh", false),
            ("/bin/sh", false),
            ("no-such-program-at-all", true),
            ("./plain.sh", true),
            ("bin/none", true),
        ] {
            let found = missing_program(&argv(&[program]), root.path());
            assert_eq!(found.is_some(), missing, "{program}");
        }
        assert_eq!(
            missing_program(&CommandLine::Text("nope".into()), root.path()),
            None
        );
    }
}
