//! Randomness of the companions: one stream for each purpose, so that a change in one shifts no
//! other.

use chrono::TimeDelta;

use super::span::Span;
use crate::clock::SeededEntropy;

/// Expected hits that are drawn in one go: `q^n` stays far from the smallest double.
const MOST_EXPECTED: f64 = 64.0;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(fastrand::Rng);

/// The seed of the stream `name` of a world.
fn seed_of(seed: u64, name: &str) -> u64 {
    // FNV-1a over the name, then the finisher of SplitMix64: close seeds and names end far apart.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut mixed = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// An entropy port that is the stream `name` of a world.
pub(crate) fn entropy(seed: u64, name: &str) -> SeededEntropy {
    SeededEntropy::new(seed_of(seed, name))
}

impl Random {
    /// The stream `name` of a world.
    pub(crate) fn stream(seed: u64, name: &str) -> Self {
        Self(fastrand::Rng::with_seed(seed_of(seed, name)))
    }

    /// A delay out of a span.
    pub(crate) fn within(&mut self, span: Span) -> TimeDelta {
        span.chosen_by(self.0.u64(..))
    }

    /// How many of `n` independent trials hit, each with probability `p`: a binomial number, exact
    /// up to the rounding of doubles.
    pub(crate) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p.is_nan() || p <= 0.0 {
            return 0;
        }
        if p >= 1.0 {
            return n;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        // A sum of binomial numbers is one of the sum of their trials.
        let most = chunk(p);
        let (mut left, mut hits) = (n, 0);
        while left > 0 {
            let trials = left.min(most);
            hits += self.inverted(trials, p);
            left -= trials;
        }
        hits
    }

    /// Inversion: walks along the distribution from 0 hits on.
    fn inverted(&mut self, n: u64, p: f64) -> u64 {
        let trials = to_f64(n);
        let odds = p / (1.0 - p);
        let mut probability = (1.0 - p).powf(trials);
        let mut drawn = self.0.f64();
        let mut hits = 0_u64;
        while drawn > probability && hits < n {
            drawn -= probability;
            hits += 1;
            probability *= odds * (trials - to_f64(hits) + 1.0) / to_f64(hits);
        }
        hits
    }

    /// `n` trials over outcomes with these weights: how often each came. Without any weight, none.
    pub(crate) fn multinomial(&mut self, n: u64, weights: &[f64]) -> Vec<u64> {
        let mut left_weight: f64 = weights.iter().sum();
        let mut left = n;
        let mut counts = Vec::with_capacity(weights.len());
        for weight in weights {
            let share = if left_weight > 0.0 { weight / left_weight } else { 0.0 };
            let count = self.binomial(left, share);
            counts.push(count);
            left -= count;
            left_weight -= weight;
        }
        // What rounding has left over belongs to the last outcome that can come.
        if let Some(last) = weights.iter().rposition(|weight| *weight > 0.0)
            && let Some(count) = counts.get_mut(last)
        {
            *count += left;
        }
        counts
    }
}

fn chunk(p: f64) -> u64 {
    let most = (MOST_EXPECTED / p).floor();
    // p is at most a half, so this is at least 128.
    from_f64(most.min(1e15)).max(1)
}

/// A count as a double; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn to_f64(count: u64) -> f64 {
    count as f64
}

/// A double as a count: rounded down, 0 for what is negative or no number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a double saturates, which is what is meant"
)]
pub(crate) fn from_f64(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_name_and_by_seed_and_repeat() {
        let draw = |seed, name| Random::stream(seed, name).0.u64(..);
        assert_eq!(draw(7, "kubelet"), draw(7, "kubelet"));
        assert_ne!(draw(7, "kubelet"), draw(7, "gateway"));
        assert_ne!(draw(7, "kubelet"), draw(8, "kubelet"));
    }

    #[test]
    fn binomial_numbers_have_the_mean_and_the_spread_of_their_law() {
        let mut random = Random::stream(1, "test");
        for (n, p) in [(10, 0.3), (1000, 0.01), (1000, 0.97), (50_000, 0.4)] {
            let draws = 2000;
            let numbers: Vec<f64> = (0..draws).map(|_| to_f64(random.binomial(n, p))).collect();
            let mean = numbers.iter().sum::<f64>() / to_f64(draws);
            let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / to_f64(draws);
            let (expected, spread) = (to_f64(n) * p, to_f64(n) * p * (1.0 - p));
            // Five standard errors of the mean; the variance within 20 %.
            assert!(
                (mean - expected).abs() < 5.0 * (spread / to_f64(draws)).sqrt(),
                "{n} {p}: {mean}"
            );
            assert!((variance / spread - 1.0).abs() < 0.2, "{n} {p}: {variance} of {spread}");
        }
        assert_eq!((random.binomial(5, 0.0), random.binomial(5, 1.0)), (0, 5));
        assert_eq!((random.binomial(0, 0.5), random.binomial(5, f64::NAN)), (0, 0));
    }

    #[test]
    fn a_multinomial_number_is_complete_and_respects_zero_weights() {
        let mut random = Random::stream(2, "test");
        for _ in 0..500 {
            let counts = random.multinomial(101, &[0.0, 95.0, 5.0, 0.0]);
            assert_eq!((counts.iter().sum::<u64>(), counts[0], counts[3]), (101, 0, 0));
        }
        assert_eq!(random.multinomial(10, &[0.0, 0.0]), [0, 0]);
        assert_eq!(random.multinomial(10, &[]), [0; 0]);
    }
}
