//! The only file that names every concrete type: what the engine's ports are made of here.

mod recovery;
mod writers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use migrate_config::{ConfigUpdateKind, Root};
use migrate_core::executor::Identity;
use migrate_core::own_files::OwnFiles;
use migrate_core::{
    Cancel, DeploymentVersion, Finding, Journal, MemoryJournal, MigrationError, MigrationExecutor,
    NoClock, Observer as _, Reporter, RollbackPoints as _, RunGuard as _, RunLog, RunOptions,
    ScopeObject, Scripts, ServiceControl as _, StepError, StepRegistry,
};
use migrate_data::{DataMigrationKind, TransformRegistry};
use migrate_rollback::journal::{AuditedRun, Copied};
use migrate_rollback::lock::{Holder, HolderState};
use migrate_rollback::recovery::Copies;
use migrate_rollback::signing::Trust;
use migrate_rollback::signing::points::Signatures;
use migrate_rollback::state_dir::STATE_DIR;
use migrate_rollback::{
    DeploymentGuard, DeploymentObserver, MirroredJournal, RollbackManager, SqliteJournal,
    TargetDatabase,
};
use migrate_schema::db::{ConnectOptions, Database, DatabaseUrl, DbError, DbErrorKind};
use migrate_schema::kind::SchemaUpdateKind;
use migrate_schema::validation::ValidationKind;
use migrate_service::{
    CleanupKind, CommandKind, CommandRunner, PlanCommands, Secrets, ServiceRestartKind, Services,
};

use crate::args::Global;
use crate::clock::SystemClock;
use crate::deployment::{Deployment, SETTINGS_FILE, UrlSource};
use crate::failure::Failure;

pub(crate) use recovery::recovery;

/// A deployment with its database open.
pub(crate) struct Wired {
    pub(crate) deployment: Deployment,
    pub(crate) url: DatabaseUrl,
    pub(crate) url_source: UrlSource,
    pub(crate) db: Database,
    pub(crate) identity: Identity,
    /// Whether a rollback point may go into a database that was moved since.
    pub(crate) target: TargetDatabase,
    signatures: Signatures,
    copies: Copies,
    files: Arc<Root>,
    own_files: OwnFiles,
    services: Arc<Services>,
    commands: PlanCommands,
}

/// Whether the journal may be made if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing is written anywhere.
    ReadOnly,
    /// A run will be recorded.
    Write,
}

impl Wired {
    /// Opens the deployment's database.
    pub(crate) async fn open(global: &Global) -> Result<Self, Failure> {
        let deployment = Deployment::open(global)?;
        let (url, url_source) = deployment.url(global)?;
        let db = Database::connect(&url, &connect_options())
            .await
            .map_err(|error| {
                let what = format!("the database {url} (from {url_source})");
                not_opened(&deployment, error, what)
            })?;
        let database = db
            .identity()
            .await
            .map_err(|error| not_opened(&deployment, error, format!("the database {url}")))?;
        Self::of(global, deployment, (url, url_source), db, database)
    }

    /// The same without a connection, for what only describes: the database need not be there.
    pub(crate) fn unconnected(global: &Global) -> Result<Self, Failure> {
        let deployment = Deployment::open(global)?;
        let (url, url_source) = deployment.url(global)?;
        let db = Database::unconnected(&url, &connect_options())
            .map_err(|error| Failure::from(error.into_step_error(format!("the database {url}"))))?;
        Self::of(global, deployment, (url, url_source), db, String::new())
    }

    fn of(
        global: &Global,
        deployment: Deployment,
        (url, url_source): (DatabaseUrl, UrlSource),
        db: Database,
        database: String,
    ) -> Result<Self, Failure> {
        let files =
            Root::open(&deployment.root).map_err(|error| Failure::unchanged(error.to_string()))?;
        let services = services(global, &deployment, &url, Some(db.clone()))?;
        let allowed = global.allow_commands || deployment.settings.allow_commands;
        Ok(Self {
            own_files: own_files(global, &deployment, &url, &files),
            identity: identity(database),
            target: TargetDatabase::default(),
            signatures: signatures(global),
            copies: copies(global),
            files: Arc::new(files),
            services: Arc::new(services),
            commands: if allowed {
                PlanCommands::Allowed
            } else {
                PlanCommands::Refused
            },
            deployment,
            url,
            url_source,
            db,
        })
    }

