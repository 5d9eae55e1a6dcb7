//! What is deployed, what is asked of the tool, and what each version must look like.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::place::{self, Place};
use crate::binary::{self, Run, Tool};
use crate::deployment::{Deployment, Store};
use crate::snapshot::Snapshot;

/// Which plan is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plan {
    /// The shipped one, in small batches.
    Shipped,
    /// Every kind of step twice, with services round it.
    Twice,
    /// A chain of three small plans.
    ThreeHops,
}

/// What the tool is asked for when it is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Forward.
    Migrate,
    /// Forward, with a last check that never passes: it goes back by itself, by receipts.
    MigrateInVain,
    /// The same with a step that can't be undone: it restores by itself.
    MigrateInVainForGood,
    /// Forward, with a last step that hangs past its timeout: SQL, or a command with children.
    MigrateHanging,
    /// Back after a finished run, step by step.
    Reverse,
    /// Back after a finished run, from the rollback point.
    Restore,
}

/// One combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Case {
    /// The plan.
    pub plan: Plan,
    /// The database.
    pub store: Store,
    /// The request.
    pub ask: Ask,
}

/// What is known of a case from runs that nothing struck.
#[derive(Debug)]
pub struct Clean {
    /// Every place that the request passes, in order.
    pub places: Vec<Place>,
    /// What each version looks like, the first one first.
    pub versions: Vec<(String, Snapshot)>,
    /// How long the request took.
    pub took: Duration,
}

/// Clean runs, each made once.
#[derive(Debug, Default)]
pub struct World {
    clean: HashMap<Case, Clean>,
}

impl World {
    /// What a case does when nothing strikes it.
    ///
    /// # Panics
    /// If it does not end as it must.
    pub fn clean(&mut self, case: Case) -> &Clean {
        self.clean.entry(case).or_insert_with(|| case.run_clean())
    }
}

impl Case {
    /// Every case of a store.
    pub fn all(store: Store) -> Vec<Self> {
        let mut out = Vec::new();
        for plan in [Plan::Shipped, Plan::Twice, Plan::ThreeHops] {
            for ask in [
                Ask::Migrate,
                Ask::MigrateInVain,
                Ask::MigrateInVainForGood,
                Ask::Reverse,
                Ask::Restore,
            ] {
                out.push(Self { plan, store, ask });
            }
        }
        out
    }

    /// Makes the deployment, migrated already where the request is to go back.
    ///
    /// # Panics
    /// If the clean migration before it fails.
    pub fn deploy(self) -> (Deployment, Snapshot) {
        let deployment = Deployment::v1().rows(120).on(self.store);
        match self.plan {
            Plan::Shipped => shipped(&deployment, self.ask),
            Plan::Twice => twice(&deployment, self.ask),
            Plan::ThreeHops => three_hops(&deployment, self.ask),
        }
        let before = deployment.snapshot();
        if matches!(self.ask, Ask::Reverse | Ask::Restore) {
            let forward = Self {
                ask: Ask::Migrate,
                ..self
            };
            deployment.run(&words(&forward.line())).expect(0);
        }
        (deployment, before)
    }

    /// The arguments of the request.
    pub fn line(self) -> String {
        let to = match self.plan {
            Plan::Shipped => "2.0.0",
            Plan::Twice => "1.6.0",
            Plan::ThreeHops => "1.5.3",
        };
        match self.ask {
            Ask::Reverse => {
                "--rollback --to 1.5.0 --strategy reverse --yes --allow-commands".to_owned()
            }
            Ask::Restore => {
                "--rollback --to 1.5.0 --strategy restore --yes --allow-commands --accept-data-loss"
                    .to_owned()
            }
            _ => format!("--from 1.5.0 --to {to} --yes --allow-commands"),
        }
    }

