//! Plan files: a migration resolved to the last statement, to be read, kept and applied.
//!
//! Reading order: this file (what stands in one), `resolve` (how it comes to be), `drift`
//! (what is no longer so), `store` (reading and writing it), `signed` (who approved it).

mod drift;
mod resolve;
pub(crate) mod signed;
mod store;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use migrate_core::{Finding, MigrationPlan, ScopeObject, Script, StepId, Undoable, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use drift::{Extent, drift};
pub(crate) use resolve::{contract_now, hops, resolve};
pub(crate) use store::refuse_other;

/// The format of the document that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// The name under which a run's inputs hold the hash of the plan file that it applies.
pub(crate) const INPUT: &str = "plan file";

/// A migration resolved: what will be done, and what the deployment was when that was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanFile {
    pub(crate) format: u32,
    /// SHA-256 of `contract`.
    pub(crate) hash: String,
    pub(crate) made_at: DateTime<Utc>,
    /// What `apply` does and insists on.
    pub(crate) contract: Contract,
    /// Counts and estimates of the moment: for people, not compared.
    pub(crate) expected: Expected,
}

/// What `apply` does, and on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contract {
    pub(crate) tool_version: String,
    pub(crate) environment: Option<String>,
    pub(crate) from: Version,
    pub(crate) to: Version,
    /// Which database, without secrets.
    pub(crate) database: String,
    /// The services round the run, as `etlrs-migrate.toml` configures them.
    pub(crate) services: BTreeMap<String, Value>,
    /// The plans, in order.
    pub(crate) hops: Vec<Hop>,
    /// The config files in scope, by path.
    pub(crate) config: BTreeMap<String, ConfigState>,
    /// Every object of the database with its definition.
    pub(crate) schema: BTreeMap<String, String>,
    /// SHA-256 of `schema`.
    pub(crate) schema_sha256: String,
}

/// One plan of the chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hop {
    pub(crate) origin: String,
    pub(crate) sha256: String,
    pub(crate) plan: MigrationPlan,
    /// The scripts' texts, by the name that the plan uses.
    pub(crate) scripts: BTreeMap<String, Script>,
    /// Their SHA-256.
    pub(crate) script_sha256: BTreeMap<String, String>,
    pub(crate) steps: Vec<ResolvedStep>,
    pub(crate) point_of_no_return: Option<StepId>,
}

/// A step, told without looking at the deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolvedStep {
    pub(crate) id: StepId,
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) undo: Undoable,
    pub(crate) deferred: bool,
    pub(crate) runs_commands: bool,
    pub(crate) scope: Vec<ScopeObject>,
    /// The names of the texts that decide what it does.
    pub(crate) scripts: Vec<String>,
    /// The exact SQL, edits or argv.
    pub(crate) actions: Vec<String>,
}

/// A config file, so that a change can be named without keeping its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigState {
    /// Of its bytes; nothing if there is no such file.
    pub(crate) sha256: Option<String>,
    /// A short hash of each value, by its path; 48 bits tell a change and give nothing away.
    pub(crate) keys: BTreeMap<String, String>,
}

/// What the moment showed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// The first plan's steps; those after it show once it has run.
    pub(crate) steps: Vec<ExpectedStep>,
    /// The tables in scope.
    pub(crate) tables: BTreeMap<String, TableSize>,
    /// Warnings of the checks.
    pub(crate) findings: Vec<Finding>,
}

/// What a step would do now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedStep {
    pub(crate) id: StepId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) already_done: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) config_diff: String,
    /// Statement by statement, where the database had to be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) statements: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) estimate: Option<Duration>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

/// About how large a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableSize {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl PlanFile {
    fn new(contract: Contract, expected: Expected, made_at: DateTime<Utc>) -> Self {
        Self {
            format: FORMAT,
            hash: contract.hash(),
            made_at,
            contract,
            expected,
        }
    }
}

impl Contract {
    /// The name of exactly this: the same deployment, plans and tool give the same.
    pub(crate) fn hash(&self) -> String {
        let mut counted = self.clone();
        // Where a directory was mounted decides nothing.
        for hop in &mut counted.hops {
            hop.origin.clear();
            for script in hop.scripts.values_mut() {
                script.origin.clear();
            }
            for step in &mut hop.steps {
                step.actions.clear();
            }
        }
        let text = serde_json::to_string(&counted).expect("a contract has only text keys");
        crate::plans::sha256(&text)
    }
}
