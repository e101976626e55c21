//! Latency histograms of Prometheus, classic and native, as counts of slow requests; and how much
//! slower the canary is (S4), for reports.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::counts::{InvalidCounts, SlowCounts};
use super::report::band_radius;

/// The increase of a counter since the look before. A counter that fell was reset, and one that was
/// not there began at 0.
pub fn increase(previous: Option<f64>, current: f64) -> f64 {
    match previous {
        Some(previous) if current >= previous => current - previous,
        _ => current,
    }
}

/// Requests by latency: ascending upper bounds (in the metric's unit, the last may be +Inf), and how
/// many requests lie between a bound and the one before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    buckets: Vec<Bucket>,
}

/// One bucket: up to its upper bound, from the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    bound: f64,
    count: f64,
}

impl Histogram {
    /// From the cumulative series of a classic histogram (`le`, requests up to it), in any order.
    ///
    /// Counts that fall towards larger bounds (scrapes that were torn) are raised to the one before.
    /// Bounds that are not numbers are left out.
    pub fn from_cumulative(series: &[(f64, f64)]) -> Self {
        let mut sorted: Vec<(f64, f64)> =
            series.iter().copied().filter(|(bound, _)| !bound.is_nan()).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut below = 0.0;
        let buckets = sorted
            .into_iter()
            .map(|(bound, cumulative)| {
                let count = (cumulative - below).max(0.0);
                below += count;
                Bucket { bound, count }
            })
            .collect();
        Self { buckets }
    }

    /// From counts bucket by bucket; bounds ascend.
    pub fn from_counts(buckets: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let buckets = buckets.into_iter().map(|(bound, count)| Bucket { bound, count }).collect();
        Self { buckets }
    }

    /// Both arms with the bounds that both have: two versions of a program may have different ones.
    pub fn in_common(canary: &Self, stable: &Self) -> (Self, Self) {
        let merge = |own: &Self, other: &Self| {
            let mut buckets = Vec::new();
            let mut count = 0.0;
            for bucket in &own.buckets {
                count += bucket.count;
                if other.buckets.iter().any(|it| it.bound.total_cmp(&bucket.bound).is_eq()) {
                    buckets.push(Bucket { bound: bucket.bound, count });
                    count = 0.0;
                }
            }
            Self { buckets }
        };
        (merge(canary, stable), merge(stable, canary))
    }

    /// All requests.
    pub fn total(&self) -> f64 {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// Requests that took longer than a bound of the histogram; None when it has no such bound.
    pub fn slower_than(&self, bound: f64) -> Option<f64> {
        let position = self.buckets.iter().position(|it| it.bound.total_cmp(&bound).is_eq())?;
        Some(self.buckets.iter().skip(position + 1).map(|bucket| bucket.count).sum())
    }

    /// The quantile `q` (0 to 1) by the rule of Prometheus' `histogram_quantile` for classic
    /// histograms: linear inside a bucket; the last finite bound for what lies above it. None without
    /// requests or without a finite bound.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.total();
        let last = self.buckets.iter().rev().map(|it| it.bound).find(|bound| bound.is_finite())?;
        if total <= 0.0 {
            return None;
        }
        let rank = q * total;
        let mut below = 0.0;
        let mut start = 0.0;
        for bucket in &self.buckets {
            if below + bucket.count >= rank {
                if bucket.bound.is_infinite() {
                    return Some(last);
                }
                if bucket.bound <= 0.0 {
                    return Some(bucket.bound);
                }
                return Some(start + (bucket.bound - start) * ((rank - below) / bucket.count));
            }
            below += bucket.count;
            start = bucket.bound;
        }
        Some(last)
    }

    /// Between which bounds the true quantile `q` lies, at every moment with probability `1 - alpha`,
    /// by the band of [`band_radius`]: 0 and infinity where there are too few requests to say. None
    /// without requests.
    pub fn quantile_band(&self, q: f64, alpha: f64) -> Option<(f64, f64)> {
        let total = self.total();
        if total < 1.0 {
            return None;
        }
        let radius = band_radius(total, alpha);
        let (mut below, mut band) = (0.0, (0.0, f64::INFINITY));
        for bucket in &self.buckets {
            below += bucket.count;
            let reached = below / total;
            if reached + radius < q {
                band.0 = bucket.bound;
            }
            if reached - radius >= q {
                band.1 = bucket.bound;
                break;
            }
        }
        Some(band)
    }

    /// The finite bounds nearest to the 50th, 90th and 99th percentile: where latency is judged
    /// unless somebody says otherwise. Ascending, without repetition; from the history of stable
    /// before the start, so that the canary has no part in the choice.
    pub fn bounds_to_judge(&self) -> Vec<f64> {
        let mut chosen: Vec<f64> = Vec::new();
        for q in [0.5, 0.9, 0.99] {
            let Some(quantile) = self.quantile(q) else { continue };
            let nearest = self
                .buckets
                .iter()
                .map(|bucket| bucket.bound)
                .filter(|bound| bound.is_finite())
                .min_by(|a, b| (a - quantile).abs().total_cmp(&(b - quantile).abs()));
            chosen.extend(nearest.filter(|bound| !chosen.contains(bound)));
        }
        chosen
    }

    fn counts(&self) -> impl Iterator<Item = f64> {
        self.buckets.iter().map(|bucket| bucket.count)
    }
}

