//! Every value of a document knows its place, and every error shows its line.

use migrate_config::{Located, parse, parse_json, parse_toml};
use migrate_core::Finding;
use serde_json::{Value, json};

const HOSTILE: &str = include_str!("data/hostile.toml");

fn at(located: &Located, pointer: &str) -> String {
    let place = located.place(pointer).expect(pointer);
    format!("{place} {}", place.text.as_deref().expect("a text"))
}

fn only(result: Result<Located, Vec<Finding>>) -> String {
    let findings = result.expect_err("findings");
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings[0].to_string()
}

fn pointers(value: &Value, prefix: &str, out: &mut Vec<String>) {
    out.push(prefix.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            pointers(value, &format!("{prefix}/{key}"), out);
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, value)| pointers(value, &format!("{prefix}/{index}"), out)),
        _ => {}
    }
}

#[test]
fn a_json_value_knows_its_place() {
    let text = "\u{feff}{\r\n  \"größe\": {\"b\": [1,\r\n    \"x\"]}, \"a/b~c\": null\r\n}";
    let located = parse_json("plan.json", text).unwrap();
    assert_eq!(
        located.value,
        json!({"größe": {"b": [1, "x"]}, "a/b~c": null})
    );
    assert_eq!(
        at(&located, "/größe/b/1"),
        "plan.json:3:5     \"x\"]}, \"a/b~c\": null"
    );
    assert_eq!(located.place("/a~1b~0c").unwrap().column, 21);
    assert_eq!(located.key_place("/a~1b~0c").unwrap().column, 12);
    assert_eq!(located.place("").unwrap().column, 1);
    assert!(located.place("/nothing").is_none());
    assert_eq!(located.nearest("/größe/b/7/z").line, 2);
    let found = located.locate(vec![Finding::error("x", "y").at("/größe/missing")]);
    assert_eq!(found[0].place.as_ref().unwrap().line, 2);
}

#[test]
fn a_toml_value_knows_its_place() {
    let located = parse_toml("c.toml", HOSTILE).unwrap();
    assert_eq!(
        at(&located, "/batch_size"),
        "c.toml:11:18 batch_size   =   1_000   # rows per batch"
    );
    assert_eq!(at(&located, "/servers/1/name"), "c.toml:42:8 name = \"b\"");
    assert_eq!(at(&located, "/servers/1"), "c.toml:41:3 [[servers]]");
    assert_eq!(
        at(&located, "/servers/1/tls/on"),
        "c.toml:44:8   on = false"
    );
    assert_eq!(
        at(&located, "/custom/matrix/1/0"),
        "c.toml:29:6     [3, 4],"
    );
    assert_eq!(
        at(&located, "/custom/inline/deep/x"),
        "c.toml:24:25 inline = { deep = { x = 1 }, y.z = 2 }"
    );
    assert_eq!(
        located.value["custom"]["when"],
        json!("1979-05-27T07:32:00Z")
    );
    assert_eq!(located.value["custom"]["huge"], json!("inf"));
}

#[test]
fn every_value_of_a_hostile_file_has_a_place() {
    for text in [
        HOSTILE.to_owned(),
        HOSTILE.replace('\n', "\r\n"),
        format!("\u{feff}{HOSTILE}"),
    ] {
        let located = parse("c.toml", &text).unwrap();
        let mut all = Vec::new();
        pointers(&located.value, "", &mut all);
        assert!(all.len() > 30);
        for pointer in all {
            let place = located
                .place(&pointer)
                .unwrap_or_else(|| panic!("{pointer} has none"));
            assert!(!place.text.unwrap().contains("hunter2"), "{pointer}");
        }
    }
}

#[test]
fn a_syntax_error_shows_its_line() {
    let shown = only(parse("a.json", "{\n  \"a\": 1,\n}\n"));
    assert!(
        shown.starts_with("a.json:2:9: not valid JSON: trailing commas"),
        "{shown}"
    );
    assert!(shown.ends_with("    |   \"a\": 1,"), "{shown}");
    let shown = only(parse("a.json", "{\"a\": \"x\ty\"}"));
    assert!(
        shown.starts_with("a.json:1:9: not valid JSON: control character"),
        "{shown}"
    );
    assert!(only(parse("a.json", " \n")).contains("empty"));
    assert!(only(parse("a.json", "// x\n{}")).starts_with("a.json:1:1: not valid JSON: comments"));
    let shown = only(parse("ü.toml", "ok = 1\nü = ü\nx = 2\n"));
    assert!(shown.starts_with("ü.toml:2:"), "{shown}");
    let shown = only(parse("a.toml", "a = 1\nb = 1e\n[t]\n"));
    assert!(shown.starts_with("a.toml:2:"), "{shown}");
    assert!(shown.contains("| b = 1e"), "{shown}");
    assert!(only(parse("a.yaml", "a: 1")).contains("ends in .toml or .json"));
}

#[test]
fn a_key_that_stands_twice_is_a_finding() {
    let findings = parse(
        "a.json",
        "{\"a\": {\"b\": 1, \"b\": 2},\n \"c\": 1, \"c\": 2}",
    )
    .unwrap_err();
    let shown: Vec<_> = findings
        .iter()
        .map(|f| format!("{} {}", f.pointer, f.place.as_ref().unwrap()))
        .collect();
    assert_eq!(
        shown,
        ["/c a.json:2:10", "/a/b a.json:1:16"]
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    let shown = only(parse("a.toml", "a = 1\nb = 2\na = 3\n"));
    assert!(
        shown.starts_with("a.toml:3:1: not valid TOML: duplicate key"),
        "{shown}"
    );
}

#[test]
fn a_shown_line_holds_no_secret() {
    let text = "database_url = \"postgres://u:hunter2@h/d\"\nbatch_size = \"x\"\n[auth]\npassword = 'hunter2'\nkeys.token = [ \"hunter2\",\n \"hunter2\" ]\nnote = \"\"\"see pg://u:hunter2 \\\" '@h\"\"\"\n";
    let located = parse("c.toml", text).unwrap();
    let mut all = Vec::new();
    pointers(&located.value, "", &mut all);
    for pointer in all {
        let line = located.place(&pointer).unwrap().text.unwrap();
        assert!(!line.contains("hunter2"), "{pointer}: {line}");
    }
    assert_eq!(
        located.place("/database_url").unwrap().text.unwrap(),
        "database_url = \"postgres://u:***@h/d\""
    );
    for broken in [
        "password = \"hunter2\nx = 1",
        "database_url = \"pg://u:hunter2@h\nx = 1",
        "token = hunter2",
    ] {
        let shown = only(parse("c.toml", broken));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn of_a_very_long_line_the_part_round_the_place_is_shown() {
    let text = format!(
        "{{\"a\": \"{}\", \"b\": 17, \"c\": \"{}\"}}",
        "x".repeat(900),
        "y".repeat(900)
    );
    let place = parse("a.json", &text).unwrap().place("/b").unwrap();
    let line = place.text.unwrap();
    assert!(
        line.contains("\"b\": 17") && line.chars().count() < 170,
        "{line}"
    );
}
