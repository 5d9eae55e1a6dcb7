//! Small texts: durations, versions, ranges of them, batch sizes, paths, URLs.

use std::fmt::{Debug, Display};
use std::path::Path;
use std::str::FromStr;

use migrate_config::KeyPath;
use migrate_core::{BatchSize, Version, VersionPattern, duration};
use migrate_schema::db::DatabaseUrl;

/// What is read is shown in a form that is read as the same; a password is never shown.
pub fn values(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(read) = duration::parse(text) {
        assert!(!duration::human(read).is_empty());
        let millis = u64::try_from(read.as_millis()).expect("no more than was read");
        assert_eq!(duration::parse(&format!("{millis}ms")), Ok(read));
    }
    if let Some(version) = shown_and_read::<Version>(text) {
        assert!(VersionPattern::Exact(version.clone()).covers(&version));
    }
    if let Some(pattern) = shown_and_read::<VersionPattern>(text) {
        assert!(pattern.covers(&pattern.lowest()));
    }
    shown_and_read::<BatchSize>(text);
    shown_and_read::<KeyPath>(text);
    url(text);
}

fn shown_and_read<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<T>
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(read) => {
            let again = read.to_string().parse::<T>().ok();
            assert_eq!(again.as_ref(), Some(&read), "{text:?} is shown as {read}");
            Some(read)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

fn url(text: &str) {
    const PASSWORD: &str = "pläin%20secret";
    if let Ok(url) = text.parse::<DatabaseUrl>() {
        let _ = (
            url.database_name(),
            url.resolve(Path::new("/")),
            url.sqlite_path(),
        );
        let _ = url.with_database("other").map(|other| other.to_string());
    }
    // A password wherever this text may stand beside one; in a user's name, what ends one is
    // written in percent, and a password has no raw `@` beside a raw `?`: both end it somewhere.
    let inside = if text.contains('?') {
        text.replace('@', "")
    } else {
        text.to_owned()
    };
    let user = text.replace(['/', '?', '#', '@', ':'], "%3A");
    for with in [
        format!("postgres://u:{PASSWORD}@{text}"),
        format!("postgres://u:{inside}{PASSWORD}{inside}@h/d"),
        format!("postgres://{user}:{PASSWORD}@h/d"),
        format!("postgres://h/d?{text}&password={PASSWORD}"),
        format!("postgres://h/{text}?password={PASSWORD}"),
    ] {
        match with.parse::<DatabaseUrl>() {
            Ok(url) => {
                for shown in [
                    url.to_string(),
                    format!("{url:?}"),
                    url.resolve(Path::new("/")).to_string(),
                ] {
                    assert!(!shown.contains(PASSWORD), "{with:?} is shown as {shown:?}");
                }
            }
            Err(error) => {
                let shown = error.to_string();
                assert!(
                    !shown.contains(PASSWORD),
                    "{with:?} is refused with {shown:?}"
                );
            }
        }
    }
}
