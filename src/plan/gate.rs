//! The end of the steps of a canary that is compared with stable: whether what was proved is enough for
//! everybody. Between steps evidence only grows; this is the one place that waits for it.

use super::facts::{Known, RunFact, RunSlot};
use super::runs;
use super::view::View;
use crate::analysis::Verdict;
use crate::analysis::templates::merge;
use crate::api::analysis::{ComparisonVerdict, Metric, OnInconclusive};

/// Whether an update may leave its last step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// It may.
    Open,
    /// It waits for PASS or for a person.
    Closed {
        /// What is known so far.
        why: String,
    },
    /// It is given up, as its author asked for.
    GiveUp {
        /// What is known so far.
        why: String,
    },
}

/// The gate at the end of the steps. Open where nothing is compared.
pub(super) fn gate(view: &View<'_>) -> Gate {
    let Some(canary) = view.canary() else { return Gate::Open };
    let newest = runs::newest(view, RunSlot::Background);
    if !newest.is_some_and(|run| run.compares) && !declares_comparison(view) {
        return Gate::Open;
    }
    let closed = |why: &str| Gate::Closed { why: why.to_owned() };
    if canary.background.is_none() {
        return Gate::Open;
    }
    if view.observed.runs.known().is_none() {
        return closed("the AnalysisRuns are not known");
    }
    let Some(run) = newest else { return closed("the comparison with stable has not begun") };
    // Who stops it, or has let it pass, wants to go on without it.
    if run.verdict == Verdict::Terminated || view.memory.acknowledged.contains(&run.name) {
        return Gate::Open;
    }
    let Some(comparison) = &run.comparison else {
        return closed("the comparison with stable has not had a look yet");
    };
    let why = comparison.message.clone();
    match (comparison.verdict, comparison.on_inconclusive) {
        (ComparisonVerdict::Pass, _) => Gate::Open,
        (ComparisonVerdict::Fail | ComparisonVerdict::NoData, _) => Gate::Closed { why },
        (_, OnInconclusive::Rollback) => Gate::GiveUp { why },
        (_, OnInconclusive::Proceed) if !comparison.requires_pass => Gate::Open,
        (_, OnInconclusive::Proceed | OnInconclusive::Pause) => Gate::Closed { why },
    }
}

/// Whether metrics of the background analysis compare, as far as its templates are known.
fn declares_comparison(view: &View<'_>) -> bool {
    let Some(canary) = view.canary() else { return false };
    let Some((background, _)) = &canary.background else { return false };
    let has = |metrics: &[Metric]| metrics.iter().any(Metric::is_comparing);
    let of_templates = || match &view.observed.templates {
        Known::Known(library) => {
            merge(&background.templates, library).is_ok_and(|merged| has(&merged.metrics))
        }
        Known::Unknown(_) => false,
    };
    has(&canary.inline.metrics) || of_templates()
}

/// The run whose comparison counts now.
pub(super) fn comparing<'a>(view: &View<'a>) -> Option<&'a RunFact> {
    runs::judging(view)
        .find(|(slot, run)| *slot == RunSlot::Background && run.compares)
        .map(|(_, run)| run)
}
