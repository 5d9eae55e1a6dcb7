//! What is particular to a database that is a file others may have open.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use migrate_tests::deployment::Deployment;

/// A program that has the database open all the time.
struct Visitor {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Visitor {
    fn of(deployment: &Deployment) -> Self {
        let mut child = Command::new("sqlite3")
            .args(["-batch", "-list"])
            .arg(deployment.path("data/etlrs.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tests need sqlite3");
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut visitor = Self {
            child,
            stdin,
            stdout,
        };
        visitor.ask(".timeout 10000\nSELECT count(*) FROM pipelines");
        visitor
    }

    fn ask(&mut self, sql: &str) -> String {
        writeln!(self.stdin, "{sql};").unwrap();
        self.stdin.flush().unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn in_mode(mode: &str) -> Deployment {
    let deployment = Deployment::v1().sqlite();
    assert_eq!(
        deployment.sql(&format!("PRAGMA journal_mode = {mode}")),
        mode
    );
    deployment
}

#[test]
fn the_journal_mode_is_kept() {
    for mode in ["delete", "wal"] {
        let deployment = in_mode(mode);
        let before = deployment.snapshot();
        for strategy in ["reverse", "restore"] {
            deployment.migrate().expect(0);
            deployment.must_be_v2();
            assert_eq!(deployment.sql("PRAGMA journal_mode"), mode);
            deployment.rollback(strategy).expect(0);
            before.must_equal(&deployment.snapshot(), strategy);
        }
    }
}

#[test]
fn a_program_that_has_it_open_sees_both_ways() {
    for mode in ["delete", "wal"] {
        for strategy in ["reverse", "restore"] {
            let deployment = in_mode(mode);
            let before = deployment.snapshot();
            let mut visitor = Visitor::of(&deployment);
            deployment.migrate().expect(0);
            let columns = "SELECT count(*) FROM pragma_table_info('pipelines')";
            assert_eq!(visitor.ask(columns), "8", "{mode}");
            deployment.rollback(strategy).expect(0);
            assert_eq!(visitor.ask(columns), "4", "{mode} {strategy}");
            let written =
                visitor.ask("INSERT INTO pipelines VALUES (55555, 'v', '{}', 's') RETURNING id");
            assert_eq!(written, "55555");
            drop(visitor);
            assert_eq!(
                deployment.sql("DELETE FROM pipelines WHERE id = 55555 RETURNING id"),
                "55555"
            );
            before.must_equal(&deployment.snapshot(), strategy);
        }
    }
}

#[test]
fn a_writer_in_the_middle_of_a_transaction_is_waited_for_or_named() {
    let deployment = Deployment::v1().sqlite();
    let before = deployment.snapshot();
    let mut visitor = Visitor::of(&deployment);
    visitor.ask("BEGIN IMMEDIATE; SELECT 1");
    let run = deployment.migrate();
    run.expect_one_of(&[1, 3]).says(&["lock"]);
    visitor.ask("ROLLBACK; SELECT 1");
    drop(visitor);
    before.must_equal(&deployment.snapshot(), "after a refusal");
    deployment.migrate().expect(0);
    deployment.must_be_v2();
}

#[test]
fn a_write_ahead_log_that_was_never_folded_in_is_part_of_the_data() {
    let mut deployment = in_mode("wal");
    // Closed by a kill, not in good order: the last rows are only in the log.
    let mut visitor = Visitor::of(&deployment);
    visitor.ask("PRAGMA wal_autocheckpoint = 0");
    let id = visitor.ask(
        "INSERT INTO pipelines_old VALUES (99999, 'late', '{}', 'new', '2024-05-05 05:05:05') RETURNING id",
    );
    assert_eq!(id, "99999");
    drop(visitor);
    deployment.source.push(migrate_tests::hostile::SourceRow {
        id: 99_999,
        name: "late".to_owned(),
        config: "{}".to_owned(),
        status: "new".to_owned(),
        created_at: "2024-05-05 05:05:05".to_owned(),
    });
    deployment.migrate().expect(0);
    deployment.must_be_v2();
    deployment.rollback("restore").expect(0);
    assert_eq!(
        deployment.sql("SELECT name FROM pipelines_old WHERE id = 99999"),
        "late"
    );
}
