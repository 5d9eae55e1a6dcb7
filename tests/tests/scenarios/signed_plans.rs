//! `require_signature`: what was approved is what runs, byte for byte, judged by openssl.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use migrate_tests::deployment::{Deployment, Store};
use serde_json::Value;

use crate::on_both;

const WAY: [&str; 4] = ["--from", "1.5.0", "--to", "2.0.0"];

fn openssl(arguments: &[&str]) -> std::process::Output {
    Command::new("openssl")
        .args(arguments)
        .output()
        .expect("openssl is installed")
}

/// A key as an operator makes it, and its public half as the settings name it.
fn key(dir: &Path, name: &str) -> (PathBuf, String) {
    let file = dir.join(name);
    let path = file.to_str().unwrap();
    let made = openssl(&["genpkey", "-algorithm", "ed25519", "-out", path]);
    assert!(made.status.success(), "{made:?}");
    let public = openssl(&["pkey", "-in", path, "-pubout"]).stdout;
    let public = String::from_utf8(public).unwrap();
    let line = public.lines().nth(1).unwrap().to_owned();
    (file, line)
}

fn base64(text: &str, dir: &Path) -> Vec<u8> {
    let file = dir.join("base64");
    std::fs::write(&file, text).unwrap();
    openssl(&["base64", "-d", "-A", "-in", file.to_str().unwrap()]).stdout
}

/// The document and the first signature of an envelope, as the DSSE specification has them signed.
fn opened(envelope: &Value, dir: &Path) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let sort = envelope["payloadType"].as_str().unwrap();
    let document = base64(envelope["payload"].as_str().unwrap(), dir);
    let signature = base64(envelope["signatures"][0]["sig"].as_str().unwrap(), dir);
    let head = format!("DSSEv1 {} {sort} {} ", sort.len(), document.len());
    let signed = [head.as_bytes(), &document].concat();
    (document, signed, signature)
}

fn openssl_verifies(key: &Path, signed: &[u8], signature: &[u8], dir: &Path) -> bool {
    let (message, sig) = (dir.join("message"), dir.join("sig"));
    std::fs::write(&message, signed).unwrap();
    std::fs::write(&sig, signature).unwrap();
    let paths = [key, &sig, &message].map(|path| path.to_str().unwrap());
    openssl(&[
        "pkeyutl", "-verify", "-rawin", "-inkey", paths[0], "-sigfile", paths[1], "-in", paths[2],
    ])
    .status
    .success()
}

fn prod(deployment: &Deployment, arguments: &[&str]) -> migrate_tests::binary::Run {
    let mut all = vec!["--env", "prod"];
    all.extend(arguments);
    deployment.run(&all)
}

