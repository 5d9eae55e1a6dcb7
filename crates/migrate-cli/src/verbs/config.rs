//! Config files alone.

use crate::args::ConfigVerb;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;

/// `config migrate IN OUT`.
pub(crate) async fn run(verb: &ConfigVerb, output: &Output) -> Result<u8, Failure> {
    let ConfigVerb::Migrate { input, output: to } = verb;
    migrate_config::migrate_config_file(input, to)
        .await
        .map_err(|error| Failure::unchanged(error.to_string()))?;
    output.say(&format!(
        "configuration migrated from {} to {}",
        input.display(),
        to.display()
    ));
    Ok(exit::DONE)
}
