//! docker compose, version 2 (`docker compose`) or 1 (`docker-compose`).

use std::path::Path;
use std::time::Duration;

use migrate_core::{CommandLine, Finding, StepError};

use super::manager::{Asker, State, Tools, argv};
use crate::command::CommandError;

/// The files that compose looks for, in its own order.
const FILES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];

/// One line for each container: service, whether it runs, image.
const FORMAT: &str = "{{index .Config.Labels \"com.docker.compose.service\"}}\t{{.State.Running}}\t{{.Config.Image}}";

/// A compose project.
#[derive(Debug, Clone)]
pub(super) struct Compose {
    /// The file, where it is not the one that compose finds itself (with its override).
    pub(super) file: Option<String>,
    /// The services that may be stopped; empty: all but databases.
    pub(super) only: Vec<String>,
}

/// Which client there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Plugin,
    Standalone,
}

/// A container of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Container {
    service: String,
    running: bool,
    image: String,
}

impl Compose {
    /// The file that compose would find in a directory.
    pub(super) fn found_in(root: &Path) -> Option<&'static str> {
        FILES.into_iter().find(|file| root.join(file).is_file())
    }

    fn argv(&self, client: Client, tools: &Tools, words: &[&str]) -> Vec<String> {
        let mut out = match client {
            Client::Plugin => vec![tools.docker.clone(), "compose".to_owned()],
            Client::Standalone => vec![tools.docker_compose.clone()],
        };
        if let Some(file) = &self.file {
            out.extend(["-f".to_owned(), file.clone()]);
        }
        out.extend(words.iter().map(|&word| word.to_owned()));
        out
    }

    fn stop_argv(
        &self,
        client: Client,
        tools: &Tools,
        wait: Duration,
        parts: &[String],
    ) -> Vec<String> {
        let mut out = self.argv(client, tools, &["stop", "--timeout"]);
        out.push(wait.as_secs().max(1).to_string());
        out.extend_from_slice(parts);
        out
    }

    /// `up` and not `start`: a changed image or setting of the file takes effect. Without
    /// dependencies, so that a database that was left running is not made anew.
    fn start_argv(&self, client: Client, tools: &Tools, parts: &[String]) -> Vec<String> {
        let mut out = self.argv(client, tools, &["up", "--detach", "--no-deps"]);
        out.extend_from_slice(parts);
        out
    }

    /// The client that works and knows this file; why none does otherwise.
    async fn client(&self, ask: &Asker<'_>) -> Result<Client, String> {
        let mut why = Vec::new();
        for client in [Client::Plugin, Client::Standalone] {
            let line = argv(self.argv(client, ask.tools, &["config", "--services"]));
            match ask.quietly(&line).await {
                Ok(_) => return Ok(client),
                Err(error) => why.push(error.to_string()),
            }
        }
        Err(why.join("; "))
    }

    async fn containers(
        &self,
        client: Client,
        ask: &Asker<'_>,
    ) -> Result<Vec<Container>, StepError> {
        let failed =
            |error: CommandError| error.into_step_error("asking for the containers of compose");
        let listed = ask
            .quietly(&argv(self.argv(client, ask.tools, &["ps", "-q"])))
            .await;
        let listed = listed.map_err(failed)?;
        let ids: Vec<&str> = listed.split_ascii_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let inspect = ask.quietly(&argv(inspect_argv(ask.tools, &ids))).await;
        parse_containers(&inspect.map_err(failed)?)
    }

    pub(super) async fn state(&self, ask: &Asker<'_>) -> Result<State, StepError> {
        let root = ask.runner.root();
        let file = match &self.file {
            Some(file) => root.join(file).is_file().then_some(file.as_str()),
            None => Self::found_in(root),
        };
        let Some(file) = file else {
            return Ok(State::Absent("there is no compose file".to_owned()));
        };
        let client = match self.client(ask).await {
            Ok(client) => client,
            Err(why) => {
                return Ok(State::Unreachable(format!(
                    "no compose client works with {file}: {why}"
                )));
            }
        };
        let running = self.chosen(&self.containers(client, ask).await?);
        Ok(if running.is_empty() {
            State::Stopped
        } else {
            State::Running(running)
        })
    }

    /// The services that run and would be stopped.
    fn chosen(&self, containers: &[Container]) -> Vec<String> {
        let wanted = |c: &&Container| match self.only.as_slice() {
            [] => !is_database(&c.image),
            only => only.contains(&c.service),
        };
        names(containers.iter().filter(|c| c.running).filter(wanted))
    }

    /// Which databases are left running.
    pub(super) async fn findings(&self, ask: &Asker<'_>) -> Result<Vec<Finding>, StepError> {
        let Ok(client) = self.client(ask).await else {
            return Ok(Vec::new());
        };
        let containers = self.containers(client, ask).await?;
        let chosen = self.chosen(&containers);
        let left = |c: &&Container| c.running && !chosen.contains(&c.service);
        Ok(names(containers.iter().filter(left))
            .into_iter()
            .map(|service| {
                Finding::warning(
                    "service.left-running",
                    format!("compose service {service} is left running"),
                )
                .hint("name the services to stop in etlrs-migrate.toml: services = [..]")
            })
            .collect())
    }

    pub(super) async fn stop(
        &self,
        ask: &Asker<'_>,
        parts: &[String],
        patience: Duration,
    ) -> Result<(), CommandError> {
        let client = self.working(ask).await?;
        // Docker itself kills a container when the patience is over; that takes a moment more.
        let line = argv(self.stop_argv(client, ask.tools, patience, parts));
        ask.run(&line, patience + Duration::from_secs(15))
            .await
            .map(drop)
    }

    pub(super) async fn start(
        &self,
        ask: &Asker<'_>,
        parts: &[String],
        patience: Duration,
    ) -> Result<(), CommandError> {
        let client = self.working(ask).await?;
        ask.run(&argv(self.start_argv(client, ask.tools, parts)), patience)
            .await
            .map(drop)
    }

    async fn working(&self, ask: &Asker<'_>) -> Result<Client, CommandError> {
        self.client(ask)
            .await
            .map_err(|reason| CommandError::NotStarted {
                command: "docker compose".to_owned(),
                reason,
            })
    }

    pub(super) fn stop_line(&self, tools: &Tools) -> CommandLine {
        argv(self.argv(Client::Plugin, tools, &["stop"]))
    }
}

