//! A parameter of a URL is obeyed as libpq obeys it, or refused by its name, wherever the URL
//! comes from; what is secret in it is not shown.

use std::path::Path;
use std::process::Command;

use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::postgres::{Server, TestDatabase};
use serde_json::json;

use crate::shipped;

const NOT_OBEYED: [&str; 5] = [
    "ssl_mode",
    "SSLMODE",
    "channel_binding",
    "require_auth",
    "gssencmode",
];

#[test]
fn a_parameter_that_is_not_obeyed_is_refused_wherever_the_url_stands() {
    let deployment = Deployment::v1().rows(3).postgres();
    let up = ["--from", "1.5.0", "--to", "2.0.0", "--yes"];
    for name in NOT_OBEYED {
        let url = format!("{}?{name}=require", deployment.url());
        let mut by_flag = up.to_vec();
        by_flag.extend(["--database-url", &url]);
        deployment
            .run(&by_flag)
            .expect(1)
            .says(&[name, "--database-url"]);
        deployment
            .tool(&up)
            .env("DATABASE_URL", &url)
            .run()
            .expect(1)
            .says(&[name, "$DATABASE_URL"]);
        deployment
            .tool(&["status"])
            .env("DATABASE_URL", &url)
            .run()
            .says(&[name]);
        let config = deployment.read("config/config.toml");
        deployment.write(
            "config/config.toml",
            &config.replace(&deployment.url(), &url),
        );
        deployment.run(&up).expect(1).says(&[name, "config.toml"]);
        deployment.write("config/config.toml", &config);
        deployment.write(
            "etlrs-migrate.toml",
            "[env.prod]\ndatabase_url_var = \"PROD_URL\"\n",
        );
        let mut in_env = up.to_vec();
        in_env.extend(["--env", "prod"]);
        deployment
            .tool(&in_env)
            .env("PROD_URL", &url)
            .run()
            .expect(1)
            .says(&[name]);
        std::fs::remove_file(deployment.path("etlrs-migrate.toml")).unwrap();
    }
    deployment.migrate().expect(0);
}

#[test]
fn a_sources_url_is_no_exception() {
    let deployment = Deployment::v1().rows(3).postgres();
    for name in NOT_OBEYED {
        let url = format!("{}?{name}=require", deployment.url());
        deployment.write("move.sql", "SELECT * FROM batch");
        let script = deployment.path("move.sql").display().to_string();
        let arguments =
            migrate_tests::copies::arguments("migrate", &script, &["--source-url", &url]);
        deployment
            .run(&arguments)
            .expect_one_of(&[1, 2])
            .says(&[name]);
        let step = json!({
            "id": "from-elsewhere", "step_type": "DataMigration", "timeout": "20s",
            "data_migration": {
                "source_table": "pipelines_old", "target_table": "pipelines", "source_url": "env:SOURCE",
                "transformation_script": "transform_pipelines.sql", "batch_size": 10,
                "parallel_workers": 1,
            },
        });
        shipped::overlay(
            &deployment,
            &json!({
                "from_version": "1.5.0", "to_version": "1.5.1", "migration_type": "Patch",
                "downtime_required": false, "steps": [step],
            }),
        );
        deployment
            .tool(&["--from", "1.5.0", "--to", "1.5.1", "--yes"])
            .env("SOURCE", &url)
            .run()
            .expect(1)
            .says(&[name]);
    }
}

#[test]
fn variables_of_libpq_that_are_not_obeyed_are_refused() {
    let deployment = Deployment::v1().rows(3).postgres();
    for (name, value) in [
        ("PGREQUIREAUTH", "scram-sha-256"),
        ("PGCHANNELBINDING", "require"),
        ("PGGSSENCMODE", "require"),
        ("PGSSLMODE", "allow"),
    ] {
        deployment
            .tool(&["--from", "1.5.0", "--to", "2.0.0", "--yes"])
            .env(name, value)
            .run()
            .expect(1)
            .says(&[name]);
    }
}

