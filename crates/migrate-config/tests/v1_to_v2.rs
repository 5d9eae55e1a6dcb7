//! The configuration of 1.x becomes one of 2.0: same settings, same comments, nothing lost.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests read best so, and a test fails by panicking"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use migrate_config::{
    ConfigError, ConfigMigrator, ConfigV1, ConfigV2, LogLevel, Shape, detect, migrate_config_file,
    migrate_text_v1_to_v2, parse,
};
use serde_json::{Value, json};

const HOSTILE: &str = include_str!("data/hostile.toml");
const PLAIN: &str =
    "database_url = \"sqlite:a.db\"\nbatch_size = 1000\nparallel_tasks = 4\nlog_level = \"info\"\n";

fn value(name: &str, text: &str) -> Value {
    parse(name, text).unwrap().value
}

fn v2(name: &str, text: &str) -> ConfigV2 {
    serde_json::from_value(value(name, text)).unwrap()
}

/// What the types make of it, independently of the text.
fn typed(name: &str, text: &str) -> ConfigV2 {
    let v1: ConfigV1 = serde_json::from_value(value(name, text)).unwrap();
    ConfigMigrator::migrate_v1_to_v2(v1).unwrap()
}

fn migrated(text: &str) -> String {
    migrate_text_v1_to_v2("config.toml", text).unwrap().text
}

