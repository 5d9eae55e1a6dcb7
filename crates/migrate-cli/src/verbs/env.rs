//! The environments that `etlrs-migrate.toml` names.

use clap::Subcommand;
use migrate_schema::db::DatabaseUrl;
use serde_json::{Value, json};

use crate::args::Global;
use crate::deployment::{Deployment, read_settings};
use crate::environment::{self, EnvSettings};
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;
use crate::verbs::chain;

/// What can be done with environments.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvVerb {
    /// List them: directory, database, version, services, checks.
    List,
}

/// `env list`.
pub(crate) async fn run(global: &Global, verb: &EnvVerb, output: &Output) -> Result<u8, Failure> {
    let EnvVerb::List = verb;
    let base = Global {
        env: None,
        environment: None,
        root: global
            .environment
            .as_ref()
            .map_or(&global.root, |one| &one.base)
            .clone(),
        ..global.clone()
    };
    let deployment = Deployment::open(&base)?;
    let settings = read_settings(&deployment.root)?;
    let mut rows = Vec::new();
    for (name, own) in &settings.env {
        rows.push(row(&base, name, own).await);
    }
    output.environments(&rows);
    Ok(exit::DONE)
}

/// One environment; what is wrong with it is told, not hidden.
async fn row(base: &Global, name: &str, own: &EnvSettings) -> Value {
    let mut row = json!({
        "name": name,
        "root": own.root.as_deref().unwrap_or("."),
        "database": database(own),
        "confirm": own.confirm,
        "services": own.services.as_ref().map(|all| all.keys().cloned().collect::<Vec<_>>()),
        "checks": own.checks.iter().map(|check| check.name.clone()).collect::<Vec<_>>(),
        "version": null,
        "problem": null,
    });
    let chosen = Global {
        env: Some(name.to_owned()),
        ..base.clone()
    };
    match version(&chosen).await {
        Ok(version) => row["version"] = json!(version),
        Err(failure) => row["problem"] = json!(failure.to_string()),
    }
    row
}

async fn version(global: &Global) -> Result<Option<migrate_core::Version>, Failure> {
    let deployment = Deployment::open(&environment::resolve(global)?)?;
    chain::standing_at(&crate::wire::runs(&deployment).await?)
}

/// Where the database is, without secrets.
fn database(own: &EnvSettings) -> String {
    if let Some(variable) = &own.database_url_var {
        let set = std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        return format!("${variable} ({})", if set { "set" } else { "not set" });
    }
    match own
        .database_url
        .as_ref()
        .map(|url| url.0.parse::<DatabaseUrl>())
    {
        Some(Ok(url)) => url.to_string(),
        Some(Err(error)) => format!("not usable: {error}"),
        None => "as the config file says".to_owned(),
    }
}
