//! Whether requests follow the weights (S8): a diagnosis of the routing, never a verdict on a release.
//!
//! Only requests are counted for which one weight is known to have been in effect: a look counts if the
//! weight was seen before it began, a scrape earlier than that (`lag`), and is seen unchanged after the
//! look that follows it, so that neither a change within a look nor a status that was read late is taken
//! for a deviation. With another weight everything begins anew. Where Services divide the traffic by pods
//! there is no weight, and nothing is said: connections that live long are no defect of the routing.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::analysis::statistics::decimal;
use crate::analysis::statistics::report::{self, WrongSplit};
use crate::api::Time;

/// A weight that is known to be in effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmedWeight {
    /// Parts of the traffic that go to the canary.
    pub canary: u32,
    /// Parts that go to stable.
    pub stable: u32,
}

impl ConfirmedWeight {
    /// The canary's share, where both get a part of the traffic: above 0 and below 1.
    pub fn share(self) -> Option<f64> {
        let (canary, stable) = (f64::from(self.canary), f64::from(self.stable));
        (self.canary > 0 && self.stable > 0).then(|| canary / (canary + stable))
    }
}

/// What is known of the weight, and when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenWeight {
    /// The weight; none where it is not known, or there is none.
    pub weight: Option<ConfirmedWeight>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Requests of one look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Requests {
    /// Begin of the look.
    pub(super) from: DateTime<Utc>,
    pub(super) canary: f64,
    pub(super) stable: f64,
}

/// Requests at one weight, as they are kept in `status.evidence`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::analysis) struct SplitWatch {
    weight: ConfirmedWeight,
    /// When it was first seen.
    since: Option<Time>,
    /// Of the canary and of stable.
    #[serde(with = "decimal::list")]
    requests: Vec<f64>,
    /// Those of the newest look, which count once the weight is seen again.
    #[serde(with = "decimal::list", skip_serializing_if = "Vec::is_empty")]
    pending: Vec<f64>,
    /// Whether the evidence has ever passed its bound at this weight.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_proved: bool,
}

impl SplitWatch {
    /// What is known after a look. `counted`: none where its requests cannot be counted by weight.
    pub(super) fn after(
        before: Option<Self>,
        seen: &SeenWeight,
        counted: Option<Requests>,
        lag: TimeDelta,
    ) -> Option<Self> {
        let weight = seen.weight.filter(|weight| weight.share().is_some())?;
        let Some(mut watch) = before.filter(|watch| watch.weight == weight) else {
            return Some(Self { weight, since: Some(Time(seen.at)), ..Self::default() });
        };
        let pending = std::mem::take(&mut watch.pending);
        if !pending.is_empty() {
            watch.requests.resize(pending.len(), 0.0);
            watch.requests.iter_mut().zip(&pending).for_each(|(sum, count)| *sum += count);
        }
        let is_within =
            |from: DateTime<Utc>| watch.since.is_some_and(|since| from >= since.0 + lag);
        if let Some(Requests { from, canary, stable }) = counted
            && is_within(from)
        {
            watch.pending = vec![canary, stable];
        }
        if let Some((canary, stable, share)) = watch.counts() {
            watch.is_proved |= report::is_split_doubted(canary, stable, share);
        }
        Some(watch)
    }

    fn counts(&self) -> Option<(f64, f64, f64)> {
        match (self.requests.as_slice(), self.weight.share()) {
            (&[canary, stable], Some(share)) => Some((canary, stable, share)),
            (_, _) => None,
        }
    }