    fn run_clean(self) -> Clean {
        let (deployment, before) = self.deploy();
        let mut versions = vec![("1.5.0".to_owned(), before)];
        versions.extend(self.versions_after());
        let trace = tempfile::NamedTempFile::new().expect("a file can be made");
        let started = Instant::now();
        let run = tool(&deployment, binary::failpoints(), &self.line())
            .env("ETLRS_FAILPOINT_TRACE", trace.path())
            .run();
        let took = started.elapsed();
        match self.ask {
            Ask::MigrateInVain | Ask::MigrateInVainForGood | Ask::MigrateHanging => run.expect(3),
            _ => run.expect(0),
        };
        let text = std::fs::read_to_string(trace.path()).expect("the trace can be read");
        Clean {
            places: place::of_trace(&text),
            versions,
            took,
        }
    }

    /// What the versions after the first look like, each from a clean run to it.
    fn versions_after(self) -> Vec<(String, Snapshot)> {
        let targets: &[&str] = match self.plan {
            Plan::Shipped => &["2.0.0"],
            Plan::Twice => &["1.6.0"],
            Plan::ThreeHops => &["1.5.1", "1.5.2", "1.5.3"],
        };
        let forward = Self {
            ask: Ask::Migrate,
            ..self
        };
        targets
            .iter()
            .map(|to| {
                let (deployment, _) = forward.deploy();
                let line = format!("--from 1.5.0 --to {to} --yes --allow-commands");
                deployment.run(&words(&line)).expect(0);
                ((*to).to_owned(), settled(&deployment))
            })
            .collect()
    }
}

/// The tool on a deployment, by a line of arguments.
pub fn tool(deployment: &Deployment, binary: &std::path::Path, line: &str) -> Tool {
    let root = deployment
        .root()
        .to_str()
        .expect("a temporary path is UTF-8");
    let mut all = vec!["-C", root, "--format", "json"];
    all.extend(line.split_whitespace());
    Tool::of(binary, &all)
}

/// The words of a line without quotes.
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Whether the service of [`Plan::Twice`] runs; `None` where there is none.
pub fn service_runs(deployment: &Deployment) -> Option<bool> {
    deployment
        .path("etlrs-migrate.toml")
        .exists()
        .then(|| deployment.path("backups/app.running").exists())
}

/// A deployment without our own objects, and without the moments at which a test ran.
pub fn settled(deployment: &Deployment) -> Snapshot {
    let mut snapshot = deployment.snapshot().of_the_user();
    let lines: Vec<String> = snapshot.database.lines().map(without_now).collect();
    snapshot.database = lines.join("\n");
    // Requests differ in their plans.
    snapshot
        .files
        .retain(|name, _| !name.starts_with("migrations"));
    // Deployments differ in the name of their database.
    let url = deployment.url();
    for (_, content) in snapshot.files.values_mut() {
        if let Ok(text) = std::str::from_utf8(content) {
            *content = text.replace(&url, "URL").into_bytes();
        }
    }
    snapshot
}

/// A line with everything from the first moment of today to the end of its text as `NOW`.
fn without_now(line: &str) -> String {
    let today = chrono::Utc::now().date_naive();
    let days = [
        today,
        today.pred_opt().unwrap_or(today),
        today.succ_opt().unwrap_or(today),
    ];
    let mut line = line.to_owned();
    for day in days {
        let day = day.format("%Y-%m-%d").to_string();
        while let Some(start) = line.find(&day) {
            let end = line[start..]
                .find('\'')
                .map_or(line.len(), |end| start + end);
            line.replace_range(start..end, "NOW");
        }
    }
    line
}

/// A step that never ends by itself: a command where the plan has some, else SQL.
fn hanging(deployment: &Deployment, steps: &[Value]) -> Value {
    if steps.iter().any(|step| step["step_type"] == "Command") {
        return json!({
            "id": "hangs", "step_type": "Command", "command": "sleep 600 & sleep 600",
            "undo": "true", "timeout": "1s", "can_rollback": true,
        });
    }
    let slow = match deployment.store() {
        Store::Postgres => "SELECT pg_sleep(600) IS NOT NULL",
        Store::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) > 0 FROM n"
        }
    };
    json!({
        "id": "hangs", "step_type": "Validation", "validation": slow, "timeout": "1s",
        "can_rollback": true,
    })
}

