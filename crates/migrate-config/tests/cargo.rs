//! A dependency is raised in every form in which Cargo lets it be written, and nothing else changes.
#![expect(clippy::unwrap_used, reason = "in a test it is an assertion")]

use migrate_config::{dependency_edits, edit_text};

#[track_caller]
fn check(before: &str, after: &str) {
    let found = dependency_edits("Cargo.toml", before, "etlrs", &"1.2.0".parse().unwrap());
    let found = found.unwrap_or_else(|findings| panic!("{findings:?}"));
    let text = edit_text("Cargo.toml", before, &found.edits).unwrap();
    assert_eq!(text, after);
    let again = dependency_edits("Cargo.toml", &text, "etlrs", &"1.2.0".parse().unwrap());
    assert_eq!(again.unwrap().edits, [], "raised twice is raised once");
}

#[test]
fn every_form_keeps_its_shape() {
    for (before, after) in [
        (
            "[dependencies]\netlrs = \"1.1.0\"  # was 1.0\nserde = \"1.1.0\"\n",
            "[dependencies]\netlrs = \"1.2.0\"  # was 1.0\nserde = \"1.1.0\"\n",
        ),
        (
            "[dependencies]\netlrs   =   { version = '1.1.0',   features = [ \"pg\" ] }\n",
            "[dependencies]\netlrs   =   { version = \"1.2.0\",   features = [ \"pg\" ] }\n",
        ),
        (
            "[dependencies.etlrs]\ndefault-features = false\nversion = \"^1.1\" # caret\n",
            "[dependencies.etlrs]\ndefault-features = false\nversion = \"^1.2.0\" # caret\n",
        ),
        (
            "[dependencies]\netlrs.version = \"1.1.0\"\netlrs.optional = true\n",
            "[dependencies]\netlrs.version = \"1.2.0\"\netlrs.optional = true\n",
        ),
        (
            "[workspace.dependencies]\netlrs = { version = \"=1.1.0\" }\n",
            "[workspace.dependencies]\netlrs = { version = \"=1.2.0\" }\n",
        ),
        (
            "[dependencies]\npipes = { package = \"etlrs\", version = \"1.1.0\" }\netlrs = { package = \"other\", version = \"1.1.0\" }\n",
            "[dependencies]\npipes = { package = \"etlrs\", version = \"1.2.0\" }\netlrs = { package = \"other\", version = \"1.1.0\" }\n",
        ),
        (
            "[target.'cfg(unix)'.dev-dependencies]\r\netlrs = \"~1.1.0\"\r\n[build-dependencies]\r\netlrs = \"1\"\r\n",
            "[target.'cfg(unix)'.dev-dependencies]\r\netlrs = \"~1.2.0\"\r\n[build-dependencies]\r\netlrs = \"1.2.0\"\r\n",
        ),
        (
            "[dependencies]\netlrs = { path = \"../etlrs\", version = \"1.1\" }\n",
            "[dependencies]\netlrs = { path = \"../etlrs\", version = \"1.2.0\" }\n",
        ),
    ] {
        check(before, after);
    }
}

#[test]
fn places_without_a_version_are_left_and_told() {
    let text = "[dependencies]\netlrs = { workspace = true }\n[dev-dependencies]\netlrs = { git = \"https://example.org/etlrs\" }\n[build-dependencies]\netlrs = \">=1.0\"\n";
    let found = dependency_edits("Cargo.toml", text, "etlrs", &"1.2.0".parse().unwrap()).unwrap();
    assert_eq!((found.edits.len(), found.places), (0, 3));
    let notes = found.notes.join("\n");
    for word in ["from the workspace", "from a git", "allows 1.2.0 already"] {
        assert!(notes.contains(word), "{notes}");
    }
    let none = dependency_edits(
        "Cargo.toml",
        "[package]\n",
        "etlrs",
        &"1.2.0".parse().unwrap(),
    );
    assert_eq!(none.unwrap().places, 0);
}

#[test]
fn what_is_newer_or_closed_is_refused_with_its_place() {
    let text = "[dependencies]\nserde = \"1\"\netlrs = \"1.3.0\"\n[dev-dependencies]\netlrs = \">=1.0, <1.2\"\n";
    let findings =
        dependency_edits("Cargo.toml", text, "etlrs", &"1.2.0".parse().unwrap()).unwrap_err();
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("Cargo.toml:3:"), "{told:?}");
    assert!(told[0].contains("newer version than 1.2.0"), "{told:?}");
    assert!(told[1].contains("does not allow 1.2.0"), "{told:?}");
}
