//! Whatever the document: an edit is found again, its reverse gives the bytes back, the rest stays.

#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    clippy::format_push_string,
    reason = "helpers of tests read best so, and a test fails by panicking"
)]

use migrate_config::{Edit, KeyPath, edit_text, parse};
use proptest::prelude::*;
use serde_json::{Map, Value};

#[derive(Debug, Clone)]
struct Doc {
    text: String,
    /// The paths of all keys with a plain value.
    leaves: Vec<KeyPath>,
    /// The paths of tables that have a key with a plain value of their own.
    tables: Vec<KeyPath>,
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i32>().prop_map(|n| n.to_string()),
        Just("1_000".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        "[a-z #=\\[\\]üé☃]{0,8}".prop_map(|s| format!("'{s}'")),
        Just("\"\"\"\n[no.header]\n# no comment\n\"\"\"".to_owned()),
        Just("[ 1, # one\n  2 ]".to_owned()),
        Just("{ x = 1, y.z = 'w' }".to_owned()),
    ]
}

fn filler() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(String::new()),
        1 => Just("\n".to_owned()),
        1 => Just("# a remark = 1\n".to_owned()),
        1 => Just(" \t\n# [two]\n\n".to_owned()),
    ]
}

fn entry() -> impl Strategy<Value = (String, String, String, String)> {
    let space = prop_oneof![Just(" = "), Just("="), Just("  =\t")];
    let behind = prop_oneof![Just(""), Just(" # why"), Just("  ")];
    (filler(), scalar(), space, behind).prop_map(|(filler, value, space, behind)| {
        (filler, value, space.to_owned(), behind.to_owned())
    })
}

fn ending() -> impl Strategy<Value = (bool, bool, bool)> {
    any::<(bool, bool, bool)>()
}

fn document() -> impl Strategy<Value = Doc> {
    let section = (filler(), proptest::collection::vec(entry(), 1..4), 0..3u8);
    (proptest::collection::vec(section, 1..4), ending()).prop_map(|(sections, (crlf, bom, end))| {
        let mut doc = Doc {
            text: String::new(),
            leaves: Vec::new(),
            tables: Vec::new(),
        };
        for (s, (filler, entries, style)) in sections.into_iter().enumerate() {
            let table = if s == 0 {
                Vec::new()
            } else {
                vec![format!("t{s}")]
            };
            doc.text.push_str(&filler);
            if s > 0 {
                doc.text.push_str(&format!("[t{s}] # table\n"));
            }
            for (e, (filler, value, space, behind)) in entries.into_iter().enumerate() {
                let key = match style {
                    0 => format!("k{e}"),
                    1 => format!("\"k {e}\""),
                    _ => format!("d{s}.k{e}"),
                };
                doc.text
                    .push_str(&format!("{filler}{key}{space}{value}{behind}\n"));
                let path: KeyPath = table
                    .iter()
                    .cloned()
                    .chain([key])
                    .collect::<Vec<_>>()
                    .join(".")
                    .parse()
                    .unwrap();
                doc.tables.push(path.split_last().unwrap().0);
                doc.leaves.push(path);
            }
        }
        if end {
            doc.text.pop();
        }
        if crlf {
            doc.text = doc.text.replace('\n', "\r\n");
        }
        if bom {
            doc.text.insert(0, '\u{feff}');
        }
        doc
    })
}

fn edited(text: &str, edit: Edit) -> String {
    edit_text("c.toml", text, std::slice::from_ref(&edit))
        .unwrap_or_else(|f| panic!("{edit:?}\n{text}\n{f:?}"))
}

