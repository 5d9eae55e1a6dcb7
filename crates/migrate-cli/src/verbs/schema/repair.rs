//! Mending the history by hand.

use clap::{Args, ValueEnum};
use migrate_schema::apply::{Decision, Repair};
use migrate_schema::db::CreateMode;

use super::source::{SourceArgs, Target};
use super::{how, work};
use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;

/// What `schema repair` mends.
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// An applied file that was edited: its text counts from now on. May be given more than once.
    #[arg(long, value_name = "FILE")]
    accept: Vec<String>,
    /// A version that is taken out of the history; nothing is run.
    #[arg(long, value_name = "VERSION")]
    forget: Vec<String>,
    /// What became of the statement in doubt of --version.
    #[arg(long, value_enum, requires = "version")]
    statement: Option<DecisionArg>,
    /// The migration that --statement is about.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
}

/// What is said about a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DecisionArg {
    /// It took effect.
    Done,
    /// It did not: it runs again.
    Again,
}

/// `schema repair`.
pub(crate) async fn run(
    global: &Global,
    args: &RepairArgs,
    output: &Output,
) -> Result<u8, Failure> {
    let mut asked: Vec<Repair> = args.accept.iter().cloned().map(Repair::Accept).collect();
    asked.extend(args.forget.iter().cloned().map(Repair::Forget));
    if let (Some(decision), Some(key)) = (args.statement, &args.version) {
        asked.push(Repair::Statement {
            key: key.clone(),
            decision: match decision {
                DecisionArg::Done => Decision::Done,
                DecisionArg::Again => Decision::Again,
            },
        });
    }
    if asked.is_empty() {
        return Err(Failure::usage("nothing to mend is named").hint(
            "say --accept FILE, --forget VERSION, or --statement done|again --version VERSION",
        ));
    }
    let target = Target::open(global, CreateMode::MustExist).await?;
    let set = args.source.read(&target.root, &target.db).await?;
    let engine = work::engine(&target, how::options(&args.source), output);
    let done = work::locked(global, output, &target.db, async {
        let mut done = Vec::new();
        for one in &asked {
            done.push(engine.repair(&set, one).await?);
        }
        Ok(done)
    })
    .await?;
    output.say_each(&done);
    Ok(exit::DONE)
}