    /// The deviation, where it is proved and large; with the requests of canary and of both.
    pub(super) fn wrong(&self) -> Option<(WrongSplit, f64, f64)> {
        let (canary, stable, share) = self.counts().filter(|_| self.is_proved)?;
        Some((report::far_split(canary, stable, share)?, canary, canary + stable))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statrs::distribution::{Binomial, Discrete as _};

    use super::*;

    const LAG: TimeDelta = TimeDelta::seconds(15);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    const FIVE: Option<ConfirmedWeight> = Some(ConfirmedWeight { canary: 5, stable: 95 });

    /// Looks every 30 s, each with its weight and its requests.
    fn watched(looks: &[(Option<ConfirmedWeight>, f64, f64)]) -> Option<SplitWatch> {
        let mut watch = None;
        for (look, (weight, canary, stable)) in (1..).zip(looks) {
            let seen = SeenWeight { weight: *weight, at: at(30 * look) };
            let from = at(30 * (look - 1)) - LAG;
            let counted = Some(Requests { from, canary: *canary, stable: *stable });
            watch = SplitWatch::after(watch, &seen, counted, LAG);
        }
        watch
    }

    #[test]
    fn requests_count_that_were_served_wholly_at_a_weight_that_is_seen_before_and_after() {
        // Of the first look and the second a scrape may be from before the weight was seen, and the last is not
        // known to have ended with it.
        let watch = watched(&[(FIVE, 1.0, 1.0); 6]).unwrap();
        assert_eq!(watch.requests, [3.0, 3.0]);
        assert_eq!(watch.pending, [1.0, 1.0]);
        let ten = Some(ConfirmedWeight { canary: 10, stable: 90 });
        for other in [ten, None, Some(ConfirmedWeight { canary: 0, stable: 100 })] {
            let mut looks = vec![(FIVE, 1.0, 1.0); 6];
            // What was served at another weight is never held against this one.
            looks.push((other, 900.0, 100.0));
            looks.extend([(FIVE, 900.0, 100.0); 3]);
            let watch = watched(&looks).unwrap();
            assert_eq!((watch.weight, watch.requests.len()), (FIVE.unwrap(), 0), "{other:?}");
        }
    }

    #[test]
    fn a_look_without_counts_is_left_out() {
        let mut watch = watched(&[(FIVE, 1.0, 1.0); 4]);
        for look in 5..8 {
            let seen = SeenWeight { weight: FIVE, at: at(30 * look) };
            watch = SplitWatch::after(watch, &seen, None, LAG);
        }
        assert_eq!(watch.unwrap().requests, [2.0, 2.0]);
    }

    #[test]
    fn a_canary_with_another_share_is_said_once_there_is_proof() {
        let wrong = |looks: usize, canary: f64| {
            let found = watched(&vec![(FIVE, canary, 1000.0 - canary); looks])?.wrong()?;
            Some((found.0.expected, found.0.observed, found.1, found.2))
        };
        assert_eq!(wrong(3, 120.0), None, "nothing is counted yet");
        assert_eq!(wrong(4, 120.0), Some((0.05, 0.12, 120.0, 1000.0)));
        assert_eq!(wrong(5, 4.0), Some((0.05, 0.004, 8.0, 2000.0)));
        assert_eq!(wrong(60, 50.0), None);
        // Proved, and no more than sessions that stick may do.
        assert_eq!(wrong(60, 60.0), None);
        assert_eq!(wrong(60, 0.0), Some((0.05, 0.0, 0.0, 57_000.0)));
    }

    #[test]
    fn what_was_kept_is_gone_on_with() {
        let watch = watched(&[(FIVE, 120.0, 880.0); 6]).unwrap();
        let stored = serde_json::to_value(&watch).unwrap();
        assert!(stored.to_string().len() < 200, "{stored}");
        assert_eq!(serde_json::from_value::<SplitWatch>(stored).unwrap(), watch);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        /// The chance that routing which follows the weight is ever doubted, by following every number of
        /// requests that the canary can have.
        #[test]
        fn requests_that_follow_the_weight_are_doubted_in_fewer_than_one_of_ten_thousand(
            canary in 1_u32..100,
            per_look in prop_oneof![1_u32..6, 6_u32..40],
            looks in 5_u32..40,
        ) {
            let share = f64::from(canary) / 100.0;
            let chances: Vec<f64> = {
                let look = Binomial::new(share, u64::from(per_look)).unwrap();
                (0..=u64::from(per_look)).map(|k| look.pmf(k)).collect()
            };
            let (mut open, mut doubted) = (vec![1.0], 0.0);
            for look in 1..=looks {
                let mut next = vec![0.0; open.len() + chances.len() - 1];
                for (before, p) in open.iter().enumerate() {
                    for (k, chance) in chances.iter().enumerate() {
                        next[before + k] += p * chance;
                    }
                }
                for (k, p) in (0_u32..).zip(&mut next) {
                    let rest = f64::from(look * per_look) - f64::from(k);
                    if report::is_split_doubted(f64::from(k), rest, share) {
                        doubted += std::mem::take(p);
                    }
                }
                open = next;
            }
            prop_assert!(doubted <= 1e-4, "{doubted}");
        }
    }
}
