//! From evidence to a verdict.

use std::fmt;

use chrono::TimeDelta;

use super::budget::{self, Stake};

/// Looks at which nothing happens leave the evidence at 1 but for rounding: `ln` of what still counts as none.
const NO_EVIDENCE: f64 = 1e-9;

/// What the evidence says about a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is worse than allowed; by chance this is said of fewer than `false_rollback` of the
    /// releases that are not.
    Fail {
        /// The metric that says it most strongly.
        metric: String,
    },
    /// Every metric that decides has proved that the release is better than its margin.
    Pass,
    /// Neither yet, and there is time.
    Continue,
    /// Neither, and the time is over.
    Inconclusive,
    /// The canary should have traffic and has none. Says nothing about the release.
    NoData,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail { .. } => "FAIL",
            Self::Pass => "PASS",
            Self::Continue => "CONTINUE",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::NoData => "NODATA",
        })
    }
}

/// The level and the patience of a rollout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Chance that a release within its limits is ever failed, over all metrics and looks: 0.01.
    pub false_rollback: f64,
    /// How long a canary with weight may be without exposure: 5 minutes.
    pub no_data_after: TimeDelta,
}

impl Default for Rule {
    fn default() -> Self {
        Self { false_rollback: 0.01, no_data_after: TimeDelta::minutes(5) }
    }
}

/// The level of a pass and the guards of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guards {
    /// Chance that it is ever passed where it is beyond its margin: 0.05.
    pub false_pass: f64,
    /// Bad events of the canary without which it fails nothing: 3.
    pub min_bad_events: f64,
    /// Exposure of the canary without which it passes nothing: 50.
    pub min_requests: f64,
}

impl Default for Guards {
    fn default() -> Self {
        Self { false_pass: 0.05, min_bad_events: 3.0, min_requests: 50.0 }
    }
}

impl Rule {
    /// The rule of a retry of the same revision, which has spent budget before: half of it for the
    /// second attempt, a quarter for the third. `attempt` counts from 1.
    #[must_use]
    pub fn for_attempt(self, attempt: u32) -> Self {
        let spent = f64::from(attempt.clamp(1, 1_000) - 1).exp2();
        Self { false_rollback: self.false_rollback / spent, ..self }
    }
}

/// Where one metric stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Its name.
    pub metric: String,
    /// `ln` evidence against "within its limits".
    pub log_e_against: f64,
    /// `ln` evidence against "at or beyond its margin".
    pub log_e_in_favour: f64,
    /// Bad events and exposure of the canary; None for a gauge, which has neither.
    pub canary: Option<(f64, f64)>,
    /// Share of the budget, above 0; those of the metrics that decide sum to 1. None for a metric
    /// that only informs, such as one that was added on the way.
    pub weight: Option<f64>,
    /// Its level of a pass and its guards.
    pub guards: Guards,
}

impl Standing {
    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        let Guards { false_pass, min_requests, .. } = self.guards;
        budget::is_refuted(self.log_e_in_favour, false_pass)
            && self.log_e_against <= NO_EVIDENCE
            && self.canary.is_none_or(|(_, exposure)| exposure >= min_requests)
    }
}

/// What the verdict depends on beside evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Whether the time of the analysis is over.
    pub is_time_over: bool,
    /// How long the canary has had no exposure.
    pub without_exposure: TimeDelta,
    /// Whether the canary should have traffic.
    pub has_weight: bool,
}

/// The verdict. The guards only take verdicts away, so the levels hold with them too.
pub fn verdict(standings: &[Standing], rule: &Rule, moment: &Moment) -> Verdict {
    let deciding: Vec<(&Standing, f64)> =
        standings.iter().filter_map(|it| Some((it, it.weight?))).collect();
    if let Some(metric) = failed(&deciding, rule) {
        return Verdict::Fail { metric };
    }
    if moment.has_weight && moment.without_exposure >= rule.no_data_after {
        return Verdict::NoData;
    }
    if !deciding.is_empty() && deciding.iter().all(|(standing, _)| standing.has_passed()) {
        return Verdict::Pass;
    }
    if moment.is_time_over { Verdict::Inconclusive } else { Verdict::Continue }
}