fn in_vain(deployment: &Deployment, steps: &mut Vec<Value>, ask: Ask) {
    match ask {
        Ask::MigrateInVainForGood => steps[0]["can_rollback"] = json!(false),
        Ask::MigrateInVain => {}
        Ask::MigrateHanging => {
            steps.push(hanging(deployment, steps));
            return;
        }
        _ => return,
    }
    steps.push(json!({
        "id": "never-content", "step_type": "Validation", "can_rollback": true,
        "validation": "SELECT count(*) < 0 FROM pipelines_old", "timeout": "30s",
    }));
}

fn write_plan(deployment: &Deployment, plan: &Value) {
    let name = format!(
        "migrations/plans/{}_{}.json",
        plan["from_version"].as_str().expect("a plan has versions"),
        plan["to_version"].as_str().expect("a plan has versions")
    );
    deployment.write(&name, &plan.to_string());
}

fn shipped(deployment: &Deployment, ask: Ask) {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../migrations/plans/1.5.0_2.0.0.json");
    let text = std::fs::read_to_string(path).expect("the shipped plan is there");
    let mut plan: Value = serde_json::from_str(&text).expect("the shipped plan is JSON");
    let steps = plan["steps"].as_array_mut().expect("a plan has steps");
    for step in steps.iter_mut() {
        if step["step_type"] == "DataMigration" {
            step["data_migration"]["batch_size"] = json!(40);
        }
    }
    in_vain(deployment, steps, ask);
    write_plan(deployment, &plan);
}

/// A script with the one that takes it back.
fn script(deployment: &Deployment, name: &str, up: &str, down: &str) {
    deployment.write(&format!("migrations/{name}.sql"), up);
    deployment.write(&format!("migrations/{name}.down.sql"), down);
}

fn twice(deployment: &Deployment, ask: Ask) {
    deployment.write("backups/.keep", "");
    deployment.write("backups/app.running", "");
    deployment.write("data/etlrs.db.old-1.tmp", "");
    deployment.write("data/etlrs.db.old-2.tmp", "");
    deployment.write(
        "etlrs-migrate.toml",
        "[services.app]\nmanager = \"command\"\nstart = \"touch backups/app.running\"\n\
         stop = \"rm -f backups/app.running\"\nstatus = \"test -e backups/app.running\"\n",
    );
    let copy =
        "(id integer primary key, name text not null, config text not null, status text not null)";
    script(
        deployment,
        "003_first",
        &format!("CREATE TABLE copy_one {copy};\nCREATE TABLE copy_two {copy};\n"),
        "DROP TABLE copy_two;\nDROP TABLE copy_one;\n",
    );
    script(
        deployment,
        "004_second",
        "ALTER TABLE pipelines ADD COLUMN extra integer;\nCREATE INDEX pipelines_by_name ON pipelines (name);\n",
        "DROP INDEX pipelines_by_name;\nALTER TABLE pipelines DROP COLUMN extra;\n",
    );
    deployment.write(
        "migrations/copy.sql",
        "SELECT id, name, config, status FROM batch\n",
    );
    deployment.write("config/extra.json", "{\n  \"one\": 1\n}\n");
    let data = |id: &str, target: &str| {
        json!({"id": id, "step_type": "DataMigration", "timeout": "60s", "can_rollback": true,
            "data_migration": {"source_table": "pipelines_old", "target_table": target,
                "transformation_script": "copy.sql", "batch_size": 40, "parallel_workers": 2}})
    };
    let command = |id: &str| {
        json!({"id": id, "step_type": "Command", "timeout": "30s", "can_rollback": true,
            "command": format!("touch backups/{id}.made"), "undo": format!("rm -f backups/{id}.made")})
    };
    let mut steps = vec![
        json!({"id": "schema-1", "step_type": "SchemaUpdate", "command": "003_first.sql", "timeout": "60s", "can_rollback": true}),
        json!({"id": "config-1", "step_type": "ConfigUpdate", "config_changes": {"batch_size": 2000}, "timeout": "30s", "can_rollback": true}),
        data("data-1", "copy_one"),
        command("command-1"),
        json!({"id": "validate-1", "step_type": "Validation", "validation": "SELECT count(*) > 0 FROM copy_one", "timeout": "30s", "can_rollback": true}),
        json!({"id": "schema-2", "step_type": "SchemaUpdate", "command": "004_second.sql", "timeout": "60s", "can_rollback": true}),
        data("data-2", "copy_two"),
        json!({"id": "config-2", "step_type": "ConfigUpdate", "file": "config/extra.json", "config_changes": {"two": "zwei"}, "timeout": "30s", "can_rollback": true}),
        command("command-2"),
        json!({"id": "validate-2", "step_type": "Validation", "validation": "SELECT count(*) > 0 FROM copy_two", "timeout": "30s", "can_rollback": true}),
        json!({"id": "cleanup-1", "step_type": "Cleanup", "remove": ["data/etlrs.db.old-1.tmp"], "timeout": "30s"}),
        json!({"id": "cleanup-2", "step_type": "Cleanup", "remove": ["data/etlrs.db.old-2.tmp"], "timeout": "30s"}),
    ];
    if ask == Ask::Reverse {
        // What a cleanup removes comes back from the rollback point only.
        steps.retain(|step| step["step_type"] != "Cleanup");
    }
    in_vain(deployment, &mut steps, ask);
    let plan = json!({"from_version": "1.5.0", "to_version": "1.6.0", "migration_type": "MinorUpgrade",
        "steps": steps, "rollback_steps": [], "validation_checks": [],
        "estimated_duration": "1s", "downtime_required": true});
    write_plan(deployment, &plan);
}

