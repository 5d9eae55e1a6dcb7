//! Rows that break tools: what people really have in tables after years.

use serde_json::{Value, json};

/// A row of a 1.5.0 `pipelines_old`.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRow {
    /// Its key.
    pub id: i64,
    /// Any text.
    pub name: String,
    /// JSON text, as old versions wrote it.
    pub config: String,
    /// Any text.
    pub status: String,
    /// A moment with an offset, or without one at UTC.
    pub created_at: String,
}

/// A row of a 1.5.0 `pipelines`.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetRow {
    /// Its key.
    pub id: i64,
    /// Any text.
    pub name: String,
    /// JSON text, old or new.
    pub config: String,
    /// Any text.
    pub status: String,
}

const NAMES: &[&str] = &[
    "O'Brien's \"quoted\" `pipe`",
    r"C:\temp\new\0 \\server\share\",
    "'); DROP TABLE pipelines; --",
    "$$ body $$ $1 ?1 :name @var %s {} #{x}",
    "Žluťoučký kůň příšerně úpěl ďábelské ódy",
    "e\u{301}a\u{308} \u{fb01} ß İ ı",
    "עברית العربية 中文 日本語 한국어",
    "🚀👩‍👩‍👧‍👦🏳️‍🌈 \u{10fffd}",
    "\u{feff}bom and \u{200b}zero width \u{202e}right to left",
    "NULL",
    "null",
    "",
    " ",
    "line\nbreak\r\nand\ttab",
    "\\N",
    "\\.",
    "--",
    "/* not a comment */ ;",
    "\u{1}\u{1b}[31mcontrol\u{7f}",
];

const STATUSES: &[&str] = &["active", "NULL", "", "пауза", "it's \\ \"done\""];

const MOMENTS: &[&str] = &[
    "2023-12-01T14:00:00+05:30",
    "2023-12-31 23:30:00-02:00",
    "2024-02-29T23:59:59.999999+00:00",
    "2024-03-31 02:30:00",
    "1969-12-31T23:59:59Z",
    "1999-12-31 20:00:00.123456-08:00",
    "2038-01-19 03:14:08+00:00",
];

/// JSON configurations in every shape that the guide's `transform_config` takes.
const CONFIGS: &[&str] = &[
    "{}",
    r#"{"batch_size":500}"#,
    r#"{"parallel_tasks":8,"log_level":"debug"}"#,
    r#"{"database_url":"postgres://u@h/d"}"#,
    r#"{"batch_size":null,"parallel_tasks":null,"database_url":null,"log_level":null}"#,
    r#"{"batch_size":9223372036854775807,"parallel_tasks":-1}"#,
    r#"{"batch_size":18446744073709551615,"parallel_tasks":0}"#,
    r#"{"batch_size":123456789012345678901234567890,"parallel_tasks":0.1}"#,
    r#"{"batch_size":1e3,"parallel_tasks":1.5e300}"#,
    r#"{"batch_size":-0.0,"parallel_tasks":1E-7}"#,
    r#"{"batch_size":"1000","parallel_tasks":true,"log_level":false}"#,
    r#"{"batch_size":{"nested":[1,{"deep":null}]},"parallel_tasks":[]}"#,
    r#"{"database_url":"a'b\"c\\d\/e\b\f\n\r\t","log_level":"NULL"}"#,
    r#"{"database_url":"\u00e9 \ud83d\ude80","log_level":"null"}"#,
    r#"{"database_url":"🚀 Žluťoučký","log_level":""}"#,
    r#"{"database_url":"'); DROP TABLE pipelines; --","log_level":"$1 ?1"}"#,
    r#"{"unknown":1,"batch_size":7,"pipeline":{"batch_size":8},"":"empty key"}"#,
    "  {\n\t\"batch_size\" :  12 ,\r\n \"log_level\":\"warn\"  }\n",
];

