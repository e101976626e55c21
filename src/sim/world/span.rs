//! Delays as they stand in schedules: one time, or two between which each delay is drawn evenly.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::api::values::IntOrString;

/// A delay in whole milliseconds: `2s`, or `500ms..4s` for any time between the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    least: u64,
    most: u64,
}

impl Span {
    /// None at all.
    pub const ZERO: Self = Self::ms(0);

    /// Exactly so many milliseconds.
    pub const fn ms(milliseconds: u64) -> Self {
        Self { least: milliseconds, most: milliseconds }
    }

    /// Exactly so many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self::ms(seconds * 1000)
    }

    /// Any time between two numbers of milliseconds; the order does not matter.
    pub const fn between_ms(one: u64, other: u64) -> Self {
        if one <= other {
            Self { least: one, most: other }
        } else {
            Self { least: other, most: one }
        }
    }

    /// The shortest delay.
    pub fn least(self) -> Duration {
        Duration::from_millis(self.least)
    }

    /// The longest delay.
    pub fn most(self) -> Duration {
        Duration::from_millis(self.most)
    }

    /// The delay that 64 random bits choose.
    pub(crate) fn chosen_by(self, bits: u64) -> TimeDelta {
        let choices = (self.most - self.least).saturating_add(1);
        let chosen = self.least + bits % choices;
        TimeDelta::milliseconds(i64::try_from(chosen).unwrap_or(i64::MAX))
    }
}

/// `1500` becomes `1500ms`, `2000` becomes `2s`.
fn text(milliseconds: u64) -> String {
    if milliseconds.is_multiple_of(1000) {
        format!("{}s", milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most {
            f.write_str(&text(self.least))
        } else {
            write!(f, "{}..{}", text(self.least), text(self.most))
        }
    }
}

/// The text is no delay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a delay: write a time such as 2s, 1m30s or 500ms, or two as in 500ms..4s")]
pub struct InvalidSpan(String);

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(given: &str) -> Result<Self, InvalidSpan> {
        let invalid = || InvalidSpan(given.to_owned());
        let one = |text: &str| {
            let time = IntOrString::Text(text.trim().to_owned()).as_duration().ok();
            time.and_then(|time| u64::try_from(time.num_milliseconds()).ok()).ok_or_else(invalid)
        };
        match given.split_once("..") {
            None => one(given).map(Self::ms),
            Some((least, most)) => Ok(Self::between_ms(one(least)?, one(most)?)),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_reads_what_it_writes() {
        for text in ["0s", "2s", "1500ms", "500ms..4s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("1m30s".parse::<Span>(), Ok(Span::secs(90)));
        assert_eq!("4s..1s".parse::<Span>(), Ok(Span::between_ms(1000, 4000)));
        for bad in ["", "soon", "1s..", "-1s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_drawn_delay_lies_between_its_ends() {
        let span = Span::between_ms(10, 12);
        let drawn: Vec<i64> = (0..4).map(|bits| span.chosen_by(bits).num_milliseconds()).collect();
        assert_eq!(drawn, [10, 11, 12, 10]);
        assert_eq!(Span::between_ms(0, u64::MAX / 2).least(), Duration::ZERO);
    }
}
