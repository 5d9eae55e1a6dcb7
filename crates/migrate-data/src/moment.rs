//! Dates and times in SQLite's text forms, read by the rules of its own date functions.

use chrono::{DateTime, Duration, NaiveDate, Utc};

/// The moment that `text` names, at UTC, as `YYYY-MM-DD HH:MM:SS[.fff]`.
///
/// The text begins with a date and is what SQLite's date functions take (`date.c`,
/// `parseYyyyMmDd`): a time after blanks or `T`, seconds and a fraction if wanted, then `Z` or an
/// offset. Anything else, and a moment outside the years 0 to 9999, is none.
pub(crate) fn at_utc(text: &str) -> Option<String> {
    let mut rest = Rest(text.as_bytes());
    let (year, month, day) = (
        rest.digits(4, 0, 9999)?,
        rest.after(b'-', 2, 1, 12)?,
        rest.after(b'-', 2, 1, 31)?,
    );
    rest.skip(|c| is_space(c) || c == b'T');
    let time = if rest.0.is_empty() {
        Time::default()
    } else {
        rest.time()?
    };
    // A day past the end of its month is one of the next month, as SQLite has it.
    let first = NaiveDate::from_ymd_opt(year.into(), u32::from(month), 1)?;
    let midnight: DateTime<Utc> =
        first.and_hms_opt(0, 0, 0)?.and_utc() + Duration::days(i64::from(day) - 1);
    let moment = midnight + Duration::milliseconds(time.millis) - Duration::minutes(time.offset);
    let in_range = moment.format("%Y").to_string().len() == 4;
    let form = if time.millis % 1000 == 0 {
        "%Y-%m-%d %H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S%.3f"
    };
    in_range.then(|| moment.format(form).to_string())
}

#[derive(Default)]
struct Time {
    /// Since midnight.
    millis: i64,
    /// Minutes east of Greenwich.
    offset: i64,
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn first(&self) -> u8 {
        self.0.first().copied().unwrap_or(0)
    }

    fn skip(&mut self, what: impl Fn(u8) -> bool) {
        while !self.0.is_empty() && what(self.first()) {
            self.0 = &self.0[1..];
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.0.first() == Some(&byte);
        if there {
            self.0 = &self.0[1..];
        }
        there
    }

    fn digits(&mut self, count: usize, least: u16, most: u16) -> Option<u16> {
        let digits = self.0.get(..count)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let value = digits
            .iter()
            .fold(0, |sum, d| sum * 10 + u16::from(d - b'0'));
        self.0 = &self.0[count..];
        (least..=most).contains(&value).then_some(value)
    }

    fn after(&mut self, byte: u8, count: usize, least: u16, most: u16) -> Option<u16> {
        if self.eat(byte) {
            self.digits(count, least, most)
        } else {
            None
        }
    }

    fn time(&mut self) -> Option<Time> {
        let (hours, minutes) = (self.digits(2, 0, 24)?, self.after(b':', 2, 0, 59)?);
        let mut seconds = 0.0;
        if self.eat(b':') {
            seconds = f64::from(self.digits(2, 0, 59)?);
            if self.first() == b'.' && self.0.get(1).is_some_and(u8::is_ascii_digit) {
                self.eat(b'.');
                seconds += self.fraction();
            }
        }
        let offset = self.offset()?;
        // Rounded as SQLite rounds it.
        #[expect(clippy::cast_possible_truncation, reason = "less than 60,000")]
        let millis = (seconds * 1000.0 + 0.5) as i64;
        Some(Time {
            millis: i64::from(hours) * 3_600_000 + i64::from(minutes) * 60_000 + millis,
            offset,
        })
    }

    fn fraction(&mut self) -> f64 {
        let (mut value, mut scale) = (0.0, 1.0);
        while self.first().is_ascii_digit() {
            value = value * 10.0 + f64::from(self.first() - b'0');
            scale *= 10.0;
            self.0 = &self.0[1..];
        }
        // SQLite cuts here so that a fraction never becomes the next second.
        (value / scale).min(0.999)
    }

    fn offset(&mut self) -> Option<i64> {
        self.skip(is_space);
        let sign = match self.first() {
            b'-' => -1,
            b'+' => 1,
            b'Z' | b'z' => 0,
            _ => return self.0.is_empty().then_some(0),
        };
        self.0 = &self.0[1..];
        let mut minutes = 0;
        if sign != 0 {
            minutes = i64::from(self.digits(2, 0, 14)?) * 60;
            minutes += i64::from(self.after(b':', 2, 0, 59)?);
        }
        self.skip(is_space);
        self.0.is_empty().then_some(sign * minutes)
    }
}

fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}
