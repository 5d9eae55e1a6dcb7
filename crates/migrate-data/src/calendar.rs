//! Moments and days as PostgreSQL counts them, and as it writes them. Pure.
//!
//! Microseconds and days are counted from 2000-01-01, the whole count's ends are the infinities,
//! and the calendar is Gregorian throughout
//! (<https://www.postgresql.org/docs/current/datetime-units-history.html>). Days become dates by
//! the reckoning of <https://howardhinnant.github.io/date_algorithms.html>.

use std::fmt::Write as _;

const DAY: i64 = 86_400_000_000;

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH: i64 = 10_957;

/// A moment as `YYYY-MM-DD HH:MM:SS` with its fraction, less zeros at its end.
pub(crate) fn write(micros: i64, out: &mut String) {
    if micros == i64::MAX || micros == i64::MIN {
        out.push_str(if micros > 0 { "infinity" } else { "-infinity" });
        return;
    }
    let (year, month, day) = date_of(micros.div_euclid(DAY));
    let clock = micros.rem_euclid(DAY);
    let (seconds, fraction) = (clock / 1_000_000, clock % 1_000_000);
    // Year 0 is the first one before Christ.
    let (shown, before) = if year > 0 {
        (year, "")
    } else {
        (1 - year, " BC")
    };
    if shown > 9_999 {
        out.push_str(&shown.to_string());
    } else {
        two(out, shown / 100);
        two(out, shown % 100);
    }
    for (mark, number) in [
        ('-', month),
        ('-', day),
        (' ', seconds / 3_600),
        (':', seconds / 60 % 60),
        (':', seconds % 60),
    ] {
        out.push(mark);
        two(out, number);
    }
    if fraction > 0 {
        let _ = write!(out, ".{fraction:06}");
        out.truncate(out.trim_end_matches('0').len());
    }
    out.push_str(before);
}

fn two(out: &mut String, number: i64) {
    let digit = |number: i64| char::from(b'0' + u8::try_from(number % 10).unwrap_or(0));
    out.push(digit(number / 10));
    out.push(digit(number));
}

/// A text without its zone, where that is UTC.
pub(crate) fn at_utc(text: &str) -> Option<&str> {
    ["+00:00", "+00", "Z"]
        .iter()
        .find_map(|zone| text.strip_suffix(zone))
}

/// What [`write`] wrote, or the same with a `T` in the middle; none for any other form of a moment.
pub(crate) fn read(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let days = read_day(date)?;
    let clock = rest.as_bytes();
    if clock.len() < 9 || !matches!(clock[0], b' ' | b'T') || clock[3] != b':' || clock[6] != b':' {
        return None;
    }
    let (hours, minutes, seconds) = (
        number(&clock[1..3])?,
        number(&clock[4..6])?,
        number(&clock[7..9])?,
    );
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let fraction = match &clock[9..] {
        [] => 0,
        [b'.', digits @ ..] if !digits.is_empty() && digits.len() <= 6 => {
            let missing = u32::try_from(6 - digits.len()).ok()?;
            number(digits)? * 10_i64.pow(missing)
        }
        _ => return None,
    };
    Some(days * DAY + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction)
}

/// The count of a day that is written `YYYY-MM-DD`; none for any other form.
pub(crate) fn read_day(text: &str) -> Option<i64> {
    let date = text.as_bytes();
    if date.len() != 10 || date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let (year, month, day) = (
        number(&date[..4])?,
        number(&date[5..7])?,
        number(&date[8..])?,
    );
    let days = days_of(year, month, day);
    // A day that there is none of would come back as another.
    (year > 0 && date_of(days) == (year, month, day)).then_some(days)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

/// Year, month and day of a count of days.
fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + EPOCH + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + days - 719_468 - EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(micros: i64) -> String {
        let mut text = String::new();
        write(micros, &mut text);
        text
    }

    // What PostgreSQL itself writes is compared in tests/copies/elsewhere.rs.
    #[test]
    fn moments_are_written_and_read_back() {
        for (micros, text) in [
            (0, "2000-01-01 00:00:00"),
            (-1, "1999-12-31 23:59:59.999999"),
            (500_000, "2000-01-01 00:00:00.5"),
            (760_060_800_000_000, "2024-02-01 00:00:00"),
            (5_097_600_000_000, "2000-02-29 00:00:00"),
        ] {
            assert_eq!(written(micros), text);
            assert_eq!(read(text), Some(micros), "{text}");
        }
        for day in (-730_000..2_900_000).step_by(17) {
            let micros = day * DAY + 3_723_000_010;
            let text = written(micros);
            let again = read(&text);
            assert!(again == Some(micros) || text.ends_with("BC"), "{text}");
        }
    }

    #[test]
    fn far_moments_are_written_and_left_to_the_server_to_read() {
        for (micros, text) in [
            (i64::MAX, "infinity"),
            (i64::MIN, "-infinity"),
            (252_455_616_000_000_000, "10000-01-01 00:00:00"),
            (-63_113_904_000_000_000, "0001-01-01 00:00:00 BC"),
        ] {
            assert_eq!(written(micros), text);
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn other_forms_are_not_read() {
        for text in [
            "",
            "2024-02-30 00:00:00",
            "2023-02-29 00:00:00",
            "2024-13-01 00:00:00",
            "2024-01-01t00:00:00",
            "2024-01-01 24:00:00",
            "2024-01-01 00:00:60",
            "2024-01-01 00:00",
            "2024-01-01 00:00:00.",
            "2024-01-01 00:00:00.1234567",
            "2024-01-01 00:00:00+00",
            "0000-01-01 00:00:00",
            "now",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("2000-01-01T00:00:01"), Some(1_000_000));
        for zone in ["Z", "+00", "+00:00"] {
            assert_eq!(
                at_utc(&format!("2000-01-01 00:00:00{zone}")),
                Some("2000-01-01 00:00:00")
            );
        }
        assert_eq!(at_utc("2000-01-01 00:00:00-00:30"), None);
        assert_eq!(read_day("2000-03-01"), Some(60));
        assert_eq!(read_day("2000-02-30"), None);
    }
}