/// Slow requests of both arms at a bound. None where an arm has no such bound.
pub fn slow_counts(
    canary: &Histogram,
    stable: &Histogram,
    bound: f64,
) -> Option<Result<SlowCounts, InvalidCounts>> {
    let (canary_slow, stable_slow) = (canary.slower_than(bound)?, stable.slower_than(bound)?);
    Some(SlowCounts::new(
        whole(canary_slow),
        whole(stable_slow),
        whole(canary.total()),
        whole(stable.total()),
    ))
}

fn whole(count: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are not negative, and the cast saturates"
    )]
    let whole = count.round() as u64;
    whole
}

/// The finest and the coarsest schema of Prometheus' native histograms.
const SCHEMAS: std::ops::RangeInclusive<i8> = -4..=8;

/// The positive side of a native histogram: bucket `i` of schema `s` holds what lies above
/// `2^((i-1) 2^-s)` and up to `2^(i 2^-s)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeHistogram {
    schema: i8,
    zero: u64,
    buckets: BTreeMap<i32, u64>,
}

impl NativeHistogram {
    /// A histogram; None when the schema is not of exponential buckets (-4 to 8). Histograms with
    /// custom bounds (schema -53) are [`Histogram`]s.
    pub fn new(schema: i8, zero: u64, buckets: BTreeMap<i32, u64>) -> Option<Self> {
        SCHEMAS.contains(&schema).then_some(Self { schema, zero, buckets })
    }

    /// Both arms at the coarser of their two schemas.
    pub fn in_common(canary: &Self, stable: &Self) -> (Self, Self) {
        let schema = canary.schema.min(stable.schema);
        (canary.coarsened(schema), stable.coarsened(schema))
    }

    /// The same at a coarser schema: each step down joins two buckets.
    #[must_use]
    pub fn coarsened(&self, schema: i8) -> Self {
        let mut coarser = self.clone();
        while coarser.schema > schema.max(*SCHEMAS.start()) {
            let mut joined = BTreeMap::new();
            for (idx, count) in coarser.buckets {
                // Upwards, also below zero: -3 belongs to -1.
                *joined.entry(idx.div_euclid(2) + idx.rem_euclid(2)).or_insert(0) += count;
            }
            coarser.buckets = joined;
            coarser.schema -= 1;
        }
        coarser
    }

    /// The upper bound of a bucket, in the metric's unit.
    pub fn upper_bound(&self, idx: i32) -> f64 {
        (f64::from(idx) * f64::from(-self.schema).exp2()).exp2()
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.buckets.values().fold(self.zero, |sum, count| sum.saturating_add(*count))
    }

    /// Requests slower than the upper bound of a bucket.
    pub fn slower_than(&self, idx: i32) -> u64 {
        self.buckets.range(idx.saturating_add(1)..).fold(0, |sum, (_, it)| sum.saturating_add(*it))
    }

    /// Slow requests of both arms, at a common schema. `tolerance` buckets are granted to the canary:
    /// it may be slower by the factor `2^(tolerance 2^-schema)`.
    pub fn slow_counts(
        canary: &Self,
        stable: &Self,
        idx: i32,
        tolerance: u16,
    ) -> Result<SlowCounts, InvalidCounts> {
        let (canary, stable) = Self::in_common(canary, stable);
        SlowCounts::new(
            canary.slower_than(idx.saturating_add(i32::from(tolerance))),
            stable.slower_than(idx),
            canary.total(),
            stable.total(),
        )
    }
}

/// Whether requests of the canary tend to be slower, from bucket counts: for reports, at one moment
/// that was fixed before. Looking at it again and again is not allowed for by its p-values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// The U statistic of the canary; ties count half.
    pub u: f64,
    /// Probability that a request of the canary is slower than one of stable, 0 to 1.
    pub probability_slower: f64,
    /// One-sided p-value against "not slower", normal approximation with continuity correction.
    pub p_greater: f64,
    /// Two-sided p-value.
    pub p_two_sided: f64,
}

/// Mann and Whitney's test (Annals of Mathematical Statistics 1947) on two histograms with the same
/// buckets, with the usual correction of the variance for ties. None when an arm is empty or all
/// requests are in one bucket.
pub fn mann_whitney(canary: &Histogram, stable: &Histogram) -> Option<MannWhitney> {
    let (pairs, all) = (canary.total() * stable.total(), canary.total() + stable.total());
    let (mut u, mut below, mut ties) = (0.0, 0.0, 0.0);
    for (slower, faster) in canary.counts().zip(stable.counts()) {
        u += slower * (below + faster / 2.0);
        below += faster;
        let in_bucket = slower + faster;
        ties += in_bucket * in_bucket * in_bucket - in_bucket;
    }
    let variance = pairs / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)));
    let normal = Normal::new(0.0, 1.0).ok()?;
    if variance.is_nan() || variance <= 0.0 {
        return None;
    }
    let (surplus, deviation) = (u - pairs / 2.0, variance.sqrt());
    Some(MannWhitney {
        u,
        probability_slower: u / pairs,
        p_greater: normal.sf((surplus - 0.5) / deviation),
        p_two_sided: (2.0 * normal.sf((surplus.abs() - 0.5) / deviation)).min(1.0),
    })
}
