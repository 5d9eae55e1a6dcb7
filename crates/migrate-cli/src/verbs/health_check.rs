//! `health-check`: everything that a run would look at first, now and together.

use migrate_core::{Finding, ScopeObject, Severity};
use migrate_rollback::lock::HolderState;
use migrate_rollback::recovery::Place;
use migrate_schema::db::Backend;

use crate::args::Global;
use crate::deployment::{CONFIG_FILE, Deployment};
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;
use crate::verbs::{next, recover, status};
use crate::wire::{Access, Wired};

/// What was looked at.
pub(crate) struct Report {
    /// What is well, a line each.
    pub(crate) well: Vec<String>,
    /// What is not.
    pub(crate) findings: Vec<Finding>,
}

/// `health-check`.
pub(crate) async fn run(global: &Global, output: &Output) -> Result<u8, Failure> {
    let deployment = Deployment::open(global)?;
    let mut report = Report {
        well: Vec::new(),
        findings: Vec::new(),
    };
    config(&deployment, &mut report);
    nobody_at_work(global, &deployment, &mut report).await;
    match reachable(global, &deployment).await {
        Ok(()) => match Wired::open(global).await {
            Ok(wired) => with_database(&wired, &mut report).await,
            Err(failure) => report.findings.extend(findings_of("database", failure)),
        },
        Err(failure) => report.findings.extend(findings_of("database", failure)),
    }
    once_each(&mut report.findings);
    let skipped = &global.skip_check;
    report.findings.retain(|finding| {
        let mut parts = finding.code.split('.');
        !skipped
            .iter()
            .any(|name| *name == finding.code || parts.any(|part| part == name))
    });
    output.health(&report);
    let bad = report
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    Ok(if bad { exit::DIFFERENT } else { exit::DONE })
}

fn config(deployment: &Deployment, report: &mut Report) {
    let text = match migrate_config::atomic::read_regular_text(&deployment.root.join(CONFIG_FILE)) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("{CONFIG_FILE} can't be read: {error}");
            report
                .findings
                .push(Finding::error("config.unreadable", message));
            return;
        }
    };
    if let Err(found) = migrate_config::parse_toml(CONFIG_FILE, &text) {
        report.findings.extend(found);
        return;
    }
    match migrate_config::detect(CONFIG_FILE, &text) {
        migrate_config::Shape::V1 => report.well.push(format!("{CONFIG_FILE} parses, as 1.x")),
        migrate_config::Shape::V2 => report.well.push(format!("{CONFIG_FILE} parses, as 2.0")),
        migrate_config::Shape::Neither(why) => {
            report.findings.push(Finding::error("config.shape", why));
        }
    }
}

/// A config file is looked at for itself and for the database's URL: what both find stands once,
/// with the hint of either.
fn once_each(findings: &mut Vec<Finding>) {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings.drain(..) {
        let same =
            |one: &&mut Finding| one.message == finding.message && one.place == finding.place;
        match kept.iter_mut().find(same) {
            Some(known) => known.hint = known.hint.take().or(finding.hint),
            None => kept.push(finding),
        }
    }
    *findings = kept;
}

/// The lock, an open run, an unfinished restore.
async fn nobody_at_work(global: &Global, deployment: &Deployment, report: &mut Report) {
    let held = crate::wire::lock_holder(deployment);
    if let Some((holder, _)) = held.filter(|(_, state)| *state != HolderState::Dead) {
        let message = format!("another run holds the lock: {holder}");
        report.findings.push(Finding::error("lock.held", message));
    } else {
        report.well.push("nobody holds the lock".to_owned());
    }
    if let Err(failure) = recover::refuse_unfinished(deployment) {
        report.findings.extend(findings_of("restore", failure));
    }
    let runs = match crate::wire::runs(deployment).await {
        Ok(runs) => runs,
        Err(failure) => {
            report.findings.extend(findings_of("journal", failure));
            return;
        }
    };
    for log in &runs {
        let Ok(state) = migrate_core::RunState::replay(log) else {
            continue;
        };
        if !state.phase.is_final() {
            let message = format!(
                "run {} is not finished (it stands at {})",
                log.header.run,
                status::phase_name(&state)
            );
            let finding = Finding::error("run.open", message);
            report
                .findings
                .push(match next::command(global, log, &state) {
                    Some(command) => finding.hint(format!("next: {command}")),
                    None => finding,
                });
        }
    }
}

/// Tells a database that is gone or broken from one that can't be asked.
async fn reachable(global: &Global, deployment: &Deployment) -> Result<(), Failure> {
    let (url, _) = deployment.url(global)?;
    match Place::look(&url).await? {
        Place::Open(database) => {
            database.close().await;
            Ok(())
        }
        Place::Missing(why) => Err(Failure::unchanged(why)
            .hint("check its name; `emergency-rollback` makes it anew from a backup")),
        Place::Broken(why) => Err(Failure::unchanged(format!(
            "the database {url} is damaged: {why}"
        ))
        .hint("`emergency-rollback` puts it aside and restores a backup")),
    }
}