fn planned(deployment: &Deployment, file: &Path, more: &[&str]) {
    let mut all = vec!["plan"];
    all.extend(WAY);
    all.extend(["-o", file.to_str().unwrap()]);
    all.extend(more);
    prod(deployment, &all).expect(0);
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn production(store: Store, dir: &Path, more: &str) -> (Deployment, PathBuf) {
    let deployment = Deployment::v1().on(store);
    let (secret, public) = key(dir, "release.key");
    let url = deployment.url();
    deployment.write(
        "etlrs-migrate.toml",
        &format!(
            "[env.prod]\ndatabase_url = \"{url}\"\nrequire_signature = [\"{public}\"]\n{more}"
        ),
    );
    (deployment, secret)
}

fn only_what_was_signed_runs(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    let (deployment, secret) = production(store, dir.path(), "");
    let (stranger, _) = key(dir.path(), "stranger.key");
    let file = dir.path().join("plan.json");
    let apply = ["apply", file.to_str().unwrap()];
    let before = deployment.snapshot();

    let direct = [&WAY[..], &["--yes"]].concat();
    prod(&deployment, &direct)
        .expect(8)
        .says(&["signed", "plan --from", "--sign", "apply"]);
    prod(&deployment, &[&WAY[..], &["--dry-run"]].concat()).expect(0);

    planned(&deployment, &file, &[]);
    prod(&deployment, &apply)
        .expect(8)
        .says(&["it is not signed"]);
    planned(&deployment, &file, &["--sign", stranger.to_str().unwrap()]);
    prod(&deployment, &apply)
        .expect(8)
        .says(&["not signed by any of them"]);

    planned(&deployment, &file, &["--sign", secret.to_str().unwrap()]);
    let good = read(&file);
    let (document, signed, signature) = opened(&good, dir.path());
    assert!(openssl_verifies(&secret, &signed, &signature, dir.path()));
    assert!(!openssl_verifies(
        &stranger,
        &signed,
        &signature,
        dir.path()
    ));
    let plan: Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(plan["contract"]["to"], "2.0.0");

    // What the plan's own hash does not cover is signed too.
    let text = String::from_utf8(document).unwrap();
    for (old, new) in [
        ("ALTER TABLE", "ALTER  TABLE"),
        ("\"made_at\"", "\"made_at\" "),
    ] {
        let changed = text.replacen(old, new, 1);
        assert_ne!(changed, text);
        let forged_text = dir.path().join("changed");
        std::fs::write(&forged_text, changed).unwrap();
        let payload = openssl(&["base64", "-A", "-in", forged_text.to_str().unwrap()]).stdout;
        let mut forged = good.clone();
        forged["payload"] = Value::String(String::from_utf8(payload).unwrap());
        std::fs::write(&file, forged.to_string()).unwrap();
        prod(&deployment, &apply)
            .expect(8)
            .says(&["changed after it was signed"]);
    }
    // The signed document without its envelope.
    std::fs::write(&file, &text).unwrap();
    prod(&deployment, &apply)
        .expect(8)
        .says(&["it is not signed"]);
    before.must_equal(&deployment.snapshot(), "after plans were refused");

    std::fs::write(&file, good.to_string()).unwrap();
    prod(&deployment, &apply).expect(0).says(&["signed   by"]);
    deployment.must_be_v2();
    prod(&deployment, &["history", "--format", "json"])
        .expect(0)
        .says(&["signed by MCow"]);
    prod(&deployment, &["--rollback", "--to", "1.5.0", "--yes"]).expect(0);
    before
        .of_the_user()
        .must_equal(&deployment.snapshot().of_the_user(), "after the rollback");
}

fn a_rehearsal_counts_only_if_it_is_signed_too(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    let (deployment, secret) = production(store, dir.path(), "require_rehearsal = \"7d\"\n");
    let (stranger, _) = key(dir.path(), "stranger.key");
    let file = dir.path().join("plan.json");
    let apply = ["apply", file.to_str().unwrap()];
    let sign = secret.to_str().unwrap();
    planned(&deployment, &file, &["--sign", sign]);
    let url = deployment.url();
    let into = match store {
        Store::Sqlite => dir.path().to_str().unwrap(),
        Store::Postgres => url.as_str(),
    };
    let rehearse = [&["rehearse"][..], &WAY, &["--into", into]].concat();
    prod(&deployment, &rehearse).expect(0);
    prod(&deployment, &apply)
        .expect(7)
        .says(&["certificate", "--sign KEY"]);
    let by_stranger = [&rehearse[..], &["--sign", stranger.to_str().unwrap()]].concat();
    prod(&deployment, &by_stranger).expect(0);
    prod(&deployment, &apply).expect(7);
    prod(&deployment, &[&rehearse[..], &["--sign", sign]].concat()).expect(0);
    prod(&deployment, &apply).expect(0);
    deployment.must_be_v2();
}

#[test]
fn a_key_of_ours_is_one_of_openssls() {
    let dir = tempfile::tempdir().unwrap();
    let deployment = Deployment::v1().sqlite();
    let file = dir.path().join("own.key");
    let path = file.to_str().unwrap();
    let made = deployment.run(&["audit", "keygen", "-o", path, "--format", "json"]);
    let made = made.expect(0).json();
    let public = openssl(&["pkey", "-in", path, "-pubout"]).stdout;
    let public = String::from_utf8(public).unwrap();
    assert_eq!(
        public,
        std::fs::read_to_string(format!("{path}.pub")).unwrap()
    );
    assert_eq!(made["public_key"], public.lines().nth(1).unwrap());
    let permissions = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(permissions & 0o777, 0o600);
    // A key is never overwritten.
    deployment.run(&["audit", "keygen", "-o", path]).expect(1);
    let plan = dir.path().join("plan.json");
    let mut all = vec!["plan"];
    all.extend(WAY);
    all.extend(["-o", plan.to_str().unwrap(), "--sign", path]);
    deployment.run(&all).expect(0);
    let (_, signed, signature) = opened(&read(&plan), dir.path());
    assert!(openssl_verifies(&file, &signed, &signature, dir.path()));
    // Where nobody asks for a signature, a signed plan is a plan.
    deployment.run(&["apply", plan.to_str().unwrap()]).expect(0);
    deployment.must_be_v2();
    let own = deployment.path(".etlrs-migrate/key");
    let own = openssl(&["pkey", "-in", own.to_str().unwrap(), "-pubout"]).stdout;
    assert_eq!(
        String::from_utf8(own).unwrap(),
        deployment.read("backups/etlrs_key.pub")
    );
}

#[test]
fn a_key_that_is_none_is_named() {
    let deployment = Deployment::v1().sqlite();
    deployment.write(
        "etlrs-migrate.toml",
        "[env.prod]\nrequire_signature = [\"abc\"]\n",
    );
    deployment
        .run(&["--env", "prod", "status"])
        .expect(1)
        .says(&["require_signature", "abc"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("not.key");
    std::fs::write(&file, "abc").unwrap();
    let plan = dir.path().join("plan.json");
    let mut all = vec!["plan"];
    all.extend(WAY);
    all.extend([
        "-o",
        plan.to_str().unwrap(),
        "--sign",
        file.to_str().unwrap(),
    ]);
    deployment
        .run(&all)
        .expect(1)
        .says(&["--sign", "openssl genpkey"]);
    assert!(!plan.exists());
}

fn nothing_else_changes_such_an_environment(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    let (deployment, _) = production(store, dir.path(), "");
    deployment.write("m/1_x.sql", "CREATE TABLE x (y integer);");
    let before = deployment.snapshot();
    let m = deployment.path("m");
    let schema = ["schema", "apply", "--source", m.to_str().unwrap(), "--yes"];
    prod(&deployment, &schema)
        .expect(8)
        .says(&["signed plan files"]);
    let data = [
        "data",
        "migrate",
        "--source",
        "pipelines_old",
        "--target",
        "pipelines",
    ];
    prod(&deployment, &data)
        .expect(8)
        .says(&["signed plan files"]);
    before.must_equal(&deployment.snapshot(), "after what nobody signed");
}

on_both!(
    only_what_was_signed_runs,
    a_rehearsal_counts_only_if_it_is_signed_too,
    nothing_else_changes_such_an_environment,
);
