//! Dates and times in SQLite's text forms, read by the rules of its own date functions.

use chrono::{DateTime, Duration, NaiveDate, Utc};

/// The moment that `text` names, at UTC, as `YYYY-MM-DD HH:MM:SS` with its fraction as written,
/// less zeros at its end.
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
    let day = NaiveDate::from_ymd_opt(year.into(), u32::from(month), u32::from(day))?;
    let midnight: DateTime<Utc> = day.and_hms_opt(0, 0, 0)?.and_utc();
    let moment = midnight + Duration::seconds(time.seconds) - Duration::minutes(time.offset);
    let in_range = moment.format("%Y").to_string().len() == 4;
    let point = if time.fraction.is_empty() { "" } else { "." };
    let whole = moment.format("%Y-%m-%d %H:%M:%S");
    in_range.then(|| format!("{whole}{point}{}", time.fraction))
}

#[derive(Default)]
struct Time<'a> {
    /// Since midnight, whole.
    seconds: i64,
    /// Digits after the point, less zeros at the end.
    fraction: &'a str,
    /// Minutes east of Greenwich.
    offset: i64,
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
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

    fn time(&mut self) -> Option<Time<'a>> {
        let (hours, minutes) = (self.digits(2, 0, 24)?, self.after(b':', 2, 0, 59)?);
        let (mut seconds, mut fraction) = (0, "");
        if self.eat(b':') {
            seconds = self.digits(2, 0, 59)?;
            if self.first() == b'.' && self.0.get(1).is_some_and(u8::is_ascii_digit) {
                self.eat(b'.');
                fraction = self.fraction();
            }
        }
        Some(Time {
            seconds: i64::from(hours) * 3_600 + i64::from(minutes) * 60 + i64::from(seconds),
            fraction,
            offset: self.offset()?,
        })
    }

    fn fraction(&mut self) -> &'a str {
        let digits = self.0.iter().take_while(|c| c.is_ascii_digit()).count();
        let (fraction, rest) = self.0.split_at(digits);
        self.0 = rest;
        std::str::from_utf8(fraction)
            .expect("digits are text")
            .trim_end_matches('0')
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