async fn with_database(wired: &Wired, report: &mut Report) {
    let version = wired.db.server_version().await.unwrap_or_default();
    report.well.push(format!(
        "{} {version} answers: {}",
        wired.db.backend(),
        wired.url
    ));
    if wired.db.backend() == Backend::Postgres {
        tested_on(&version, report);
    }
    if let Some(warning) = wired
        .deployment
        .other_database(&wired.url, wired.url_source)
    {
        report
            .findings
            .push(Finding::warning("database.other", warning));
    }
    match wired.version().await {
        Ok(migrate_core::DeploymentVersion::Mixed(why)) => {
            let message = format!(
                "parts of the deployment are of different versions: {}",
                why.join("; ")
            );
            report
                .findings
                .push(Finding::error("version.mixed", message));
        }
        Ok(_) => {}
        Err(failure) => report.findings.extend(findings_of("version", failure)),
    }
    let before = report.findings.len();
    let mut scope = vec![ScopeObject::Catalog];
    if let Ok(tables) = migrate_schema::catalog::user_tables(&wired.db).await {
        scope.extend(
            tables
                .iter()
                .map(|table| ScopeObject::Table(table.to_string())),
        );
    }
    let checks = [
        ("rights", wired.preflight(&scope).await),
        (
            "role",
            migrate_rollback::preflight::of_the_operator(&wired.db).await,
        ),
        ("backup", wired.check_backups().await),
        ("services", wired.check_services().await),
    ];
    for (name, found) in checks {
        match found {
            Ok(found) => report.findings.extend(found),
            Err(error) => report.findings.extend(findings_of(name, error.into())),
        }
    }
    others_code(wired, report).await;
    if report.findings.len() == before {
        report
            .well
            .push("rights, room for a run and for its backup, old transactions".to_owned());
    }
    services(wired, report).await;
    // Looks for a damaged journal too.
    if let Err(failure) = wired.journal(Access::ReadOnly).await {
        report.findings.extend(findings_of("journal", failure));
    }
}

/// The release that `scripts/test.sh` runs the whole suite on.
const TESTED_RELEASE: u32 = 15;

fn tested_on(version: &str, report: &mut Report) {
    let tested = format!("this build was tested on PostgreSQL {TESTED_RELEASE}");
    let digits = version.split(|c: char| !c.is_ascii_digit()).next();
    let major = digits.and_then(|digits| digits.parse::<u32>().ok());
    if major == Some(TESTED_RELEASE) {
        report.well.push(tested);
    } else {
        let message = format!("{tested}, and this server is {version}");
        let hint = "rehearse the upgrade on a copy first: `etlrs-migrate rehearse`";
        (report.findings).push(Finding::warning("database.untested", message).hint(hint));
    }
}

/// Whether our objects are ours, and whose code would run as this role.
async fn others_code(wired: &Wired, report: &mut Report) {
    if let Err(error) = migrate_schema::own::must_be_ours(&wired.db).await {
        let finding = Finding::error("own.foreign", error.to_string());
        let finding = error.hint.into_iter().fold(finding, Finding::hint);
        report.findings.push(finding);
    }
    match migrate_schema::foreign_code::of(&wired.db).await {
        Ok(found) => report.findings.extend(found),
        Err(error) => {
            let error = error.into_step_error("can't look for code of other roles");
            report
                .findings
                .extend(findings_of("foreign-code", error.into()));
        }
    }
}

async fn services(wired: &Wired, report: &mut Report) {
    match wired.services_standing().await {
        Ok(all) if all.is_empty() => report.well.push("no service is known here".to_owned()),
        Ok(all) => {
            for (name, runs, why) in all {
                match (runs, why) {
                    (true, None) => report.well.push(format!("service {name} runs")),
                    (false, _) => report.findings.push(Finding::warning(
                        "service.stopped",
                        format!("service {name} does not run; a run leaves it so"),
                    )),
                    (true, Some(why)) => report.findings.push(Finding::error(
                        "service.not-well",
                        format!("service {name} runs and is not well: {why}"),
                    )),
                }
            }
        }
        Err(error) => report
            .findings
            .extend(findings_of("services", error.into())),
    }
}

fn findings_of(area: &str, failure: Failure) -> Vec<Finding> {
    let code = format!("{area}.failed");
    if failure.findings.is_empty() {
        let finding = Finding::error(&code, failure.message);
        return vec![failure.hint.into_iter().fold(finding, Finding::hint)];
    }
    failure.findings
}