fn inspect_argv(tools: &Tools, ids: &[&str]) -> Vec<String> {
    let mut out = vec![tools.docker.clone()];
    out.extend(["inspect", "--format", FORMAT].map(Into::into));
    out.extend(ids.iter().map(|&id| id.to_owned()));
    out
}

fn names<'a>(containers: impl Iterator<Item = &'a Container>) -> Vec<String> {
    let mut names: Vec<String> = containers.map(|c| c.service.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn parse_containers(text: &str) -> Result<Vec<Container>, StepError> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let fields: Vec<&str> = line.trim_end().split('\t').collect();
            match fields.as_slice() {
                [service, running @ ("true" | "false"), image] if !service.is_empty() => {
                    Ok(Container {
                        service: (*service).to_owned(),
                        running: *running == "true",
                        image: (*image).to_owned(),
                    })
                }
                _ => Err(StepError::failed(format!(
                    "docker inspect answers oddly: {line:?}"
                ))),
            }
        })
        .collect()
}

/// Whether an image is a database server's: the migration itself needs that.
fn is_database(image: &str) -> bool {
    const SERVERS: [&str; 6] = [
        "postgres",
        "postgresql",
        "postgis",
        "timescaledb",
        "pgvector",
        "pgbouncer",
    ];
    let name = image.split('@').next().unwrap_or(image);
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = name.split(':').next().unwrap_or(name);
    let is = |server: &&str| *name == **server || name.starts_with(&format!("{server}-"));
    SERVERS.iter().any(is) && !name.ends_with("-exporter")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compose(file: Option<&str>, only: &[&str]) -> Compose {
        Compose {
            file: file.map(Into::into),
            only: only.iter().map(|&s| s.to_owned()).collect(),
        }
    }

    #[test]
    fn argv_of_every_verb() {
        let tools = Tools::default();
        let parts = ["app".to_owned(), "worker".to_owned()];
        let minute = Duration::from_mins(1);
        let (found, named) = (compose(None, &[]), compose(Some("deploy/c.yml"), &[]));
        for (argv, expected) in [
            (
                found.argv(Client::Plugin, &tools, &["ps", "-q"]),
                "docker compose ps -q",
            ),
            (
                found.argv(Client::Standalone, &tools, &["ps", "-q"]),
                "docker-compose ps -q",
            ),
            (
                named.stop_argv(Client::Plugin, &tools, minute, &parts),
                "docker compose -f deploy/c.yml stop --timeout 60 app worker",
            ),
            (
                found.stop_argv(Client::Standalone, &tools, Duration::ZERO, &parts),
                "docker-compose stop --timeout 1 app worker",
            ),
            (
                found.start_argv(Client::Plugin, &tools, &parts),
                "docker compose up --detach --no-deps app worker",
            ),
            (
                named.start_argv(Client::Standalone, &tools, &parts[..1]),
                "docker-compose -f deploy/c.yml up --detach --no-deps app",
            ),
        ] {
            assert_eq!(argv.join(" "), expected);
        }
        assert_eq!(inspect_argv(&tools, &["a1"])[..2], ["docker", "inspect"]);
    }

    #[test]
    fn the_database_is_left_running_unless_named() {
        let text = "app\ttrue\tacme/etlrs:1.5\ndb\ttrue\tdocker.io/library/postgres:15@sha256:ab\nold\tfalse\tacme/x\napp\ttrue\tacme/etlrs:1.5\n";
        let containers = parse_containers(text).unwrap();
        assert_eq!(compose(None, &[]).chosen(&containers), ["app"]);
        assert_eq!(compose(None, &["db", "old"]).chosen(&containers), ["db"]);
    }

    #[test]
    fn an_odd_answer_is_an_error() {
        for text in ["app\tmaybe\timage", "\ttrue\timage", "no tabs"] {
            assert!(parse_containers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn database_images() {
        for (image, expected) in [
            ("postgres", true),
            ("postgres:16-alpine", true),
            ("bitnami/postgresql:15", true),
            ("registry:5000/timescale/timescaledb-ha:pg15", true),
            ("prometheuscommunity/postgres-exporter", false),
            ("acme/postgresapp", false),
            ("etlrs", false),
        ] {
            assert_eq!(is_database(image), expected, "{image}");
        }
    }
}
