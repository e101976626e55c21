//! From the evidence of all metrics to the verdict of the run, and to one sentence a metric.

use chrono::TimeDelta;

use super::sentence::{self, Facts};
use super::{ComparedMetric, Progress, Settings, State, Subject};
use crate::analysis::resolved::{Judge, ResolvedMetric, ResolvedRun};
use crate::analysis::statistics::budget;
use crate::analysis::statistics::evidence::MetricEvidence;
use crate::analysis::statistics::verdict::{Moment, Rule, Standing, Verdict, verdict};
use crate::api::analysis::{
    AnalysisPhase, AnalysisRunStatus, ComparisonStatus, ComparisonVerdict, MetricComparison,
    MetricResult,
};
use crate::metrics::sample::shortened;

/// Longest message, in characters.
const MAX_MESSAGE: usize = 1000;

/// The comparing metrics of a run, with their share of the budget.
fn compared(run: &ResolvedRun) -> Vec<(&ResolvedMetric, &ComparedMetric, Option<f64>)> {
    let all: Vec<(&ResolvedMetric, &ComparedMetric)> = run
        .metrics
        .iter()
        .filter_map(|metric| match &metric.judge {
            Judge::Comparison(compared) => Some((metric, compared.as_ref())),
            Judge::Threshold(_) | Judge::JobOutcome => None,
        })
        .collect();
    let weight = |metric: &ResolvedMetric, compared: &ComparedMetric| {
        compared.weight.filter(|_| !metric.is_dry_run)
    };
    let sum: f64 = all.iter().filter_map(|(metric, compared)| weight(metric, compared)).sum();
    let share = |it: f64| it / sum;
    all.into_iter()
        .map(|(metric, compared)| (metric, compared, weight(metric, compared).map(share)))
        .collect()
}

/// Writes what the evidence says into the status: `comparison`, and phase and message of each metric that
/// compares. A run without such metrics is left as it is.
pub(in crate::analysis) fn conclude(run: &ResolvedRun, status: &mut AnalysisRunStatus) {
    let Some(settings) = &run.comparison else { return };
    let stored = status.evidence.as_ref().map(|raw| &raw.0);
    let state = match State::read(stored) {
        Ok(state) => state,
        Err(error) => return unreadable(run, status, &error),
    };
    let metrics = compared(run);
    let facts: Vec<Facts<'_>> = metrics
        .iter()
        .filter_map(|(metric, compared, share)| facts(metric, compared, *share, settings, &state))
        .collect();
    let standings: Vec<Standing> = facts.iter().map(|it| it.standing.clone()).collect();
    let without_exposure = without_exposure(&facts);
    let moment = Moment { is_time_over: false, without_exposure, has_weight: true };
    let verdict = verdict(&standings, &settings.rule, &moment);
    let is_whole = metrics.iter().all(|(metric, _, share)| {
        share.is_none() || facts.iter().any(|it| it.standing.metric == metric.name)
    });
    let word = match &verdict {
        Verdict::Fail { .. } => ComparisonVerdict::Fail,
        Verdict::Pass if is_whole => ComparisonVerdict::Pass,
        // A metric without a look has proved nothing.
        Verdict::Pass | Verdict::Continue => ComparisonVerdict::Continue,
        Verdict::Inconclusive => ComparisonVerdict::Inconclusive,
        Verdict::NoData => ComparisonVerdict::NoData,
    };
    let mut sentences = Vec::new();
    let mut reports = Vec::new();
    for fact in &facts {
        let name = &fact.standing.metric;
        let has_failed = matches!(&verdict, Verdict::Fail { metric } if metric == name);
        let is_silent = word == ComparisonVerdict::NoData;
        let own = match () {
            () if has_failed => ComparisonVerdict::Fail,
            () if is_silent => ComparisonVerdict::NoData,
            () if fact.standing.has_passed() => ComparisonVerdict::Pass,
            () => ComparisonVerdict::Continue,
        };
        let silent = is_silent.then_some(without_exposure);
        let sentence = sentence::of(fact, own, silent);
        let split = sentence::split(fact);
        if let Some(result) = status.metric_results.iter_mut().find(|it| it.name == *name) {
            let traffic = split.as_ref().map(|it| it.message.as_str());
            let told = [Some(sentence.as_str()), traffic].into_iter().flatten();
            let told = told.collect::<Vec<_>>().join(" ");
            tell(result, &shortened(&told, MAX_MESSAGE), has_failed);
        }
        reports.push(MetricComparison {
            name: name.clone(),
            verdict: own,
            log_e_fail: decimal(fact.standing.log_e_against),
            log_e_pass: decimal(fact.standing.log_e_in_favour),
            ratio_lower: fact.ratio.0.and_then(decimal),
            ratio_upper: fact.ratio.1.and_then(decimal),
            split,
        });
        let matters = match word {
            ComparisonVerdict::Fail => has_failed,
            ComparisonVerdict::Pass
            | ComparisonVerdict::Continue
            | ComparisonVerdict::Inconclusive
            | ComparisonVerdict::NoData => fact.standing.weight.is_some(),
        };
        if matters {
            sentences.push(sentence);
        }
    }
    // All metrics count the same requests: that they do not follow the weights is said once.
    let traffic = reports.iter().find_map(|report| Some(report.split.as_ref()?.message.clone()));
    sentences.extend(traffic.filter(|_| word != ComparisonVerdict::Fail));
    status.comparison = Some(ComparisonStatus {
        verdict: word,
        message: shortened(&sentences.join(" "), MAX_MESSAGE),
        metrics: reports,
        requires_pass: settings.requires_pass,
        on_inconclusive: settings.on_inconclusive,
    });
}

