//! Health probes.

use migrate_core::{ServiceControl, StepError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::deployment::Deployment;

/// Answers every connection with these, one after the other, then with the last for good.
async fn server(answers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let right = request.starts_with("GET /health HTTP/1.1\r\n")
                && request.contains("\r\nHost: 127.0.0.1:")
                && request.ends_with("\r\n\r\n");
            let answer = if right {
                answers[number.min(answers.len() - 1)]
            } else {
                "HTTP/1.1 400 x\r\n\r\n"
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn http(port: u16) -> String {
    format!("http = \"http://127.0.0.1:{port}/health\"")
}

async fn started_with(health: &str, deadline: &str) -> Result<Vec<String>, StepError> {
    let at = Deployment::new();
    let health = format!("health = {{ {health}, deadline = \"{deadline}\", interval = \"20ms\" }}");
    let services = at.services(&Deployment::own("web", &health)).unwrap();
    services
        .start(&json!({"services": [{"name": "web"}]}))
        .await
}

#[tokio::test]
async fn a_start_waits_until_http_answers_well() {
    let port = server(&[
        "HTTP/1.1 503 Not yet\r\n\r\n",
        "garbage\r\n",
        "HTTP/1.1 204 Fine\r\n\r\n",
    ])
    .await;
    let lines = started_with(&http(port), "60s").await.unwrap();
    assert_eq!(lines, ["web started"]);

    let port = server(&["HTTP/1.1 500 No\r\n\r\n"]).await;
    let error = started_with(&http(port), "2s").await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("service web is not well after 2.0s"),
        "{error}"
    );
    assert!(error.contains("answers with 500"), "{error}");
}

#[tokio::test]
async fn a_start_waits_until_a_port_takes_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    started_with(&format!("tcp = \"127.0.0.1:{port}\""), "60s")
        .await
        .unwrap();
    drop(listener);
    let error = started_with(&format!("tcp = \"127.0.0.1:{port}\""), "1s")
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}: ")),
        "{error}"
    );
}

#[tokio::test]
async fn a_start_waits_until_the_health_command_ends_well() {
    let toml = "command = \"echo x >> looks; test $(wc -l < looks) -ge 3\"";
    started_with(toml, "60s").await.unwrap();
    let error = started_with("command = \"echo no pool; exit 1\"", "1s")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no pool"), "{error}");
}
