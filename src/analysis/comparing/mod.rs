//! Metrics that compare the canary with stable: from what a template says to queries, from raw samples
//! to counts, from counts to evidence, and from evidence to a verdict in one sentence.
//!
//! What it is for: the counts that [`super::statistics`] judges are the counts that the processes
//! served, each once. It never asks anything itself: a look is data that comes in. It never compares
//! with another time than the present, never begins its evidence again within a run, and never calls a
//! look that could not be taken good or bad: the next one covers its time too.
//!
//! Nothing of the series is kept between looks but the moment up to which they were counted. Each look
//! asks for the samples before that moment once more, so a controller that was restarted, and a server
//! with several replicas, take a difference from one answer.

pub mod arms;
mod calibration;
mod conclude;
mod counting;
pub mod foresight;
mod look;
pub mod place;
pub mod resolve;
pub mod selector;
mod sentence;
mod split;

use std::collections::BTreeMap;
use std::error::Error as _;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::arms::ResolvedArms;
pub(super) use self::conclude::{conclude, cut_short};
pub use self::look::latencies;
pub(super) use self::look::{spec, take};
pub use self::selector::Selector;
use self::split::SplitWatch;
pub use self::split::{ConfirmedWeight, SeenWeight};
use super::statistics::decimal;
use super::statistics::evidence::{
    Evidence, MetricEvidence, OddsLimits, RateLimits, UnknownState, VERSION,
};
use super::statistics::verdict::{Guards, Rule};
use crate::api::Time;
use crate::api::analysis::OnInconclusive;

/// What the comparing metrics of a run have in common, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Time between looks.
    pub interval: TimeDelta,
    /// How far looks stay behind the present.
    pub lag: TimeDelta,
    /// Time from the start in which only gross regressions fail.
    pub warmup: TimeDelta,
    /// The budget, what is left of it for this attempt, and the patience without traffic.
    pub rule: Rule,
    /// Looks that are planned.
    pub planned_looks: u32,
    /// What becomes of an update that is undecided at its end.
    pub on_inconclusive: OnInconclusive,
    /// Whether that end waits for PASS.
    pub requires_pass: bool,
    /// How the arms are told apart; none in a template, which knows no revisions.
    pub arms: Option<ResolvedArms>,
}

/// One metric that compares, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedMetric {
    /// What is compared, and within which limits.
    pub subject: Subject,
    /// Labels by which counts are compared part by part.
    pub by: Vec<String>,
    /// How bursts are allowed for.
    pub dispersion: DispersionRule,
    /// Level of a pass, and guards.
    pub guards: Guards,
    /// Weight in the budget as it was written; none for a metric that only informs.
    pub weight: Option<f64>,
}

impl ComparedMetric {
    /// The selector that says best what is measured.
    pub fn main_selector(&self) -> &Selector {
        match &self.subject {
            Subject::Rate { bad, .. } | Subject::Slo { bad, .. } => bad,
            Subject::Count { events, .. } => events,
            Subject::Latency { histogram, .. } => histogram,
        }
    }
}

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// Bad requests of all.
    Rate {
        /// All.
        total: Selector,
        /// The bad ones.
        bad: Selector,
        /// What is allowed.
        limits: RateLimits,
    },
    /// Events by requests, or by the time of pods.
    Count {
        /// Events.
        events: Selector,
        /// Requests.
        total: Option<Selector>,
        /// What is allowed.
        limits: RateLimits,
    },
    /// Slow requests.
    Latency {
        /// The histogram, without `_bucket`.
        histogram: Selector,
        /// Bounds in the histogram's unit; empty: from the history of stable.
        bounds: Vec<f64>,
        /// What is allowed.
        limits: OddsLimits,
    },
    /// Bad requests of the canary, with a limit.
    Slo {
        /// All.
        total: Selector,
        /// The bad ones.
        bad: Selector,
        /// The limit, as a share.
        max_rate: f64,
    },
}

impl Subject {
    /// Whether its exposure is requests, and not the time of pods.
    pub fn is_about_requests(&self) -> bool {
        !matches!(self, Self::Count { total: None, .. })
    }
}

/// How bursts are allowed for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DispersionRule {
    /// From the history of stable.
    Auto,
    /// They are not.
    Independent,
    /// Only shares are judged.
    Robust,
    /// By a factor of 1 or more.
    Given(f64),
}

/// What a run keeps about its looks, in `status.evidence`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Progress {
    /// Up to when series were counted.
    pub(super) until: Option<Time>,
    /// When the canary last had exposure; the start, before the first.
    pub(super) exposed_at: Option<Time>,
    /// Looks that were taken in.
    pub(super) looks: u32,
    /// All counts: bad events and exposure of the canary, then of stable.
    #[serde(with = "decimal::list")]
    pub(super) totals: Vec<f64>,
    /// What is unusual about how this metric is judged, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) note: String,
    /// Whether requests follow the weight; none while that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) split: Option<SplitWatch>,
}

/// Everything that is kept between looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) evidence: Evidence,
    pub(super) progress: BTreeMap<String, Progress>,
}

impl State {
    /// What was stored; an empty one when nothing was.
    ///
    /// # Errors
    /// Why it cannot be gone on with, for people.
    pub(super) fn read(stored: Option<&Value>) -> Result<Self, String> {
        let told = |error: UnknownState| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let Some(stored) = stored else { return Ok(Self::default()) };
        let evidence = Evidence::read(stored).map_err(told)?;
        let progress = stored.get("progress").map_or(Ok(BTreeMap::new()), BTreeMap::deserialize);
        let progress = progress.map_err(|error| told(error.into()))?;
        Ok(Self { evidence, progress })
    }

    /// What is stored.
    pub(super) fn write(&self) -> Value {
        let metrics: &BTreeMap<String, MetricEvidence> = &self.evidence.metrics;
        serde_json::json!({"version": VERSION, "metrics": metrics, "progress": self.progress})
    }
}