/// All combinations worth having, on ids that no ordinary row takes: negative ones, with
/// gaps, and the ends of 32 bits.
pub fn source_rows() -> Vec<SourceRow> {
    let count = NAMES.len().max(CONFIGS.len());
    let mut rows: Vec<SourceRow> = (0..count)
        .map(|at| SourceRow {
            id: -7 * (i64::try_from(at).expect("a short list") + 1),
            name: NAMES[at % NAMES.len()].to_owned(),
            config: CONFIGS[at % CONFIGS.len()].to_owned(),
            status: STATUSES[at % STATUSES.len()].to_owned(),
            created_at: MOMENTS[at % MOMENTS.len()].to_owned(),
        })
        .collect();
    let ends = [i64::from(i32::MIN), 0, i64::from(i32::MAX)];
    rows.extend(ends.iter().enumerate().map(|(at, id)| SourceRow {
        id: *id,
        name: "long ".repeat(2_000),
        config: ordinary_config(*id),
        status: "end".to_owned(),
        created_at: MOMENTS[at].to_owned(),
    }));
    rows
}

/// An ordinary row, as a program wrote it.
pub fn ordinary_row(id: i64) -> SourceRow {
    SourceRow {
        id,
        name: format!("pipeline {id}"),
        config: ordinary_config(id),
        status: ["active", "paused", "failed"][usize::try_from(id % 3).unwrap_or(0)].to_owned(),
        created_at: format!(
            "2023-{:02}-{:02}T{:02}:00:00+00:00",
            id.rem_euclid(12) + 1,
            id.rem_euclid(28) + 1,
            id.rem_euclid(24)
        ),
    }
}

fn ordinary_config(id: i64) -> String {
    let mut config = json!({
        "batch_size": 100 + id.rem_euclid(900),
        "parallel_tasks": 1 + id.rem_euclid(8),
        "database_url": format!("postgres://etl@db{}/source", id.rem_euclid(5)),
        "log_level": "info",
    });
    let keys = ["batch_size", "parallel_tasks", "database_url", "log_level"];
    if let Some(missing) = keys.get(usize::try_from(id.rem_euclid(9)).unwrap_or(9)) {
        config.as_object_mut().expect("it is one").remove(*missing);
    }
    config.to_string()
}

/// Rows that are in the target before the migration: stale ones with ids of source rows,
/// one that is right already, and some that only the target has.
pub fn target_rows(source: &[SourceRow]) -> Vec<TargetRow> {
    let stale = source.iter().step_by(5).take(12).map(|row| TargetRow {
        id: row.id,
        name: format!("stale {}", row.name),
        config: "not even JSON".to_owned(),
        status: "stale".to_owned(),
    });
    let right = source
        .iter()
        .skip(1)
        .step_by(5)
        .take(3)
        .map(|row| TargetRow {
            id: row.id,
            name: row.name.clone(),
            config: new_config(&row.config).to_string(),
            status: row.status.clone(),
        });
    let own = [2, 5, -3].into_iter().map(|id| TargetRow {
        id,
        name: NAMES[0].to_owned(),
        config: r#"{"batch_size": 1, "by": "hand"}"#.to_owned(),
        status: "new".to_owned(),
    });
    stale.chain(right).chain(own).collect()
}

/// The guide's `transform_config`, written again from its text.
///
/// # Panics
/// If the old one is not JSON.
pub fn new_config(old: &str) -> Value {
    let old: Value = serde_json::from_str(old).expect("the test's configs are JSON");
    let or = |key: &str, default: Value| old.get(key).cloned().unwrap_or(default);
    json!({
        "pipeline": {
            "batch_size": or("batch_size", json!(1000)),
            "max_parallel_tasks": or("parallel_tasks", json!(4)),
            "retry_attempts": 3,
            "timeout": 300,
        },
        "database": {
            "url": or("database_url", json!("")),
            "pool_size": 10,
            "timeout": 30,
        },
        "observability": {
            "log_level": or("log_level", json!("info")),
            "enable_metrics": true,
            "enable_tracing": true,
            "metrics_port": 9090,
        },
    })
}
