//! What one measurement gave: a value, the progress of a Job, or the exact reason why there is no
//! value. Data only; the judge reads it, the providers make it.
//!
//! An error text never carries an answer's body beyond [`DETAIL_LIMIT`] and never a credential.

mod look;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use self::look::{Clocks, Look, NativeBucket, NativeBuckets, Series};

/// Longest foreign text, in characters, that is repeated in a message.
pub const DETAIL_LIMIT: usize = 300;
/// Longest text of a measured value that is kept in status, in characters.
const VALUE_LIMIT: usize = 1024;

/// A measured value, before any condition is applied.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A PromQL scalar.
    Number(f64),
    /// The values of a PromQL vector or matrix, one a sample; empty when no series matched.
    Numbers(Vec<f64>),
    /// Any JSON, from a web answer.
    Json(Value),
}

/// One successful answer of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The value.
    pub value: SampleValue,
    /// Notes to keep with the measurement; never secret.
    pub metadata: BTreeMap<String, String>,
}

impl From<SampleValue> for Sample {
    fn from(value: SampleValue) -> Self {
        Self { value, metadata: BTreeMap::new() }
    }
}

/// Writes a number as Prometheus does.
fn write_number(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    if number.is_nan() {
        f.write_str("NaN")
    } else if number.is_infinite() {
        f.write_str(if number > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        write!(f, "{number}")
    }
}

impl fmt::Display for SampleValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write_number(f, *number),
            Self::Numbers(numbers) => {
                f.write_str("[")?;
                for (index, number) in numbers.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    write_number(f, *number)?;
                }
                f.write_str("]")
            }
            Self::Json(json) => write!(f, "{json}"),
        }
    }
}

impl SampleValue {
    /// The text that status keeps, shortened when long.
    pub fn to_status_text(&self) -> String {
        shortened(&self.to_string(), VALUE_LIMIT)
    }
}

/// `text` in at most `limit` characters, control characters replaced by spaces.
pub fn shortened(text: &str, limit: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut characters = text.chars();
    let mut short: String = characters.by_ref().take(limit).map(clean).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

/// Why there is no value. None of these is 0, success or failure.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MeasureError {
    /// No connection, or it broke.
    #[error("{address} cannot be reached: {detail}")]
    Unreachable {
        /// Scheme, host and port.
        address: String,
        /// What the transport said.
        detail: String,
    },
    /// No complete answer in time.
    #[error("{address} gave no complete answer within {}", Seconds(*.limit))]
    TimedOut {
        /// Scheme, host and port.
        address: String,
        /// The time limit.
        limit: Duration,
    },
    /// The server answered, and refused.
    #[error("{address} refused the request with status {status}: {detail}")]
    Rejected {
        /// Scheme, host and port.
        address: String,
        /// HTTP status.
        status: u16,
        /// Its own words, shortened; empty for bodies of unknown form.
        detail: String,
    },
    /// The server answered and said that data is missing.
    #[error("the answer is incomplete: {}", .warnings.join("; "))]
    PartialData {
        /// The server's warnings, shortened.
        warnings: Vec<String>,
    },
    /// The answer holds no value.
    #[error("no data: {0}")]
    NoData(String),
    /// The answer holds something that is not a number where one is needed.
    #[error("not a number: {0}")]
    NotANumber(String),
    /// The answer is larger than we read.
    #[error("the answer exceeds {limit} bytes")]
    TooLarge {
        /// Most bytes that are read.
        limit: usize,
    },
    /// The answer cannot be understood.
    #[error("the answer cannot be understood: {0}")]
    Malformed(String),
    /// The address may not be used.
    #[error("address {address} is not permitted: {reason}")]
    NotPermitted {
        /// What was asked for.
        address: String,
        /// Why not, and what would be right.
        reason: String,
    },
    /// The request cannot be made: a reference, a query or an option is wrong.
    #[error("{0}")]
    Unusable(String),
}

impl MeasureError {
    /// A short, bounded word for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Rejected { .. } => "rejected",
            Self::PartialData { .. } => "partial_data",
            Self::NoData(_) => "no_data",
            Self::NotANumber(_) => "not_a_number",
            Self::TooLarge { .. } => "too_large",
            Self::Malformed(_) => "malformed",
            Self::NotPermitted { .. } => "not_permitted",
            Self::Unusable(_) => "unusable",
        }
    }
}

/// A duration as seconds, for messages.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

/// What a measurement has come to.
#[derive(Clone, Debug, PartialEq)]
pub enum MeasurementResult {
    /// A value; conditions decide what it means.
    Sample(Sample),
    /// Raw samples of both arms; counts are made of them.
    Look(Box<Look>),
    /// The Job completed.
    JobSucceeded {
        /// Where to find it.
        metadata: BTreeMap<String, String>,
    },
    /// The Job failed.
    JobFailed {
        /// Where to find it.
        metadata: BTreeMap<String, String>,
        /// Kubernetes' own words.
        message: String,
    },
    /// The Job cannot end by itself (an image that cannot be pulled).
    JobStuck {
        /// Where to find it.
        metadata: BTreeMap<String, String>,
        /// What it waits for.
        message: String,
    },
    /// The Job runs; look again at `resume_at`.
    InProgress {
        /// Where to find it.
        metadata: BTreeMap<String, String>,
        /// Time of the next look.
        resume_at: DateTime<Utc>,
    },
    /// The Job was deleted because the run ends.
    Cancelled,
    /// No value.
    Error(MeasureError),
}

/// A measurement that came back, to be handed to the judge.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasurementOutcome {
    /// Name of the metric.
    pub metric: String,
    /// Ordinal number of the measurement within its metric, from 1; the same for all looks at one
    /// Job. It is what keeps an outcome from being counted twice.
    pub ordinal: u32,
    /// When it was started; for a resumed measurement, when this look was.
    pub started_at: DateTime<Utc>,
    /// When it came back.
    pub finished_at: DateTime<Utc>,
    /// What it gave.
    pub result: MeasurementResult,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_prometheus_writes_them() {
        let values =
            SampleValue::Numbers(vec![0.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0]);
        assert_eq!(values.to_string(), "[0.5,NaN,+Inf,-Inf,3]");
        assert_eq!(SampleValue::Number(1e-7).to_string(), "0.0000001");
    }

    #[test]
    fn long_foreign_text_is_cut_and_cannot_forge_lines() {
        assert_eq!(shortened("a\nb\u{1b}[0m", 10), "a b [0m");
        assert_eq!(shortened("äöüß", 3), "äöü…");
    }
}
