//! The evidence of all metrics of a rollout, as it is kept in the status of the AnalysisRun.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AbsoluteEvidence, GaugeEvidence, LatencyEvidence, RateEvidence};

/// Version of the form. Another one is never guessed at.
pub const VERSION: u32 = 1;

/// Evidence of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricEvidence {
    /// Errors beside those of stable.
    Rate(RateEvidence),
    /// Events against a limit.
    Absolute(AbsoluteEvidence),
    /// Slow requests beside those of stable.
    Latency(LatencyEvidence),
    /// A gauge beside that of stable.
    Gauge(GaugeEvidence),
}

/// Evidence of all metrics of a rollout, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    version: u32,
    /// By the name of the metric.
    pub metrics: BTreeMap<String, MetricEvidence>,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { version: VERSION, metrics: BTreeMap::new() }
    }
}

/// A stored state that cannot be gone on with. Whoever starts anew has spent a part of the budget, as
/// for a retry.
#[derive(Debug, thiserror::Error)]
pub enum UnknownState {
    /// Written by another version.
    #[error("evidence has version {found}, and version {VERSION} is understood")]
    Version {
        /// What was found; `null` for none.
        found: Value,
    },
    /// Not what this version writes.
    #[error("evidence is not of the form of version {VERSION}")]
    Form(#[from] serde_json::Error),
}

impl Evidence {
    /// Reads what was stored.
    pub fn read(stored: &Value) -> Result<Self, UnknownState> {
        let found = stored.get("version").cloned().unwrap_or(Value::Null);
        if found.as_u64() != Some(u64::from(VERSION)) {
            return Err(UnknownState::Version { found });
        }
        Ok(Self::deserialize(stored)?)
    }
}
