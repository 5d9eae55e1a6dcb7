//! The shape of a query's result as one JSON value.

#[cfg(feature = "postgres")]
use migrate_core::check_value;
use serde_json::Value;
#[cfg(feature = "postgres")]
use serde_json::value::RawValue;

/// A scalar for one row of one column, an array for one row of more, else an array of arrays.
pub(super) fn shape(mut rows: Vec<Vec<Value>>) -> Value {
    if rows.len() != 1 {
        return Value::Array(rows.into_iter().map(Value::Array).collect());
    }
    let mut row = rows.pop().unwrap_or_default();
    match row.len() {
        1 => row.pop().unwrap_or_default(),
        _ => Value::Array(row),
    }
}

/// The values of a JSON object in their order, those of a repeated name included (a map would
/// keep one of them). Numbers keep their value: [`check_value::written`].
#[cfg(feature = "postgres")]
pub(super) fn object_values(json: &str) -> Result<Vec<Value>, serde_json::Error> {
    let entries = entries(json)?.into_iter();
    entries.map(|(_, raw)| exact(raw)).collect()
}

#[cfg(feature = "postgres")]
fn entries(json: &str) -> Result<Vec<(String, &RawValue)>, serde_json::Error> {
    use serde::de::{Deserializer, MapAccess, Visitor};

    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }

    serde_json::Deserializer::from_str(json).deserialize_map(Entries)
}

/// A value with its numbers as they are written.
#[cfg(feature = "postgres")]
fn exact(raw: &RawValue) -> Result<Value, serde_json::Error> {
    let text = raw.get();
    // It also refuses what is nested too deeply.
    let plain: Value = serde_json::from_str(text)?;
    if !has_float(&plain) {
        return Ok(plain);
    }
    match plain {
        Value::Array(_) => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            items.into_iter().map(exact).collect()
        }
        Value::Object(_) => {
            let entries = entries(text)?.into_iter();
            entries.map(|(name, raw)| Ok((name, exact(raw)?))).collect()
        }
        _ => Ok(check_value::written(text)),
    }
}

#[cfg(feature = "postgres")]
fn has_float(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_float),
        Value::Object(map) => map.values().any(has_float),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_has_the_documented_shape() {
        assert_eq!(shape(vec![]), json!([]));
        assert_eq!(shape(vec![vec![json!(1)]]), json!(1));
        assert_eq!(shape(vec![vec![json!(1), json!(null)]]), json!([1, null]));
        assert_eq!(
            shape(vec![vec![json!(1)], vec![json!(2)]]),
            json!([[1], [2]])
        );
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn repeated_names_keep_their_values() {
        let values = object_values(r#"{"b":1,"a":{"x":[2]},"b":null}"#).unwrap();
        assert_eq!(values, vec![json!(1), json!({"x":[2]}), json!(null)]);
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn decimals_keep_their_digits_wherever_they_stand() {
        let row = r#"{"a":0.10000000000000000001,"b":[0.5,{"c":-1.00000000000000000001}],"d":9007199254740993}"#;
        assert_eq!(
            object_values(row).unwrap(),
            vec![
                json!("0.10000000000000000001"),
                json!([0.5, {"c": "-1.00000000000000000001"}]),
                json!(9_007_199_254_740_993_i64),
            ]
        );
    }
}
