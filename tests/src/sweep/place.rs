//! Where a run can be struck: what the trace of a clean run names.

use std::collections::HashMap;

/// The nth passing of a named place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The place's name.
    pub name: String,
    /// Which passing, from 1.
    pub nth: u32,
}

/// The places of a trace, in order.
pub fn of_trace(text: &str) -> Vec<Place> {
    let mut counts: HashMap<&str, u32> = HashMap::new();
    text.lines()
        .map(|name| {
            let count = counts.entry(name).or_default();
            *count += 1;
            Place {
                name: name.to_owned(),
                nth: *count,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::of_trace;

    #[test]
    fn passings_are_counted_by_name() {
        let places = of_trace("a\nb\na\n");
        let shown: Vec<String> = places
            .iter()
            .map(|p| format!("{}:{}", p.name, p.nth))
            .collect();
        assert_eq!(shown, ["a:1", "b:1", "a:2"]);
    }
}
