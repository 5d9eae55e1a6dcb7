//! What becomes of rows that can't be moved.

use std::fmt;
use std::str::FromStr;

/// What becomes of a row that the transform or the target refuses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum BadRows {
    /// The copy fails, and is taken back; the error names the row.
    #[default]
    Fail,
    /// The row is kept aside with the reason, and the copy goes on: at most so many.
    Quarantine(Budget),
}

/// How many rows may be kept aside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// So many.
    Rows(u64),
    /// So many of a hundred rows of the source.
    Percent(f64),
}

impl BadRows {
    /// How many rows of so many may be kept aside; none where one already fails the copy.
    pub(crate) fn budget(self, rows: u64) -> Option<u64> {
        match self {
            Self::Fail => None,
            Self::Quarantine(Budget::Rows(most)) => Some(most),
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a number of rows, between none and all"
            )]
            Self::Quarantine(Budget::Percent(share)) => {
                Some((rows as f64 * share / 100.0).floor() as u64)
            }
        }
    }
}

impl FromStr for BadRows {
    type Err = String;

    /// Reads `fail`, `quarantine 100` or `quarantine 0.1%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} does not say what becomes of bad rows: \
                 use fail, \"quarantine 100\" or \"quarantine 0.1%\""
            )
        };
        let text = text.trim();
        if text == "fail" {
            return Ok(Self::Fail);
        }
        let budget = text.strip_prefix("quarantine").ok_or_else(wrong)?;
        if !budget.starts_with(char::is_whitespace) {
            return Err(wrong());
        }
        let budget = budget.trim();
        let budget = match budget.strip_suffix('%') {
            Some(share) => match share.trim().parse::<f64>() {
                Ok(share) if (0.0..=100.0).contains(&share) => Budget::Percent(share),
                _ => return Err(wrong()),
            },
            None => Budget::Rows(budget.parse().map_err(|_| wrong())?),
        };
        Ok(Self::Quarantine(budget))
    }
}

impl fmt::Display for BadRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail => f.write_str("fail"),
            Self::Quarantine(Budget::Rows(most)) => write!(f, "quarantine {most}"),
            Self::Quarantine(Budget::Percent(share)) => write!(f, "quarantine {share}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_shown() {
        for (text, policy, of_2000) in [
            ("fail", BadRows::Fail, None),
            (
                "quarantine 100",
                BadRows::Quarantine(Budget::Rows(100)),
                Some(100),
            ),
            (
                "quarantine 0.1%",
                BadRows::Quarantine(Budget::Percent(0.1)),
                Some(2),
            ),
            (
                "quarantine 0",
                BadRows::Quarantine(Budget::Rows(0)),
                Some(0),
            ),
            (
                "quarantine 0.04%",
                BadRows::Quarantine(Budget::Percent(0.04)),
                Some(0),
            ),
        ] {
            assert_eq!(text.parse::<BadRows>().unwrap(), policy);
            assert_eq!(policy.to_string(), text);
            assert_eq!(policy.budget(2_000), of_2000, "{text}");
        }
        for text in [
            "",
            "ignore",
            "quarantine",
            "quarantine100",
            "quarantine -1",
            "quarantine 101%",
            "quarantine x%",
            "quarantine 1.5",
            "quarantine NaN%",
        ] {
            assert!(text.parse::<BadRows>().is_err(), "{text}");
        }
    }
}
