//! The shape of a query's result as one JSON value.

use serde_json::Value;

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
/// keep one of them).
#[cfg(feature = "postgres")]
pub(super) fn object_values(json: &str) -> Result<Vec<Value>, serde_json::Error> {
    use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

    struct Values;

    impl<'de> Visitor<'de> for Values {
        type Value = Vec<Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a row as a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Value>, A::Error> {
            let mut values = Vec::new();
            while let Some((_, value)) = map.next_entry::<IgnoredAny, Value>()? {
                values.push(value);
            }
            Ok(values)
        }
    }

    serde_json::Deserializer::from_str(json).deserialize_map(Values)
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
}
