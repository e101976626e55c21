//! What a run's status means for its Rollout. The plan decides on this and reads no status itself.

use super::step::RUN_TERMINATED;
use crate::api::analysis::{AnalysisPhase, AnalysisRunStatus, ComparisonVerdict, MetricResult};

/// What a run says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided yet.
    Running {
        /// Why a value is missing, when one is.
        waiting_on: Option<String>,
    },
    /// Good, with enough good values. The only verdict that opens a gate.
    Successful,
    /// Bad.
    Failed {
        /// Names the metric and the limit.
        message: String,
        /// Whether bad values were measured; without them Git is not reverted.
        has_measurements: bool,
    },
    /// Could not be measured, beyond a limit that the author wrote; or cannot be carried out.
    Error {
        /// Names the metric and the limit.
        message: String,
    },
    /// Neither good nor bad.
    Inconclusive {
        /// Names the metric and the limit.
        message: String,
    },
    /// Ended from outside before it had decided. Never opens a gate (issue 1329).
    Terminated,
}

impl Verdict {
    /// Reads a run's status.
    pub fn of(status: &AnalysisRunStatus) -> Self {
        let message = || status.message.clone();
        // The field is ours; a CRD of Argo Rollouts drops it, so the message stands in for it.
        let was_terminated = status.terminated || status.message == RUN_TERMINATED;
        match status.phase {
            AnalysisPhase::Pending | AnalysisPhase::Running => {
                Self::Running { waiting_on: missing_value(status) }
            }
            AnalysisPhase::Failed => {
                Self::Failed { message: message(), has_measurements: has_bad_values(status) }
            }
            AnalysisPhase::Error => Self::Error { message: message() },
            AnalysisPhase::Successful | AnalysisPhase::Inconclusive if was_terminated => {
                Self::Terminated
            }
            AnalysisPhase::Successful if has_good_values(status) => Self::Successful,
            AnalysisPhase::Successful => Self::Inconclusive {
                message: "the run is called successful, but no metric has a good value".to_owned(),
            },
            AnalysisPhase::Inconclusive => Self::Inconclusive { message: message() },
        }
    }

    /// Whether nothing more will come.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Running { .. } => false,
            Self::Successful
            | Self::Failed { .. }
            | Self::Error { .. }
            | Self::Inconclusive { .. }
            | Self::Terminated => true,
        }
    }
}

fn deciding(status: &AnalysisRunStatus) -> impl Iterator<Item = &MetricResult> {
    status.metric_results.iter().filter(|result| !result.dry_run)
}

/// Every deciding metric has a good value; a run of dry runs only needs judged values.
fn has_good_values(status: &AnalysisRunStatus) -> bool {
    let mut deciding = deciding(status).peekable();
    if deciding.peek().is_some() {
        deciding.all(|result| result.successful > 0)
    } else {
        status.metric_results.iter().any(|result| result.count > 0)
    }
}

fn has_bad_values(status: &AnalysisRunStatus) -> bool {
    deciding(status).any(|result| result.phase == AnalysisPhase::Failed && result.failed > 0)
}

fn missing_value(status: &AnalysisRunStatus) -> Option<String> {
    if let Some(comparison) = &status.comparison
        && comparison.verdict == ComparisonVerdict::NoData
    {
        return Some(comparison.message.clone());
    }
    let missing: Vec<String> = status
        .metric_results
        .iter()
        .filter(|result| result.consecutive_error > 0 && !result.phase.is_completed())
        .map(|result| format!("metric {:?}: {}", result.name, result.message))
        .collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}
