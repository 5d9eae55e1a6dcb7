//! Files are replaced whole, below the root, with their mode and owner.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests read best so, and a test fails by panicking"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use migrate_config::atomic::{
    FileErrorKind, NewFile, Root, mode_of, read, read_optional, read_text, sha256, write_atomic,
    write_atomic_as,
};
use tempfile::TempDir;

fn deployment() -> (TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("config")).unwrap();
    fs::write(dir.path().join("config/a.toml"), "old").unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_and_keeps_its_mode_and_owner() {
    let (dir, root) = deployment();
    let path = dir.path().join("config/a.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let as_root = nix::unistd::geteuid().is_root();
    if as_root {
        std::os::unix::fs::chown(&path, Some(1234), Some(4321)).unwrap();
    }
    let before = fs::metadata(&path).unwrap();
    write_atomic(&root, Path::new("config/a.toml"), b"new").unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_ne!(before.ino(), after.ino());
    assert_eq!(
        (before.mode(), before.uid(), before.gid()),
        (after.mode(), after.uid(), after.gid())
    );
    assert_eq!(mode_of(&root, Path::new("config/a.toml")).unwrap(), 0o640);
    assert_eq!(names(&dir.path().join("config")), ["a.toml"]);
}

#[test]
fn a_new_private_file_is_its_owners_only_and_its_directories_are_made() {
    let (dir, root) = deployment();
    write_atomic_as(&root, Path::new("backups/x/b"), b"1", NewFile::Private).unwrap();
    assert_eq!(mode_of(&root, Path::new("backups/x/b")).unwrap(), 0o600);
    assert_eq!(fs::read(dir.path().join("backups/x/b")).unwrap(), b"1");
}

#[test]
fn paths_stay_below_the_root() {
    let (dir, root) = deployment();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x"), "theirs").unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    symlink(outside.path().join("x"), dir.path().join("config/x")).unwrap();
    symlink("nowhere", dir.path().join("config/dangling")).unwrap();
    let absolute = outside.path().join("x");
    let bad = [
        "../x",
        "config/../../x",
        "out/x",
        "out/new",
        "config/x",
        "config/dangling",
        "",
        ".",
    ];
    for path in bad.iter().map(Path::new).chain([absolute.as_path()]) {
        let error = write_atomic(&root, path, b"mine").unwrap_err();
        assert_eq!(error.kind, FileErrorKind::OutsideRoot, "{path:?}: {error}");
        assert_eq!(
            read(&root, path).unwrap_err().kind,
            FileErrorKind::OutsideRoot
        );
    }
    assert_eq!(names(outside.path()), ["x"]);
    assert_eq!(fs::read(outside.path().join("x")).unwrap(), b"theirs");
}

#[test]
fn a_symlink_inside_the_root_stays_and_its_target_is_replaced() {
    let (dir, root) = deployment();
    fs::create_dir(dir.path().join("real")).unwrap();
    fs::write(dir.path().join("real/r.toml"), "old").unwrap();
    symlink("../real/r.toml", dir.path().join("config/link.toml")).unwrap();
    write_atomic(&root, Path::new("config/link.toml"), b"new").unwrap();
    assert!(dir.path().join("config/link.toml").is_symlink());
    assert_eq!(fs::read(dir.path().join("real/r.toml")).unwrap(), b"new");
}

#[test]
fn what_is_no_file_is_refused() {
    let (dir, root) = deployment();
    let error = write_atomic(&root, Path::new("config"), b"x").unwrap_err();
    assert_eq!(error.kind, FileErrorKind::NotAFile);
    assert_eq!(error.to_string(), "config is not a regular file");
    fs::write(dir.path().join("bin.toml"), [b'a', 0xff]).unwrap();
    let error = read_text(&root, Path::new("bin.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bin.toml is not UTF-8 text: byte 2 does not fit"
    );
    assert!(
        read_optional(&root, Path::new("none/at/all"))
            .unwrap()
            .is_none()
    );
    assert!(Root::open(dir.path().join("config/a.toml")).is_err());
    assert_eq!(
        Root::open(dir.path().join("no")).unwrap_err().kind,
        FileErrorKind::Missing
    );
}

#[test]
fn what_a_killed_process_left_is_removed_and_a_living_ones_file_stays() {
    let (dir, root) = deployment();
    let config = dir.path().join("config");
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let gone = child.id();
    child.wait().unwrap();
    let living = std::process::id();
    fs::write(config.join(format!(".a.toml.etlrs-{gone}-Ab.tmp")), "half").unwrap();
    fs::write(
        config.join(format!(".a.toml.etlrs-{living}-Ab.tmp")),
        "half",
    )
    .unwrap();
    write_atomic(&root, Path::new("config/a.toml"), b"new").unwrap();
    let kept = format!(".a.toml.etlrs-{living}-Ab.tmp");
    assert_eq!(names(&config), [kept.as_str(), "a.toml"]);
}

#[test]
fn the_hash_is_sha256() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(sha256(b""), empty);
}