/// For reports: what is finite, to four decimals.
fn decimal(number: f64) -> Option<String> {
    number.is_finite().then(|| format!("{number:.4}"))
}

/// Puts the sentence where the newest measurement does not say why there is none.
fn tell(result: &mut MetricResult, sentence: &str, has_failed: bool) {
    if has_failed {
        result.phase = AnalysisPhase::Failed;
        result.failed = result.failed.max(1);
        sentence.clone_into(&mut result.message);
        return;
    }
    let is_missing =
        result.measurements.last().is_some_and(|last| last.phase == AnalysisPhase::Error);
    if !is_missing {
        sentence.clone_into(&mut result.message);
    }
}

/// Evidence that cannot be read is not guessed at, and not begun again, since that would spend the budget
/// twice: a person decides.
fn unreadable(run: &ResolvedRun, status: &mut AnalysisRunStatus, error: &str) {
    for (metric, _, _) in compared(run) {
        let found = status.metric_results.iter_mut().find(|result| result.name == metric.name);
        if let Some(result) = found {
            result.phase = AnalysisPhase::Inconclusive;
            result.message =
                format!("{error}; it was written by another version of the controller");
        }
    }
}

/// How long the canary has had no exposure in any metric, as far as looks have gone. Time of pods is no
/// sign of traffic.
fn without_exposure(facts: &[Facts<'_>]) -> TimeDelta {
    let of_requests = facts.iter().filter(|it| it.compared.subject.is_about_requests());
    of_requests
        .filter_map(|it| {
            Some(it.progress.until?.0.signed_duration_since(it.progress.exposed_at?.0))
        })
        .min()
        .unwrap_or_else(TimeDelta::zero)
}

fn facts<'a>(
    metric: &ResolvedMetric,
    compared: &'a ComparedMetric,
    share: Option<f64>,
    settings: &'a Settings,
    state: &'a State,
) -> Option<Facts<'a>> {
    let evidence = state.evidence.metrics.get(&metric.name)?;
    let progress: &Progress = state.progress.get(&metric.name)?;
    let (against, in_favour) = match evidence {
        MetricEvidence::Rate(it) => (it.log_e_against(), it.log_e_in_favour()),
        MetricEvidence::Absolute(it) => (it.log_e_against(), it.log_e_in_favour()),
        MetricEvidence::Latency(it) => (it.log_e_against(), it.log_e_in_favour()),
        MetricEvidence::Gauge(_) => return None,
    };
    let canary = match (evidence, progress.totals.as_slice()) {
        (MetricEvidence::Latency(it), _) => it.worst().map(|(_, slow, total)| (slow, total)),
        (_, [bad, exposure, ..]) => Some((*bad, *exposure)),
        (_, _) => None,
    };
    let alpha = settings.rule.false_rollback * share.unwrap_or(1.0);
    let ratio = match (evidence, &compared.subject) {
        (
            MetricEvidence::Rate(it),
            Subject::Rate { limits, .. } | Subject::Count { limits, .. },
        ) => (it.lower_ratio(limits, alpha), it.upper_ratio(limits, compared.guards.false_pass)),
        (_, _) => (None, None),
    };
    let standing = Standing {
        metric: metric.name.clone(),
        log_e_against: against,
        log_e_in_favour: in_favour,
        // Nothing seen is no exposure, not a gauge.
        canary: Some(canary.unwrap_or_default()),
        weight: share,
        guards: compared.guards,
    };
    Some(Facts { compared, settings, evidence, progress, standing, ratio })
}

/// What becomes of a metric that compares when its run is ended from outside.
pub(in crate::analysis) fn cut_short(
    status: Option<&ComparisonStatus>,
    result: &MetricResult,
) -> (AnalysisPhase, String) {
    let own = status
        .and_then(|status| status.metrics.iter().find(|metric| metric.name == result.name))
        .map(|metric| metric.verdict);
    let phase = match own {
        Some(ComparisonVerdict::Pass) => AnalysisPhase::Successful,
        Some(ComparisonVerdict::Fail) => AnalysisPhase::Failed,
        Some(
            ComparisonVerdict::Continue
            | ComparisonVerdict::Inconclusive
            | ComparisonVerdict::NoData,
        )
        | None => AnalysisPhase::Inconclusive,
    };
    (phase, result.message.clone())
}

/// Whether one metric alone has used up its share of the budget, for its sentence.
pub(super) fn is_refuted_alone(standing: &Standing, rule: &Rule) -> bool {
    let weight = standing.weight.unwrap_or(1.0);
    budget::is_refuted(standing.log_e_against + weight.ln(), rule.false_rollback)
}
