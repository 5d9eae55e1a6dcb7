//! The runner with real processes.

use std::path::Path;
use std::time::{Duration, Instant};

use migrate_core::{Cancel, CancelCause, CommandLine, StepErrorKind};
use migrate_service::{
    Call, CommandEnd, CommandError, CommandOutput, CommandRunner, Leftovers, Secrets,
};

const LONG: Duration = Duration::from_mins(1);

fn sh(text: &str) -> CommandLine {
    CommandLine::Text(text.to_owned())
}

fn runner(root: &Path) -> CommandRunner {
    CommandRunner::new(root).with_grace(Duration::from_millis(300))
}

async fn run(runner: &CommandRunner, line: &CommandLine) -> Result<CommandOutput, CommandError> {
    runner.run(Call::new(line, LONG, &Cancel::new())).await
}

/// Whether a process runs; one that waits to be reaped does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .trim_start()
        .chars()
        .next();
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Waits until a command has written its file.
async fn written(path: &Path) -> String {
    let until = Instant::now() + LONG;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.ends_with('\n') {
            return text;
        }
        assert!(
            Instant::now() < until,
            "{} was never written",
            path.display()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A child and a grandchild that both ignore SIGTERM, with their ids in `pids`.
const STUBBORN: &str = r#"trap "" TERM
sh -c 'trap "" TERM; echo $$ >> pids.part; while :; do sleep 0.05; done' &
echo $$ >> pids.part
until [ "$(wc -l < pids.part)" = 2 ]; do sleep 0.01; done
echo "about to hang"
mv pids.part pids
while :; do sleep 0.05; done"#;

#[tokio::test]
async fn a_timeout_ends_the_whole_group_even_if_it_ignores_sigterm() {
    let root = tempfile::tempdir().unwrap();
    let line = sh(STUBBORN);
    let cancel = Cancel::new();
    let call = Call::new(&line, Duration::from_secs(4), &cancel);
    let error = runner(root.path()).run(call).await.unwrap_err();
    let CommandError::TimedOut { lines, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(lines, &["about to hang"]);
    let pids = std::fs::read_to_string(root.path().join("pids")).unwrap();
    assert_eq!(pids.lines().count(), 2);
    assert!(!pids.lines().any(runs), "{pids}");
    let error = error.into_step_error("step x");
    assert_eq!(error.kind, StepErrorKind::Failed);
    assert!(error.to_string().contains("about to hang"), "{error}");
}

#[tokio::test]
async fn a_cancel_ends_the_whole_group() {
    let root = tempfile::tempdir().unwrap();
    let line = sh(STUBBORN);
    let cancel = Cancel::new();
    let runner = runner(root.path());
    let stop = async {
        let pids = written(&root.path().join("pids")).await;
        assert!(pids.lines().all(runs), "{pids}");
        cancel.cancel(CancelCause::Signal(15));
        pids
    };
    let (ended, pids) = tokio::join!(runner.run(Call::new(&line, LONG, &cancel)), stop);
    assert!(!pids.lines().any(runs), "{pids}");
    let error = ended.unwrap_err().into_step_error("step x");
    assert_eq!(error.kind, StepErrorKind::Interrupted);
}

#[tokio::test]
async fn a_dropped_future_leaves_no_process() {
    let root = tempfile::tempdir().unwrap();
    let line = sh(STUBBORN);
    let cancel = Cancel::new();
    let runner = runner(root.path());
    let file = root.path().join("pids");
    let pids = tokio::select! {
        ended = runner.run(Call::new(&line, LONG, &cancel)) => panic!("{ended:?}"),
        pids = written(&file) => pids,
    };
    assert!(!pids.lines().any(runs), "{pids}");
}

#[tokio::test]
async fn a_child_that_ends_on_sigterm_may_print_why() {
    let root = tempfile::tempdir().unwrap();
    let line = sh("trap 'seq 1 40000; echo tidied up; exit 0' TERM; while :; do sleep 0.02; done");
    let cancel = Cancel::new();
    let runner = CommandRunner::new(root.path()).with_grace(LONG);
    let error = runner
        .run(Call::new(&line, Duration::from_secs(2), &cancel))
        .await
        .unwrap_err();
    let CommandError::TimedOut { lines, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(lines.last().map(String::as_str), Some("tidied up"));
}

#[tokio::test]
async fn what_a_command_leaves_in_the_background_is_ended_and_told() {
    let root = tempfile::tempdir().unwrap();
    let runner = runner(root.path());
    let output = run(&runner, &sh("sleep 600 & echo $! > pid; echo done"))
        .await
        .unwrap();
    assert_eq!(
        (output.end, output.ended_leftovers),
        (CommandEnd::Code(0), true)
    );
    assert_eq!(output.stdout, "done\n");
    assert!(!runs(
        &std::fs::read_to_string(root.path().join("pid")).unwrap()
    ));
    assert!(!run(&runner, &sh("echo x")).await.unwrap().ended_leftovers);
}

#[tokio::test]
async fn what_may_stay_stays_and_prints_into_its_log() {
    let root = tempfile::tempdir().unwrap();
    let line = sh("(while :; do sleep 0.05; done) & echo $! > pid; echo up; echo why >&2; exit 3");
    let cancel = Cancel::new();
    let log = || Leftovers::Keep {
        log: "state/service.log".into(),
    };
    let runner = runner(root.path());
    for _ in 0..2 {
        let output = runner
            .run(Call::new(&line, LONG, &cancel).leftovers(log()))
            .await
            .unwrap();
        assert_eq!(output.end, CommandEnd::Code(3));
        assert_eq!(
            output.last_lines(),
            ["up", "why"],
            "only this start's lines"
        );
        let pid = std::fs::read_to_string(root.path().join("pid")).unwrap();
        assert!(runs(&pid));
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid.trim().parse().unwrap()),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
    }
    let kept = std::fs::read_to_string(root.path().join("state/service.log")).unwrap();
    assert_eq!(kept, "up\nwhy\nup\nwhy\n");
}

#[tokio::test]
async fn output_is_bounded_and_its_end_kept() {
    let root = tempfile::tempdir().unwrap();
    let line = sh("seq 1 2000000; echo last; exit 7");
    let output = run(&runner(root.path()), &line).await.unwrap();
    assert!(
        output.transcript.len() <= 64 * 1024,
        "{}",
        output.transcript.len()
    );
    assert!(output.stdout.ends_with("1999999\n2000000\nlast\n"));
    let CommandError::Failed { end, lines, .. } = output.success().unwrap_err() else {
        panic!("not a failure")
    };
    assert_eq!(end, CommandEnd::Code(7));
    assert_eq!(lines.len(), 20);
    assert_eq!(lines[19], "last");
}

#[tokio::test]
async fn no_secret_is_seen_in_output_error_or_debug() {
    let root = tempfile::tempdir().unwrap();
    let runner = runner(root.path())
        .with_env("DATABASE_URL", "postgres://etl:s3cr3t@db/app")
        .with_secrets(Secrets::new(["s3cr3t", "t0ken"]));
    let line = sh(
        "echo $DATABASE_URL; echo s3cr3t >&2; p=redis: w=oth; echo $p//:${w}er@h; echo t0ken; exit 1",
    );
    let output = run(&runner, &line).await.unwrap();
    assert!(
        output.stdout.contains("postgres://etl:***@db/app"),
        "{}",
        output.stdout
    );
    let error = output.clone().success().unwrap_err();
    let step_error = error.clone().into_step_error("step");
    let seen = format!("{runner:?} {output:?} {error:?} {error} {step_error} {step_error:?}");
    for secret in ["s3cr3t", "t0ken", "other@"] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
}

#[tokio::test]
async fn a_url_with_a_password_never_becomes_an_argument() {
    let root = tempfile::tempdir().unwrap();
    let argv = ["touch", "ran", "postgres://u:geheim@h/d"]
        .map(str::to_owned)
        .to_vec();
    let error = run(&runner(root.path()), &CommandLine::Argv(argv))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CommandError::NotStarted { .. }),
        "{error:?}"
    );
    assert!(!error.to_string().contains("geheim"), "{error}");
    assert!(!root.path().join("ran").exists());
}

#[tokio::test]
async fn ends_are_named() {
    let root = tempfile::tempdir().unwrap();
    let runner = runner(root.path());
    for (text, expected) in [
        ("exit 3", "`exit 3` failed: exit status 3"),
        ("kill -SEGV $$", "`kill -SEGV $$` failed: ended by SIGSEGV"),
        (
            "echo why; exit 1",
            "`echo why; exit 1` failed: exit status 1: it printed last:\n    | why",
        ),
    ] {
        let error = run(&runner, &sh(text))
            .await
            .unwrap()
            .success()
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let missing = CommandLine::Argv(vec!["./no-such-file".to_owned()]);
    let error = run(&runner, &missing).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`./no-such-file` was not run: no such program"
    );
}

#[tokio::test]
async fn commands_run_in_the_root_with_empty_input_and_the_given_variables() {
    let root = tempfile::tempdir().unwrap();
    let real = root.path().canonicalize().unwrap();
    let runner = runner(root.path()).with_env("GIVEN", "a b");
    let line = sh("pwd; cat; echo \"$GIVEN\"; test -n \"$PATH\" && echo inherited");
    let output = run(&runner, &line).await.unwrap();
    assert_eq!(
        output.stdout,
        format!("{}\na b\ninherited\n", real.display())
    );

    std::fs::create_dir(root.path().join("bin")).unwrap();
    // Written by another process: a fork of another test could hold our own file open.
    let make = sh("printf '#!/bin/sh\\necho \"$1\"\\n' > bin/tool; chmod +x bin/tool");
    run(&runner, &make).await.unwrap().success().unwrap();
    let argv = CommandLine::Argv(vec!["bin/tool".to_owned(), "$HOME; no shell".to_owned()]);
    assert_eq!(
        run(&runner, &argv).await.unwrap().stdout,
        "$HOME; no shell\n"
    );
}

#[tokio::test]
async fn a_cancel_before_the_start_runs_nothing() {
    let root = tempfile::tempdir().unwrap();
    let line = sh("touch ran");
    let cancel = Cancel::new();
    cancel.cancel(CancelCause::Timeout);
    let ended = runner(root.path())
        .run(Call::new(&line, LONG, &cancel))
        .await;
    assert!(matches!(ended, Err(CommandError::Cancelled { .. })));
    assert!(!root.path().join("ran").exists());
}
