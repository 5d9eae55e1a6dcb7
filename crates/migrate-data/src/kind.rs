//! The step kind `DataMigration`.

use std::sync::Arc;

use migrate_core::{
    BatchSize, CommandLine, DataMigration, Finding, MigrationStep, Scripts, Step, StepKind,
    StepSite, StepType, Undoable,
};
use migrate_schema::db::{Backend, Database, DatabaseUrl};
use migrate_schema::quote::TableName;
use migrate_schema::script::find;

use crate::bad_rows::BadRows;
use crate::carry::back_step;
use crate::copy::{LateRows, TableCopy};
use crate::range::Program;
use crate::script;
use crate::step::{DataStep, EarlierStep, Reverse};
use crate::transform::TransformRegistry;
use crate::verify::Verify;

/// The most batches that are worked on at once.
pub(crate) const MOST_WORKERS: usize = 64;

/// Builds data steps for one database.
#[derive(Clone)]
pub struct DataMigrationKind {
    db: Database,
    scripts: Arc<dyn Scripts>,
    transforms: TransformRegistry,
    named_urls: Option<NamedUrls>,
}

/// Finds the URL that `env:NAME` stands for; a library reads no environment itself.
pub type NamedUrls = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl DataMigrationKind {
    /// The kind for a database, with where its scripts are found and the Rust transforms there are.
    pub fn new(db: Database, scripts: Arc<dyn Scripts>, transforms: TransformRegistry) -> Self {
        Self {
            db,
            scripts,
            transforms,
            named_urls: None,
        }
    }

    /// Lets plans say `env:NAME` for a `source_url`, so that no password stands in them.
    #[must_use]
    pub fn with_named_urls(mut self, named: NamedUrls) -> Self {
        self.named_urls = Some(named);
        self
    }

    fn source_url(&self, written: &str) -> Result<DatabaseUrl, Finding> {
        let finding = |message: String| {
            Finding::error("data.source-url", message)
                .at("/source_url")
                .hint("write a URL without a password, or env:NAME for the variable that holds one")
        };
        let url = match written.strip_prefix("env:") {
            Some(name) => self
                .named_urls
                .as_ref()
                .and_then(|find| find(name))
                .ok_or_else(|| finding(format!("source_url: there is no variable {name}")))?,
            None => written.to_owned(),
        };
        let url: DatabaseUrl = url
            .parse()
            .map_err(|error| finding(format!("source_url: {error}")))?;
        if url.password().is_some() && !written.starts_with("env:") {
            return Err(finding("source_url holds a password".to_owned()));
        }
        Ok(url)
    }
}

impl StepKind for DataMigrationKind {
    fn name(&self) -> &'static str {
        "DataMigration"
    }

    fn build(
        &self,
        spec: &MigrationStep,
        site: &StepSite<'_>,
    ) -> Result<Box<dyn Step>, Vec<Finding>> {
        let Some(data) = &spec.data_migration else {
            let finding =
                Finding::error("data.missing", "a DataMigration step needs data_migration");
            return Err(vec![finding.hint("give source_table, target_table, transformation_script, batch_size and parallel_workers")]);
        };
        let deeper = |findings: Vec<Finding>| -> Vec<Finding> {
            let deeper = |mut finding: Finding| {
                finding.pointer = format!("/data_migration{}", finding.pointer);
                finding
            };
            findings.into_iter().map(deeper).collect()
        };
        let source_url = match &data.source_url {
            Some(written) => Some(self.source_url(written).map_err(|f| deeper(vec![f]))?),
            None => None,
        };
        let parts = Parts {
            scripts: &*self.scripts,
            transforms: &self.transforms,
            elsewhere: source_url.as_ref().map(DatabaseUrl::backend),
        };
        let (copy, script) = parts.build(&self.db, data).map_err(deeper)?;
        let reverse = match &data.reverse_script {
            None => None,
            Some(name) => Some(
                self.reverse(name, &copy, data, (spec, site))
                    .map_err(|finding| deeper(vec![finding.at("/reverse_script")]))?,
            ),
        };
        Ok(Box::new(DataStep {
            copy,
            source_url,
            reverse,
            opened: tokio::sync::OnceCell::new(),
            script,
            undo: if spec.can_rollback {
                Undoable::Yes
            } else {
                Undoable::No
            },
            earlier: self.earlier(spec, site),
            later: self.later(spec, site),
        }))
    }
}