fn get<'v>(value: &'v Value, path: &KeyPath) -> Option<&'v Value> {
    value.pointer(&path.pointer())
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn setting_a_value_changes_its_own_bytes_only(doc in document(), pick: prop::sample::Index, new in any::<i64>()) {
        let path = pick.get(&doc.leaves).clone();
        let old = parse("c.toml", &doc.text).unwrap().value;
        prop_assume!(!get(&old, &path).unwrap().is_object());
        let text = edited(&doc.text, Edit::Set { path: path.clone(), value: new.into() });
        let value = parse("c.toml", &text).unwrap().value;
        prop_assert_eq!(get(&value, &path), Some(&Value::from(new)));
        if get(&old, &path) == Some(&Value::from(new)) {
            prop_assert_eq!(&text, &doc.text);
        } else {
            let written = new.to_string();
            let rebuilt = text.match_indices(&written).any(|(at, _)| {
                doc.text.starts_with(&text[..at]) && doc.text.ends_with(&text[at + written.len()..])
            });
            prop_assert!(rebuilt, "{}\n---\n{}", doc.text, text);
        }
    }

    #[test]
    fn set_then_remove_gives_the_bytes_back(doc in document(), pick: prop::sample::Index, new in "[a-z\"\\\\é\n]{0,6}") {
        let path = pick.get(&doc.tables).key("brand new");
        let text = edited(&doc.text, Edit::Set { path: path.clone(), value: new.clone().into() });
        let value = parse("c.toml", &text).unwrap().value;
        prop_assert_eq!(get(&value, &path), Some(&Value::from(new)));
        prop_assert_eq!(edited(&text, Edit::Remove { path }), doc.text);
    }

    #[test]
    fn a_rename_and_its_reverse_give_the_bytes_back(doc in document(), pick: prop::sample::Index) {
        let from = pick.get(&doc.leaves).clone();
        let to = from.split_last().unwrap().0.key("ren.amed");
        let text = edited(&doc.text, Edit::Rename { from: from.clone(), to: to.clone() });
        let (old, new) = (parse("c.toml", &doc.text).unwrap().value, parse("c.toml", &text).unwrap().value);
        prop_assert_eq!(get(&old, &from), get(&new, &to));
        let back = edited(&text, Edit::Rename { from: to, to: from });
        prop_assert_eq!(back.replace("\"k", "k"), doc.text.replace("\"k", "k"));
    }

    #[test]
    fn a_move_keeps_the_value_and_every_comment(doc in document(), pick: prop::sample::Index) {
        let from = pick.get(&doc.leaves).clone();
        let to: KeyPath = "else.where".parse().unwrap();
        let text = edited(&doc.text, Edit::Rename { from: from.clone(), to: to.clone() });
        let (old, new) = (parse("c.toml", &doc.text).unwrap().value, parse("c.toml", &text).unwrap().value);
        prop_assert_eq!(get(&old, &from), get(&new, &to));
        prop_assert_eq!(doc.text.matches('#').count(), text.matches('#').count());
    }

    #[test]
    fn removing_a_key_keeps_all_others(doc in document(), pick: prop::sample::Index) {
        let gone = pick.get(&doc.leaves).clone();
        let text = edited(&doc.text, Edit::Remove { path: gone.clone() });
        let (old, new) = (parse("c.toml", &doc.text).unwrap().value, parse("c.toml", &text).unwrap().value);
        for leaf in &doc.leaves {
            let expected = if *leaf == gone { None } else { get(&old, leaf) };
            prop_assert_eq!(get(&new, leaf), expected);
        }
    }

    #[test]
    fn json_set_then_remove_gives_the_bytes_back(before in json_value(), new in json_value(), pretty: bool, crlf: bool) {
        let before = serde_json::json!({"a": before, "b": {"c": 1}});
        prop_assume!(!before["a"].as_object().is_some_and(|a| a.contains_key("new key")));
        let mut text = if pretty { serde_json::to_string_pretty(&before).unwrap() } else { before.to_string() };
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        for at in ["\"new key\"", "b.\"new key\""] {
            let path: KeyPath = at.parse().unwrap();
            let set = edit_text("c.json", &text, &[Edit::Set { path: path.clone(), value: new.clone() }]).unwrap();
            let value = parse("c.json", &set).unwrap().value;
            prop_assert_eq!(get(&value, &path), Some(&new));
            let back = edit_text("c.json", &set, &[Edit::Remove { path }]).unwrap();
            prop_assert_eq!(&back, &text);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-c=\\[\\]{}\"'.,:# \n\r1-9é]{0,40}") {
        for name in ["c.toml", "c.json"] {
            if let Ok(located) = parse(name, &text) {
                prop_assert!(located.place("").is_some());
                let edits = [
                    Edit::Set { path: "a".parse().unwrap(), value: 7.into() },
                    Edit::Rename { from: "b".parse().unwrap(), to: "x.y".parse().unwrap() },
                    Edit::Remove { path: "c".parse().unwrap() },
                ];
                for edit in edits {
                    let _refused_or_done = edit_text(name, &text, &[edit]);
                }
            }
        }
    }
}
