//! The methods that are compared: each sees a run look by look and says at which look it rolls back
//! (or passes), if at all.

use super::scenarios::{LOOKS, Look, Scenario};
use crate::analysis::statistics::counts::Counts;
use crate::analysis::statistics::evidence::{Design, RateEvidence, RateLimits};
use crate::analysis::statistics::mixture::OnsetPrior;
use crate::analysis::statistics::report::exact_rate_test;
use crate::analysis::statistics::verdict::{Guards, Moment, Rule, Standing, Verdict, verdict};

/// The columns of the table.
pub(super) const METHODS: [(&str, &str); 12] = [
    ("A0", "threshold, first failed look"),
    ("A3", "threshold, fourth failed look"),
    ("F5", "threshold, fifth failed look, no data fails"),
    ("B", "exact test at every look, p < 0.01"),
    ("S1", "plain mixture, no dispersion, maxRatio 1"),
    ("R", "robust mode, maxRatio 1"),
    ("S", "reference design, alpha 0.01"),
    ("S05", "reference design, alpha 0.05"),
    ("P", "reference design, passes"),
    ("D", "this version's design, alpha 0.01"),
    ("D05", "this version's design, alpha 0.05"),
    ("DP", "this version's design, passes"),
];

/// The look (from 1) at which each method came to its verdict.
pub(super) type Outcome = [Option<u32>; METHODS.len()];

/// Alternatives of the published table, also where events come in bursts.
const REFERENCE_GRID: [f64; 8] = [1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0];

/// The design that the published table was made with.
fn reference() -> Design {
    Design {
        onset: OnsetPrior { horizon: LOOKS, first_weight: 0.5 },
        fail_grid: REFERENCE_GRID.to_vec(),
        ..Design::new(LOOKS, Some(1.0))
    }
}

/// The published table was made without a guard on the number of bad events.
const UNGUARDED: Guards = Guards { false_pass: 0.05, min_bad_events: 0.0, min_requests: 50.0 };

/// Runs all methods over one run.
pub(super) fn judge(scenario: &Scenario, looks: &[Look], dispersion: f64) -> Outcome {
    let limit = if scenario.base <= 0.001 { 0.01 } else { 0.05 };
    let plain = Design { onset: OnsetPrior::AT_ONCE, ..reference() };
    let robust = Design { onset: OnsetPrior::AT_ONCE, ..Design::new(LOOKS, None) };
    let strict = RateLimits { max_ratio: 1.0, ..RateLimits::default() };
    let usual = RateLimits::default();
    let [s, s05, p] = sequential(looks, reference(), dispersion, &usual, UNGUARDED);
    let guard = Guards::default();
    let [d, d05, dp] =
        sequential(looks, Design::new(LOOKS, Some(dispersion)), dispersion, &usual, guard);
    [
        threshold(looks, limit, 1, false),
        threshold(looks, limit, 4, false),
        threshold(looks, limit, 5, true),
        repeated(looks),
        sequential(looks, plain, 1.0, &strict, UNGUARDED)[0],
        sequential(looks, robust, 1.0, &strict, UNGUARDED)[0],
        s,
        s05,
        p,
        d,
        d05,
        dp,
    ]
}

/// A share of errors above a limit, so many times.
fn threshold(looks: &[Look], limit: f64, failures: u32, is_none_bad: bool) -> Option<u32> {
    let mut failed = 0;
    for (look, seen) in (1..).zip(looks) {
        let [bad, total] = [seen.bad[0], seen.total[0]];
        let is_bad = if total > 0.0 { bad / total > limit } else { is_none_bad };
        failed += u32::from(is_bad);
        if failed >= failures {
            return Some(look);
        }
    }
    None
}

/// The exact test on all counts so far, again at every look.
fn repeated(looks: &[Look]) -> Option<u32> {
    let mut sum: Option<Counts> = None;
    for (look, seen) in (1..).zip(looks) {
        let counts = counts(seen)?;
        let all = sum.map_or(counts, |it| it.plus(&counts));
        sum = Some(all);
        if exact_rate_test(&all, 1.0).is_some_and(|it| it.p_greater < 0.01) {
            return Some(look);
        }
    }
    None
}

/// The judge itself: failed at 0.01, failed at 0.05, passed.
fn sequential(
    looks: &[Look],
    design: Design,
    dispersion: f64,
    limits: &RateLimits,
    guards: Guards,
) -> [Option<u32>; 3] {
    let mut evidence = RateEvidence::new(design, dispersion);
    let (mut failed, mut failed_early, mut passed) = (None, None, None);
    let mut canary = (0.0, 0.0);
    for (look, seen) in (1..).zip(looks) {
        let Some(counts) = counts(seen) else { continue };
        evidence.look(&[counts], limits, false);
        canary = (canary.0 + counts.canary_bad(), canary.1 + counts.canary_total());
        let standing = Standing {
            metric: String::new(),
            log_e_against: evidence.log_e_against(),
            log_e_in_favour: evidence.log_e_in_favour(),
            canary: Some(canary),
            weight: Some(1.0),
            guards,
        };
        let of = |alpha: f64| judged(&standing, alpha);
        if failed.is_none() && matches!(of(0.01), Verdict::Fail { .. }) {
            failed = Some(look);
        }
        if failed_early.is_none() && matches!(of(0.05), Verdict::Fail { .. }) {
            failed_early = Some(look);
        }
        if passed.is_none() && standing.has_passed() {
            passed = Some(look);
        }
    }
    [failed, failed_early, passed]
}

fn judged(standing: &Standing, false_rollback: f64) -> Verdict {
    let rule = Rule { false_rollback, ..Rule::default() };
    let moment = Moment {
        is_time_over: false,
        without_exposure: chrono::TimeDelta::zero(),
        has_weight: true,
    };
    verdict(std::slice::from_ref(standing), &rule, &moment)
}

fn counts(seen: &Look) -> Option<Counts> {
    Counts::new(seen.bad[0], seen.bad[1], seen.total[0], seen.total[1]).ok()
}
