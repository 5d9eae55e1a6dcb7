//! Help that teaches: examples below every verb's own help. A verb without some is a failed test.

use clap::Command;

/// Verbs by their whole name, with lines that can be typed and what they do.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "plan",
        &[
            (
                "plan --from 1.5.0 --to 2.0.0",
                "every step: exact SQL, edits, commands",
            ),
            (
                "plan --from 1.5.0 --to 2.0.0 --format json",
                "the same for programs",
            ),
        ],
    ),
    (
        "apply",
        &[
            (
                "plan --from 1.5.0 --to 2.0.0 -o upgrade.json",
                "first: write down exactly what would be done",
            ),
            ("apply upgrade.json", "do that, or name what changed since"),
        ],
    ),
    (
        "paths",
        &[
            ("paths", "all plans, and where they lead"),
            ("paths --from 1.5.0", "what can be reached from 1.5.0"),
            (
                "paths --from 1.5.0 --to 3.1.0",
                "the way that a migration would take",
            ),
        ],
    ),
    (
        "resume",
        &[
            (
                "status",
                "where the interrupted run stands, and what is next",
            ),
            ("resume", "go on, forward or back, where it stopped"),
        ],
    ),
    (
        "audit verify",
        &[
            (
                "audit verify",
                "nobody changed the journal, nor the database's copy of it",
            ),
            (
                "audit verify 20260102 --format json",
                "one run, for programs; exit code 8 where a record differs",
            ),
        ],
    ),
    (
        "audit keygen",
        &[(
            "audit keygen -o release.key",
            "a key that `plan -o FILE --sign release.key` signs with",
        )],
    ),
    (
        "status",
        &[
            ("status", "version, last run, next command"),
            (
                "status --format json",
                "`next` and `next_command` for scripts",
            ),
        ],
    ),
    (
        "history",
        &[
            ("history", "all runs, oldest first"),
            (
                "history --format json",
                "with flags, users and hosts, for programs",
            ),
        ],
    ),
    (
        "history show",
        &[("history show 202601", "the run whose name begins like that")],
    ),
    (
        "validate",
        &[
            (
                "validate",
                "the checks of the version that the last run led to",
            ),
            (
                "validate --to 2.0.0",
                "those of a version; exit code 8 if one fails",
            ),
        ],
    ),
    (
        "backup",
        &[
            ("backup", "make one now"),
            ("backup --version 1.5.0", "where no run tells the version"),
            ("backup list", "what there is"),
            ("backup verify", "prove that the newest one restores"),
        ],
    ),
    (
        "backup list",
        &[("backup list --format json", "for programs")],
    ),
    (
        "backup verify",
        &[
            ("backup verify", "the newest"),
            ("backup verify 20260131_033000", "the one of that moment"),
        ],
    ),
    (
        "restore",
        &[
            ("backup list", "find it"),
            (
                "restore 20260131_033000",
                "bring it back; says first what would be lost",
            ),
        ],
    ),
    (
        "emergency-rollback",
        &[
            (
                "emergency-rollback --version 1.5.0",
                "bring the newest backup of 1.5.0 back",
            ),
            (
                "emergency-rollback --version 1.5.0 --backup-date 20260131_033000 --yes",
                "that one, where nobody can type",
            ),
        ],
    ),
    (
        "demo",
        &[
            ("demo", "make ./etlrs-demo at 1.5.0, and take it to 2.0.0"),
            (
                "demo --rows 1000000 --no-migrate",
                "a large one, left at 1.5.0",
            ),
            ("-C etlrs-demo --rollback --to 1.5.0", "take it back"),
        ],
    ),
    (
        "env list",
        &[
            ("env list", "the environments of etlrs-migrate.toml"),
            ("--env prod status", "work on one of them"),
        ],
    ),
    (
        "config migrate",
        &[(
            "config migrate config/config.toml config/config.v2.toml",
            "read a 1.x file, write one of 2.0",
        )],
    ),
    (
        "schema-for",
        &[
            (
                "schema-for plan > plan.schema.json",
                "for plans in JSON: \"$schema\": \"plan.schema.json\"",
            ),
            (
                "schema-for config > config.schema.json",
                "for etlrs-migrate.toml",
            ),
        ],
    ),
    (
        "completions",
        &[
            (
                "completions bash > /etc/bash_completion.d/etlrs-migrate",
                "for everybody on this machine",
            ),
            (
                "completions fish > ~/.config/fish/completions/etlrs-migrate.fish",
                "for you",
            ),
        ],
    ),
    (
        "schema apply",
        &[
            ("schema plan --source db/migrations", "first: the exact SQL"),
            (
                "schema apply --source db/migrations",
                "run what the database does not have",
            ),
        ],
    ),
    (
        "schema status",
        &[(
            "schema status --source db/migrations",
            "there, missing, changed",
        )],
    ),
    (
        "schema plan",
        &[("schema plan --source db/migrations", "the exact SQL")],
    ),
    (
        "schema lint",
        &[
            (
                "schema lint --source db/migrations --deny warnings",
                "in CI: each file by itself, no database",
            ),
            (
                "schema lint --source db/migrations --database-url \"$DATABASE_URL\"",
                "what is pending, with the sizes of its tables",
            ),
            ("schema lint --rules", "what is looked for"),
        ],
    ),
    (
        "schema down",
        &[("schema down --source db/migrations", "take the latest back")],
    ),
    (
        "schema redo",
        &[(
            "schema redo --source db/migrations",
            "the latest back, and again",
        )],
    ),
    (
        "schema baseline",
        &[
            (
                "schema baseline --source db/migrations --to 7",
                "the database has all up to 7 already",
            ),
            (
                "schema baseline --source db/migrations --from-history",
                "take over what another tool recorded",
            ),
        ],
    ),
    (
        "schema drift",
        &[
            (
                "schema drift --source db/migrations",
                "changes by hand, object by object",
            ),
            (
                "schema drift --snapshot schema.sql",
                "against what `dump` wrote",
            ),
        ],
    ),
    (
        "schema verify",
        &[(
            "schema verify --scratch --source db/migrations",
            "up, down, up: which downs restore",
        )],
    ),
    (
        "schema dump",
        &[
            ("schema dump -o schema.sql", "keep it under version control"),
            ("schema dump", "to look at"),
        ],
    ),
    (
        "schema repair",
        &[
            (
                "schema repair --source db/migrations --accept 003_audit.sql",
                "an applied file was edited on purpose",
            ),
            (
                "schema repair --source db/migrations --forget 9",
                "take 9 out of the history",
            ),
        ],
    ),
    (
        "health-check",
        &[(
            "health-check",
            "all that a run would look at first, together",
        )],
    ),
    (
        "rehearse",
        &[
            (
                "rehearse --from 1.5.0 --to 2.0.0",
                "there and back on a copy, measured and compared",
            ),
            (
                "rehearse --from 1.5.0 --to 2.0.0 --full",
                "also forward again, and back from the rollback point",
            ),
        ],
    ),
    (
        "data migrate",
        &[
            (
                "data migrate --source orders_old --target orders --transform orders.sql",
                "in batches, proved afterwards",
            ),
            (
                "data migrate --source orders --target orders --source-url env:OLD_DATABASE",
                "out of another database",
            ),
        ],
    ),
    (
        "data verify",
        &[(
            "data verify --source orders_old --target orders --transform orders.sql",
            "compare, write nothing",
        )],
    ),
    (
        "data status",
        &[("data status", "ranges done, in flight and left")],
    ),
    (
        "data rejects",
        &[
            ("data rejects", "rows that could not be moved, and why"),
            (
                "data rejects --run 20261124013000ab12 --drop",
                "forget them once they are mended",
            ),
        ],
    ),
    (
        "data resume",
        &[(
            "data resume --run 20261124013000ab12",
            "go on with a copy whose process is gone",
        )],
    ),
    (
        "data undo",
        &[(
            "data undo --run 20261124013000ab12",
            "take such a copy back",
        )],
    ),
    (
        "work",
        &[(
            "work --run 20261124013000ab12 --workers 4",
            "help a running copy from another host",
        )],
    ),
];