impl DataMigrationKind {
    /// The script that carries rows of others back.
    fn reverse(
        &self,
        name: &str,
        copy: &TableCopy,
        data: &DataMigration,
        (spec, site): (&MigrationStep, &StepSite<'_>),
    ) -> Result<Reverse, Finding> {
        let refused = |message: String| Err(Finding::error("data.reverse", message));
        if data.source_url.is_some() {
            return refused("reverse_script needs both tables in one database".to_owned());
        }
        if matches!(copy.program, Program::Rust(_)) || name.starts_with("rust:") {
            return refused("reverse_script needs SQL scripts in both directions".to_owned());
        }
        let steps = [&site.plan.steps, &site.plan.rollback_steps];
        let others = || {
            steps
                .iter()
                .flat_map(|list| list.iter())
                .filter(|step| step.id != spec.id)
        };
        let same_target = others().find(|step| {
            step.data_migration
                .as_ref()
                .is_some_and(|other| other.target_table == data.target_table)
        });
        if let Some(other) = same_target {
            return refused(format!(
                "reverse_script can't tell the rows of this step from those of step {}, which writes {} too",
                other.id, data.target_table
            ));
        }
        let back = back_step(&spec.id).map_err(|why| Finding::error("data.reverse", why))?;
        if others().any(|step| step.id == back) {
            return refused(format!("a step may not be called {back} beside this one"));
        }
        let script = find(&*self.scripts, self.db.backend(), name)?;
        let parsed = script::parse(&script.text).map_err(|why| {
            Finding::error(
                "data.script",
                format!("{} is not a transformation: {why}", script.origin),
            )
            .hint("write one SELECT over the relation `batch`, which holds rows of the target")
        })?;
        Ok(Reverse {
            script: parsed,
            name: name.to_owned(),
            text: script.text,
        })
    }

    /// The steps after this one that may change its tables, each with the text that names them.
    /// What a command does is none of the plan's.
    fn later(&self, spec: &MigrationStep, site: &StepSite<'_>) -> Vec<EarlierStep> {
        let steps = site.plan.steps.iter();
        let after = steps.skip_while(|step| step.id != spec.id).skip(1);
        let named = |step: &MigrationStep| match (&step.step_type, &step.data_migration) {
            (StepType::SchemaUpdate, _) => Some(self.script_of(step)),
            (_, Some(data)) => Some(Some(data.target_table.clone())),
            _ => None,
        };
        after
            .filter_map(|step| {
                Some(EarlierStep {
                    id: step.id.to_string(),
                    script: named(step)?,
                })
            })
            .collect()
    }

    /// The text of a schema step's script; none where it can't be known.
    fn script_of(&self, step: &MigrationStep) -> Option<String> {
        let name = match &step.command {
            Some(CommandLine::Text(name)) => Some(name.as_str()),
            _ => step.extra.get("script").and_then(|name| name.as_str()),
        };
        let found = find(&*self.scripts, self.db.backend(), name?).ok();
        found.map(|script| script.text)
    }

    /// The steps before this one that may create or alter its tables.
    fn earlier(&self, spec: &MigrationStep, site: &StepSite<'_>) -> Vec<EarlierStep> {
        let lists = [&site.plan.steps, &site.plan.rollback_steps];
        let own = lists
            .into_iter()
            .find(|list| list.get(site.index).is_some_and(|step| step.id == spec.id));
        let before = own.map_or(&[][..], |list| &list[..site.index]);
        let mut earlier = Vec::new();
        for step in before {
            let script = match &step.step_type {
                StepType::SchemaUpdate => self.script_of(step),
                StepType::Other(_) => None,
                _ => continue,
            };
            earlier.push(EarlierStep {
                id: step.id.to_string(),
                script,
            });
        }
        earlier
    }
}

/// What turns the fields of a data step into a copy.
pub(crate) struct Parts<'a> {
    pub(crate) scripts: &'a dyn Scripts,
    pub(crate) transforms: &'a TransformRegistry,
    /// What database the source is in, if it is not where the target is.
    pub(crate) elsewhere: Option<Backend>,
}

