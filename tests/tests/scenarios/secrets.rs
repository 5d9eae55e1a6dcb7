//! A password in a URL is in the config file, in its backup, and nowhere else.

use std::path::Path;

use migrate_tests::binary::{Run, Tool};
use migrate_tests::deployment::Deployment;
use migrate_tests::postgres::{PASSWORD, TestDatabase};
use migrate_tests::snapshot::files;

use crate::shipped;

#[track_caller]
fn keeps_quiet(run: &Run) {
    assert!(
        !run.output().contains(PASSWORD),
        "the password was told by {run}"
    );
}

/// The files below a directory that hold the password, but for the config and its backups.
fn files_with_the_password(root: &Path) -> Vec<String> {
    let holds = |bytes: &[u8]| {
        bytes
            .windows(PASSWORD.len())
            .any(|part| part == PASSWORD.as_bytes())
    };
    let config = |name: &str| Path::new(name).extension().is_some_and(|end| end == "toml");
    files(root, |_| true)
        .into_iter()
        .filter(|(name, (_, bytes))| !config(name) && holds(bytes))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn no_output_and_no_file_tells_it() {
    let deployment = Deployment::v1().postgres();
    let run = |arguments: &[&str]| keeps_quiet(&deployment.run(arguments));
    let path = ["--from", "1.5.0", "--to", "2.0.0"];
    for format in ["human", "json"] {
        let with = |more: &[&'static str]| {
            let mut all = path.to_vec();
            all.extend(["--format", format, "-v", "-v"]);
            all.extend(more);
            all
        };
        run(&with(&["--dry-run"]));
        run(&with(&["--yes"]));
        run(&["status", "--format", format]);
        run(&["history", "--format", format, "-v"]);
        run(&[
            "plan", "--from", "1.5.0", "--to", "2.0.0", "--format", format,
        ]);
        assert_eq!(
            files_with_the_password(deployment.root()),
            Vec::<String>::new()
        );
        run(&[
            "--rollback",
            "--to",
            "1.5.0",
            "--dry-run",
            "--format",
            format,
            "-v",
        ]);
        let strategy = if format == "human" {
            "reverse"
        } else {
            "restore"
        };
        run(&[
            "--rollback",
            "--to",
            "1.5.0",
            "--yes",
            "--strategy",
            strategy,
            "--format",
            format,
        ]);
    }
    assert_eq!(
        files_with_the_password(deployment.root()),
        Vec::<String>::new()
    );
}

#[test]
fn no_error_tells_it() {
    let deployment = Deployment::v1().postgres();
    let url = deployment.url();
    let port = format!(":{}/", migrate_tests::postgres::shared().port());
    for wrong in [
        url.replace(&port, ":1/"),
        url.replace("127.0.0.1", "no-such-host.invalid"),
        url.replace("etlrs:", "nobody-there:"),
        format!("{url}_missing"),
        format!("{url}?sslmode=require"),
        format!("{url}?no_such_option=1"),
        url.replace("postgres://", "mysql://"),
        url.replace("postgres://", "postgres:"),
        url.replace(&port, ":not-a-port/"),
        format!("{url} with spaces"),
    ] {
        for format in ["human", "json"] {
            let arguments = [
                "--from",
                "1.5.0",
                "--to",
                "2.0.0",
                "--yes",
                "-v",
                "--format",
                format,
                "--database-url",
                &wrong,
            ];
            let run = deployment.run(&arguments);
            run.expect_one_of(&[1, 2]);
            keeps_quiet(&run);
        }
    }
}

#[test]
fn a_failure_tells_it_not() {
    let deployment = Deployment::v1().postgres();
    shipped::insert_step(
        &deployment,
        shipped::steps(),
        shipped::failing_schema(&deployment, 1),
    );
    let run = deployment.run(&[
        "--from", "1.5.0", "--to", "2.0.0", "--yes", "-v", "--format", "json",
    ]);
    run.expect(3);
    keeps_quiet(&run);
    keeps_quiet(&deployment.run(&["history", "-v", "--format", "json"]));
    assert_eq!(
        files_with_the_password(deployment.root()),
        Vec::<String>::new()
    );
}

#[test]
fn a_broken_config_line_with_the_url_is_not_shown() {
    let deployment = Deployment::v1().postgres();
    deployment.edit(
        "config/config.toml",
        "database_url = \"",
        "database_url = = \"",
    );
    let run = deployment.migrate();
    run.expect(1).says(&["config/config.toml:4"]);
    keeps_quiet(&run);
}

/// The command lines of a process's children, as anybody on the machine can read them.
fn command_lines_of_children(parent: u32) -> Vec<String> {
    let parent = parent.to_string();
    let is_child = |stat: &str| {
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        after_name.split_whitespace().nth(1) == Some(&parent)
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let stat = std::fs::read_to_string(path.join("stat")).ok()?;
            is_child(&stat).then_some(())?;
            let line = std::fs::read(path.join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
}

#[test]
fn no_program_that_is_started_sees_it_in_its_arguments() {
    let deployment = Deployment::v1().rows(20_000).postgres();
    for (arguments, program) in [
        (
            &["--from", "1.5.0", "--to", "2.0.0", "--yes"][..],
            "pg_dump",
        ),
        (
            &[
                "--rollback",
                "--to",
                "1.5.0",
                "--strategy",
                "restore",
                "--yes",
            ],
            "pg_restore",
        ),
    ] {
        let mut running = deployment.tool(arguments).start();
        let mut seen = std::collections::BTreeSet::new();
        while running.is_running() {
            seen.extend(command_lines_of_children(running.pid()));
        }
        running.finish().expect(0);
        assert!(
            seen.iter().any(|line| line.contains(program)),
            "{program} in {seen:?}"
        );
        assert!(!seen.iter().any(|line| line.contains(PASSWORD)), "{seen:?}");
    }
}

#[test]
fn a_password_full_of_separators_works() {
    let database = TestDatabase::create();
    let (plain, encoded) = (r"p@ss:w/o%r\d#?&'", "p%40ss%3Aw%2Fo%25r%5Cd%23%3F%26%27");
    let literal = plain.replace('\'', "''");
    let name = database.name();
    let role = format!("{name}_role");
    database.server().admin_psql(
        "postgres",
        &format!(
            "CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{literal}';
             ALTER DATABASE {name} OWNER TO {role}"
        ),
    );
    let temp = tempfile::TempDir::new().unwrap();
    let directory = temp.path().join("demo");
    let url = database.server().url(&role, encoded, name);
    let directory = directory.to_str().unwrap();
    let demo = Tool::new(&[
        "demo",
        "--dir",
        directory,
        "--rows",
        "50",
        "--database-url",
        &url,
    ])
    .run();
    demo.expect(0);
    let back = [
        "-C",
        directory,
        "--rollback",
        "--to",
        "1.5.0",
        "--strategy",
        "restore",
        "--yes",
    ];
    let back = Tool::new(&back).run();
    back.expect(0);
    for run in [demo, back] {
        assert!(
            !run.output().contains(plain) && !run.output().contains(encoded),
            "{run}"
        );
    }
    drop(database);
    migrate_tests::postgres::shared().admin_psql("postgres", &format!("DROP ROLE {role}"));
}