/// Adds the examples to a command and all below it.
pub(crate) fn taught(command: Command) -> Command {
    below(command, "")
}

fn below(mut command: Command, prefix: &str) -> Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    for name in names {
        let whole = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix} {name}")
        };
        command = command.mut_subcommand(&name, |verb| {
            let verb = match EXAMPLES.iter().find(|(known, _)| *known == whole) {
                Some((_, lines)) => verb.after_help(text(lines)),
                None => verb,
            };
            below(verb, &whole)
        });
    }
    command
}

fn text(lines: &[(&str, &str)]) -> String {
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let mut text = "Examples:".to_owned();
    for (line, what) in lines {
        text.push_str(&format!("\n  etlrs-migrate {line:width$}   {what}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::args::Cli;

    fn leaves(command: &Command, prefix: &str, found: &mut Vec<String>) {
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let whole = format!("{prefix} {}", verb.get_name()).trim().to_owned();
            if verb.get_subcommands().next().is_none() || !verb.is_subcommand_required_set() {
                found.push(whole.clone());
            }
            leaves(verb, &whole, found);
        }
    }

    #[test]
    fn every_verb_has_examples_and_every_example_a_verb() {
        let mut verbs = Vec::new();
        leaves(&Cli::command(), "", &mut verbs);
        let mut taught: Vec<&str> = EXAMPLES.iter().map(|(verb, _)| *verb).collect();
        verbs.sort();
        taught.sort_unstable();
        assert_eq!(verbs, taught, "help.rs has examples for each verb");
    }

    #[test]
    fn every_example_can_be_typed() {
        let all = EXAMPLES.iter().flat_map(|(_, lines)| lines.iter());
        let root = crate::exit::HELP
            .lines()
            .filter_map(|line| line.trim().strip_prefix("etlrs-migrate "))
            .map(|line| line.split("  ").next().unwrap_or_default());
        for line in all.map(|(line, _)| *line).chain(root) {
            let typed = line.split(" > ").next().unwrap_or_default();
            let words = std::iter::once("etlrs-migrate").chain(typed.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        taught(Cli::command()).debug_assert();
    }
}
