//! What somebody sees who asks: help with examples, completions that a shell takes.

use std::io::Write as _;
use std::process::{Command, Stdio};

use migrate_tests::binary::Tool;

/// The numbers that begin a line, or a table's row.
fn codes<'t>(lines: impl Iterator<Item = &'t str>) -> Vec<u8> {
    let mut found: Vec<u8> = lines
        .flat_map(|line| line.split([' ', ',']))
        .filter_map(|word| word.parse().ok())
        .collect();
    found.sort_unstable();
    found
}

#[test]
fn help_and_docs_have_the_same_exit_codes() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/exit-codes.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let of_docs = codes(
        docs.lines()
            .filter_map(|line| line.strip_prefix("| ")?.split('|').next()),
    );
    let help = Tool::new(&["--help"]).run().output();
    let table = help.split("Exit codes:").nth(1).unwrap();
    let table = table.split("Examples:").next().unwrap();
    let begins =
        |line: &&str| line.starts_with("  ") && line[2..].starts_with(|c: char| c.is_ascii_digit());
    let of_help = codes(
        table
            .lines()
            .filter(begins)
            .map(|line| line.split("   ").next().unwrap()),
    );
    assert_eq!(of_help, of_docs, "{help}");
    assert!(of_docs.len() >= 13, "{of_docs:?}");
}

#[test]
fn help_teaches_by_examples() {
    Tool::new(&["--help"]).run().expect(0).says(&[
        "Exit codes:",
        "etlrs-migrate --from 1.5.0 --to 2.0.0 --dry-run",
        "Options of every verb",
    ]);
    for verb in [
        "paths",
        "status",
        "backup",
        "demo",
        "schema-for",
        "completions",
    ] {
        let help = Tool::new(&[verb, "--help"]).run();
        help.expect(0)
            .says(&["Examples:", &format!("etlrs-migrate {verb}")]);
    }
    let deep = Tool::new(&["config", "migrate", "--help"]).run();
    deep.expect(0)
        .says(&["Examples:", "config migrate config/config.toml"]);
}

#[test]
fn bash_takes_the_completions_and_completes_verbs() {
    let script = Tool::new(&["completions", "bash"]).run();
    script.expect(0);
    let mut bash = Command::new("bash")
        .args(["--norc", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = "COMP_WORDS=(etlrs-migrate emerg); COMP_CWORD=1\n\
                 _etlrs__migrate etlrs-migrate emerg etlrs-migrate\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let mut input = bash.stdin.take().unwrap();
    input.write_all(script.stdout.as_bytes()).unwrap();
    input.write_all(asked.as_bytes()).unwrap();
    drop(input);
    let output = bash.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "{told}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "emergency-rollback"
    );
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let run = Tool::new(&["completions", shell]).run();
        run.expect(0).says(&["emergency-rollback"]);
    }
    Tool::new(&["completions", "tcsh"]).run().expect(2);
}
