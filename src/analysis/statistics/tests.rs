//! Laws of the evidence that hold for any counts.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small whole numbers"
)]

use proptest::prelude::*;
use statrs::distribution::{Binomial, Discrete as _};

use super::counts::{Counts, SlowCounts};
use super::dispersion;
use super::evidence::{
    AbsoluteEvidence, BURST_GRID, Design, Evidence, FAIL_GRID, GaugeEvidence, LatencyEvidence,
    MetricEvidence, OddsLimits, RateEvidence, RateLimits, UnknownState,
};
use super::histogram::{Histogram, NativeHistogram, increase, slow_counts};
use super::history::MAX_BLOCKS;
use super::mixture::{Mixture, OnsetPrior};
use super::report;
use super::{odds, rate, share};

/// Expectation of e^`log_e` over two binomial arms, by enumeration.
fn expectation(n: (u64, u64), p: (f64, f64), log_e: impl Fn(u64, u64) -> f64) -> f64 {
    let (canary, stable) = (Binomial::new(p.0, n.0).unwrap(), Binomial::new(p.1, n.1).unwrap());
    let mut sum = 0.0;
    for x in 0..=n.0 {
        for y in 0..=n.1 {
            sum += canary.pmf(x) * stable.pmf(y) * log_e(x, y).exp();
        }
    }
    sum
}

fn counts(x: u64, y: u64, n: (u64, u64)) -> Counts {
    Counts::new(x as f64, y as f64, n.0 as f64, n.1 as f64).unwrap()
}

/// Evidence of one look, mixed over a grid.
fn mixed(increments: Vec<f64>) -> f64 {
    let mut mixture = Mixture::new(OnsetPrior::AT_ONCE);
    mixture.add(increments);
    mixture.log_e()
}

fn against(counts: &Counts, max_ratio: f64, delta: f64, phi: f64) -> f64 {
    let grid = [1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0];
    mixed(grid.iter().map(|g| rate::fail_increment(counts, max_ratio, delta, *g) / phi).collect())
}

fn bet(counts: &Counts, max_ratio: f64) -> f64 {
    mixed(share::increments(counts, max_ratio, &share::EFFECTS, &share::DISPERSIONS, 0.95))
}

const ONE: f64 = 1.0 + 1e-12;

