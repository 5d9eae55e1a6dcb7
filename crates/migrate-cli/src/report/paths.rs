//! The graph of plans, for people: a version a line, its plans below it.

use console::style;
use serde_json::Value;

use super::{Output, document, out};

impl Output {
    pub(crate) fn paths(&self, graph: &Value) {
        if self.json() {
            document(graph);
            return;
        }
        let plans = graph["plans"].as_array().map_or(&[][..], Vec::as_slice);
        if plans.is_empty() {
            out("no plan leads on from there");
        }
        let mut last = "";
        for plan in plans {
            let from = text(&plan["from"]);
            if from != last {
                out(&style(from).bold().to_string());
                last = from;
            }
            out(&format!("  -> {:<10} {}", text(&plan["to"]), about(plan)));
        }
        if let Some(versions) = graph["reachable"].as_array().filter(|all| !all.is_empty()) {
            let names: Vec<_> = versions.iter().map(text).collect();
            out(&format!("can be reached: {}", names.join(", ")));
        }
        if let Some(way) = graph["way"].as_array() {
            let mut line = way.first().map_or("", |hop| text(&hop["from"])).to_owned();
            for hop in way {
                line.push_str(" -> ");
                line.push_str(text(&hop["to"]));
            }
            out(&format!("the way: {}", style(line).bold()));
        }
    }
}

fn about(plan: &Value) -> String {
    let mut line = format!("{} {}", text(&plan["type"]), text(&plan["file"]));
    if plan["mandatory_stop"] == true {
        line.push_str(&format!(
            "; {}: no way passes over {}",
            style("mandatory stop").yellow(),
            text(&plan["to"])
        ));
    }
    if let Some(reason) = plan["withdrawn"].as_str() {
        line.push_str(&format!("; {}: {reason}", style("withdrawn").red()));
    }
    if let Some(problem) = plan["problem"].as_str() {
        line.push_str(&format!("; {}: {problem}", style("can't be used").red()));
    }
    line.trim_start().to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
