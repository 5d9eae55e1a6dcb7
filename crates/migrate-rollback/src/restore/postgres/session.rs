//! One session of `psql` that is written to and asked.

use std::io;
use std::process::Stdio;

use migrate_core::StepError;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use crate::pg::child::{Group, tail};
use crate::pg::programs::Programs;
use crate::pg::target::Target;

/// What ends an answer.
const END: &str = "etlrs-migrate: end of answer";

/// Why nothing more can be said to a session.
pub(super) enum Feed {
    /// It ended by itself: what it said is the reason.
    PsqlGone,
    /// Something of ours failed, or what was found may not stay.
    Failed(StepError),
}

/// A running `psql`. Nothing is committed unless that was written to it: when it is dropped, or
/// this process dies, its input ends and the server rolls back.
pub(super) struct Session {
    psql: Group,
    to: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    said: JoinHandle<String>,
}

impl Session {
    pub(super) fn start(programs: &Programs, target: &Target) -> Result<Self, StepError> {
        let arguments = [
            "--no-psqlrc",
            "--quiet",
            "--no-password",
            "--no-align",
            "--tuples-only",
            "--set=ON_ERROR_STOP=1",
            "--set=VERBOSITY=verbose",
            "--file=-",
        ];
        let command = target.command(&programs.psql(), &arguments);
        let mut psql = Group::start(command, Stdio::piped(), Stdio::piped())
            .map_err(|error| StepError::caused("can't run psql", &error))?;
        let (to, from, errors) = (psql.stdin(), psql.stdout(), psql.stderr());
        Ok(Self {
            psql,
            to,
            answers: BufReader::new(from).lines(),
            said: tokio::spawn(tail(errors)),
        })
    }

    /// Statements whose results nobody reads.
    pub(super) async fn tell(&mut self, sql: &str) -> Result<(), Feed> {
        self.write(b"\\o /dev/null\n").await?;
        self.write(sql.as_bytes()).await
    }

    /// The lines that a query prints.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Vec<String>, Feed> {
        let text = format!("\n\\o\n{sql}\nSELECT '{END}';\n\\o /dev/null\n");
        let (answers, to) = (&mut self.answers, &mut self.to);
        // Both at once: neither side waits for the other with its pipe full.
        let (written, lines) = tokio::join!(write(to, text.as_bytes()), answer(answers));
        written?;
        lines
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Feed> {
        write(&mut self.to, bytes).await
    }

    /// Ends its input; whether it ended well, and what it said.
    pub(super) async fn end(mut self) -> Result<(bool, String), StepError> {
        drop(self.to);
        while let Ok(Some(_)) = self.answers.next_line().await {}
        let said = self.said.await.unwrap_or_default();
        let status = self.psql.wait().await;
        let status = status.map_err(|error| StepError::caused("can't wait for psql", &error))?;
        Ok((status.success(), said))
    }
}

async fn write(to: &mut ChildStdin, bytes: &[u8]) -> Result<(), Feed> {
    let written = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    written.await.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Feed::PsqlGone,
        _ => Feed::Failed(StepError::caused("can't write to psql", &error)),
    })
}

async fn answer(from: &mut Lines<BufReader<ChildStdout>>) -> Result<Vec<String>, Feed> {
    let mut lines = Vec::new();
    loop {
        match from.next_line().await {
            Ok(Some(line)) if line == END => return Ok(lines),
            Ok(Some(line)) => lines.push(line),
            Ok(None) => return Err(Feed::PsqlGone),
            Err(error) => {
                let error = StepError::caused("can't read what psql printed", &error);
                return Err(Feed::Failed(error));
            }
        }
    }
}
