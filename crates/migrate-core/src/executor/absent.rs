//! What stands in for ports that an embedder did not give: each says plainly that it is absent.

use async_trait::async_trait;
use serde_json::Value;

use crate::cancel::Cancel;
use crate::error::{MigrationError, StepError};
use crate::finding::Finding;
use crate::journal::RunId;
use crate::ports::{
    CheckRunner, DeploymentVersion, Fingerprint, Loss, Observer, OtherWriters, RestoreOrder,
    RestoreReport, RollbackPoints, RunGuard, ServiceControl,
};
use crate::step::ScopeObject;
use crate::version::Version;

pub(super) struct Nothing;

#[async_trait]
impl RunGuard for Nothing {
    async fn acquire(&self, _run: &RunId) -> Result<(), MigrationError> {
        Ok(())
    }
    async fn arm(&self, _run: &RunId) -> Result<(), StepError> {
        Ok(())
    }
    async fn disarm(&self) -> Result<(), StepError> {
        Ok(())
    }
    async fn release(&self) {}
}

#[async_trait]
impl ServiceControl for Nothing {
    async fn check(&self) -> Result<Vec<Finding>, StepError> {
        Ok(Vec::new())
    }
    async fn running(&self) -> Result<Value, StepError> {
        Ok(Value::Null)
    }
    async fn stop(&self, _running: &Value) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
    async fn start(&self, _running: &Value) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}

fn no_points() -> StepError {
    StepError::failed("this tool keeps no rollback points")
        .hint("give the executor some, or run without a backup")
}

#[async_trait]
impl RollbackPoints for Nothing {
    async fn check(&self) -> Result<Vec<Finding>, StepError> {
        Ok(vec![Finding::error(
            "point.absent",
            no_points().to_string(),
        )])
    }
    async fn create(
        &self,
        _run: &RunId,
        _from: &Version,
        _scope: &[ScopeObject],
        _others: OtherWriters,
        _cancel: &Cancel,
    ) -> Result<Value, StepError> {
        Err(no_points())
    }
    async fn safety_copy(&self, _back_to: &Version, _cancel: &Cancel) -> Result<String, StepError> {
        Err(no_points())
    }
    async fn restore(
        &self,
        _point: &Value,
        _order: &RestoreOrder,
    ) -> Result<RestoreReport, StepError> {
        Err(no_points())
    }
    fn describe(&self, _point: &Value) -> String {
        "none".to_owned()
    }
}

#[async_trait]
impl Observer for Nothing {
    async fn version(&self) -> Result<DeploymentVersion, StepError> {
        Ok(DeploymentVersion::Unknown)
    }
    async fn fingerprint(&self, _scope: &[ScopeObject]) -> Result<Fingerprint, StepError> {
        Ok(Fingerprint::default())
    }
    async fn losses(
        &self,
        _run: &RunId,
        _then: &Fingerprint,
        _scope: &[ScopeObject],
    ) -> Result<Vec<Loss>, StepError> {
        Ok(Vec::new())
    }
    async fn losses_of_reverse(&self, _before: &Fingerprint) -> Result<Vec<Loss>, StepError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl CheckRunner for Nothing {
    async fn query(&self, _sql: &str, _cancel: &Cancel) -> Result<Value, StepError> {
        Err(StepError::failed(
            "this tool has no database to run checks on",
        ))
    }
}