/// The metric with the largest part of the evidence, where all together exhaust the budget. A metric
/// with fewer bad events than the guard asks for has no part.
fn failed(deciding: &[(&Standing, f64)], rule: &Rule) -> Option<String> {
    let has_events = |standing: &Standing| {
        standing.canary.is_none_or(|(bad, _)| bad >= standing.guards.min_bad_events)
    };
    let carrying: Vec<(&Standing, Stake)> = deciding
        .iter()
        .filter(|(standing, _)| has_events(standing))
        .map(|(it, weight)| (*it, Stake { log_e: it.log_e_against, weight: *weight }))
        .collect();
    let stakes: Vec<Stake> = carrying.iter().map(|(_, stake)| *stake).collect();
    let part = |stake: &Stake| stake.log_e + stake.weight.ln();
    let largest = carrying.iter().max_by(|(_, a), (_, b)| part(a).total_cmp(&part(b)))?;
    budget::is_refuted(budget::combined_log_e(&stakes), rule.false_rollback)
        .then(|| largest.0.metric.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(metric: &str, against: f64, in_favour: f64, weight: Option<f64>) -> Standing {
        Standing {
            metric: metric.to_owned(),
            log_e_against: against,
            log_e_in_favour: in_favour,
            canary: Some((10.0, 1_000.0)),
            weight,
            guards: Guards::default(),
        }
    }

    const EARLY: Moment =
        Moment { is_time_over: false, without_exposure: TimeDelta::zero(), has_weight: true };

    fn judged(standings: &[Standing]) -> Verdict {
        verdict(standings, &Rule::default(), &EARLY)
    }

    #[test]
    fn one_metric_fails_where_its_evidence_reaches_the_budget() {
        assert_eq!(judged(&[standing("a", 4.6, 0.0, Some(1.0))]), Verdict::Continue);
        let failed = Verdict::Fail { metric: "a".to_owned() };
        assert_eq!(judged(&[standing("a", 4.61, 9.0, Some(1.0))]), failed);
    }

    #[test]
    fn metrics_fail_together_and_the_strongest_is_named() {
        let both = [standing("a", 4.7, 0.0, Some(0.5)), standing("b", 4.8, 0.0, Some(0.5))];
        assert_eq!(judged(&both), Verdict::Fail { metric: "b".to_owned() });
        let one = [standing("a", 4.7, 0.0, Some(0.5)), standing("b", -9.0, 0.0, Some(0.5))];
        assert_eq!(judged(&one), Verdict::Continue);
        let informing = [standing("a", -1.0, 0.0, Some(1.0)), standing("b", 99.0, 0.0, None)];
        assert_eq!(judged(&informing), Verdict::Continue);
    }

    #[test]
    fn too_few_bad_events_fail_nothing_and_lend_nothing() {
        let mut few = standing("a", 50.0, 0.0, Some(0.5));
        few.canary = Some((2.0, 1_000.0));
        assert_eq!(judged(&[few, standing("b", 5.0, 0.0, Some(0.5))]), Verdict::Continue);
    }

    #[test]
    fn a_pass_needs_every_metric_and_enough_requests() {
        let good = standing("a", -0.1, 3.1, Some(0.5));
        let other = standing("b", 0.1, 3.1, Some(0.5));
        assert_eq!(judged(std::slice::from_ref(&good)), Verdict::Pass);
        assert_eq!(judged(&[good.clone(), other]), Verdict::Continue);
        let few = Standing { canary: Some((0.0, 49.0)), ..good.clone() };
        assert_eq!(judged(&[few]), Verdict::Continue);
        assert_eq!(judged(&[standing("b", 0.0, 9.0, None)]), Verdict::Continue);
        assert_eq!(judged(&[]), Verdict::Continue);
    }

    #[test]
    fn no_traffic_is_no_verdict_on_the_release() {
        let silent = Moment { without_exposure: TimeDelta::minutes(5), ..EARLY };
        let good = [standing("a", -0.1, 3.1, Some(1.0))];
        assert_eq!(verdict(&good, &Rule::default(), &silent), Verdict::NoData);
        let parked = Moment { has_weight: false, ..silent };
        assert_eq!(verdict(&good, &Rule::default(), &parked), Verdict::Pass);
        let bad = [standing("a", 9.0, 3.1, Some(1.0))];
        assert!(matches!(verdict(&bad, &Rule::default(), &silent), Verdict::Fail { .. }));
    }

    #[test]
    fn at_the_end_of_the_time_nothing_proven_is_inconclusive() {
        let over = Moment { is_time_over: true, ..EARLY };
        let open = [standing("a", 1.0, 1.0, Some(1.0))];
        assert_eq!(verdict(&open, &Rule::default(), &over), Verdict::Inconclusive);
    }

    #[test]
    fn a_retry_has_half_the_budget() {
        let rule = Rule::default();
        assert_eq!(rule.for_attempt(1), rule);
        assert!((rule.for_attempt(3).false_rollback - 0.0025).abs() < 1e-12);
        assert!(rule.for_attempt(u32::MAX).false_rollback >= 0.0);
    }
}