    /// Whether the commands of plans may run.
    pub(crate) fn commands_allowed(&self) -> bool {
        self.commands != PlanCommands::Refused
    }

    /// From here on nothing of a plan's author is executed, whatever was allowed.
    pub(crate) fn only_looking(&mut self) {
        if self.commands == PlanCommands::Allowed {
            self.commands = PlanCommands::Shown;
        }
    }

    /// A file below the root; nothing if there is none.
    pub(crate) fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        migrate_config::atomic::read_optional(&self.files, std::path::Path::new(path))
            .map_err(|error| Failure::unchanged(error.to_string()))
    }

    fn root(&self) -> PathBuf {
        self.deployment.root.clone()
    }

    fn runner(&self) -> CommandRunner {
        runner(&self.deployment, &self.url)
    }

    /// What makes and restores backups.
    pub(crate) fn manager(&self) -> RollbackManager {
        RollbackManager::new(self.root(), self.db.clone())
            .restoring_into(self.target)
            .with_jobs(self.deployment.settings.backup.jobs)
            .with_signatures(self.signatures)
            .with_copies(self.copies)
    }

    /// The locks of the deployment and its database.
    pub(crate) fn guard(&self, journal: &Arc<dyn Journal>) -> DeploymentGuard {
        DeploymentGuard::new(self.root(), self.db.clone(), journal.clone())
    }

    /// The version that the deployment shows.
    pub(crate) async fn version(&self) -> Result<DeploymentVersion, Failure> {
        let journal = self.journal(Access::ReadOnly).await?;
        let observer = DeploymentObserver::new(self.root(), self.db.clone(), Some(journal));
        Ok(observer.version().await?)
    }

    /// The version by what config and schema look like, whatever the journal says.
    pub(crate) async fn version_by_shape(&self) -> Result<DeploymentVersion, Failure> {
        let observer = DeploymentObserver::new(self.root(), self.db.clone(), None);
        Ok(observer.version_by_shape().await?)
    }

    /// What speaks against a run on a scope.
    pub(crate) async fn preflight(&self, scope: &[ScopeObject]) -> Result<Vec<Finding>, StepError> {
        migrate_rollback::preflight::of(&self.deployment.root, &self.db, scope).await
    }

    /// What speaks against making a backup.
    pub(crate) async fn check_backups(&self) -> Result<Vec<Finding>, StepError> {
        self.manager().check().await
    }

    /// What speaks against stopping and starting services.
    pub(crate) async fn check_services(&self) -> Result<Vec<Finding>, StepError> {
        self.services.check().await
    }

    /// How each service stands: name, whether it runs, why it is not well.
    pub(crate) async fn services_standing(
        &self,
    ) -> Result<Vec<(String, bool, Option<String>)>, StepError> {
        self.services.standing().await
    }

    /// Every kind of step that a plan can name.
    pub(crate) fn registry(&self, scripts: &Arc<dyn Scripts>) -> StepRegistry {
        StepRegistry::new()
            .with(
                ConfigUpdateKind::new(self.files.clone())
                    .sparing(self.own_files.clone())
                    .with_environment(Arc::new(|name| std::env::var(name).ok())),
            )
            .with(SchemaUpdateKind::new(self.db.clone(), scripts.clone()))
            .with(
                DataMigrationKind::new(
                    self.db.clone(),
                    scripts.clone(),
                    TransformRegistry::shipped(),
                )
                .with_named_urls(Arc::new(|name| std::env::var(name).ok())),
            )
            .with(ValidationKind::new(self.db.clone()))
            .with(ServiceRestartKind::new(
                self.services.clone(),
                self.commands,
            ))
            .with(CleanupKind::new(self.runner(), self.commands).sparing(self.own_files.clone()))
            .with(CommandKind::new(self.runner(), self.commands))
    }

    /// The journal; in memory, and empty, where there is none and none may be made.
    pub(crate) async fn journal(&self, access: Access) -> Result<Arc<dyn Journal>, Failure> {
        Ok(match access {
            Access::Write => {
                crate::verbs::recover::refuse_unfinished(&self.deployment)?;
                Arc::new(self.written_journal().await?)
            }
            Access::ReadOnly => match SqliteJournal::open_existing(&self.deployment.root).await? {
                Some(journal) => Arc::new(journal),
                None => Arc::new(MemoryJournal::default()),
            },
        })
    }

    /// The journal with its copy in the database.
    async fn written_journal(&self) -> Result<MirroredJournal, Failure> {
        let file = SqliteJournal::create(&self.deployment.root).await?;
        Ok(MirroredJournal::new(file, self.db.clone()))
    }

    /// Takes up the runs that only the database knows and that `judge` accepts, while nobody else
    /// works on it. Whether it does is asked of the very log that is then taken up.
    pub(crate) async fn adopt(
        &self,
        judge: impl Fn(&Copied) -> Result<Adopt, Failure>,
    ) -> Result<Vec<RunLog>, Failure> {
        let journal = Arc::new(self.written_journal().await?);
        let guard = DeploymentGuard::new(self.root(), self.db.clone(), journal.clone());
        let nobody = migrate_core::RunId::new(chrono::Utc::now(), 0);
        guard.acquire(&nobody).await?;
        let adopted = take_up(&journal, judge).await;
        guard.release().await;
        adopted
    }

    /// The runs that the database knows, and who wrote their logs. Read-only.
    pub(crate) async fn runs_in_database(&self) -> Result<Vec<Copied>, Failure> {
        let trust = trust(&self.deployment)?;
        Ok(MirroredJournal::in_database(&self.db, &trust).await?)
    }

    /// An executor with all its ports.
    pub(crate) fn executor(
        &self,
        executor: MigrationExecutor<NoClock>,
        journal: &Arc<dyn Journal>,
        options: RunOptions,
        reporter: Arc<dyn Reporter>,
        cancel: Cancel,
    ) -> MigrationExecutor {
        executor
            .with_journal(journal.clone())
            .with_clock(Arc::new(SystemClock))
            .with_reporter(reporter)
            .with_guard(Arc::new(self.guard(journal)))
            .with_services(self.services.clone())
            .with_points(Arc::new(self.manager()))
            .with_observer(Arc::new(DeploymentObserver::new(
                self.root(),
                self.db.clone(),
                Some(journal.clone()),
            )))
            .with_checks(Arc::new(self.db.clone()))
            .with_cancel(cancel)
            .with_options(options)
    }
}

