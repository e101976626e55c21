//! Evidence that bad events of the canary are rare, whatever stable has. Where neither arm has any, or next to none, no ratio can
//! ever be proved; the number of requests without one still says something.

use serde::{Deserialize, Serialize};

use super::{Mixture, OnsetPrior, rate};
use crate::analysis::statistics::log_space::log_add_exp;

/// Alternatives, as divisors of the rate that is tolerated: some events, and none at all.
const GRID: [f64; 2] = [4.0, 1e6];
/// Its part of the evidence for a pass; the comparison has the rest.
const WEIGHT: f64 = 0.25;

/// Evidence against "the canary has at least so many bad events per exposure" (the mirror of S1a). Of the form in which it is
/// stored nothing is written before its first look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct RareEvidence(Mixture);

impl Default for RareEvidence {
    fn default() -> Self {
        Self(Mixture::new(OnsetPrior::AT_ONCE))
    }
}

impl RareEvidence {
    pub(super) fn is_new(&self) -> bool {
        self.0.is_new()
    }

    /// Takes in a look at the canary. `tolerated`: events per exposure; 0 or less: none are, and nothing is taken in.
    pub(super) fn look(&mut self, events: f64, exposure: f64, tolerated: f64, dispersion: f64) {
        if tolerated > 0.0 {
            let increment =
                |it: &f64| rate::absolute_pass_increment(events, exposure, tolerated, *it);
            self.0.add(GRID.iter().map(|it| increment(it) / dispersion));
        }
    }

    /// `ln` evidence against "the canary is at or beyond its margin, and has at least so many bad events". Each of the two
    /// alone is evidence against both together, and so is an average of them.
    pub(super) fn beside(&self, log_e_compared: f64) -> f64 {
        if self.is_new() {
            return log_e_compared;
        }
        log_add_exp(log_e_compared + (1.0 - WEIGHT).ln(), self.0.log_e() + WEIGHT.ln())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Design, OddsLimits, RateEvidence, RateLimits};
    use super::*;
    use crate::analysis::statistics::counts::{Counts, SlowCounts};
    use crate::analysis::statistics::evidence::LatencyEvidence;
    use crate::analysis::statistics::verdict::{Guards, Standing};

    const TOLERATED: f64 = 0.001;

    fn limits() -> RateLimits {
        RateLimits { tolerated_rate: TOLERATED, ..RateLimits::default() }
    }

    fn has_passed(evidence: &RateEvidence, canary: (f64, f64)) -> bool {
        let standing = Standing {
            metric: "errors".to_owned(),
            log_e_against: evidence.log_e_against(),
            log_e_in_favour: evidence.log_e_in_favour(),
            canary: Some(canary),
            weight: Some(1.0),
            guards: Guards::default(),
        };
        standing.has_passed()
    }

    fn after(looks: u32, bad: f64, limits: &RateLimits, phi: Option<f64>) -> RateEvidence {
        let mut evidence = RateEvidence::new(Design::new(60, phi), phi.unwrap_or(1.0));
        for look in 0..looks {
            let bad = if look == 0 { bad } else { 0.0 };
            let counts = Counts::new(bad, 19.0 * bad, 100.0, 1900.0);
            evidence.look(&[counts.unwrap()], limits, false);
        }
        evidence
    }

    #[test]
    fn a_release_without_bad_events_passes_where_it_had_enough_requests_to_show_it() {
        // In robust mode too, where nothing is known of bursts because stable had none.
        for phi in [Some(1.0), None] {
            let first = (1..200).find(|looks| {
                has_passed(&after(*looks, 0.0, &limits(), phi), (0.0, f64::from(*looks) * 100.0))
            });
            // Nearly five events would have been expected at the rate that is tolerated.
            assert_eq!(first, Some(48), "{phi:?}");
            let never = after(200, 0.0, &RateLimits::default(), phi);
            assert!(!has_passed(&never, (0.0, 20_000.0)), "{phi:?}");
        }
        // A bad event, as stable has them too, puts it off, and does not rule it out.
        assert!(!has_passed(&after(48, 1.0, &limits(), Some(1.0)), (1.0, 4_800.0)));
        assert!(has_passed(&after(120, 1.0, &limits(), Some(1.0)), (1.0, 12_000.0)));
    }

