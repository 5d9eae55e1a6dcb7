//! Whether a query found what a check expected: pure.

use serde_json::Value;

/// Compares an expected result with a found one.
///
/// Numbers compare by value (`3` equals `3.0`, and `"3"` does not). `true` and `false` also
/// equal 1 and 0, since SQLite has no bool. A row equals a list of its values, and a row of one
/// column its only value.
pub fn matches(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(a), Value::Number(b)) => {
            a == b
                || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a.total_cmp(&b).is_eq())
        }
        (Value::Bool(expected), Value::Number(found)) => {
            found.as_i64() == Some(i64::from(*expected))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| matches(a, b))
        }
        (Value::Array(row), one) | (one, Value::Array(row)) if !one.is_array() => {
            row.len() == 1
                && matches(
                    if expected.is_array() { &row[0] } else { one },
                    if expected.is_array() { one } else { &row[0] },
                )
        }
        _ => expected == found,
    }
}

/// What was found in the expected one's own type, where that is the same: SQLite's 0 is shown
/// as `false` beside an expected `true`.
pub fn shown(expected: &Value, found: Value) -> Value {
    match (expected, found.as_i64()) {
        (Value::Bool(_), Some(number @ (0 | 1))) => Value::Bool(number == 1),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn compares_by_value() {
        for (expected, found, equal) in [
            (json!(3), json!(3.0), true),
            (json!(3), json!("3"), false),
            (json!(true), json!(1), true),
            (json!(true), json!(2), false),
            (json!(false), json!(0), true),
            (json!(null), json!(null), true),
            (json!(null), json!(0), false),
            (json!([1, "a"]), json!([1, "a"]), true),
            (json!([[1], [2]]), json!([[1], [2]]), true),
            (json!([[1], [2]]), json!([[1]]), false),
            (json!([5]), json!(5), true),
            (json!(5), json!([5]), true),
            (json!([]), json!([]), true),
            (json!([]), json!(null), false),
        ] {
            assert_eq!(matches(&expected, &found), equal, "{expected} {found}");
        }
    }

    #[test]
    fn shows_a_number_as_the_bool_that_was_expected() {
        assert_eq!(shown(&json!(true), json!(0)), json!(false));
        assert_eq!(shown(&json!(true), json!(7)), json!(7));
        assert_eq!(shown(&json!(1), json!(0)), json!(0));
    }
}
