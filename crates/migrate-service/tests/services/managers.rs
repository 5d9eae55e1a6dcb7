//! systemd and docker compose, by stand-ins for their programs.

use migrate_core::{ServiceControl, Severity};
use migrate_service::{Rights, Tools};
use serde_json::json;

use crate::deployment::{Deployment, names};

#[tokio::test]
async fn systemd_is_asked_stopped_and_started_through_its_own_program() {
    let at = Deployment::new();
    std::fs::write(at.path().join("state"), "active").unwrap();
    // Stands in for systemctl: the verb is the first word, the unit the last.
    let systemctl = at.script(
        "systemctl",
        r#"echo "$*" >> log
case $1 in
show) echo LoadState=loaded; echo "ActiveState=$(cat state)"; echo TriggeredBy=etlrs.timer;;
stop) echo inactive > state;;
start) echo active > state;;
esac"#,
    );
    let sudo = at.script(
        "sudo",
        r#"echo "sudo $1 $2" >> log; shift; test "$1" = -l || exec "$@""#,
    );
    let services = at
        .services("[web]\nmanager = \"systemd\"\nunit = \"etlrs\"\n")
        .unwrap()
        .with_tools(Tools {
            systemctl,
            sudo,
            rights: Rights::User,
            ..Tools::default()
        });
    let found = services.check().await.unwrap();
    let codes: Vec<&str> = found.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["service.triggered"]);
    let running = services.running().await.unwrap();
    assert_eq!(names(&running), ["web"]);
    services.stop(&running).await.unwrap();
    assert_eq!(
        names(&services.running().await.unwrap()),
        Vec::<&str>::new()
    );
    services.start(&running).await.unwrap();
    let log = at.log();
    let changes: Vec<&str> = log
        .iter()
        .map(String::as_str)
        .filter(|line| !line.starts_with("show") && !line.starts_with("sudo"))
        .collect();
    assert_eq!(
        changes,
        [
            "stop --no-ask-password -- etlrs.service",
            "start --no-ask-password -- etlrs.service"
        ]
    );
}

#[tokio::test]
async fn an_unknown_unit_is_an_error_if_configured_and_nothing_by_default() {
    let at = Deployment::new();
    let systemctl = at.script(
        "systemctl",
        "echo LoadState=not-found; echo ActiveState=inactive",
    );
    let tools = Tools {
        systemctl,
        ..Tools::default()
    };
    let configured = at
        .services("[web]\nmanager = \"systemd\"\n")
        .unwrap()
        .with_tools(tools.clone());
    assert_eq!(configured.check().await.unwrap()[0].code, "service.missing");

    let default = at.services("").unwrap().with_tools(tools.clone());
    assert_eq!(default.check().await.unwrap(), []);
    assert_eq!(names(&default.running().await.unwrap()), Vec::<&str>::new());

    let none = Tools {
        systemctl: "no-such-systemctl".to_owned(),
        ..tools
    };
    let default = at.services("").unwrap().with_tools(none);
    assert_eq!(names(&default.running().await.unwrap()), Vec::<&str>::new());
}

#[tokio::test]
async fn compose_stops_the_application_and_leaves_the_database() {
    let at = Deployment::new();
    std::fs::write(at.path().join("docker-compose.yml"), "services: {}\n").unwrap();
    std::fs::write(at.path().join("state"), "true").unwrap();
    let docker = at.script(
        "docker",
        r#"test "$1" = compose && shift && echo "$*" >> log
case $1 in
config) echo app; echo db;;
ps) echo c1; echo c2;;
inspect) printf 'app\t%s\tacme/etlrs:1.5\n' "$(cat state)"; printf 'db\ttrue\tpostgres:15\n';;
stop) echo false > state;;
up) echo true > state;;
esac"#,
    );
    let tools = Tools {
        docker,
        systemctl: "no-such-systemctl".to_owned(),
        ..Tools::default()
    };
    let services = at.services("").unwrap().with_tools(tools.clone());
    let found = services.check().await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("db is left running"), "{found:?}");
    assert_eq!(found[0].severity, Severity::Warning);
    let running = services.running().await.unwrap();
    assert_eq!(
        running,
        json!({"services": [{"name": "compose", "parts": ["app"]}]})
    );
    assert_eq!(
        services.stop(&running).await.unwrap(),
        ["compose (app) stopped"]
    );
    assert_eq!(
        services.start(&running).await.unwrap(),
        ["compose (app) started"]
    );
    let log = at.log();
    assert!(log.contains(&"stop --timeout 60 app".to_owned()), "{log:?}");
    assert!(
        log.contains(&"up --detach --no-deps app".to_owned()),
        "{log:?}"
    );

    let none = Tools {
        docker: "no-such-docker".to_owned(),
        docker_compose: "no-such-compose".to_owned(),
        ..tools
    };
    let found = at
        .services("")
        .unwrap()
        .with_tools(none)
        .check()
        .await
        .unwrap();
    assert_eq!(found[0].code, "service.no-client");
}

#[tokio::test]
async fn a_manager_that_stops_answering_is_never_taken_for_a_stopped_service() {
    let at = Deployment::new();
    let systemctl = at.script(
        "systemctl",
        r#"test -e broken && { echo "no bus" >&2; exit 1; }
test "$1" = stop && touch broken
echo LoadState=loaded; echo ActiveState=active"#,
    );
    let tools = Tools {
        systemctl,
        rights: Rights::Root,
        ..Tools::default()
    };
    let services = at
        .services("[web]\nmanager = \"systemd\"\n")
        .unwrap()
        .with_tools(tools);
    let running = services.running().await.unwrap();
    assert_eq!(names(&running), ["web"]);
    for error in [
        services.stop(&running).await.unwrap_err(),
        services.stop(&running).await.unwrap_err(),
        services.running().await.unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(
            error.contains("service web") && error.contains("no bus"),
            "{error}"
        );
    }
}