/// What plans may not touch: settings, migrations, backups, state and the database's own files.
fn own_files(
    global: &Global,
    deployment: &Deployment,
    url: &DatabaseUrl,
    files: &Root,
) -> OwnFiles {
    let mut own: Vec<PathBuf> = [SETTINGS_FILE, STATE_DIR, "migrations", "backups"]
        .map(PathBuf::from)
        .into();
    own.extend(global.migrations.clone());
    if let Some(file) = url.resolve(&deployment.root).sqlite_path() {
        own.extend(["", "-wal", "-shm", "-journal"].map(|suffix| {
            let mut name = file.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        }));
    }
    migrate_config::atomic::own_files(files, own)
}

/// Whether the operator vouches for backups that this deployment did not sign.
pub(crate) fn signatures(global: &Global) -> Signatures {
    if global.skip_check.iter().any(|name| name == "signature") {
        Signatures::NotAsked
    } else {
        Signatures::Required
    }
}

/// What a missing copy of a file leads to.
pub(crate) fn copies(global: &Global) -> Copies {
    if global.skip_check.iter().any(|name| name == "file-copies") {
        Copies::Readable
    } else {
        Copies::All
    }
}

/// What becomes of a run that only the database knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adopt {
    /// It is taken into the journal.
    Take,
    /// It stays where it is.
    Leave,
}

