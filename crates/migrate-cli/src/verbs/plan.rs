//! A plan, resolved: what each step would do, whether it can be undone.

use std::path::PathBuf;

use clap::Args;

use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::plan_file;
use crate::report::Output;
use crate::verbs::{migrate, next};
use crate::wire::Wired;

/// From where to where, and where the result goes.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The version to start at.
    #[arg(long, value_name = "VERSION")]
    pub(crate) from: String,
    /// The version to end at.
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: String,
    /// Resolve it on this deployment and write it to a file that `apply` takes.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Sign the file with this Ed25519 key (PKCS#8, PEM), for environments that want that.
    #[arg(long, value_name = "KEY", requires = "output")]
    pub(crate) sign: Option<PathBuf>,
}

/// `plan --from A --to B [-o FILE [--sign KEY]]`.
pub(crate) async fn run(global: &Global, args: &PlanArgs, output: &Output) -> Result<u8, Failure> {
    let from = migrate::version(&args.from, "--from")?;
    let to = migrate::version(&args.to, "--to")?;
    let Some(path) = &args.output else {
        // What only describes needs no database.
        let (hops, _) = plan_file::hops(global, &Wired::unconnected(global)?, &from, &to)?;
        output.plans(&hops);
        return Ok(exit::DONE);
    };
    let key = plan_file::signed::key(args.sign.as_deref())?;
    plan_file::refuse_other(path)?;
    let mut wired = Wired::open(global).await?;
    wired.only_looking();
    output.database(&wired);
    let file = plan_file::resolve(global, output, &wired, &from, &to).await?;
    file.write(path, key.as_ref())?;
    let rest = format!("apply {}", next::quoted(&path.to_string_lossy()));
    let steps = file.contract.hops.iter().flat_map(|hop| &hop.plan.steps);
    let apply = next::line(global, &next::consenting(&rest, steps));
    output.plan_file(&file, path, &apply);
    Ok(exit::DONE)
}
