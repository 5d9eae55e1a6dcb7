//! Edits change what they name, and no other byte.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests read best so, and a test fails by panicking"
)]

use migrate_config::{Edit, KeyPath, edit_text};
use serde_json::{Value, json};

fn path(text: &str) -> KeyPath {
    text.parse().unwrap()
}

fn set(at: &str, value: Value) -> Edit {
    Edit::Set {
        path: path(at),
        value,
    }
}

fn rename(from: &str, to: &str) -> Edit {
    Edit::Rename {
        from: path(from),
        to: path(to),
    }
}

fn remove(at: &str) -> Edit {
    Edit::Remove { path: path(at) }
}

fn toml(before: &str, edit: Edit, after: &str) {
    let shown = format!("{edit:?}");
    let edits = [edit];
    match edit_text("c.toml", before, &edits) {
        Ok(text) => assert_eq!(text, after, "{shown}"),
        Err(findings) => panic!("{shown}: {findings:?}"),
    }
    // The same with the other line end (if it has one) and a byte order mark.
    if !before.contains('\n') {
        return;
    }
    let crlf = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let text = edit_text("c.toml", &crlf(before), &edits).expect(&shown);
    assert_eq!(text, crlf(after), "CRLF {shown}");
}

fn json(before: &str, edit: Edit, after: &str) {
    let shown = format!("{edit:?}");
    let edits = [edit];
    match edit_text("c.json", before, &edits) {
        Ok(text) => assert_eq!(text, after, "{shown}"),
        Err(findings) => panic!("{shown}: {findings:?}"),
    }
    let crlf = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let text = edit_text("c.json", &crlf(before), &edits).expect(&shown);
    assert_eq!(text, crlf(after), "CRLF {shown}");
}

fn refused(name: &str, before: &str, edit: Edit) -> String {
    let findings = edit_text(name, before, &[edit]).expect_err("refused");
    let shown: Vec<_> = findings.iter().map(ToString::to_string).collect();
    shown.join("\n")
}

#[test]
fn toml_set_changes_a_value_in_place() {
    toml("a  =  1 # x\nb=2", set("a", json!(2)), "a  =  2 # x\nb=2");
    toml("a = 1_000\n", set("a", json!(1000)), "a = 1_000\n");
    toml(
        "a = '''x'''\n",
        set("a", json!("x\"\n\u{7f}ü")),
        "a = \"x\\\"\\n\\u007fü\"\n",
    );
    toml("a = 1\n", set("a", json!(1.5)), "a = 1.5\n");
    toml(
        "a = 1\n",
        set("a", json!([1, "b", {"c": true}, {}])),
        "a = [1, \"b\", { c = true }, {}]\n",
    );
    toml(
        "[t]\nx.y = 1 # c\n",
        set("t.x.y", json!(2)),
        "[t]\nx.y = 2 # c\n",
    );
    toml(
        "t = { x = { y = 1 }, z.w = 2 }\n",
        set("t.x.y", json!(3)),
        "t = { x = { y = 3 }, z.w = 2 }\n",
    );
    toml(
        "t = { x = { y = 1 }, z.w = 2 }\n",
        set("t.z.w", json!(3)),
        "t = { x = { y = 1 }, z.w = 3 }\n",
    );
    toml(
        "[[s]]\nh = 1\n[[s]]\nh = 2\n",
        set("s[1].h", json!(3)),
        "[[s]]\nh = 1\n[[s]]\nh = 3\n",
    );
    toml(
        "a = [1, 2] # c\n",
        set("a[0]", json!(9)),
        "a = [9, 2] # c\n",
    );
    toml("'q.k' = 1\n", set("\"q.k\"", json!(2)), "'q.k' = 2\n");
}