async fn take_up(
    journal: &MirroredJournal,
    judge: impl Fn(&Copied) -> Result<Adopt, Failure>,
) -> Result<Vec<RunLog>, Failure> {
    let mut taken = Vec::new();
    for copy in journal.unknown().await? {
        if judge(&copy)? == Adopt::Take {
            taken.push(copy);
        }
    }
    for copy in &taken {
        journal.take_up(copy).await?;
    }
    Ok(taken.into_iter().map(|copy| copy.run.log).collect())
}

/// Whose signatures the deployment takes. Read-only.
pub(crate) fn trust(deployment: &Deployment) -> Result<Trust, Failure> {
    Ok(Trust::load(&deployment.root)?)
}

/// All runs of a deployment's journal with what their chains prove; nothing without a journal.
pub(crate) async fn audited(deployment: &Deployment) -> Result<Option<Vec<AuditedRun>>, Failure> {
    let trust = trust(deployment)?;
    match SqliteJournal::open_existing(&deployment.root).await? {
        Some(journal) => Ok(Some(journal.audited(&trust).await?)),
        None => Ok(None),
    }
}

/// A SQLite file that a run of ours is writing is locked by that run, which is named.
fn not_opened(deployment: &Deployment, error: DbError, what: String) -> Failure {
    if error.kind == DbErrorKind::Lock
        && let Some((holder, state)) = lock_holder(deployment)
        && state != HolderState::Dead
    {
        return MigrationError::Locked(holder.to_string()).into();
    }
    Failure::from(error.into_step_error(what))
}

fn connect_options() -> ConnectOptions {
    ConnectOptions {
        connect_timeout: Duration::from_secs(10),
        ..ConnectOptions::default()
    }
}

/// How long sessions of others may take to go after services were stopped.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// The services, and who else writes where there is a database to ask.
fn services(
    global: &Global,
    deployment: &Deployment,
    url: &DatabaseUrl,
    db: Option<Database>,
) -> Result<Services, Failure> {
    let services = Services::new(runner(deployment, url), &deployment.settings.services)
        .map_err(|found| Failure::findings("the services can't be used", found))?;
    let skipped = global.skip_check.iter().any(|name| name == "writers");
    Ok(match db.filter(|_| !skipped) {
        Some(db) => services.with_writer_probe(Arc::new(writers::OthersOn(db)), STOP_PATIENCE),
        None => services,
    })
}

/// Commands find the database in their environment, and never show its password.
fn runner(deployment: &Deployment, url: &DatabaseUrl) -> CommandRunner {
    CommandRunner::new(&deployment.root)
        .with_env("DATABASE_URL", url.secret())
        .with_secrets(Secrets::new(
            url.password().into_iter().chain(of_environment()),
        ))
}

/// The values of variables that are secret by their name: commands find them, and may tell them.
fn of_environment() -> impl Iterator<Item = String> {
    let shortest = 6;
    let named = |name: &str| !name.ends_with("PWD") && migrate_config::secret::is_secret_key(name);
    std::env::vars_os().filter_map(move |(name, value)| {
        let value = value.into_string().ok()?;
        (named(&name.to_string_lossy()) && value.len() >= shortest).then_some(value)
    })
}

/// The logs of a deployment's runs, without its database. Read-only.
pub(crate) async fn runs(deployment: &Deployment) -> Result<Vec<RunLog>, Failure> {
    match SqliteJournal::open_existing(&deployment.root).await? {
        Some(journal) => Ok(Journal::runs(&journal).await?),
        None => Ok(Vec::new()),
    }
}

/// Who took the deployment's lock and did not let go, and whether it is still there.
pub(crate) fn lock_holder(deployment: &Deployment) -> Option<(Holder, HolderState)> {
    DeploymentGuard::holder(&deployment.root)
}

/// Who runs the tool, for histories.
pub(crate) fn user_at_host() -> String {
    let me = identity(String::new());
    format!("{}@{}", me.user, me.host)
}

fn identity(database: String) -> Identity {
    let host = nix::unistd::gethostname().ok();
    let uid = nix::unistd::Uid::current();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    Identity {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        pid: std::process::id(),
        user: user.map_or_else(|| uid.to_string(), |user| user.name),
        database,
    }
}