impl Parts<'_> {
    /// The copy, and the script's name and text; or all findings.
    pub(crate) fn build(
        &self,
        db: &Database,
        data: &DataMigration,
    ) -> Result<(TableCopy, (String, String)), Vec<Finding>> {
        let mut findings = Vec::new();
        if data.batch_size == BatchSize::Rows(0) {
            findings.push(
                Finding::error("data.batch-size", "batch_size is 0")
                    .at("/batch_size")
                    .hint("use 1 or more; 1000 is a good start"),
            );
        }
        if data.parallel_workers == 0 || data.parallel_workers > MOST_WORKERS {
            let message = format!("parallel_workers is {}", data.parallel_workers);
            findings.push(
                Finding::error("data.workers", message)
                    .at("/parallel_workers")
                    .hint(format!("use 1 to {MOST_WORKERS}")),
            );
        }
        let source = table(&data.source_table, "source_table", &mut findings);
        let target = table(&data.target_table, "target_table", &mut findings);
        if source.is_some() && source == target && self.elsewhere.is_none() {
            let message = format!("{} is both source and target", data.source_table);
            findings.push(
                Finding::error("data.same-table", message)
                    .at("/target_table")
                    .hint("copy into another table"),
            );
        }
        let verify = data.verify.as_deref().map(str::parse::<Verify>).transpose();
        let verify = verify.unwrap_or_else(|why| {
            findings.push(Finding::error("data.verify", why).at("/verify"));
            None
        });
        let verify = verify.unwrap_or_default();
        let bad_rows = data.bad_rows.as_deref().map(str::parse::<BadRows>);
        let bad_rows = bad_rows.transpose().unwrap_or_else(|why| {
            findings.push(Finding::error("data.bad-rows", why).at("/bad_rows"));
            None
        });
        let at_source = self.elsewhere.unwrap_or(db.backend());
        let program = match self.program(at_source, &data.transformation_script) {
            Ok(program) => Some(program),
            Err(finding) => {
                findings.push(finding.at("/transformation_script"));
                None
            }
        };
        match (source, target, program) {
            (Some(source), Some(target), Some((program, script))) if findings.is_empty() => {
                let copy = TableCopy {
                    db: db.clone(),
                    elsewhere: None,
                    source,
                    target,
                    program,
                    script: script.clone(),
                    batch: data.batch_size,
                    workers: data.parallel_workers,
                    verify,
                    bad_rows: bad_rows.unwrap_or_default(),
                    late_rows: LateRows::Ignored,
                };
                Ok((copy, script))
            }
            _ => Err(findings),
        }
    }

    fn program(
        &self,
        backend: Backend,
        name: &str,
    ) -> Result<(Program, (String, String)), Finding> {
        if let Some(rust) = name.strip_prefix("rust:") {
            let found = self.transforms.get(rust.trim()).ok_or_else(|| {
                let known = self.transforms.names().join(", ");
                Finding::error(
                    "data.unknown-transform",
                    format!("no Rust transform is called {rust:?}"),
                )
                .hint(format!("known transforms: {known}"))
            })?;
            return Ok((Program::Rust(found), (name.to_owned(), String::new())));
        }
        if name.trim().is_empty() {
            return Err(
                Finding::error("data.no-script", "transformation_script is empty")
                    .hint("name a .sql script with one SELECT over `batch`, or rust:NAME"),
            );
        }
        let script = find(self.scripts, backend, name)?;
        let parsed = script::parse(&script.text).map_err(|why| {
            Finding::error("data.script", format!("{} is not a transformation: {why}", script.origin))
                .hint("write one SELECT over the relation `batch`; its columns go by name into the target")
        })?;
        Ok((
            Program::Sql(Arc::new(parsed)),
            (name.to_owned(), script.text),
        ))
    }
}

fn table(name: &str, field: &str, findings: &mut Vec<Finding>) -> Option<TableName> {
    let parsed = name.parse::<TableName>();
    match parsed {
        Ok(table) if !table.table().is_empty() => Some(table),
        _ => {
            let message = if name.trim().is_empty() {
                format!("{field} is empty")
            } else {
                format!("{field} {name:?} is not a table's name")
            };
            findings.push(
                Finding::error("data.table-name", message)
                    .at(format!("/{field}"))
                    .hint("write table or schema.table"),
            );
            None
        }
    }
}
