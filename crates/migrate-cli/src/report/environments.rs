//! The environments, for people and machines.

use console::style;
use serde_json::{Value, json};

use super::{Output, document, out};

impl Output {
    pub(crate) fn environments(&self, rows: &[Value]) {
        if self.json() {
            document(&json!({ "format": 1, "environments": rows }));
            return;
        }
        if rows.is_empty() {
            out("etlrs-migrate.toml names no environment ([env.NAME])");
        }
        for row in rows {
            let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
            let version = row["version"].as_str().unwrap_or("no run yet");
            let confirm = if row["confirm"] == true {
                ", asks for its name"
            } else {
                ""
            };
            out(&format!(
                "{:<12} {version}, in {}, database {}{confirm}",
                style(text("name")).bold(),
                text("root"),
                text("database"),
            ));
            for (what, field) in [("services", "services"), ("checks", "checks")] {
                let names: Vec<_> = row[field].as_array().into_iter().flatten().collect();
                if !names.is_empty() {
                    let names: Vec<_> = names.iter().filter_map(|name| name.as_str()).collect();
                    out(&format!("{:<12} {what}: {}", "", names.join(", ")));
                }
            }
            if let Some(problem) = row["problem"].as_str() {
                out(&format!("{:<12} {}: {problem}", "", style("problem").red()));
            }
        }
    }
}
