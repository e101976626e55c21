//! What a metric can find with the traffic that is there: the evidence that expected counts would give,
//! look by look, as the steps of an update go on. No formula of its own: it asks the evidence.
//!
//! Counts are taken at their expectation. A real release is as likely to be decided sooner as later.

use chrono::TimeDelta;

use super::{ComparedMetric, DispersionRule, Settings, Subject};
use crate::analysis::statistics::counts::{Counts, SlowCounts};
use crate::analysis::statistics::evidence::{
    AbsoluteEvidence, Design, LatencyEvidence, RateEvidence,
};
use crate::analysis::statistics::verdict::{Moment, Standing, Verdict, verdict};

/// Shares of slow requests of stable at the bounds that are chosen by default.
const SLOW_SHARES: [f64; 3] = [0.5, 0.1, 0.01];
/// Largest ratio that is looked for.
const MOST: f64 = 1_000.0;
/// Halvings of the range of ratios: exact to a percent.
const HALVINGS: u32 = 12;
/// Most looks that are foreseen.
const MAX_LOOKS: u32 = 20_000;

/// A part of an update with one weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Share of the traffic that goes to the canary, above 0 and below 1.
    pub weight: f64,
    /// How long it lasts.
    pub length: TimeDelta,
}

/// What is known of the traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Requests per second of both versions together, above 0.
    pub rate: f64,
    /// Share of them that is bad with stable, above 0 and below 1.
    pub bad_share: f64,
    /// How far evidence is discounted where the template leaves that to the history of stable; 1 or
    /// more.
    pub dispersion: f64,
}

/// When a release would be decided on, from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// When it would fail.
    pub fails_after: Option<TimeDelta>,
    /// When it would first pass.
    pub passes_after: Option<TimeDelta>,
}

/// A metric in an update.
#[derive(Clone, Copy, Debug)]
pub struct Foresight<'a> {
    /// The metric.
    pub metric: &'a ComparedMetric,
    /// What the metrics have in common.
    pub settings: &'a Settings,
    /// Its share of the budget, above 0 and at most 1.
    pub share: f64,
    /// The update.
    pub stages: &'a [Stage],
    /// The traffic.
    pub traffic: Traffic,
}

enum Kept {
    Rate(RateEvidence),
    Absolute(AbsoluteEvidence),
    Latency(LatencyEvidence),
}

