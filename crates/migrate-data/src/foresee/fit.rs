//! Whether a value fits a column's type, as a condition of SQL. Pure.

/// A type of PostgreSQL without the length to which a cast would cut a value in silence.
pub(super) fn without_length(type_name: &str) -> &str {
    if type_name.ends_with(']') {
        return type_name;
    }
    if type_name.starts_with("character varying(") {
        return "character varying";
    }
    if type_name.starts_with("character(") {
        return "bpchar";
    }
    type_name
}

/// Whether text is too long for its column on PostgreSQL; blanks at its end are cut off by an INSERT too.
pub(super) fn too_long(type_name: &str, value: &str) -> Option<String> {
    let rest = type_name.strip_prefix("character varying(");
    let rest = rest.or_else(|| type_name.strip_prefix("character("))?;
    let most: u32 = rest.strip_suffix(')')?.parse().ok()?;
    Some(format!(
        "rtrim(substr(CAST({value} AS text), {}), ' ') <> ''",
        most + 1
    ))
}

/// Whether SQLite would refuse a value by its class: in a STRICT table, or for a rowid.
pub(super) fn wrong_class(
    refuses: bool,
    strict: bool,
    type_name: &str,
    value: &str,
) -> Option<String> {
    if !refuses {
        return None;
    }
    // A comparison with a NUMERIC reads text as a column of numbers would.
    let no_number = format!("typeof({value}) = 'text' AND CAST({value} AS NUMERIC) <> {value}");
    let blob = format!("typeof({value}) = 'blob'");
    match type_name.to_uppercase().as_str() {
        "INT" | "INTEGER" => Some(format!(
            "({blob} OR ({no_number}) OR (typeof({value}) <> 'null' AND CAST({value} AS NUMERIC) <> CAST({value} AS INTEGER)))"
        )),
        "REAL" => Some(format!("({blob} OR ({no_number}))")),
        "TEXT" if strict => Some(blob),
        "BLOB" if strict => Some(format!("typeof({value}) NOT IN ('blob', 'null')")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_from_types() {
        for (type_name, bare, most) in [
            ("character varying(30)", "character varying", Some(31)),
            ("character(3)", "bpchar", Some(4)),
            ("character varying", "character varying", None),
            ("character varying(3)[]", "character varying(3)[]", None),
            ("numeric(10,2)", "numeric(10,2)", None),
            ("text", "text", None),
        ] {
            assert_eq!(without_length(type_name), bare);
            let expected =
                most.map(|at| format!("rtrim(substr(CAST(v AS text), {at}), ' ') <> ''"));
            assert_eq!(too_long(type_name, "v"), expected, "{type_name}");
        }
    }
}
