//! The one duration parser: serde's `{"secs":30,"nanos":0}` and short texts like `"30s"`.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};

/// Parses `"30s"`, `"1m 30s"`, `"2h"`, `"500ms"`, `"1d"`; numbers must be whole and carry a unit.
///
/// # Errors
/// The reason, as a lowercase fragment.
pub fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("empty duration".into());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let number: u64 = rest[..digits]
            .parse()
            .map_err(|_| format!("{text:?} is not a duration like \"30s\" or \"1m 30s\""))?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let unit_ms: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" | "sec" | "secs" => 1_000,
            "m" | "min" | "mins" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "" => {
                return Err(format!(
                    "{text:?} has a number without a unit (ms, s, m, h, d)"
                ));
            }
            other => return Err(format!("{other:?} is not a unit of time (ms, s, m, h, d)")),
        };
        let part = number
            .checked_mul(unit_ms)
            .map(Duration::from_millis)
            .and_then(|part| total.checked_add(part));
        total = part.ok_or_else(|| format!("{text:?} is too long a duration"))?;
        rest = rest[letters..].trim_start();
    }
    Ok(total)
}

/// Writes a duration as people read it: `0.4s`, `12s`, `3m 05s`, `2h 10m`.
pub fn human(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{secs}s"),
        60..3600 => format!("{}m {:02}s", secs / 60, secs % 60),
        _ => format!("{}h {:02}m", secs / 3600, secs % 3600 / 60),
    }
}

/// Serializes in serde's own form, `{"secs":..,"nanos":..}`. For `#[serde(with)]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let mut out = serializer.serialize_struct("Duration", 2)?;
    out.serialize_field("secs", &duration.as_secs())?;
    out.serialize_field("nanos", &duration.subsec_nanos())?;
    out.end()
}

/// Deserializes both forms. For `#[serde(with)]`.
///
/// # Errors
/// What is wrong with the value.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(EitherForm)
}

struct EitherForm;

impl<'de> Visitor<'de> for EitherForm {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration like \"30s\" or {\"secs\":30,\"nanos\":0}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Duration, A::Error> {
        let (mut secs, mut nanos) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "secs" => secs = Some(map.next_value::<u64>()?),
                "nanos" => nanos = Some(map.next_value::<u32>()?),
                other => return Err(de::Error::unknown_field(other, &["secs", "nanos"])),
            }
        }
        let secs = secs.ok_or_else(|| de::Error::missing_field("secs"))?;
        let nanos = nanos.unwrap_or(0);
        if nanos >= 1_000_000_000 {
            return Err(de::Error::custom("nanos must be below 1000000000"));
        }
        Ok(Duration::new(secs, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_short_texts() {
        for (text, ms) in [
            ("30s", 30_000),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
            ("500ms", 500),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            "30",
            "s",
            "-3s",
            "3 parsecs",
            "99999999999999999999d",
            "1.5s",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