#[test]
fn a_password_among_the_options_is_not_shown() {
    let deployment = Deployment::v1().rows(3).postgres();
    for options in [
        "options=-c%20my.setting%3Dh1dden",
        "options=-c my.password=h1dden",
        "options[my.setting]=h1dden",
    ] {
        let url = format!("{}?{options}", deployment.url());
        let config = deployment.read("config/config.toml");
        deployment.write(
            "config/config.toml",
            &config.replace(&deployment.url(), &url),
        );
        let mut outputs = String::new();
        for arguments in [
            &["plan", "--from", "1.5.0", "--to", "2.0.0"][..],
            &["--from", "1.5.0", "--to", "2.0.0", "--dry-run"],
            &["--from", "1.5.0", "--to", "2.0.0", "--yes", "-v"],
            &["status"],
            &["health-check"],
            &["--rollback", "--to", "1.5.0", "--yes"],
            &[
                "status",
                "--database-url",
                "postgres://u@127.0.0.1:1/x?options=-c%20a.b%3Dh1dden",
            ],
        ] {
            outputs.push_str(&deployment.run(arguments).output());
        }
        assert!(!outputs.contains("h1dden"), "{options}: {outputs}");
        deployment.write("config/config.toml", &config);
    }
}

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(directory)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "openssl {arguments}: {output:?}");
}

/// Two authorities, and a certificate for 127.0.0.1 of the first.
fn certificates(directory: &Path) {
    for name in ["ca", "other"] {
        openssl(
            directory,
            &format!(
                "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={name} -keyout {name}.key -out {name}.pem"
            ),
        );
    }
    openssl(
        directory,
        "req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr",
    );
    std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        directory,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out server.pem",
    );
}

#[test]
fn with_a_root_certificate_require_verifies_as_libpq_does() {
    let server = Server::start();
    let directory = tempfile::TempDir::new().unwrap();
    certificates(directory.path());
    let data = server.directory().join("data");
    for (from, to) in [("server.pem", "server.crt"), ("server.key", "server.key")] {
        std::fs::copy(directory.path().join(from), data.join(to)).unwrap();
        hand_over(&data, &data.join(to));
    }
    server.admin_psql("postgres", "ALTER SYSTEM SET ssl = on");
    server.admin_psql("postgres", "SELECT pg_reload_conf()");
    let database = TestDatabase::create_on(&server);
    let deployment = Deployment::v1().rows(3).on(Store::Sqlite);
    let plain = database.url();
    let look = |query: &str, variables: &[(&str, &Path)]| {
        let url = format!("{plain}?{query}");
        let mut tool = deployment.tool(&["backup", "--version", "1.5.0", "--database-url", &url]);
        for (name, value) in variables {
            tool = tool.env(name, value);
        }
        tool.run()
    };
    let (ca, other) = (
        directory.path().join("ca.pem"),
        directory.path().join("other.pem"),
    );
    let (good, bad) = (ca.display(), other.display());
    look("sslmode=require", &[]).expect(0);
    look(&format!("sslmode=require&sslrootcert={good}"), &[]).expect(0);
    look(&format!("sslmode=verify-full&sslrootcert={good}"), &[]).expect(0);
    for mode in ["require", "verify-ca", "verify-full"] {
        look(&format!("sslmode={mode}&sslrootcert={bad}"), &[])
            .expect(1)
            .says(&["certificate"]);
        look(&format!("sslmode={mode}"), &[("PGSSLROOTCERT", &other)])
            .expect(1)
            .says(&["certificate"]);
    }
    // Without encryption asked for, a root certificate changes nothing.
    look(&format!("sslmode=prefer&sslrootcert={bad}"), &[]).expect(0);
    look("sslmode=verify-ca", &[("PGSSLROOTCERT", &ca)]).expect(0);
    // The file that libpq looks for by itself.
    let home = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(home.path().join(".postgresql")).unwrap();
    std::fs::copy(&other, home.path().join(".postgresql/root.crt")).unwrap();
    look("sslmode=require", &[("HOME", home.path())])
        .expect(1)
        .says(&["certificate"]);
    // A file that is not there is no reason to trust whoever answers.
    look("sslmode=require&sslrootcert=/nonexistent.pem", &[]).expect(1);
}

/// The server's key belongs to its own user alone.
fn hand_over(data: &Path, file: &Path) {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let owner = std::fs::metadata(data).unwrap();
    chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}