fn three_hops(deployment: &Deployment, ask: Ask) {
    for number in 1..=3_u32 {
        let name = format!("00{}_hop", number + 2);
        script(
            deployment,
            &name,
            &format!(
                "CREATE TABLE hop_{number} (a integer NOT NULL);\nINSERT INTO hop_{number} (a) VALUES ({number});\n"
            ),
            &format!("DROP TABLE hop_{number};\n"),
        );
        let mut steps = vec![
            json!({"id": "schema", "step_type": "SchemaUpdate", "command": format!("{name}.sql"), "timeout": "60s", "can_rollback": true}),
            json!({"id": "config", "step_type": "ConfigUpdate", "config_changes": {"batch_size": 1000 + number}, "timeout": "30s", "can_rollback": true}),
        ];
        if number == 3 {
            in_vain(deployment, &mut steps, ask);
        }
        let plan = json!({"from_version": format!("1.5.{}", number - 1), "to_version": format!("1.5.{number}"),
            "migration_type": "Patch", "steps": steps, "rollback_steps": [], "validation_checks": [],
            "estimated_duration": "1s", "downtime_required": true});
        write_plan(deployment, &plan);
    }
}

/// The arguments of a line that `status` printed, as a shell would read it.
///
/// # Panics
/// If it is no line of ours.
pub fn arguments(line: &str) -> Vec<String> {
    line.strip_prefix("etlrs-migrate ")
        .unwrap_or_else(|| panic!("{line:?} is no command of ours"))
        .split_whitespace()
        .map(|word| word.trim_matches('\'').to_owned())
        .collect()
}

/// `status` as a document.
///
/// # Panics
/// If it does not answer.
pub fn status(deployment: &Deployment) -> Value {
    let run: Run = deployment.run(&["status", "--format", "json"]);
    run.expect(0).json()
}

/// The states that a deployment may be in, by version.
pub fn by_version(clean: &Clean) -> BTreeMap<&str, &Snapshot> {
    clean
        .versions
        .iter()
        .map(|(version, snapshot)| (version.as_str(), snapshot))
        .collect()
}
