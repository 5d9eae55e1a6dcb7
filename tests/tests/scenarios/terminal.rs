//! A person at a terminal: `script` of util-linux is the terminal, and words are typed into it.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use migrate_tests::deployment::Deployment;

/// Runs the tool on a terminal and types each answer when its question is on the screen.
/// The exit code, and everything that was on the screen.
pub(crate) fn answered(
    deployment: &Deployment,
    args: &[&str],
    answers: &[(&str, &str)],
) -> (Option<i32>, String) {
    let root = deployment.root().display();
    let tool = migrate_tests::binary::path().display();
    let line = format!("'{tool}' -C '{root}' {}", args.join(" "));
    let mut terminal = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env_remove("DATABASE_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script of util-linux is installed");
    let mut input = terminal.stdin.take().unwrap();
    let mut screen = terminal.stdout.take().unwrap();
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    let mut open = answers.iter();
    let mut next = open.next();
    while let Ok(count @ 1..) = screen.read(&mut chunk) {
        seen.extend_from_slice(&chunk[..count]);
        if let Some((question, typed)) = next
            && String::from_utf8_lossy(&seen).contains(question)
        {
            input.write_all(format!("{typed}\r").as_bytes()).unwrap();
            input.flush().unwrap();
            next = open.next();
        }
    }
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(next.is_none(), "nobody asked {next:?}: {seen}");
    (terminal.wait().unwrap().code(), seen)
}
