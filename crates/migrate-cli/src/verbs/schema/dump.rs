//! The schema as SQL.

use std::path::{Path, PathBuf};

use clap::Args;
use migrate_config::Root;
use migrate_schema::db::CreateMode;
use migrate_schema::snapshot::Snapshot;

use super::source::Target;
use crate::args::Global;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;

/// What `schema dump` writes.
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// The file to write; standard output without it.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `schema dump`.
pub(crate) async fn run(global: &Global, args: &DumpArgs, output: &Output) -> Result<u8, Failure> {
    let target = Target::open(global, CreateMode::MustExist).await?;
    let snapshot = read(&target).await?;
    let text = snapshot.to_string();
    match &args.output {
        None => output.schema_dump(&snapshot),
        Some(path) => {
            write(path, &text)?;
            output.schema_dumped(path, snapshot.blocks.len());
        }
    }
    Ok(exit::DONE)
}

/// Reads what `dump` writes.
pub(super) async fn read(target: &Target) -> Result<Snapshot, Failure> {
    Snapshot::read(&target.db).await.map_err(|error| {
        Failure::from(error.into_step_error(format!("the catalog of {} can't be read", target.url)))
    })
}

/// Whole or not at all: a snapshot under version control is never cut off.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed =
        |error: String| Failure::unchanged(format!("{} can't be written: {error}", path.display()));
    let name = path
        .file_name()
        .ok_or_else(|| failed("it names no file".to_owned()))?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let root = Root::open(dir).map_err(|error| failed(error.to_string()))?;
    migrate_config::atomic::write_atomic(&root, Path::new(name), text.as_bytes())
        .map_err(|error| failed(error.to_string()))
}
