//! What a power cut leaves of files: a replay of the tool's own system calls up to every point.
//!
//! SIGKILL can't show this: it keeps what the kernel has. So `strace` records every write,
//! fsync and rename of a run, and after each call it is asked what a disk may hold then: a
//! file's bytes count only once they were synced, and a name's change may or may not have
//! happened until its directory was synced.
#![expect(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::collections::{HashMap, HashSet};
use std::process::Command;

use migrate_tests::binary;
use migrate_tests::deployment::Deployment;

/// One call that counts.
#[derive(Debug, Clone)]
enum Call {
    Write(String),
    Sync(String),
    Rename(String, String),
}

fn recorded(deployment: &Deployment, arguments: &[&str]) -> Vec<Call> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new("strace")
        .args(["-f", "-y", "-s", "0", "-o"])
        .arg(log.path())
        .args([
            "-e",
            "trace=write,pwrite64,writev,ftruncate,fsync,fdatasync,rename,renameat,renameat2",
        ])
        .arg(binary::path())
        .arg("-C")
        .arg(deployment.root())
        .args(arguments)
        .env_remove("DATABASE_URL")
        .output()
        .expect("this test needs strace: `apt-get install strace` (scripts/test.sh does)");
    assert!(
        output.status.success(),
        "the run under strace failed (may this process trace others?): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    calls(&std::fs::read_to_string(log.path()).unwrap())
}

/// The calls in the order in which they ended; a write counts from its beginning.
fn calls(log: &str) -> Vec<Call> {
    let mut open: HashMap<&str, String> = HashMap::new();
    let mut out = Vec::new();
    for line in log.lines() {
        let Some((pid, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            open.insert(pid, begun.to_owned());
            if let Some(call @ Call::Write(_)) = call(begun) {
                out.push(call);
            }
        } else if rest.starts_with("<... ") {
            let begun = open.remove(pid).unwrap_or_default();
            out.extend(call(&begun).filter(|call| !matches!(call, Call::Write(_))));
        } else {
            out.extend(call(rest));
        }
    }
    out
}

fn call(text: &str) -> Option<Call> {
    let (name, arguments) = text.split_once('(')?;
    let path = || {
        let start = arguments.find('<')? + 1;
        let end = start + arguments[start..].find('>')?;
        Some(arguments[start..end].to_owned())
    };
    match name {
        "write" | "pwrite64" | "writev" | "ftruncate" => Some(Call::Write(path()?)),
        "fsync" | "fdatasync" => Some(Call::Sync(path()?)),
        "rename" | "renameat" | "renameat2" => {
            let mut names = arguments.split('"').skip(1).step_by(2);
            Some(Call::Rename(
                names.next()?.to_owned(),
                names.next()?.to_owned(),
            ))
        }
        _ => None,
    }
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Walks through the calls; at every point, whatever the disk kept must be whole.
fn must_be_whole_at_every_point(calls: &[Call], root: &str) -> usize {
    let journal = format!("{root}/.etlrs-migrate/journal.db");
    let mut dirty: HashSet<&str> = HashSet::new();
    // Renames that a power cut may still take back.
    let mut loose: Vec<&str> = Vec::new();
    let mut renames = 0;
    for (at, call) in calls.iter().enumerate() {
        match call {
            Call::Write(path) => {
                assert!(
                    !loose.contains(&path.as_str()),
                    "call {at}: {path} is written to under its new name"
                );
                dirty.insert(path);
            }
            Call::Sync(path) => {
                if *path == journal {
                    let late: Vec<&&str> =
                        loose.iter().filter(|path| path.starts_with(root)).collect();
                    assert!(
                        late.is_empty(),
                        "call {at}: the journal goes on, and a power cut could take back {late:?}"
                    );
                }
                dirty.remove(path.as_str());
                loose.retain(|renamed| directory(renamed) != path);
            }
            Call::Rename(from, to) if to.starts_with(root) => {
                assert!(
                    !dirty.contains(from.as_str()),
                    "call {at}: {to} would name bytes that are not on the disk"
                );
                renames += 1;
                loose.push(to);
            }
            Call::Rename(..) => {}
        }
    }
    let late: Vec<&&str> = loose.iter().filter(|path| path.starts_with(root)).collect();
    assert!(
        late.is_empty(),
        "at its end a power cut could take back {late:?}"
    );
    renames
}

#[test]
fn files_are_whole_after_a_power_cut_at_any_point() {
    let deployment = Deployment::v1().sqlite();
    let root = deployment.root().canonicalize().unwrap();
    let root = root.to_str().unwrap();
    let there = recorded(&deployment, &["--from", "1.5.0", "--to", "2.0.0", "--yes"]);
    let renames = must_be_whole_at_every_point(&there, root);
    assert!(
        renames >= 3,
        "only {renames} renames were seen: config, backup and history make more"
    );
    deployment.must_be_v2();
    let back = recorded(
        &deployment,
        &[
            "--rollback",
            "--to",
            "1.5.0",
            "--strategy",
            "restore",
            "--yes",
        ],
    );
    let renames = must_be_whole_at_every_point(&back, root);
    assert!(renames >= 1, "the config came back without a rename");
}

/// The judge itself must be able to say no.
#[test]
fn the_replay_finds_what_is_missing() {
    let path = |name: &str| format!("/r/{name}");
    let (temporary, target) = (path("a.tmp"), path("a"));
    let good = [
        Call::Write(temporary.clone()),
        Call::Sync(temporary.clone()),
        Call::Rename(temporary.clone(), target),
        Call::Sync("/r".to_owned()),
    ];
    assert_eq!(must_be_whole_at_every_point(&good, "/r"), 1);
    for without in [1, 3] {
        let mut calls = good.to_vec();
        calls.remove(without);
        let judged = std::panic::catch_unwind(|| must_be_whole_at_every_point(&calls, "/r"));
        assert!(
            judged.is_err(),
            "a missing sync (call {without}) is not seen"
        );
    }
    let line = "12 renameat2(AT_FDCWD</x>, \"/r/a.tmp\", AT_FDCWD</x>, \"/r/a\", 0) = 0";
    assert!(matches!(calls(line).as_slice(), [Call::Rename(_, to)] if to == "/r/a"));
}