    #[test]
    fn a_latency_that_nothing_exceeds_passes_too() {
        let tolerates = OddsLimits { tolerated_share: TOLERATED, ..OddsLimits::default() };
        for (limits, passes) in [(tolerates, true), (OddsLimits::default(), false)] {
            let mut evidence = LatencyEvidence::new(&[0.005], Design::onset(60), 1.0);
            for _ in 0..60 {
                let look = SlowCounts::new(0, 0, 100, 1900).unwrap();
                evidence.look(&[vec![look]], &limits, false);
            }
            assert_eq!(evidence.log_e_in_favour() >= -(0.05_f64.ln()), passes);
        }
    }

    #[test]
    fn evidence_that_was_begun_without_it_is_gone_on_with() {
        let kept = after(3, 0.0, &RateLimits::default(), Some(1.0));
        let stored = serde_json::to_value(&kept).unwrap();
        assert!(stored.get("rare").is_none(), "{stored}");
        let mut read: RateEvidence = serde_json::from_value(stored).unwrap();
        assert_eq!(read, kept);
        let counts = Counts::new(0.0, 0.0, 100.0, 1900.0).unwrap();
        read.look(&[counts], &limits(), false);
        let again: RateEvidence =
            serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        /// All outcomes of three looks, each counted with its probability: the canary is at or beyond its margin, and has at
        /// least the bad events that are tolerated.
        #[test]
        fn beyond_the_margin_and_what_is_tolerated_the_evidence_expects_at_most_one(
            n in (1_u32..5, 1_u32..8),
            stable in 0.0_f64..0.3,
            beyond in 1.0_f64..3.0,
            tolerated in 0.001_f64..0.5,
            phi in prop_oneof![Just(1.0), 1.0_f64..4.0],
        ) {
            let usual = RateLimits::default();
            let limits = RateLimits { tolerated_rate: tolerated, ..usual };
            let canary = (stable * usual.margin).max(tolerated) * beyond;
            prop_assume!(canary <= 1.0);
            let chance = |n: u32, k: u32, p: f64| {
                use statrs::distribution::{Binomial, Discrete as _};
                Binomial::new(p, u64::from(n)).unwrap().pmf(u64::from(k))
            };
            let outcomes: Vec<(Counts, f64)> = (0..=n.0)
                .flat_map(|x| (0..=n.1).map(move |y| (x, y)))
                .map(|(x, y)| {
                    let all = [x, y, n.0, n.1].map(f64::from);
                    let counts = Counts::new(all[0], all[1], all[2], all[3]).unwrap();
                    (counts, chance(n.0, x, canary) * chance(n.1, y, stable))
                })
                .collect();
            let mut states = vec![(RateEvidence::new(Design::new(10, Some(phi)), phi), 1.0)];
            for _ in 0..2 {
                states = states
                    .iter()
                    .flat_map(|(state, p)| outcomes.iter().map(move |(look, q)| {
                        let mut next = state.clone();
                        next.look(&[*look], &limits, false);
                        (next, p * q)
                    }))
                    .collect();
            }
            let mean: f64 = states.iter().map(|(it, p)| p * it.log_e_in_favour().exp()).sum();
            prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
        }

        /// The chance to pass ever, within 60 looks of a canary at the rate that is tolerated and stable at none: by following
        /// every number of events that it can have (a Poisson stream).
        #[test]
        fn a_canary_at_the_tolerated_rate_seldom_passes(exposure in 20.0_f64..5_000.0) {
            let chances: Vec<f64> = {
                use statrs::distribution::{Discrete as _, Poisson};
                let events = Poisson::new(exposure * TOLERATED).unwrap();
                (0..40).map(|k| events.pmf(k)).collect()
            };
            // Chance by number of events so far, among those that have not passed.
            let mut open = vec![1.0];
            let mut passed = 0.0;
            for look in 1..=60 {
                let mut next = vec![0.0; open.len() + chances.len()];
                for (before, p) in open.iter().enumerate() {
                    for (k, chance) in chances.iter().enumerate() {
                        next[before + k] += p * chance;
                    }
                }
                // More than these never pass within the 60 looks.
                next.truncate(400);
                for (events, p) in (0_u32..).zip(&mut next) {
                    let mut evidence = RareEvidence::default();
                    evidence.look(f64::from(events), exposure * f64::from(look), TOLERATED, 1.0);
                    if evidence.beside(0.0) >= 20.0_f64.ln() {
                        passed += *p;
                        *p = 0.0;
                    }
                }
                open = next;
            }
            prop_assert!(passed <= 0.05, "{passed}");
        }
    }
}
