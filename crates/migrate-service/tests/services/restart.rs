//! The kind `ServiceRestart`.

use std::sync::Arc;
use std::time::Duration;

use migrate_core::event::Silent;
use migrate_core::{
    Cancel, Finding, MigrationPlan, Outcome, Receipt, RunId, ServiceControl, Step, StepContext,
    StepRegistry,
};
use migrate_service::{PlanCommands, ServiceRestartKind, Services};
use serde_json::{Value, json};

use crate::deployment::{Deployment, names};

fn restart(services: Services, step: &Value) -> Result<Box<dyn Step>, Vec<Finding>> {
    let kind = ServiceRestartKind::new(Arc::new(services), PlanCommands::Allowed);
    let plan: MigrationPlan = serde_json::from_value(json!({
        "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MinorUpgrade",
        "steps": [step],
    }))
    .unwrap();
    Ok(StepRegistry::new()
        .with(kind)
        .build_all(&plan, "steps", &plan.steps)?
        .remove(0))
}

async fn prepared_and_run(step: &dyn Step) -> (Receipt, Outcome) {
    let cx = context();
    let receipt = step.prepare(&cx).await.unwrap();
    let outcome = step.run(&cx, &receipt).await.unwrap();
    (receipt, outcome)
}

fn context() -> StepContext {
    StepContext {
        run: RunId::new(chrono::DateTime::UNIX_EPOCH, 7),
        step: "restart".parse().unwrap(),
        attempt: 1,
        timeout: Duration::from_mins(1),
        cancel: Cancel::new(),
        reporter: Arc::new(Silent),
        drops: [].into(),
    }
}

#[tokio::test]
async fn a_restart_step_restarts_what_runs_and_leaves_what_does_not() {
    let at = Deployment::new();
    let toml = Deployment::own("web", "") + &Deployment::own("idle", "");
    let services = at.services(&toml).unwrap();
    services
        .start(&json!({"services": [{"name": "web"}]}))
        .await
        .unwrap();
    let first = at.pid("web");
    let step = restart(
        services.clone(),
        &json!({"id": "restart", "step_type": "ServiceRestart"}),
    )
    .unwrap_or_else(|found| panic!("{found:?}"));
    assert!(!step.describe().runs_commands);
    let (receipt, outcome) = prepared_and_run(step.as_ref()).await;
    assert_eq!(outcome.message, "restarted 1 service");
    let second = at.pid("web");
    assert_ne!(second, first);
    assert!(!at.path().join("idle.pid").exists());

    // Killed between stop and start: the receipt still knows what ran.
    services
        .stop(&json!({"services": [{"name": "web"}]}))
        .await
        .unwrap();
    step.run(&context(), &receipt).await.unwrap();
    assert_ne!(at.pid("web"), second);
    assert_eq!(names(&services.running().await.unwrap()), ["web"]);

    services
        .stop(&json!({"services": [{"name": "web"}]}))
        .await
        .unwrap();
    step.undo(&context(), &receipt).await.unwrap();
    assert_eq!(names(&services.running().await.unwrap()), ["web"]);
}

#[tokio::test]
async fn a_restart_command_does_not_start_what_the_run_has_stopped() {
    let at = Deployment::new();
    let services = at.services(&Deployment::own("web", "")).unwrap();
    let spec = json!({"id": "restart", "step_type": "ServiceRestart", "service": "web",
                      "command": "echo x >> restarted"});
    let step = restart(services.clone(), &spec).unwrap_or_else(|found| panic!("{found:?}"));
    assert!(step.describe().runs_commands);
    prepared_and_run(step.as_ref()).await;
    assert!(!at.path().join("restarted").exists());

    services
        .start(&json!({"services": [{"name": "web"}]}))
        .await
        .unwrap();
    prepared_and_run(step.as_ref()).await;
    assert!(at.path().join("restarted").exists());
}

#[tokio::test]
async fn a_restart_step_fails_if_its_own_health_probe_does() {
    let at = Deployment::new();
    let services = at.services(&Deployment::own("web", "")).unwrap();
    services
        .start(&json!({"services": [{"name": "web"}]}))
        .await
        .unwrap();
    let health = json!({"tcp": "127.0.0.1:1", "deadline": "200ms", "interval": "50ms"});
    let spec = json!({"id": "restart", "step_type": "ServiceRestart", "health": health});
    let step = restart(services, &spec).unwrap_or_else(|found| panic!("{found:?}"));
    let cx = context();
    let receipt = step.prepare(&cx).await.unwrap();
    let error = step.run(&cx, &receipt).await.unwrap_err();
    assert!(error.message.contains("not well after 0.2s"), "{error}");
}

#[test]
fn a_restart_of_an_unknown_service_is_a_finding() {
    let at = Deployment::new();
    let services = at.services(&Deployment::own("web", "")).unwrap();
    let spec = json!({"id": "restart", "step_type": "ServiceRestart", "service": "wen", "health": {"tcp": "x"}});
    let found = restart(services, &spec).err().unwrap();
    let pointers: Vec<&str> = found
        .iter()
        .map(|finding| finding.pointer.as_str())
        .collect();
    assert_eq!(pointers, ["/steps/0/service", "/steps/0/health"]);
    assert!(found[0].hint.as_ref().unwrap().contains("web"));
}
