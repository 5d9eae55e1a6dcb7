//! The directory of a rehearsal's copy bears a mark of ours, by which the next one knows what a
//! killed rehearsal left. A directory without it is nobody's to remove.

use std::path::Path;

use crate::failure::Failure;

/// What the names of such directories begin with.
pub(super) const PREFIX: &str = "rehearsal-";

/// The mark's file.
const MARK: &str = ".etlrs-rehearsal";

/// Who made a copy: told apart from every other process that ever ran on any host.
fn own_mark() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    format!(
        "etlrs-migrate rehearsal\n{}\n{}\n{}\n",
        read("/proc/sys/kernel/hostname").trim(),
        read("/proc/sys/kernel/random/boot_id").trim(),
        std::process::id(),
    )
}

/// Makes the directory, marked before anything else is in it.
pub(super) fn make_private(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;

    let failed = |error: std::io::Error| Failure::unchanged(format!("{}: {error}", dir.display()));
    if is_left_over(dir) {
        let _ = std::fs::remove_dir_all(dir);
    }
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(dir)
        .map_err(failed)?;
    std::fs::write(dir.join(MARK), own_mark()).map_err(failed)
}

/// Removes what killed rehearsals of this host left in a directory.
pub(super) fn remove_leftovers(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        if ours && is_left_over(&entry.path()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether the directory bears a mark of this host whose process is gone, or is of our own
/// number and thus of one before us.
fn is_left_over(dir: &Path) -> bool {
    let text = migrate_config::atomic::read_regular_text(&dir.join(MARK)).unwrap_or_default();
    let own = own_mark();
    let (mut theirs, mut ours) = (text.lines(), own.lines());
    let (Some(what), Some(host), Some(boot), Some(pid)) =
        (theirs.next(), theirs.next(), theirs.next(), theirs.next())
    else {
        return false;
    };
    if Some(what) != ours.next() || Some(host) != ours.next() {
        return false;
    }
    let same_boot = Some(boot) == ours.next();
    let alive = Path::new("/proc").join(pid).exists();
    !same_boot || !alive || Some(pid) == ours.next()
}

#[cfg(test)]
mod tests {
    use super::{MARK, make_private, own_mark, remove_leftovers};

    #[test]
    fn only_what_bears_the_mark_of_a_process_that_is_gone_is_removed() {
        let base = std::env::temp_dir().join(format!("etlrs-marks-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        std::fs::create_dir(&base).unwrap();
        let dir = |name: &str| base.join(name);
        for (name, mark) in [
            ("rehearsal-1", None),
            (
                "rehearsal-2",
                Some(own_mark().replace(&format!("\n{}\n", std::process::id()), "\n1\n")),
            ),
            (
                "rehearsal-3",
                Some(own_mark().replace(&format!("\n{}\n", std::process::id()), "\n999999999\n")),
            ),
            ("rehearsal-4", Some("somebody else\n".to_owned())),
            (
                "other",
                Some(own_mark().replace(&format!("\n{}\n", std::process::id()), "\n999999999\n")),
            ),
        ] {
            std::fs::create_dir(dir(name)).unwrap();
            if let Some(mark) = mark {
                std::fs::write(dir(name).join(MARK), mark).unwrap();
            }
        }
        remove_leftovers(&base);
        let there: Vec<bool> = [
            "rehearsal-1",
            "rehearsal-2",
            "rehearsal-3",
            "rehearsal-4",
            "other",
        ]
        .map(|name| dir(name).exists())
        .to_vec();
        assert_eq!(there, [true, true, false, true, true]);
        make_private(&dir("rehearsal-5")).unwrap();
        assert!(dir("rehearsal-5").join(MARK).exists());
        assert!(
            make_private(&dir("rehearsal-1")).is_err(),
            "it is not ours to replace"
        );
    }
}