fn refused(name: &str, text: &str) -> Vec<String> {
    let findings = migrate_text_v1_to_v2(name, text).expect_err("refused");
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_plain_file_gets_the_three_tables() {
    assert_eq!(
        migrated(PLAIN),
        "[database]\nurl = \"sqlite:a.db\"\npool_size = 10\ntimeout = { secs = 30, nanos = 0 }\n\n\
         [pipeline]\nbatch_size = 1000\nmax_parallel_tasks = 4\nretry_attempts = 3\ntimeout = { secs = 300, nanos = 0 }\n\n\
         [observability]\nlog_level = \"info\"\nenable_metrics = true\nenable_tracing = true\nmetrics_port = 9090\n"
    );
}

#[test]
fn a_hostile_file_keeps_every_line_that_is_not_a_key_of_1_x() {
    for text in [
        HOSTILE.to_owned(),
        HOSTILE.replace('\n', "\r\n"),
        format!("\u{feff}{HOSTILE}"),
        format!("{HOSTILE}\n\n# more\n"),
    ] {
        let done = migrate_text_v1_to_v2("c.toml", &text).unwrap();
        assert_eq!(v2("c.toml", &done.text), typed("c.toml", &text));
        assert_eq!(
            done.unknown_keys,
            [
                "max_tokens_note",
                "\"quoted.key\"",
                "pipeline_note",
                "other",
                "custom",
                "servers"
            ]
        );
        let tail = &text[text.find("[custom] # our own").unwrap()..];
        assert!(done.text.ends_with(tail), "{}", done.text);
        let moved = [
            "database_url",
            "batch_size",
            "parallel_tasks",
            "'log_level'",
        ];
        for line in text
            .lines()
            .filter(|line| !moved.iter().any(|key| line.starts_with(key)))
        {
            // A gap that a moved key leaves is closed; no other line is.
            if line.trim().is_empty() {
                continue;
            }
            let line = if line.trim_start().starts_with('#') {
                line.trim()
            } else {
                line
            };
            assert!(done.text.lines().any(|l| l == line), "lost: {line}");
        }
        for kept in [
            "# production",
            "# rows per batch",
            "#loud",
            "1_000",
            "# Where the rows live.",
            "'INFO'",
        ] {
            assert!(done.text.contains(kept), "lost: {kept}");
        }
        if text.contains('\r') {
            assert_eq!(
                done.text.matches('\n').count(),
                done.text.matches("\r\n").count()
            );
        }
        let (before, after) = (value("c.toml", &text), value("c.toml", &done.text));
        for key in [
            "max_tokens_note",
            "quoted.key",
            "pipeline_note",
            "other",
            "custom",
            "servers",
        ] {
            assert_eq!(before[key], after[key]);
        }
    }
}

#[test]
fn own_tables_of_the_same_name_are_merged() {
    for own in [
        "[database]\npool_size = 20 # mine\nextra = 1\n[pipeline.own]\nx = 1\n",
        "[pipeline.own]\nx = 1\n[database]\npool_size = 20\nextra = 1\n",
    ] {
        let text = format!("{PLAIN}{own}");
        let done = migrate_text_v1_to_v2("c.toml", &text).unwrap();
        let config = v2("c.toml", &done.text);
        assert_eq!(
            (config.database.pool_size, config.database.url.as_str()),
            (20, "sqlite:a.db")
        );
        assert_eq!(done.kept_keys, ["database.pool_size"]);
        let mut unknown = done.unknown_keys;
        unknown.sort();
        assert_eq!(unknown, ["database.extra", "pipeline.own"]);
        assert_eq!(
            value("c.toml", &done.text)["pipeline"]["own"]["x"],
            json!(1)
        );
    }
    for root in [
        "database.pool_size = 20\n",
        "database = { pool_size = 20 }\n",
    ] {
        let config = v2("c.toml", &migrated(&format!("{root}{PLAIN}")));
        assert_eq!(
            (config.database.pool_size, config.pipeline.batch_size),
            (20, 1000)
        );
    }
}

#[test]
fn a_key_that_two_values_want_is_a_finding() {
    let text = format!(
        "{PLAIN}[database]\nurl = \"postgres://u:hunter2@h\"\ntimeout = 30\n[pipeline]\nmax_parallel_tasks = 1\n"
    );
    let shown = refused("c.toml", &text);
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(shown[0].starts_with("c.toml:6:7: database_url becomes database.url, and there is a database.url already\n    | url = \"postgres://u:***@h\""), "{shown:?}");
    assert!(
        shown[1].contains("2.0 wants something like database.timeout = { secs = 30, nanos = 0 }"),
        "{shown:?}"
    );
    assert!(
        refused("c.toml", &format!("pipeline = 1\n{PLAIN}"))[0]
            .contains("2.0 needs a table [pipeline]")
    );
    assert!(
        refused("c.toml", &format!("{PLAIN}[[database]]\nx = 1\n"))[0]
            .contains("2.0 needs a table [database]")
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_line() {
    let text = "database_url = 'postgres://u:hunter2@h'\nbatchsize = 10\nparallel_tasks = -1\nlog_level = \"wran\" # x\n";
    let shown = refused("config/config.toml", text);
    assert_eq!(
        shown,
        [
            "config/config.toml:2:13: the key batch_size is missing\n    | batchsize = 10\n    hint: is batchsize meant to be batch_size?",
            "config/config.toml:3:18: parallel_tasks is -1, not a whole number from 0\n    | parallel_tasks = -1",
            "config/config.toml:4:13: there is no log level \"wran\"\n    | log_level = \"wran\" # x\n    hint: use one of trace, debug, info, warn, error; the nearest is warn",
        ]
    );
    let wrong_url = refused(
        "c.toml",
        &PLAIN.replace("\"sqlite:a.db\"", "[\"pg://u:hunter2@h\"]"),
    );
    assert!(
        wrong_url[0].contains("database_url is an array, not a string"),
        "{wrong_url:?}"
    );
    assert!(!wrong_url[0].contains("hunter2"), "{wrong_url:?}");
    let quoted = refused("c.toml", &PLAIN.replace("1000", "\"1000\""));
    assert!(
        quoted[0].starts_with("c.toml:2:14: batch_size is a string")
            && quoted[0].contains("write batch_size = 1000, without quotes"),
        "{quoted:?}"
    );
    assert!(
        refused("c.toml", &PLAIN.replace("1000", "1.5"))[0].contains("a number with a fraction")
    );
    let broken = refused(
        "c.toml",
        "database_url = \"pg://u:hunter2@h\nbatch_size = 1\n",
    );
    assert!(
        broken[0].starts_with("c.toml:1:") && broken[0].contains("| database_url = \"pg://u:***@h"),
        "{broken:?}"
    );
    assert!(refused("c.toml", &migrated(PLAIN))[0].contains("a configuration of 2.0 already"));
    assert_eq!(refused("c.toml", "").len(), 4);
}

#[test]
fn json_is_migrated_likewise() {
    let text = "{\n  \"database_url\": \"sqlite:a.db\",\n  \"batch_size\": 10,\n  \"own\": {\"a\":  1},\n  \"parallel_tasks\": 2,\n  \"log_level\": \"WARN\"\n}\n";
    let done = migrate_text_v1_to_v2("c.json", text).unwrap();
    assert_eq!(v2("c.json", &done.text), typed("c.json", text));
    assert_eq!(done.unknown_keys, ["own"]);
    assert!(done.text.starts_with("{\n  \"own\": {\"a\":  1},\n  \"database\": {\n    \"url\": \"sqlite:a.db\",\n    \"pool_size\": 10,\n    \"timeout\": {\n      \"secs\": 30,\n"), "{}", done.text);
}

#[test]
fn levels_are_read_whatever_their_case() {
    for (name, level) in [
        ("TRACE", LogLevel::Trace),
        ("Debug", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("wArN", LogLevel::Warn),
        ("error", LogLevel::Error),
    ] {
        let text = migrated(&PLAIN.replace("\"info\"", &format!("'{name}'")));
        assert_eq!(v2("c.toml", &text).observability.log_level, level);
        assert!(
            text.contains(&format!("log_level = '{name}'")),
            "the user's own text stays"
        );
    }
    assert!("".parse::<LogLevel>().is_err());
    assert_eq!(serde_json::to_value(LogLevel::Warn).unwrap(), json!("warn"));
}

#[test]
fn the_types_are_the_guides() {
    let config = typed("c.toml", PLAIN);
    assert_eq!(config.database.timeout, Duration::from_secs(30));
    assert_eq!(
        serde_json::to_value(&config).unwrap(),
        json!({
            "database": {"url": "sqlite:a.db", "pool_size": 10, "timeout": {"secs": 30, "nanos": 0}},
            "pipeline": {"batch_size": 1000, "max_parallel_tasks": 4, "retry_attempts": 3, "timeout": {"secs": 300, "nanos": 0}},
            "observability": {"log_level": "info", "enable_metrics": true, "enable_tracing": true, "metrics_port": 9090}
        })
    );
    let v1 = ConfigV1 {
        database_url: "postgres://u:hunter2@h/d".to_owned(),
        batch_size: 1,
        parallel_tasks: 1,
        log_level: "loud".to_owned(),
    };
    let error = ConfigMigrator::migrate_v1_to_v2(v1.clone()).unwrap_err();
    assert!(matches!(error, ConfigError::LogLevel(_)), "{error}");
    let v1 = ConfigV1 {
        log_level: "info".to_owned(),
        ..v1
    };
    let shown = format!("{v1:?} {:?}", ConfigMigrator::migrate_v1_to_v2(v1.clone()));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_version_shows_in_the_shape() {
    assert_eq!(detect("c.toml", PLAIN), Shape::V1);
    assert_eq!(detect("c.toml", "database_url = 1\n"), Shape::V1);
    assert_eq!(detect("c.toml", &migrated(PLAIN)), Shape::V2);
    let neither = |text: &str| match detect("c.toml", text) {
        Shape::Neither(why) => why,
        other => panic!("{other:?}"),
    };
    assert!(neither(&format!("{PLAIN}[database]\nurl = 'x'\n")).contains("of 1.x and of 2.0"));
    assert!(neither("x = 1\n").contains("none of the keys"));
    assert!(neither("x = \n").contains("not valid TOML"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_is_migrated_to_another_or_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
    fs::write(&input, PLAIN).unwrap();
    fs::set_permissions(&input, fs::Permissions::from_mode(0o604)).unwrap();
    for _ in 0..2 {
        migrate_config_file(&input, &output).await.unwrap();
    }
    assert_eq!(fs::read_to_string(&output).unwrap(), migrated(PLAIN));
    assert_eq!(
        fs::metadata(&output).unwrap().permissions().mode() & 0o777,
        0o604
    );
    assert_eq!(fs::read_to_string(&input).unwrap(), PLAIN);

    fs::write(&output, "mine = 1\n").unwrap();
    let error = migrate_config_file(&input, &output).await.unwrap_err();
    assert!(matches!(error, ConfigError::OutputExists(_)), "{error}");
    assert_eq!(fs::read_to_string(&output).unwrap(), "mine = 1\n");
    assert!(matches!(
        migrate_config_file(&output, &input).await,
        Err(ConfigError::Findings(_))
    ));

    migrate_config_file(&input, &input).await.unwrap();
    assert_eq!(fs::read_to_string(&input).unwrap(), migrated(PLAIN));
    let none = migrate_config_file(dir.path().join("none.toml"), &output).await;
    assert!(matches!(none, Err(ConfigError::File(_))));
}
