//! Whether a service is well.

use std::time::Duration;

use migrate_core::{Cancel, CommandLine, StepError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::config::HealthConfig;
use crate::command::{Call, CommandRunner, problem};

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);
/// No status line is longer.
const HEAD: u64 = 4 * 1024;

/// A checked health probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    probe: Probe,
    deadline: Duration,
    interval: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Probe {
    Command(CommandLine),
    Tcp(String),
    Http {
        address: String,
        host: String,
        path: String,
    },
}

impl Health {
    /// Checks what a configuration says; a lowercase fragment where it is wrong.
    pub(crate) fn parse(config: &HealthConfig) -> Result<Self, String> {
        let probe = match (&config.command, &config.tcp, &config.http) {
            (Some(line), None, None) => match problem(line) {
                None => Probe::Command(line.clone()),
                Some((message, hint)) => return Err(format!("{message}; {hint}")),
            },
            (None, Some(address), None) => {
                if !has_port(address) {
                    return Err(format!("{address:?} is not HOST:PORT"));
                }
                Probe::Tcp(address.clone())
            }
            (None, None, Some(url)) => parse_http(url)?,
            _ => return Err("health needs exactly one of command, tcp and http".to_owned()),
        };
        let interval = config.interval.max(Duration::from_millis(10));
        Ok(Self {
            probe,
            deadline: config.deadline,
            interval,
        })
    }

    /// Waits until it is well.
    ///
    /// # Errors
    /// It was not well when the deadline came: what the last look saw.
    pub(crate) async fn wait(
        &self,
        service: &str,
        runner: &CommandRunner,
        cancel: &Cancel,
    ) -> Result<(), StepError> {
        let until = Instant::now() + self.deadline;
        loop {
            let seen = tokio::select! {
                biased;
                _ = cancel.cancelled() => {
                    return Err(StepError::interrupted(format!("waiting for {service} was asked to stop")));
                }
                seen = self.look(runner, cancel) => seen,
            };
            let Err(why) = seen else { return Ok(()) };
            if Instant::now() + self.interval >= until {
                let human = migrate_core::duration::human(self.deadline);
                return Err(StepError::failed(format!("{service} is not well after {human}"))
                    .cause(why)
                    .hint("read the service's log; its health probe is in etlrs-migrate.toml or the plan"));
            }
            sleep(self.interval).await;
        }
    }

    /// One look; a lowercase fragment where it is not well.
    pub(super) async fn look(&self, runner: &CommandRunner, cancel: &Cancel) -> Result<(), String> {
        match &self.probe {
            Probe::Command(line) => {
                let output = runner.run(Call::new(line, LOOK, cancel)).await;
                output
                    .and_then(crate::CommandOutput::success)
                    .map(drop)
                    .map_err(|e| e.to_string())
            }
            Probe::Tcp(address) => within(TcpStream::connect(address)).await.map(drop),
            Probe::Http {
                address,
                host,
                path,
            } => {
                let status = within(get(address, host, path)).await?;
                match status {
                    200..=299 => Ok(()),
                    other => Err(format!("http://{host}{path} answers with {other}")),
                }
            }
        }
        .map_err(|why| match &self.probe {
            Probe::Tcp(address) | Probe::Http { address, .. } => format!("{address}: {why}"),
            Probe::Command(_) => why,
        })
    }
}

async fn within<T>(looking: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match timeout(LOOK, looking).await {
        Ok(seen) => seen.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOOK.as_secs())),
    }
}

/// The status of an answer to GET; nothing but the status line is looked at.
async fn get(address: &str, host: &str, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: etlrs-migrate\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut limited = stream.take(HEAD);
    while !head.contains(&b'\n') {
        if limited.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    status_of(&head).ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

fn status_of(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\n').next()?).ok()?;
    let mut words = line.trim_end().split(' ');
    words
        .next()
        .filter(|version| version.starts_with("HTTP/1."))?;
    words.next().filter(|code| code.len() == 3)?.parse().ok()
}

fn has_port(address: &str) -> bool {
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty());
    port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn parse_http(url: &str) -> Result<Probe, String> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Err(format!(
            "{url:?} is not an http:// URL; for anything else use a health command"
        ));
    };
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
    if host.is_empty() || host.contains('@') || !plain(host) || !plain(path) {
        return Err("the health URL must be http://HOST[:PORT]/PATH, without user, blanks or special characters".to_owned());
    }
    let bare = !host.contains(':') || host.ends_with(']');
    let address = if bare {
        format!("{host}:80")
    } else {
        host.to_owned()
    };
    if !has_port(&address) {
        return Err(format!("{host:?} is not HOST or HOST:PORT"));
    }
    Ok(Probe::Http {
        address,
        host: host.to_owned(),
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(url: &str) -> Result<Health, String> {
        Health::parse(&HealthConfig {
            command: None,
            tcp: None,
            http: Some(url.to_owned()),
            deadline: Duration::from_secs(1),
            interval: Duration::ZERO,
        })
    }

    #[test]
    fn http_urls() {
        for (url, expected) in [
            (
                "http://localhost/health?x=1",
                Some(("localhost:80", "localhost", "/health?x=1")),
            ),
            (
                "http://127.0.0.1:9090",
                Some(("127.0.0.1:9090", "127.0.0.1:9090", "/")),
            ),
            ("http://[::1]/a", Some(("[::1]:80", "[::1]", "/a"))),
            ("http://[::1]:81/a", Some(("[::1]:81", "[::1]:81", "/a"))),
            ("https://localhost/", None),
            ("http:///x", None),
            ("http://u:p@h/", None),
            ("http://h:99999/", None),
            ("http://h/a b", None),
            ("http://h/\r\nX: y", None),
        ] {
            let found = http(url).map(|health| health.probe);
            match expected {
                None => assert!(found.is_err(), "{url}: {found:?}"),
                Some((address, host, path)) => assert_eq!(
                    found,
                    Ok(Probe::Http {
                        address: address.into(),
                        host: host.into(),
                        path: path.into()
                    })
                ),
            }
        }
    }

    #[test]
    fn a_password_in_a_refused_url_is_not_repeated() {
        assert!(!http("http://u:geheim@h/").unwrap_err().contains("geheim"));
    }

    #[test]
    fn status_lines() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.0 503\r\n", Some(503)),
            ("HTTP/1.1 20 OK\r\n", None),
            ("SSH-2.0-x\r\n", None),
            ("", None),
        ] {
            assert_eq!(status_of(head.as_bytes()), expected, "{head}");
        }
    }
}
