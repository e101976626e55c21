//! The simulated releases: 60 looks of a minute at canary and stable, and an hour of stable's pods
//! before.

use super::random::{Place, Quantiles};
use crate::analysis::statistics::dispersion::{self, Interval};

/// Looks of a run, one a minute.
pub(super) const LOOKS: u32 = 60;
/// The benchmark's seed.
const SEED: u64 = 20_261_121;
/// Pods of stable in the history.
const PODS: u64 = 10;
/// Mean number of events in a burst.
const BURST: f64 = 5.0;
/// Requests a look from which their number is taken as fixed.
const MANY: f64 = 200.0;

/// One simulated service, released again and again.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// Requests a second, both arms.
    rate: f64,
    /// The canary's share of them from each look on (from 0).
    shares: &'static [(u32, f64)],
    /// Share of stable's requests that are bad.
    pub(super) base: f64,
    /// How many times as bad the canary is, one row each.
    pub(super) ratios: &'static [f64],
    /// The look (from 0) from which it is.
    onset: u32,
    /// Looks (from 0) at which both arms are 20 times as bad.
    outage: std::ops::Range<u32>,
    /// Whether bad requests come in bursts.
    has_bursts: bool,
}

const USUAL: Scenario = Scenario {
    name: "",
    what: "",
    rate: 100.0,
    shares: &[(0, 0.05)],
    base: 0.01,
    ratios: &[],
    onset: 0,
    outage: 0..0,
    has_bursts: false,
};

/// All of them, in the order of the table.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "E1",
            what: "100 rps, 5 %, base 0.1 %",
            base: 0.001,
            ratios: &[1.0, 2.0, 5.0, 10.0],
            ..USUAL
        },
        Scenario {
            name: "E2",
            what: "100 rps, 5 %, base 1 %",
            ratios: &[1.0, 2.0, 5.0, 10.0],
            ..USUAL
        },
        Scenario {
            name: "E3",
            what: "2 rps, 10 %, base 1 %",
            rate: 2.0,
            shares: &[(0, 0.1)],
            ratios: &[1.0, 5.0, 10.0, 50.0],
            ..USUAL
        },
        Scenario {
            name: "E4",
            what: "0.5 rps, 10 %, base 1 %",
            rate: 0.5,
            shares: &[(0, 0.1)],
            ratios: &[1.0, 20.0, 50.0],
            ..USUAL
        },
        Scenario {
            name: "E5",
            what: "20 rps, steps, base 0.5 %",
            rate: 20.0,
            shares: &[(0, 0.05), (15, 0.1), (30, 0.25), (45, 0.5)],
            base: 0.005,
            ratios: &[1.0, 2.0, 5.0],
            ..USUAL
        },
        Scenario {
            name: "E6",
            what: "shared outage, base 0.1 %",
            base: 0.001,
            ratios: &[1.0, 5.0],
            outage: 20..26,
            ..USUAL
        },
        Scenario {
            name: "E7",
            what: "bursts of 5, base 1 %",
            ratios: &[1.0, 2.0, 5.0],
            has_bursts: true,
            ..USUAL
        },
        Scenario {
            name: "E8",
            what: "2,000 rps, 5 %, base 0.1 %",
            rate: 2_000.0,
            base: 0.001,
            ratios: &[1.0, 1.1, 2.0],
            ..USUAL
        },
        Scenario {
            name: "E9",
            what: "onset 31, base 1 %",
            ratios: &[2.0, 5.0],
            onset: 30,
            ..USUAL
        },
        Scenario {
            name: "E10",
            what: "onset 31, base 0.1 %",
            base: 0.001,
            ratios: &[5.0, 10.0],
            onset: 30,
            ..USUAL
        },
    ]
}

/// What a look sees: bad requests and requests of canary and stable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    pub(super) bad: [f64; 2],
    pub(super) total: [f64; 2],
}

impl Scenario {
    /// The looks of a run.
    pub(super) fn looks(&self, ratio: f64, run: u64, quantiles: &mut Quantiles) -> Vec<Look> {
        (0..LOOKS).map(|look| self.look(ratio, run, look, quantiles)).collect()
    }

    fn look(&self, ratio: f64, run: u64, look: u32, quantiles: &mut Quantiles) -> Look {
        let place = Place { seed: SEED, run, look: u64::from(look) };
        let shares = self.shares.iter().rev();
        let share = shares.clone().find(|(from, _)| look >= *from).map_or(0.0, |(_, share)| *share);
        let outage = if self.outage.contains(&look) { 20.0 } else { 1.0 };
        let base = self.base * outage;
        let worse = if look >= self.onset { ratio } else { 1.0 };
        let mut arm = |stream: u64, share: f64, chance: f64| {
            let mean = self.rate * 60.0 * share;
            let uniform = place.uniform(stream);
            if self.rate * 60.0 < MANY {
                let total = quantiles.poisson(mean, place.uniform(2 + stream));
                (f64::from(quantiles.binomial(total, chance, uniform)), f64::from(total))
            } else {
                let total = mean.round();
                let expected = total * chance;
                let sizes = place.uniform(4 + stream);
                (self.events(expected, uniform, sizes, quantiles), total)
            }
        };
        let (canary, stable) =
            (arm(0, share, (base * worse).min(1.0)), arm(1, 1.0 - share, base.min(1.0)));
        Look { bad: [canary.0, stable.0], total: [canary.1, stable.1] }
    }

    fn events(&self, expected: f64, uniform: f64, sizes: f64, quantiles: &mut Quantiles) -> f64 {
        if !self.has_bursts {
            return f64::from(quantiles.poisson(expected, uniform));
        }
        let bursts = quantiles.poisson(expected / BURST, uniform);
        f64::from(bursts) + f64::from(quantiles.negative_binomial(bursts, 1.0 / BURST, sizes))
    }

    /// What the hour before the start says about the dispersion.
    pub(super) fn dispersion(&self, run: u64, quantiles: &mut Quantiles) -> f64 {
        let exposure = self.rate * 60.0 / 10.0;
        let history: Vec<Interval> = (0..60)
            .map(|look| {
                let place = Place { seed: SEED, run, look };
                let pods = 0..PODS;
                pods.map(|pod| {
                    let (uniform, sizes) = (place.uniform(20 + pod), place.uniform(40 + pod));
                    (self.events(exposure * self.base, uniform, sizes, quantiles), exposure)
                })
                .collect()
            })
            .collect();
        dispersion::estimate(&history).map_or(1.0, |it| it.factor)
    }
}