#[test]
fn toml_set_adds_a_key_where_its_table_is() {
    toml(
        "a = 1\n\n[t]\nx = 1\n\n[u]\n",
        set("b", json!(2)),
        "a = 1\nb = 2\n\n[t]\nx = 1\n\n[u]\n",
    );
    toml(
        "a = 1\n\n[t]\nx = 1\n\n[u]\n",
        set("t.y", json!(2)),
        "a = 1\n\n[t]\nx = 1\ny = 2\n\n[u]\n",
    );
    toml(
        "[t]\n  x = 1\n",
        set("t.\"y z\"", json!(2)),
        "[t]\n  x = 1\n  \"y z\" = 2\n",
    );
    toml("[t]\nx = 1", set("t.y", json!(2)), "[t]\nx = 1\ny = 2");
    toml("[t]", set("t.y", json!(2)), "[t]\ny = 2");
    toml("# c\n[t]\n", set("a", json!(2)), "a = 2\n\n# c\n[t]\n");
    toml(
        "t = { x = 1 } # c\n",
        set("t.y", json!(2)),
        "t = { x = 1, y = 2 } # c\n",
    );
    toml("t = {}\n", set("t.y", json!(2)), "t = { y = 2 }\n");
    toml("t = {}\n", set("t.y.z", json!(2)), "t = { y.z = 2 }\n");
    toml(
        "t = { y.z = 2 }\n",
        set("t.y.w", json!(3)),
        "t = { y.z = 2, y.w = 3 }\n",
    );
    toml(
        "[u]\nt.x = 1\nz = 1\n",
        set("u.t.y", json!(2)),
        "[u]\nt.x = 1\nt.y = 2\nz = 1\n",
    );
    toml(
        "# c\n[t.sub]\nx = 1\n",
        set("t.y", json!(2)),
        "[t]\ny = 2\n\n# c\n[t.sub]\nx = 1\n",
    );
    toml(
        "[[s]]\nh = 1\n\n[[s]]\nh = 2\n",
        set("s[0].n", json!(3)),
        "[[s]]\nh = 1\nn = 3\n\n[[s]]\nh = 2\n",
    );
    toml(
        "[[s]]\nh = 1\n\n[[s]]\nh = 2\n",
        set("s[0].n.m", json!(3)),
        "[[s]]\nh = 1\n\n[s.n]\nm = 3\n\n[[s]]\nh = 2\n",
    );
}

#[test]
fn toml_set_adds_a_table() {
    toml(
        "a = 1\n[t]\nx = 1\n# end\n",
        set("n.k", json!("v")),
        "a = 1\n[t]\nx = 1\n# end\n\n[n]\nk = \"v\"\n",
    );
    toml(
        "a = 1\n",
        set("n", json!({"k": 1, "d": {"secs": 3}})),
        "a = 1\n\n[n]\nk = 1\nd = { secs = 3 }\n",
    );
    toml(
        "[t]\nx = 1\n\n[u]\n",
        set("t.deep.k", json!(1)),
        "[t]\nx = 1\n\n[t.deep]\nk = 1\n\n[u]\n",
    );
    toml(
        "[t]\nx = 1\n",
        set("t.d", json!({"secs": 30, "nanos": 0})),
        "[t]\nx = 1\nd = { secs = 30, nanos = 0 }\n",
    );
    toml("", set("n.k", json!(1)), "[n]\nk = 1\n");
}

#[test]
fn toml_set_over_a_table_goes_key_by_key() {
    toml(
        "[t] # mine\na = 1 # one\nb = 2\nc = { x = 1, y = 2 }\n",
        set("t", json!({"a": 1, "c": {"y": 3}, "d": true})),
        "[t] # mine\na = 1 # one\nc = { y = 3 }\nd = true\n",
    );
}

#[test]
fn toml_arrays_grow_and_shrink_with_their_remarks() {
    let lines = "a = [\n  1, # one\n  2, # two\n]\n";
    toml(
        lines,
        set("a[2]", json!(3)),
        "a = [\n  1, # one\n  2, # two\n  3,\n]\n",
    );
    toml(lines, remove("a[0]"), "a = [\n  2, # two\n]\n");
    toml(lines, remove("a[1]"), "a = [\n  1, # one\n]\n");
    let bare = "a = [\n  1, # one\n  2 # two, last\n]\n";
    toml(
        bare,
        set("a[2]", json!(3)),
        "a = [\n  1, # one\n  2, # two, last\n  3\n]\n",
    );
    toml(bare, remove("a[1]"), "a = [\n  1 # one\n]\n");
    toml("a = [1, 2]\n", set("a[2]", json!(3)), "a = [1, 2, 3]\n");
    toml("a = [1, 2,]\n", set("a[2]", json!(3)), "a = [1, 2, 3,]\n");
    toml("a = [1,2,3]\n", remove("a[1]"), "a = [1,3]\n");
    toml("a = []\n", set("a[0]", json!("x")), "a = [\"x\"]\n");
    toml("a = [ 1 ]\n", remove("a[0]"), "a = []\n");
}

