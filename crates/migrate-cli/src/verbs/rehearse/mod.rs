//! A rehearsal: the migration and its way back, on a copy, measured and compared.
//!
//! Reading order: this file (the verb), `copy` (what it is played on), `play` (there and
//! back), `step_meter` (what each step writes), `certificate` (what is kept of it).

pub(crate) mod certificate;
mod copy;
mod mark;
mod play;
mod step_meter;

use std::path::PathBuf;

use clap::Args;
use migrate_core::Cancel;

use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::plan_file;
use crate::report::Output;
use crate::verbs::{apply, migrate, resume};
use crate::wire::{Access, Wired};

use certificate::Certificate;
use copy::Copy;

/// What is rehearsed, and where.
#[derive(Debug, Args)]
pub(crate) struct RehearseArgs {
    /// The version to start at.
    #[arg(long, value_name = "VERSION")]
    from: String,
    /// The version to end at.
    #[arg(long, value_name = "VERSION")]
    to: String,
    /// SQLite: the directory for the copy. PostgreSQL: the URL of a database on the server on
    /// which a scratch database is made. Default: beside the deployment's own.
    #[arg(long, value_name = "URL|DIR")]
    into: Option<String>,
    /// Also forward again, and back from the rollback point.
    #[arg(long)]
    full: bool,
    /// Sign the certificate with this Ed25519 key (PKCS#8, PEM).
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
}

/// How much is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// There, and back step by step where that is possible.
    ThereAndBack,
    /// That, and once more there, and back from the rollback point.
    Full,
}

/// `rehearse --from A --to B [--into URL|DIR] [--full]`.
pub(crate) async fn run(
    global: &Global,
    args: &RehearseArgs,
    output: &Output,
) -> Result<u8, Failure> {
    let from = migrate::version(&args.from, "--from")?;
    let to = migrate::version(&args.to, "--to")?;
    refuse_beside_production(global, args)?;
    let key = plan_file::signed::key(args.sign.as_deref())?;
    let cancel = Cancel::new();
    crate::signals::watch(&cancel)
        .map_err(|error| Failure::unchanged(format!("signals can't be watched: {error}")))?;
    let wired = Wired::open(global).await?;
    output.database(&wired);
    refuse_open_run(&wired).await?;
    if from == to {
        output.say(&format!(
            "nothing to rehearse: --from and --to are both {to}"
        ));
        return Ok(exit::DONE);
    }
    let (contract, _) = plan_file::contract_now(global, &wired, &from, &to).await?;
    apply::refuse_commands(&wired, contract.hops.iter())?;
    let copy = Copy::make(global, &wired, &contract, args.into.as_deref(), &cancel).await?;
    let extent = if args.full {
        Extent::Full
    } else {
        Extent::ThereAndBack
    };
    let played = play::play(output, &copy, &contract, extent, &cancel).await;
    let removed = copy.remove().await;
    let certificate = Certificate::new(&wired, &contract, played?);
    removed?;
    let path = certificate.keep(&wired.deployment.root, key.as_ref())?;
    output.certificate(&certificate, &path);
    Ok(if certificate.proven {
        exit::DONE
    } else {
        exit::DIFFERENT
    })
}

/// A copy beside production would share its disk and its server: that is said, not assumed.
fn refuse_beside_production(global: &Global, args: &RehearseArgs) -> Result<(), Failure> {
    if global.env.as_deref() != Some("prod") || args.into.is_some() {
        return Ok(());
    }
    Err(Failure::usage(
        "--into URL|DIR is missing: a rehearsal of the environment prod is not made beside it",
    )
    .hint(
        "PostgreSQL: the URL of a database on another server; SQLite: a directory on another disk",
    ))
}

async fn refuse_open_run(wired: &Wired) -> Result<(), Failure> {
    let runs = wired.journal(Access::ReadOnly).await?.runs().await?;
    match resume::open_run(&runs)? {
        None => Ok(()),
        Some((log, _)) => Err(Failure {
            code: exit::OPEN_RUN,
            ..Failure::unchanged(format!("run {} is not finished", log.header.run)).hint(
                "`status` shows the next command; rehearse once the deployment is at a version",
            )
        }),
    }
}

/// Where `--into` points.
fn into_of(text: &str) -> Into {
    if text.contains("://") {
        Into::Server(text.to_owned())
    } else {
        Into::Directory(PathBuf::from(text))
    }
}

/// Where the copy is made.
enum Into {
    /// A server, by the URL of one of its databases.
    Server(String),
    /// A directory.
    Directory(PathBuf),
}
