//! An edited configuration of 2.0 goes back to 1.x with its edits.
#![expect(clippy::unwrap_used, reason = "a failing unwrap fails the test")]

use migrate_config::{migrate_text_v1_to_v2, reverse_text_v2_to_v1};

const OLD: &str = "# in production\n\n# where the rows live\ndatabase_url = \"postgres://u@h/db\" # not shared\nbatch_size = 1000\nparallel_tasks   =   4\nlog_level = \"INFO\"\n\n[custom]\nteam = \"data\"   # ours\n\n[pipeline]\nowner = \"me\"\n";

fn migrated() -> String {
    migrate_text_v1_to_v2("config.toml", OLD).unwrap().text
}

#[track_caller]
fn back(edits: &[(&str, &str)]) -> (String, Vec<String>, Vec<String>) {
    let mut text = migrated();
    for (from, to) in edits {
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        text = text.replacen(from, to, 1);
    }
    let back = reverse_text_v2_to_v1("config.toml", OLD, &text).unwrap();
    (back.text, back.kept, back.dropped)
}

#[test]
fn an_untouched_one_goes_back_to_the_last_byte() {
    assert_eq!(back(&[]), (OLD.to_owned(), Vec::new(), Vec::new()));
}

#[test]
fn edits_of_keys_that_the_old_version_has_are_kept() {
    let (text, kept, dropped) = back(&[
        ("postgres://u@h/db", "postgres://u@other/db"),
        ("batch_size = 1000", "batch_size = 5000"),
        ("team = \"data\"", "team = \"ops\""),
        ("owner = \"me\"", "owner = \"you\""),
    ]);
    let expected = OLD
        .replace("u@h/db", "u@other/db")
        .replace("= 1000", "= 5000")
        .replace("\"data\"", "\"ops\"")
        .replace("\"me\"", "\"you\"");
    assert_eq!(text, expected);
    let mut kept = kept;
    kept.sort();
    assert_eq!(
        kept,
        [
            "batch_size",
            "custom.team",
            "database_url",
            "pipeline.owner"
        ]
    );
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn what_the_old_version_has_no_place_for_is_named_without_its_value() {
    let (text, kept, dropped) = back(&[
        ("pool_size = 10", "pool_size = 99"),
        ("enable_tracing = true", "enable_tracing = false"),
        ("batch_size = 1000", "batch_size = 7"),
    ]);
    assert_eq!(text, OLD.replace("= 1000", "= 7"));
    assert_eq!(kept, ["batch_size"]);
    assert_eq!(
        dropped,
        ["database.pool_size", "observability.enable_tracing"]
    );
}

#[test]
fn a_key_that_the_old_version_needs_and_that_is_gone_is_named() {
    let line = migrated()
        .lines()
        .find(|line| line.starts_with("batch_size"))
        .unwrap()
        .to_owned();
    let (text, _, dropped) = back(&[(&format!("{line}\n"), "")]);
    assert_eq!(text, OLD);
    assert_eq!(dropped, ["pipeline.batch_size"]);
}

#[test]
fn comments_are_layout_that_stays_behind() {
    let (text, kept, dropped) = back(&[("[custom]", "# by hand\n[custom]")]);
    assert_eq!((text.as_str(), kept.len()), (OLD, 0));
    assert_eq!(dropped, ["comments, order or layout"]);
}

#[test]
fn one_that_is_back_stays_as_it_is() {
    let once = back(&[("batch_size = 1000", "batch_size = 5000")]).0;
    let again = reverse_text_v2_to_v1("config.toml", OLD, &once).unwrap();
    assert_eq!(again.text, once);
    assert!(again.dropped.is_empty());
}

#[test]
fn json_goes_back_too() {
    let old = "{\n  \"database_url\": \"sqlite:x.db\",\n  \"batch_size\": 10,\n  \"parallel_tasks\": 2,\n  \"log_level\": \"info\",\n  \"own\": [1, 2]\n}\n";
    let edited = migrate_text_v1_to_v2("c.json", old).unwrap().text;
    let edited = edited.replace("\"sqlite:x.db\"", "\"sqlite:y.db\"");
    let back = reverse_text_v2_to_v1("c.json", old, &edited).unwrap();
    assert_eq!(back.text, old.replace("x.db", "y.db"));
    assert!(back.dropped.is_empty(), "{:?}", back.dropped);
}

#[test]
fn a_broken_text_is_an_error_and_not_a_guess() {
    assert!(reverse_text_v2_to_v1("config.toml", OLD, "[database\n").is_err());
    let emptied = reverse_text_v2_to_v1("config.toml", OLD, "").unwrap();
    let url = "database.url".to_owned();
    assert!(emptied.dropped.contains(&url) || emptied.dropped.contains(&"database".to_owned()));
    assert!(
        emptied.text.contains("database_url"),
        "1.x can't be without it"
    );
}
