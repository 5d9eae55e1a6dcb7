//! Reads `etlrs-migrate.toml` only where nobody else can have written it, as ssh reads its config.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use migrate_config::atomic::{open_regular, read_open, text_of};

use crate::deployment::SETTINGS_FILE;
use crate::failure::Failure;
use crate::verbs::next::quoted;

/// Write permission of the group and of all others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The text of the settings, or `None` if there are none.
///
/// They say which commands run as this user: a file or directory that somebody else may write
/// is refused.
pub(crate) fn settings_text(root: &Path) -> Result<Option<String>, Failure> {
    let path = root.join(SETTINGS_FILE);
    let unreadable = |error: std::io::Error| {
        Failure::unchanged(format!("{SETTINGS_FILE} can't be read: {error}"))
    };
    let file = match open_regular(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    refuse_others(&path, &file.metadata().map_err(unreadable)?)?;
    let real = path.canonicalize().map_err(unreadable)?;
    // Whoever may write the directory may put another file there. Of a link, both count.
    for directory in [Some(root), real.parent()].into_iter().flatten() {
        refuse_others(directory, &directory.metadata().map_err(unreadable)?)?;
    }
    let text = read_open(&file).and_then(text_of).map_err(unreadable)?;
    Ok(Some(text))
}

fn refuse_others(path: &Path, about: &Metadata) -> Result<(), Failure> {
    let me = nix::unistd::Uid::effective();
    let shown = path.display();
    let name = quoted(&path.to_string_lossy());
    if about.uid() != 0 && about.uid() != me.as_raw() {
        return Err(refused(&format!(
            "{shown} belongs to {}, who is neither root nor the user that runs this ({})",
            user(about.uid()),
            user(me.as_raw())
        ))
        .hint(format!(
            "read it, then take it over: chown {} {name}",
            user_name(me.as_raw())
        )));
    }
    let mode = about.mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(refused(&format!(
            "{shown} has mode {mode:04o}: others than its owner {} may write it",
            user(about.uid())
        ))
        .hint(format!("read it, then: chmod go-w {name}")));
    }
    Ok(())
}

fn refused(why: &str) -> Failure {
    Failure::unchanged(format!(
        "{SETTINGS_FILE} is not trusted, and it says which commands run: {why}"
    ))
}

fn user_name(uid: u32) -> String {
    let found = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    found.map_or_else(|| uid.to_string(), |user| user.name)
}

fn user(uid: u32) -> String {
    format!("{} (uid {uid})", user_name(uid))
}