#[test]
fn toml_remove_takes_the_key_with_its_comment() {
    toml(
        "a = 1\n\n# about b\n# more\nb = 2 # two\n\n# c\n[t]\n",
        remove("b"),
        "a = 1\n\n# c\n[t]\n",
    );
    toml(
        "a = 1\nb = \"\"\"\n[x]\n\"\"\"\nc = 3\n",
        remove("b"),
        "a = 1\nc = 3\n",
    );
    toml(
        "[t]\na = 1\n\n# u\n[u]\nb = 2\n[u.v]\nc = 3\n\n# w\n[w]\n",
        remove("u"),
        "[t]\na = 1\n\n# w\n[w]\n",
    );
    toml("x.a = 1\ny = 2\nx.b = 3\n", remove("x"), "y = 2\n");
    toml("t = { a = 1, b = 2 }\n", remove("t.b"), "t = { a = 1 }\n");
    toml("t = { a = 1, b = 2 }\n", remove("t.a"), "t = { b = 2 }\n");
    toml("a = 1\n", remove("nothing.here"), "a = 1\n");
    toml("[[s]]\na = 1\n\n[[s]]\na = 2\n", remove("s"), "");
    toml("a = 1\nb = 2", remove("b"), "a = 1");
}

#[test]
fn toml_rename_keeps_the_place_or_takes_the_comments_along() {
    toml(
        "# c\nold = 1 # x\n",
        rename("old", "new"),
        "# c\nnew = 1 # x\n",
    );
    toml(
        "t = { old=1 }\n",
        rename("t.old", "t.new"),
        "t = { new=1 }\n",
    );
    toml("x.old = 1\n", rename("x.old", "x.new"), "x.new = 1\n");
    toml(
        "old.a = 1\nz = 1\nold.b = 2\n",
        rename("old", "new"),
        "new.a = 1\nz = 1\nnew.b = 2\n",
    );
    toml(
        "[ old ] # h\na = 1\n[old.sub]\nb = 1\n",
        rename("old", "new"),
        "[ new ] # h\na = 1\n[new.sub]\nb = 1\n",
    );
    toml(
        "[[old]]\na = 1\n[[old]]\na = 1\n",
        rename("old", "new"),
        "[[new]]\na = 1\n[[new]]\na = 1\n",
    );
    toml("[a.b]\nc = 1\n", rename("a.b", "x.y.z"), "[x.y.z]\nc = 1\n");
    toml(
        "[t]\nold.a = 1\n",
        rename("t.old", "t.new"),
        "[t]\nnew.a = 1\n",
    );
    toml(
        "# one\n# two\nk   =  'v'   # three\nz = 1\n",
        rename("k", "t.u"),
        "z = 1\n\n[t]\n# one\n# two\nu   =  'v'   # three\n",
    );
    toml(
        "# one\nk = 1 # two\n\n[t]\n  a = 1\n",
        rename("k", "t.k"),
        "[t]\n  a = 1\n  # one\n  k = 1 # two\n",
    );
    toml(
        "# one\nk = 1 # two\nt = { a = 1 }\n",
        rename("k", "t.k"),
        "# one\n# two\nt = { a = 1, k = 1 }\n",
    );
    toml("a = 1\n", rename("nothing", "b"), "a = 1\n");
}