impl Foresight<'_> {
    /// Whether anything can be foreseen: events by the time of pods depend on no traffic.
    pub fn is_about_requests(&self) -> bool {
        self.metric.subject.is_about_requests()
    }

    /// What becomes of a release with `ratio` times the bad requests (latency: odds of a slow one) of
    /// stable from `onset` on, and as many as stable before.
    pub fn release(&self, ratio: f64, onset: TimeDelta) -> Foreseen {
        let mut kept = self.begin();
        let mut foreseen = Foreseen::default();
        let interval = self.settings.interval;
        let (mut at, mut canary) = (TimeDelta::zero(), (0.0, 0.0));
        for _ in 0..MAX_LOOKS {
            let Some(weight) = self.weight_at(at) else { break };
            let own = if at >= onset { ratio } else { 1.0 };
            at += interval;
            let (bad, requests) = self.look(&mut kept, weight, own, at);
            canary = (canary.0 + bad, canary.1 + requests);
            match self.verdict(&kept, canary) {
                Verdict::Fail { .. } => {
                    foreseen.fails_after = Some(at);
                    return foreseen;
                }
                Verdict::Pass => {
                    foreseen.passes_after.get_or_insert(at);
                }
                Verdict::Continue | Verdict::Inconclusive | Verdict::NoData => {}
            }
        }
        foreseen
    }

    /// The smallest ratio that would fail by the end of a stage if it began with it; none where even
    /// an extreme one would not.
    pub fn least_found_in(&self, stage: usize) -> Option<f64> {
        let lengths = || self.stages.iter().map(|stage| stage.length);
        let begin = lengths().take(stage).fold(TimeDelta::zero(), |sum, length| sum + length);
        let end = lengths().take(stage + 1).fold(TimeDelta::zero(), |sum, length| sum + length);
        let is_found =
            |ratio: f64| self.release(ratio, begin).fails_after.is_some_and(|after| after <= end);
        if !is_found(MOST) {
            return None;
        }
        let (mut low, mut high) = (0.0, MOST.ln());
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if is_found(middle.exp()) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(high.exp())
    }

    fn weight_at(&self, at: TimeDelta) -> Option<f64> {
        let mut end = TimeDelta::zero();
        self.stages.iter().find_map(|stage| {
            end += stage.length;
            (at < end).then_some(stage.weight)
        })
    }

    fn begin(&self) -> Kept {
        let horizon = self.settings.planned_looks;
        let factor = match self.metric.dispersion {
            DispersionRule::Auto => Some(self.traffic.dispersion),
            DispersionRule::Independent => Some(1.0),
            DispersionRule::Given(factor) => Some(factor),
            DispersionRule::Robust => None,
        };
        let known = factor.unwrap_or(1.0);
        match &self.metric.subject {
            Subject::Rate { .. } | Subject::Count { .. } => {
                Kept::Rate(RateEvidence::new(Design::new(horizon, factor), known))
            }
            Subject::Slo { .. } => {
                let design = Design::new(horizon, Some(known));
                Kept::Absolute(AbsoluteEvidence::new(design, known))
            }
            Subject::Latency { .. } => {
                let onset = Design::onset(horizon);
                // The evidence knows bounds by their order alone.
                Kept::Latency(LatencyEvidence::new(&[1.0, 2.0, 3.0], onset, known))
            }
        }
    }

    /// Takes in what one interval is expected to bring; the bad requests of the canary, and all.
    fn look(&self, kept: &mut Kept, weight: f64, ratio: f64, at: TimeDelta) -> (f64, f64) {
        let is_warm_up = at <= self.settings.warmup;
        let all = self.traffic.rate * self.settings.interval.as_seconds_f64();
        let (canary, stable) = (all * weight, all * (1.0 - weight));
        let share = self.traffic.bad_share;
        let own = (share * ratio).min(1.0);
        match (kept, &self.metric.subject) {
            (
                Kept::Rate(evidence),
                Subject::Rate { limits, .. } | Subject::Count { limits, .. },
            ) => {
                let counts = Counts::new(canary * own, stable * share, canary, stable);
                if let Ok(counts) = counts {
                    evidence.look(&[counts], limits, is_warm_up);
                }
                (canary * own, canary)
            }
            (Kept::Absolute(evidence), Subject::Slo { max_rate, .. }) => {
                evidence.look(canary * own, canary, *max_rate);
                (canary * own, canary)
            }
            (Kept::Latency(evidence), Subject::Latency { limits, .. }) => {
                let slow = |share: f64| {
                    let odds = share / (1.0 - share) * ratio;
                    let own = odds / (1.0 + odds);
                    let whole = |count: f64| count.round().max(0.0);
                    let counts = [canary * own, stable * share, canary, stable].map(whole);
                    let [slow, stable_slow, canary, stable] = counts.map(super::look::whole);
                    let counts = SlowCounts::new(slow, stable_slow, canary, stable);
                    counts.map(|counts| vec![counts]).unwrap_or_default()
                };
                let counts: Vec<Vec<SlowCounts>> = SLOW_SHARES.iter().map(|it| slow(*it)).collect();
                evidence.look(&counts, limits, is_warm_up);
                (canary, canary)
            }
            (Kept::Rate(_) | Kept::Absolute(_) | Kept::Latency(_), _) => (0.0, 0.0),
        }
    }

    fn verdict(&self, kept: &Kept, canary: (f64, f64)) -> Verdict {
        let (against, in_favour) = match kept {
            Kept::Rate(it) => (it.log_e_against(), it.log_e_in_favour()),
            Kept::Absolute(it) => (it.log_e_against(), it.log_e_in_favour()),
            Kept::Latency(it) => (it.log_e_against(), it.log_e_in_favour()),
        };
        let standing = Standing {
            metric: String::new(),
            log_e_against: against,
            log_e_in_favour: in_favour,
            canary: Some(canary),
            weight: Some(self.share),
            guards: self.metric.guards,
        };
        let moment =
            Moment { is_time_over: false, without_exposure: TimeDelta::zero(), has_weight: true };
        verdict(&[standing], &self.settings.rule, &moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::comparing::Selector;
    use crate::analysis::statistics::evidence::RateLimits;
    use crate::analysis::statistics::verdict::{Guards, Rule};
    use crate::api::analysis::OnInconclusive;

    fn settings() -> Settings {
        Settings {
            interval: TimeDelta::seconds(30),
            lag: TimeDelta::seconds(15),
            warmup: TimeDelta::zero(),
            rule: Rule::default(),
            planned_looks: 60,
            on_inconclusive: OnInconclusive::default(),
            requires_pass: true,
            arms: None,
        }
    }

    fn metric(subject: Subject) -> ComparedMetric {
        ComparedMetric {
            subject,
            by: vec![],
            dispersion: DispersionRule::Auto,
            guards: Guards::default(),
            weight: Some(1.0),
        }
    }

    fn rate() -> ComparedMetric {
        let selector = || Selector::parse("x_total").unwrap();
        let limits = RateLimits::default();
        metric(Subject::Rate { total: selector(), bad: selector(), limits })
    }

    const STAGES: [Stage; 2] = [
        Stage { weight: 0.05, length: TimeDelta::minutes(10) },
        Stage { weight: 0.5, length: TimeDelta::minutes(10) },
    ];

    fn with<'a>(metric: &'a ComparedMetric, settings: &'a Settings) -> Foresight<'a> {
        let traffic = Traffic { rate: 100.0, bad_share: 0.01, dispersion: 1.0 };
        Foresight { metric, settings, share: 1.0, stages: &STAGES, traffic }
    }

    #[test]
    fn more_is_found_sooner_and_a_release_like_stable_passes() {
        let (metric, settings) = (rate(), settings());
        let foresight = with(&metric, &settings);
        let after = |ratio: f64| foresight.release(ratio, TimeDelta::zero()).fails_after;
        let (ten, three) = (after(10.0).unwrap(), after(3.0).unwrap());
        assert!(ten < three && three <= TimeDelta::minutes(10), "{ten} {three}");
        let like = foresight.release(1.0, TimeDelta::zero());
        assert_eq!(like.fails_after, None);
        assert!(like.passes_after.is_some());
    }

    #[test]
    fn what_is_named_for_a_stage_is_found_in_it_and_a_little_less_is_not() {
        let (metric, settings) = (rate(), settings());
        let foresight = with(&metric, &settings);
        let first = foresight.least_found_in(0).unwrap();
        let second = foresight.least_found_in(1).unwrap();
        assert!(second < first, "{second} {first}");
        let end = TimeDelta::minutes(10);
        let after = |ratio: f64| foresight.release(ratio, TimeDelta::zero()).fails_after;
        assert!(after(first).is_some_and(|at| at <= end));
        assert!(after(first * 0.95).is_none_or(|at| at > end));
    }

    #[test]
    fn bursts_and_a_smaller_share_of_the_budget_take_longer() {
        let (metric, settings) = (rate(), settings());
        let plain = with(&metric, &settings);
        let bursts = Foresight { traffic: Traffic { dispersion: 4.0, ..plain.traffic }, ..plain };
        let part = Foresight { share: 0.2, ..plain };
        let least = |of: Foresight<'_>| of.least_found_in(0).unwrap();
        assert!(least(bursts) > least(plain) && least(part) > least(plain));
    }

    #[test]
    fn where_hardly_anything_is_served_nothing_is_found() {
        let (metric, settings) = (rate(), settings());
        let mut foresight = with(&metric, &settings);
        foresight.traffic.rate = 0.01;
        assert_eq!(foresight.least_found_in(0), None);
    }

    #[test]
    fn slow_requests_are_foreseen_by_their_odds() {
        let limits = crate::analysis::statistics::evidence::OddsLimits::default();
        let histogram = Selector::parse("h").unwrap();
        let metric = metric(Subject::Latency { histogram, bounds: vec![], limits });
        let settings = settings();
        let foresight = with(&metric, &settings);
        let three = foresight.release(3.0, TimeDelta::zero()).fails_after.unwrap();
        assert!(three < TimeDelta::minutes(10), "{three}");
        assert_eq!(foresight.release(1.0, TimeDelta::zero()).fails_after, None);
    }
}
