//! The engine.
/// x
pub struct MigrationExecutor;
/// x
pub struct MigrationResult;
/// x
pub struct RollbackInfo;
/// x
pub struct StepResult;