#[test]
fn the_enumeration_gives_the_published_expectations() {
    for (n, p, ratio, expected) in
        [((5, 20), 0.2, 1.1, 0.638), ((8, 12), 0.45, 1.0, 0.387), ((3, 40), 0.02, 1.25, 0.982)]
    {
        let mean =
            expectation(n, (p * ratio, p), |x, y| against(&counts(x, y, n), ratio, 0.0, 1.0));
        assert!((mean - expected).abs() < 1e-3, "{n:?}: {mean}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn against_a_release_within_its_limits_the_evidence_expects_at_most_one(
        n in (1_u64..12, 1_u64..30),
        stable in 0.001_f64..0.5,
        ratio in 0.5_f64..2.0,
        delta in prop_oneof![Just(0.0), 0.0_f64..0.2],
        within in 0.0_f64..=1.0,
        phi in prop_oneof![Just(1.0), 1.0_f64..5.0],
    ) {
        let canary = (ratio * stable + delta).min(1.0) * within;
        let mean = expectation(n, (canary, stable), |x, y| {
            against(&counts(x, y, n), ratio, delta, phi)
        });
        prop_assert!(mean <= ONE, "{mean}");
    }

    #[test]
    fn for_a_release_beyond_its_margin_the_evidence_expects_at_most_one(
        n in (1_u64..12, 1_u64..30),
        stable in 0.001_f64..0.3,
        margin in 0.5_f64..3.0,
        beyond in 1.0_f64..3.0,
    ) {
        let canary = (margin * stable * beyond).min(1.0);
        // A share has an end: where it is reached, the null does not hold.
        prop_assume!(canary >= margin * stable);
        let grid = super::evidence::PASS_GRID;
        let mean = expectation(n, (canary, stable), |x, y| {
            let look = counts(x, y, n);
            mixed(grid.iter().map(|h| rate::pass_increment(&look, margin, *h)).collect())
        });
        prop_assert!(mean <= ONE, "{mean}");
    }

    #[test]
    fn bets_on_shares_expect_at_most_one_though_events_come_in_bursts(
        n in (1_u64..8, 1_u64..16),
        chance in 0.01_f64..0.5,
        burst in 1_u64..4,
        ratio in 0.8_f64..1.5,
    ) {
        // Bursts arrive in each arm in proportion to its exposure (a Poisson stream, cut off where
        // nothing is left to add), each with `burst` events.
        let poisson = |mean: f64, k: u64| {
            (-mean + k as f64 * mean.ln() - statrs::function::factorial::ln_factorial(k)).exp()
        };
        let mut mean = 0.0;
        for x in 0..40 {
            for y in 0..40 {
                let look = counts(x * burst, y * burst, n);
                let chance_of = poisson(chance * ratio * n.0 as f64, x) * poisson(chance * n.1 as f64, y);
                mean += chance_of * bet(&look, ratio).exp();
            }
        }
        prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
    }

    #[test]
    fn against_odds_within_the_limit_the_evidence_expects_at_most_one(
        n in (1_u64..12, 1_u64..30),
        stable in 0.01_f64..0.9,
        limit in 0.5_f64..3.0,
        within in 0.1_f64..=1.0,
    ) {
        let odds_canary = stable / (1.0 - stable) * limit * within;
        let canary = odds_canary / (1.0 + odds_canary);
        let grid = [1.25, 2.0, 6.0, 20.0];
        let mean = expectation(n, (canary, stable), |x, y| {
            mixed(odds::fail_increments(&SlowCounts::new(x, y, n.0, n.1).unwrap(), limit, &grid))
        });
        prop_assert!(mean <= ONE, "{mean}");
        // And the mirror: beyond a margin.
        let odds_canary = stable / (1.0 - stable) * limit / within;
        let canary = odds_canary / (1.0 + odds_canary);
        let mean = expectation(n, (canary, stable), |x, y| {
            mixed(odds::pass_increments(&SlowCounts::new(x, y, n.0, n.1).unwrap(), limit, &grid))
        });
        prop_assert!(mean <= ONE, "{mean}");
    }

    #[test]
    fn against_a_limit_alone_the_evidence_expects_at_most_one(
        n in 1_u64..40, limit in 0.001_f64..0.5, within in 0.0_f64..=1.0,
    ) {
        let mean = expectation((n, 1), (limit * within, 0.5), |x, _| {
            mixed([1.5, 3.0, 8.0].iter().map(|g| {
                rate::absolute_fail_increment(x as f64, n as f64, limit, *g)
            }).collect())
        });
        prop_assert!(mean <= ONE, "{mean}");
        let beyond = (limit / within.max(0.1)).min(1.0);
        let mean = expectation((n, 1), (beyond.max(limit), 0.5), |x, _| {
            mixed([1.5, 3.0, 8.0].iter().map(|h| {
                rate::absolute_pass_increment(x as f64, n as f64, limit, *h)
            }).collect())
        });
        prop_assert!(mean <= ONE, "{mean}");
    }

    #[test]
    fn the_onset_mixture_over_several_looks_expects_at_most_one(
        n in proptest::collection::vec((1_u64..4, 1_u64..6), 3),
        p in proptest::collection::vec(0.01_f64..0.4, 3),
        first in 0.0_f64..=1.0,
    ) {
        // All histories of three looks with changing exposures and base rates.
        fn go(looks: &[((u64, u64), f64)], mixture: &Mixture) -> f64 {
            let Some((((n_c, n_s), p), rest)) = looks.split_first() else {
                return mixture.log_e().exp();
            };
            expectation((*n_c, *n_s), (p * 1.1, *p), |x, y| {
                let look = counts(x, y, (*n_c, *n_s));
                let mut next = mixture.clone();
                next.add([1.5, 3.0, 8.0].map(|g| rate::fail_increment(&look, 1.1, 0.0, g)));
                go(rest, &next).ln()
            })
        }
        let looks: Vec<_> = n.into_iter().zip(p).collect();
        let mean = go(&looks, &Mixture::new(OnsetPrior { horizon: 3, first_weight: first }));
        prop_assert!(mean <= ONE, "{mean}");
    }

    #[test]
    fn more_is_allowed_then_less_is_proven(look in look(1e5), low in 0.1_f64..5.0, more in 1.0_f64..3.0) {
        let fails = |ratio: f64| rate::fail_increment(&look, ratio, 0.0, 2.0);
        prop_assert!(fails(low * more) <= fails(low) + 1e-9);
        let passes = |margin: f64| rate::pass_increment(&look, margin, 2.0);
        prop_assert!(passes(low * more) >= passes(low) - 1e-9);
    }

    #[test]
    fn a_look_cut_in_two_says_the_same(look in look(1e6), growth in 1.1_f64..30.0) {
        let half = Counts::new(
            look.canary_bad() / 2.0, look.stable_bad() / 2.0,
            look.canary_total() / 2.0, look.stable_total() / 2.0,
        ).unwrap();
        let whole = rate::fail_increment(&look, 1.1, 1e-4, growth);
        let halves = 2.0 * rate::fail_increment(&half, 1.1, 1e-4, growth);
        prop_assert!((whole - halves).abs() <= 1e-9 * (1.0 + whole.abs()));
    }

    #[test]
    fn a_verdict_and_its_bound_are_of_one_opinion(
        looks in proptest::collection::vec((look(3e3), any::<bool>()), 1..20),
        horizon in 1_u32..30,
        phi in prop_oneof![Just(Some(1.0)), (1.0_f64..9.0).prop_map(Some), Just(None)],
        max_ratio in 0.5_f64..3.0,
        delta in prop_oneof![Just(0.0), 0.0_f64..0.01],
    ) {
        let limits = RateLimits {
            max_ratio, min_delta: delta, margin: max_ratio * 1.5, ..RateLimits::default()
        };
        let mut evidence = RateEvidence::new(Design::new(horizon, phi), phi.unwrap_or(1.0));
        for (look, is_warm_up) in &looks {
            evidence.look(std::slice::from_ref(look), &limits, *is_warm_up);
            for alpha in [0.01, 0.3] {
                let is_refuted = evidence.log_e_against() >= -f64::ln(alpha);
                let lower = evidence.lower_ratio(&limits, alpha);
                prop_assert_eq!(is_refuted, lower.is_some_and(|it| it > max_ratio), "{:?}", lower);
                let is_passed = evidence.log_e_in_favour() >= -f64::ln(alpha);
                let upper = evidence.upper_ratio(&limits, alpha);
                prop_assert_eq!(is_passed, upper.is_some_and(|it| it < limits.margin), "{:?}", upper);
            }
        }
        // More certainty, wider bounds; and the lower one is the lower.
        let strict = evidence.lower_ratio(&limits, 0.001).unwrap_or(0.0);
        let loose = evidence.lower_ratio(&limits, 0.2).unwrap_or(0.0);
        prop_assert!(strict <= loose * (1.0 + 1e-9), "{strict} {loose}");
        let (strict, loose) = (evidence.upper_ratio(&limits, 0.001), evidence.upper_ratio(&limits, 0.2));
        prop_assert!(strict.is_none_or(|it| it * (1.0 + 1e-9) >= loose.unwrap_or(f64::INFINITY)));
    }

    #[test]
    fn a_restart_in_the_middle_changes_nothing(
        looks in proptest::collection::vec((look(1e5), look(1e5), any::<bool>()), 1..20),
        restart in 0_usize..20,
        phi in prop_oneof![Just(Some(1.0)), (1.0_f64..9.0).prop_map(Some), Just(None)],
    ) {
        let onset = OnsetPrior { horizon: 12, first_weight: 0.5 };
        let design = Design::new(12, phi);
        let mut evidence = Evidence::default();
        let metrics = [
            ("errors", MetricEvidence::Rate(RateEvidence::new(design.clone(), phi.unwrap_or(1.0)))),
            ("slo", MetricEvidence::Absolute(AbsoluteEvidence::new(design, 1.3))),
            ("latency", MetricEvidence::Latency(LatencyEvidence::new(&[0.1, 0.3], onset, 1.7))),
            ("memory", MetricEvidence::Gauge(GaugeEvidence::default())),
        ];
        evidence.metrics.extend(metrics.map(|(name, metric)| (name.to_owned(), metric)));
        let mut restarted = evidence.clone();
        for (idx, (one, two, is_warm_up)) in looks.iter().enumerate() {
            if idx == restart % looks.len() {
                // Through text, as a status goes.
                let text = serde_json::to_string(&restarted).unwrap();
                restarted = Evidence::read(&serde_json::from_str(&text).unwrap()).unwrap();
            }
            for state in [&mut evidence, &mut restarted] {
                take_in(state, one, two, *is_warm_up);
            }
        }
        prop_assert_eq!(&evidence, &restarted);
        let text = serde_json::to_string(&evidence).unwrap();
        prop_assert!(text.len() < 12_000, "{} bytes", text.len());
        prop_assert_eq!(evidence, Evidence::read(&serde_json::from_str(&text).unwrap()).unwrap());
    }

    #[test]
    fn extreme_counts_stay_finite(
        looks in proptest::collection::vec(look(1e12), 1..6),
        phi in prop_oneof![Just(Some(1.0)), Just(None)],
    ) {
        let limits = RateLimits { min_delta: 1e-4, ..RateLimits::default() };
        let mut evidence = RateEvidence::new(Design::new(6, phi), 1.0);
        let mut guard = AbsoluteEvidence::new(Design::new(6, Some(1.0)), 1.0);
        for look in &looks {
            evidence.look(&[*look], &limits, false);
            guard.look(look.canary_bad(), look.canary_total(), 0.01);
            prop_assert!(evidence.log_e_against().is_finite());
            prop_assert!(evidence.log_e_in_favour().is_finite());
            prop_assert!(guard.log_e_against().is_finite() && guard.log_e_in_favour().is_finite());
        }
        prop_assert!(evidence.lower_ratio(&limits, 0.01).is_none_or(f64::is_finite));
        prop_assert!(evidence.upper_ratio(&limits, 0.05).is_none_or(f64::is_finite));
    }

    #[test]
    fn the_coarser_histogram_has_the_same_requests(
        buckets in proptest::collection::btree_map(-40_i32..40, 0_u64..1_000, 0..30),
        schema in -2_i8..=6,
        down in 1_i8..3,
    ) {
        let fine = NativeHistogram::new(schema, 7, buckets).unwrap();
        let coarse = fine.coarsened(schema - down);
        prop_assert_eq!(fine.total(), coarse.total());
        for idx in -20..20 {
            // A coarse bound is a fine one.
            let same = idx << down;
            prop_assert!((coarse.upper_bound(idx) - fine.upper_bound(same)).abs() <= 1e-9 * fine.upper_bound(same));
            prop_assert_eq!(coarse.slower_than(idx), fine.slower_than(same));
        }
    }
}

prop_compose! {
    /// A look with up to so many requests, and up to as many bad ones.
    fn look(most: f64)(
        canary in 0.0..=most, stable in 0.0..=most, bad in (0.0_f64..=1.0, 0.0_f64..=1.0),
    ) -> Counts {
        Counts::new(
            (canary * bad.0 * bad.0).floor(), (stable * bad.1 * bad.1).floor(),
            canary.floor(), stable.floor(),
        ).unwrap()
    }
}

fn take_in(evidence: &mut Evidence, one: &Counts, two: &Counts, is_warm_up: bool) {
    let slow = |it: &Counts| {
        SlowCounts::new(
            it.canary_bad() as u64 % 50,
            it.stable_bad() as u64 % 50,
            100 + it.canary_total() as u64 % 50,
            200 + it.stable_total() as u64 % 50,
        )
        .unwrap()
    };
    for metric in evidence.metrics.values_mut() {
        match metric {
            MetricEvidence::Rate(it) => it.look(&[*one, *two], &RateLimits::default(), is_warm_up),
            MetricEvidence::Absolute(it) => it.look(one.canary_bad(), one.canary_total(), 0.01),
            MetricEvidence::Latency(it) => {
                it.look(&[vec![slow(one)], vec![slow(two)]], &OddsLimits::default(), is_warm_up);
            }
            MetricEvidence::Gauge(it) => it.look(1.0 + one.canary_bad(), 1.0 + two.canary_bad()),
        }
    }
}

#[test]
fn a_look_without_traffic_of_an_arm_changes_nothing() {
    for look in [(3.0, 5.0, 0.0, 100.0), (3.0, 5.0, 100.0, 0.0), (0.0, 0.0, 0.0, 0.0)] {
        let look = Counts::new(look.0, look.1, look.2, look.3).unwrap();
        assert_eq!(rate::fail_increment(&look, 1.1, 0.1, 2.0).to_bits(), 0);
        assert_eq!(rate::pass_increment(&look, 2.0, 2.0).to_bits(), 0);
        assert!(share::increments(&look, 1.1, &[1.0], &[1.0], 0.95).iter().all(|it| *it == 0.0));
    }
    let none = SlowCounts::new(0, 40, 0, 100).unwrap();
    assert!(odds::fail_increments(&none, 1.25, &[2.0]).iter().all(|it| *it == 0.0));
}

#[test]
fn counts_that_cannot_be_are_refused() {
    assert!(Counts::new(-1.0, 0.0, 1.0, 1.0).is_err());
    assert!(Counts::new(0.0, f64::NAN, 1.0, 1.0).is_err());
    assert!(Counts::new(0.0, 0.0, f64::INFINITY, 1.0).is_err());
    assert!(SlowCounts::new(2, 0, 1, 1).is_err());
}

#[test]
fn strata_of_unlike_mixes_accuse_nobody() {
    // Each route is alike in both arms; the canary has more of the bad route. Taken together the
    // canary has twice the errors.
    let easy = Counts::new(1.0, 19.0, 100.0, 1_900.0).unwrap();
    let hard = Counts::new(40.0, 20.0, 200.0, 100.0).unwrap();
    let limits = RateLimits::default();
    let mut by_route = RateEvidence::new(Design::new(20, Some(1.0)), 1.0);
    let mut together = by_route.clone();
    for _ in 0..20 {
        by_route.look(&[easy, hard], &limits, false);
        together.look(&[easy.plus(&hard)], &limits, false);
    }
    assert!(together.log_e_against() > 50.0);
    assert!(by_route.log_e_against() < 0.0);
}

#[test]
fn a_warm_up_forgives_little_and_not_all() {
    let limits = RateLimits::default();
    let (mut cold, mut broken) = (
        RateEvidence::new(Design::new(10, Some(1.0)), 1.0),
        RateEvidence::new(Design::new(10, Some(1.0)), 1.0),
    );
    cold.look(&[Counts::new(12.0, 60.0, 300.0, 5_700.0).unwrap()], &limits, true);
    broken.look(&[Counts::new(150.0, 60.0, 300.0, 5_700.0).unwrap()], &limits, true);
    assert!(cold.log_e_against() < 0.0);
    assert!(broken.log_e_against() > 4.7);
}

#[test]
fn bursts_and_what_is_not_known_choose_the_careful_test() {
    assert!(Design::new(10, None).only_shares);
    assert!(Design::new(10, Some(51.0)).only_shares);
    assert_eq!(Design::new(10, Some(2.0)).fail_grid, BURST_GRID);
    assert_eq!(Design::new(10, Some(1.0)).fail_grid, FAIL_GRID);
    let lonely = [vec![(3.0, 100.0)], vec![(0.0, 100.0)]];
    assert_eq!(dispersion::estimate(&lonely), None);
    assert_eq!(dispersion::estimate(&[]), None);
}

#[test]
fn a_long_history_stays_small_and_its_bounds_near() {
    let limits = RateLimits::default();
    let mut evidence = RateEvidence::new(Design::new(60, Some(1.0)), 1.0);
    let mut bounds_before = (0.0, 0.0);
    for idx in 0_u32..600 {
        let canary = 300.0 + f64::from(idx % 7);
        let look = Counts::new(f64::from(idx % 5) + 3.0, 57.0, canary, 5_700.0).unwrap();
        evidence.look(&[look], &limits, false);
        if idx == 118 {
            bounds_before = (
                evidence.lower_ratio(&limits, 0.01).unwrap(),
                evidence.upper_ratio(&limits, 0.05).unwrap(),
            );
        }
    }
    let text = serde_json::to_string(&evidence).unwrap();
    assert!(text.len() < 6_000, "{} bytes, {MAX_BLOCKS} blocks", text.len());
    let lower = evidence.lower_ratio(&limits, 0.01).unwrap();
    let upper = evidence.upper_ratio(&limits, 0.05).unwrap();
    // The true ratio is about 1.65.
    assert!(bounds_before.0 < lower && lower < 1.7, "{lower}");
    assert!(bounds_before.1 > upper && upper > 1.6, "{upper}");
}

#[test]
fn another_version_of_the_state_is_refused_by_name() {
    let mut stored = serde_json::to_value(Evidence::default()).unwrap();
    assert!(Evidence::read(&stored).is_ok());
    stored["version"] = 2.into();
    assert!(matches!(Evidence::read(&stored), Err(UnknownState::Version { .. })));
    assert!(matches!(Evidence::read(&serde_json::json!({})), Err(UnknownState::Version { .. })));
    let broken = serde_json::json!({"version": 1, "metrics": {"a": {"rate": {}}}});
    assert!(matches!(Evidence::read(&broken), Err(UnknownState::Form(_))));
}

#[test]
fn histograms_of_both_arms_meet_at_their_common_bounds() {
    let canary = Histogram::from_cumulative(&[
        (f64::INFINITY, 100.0),
        (0.1, 50.0),
        (0.2, 45.0),
        (0.5, 80.0),
    ]);
    let stable =
        Histogram::from_cumulative(&[(0.1, 500.0), (0.5, 900.0), (f64::INFINITY, 1_000.0)]);
    let (canary, stable) = Histogram::in_common(&canary, &stable);
    let slow = slow_counts(&canary, &stable, 0.5).unwrap().unwrap();
    assert_eq!(slow, SlowCounts::new(20, 100, 100, 1_000).unwrap());
    assert!(slow_counts(&canary, &stable, 0.2).is_none());
    assert_eq!(stable.bounds_to_judge(), [0.1, 0.5]);
    assert_eq!(Histogram::from_cumulative(&[]).quantile(0.5), None);
}

#[test]
fn a_quantile_lies_between_bounds_that_many_requests_tell_apart() {
    let histogram = |times: f64| {
        let counts = [(0.1, 400.0), (0.2, 350.0), (0.5, 200.0), (f64::INFINITY, 50.0)];
        Histogram::from_counts(counts.map(|(bound, count)| (bound, count * times)))
    };
    // F is 0.4, 0.75, 0.95 and 1; the radius 0.09 with 1,000 requests, and 0.01 with 100,000.
    assert_eq!(histogram(1.0).quantile_band(0.6, 0.05), Some((0.1, 0.2)));
    assert_eq!(histogram(1.0).quantile_band(0.7, 0.05), Some((0.1, 0.5)));
    assert_eq!(histogram(100.0).quantile_band(0.7, 0.05), Some((0.1, 0.2)));
    assert_eq!(histogram(1.0).quantile_band(0.99, 0.05), Some((0.2, f64::INFINITY)));
    assert_eq!(histogram(0.01).quantile_band(0.5, 0.05), Some((0.0, f64::INFINITY)));
    assert_eq!(histogram(0.0).quantile_band(0.5, 0.05), None);
}

#[test]
fn a_counter_that_fell_was_reset() {
    assert!((increase(Some(10.0), 13.0) - 3.0).abs() < 1e-12);
    assert!((increase(Some(10.0), 4.0) - 4.0).abs() < 1e-12);
    assert!((increase(None, 4.0) - 4.0).abs() < 1e-12);
}

#[test]
fn a_native_histogram_grants_the_canary_a_factor_of_time() {
    let buckets = |all: &[(i32, u64)]| all.iter().copied().collect();
    let canary = NativeHistogram::new(2, 5, buckets(&[(0, 40), (4, 30), (8, 20)])).unwrap();
    let stable = NativeHistogram::new(3, 0, buckets(&[(0, 400), (8, 300), (15, 200)])).unwrap();
    let strict = NativeHistogram::slow_counts(&canary, &stable, 0, 0).unwrap();
    assert_eq!(strict, SlowCounts::new(50, 500, 95, 900).unwrap());
    let granted = NativeHistogram::slow_counts(&canary, &stable, 0, 4).unwrap();
    assert_eq!(granted, SlowCounts::new(20, 500, 95, 900).unwrap());
    assert!(NativeHistogram::new(-53, 0, buckets(&[])).is_none());
}

#[test]
fn a_split_is_doubted_where_it_is_far_off_and_certain() {
    assert!(report::wrong_split(4.0, 996.0, 0.1).is_some_and(|it| it.observed < 0.005));
    assert_eq!(report::wrong_split(9_000.0, 91_000.0, 0.1), None);
    assert_eq!(report::wrong_split(1.0, 30.0, 0.1), None);
    assert_eq!(report::wrong_split(0.0, 0.0, 0.1), None);
}
