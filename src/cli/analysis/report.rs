//! What `analysis` tells: the stable shapes of `-o json`, and the same for people.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::api::analysis::MetricComparison;

/// What a run says at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Seen {
    /// The update would be given up.
    Fail,
    /// Everything that decides has passed.
    Pass,
    /// Neither, with values.
    Undecided,
    /// Values are missing: the canary serves nothing, or nothing is exported.
    NoData,
    /// Ended without a verdict; a person would decide.
    Inconclusive,
    /// A limit of errors was passed, or a query cannot be carried out.
    Error,
}

impl Seen {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "FAIL",
            Self::Pass => "PASS",
            Self::Undecided => "UNDECIDED",
            Self::NoData => "NODATA",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Error => "ERROR",
        }
    }
}

/// Where a run stood at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sight {
    /// When.
    pub at: DateTime<Utc>,
    /// What it said.
    pub verdict: Seen,
    /// Evidence and ratio of the metrics that compare, by name.
    pub metrics: BTreeMap<String, MetricSight>,
}

/// Where a metric that compares stood.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricSight {
    /// Decimal logarithm of the evidence against "within its limits".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log10_e_fail: Option<f64>,
    /// Decimal logarithm of the evidence against "at or beyond its margin".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log10_e_pass: Option<f64>,
    /// The ratio is at least this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_lower: Option<f64>,
    /// And at most this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_upper: Option<f64>,
}

impl Sight {
    /// From what the status says.
    pub(super) fn new(at: DateTime<Utc>, verdict: Seen, compared: &[MetricComparison]) -> Self {
        let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
        let decimal =
            |text: &Option<String>| number(text).map(|it: f64| it / std::f64::consts::LN_10);
        let one = |it: &MetricComparison| {
            let sight = MetricSight {
                log10_e_fail: decimal(&it.log_e_fail),
                log10_e_pass: decimal(&it.log_e_pass),
                ratio_lower: number(&it.ratio_lower),
                ratio_upper: number(&it.ratio_upper),
            };
            (it.name.clone(), sight)
        };
        Self { at, verdict, metrics: compared.iter().map(one).collect() }
    }
}