#[test]
fn what_toml_can_not_do_is_refused_with_its_place() {
    let shown = refused("c.toml", "\na = 1\n", set("a.b", json!(1)));
    assert_eq!(shown, "c.toml:2:5: a is a number, not a table\n    | a = 1");
    let shown = refused("c.toml", "a = 1\n[t]\nb = 2\n", rename("a", "t.b"));
    assert!(
        shown.starts_with("c.toml:3:5: a can't become t.b: there is a t.b already"),
        "{shown}"
    );
    assert!(refused("c.toml", "[t]\na = 1\n", set("t", json!(1))).contains("would drop its keys"));
    assert!(refused("c.toml", "a = 1", set("b", json!([null]))).contains("TOML has no null"));
    assert!(refused("c.toml", "a = 1", set("b", json!(u64::MAX))).contains("9223372036854775807"));
    assert!(refused("c.toml", "a = [1]", set("a[2]", json!(1))).contains("a has only 1 elements"));
    assert!(
        refused("c.toml", "[[a]]\nx = 1", set("a[1]", json!({"x": 1}))).contains("array of tables")
    );
    assert!(refused("c.toml", "[[a]]\nx = 1", set("a", json!([1]))).contains("can't"));
    assert!(refused("c.toml", "a = 1\n", rename("a", "a.b")).contains("one holds the other"));
    assert!(
        refused("c.toml", "t = { a = 1 }\nk = [\n1]\n", rename("k", "t.k"))
            .contains("several lines")
    );
    let both = edit_text(
        "c.toml",
        "a = 1",
        &[set("a.b", json!(1)), set("c", json!(null))],
    );
    assert_eq!(both.unwrap_err().len(), 2);
}

#[test]
fn json_set_follows_the_layout_round_it() {
    json("{\"a\":1}", set("a", json!(2)), "{\"a\":2}");
    json("{\"a\":1}", set("b", json!(2)), "{\"a\":1,\"b\":2}");
    json(
        "{\"a\": 1, \"c\": 1}",
        set("b", json!({"x": [1]})),
        "{\"a\": 1, \"c\": 1, \"b\": {\"x\": [1]}}",
    );
    json(
        "{\n\t\"a\": 1\n}\n",
        set("b", json!({"x": [1]})),
        "{\n\t\"a\": 1,\n\t\"b\": {\n\t\t\"x\": [\n\t\t\t1\n\t\t]\n\t}\n}\n",
    );
    json(
        "{\n    \"a\": {}\n}",
        set("a.b", json!(2)),
        "{\n    \"a\": {\n        \"b\": 2\n    }\n}",
    );
    json(
        "{\n  \"a\": {\"x\": 1}\n}",
        set("a.b", json!(null)),
        "{\n  \"a\": {\"x\": 1, \"b\": null}\n}",
    );
    json(
        "{\n  \"a\": 1\n}",
        set("n.m.k", json!(2)),
        "{\n  \"a\": 1,\n  \"n\": {\n    \"m\": {\n      \"k\": 2\n    }\n  }\n}",
    );
    json("{}", set("a.b", json!(1)), "{\"a\": {\"b\": 1}}");
    json(
        "{\"a\": [1, 2]}",
        set("a[2]", json!(3)),
        "{\"a\": [1, 2, 3]}",
    );
    json("{\"a\": 1.0 }", set("a", json!(1.0)), "{\"a\": 1.0 }");
}

#[test]
fn json_remove_and_rename_keep_the_rest() {
    json(
        "{\n  \"a\": 1,\n  \"b\": 2\n}\n",
        remove("a"),
        "{\n  \"b\": 2\n}\n",
    );
    json(
        "{\n  \"a\": 1,\n  \"b\": 2\n}\n",
        remove("b"),
        "{\n  \"a\": 1\n}\n",
    );
    json("{ \"a\": 1 }", remove("a"), "{}");
    json("{\"a\":1 , \"b\":2}", remove("a"), "{\"b\":2}");
    json("{\"a\": [1, 2]}", remove("a[0]"), "{\"a\": [2]}");
    json(
        "{\"a\": 1, \"b\": 2}",
        rename("a", "\"ü\\\"\""),
        "{\"ü\\\"\": 1, \"b\": 2}",
    );
    json(
        "{\"a\": 0.10, \"b\": {\"c\": 2}}",
        rename("a", "b.a"),
        "{\"b\": {\"c\": 2, \"a\": 0.10}}",
    );
    json(
        "{\n  \"a\": \"\\u00fc\"\n}",
        rename("a", "t.a"),
        "{\n  \"t\": {\n    \"a\": \"\\u00fc\"\n  }\n}",
    );
    let shown = refused("c.json", "{\"a\": [1]}", set("a.b", json!(1)));
    assert_eq!(
        shown,
        "c.json:1:7: a is an array, not a table\n    | {\"a\": [1]}"
    );
}
