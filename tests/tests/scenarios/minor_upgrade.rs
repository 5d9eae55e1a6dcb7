//! The shipped minor upgrade: `etlrs` in `Cargo.toml`, and `Cargo.lock` where commands are allowed.

use std::ffi::OsString;
use std::path::PathBuf;

use migrate_tests::binary::Tool;
use migrate_tests::deployment::Deployment;
use migrate_tests::snapshot::files_differing;

const MANIFEST: &str = "[package]\nname = \"client\" # ours\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\n# the pipelines\netlrs = { version = \"1.1.0\", features = [] }   # keep\n";

/// A client crate at the deployment's root, with a registry of etlrs 1.1.0 beside it.
fn client() -> Deployment {
    let deployment = Deployment::v1().rows(5).sqlite();
    deployment.write("Cargo.toml", MANIFEST);
    deployment.write("src/main.rs", "fn main() {}\n");
    deployment.write(
        ".cargo/config.toml",
        "[source.crates-io]\nreplace-with = \"beside\"\n[source.beside]\ndirectory = \"vendor\"\n",
    );
    release(&deployment, "1.1.0");
    deployment
}

fn release(deployment: &Deployment, version: &str) {
    let folder = format!("vendor/etlrs-{version}");
    deployment.write(
        &format!("{folder}/Cargo.toml"),
        &format!("[package]\nname = \"etlrs\"\nversion = \"{version}\"\nedition = \"2021\"\n"),
    );
    deployment.write(&format!("{folder}/src/lib.rs"), "");
    deployment.write(
            &format!("{folder}/.cargo-checksum.json"),
            "{\"files\":{},\"package\":\"0000000000000000000000000000000000000000000000000000000000000000\"}",
        );
}

/// The toolchain that runs this test, with a home of its own.
fn with_cargo(tool: Tool, deployment: &Deployment) -> Tool {
    let cargo = PathBuf::from(std::env::var_os("CARGO").expect("cargo runs the tests"));
    let mut path = OsString::from(cargo.parent().unwrap());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let home = deployment.path("vendor/.home");
    tool.env("PATH", path).env("CARGO_HOME", home)
}

fn cargo(deployment: &Deployment, arguments: &[&str]) {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let done = std::process::Command::new(cargo)
        .args(arguments)
        .current_dir(deployment.root())
        .env("CARGO_HOME", deployment.path("vendor/.home"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "cargo {arguments:?}: {told}");
}

fn locked(deployment: &Deployment) -> String {
    let lock = deployment.read("Cargo.lock");
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"etlrs\"");
    lines.nth(1).unwrap_or_default().to_owned()
}

const UP: [&str; 4] = ["--from", "1.1.0", "--to", "1.2.0"];

#[test]
fn manifest_and_lock_are_raised_and_come_back_byte_for_byte() {
    let deployment = client();
    cargo(&deployment, &["generate-lockfile", "--offline"]);
    release(&deployment, "1.2.0");
    assert_eq!(locked(&deployment), "version = \"1.1.0\"");
    let before = (deployment.read("Cargo.toml"), deployment.read("Cargo.lock"));

    let allowed = [&UP[..], &["--allow-commands"]].concat();
    let run = with_cargo(deployment.tool(&allowed), &deployment).run();
    run.expect(0).says(&["Cargo.toml"]);
    let raised = MANIFEST.replace("\"1.1.0\"", "\"1.2.0\"");
    assert_eq!(deployment.read("Cargo.toml"), raised);
    assert_eq!(locked(&deployment), "version = \"1.2.0\"", "{run}");

    let back = ["--rollback", "--to", "1.1.0", "--allow-commands"];
    with_cargo(deployment.tool(&back), &deployment)
        .run()
        .expect(0);
    assert_eq!(
        before,
        (deployment.read("Cargo.toml"), deployment.read("Cargo.lock"))
    );
}

#[test]
fn without_consent_to_commands_the_lock_is_left_and_the_command_is_told() {
    let deployment = client();
    deployment.write("Cargo.lock", "# not touched\n");
    deployment
        .run(&[&UP[..], &["--dry-run"]].concat())
        .expect(0)
        .says(&[
            "-etlrs = { version = \"1.1.0\"",
            "+etlrs = { version = \"1.2.0\"",
        ]);
    deployment
        .run(&UP)
        .expect(0)
        .says(&["cargo update -p etlrs", "--allow-commands"]);
    assert!(deployment.read("Cargo.toml").contains("1.2.0"));
    assert_eq!(deployment.read("Cargo.lock"), "# not touched\n");
    deployment.run(&["--rollback", "--to", "1.1.0"]).expect(0);
    assert_eq!(deployment.read("Cargo.toml"), MANIFEST);
}

#[test]
fn a_deployment_without_a_manifest_is_refused_before_anything() {
    let deployment = Deployment::v1().rows(5).sqlite();
    let before = deployment.files_of_user();
    deployment.run(&UP).expect(1).says(&["Cargo.toml"]);
    deployment.write("Cargo.toml", "[dependencies]\netlrs = \"1.9.0\"\n");
    deployment
        .run(&UP)
        .expect(1)
        .says(&["Cargo.toml:2", "newer version than 1.2.0"]);
    std::fs::remove_file(deployment.path("Cargo.toml")).unwrap();
    assert_eq!(files_differing(&before, &deployment.files_of_user()), "");
}

#[test]
fn the_major_upgrade_raises_the_manifest_where_there_is_one() {
    let deployment = client();
    let before = deployment.snapshot();
    deployment.migrate().expect(0);
    deployment.must_be_v2();
    let raised = MANIFEST.replace("\"1.1.0\"", "\"2.0.0\"");
    assert_eq!(deployment.read("Cargo.toml"), raised);
    deployment.rollback("restore").expect(0);
    before.must_equal(&deployment.snapshot(), "after a major upgrade and back");
}

/// A client's crate is no deployment of the service: no config, no database, files alone.
#[test]
fn a_crate_without_a_database_is_raised_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = directory.path().join("Cargo.toml");
    std::fs::write(&manifest, MANIFEST).unwrap();
    let read = || std::fs::read_to_string(&manifest).unwrap();
    let run = |arguments: &[&str]| {
        let root = directory.path().to_str().unwrap();
        let mut all = vec!["-C", root];
        all.extend(arguments);
        Tool::new(&all).run()
    };
    run(&[&UP[..], &["--dry-run"]].concat())
        .expect(0)
        .says(&["-etlrs", "+etlrs"]);
    let entries = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(entries, 1, "a dry run wrote something");

    let dataful = ["--from", "1.5.0", "--to", "2.0.0"];
    run(&dataful)
        .expect(1)
        .says(&["config/config.toml", "--database-url"]);
    assert_eq!(read(), MANIFEST);

    run(&UP).expect(0).says(&["files alone", "go back"]);
    assert!(read().contains("\"1.2.0\""), "{}", read());
    let status = run(&["status", "--format", "json"]).expect(0).json();
    assert_eq!(status["version"], "1.2.0", "{status}");
    assert_eq!(status["problems"], serde_json::json!([]), "{status}");
    run(&["--rollback", "--to", "1.1.0"]).expect(0);
    assert_eq!(read(), MANIFEST);
    run(&UP).expect(0);
    run(&["emergency-rollback", "--version", "1.1.0", "--yes"]).expect(0);
    assert_eq!(read(), MANIFEST);
}
