//! Whether a query found what a check expected: pure.

use serde_json::{Number, Value};

/// Compares an expected result with a found one.
///
/// Numbers are equal by value (`3` equals `3.0`, and `"3"` does not), integers and floats without
/// a fraction exactly. `true` and `false` also equal 1 and 0, since SQLite has no bool. A row
/// equals a list of its values, and a row of one column its only value.
pub fn matches(expected: &Value, found: &Value) -> bool {
    match found {
        Value::Array(row) if !expected.is_array() => {
            matches!(&row[..], [only] if same(expected, only))
        }
        _ => same(expected, found),
    }
}

fn same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::Bool(truth), Value::Number(number))
        | (Value::Number(number), Value::Bool(truth)) => number.as_i64() == Some(i64::from(*truth)),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
                || matches!(&a[..], [only @ Value::Array(_)] if same(only, found))
        }
        (Value::Array(row), one) => matches!(&row[..], [only] if same(only, one)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|found| same(value, found)))
        }
        _ => expected == found,
    }
}

fn same_number(a: &Number, b: &Number) -> bool {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
            _ => false,
        },
        _ => false,
    }
}

/// An integer, or a float that is one.
fn whole(number: &Number) -> Option<i128> {
    if let Some(whole) = number.as_i128() {
        return Some(whole);
    }
    let float = number.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no fraction and an i128 holds it"
    )]
    let whole = float as i128;
    (float.fract() == 0.0 && float.abs() < 2_f64.powi(126)).then_some(whole)
}

/// A number that somebody wrote in decimal digits, as JSON and SQL do: a number where that has the
/// same value, else its digits as text.
///
/// What has an exponent is a float, in PostgreSQL's results too.
pub fn written(digits: &str) -> Value {
    if let Ok(whole) = digits.parse::<i64>() {
        return Value::from(whole);
    }
    if let Ok(whole) = digits.parse::<u64>() {
        return Value::from(whole);
    }
    let text = || Value::from(digits);
    let Ok(float) = digits.parse::<f64>() else {
        return text();
    };
    let is_exact =
        digits.contains(['e', 'E']) || canonical(digits) == canonical(&float.to_string());
    let number = Number::from_f64(float).filter(|_| is_exact);
    number.map_or_else(text, Value::Number)
}

/// Sign, whole part and fraction without the zeros that mean nothing.
fn canonical(digits: &str) -> (bool, &str, &str) {
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (
        whole.trim_start_matches('0'),
        fraction.trim_end_matches('0'),
    );
    (negative, whole, fraction)
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
            (json!(1), json!(true), true),
            (json!([[1, 2]]), json!([1, 2]), true),
            (json!([[7]]), json!(7), true),
            (json!([1, 2]), json!([[1], [2]]), false),
            (json!({"a": 1}), json!({"a": 1.0}), true),
            (json!({"a": 1}), json!({"a": 1, "b": 2}), false),
            (
                json!(9_007_199_254_740_992_u64),
                json!(9_007_199_254_740_993_u64),
                false,
            ),
            (
                json!(9_007_199_254_740_992.0),
                json!(9_007_199_254_740_993_i64),
                false,
            ),
            (
                json!(9_007_199_254_740_992.0),
                json!(9_007_199_254_740_992_i64),
                true,
            ),
            (
                json!(-9_007_199_254_740_993_i64),
                json!(-9_007_199_254_740_992_i64),
                false,
            ),
            (json!(i64::MAX), json!(9_223_372_036_854_775_808.0), false),
            (json!(i64::MIN), json!(-9_223_372_036_854_775_808.0), true),
            (json!(u64::MAX), json!(u64::MAX), true),
            (json!(u64::MAX), json!(u64::MAX - 1), false),
            (json!(u64::MAX), json!(18_446_744_073_709_551_616.0), false),
            (json!(0), json!(-0.0), true),
            (json!(1e300), json!(1e300), true),
            (json!(0.1), json!(0.1), true),
            (json!(0.1), json!("0.10000000000000000001"), false),
        ] {
            assert_eq!(matches(&expected, &found), equal, "{expected} {found}");
        }
    }

    #[test]
    fn a_decimal_that_no_float_holds_stays_text() {
        for (digits, value) in [
            ("1", json!(1)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("18446744073709551615", json!(u64::MAX)),
            ("18446744073709551617", json!("18446744073709551617")),
            ("20000000000000000000", json!(2e19)),
            ("0.1", json!(0.1)),
            ("-0.1000", json!(-0.1)),
            ("0.10000000000000000001", json!("0.10000000000000000001")),
            ("12.50", json!(12.5)),
            ("1.0", json!(1.0)),
            ("0.30000000000000004", json!(0.300_000_000_000_000_04)),
            ("9.999999999999999e+22", json!(1e23)),
            ("1e-7", json!(1e-7)),
        ] {
            assert_eq!(written(digits), value, "{digits}");
        }
    }

    #[test]
    fn shows_a_number_as_the_bool_that_was_expected() {
        assert_eq!(shown(&json!(true), json!(0)), json!(false));
        assert_eq!(shown(&json!(true), json!(7)), json!(7));
        assert_eq!(shown(&json!(1), json!(0)), json!(0));
    }
}
