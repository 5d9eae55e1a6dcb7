//! Services by own commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use migrate_core::{ServiceControl, Severity, StepError};
use migrate_service::WriterProbe;
use serde_json::json;

use crate::deployment::{Deployment, names};

#[tokio::test]
async fn only_what_ran_is_stopped_and_started_again() {
    let at = Deployment::new();
    let services = at
        .services(&(Deployment::own("web", "") + &Deployment::own("idle", "")))
        .unwrap();
    assert_eq!(services.check().await.unwrap(), []);
    services
        .start(&json!({"services": [{"name": "web"}]}))
        .await
        .unwrap();
    let first = at.pid("web");

    let running = services.running().await.unwrap();
    assert_eq!(names(&running), ["web"]);
    assert_eq!(services.stop(&running).await.unwrap(), ["web stopped"]);
    assert_eq!(
        names(&services.running().await.unwrap()),
        Vec::<&str>::new()
    );
    assert_eq!(
        services.stop(&running).await.unwrap(),
        ["web was stopped already"]
    );

    assert_eq!(services.start(&running).await.unwrap(), ["web started"]);
    assert_eq!(
        services.start(&running).await.unwrap(),
        ["web runs already"]
    );
    assert_ne!(at.pid("web"), first);
    assert!(!at.path().join("idle.pid").exists());
    services.stop(&running).await.unwrap();
}

#[tokio::test]
async fn a_service_that_does_not_stop_is_named() {
    let at = Deployment::new();
    let toml =
        Deployment::own("web", "stop_timeout = \"2s\"").replace("kill $(cat web.pid)", "true");
    let services = at.services(&toml).unwrap();
    let web = json!({"services": [{"name": "web"}]});
    services.start(&web).await.unwrap();
    let error = services.stop(&web).await.unwrap_err();
    assert!(
        error.message.contains("service web still runs after 2.0s"),
        "{error}"
    );
}

#[tokio::test]
async fn a_service_that_does_not_start_is_named_and_the_others_start() {
    let at = Deployment::new();
    let broken = Deployment::own("a", "start_timeout = \"2s\"")
        .replace("sleep 600 & echo $! > a.pid", "echo no port left");
    let failing = Deployment::own("b", "").replace("sleep 600 &", "echo broken >&2; exit 4;");
    let services = at
        .services(&(broken + &failing + &Deployment::own("c", "")))
        .unwrap();
    let all = json!({"services": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
    let error = services.start(&all).await.unwrap_err().to_string();
    assert!(
        error.contains("service a does not run after 2.0s"),
        "{error}"
    );
    assert!(
        error.contains("service b") && error.contains("exit status 4"),
        "{error}"
    );
    assert!(error.contains("broken"), "{error}");
    assert_eq!(names(&services.running().await.unwrap()), ["c"]);
}

#[tokio::test]
async fn an_odd_status_is_an_error_and_never_taken_for_stopped() {
    let at = Deployment::new();
    let toml = "[web]\nmanager = \"command\"\nstart = \"true\"\nstop = \"true\"\nstatus = \"echo odd; exit 4\"\n";
    let services = at.services(toml).unwrap();
    let error = services.running().await.unwrap_err().to_string();
    assert!(
        error.contains("service web") && error.contains("exit status 4"),
        "{error}"
    );
    let found = services.check().await.unwrap();
    assert_eq!(found[0].code, "service.unknown-state");
    assert_eq!(found[0].severity, Severity::Error);
}

#[tokio::test]
async fn a_service_that_left_the_configuration_is_named() {
    let at = Deployment::new();
    let services = at.services(&Deployment::own("web", "")).unwrap();
    let error = services
        .start(&json!({"services": [{"name": "gone"}]}))
        .await
        .unwrap_err();
    assert!(
        error
            .message
            .contains("service gone is not configured any more"),
        "{error}"
    );
}

struct Writers {
    left: AtomicUsize,
}

#[async_trait]
impl WriterProbe for Writers {
    async fn other_writers(&self, _: migrate_service::Writers) -> Result<Vec<String>, StepError> {
        let before = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(1))
            });
        Ok((0..before.unwrap())
            .map(|n| format!("pid {n}, psql: update pipelines"))
            .collect())
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_last_writer_and_names_one_that_stays() {
    let at = Deployment::new();
    let with = |left: usize, patience| {
        let writers = Arc::new(Writers {
            left: AtomicUsize::new(left),
        });
        let services = at.services(&Deployment::own("web", "")).unwrap();
        (
            Arc::clone(&writers),
            services.with_writer_probe(writers, patience),
        )
    };
    let nobody = json!(null);
    let (writers, services) = with(2, Duration::from_mins(1));
    services.stop(&nobody).await.unwrap();
    assert_eq!(writers.left.load(Ordering::SeqCst), 0);

    let (_, services) = with(1_000, Duration::from_millis(300));
    let error = services.stop(&nobody).await.unwrap_err().to_string();
    assert!(error.contains("pid 0, psql: update pipelines"), "{error}");
}

#[test]
fn everything_wrong_with_a_configuration_is_told_at_once() {
    let at = Deployment::new();
    let found = at
        .services(
            r#"
            [a]
            manager = "command"
            start = "true"
            unit = "x"
            [b]
            manager = "systemd"
            unit = "--now"
            [c]
            manager = "compose"
            services = ["--all"]
            health = { tcp = "nowhere" }
            [d]
            manager = "systemd"
            health = { tcp = "h:1", http = "http://h/" }
            "#,
        )
        .err()
        .unwrap();
    let pointers: Vec<&str> = found
        .iter()
        .map(|finding| finding.pointer.as_str())
        .collect();
    assert_eq!(
        pointers,
        [
            "/services/a/unit",
            "/services/a/stop",
            "/services/a/status",
            "/services/b/unit",
            "/services/c/health",
            "/services/c/services",
            "/services/d/health",
        ]
    );
}
