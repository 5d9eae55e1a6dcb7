//! Plans, steps, the status machine and the engine of a deployment migration.
//!
//! This crate decides; it never touches the outside. It has no database, file,
//! process, environment, terminal or wall clock in it: those come in through
//! the traits in [`step`], [`ports`], [`journal`] and [`clock`].
//!
//! Reading order: [`version`], [`plan`] (what a user writes), [`step`] (what a
//! kind of step promises), [`registry`], [`journal`] and [`status`] (what is
//! durable and what it means), [`executor`] (who drives it), [`event`] (what a
//! person sees).
//!
//! Invariants:
//! - An effect happens only after its intent is durable in the journal.
//! - [`RunState::next`] is the only place that decides a transition, live and
//!   when a journal is read back.
//! - Nothing here sleeps, spawns, prints or reads a clock of its own.

mod batch_size;
pub mod cancel;
pub mod check_value;
pub mod clock;
pub mod duration;
pub mod error;
pub mod estimate;
pub mod event;
pub mod executor;
pub mod finding;
pub mod journal;
pub mod own_files;
pub mod path;
pub mod plan;
pub mod plan_check;
pub mod ports;
pub mod printable;
pub mod registry;
pub mod secret;
pub mod status;
pub mod step;
pub mod version;
pub mod version_pattern;

pub use batch_size::BatchSize;
pub use cancel::{Cancel, CancelCause, TIME_OVER};
pub use clock::Clock;
pub use error::{MigrationError, StepError, StepErrorKind};
pub use estimate::{Basis, Estimate, Rehearsal, StepEstimate, estimate, estimate_back};
pub use event::{Event, Reporter};
pub use executor::{
    Backup, CheckOutcome, Consent, Identity, MigrationExecutor, MigrationResult, NoClock,
    RollbackInfo, RollbackPreview, RollbackRequest, RunEnd, RunOptions, StepPreview, StepResult,
    StrategyChoice,
};
pub use finding::{Finding, Place, Severity};
pub use journal::{
    Journal, JournalError, MemoryJournal, Proof, Record, RunHeader, RunId, RunLog, UnknownRun,
};
pub use path::{Barred, Hop, NoPath, PlanEdge, VersionGraph};
pub use plan::{
    CheckPhase, CommandLine, DataMigration, MigrationPlan, MigrationStep, MigrationType, StepId,
    StepType, ValidationCheck,
};
pub use ports::{
    CheckRunner, Counted, DeploymentVersion, Fingerprint, Loss, Observer, OnDifference,
    OtherWriters, OwnWrites, RestoreOrder, RestoreReport, RollbackPoints, RowChanges, RowsOfOthers,
    RunGuard, Script, Scripts, ServiceControl,
};
pub use registry::{StepKind, StepRegistry, StepSite};
pub use status::{
    IllegalTransition, NextAction, Phase, RunState, StepState, StepStatus, Strategy, UndoData,
};
pub use step::{
    Description, Outcome, OwnRows, Preview, Probe, Readiness, Receipt, ScopeObject, Settled, Step,
    StepContext, UndoCheck, UndoReport, Undoable,
};
pub use version::{Version, VersionError};
pub use version_pattern::VersionPattern;
