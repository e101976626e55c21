//! What is known against and for a release, metric by metric, at any moment of a rollout: the state
//! that looks are added to.
//!
//! One state serves a whole rollout: steps, pauses, changes of weight and new processes of the
//! controller go on with it. It starts anew with a new revision only; a retry of the same one has
//! spent a part of its budget ([`super::verdict::Rule::for_attempt`]). It is kept in the status of the
//! AnalysisRun, so it is small and versioned, and carries the alternatives that it was begun with: a
//! later version of the program goes on with those.

use serde::{Deserialize, Serialize};

use super::bounds::{self, Decided};
use super::budget;
use super::counts::{Counts, SlowCounts};
use super::decimal;
use super::dispersion;
use super::history::{self, History, Stretch};
use super::log_space::as_float;
use super::mixture::{Mixture, OnsetPrior};
use super::{odds, rate, share};

mod gauge;
mod latency;
mod rare;
mod state;

pub use gauge::{GaugeEvidence, GaugeLimits};
pub use latency::{LatencyEvidence, OddsLimits};
use rare::RareEvidence;
pub use state::{Evidence, MetricEvidence, UnknownState, VERSION};

/// Alternatives of the test against a canary that is too bad, as multiples of the limit: two for a
/// regression to about twice the errors, two for about five times, one for what is far worse. Few of
/// them, because each costs all the others a part of the stake.
pub const FAIL_GRID: [f64; 5] = [1.7, 2.0, 4.0, 5.0, 14.0];
/// The same where events come in bursts: no large ones, because sizes of bursts have long tails; and
/// close together where a regression is hard to see.
pub const BURST_GRID: [f64; 4] = [1.7, 1.9, 2.1, 5.0];
/// Alternatives of the test for a pass, as divisors of the margin.
pub const PASS_GRID: [f64; 6] = [1.25, 1.5, 2.0, 3.0, 4.0, 8.0];
/// Dispersion above which events are taken to come in bursts.
const BURSTS_ABOVE: f64 = 1.5;
/// Part of the stake for a regression that is there from the first look.
const FIRST_WEIGHT: f64 = 0.79;
/// Part of the planned looks over which the rest of the stake is laid. What begins later is judged by
/// what was laid before.
const ONSET_PART: f64 = 0.6;

/// What a release must prove and what it may not exceed, for a rate of events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimits {
    /// The canary's rate may be this many times that of stable: 1.1.
    pub max_ratio: f64,
    /// And so much more, in events per exposure: 0.
    pub min_delta: f64,
    /// A pass is the proof that it is below this many times that of stable: 2. Above `max_ratio`.
    pub margin: f64,
    /// In place of `max_ratio` while the canary warms up, where that is less: 5.
    pub warm_up_ratio: f64,
    /// A canary that is proved to have fewer bad events per exposure than this passes whatever stable has; 0: none does.
    pub tolerated_rate: f64,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            max_ratio: 1.1,
            min_delta: 0.0,
            margin: 2.0,
            warm_up_ratio: 5.0,
            tolerated_rate: 0.0,
        }
    }
}

/// How evidence is gathered: fixed before the first look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Design {
    /// When a regression may begin.
    pub onset: OnsetPrior,
    /// Alternatives of the test against the canary, as multiples of the limit.
    #[serde(with = "decimal::list")]
    pub fail_grid: Vec<f64>,
    /// Alternatives of the test for a pass, as divisors of the margin.
    #[serde(with = "decimal::list")]
    pub pass_grid: Vec<f64>,
    /// Whether only shares of the events are judged (robust mode), and not their numbers.
    pub only_shares: bool,
}

impl Design {
    /// For a number of planned looks (1 or more), and what is known of the dispersion before the
    /// start. Where it is not known, or above [`dispersion::ROBUST_ABOVE`], only shares are judged.
    pub fn new(horizon: u32, dispersion: Option<f64>) -> Self {
        let usable = dispersion.filter(|factor| *factor <= dispersion::ROBUST_ABOVE);
        let has_bursts = usable.is_some_and(|factor| factor > BURSTS_ABOVE);
        let fail_grid = if has_bursts { BURST_GRID.to_vec() } else { FAIL_GRID.to_vec() };
        Self {
            onset: Self::onset(horizon),
            fail_grid,
            pass_grid: PASS_GRID.to_vec(),
            only_shares: usable.is_none(),
        }
    }

    /// When a regression may begin, for a number of planned looks.
    pub fn onset(horizon: u32) -> OnsetPrior {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a number of looks is one"
        )]
        let horizon = (f64::from(horizon) * ONSET_PART).ceil() as u32;
        OnsetPrior { horizon: horizon.max(1), first_weight: FIRST_WEIGHT }
    }
}

/// Evidence about errors of the canary beside those of stable (S1o against it, S1p for it; S2 for both
/// in robust mode).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateEvidence {
    design: Design,
    /// What increments are divided by, 1 or more; it may rise, and never falls.
    #[serde(with = "decimal")]
    dispersion: f64,
    against: Mixture,
    in_favour: Mixture,
    #[serde(default, skip_serializing_if = "RareEvidence::is_new")]
    rare: RareEvidence,
    history: History,
}

impl RateEvidence {
    /// None yet. `dispersion` of 1 or more; in robust mode it plays no part.
    pub fn new(design: Design, dispersion: f64) -> Self {
        Self {
            against: Mixture::new(design.onset),
            in_favour: Mixture::new(OnsetPrior::AT_ONCE),
            rare: RareEvidence::default(),
            design,
            dispersion: dispersion.max(1.0),
            history: History::default(),
        }
    }

    /// Raises what evidence is divided by, from looks that were taken in before the next one.
    pub fn raise_dispersion(&mut self, factor: f64) {
        self.dispersion = self.dispersion.max(factor);
    }

    /// Takes in a look: the counts of each stratum (one without `by`).
    pub fn look(&mut self, strata: &[Counts], limits: &RateLimits, is_warm_up: bool) {
        let least_ratio = if is_warm_up { limits.warm_up_ratio } else { 0.0 };
        let max_ratio = limits.max_ratio.max(least_ratio);
        let against = against(&self.design, strata, max_ratio, limits.min_delta, self.dispersion);
        let in_favour = in_favour(&self.design, strata, limits.margin, self.dispersion);
        self.against.add(against);
        self.in_favour.add(in_favour);
        let sum = |of: fn(&Counts) -> f64| strata.iter().map(of).sum::<f64>();
        let (events, exposure) = (sum(Counts::canary_bad), sum(Counts::canary_total));
        self.rare.look(events, exposure, limits.tolerated_rate, self.dispersion);
        self.history.push(strata, self.dispersion, least_ratio);
    }

    /// `ln` evidence against "the canary is within its limits".
    pub fn log_e_against(&self) -> f64 {
        self.against.log_e()
    }

    /// `ln` evidence against "the canary is at or beyond the margin", and, where some bad events are tolerated, "has at least
    /// that many".
    pub fn log_e_in_favour(&self) -> f64 {
        self.rare.beside(self.in_favour.log_e())
    }

    /// All counts so far.
    pub fn totals(&self) -> Option<Counts> {
        let blocks = self.history.stretches().iter().flat_map(|stretch| &stretch.blocks);
        blocks.flat_map(history::Block::strata).copied().reduce(|sum, counts| sum.plus(&counts))
    }

    /// The ratio is at least this, at every look, with probability `1 - alpha`; None for 0. It passes
    /// `max_ratio` exactly where the evidence against the canary passes 1/alpha.
    ///
    /// With a `min_delta` it is the ratio beyond that slack. In robust mode, and where more than
    /// [`super::history::MAX_BLOCKS`] looks were joined, the crossing nearest to `max_ratio` is taken.
    pub fn lower_ratio(&self, limits: &RateLimits, alpha: f64) -> Option<f64> {
        let log_threshold = -alpha.ln();
        let is_refuted = budget::is_refuted(self.log_e_against(), alpha);
        let decided = Decided { ratio: limits.max_ratio, is_refuted };
        let evidence = |ratio: f64| {
            self.replay(self.design.onset, |stretch, strata| {
                let ratio = ratio.max(stretch.least_ratio);
                against(&self.design, strata, ratio, limits.min_delta, stretch.dispersion)
            })
        };
        bounds::lower_bound(evidence, log_threshold, Some(decided))
    }

    /// The ratio is at most this, at every look, with probability `1 - beta`; None for no bound yet. It is about the comparison
    /// alone: what passes because its bad events are rare may have none.
    pub fn upper_ratio(&self, limits: &RateLimits, beta: f64) -> Option<f64> {
        let is_refuted = budget::is_refuted(self.in_favour.log_e(), beta);
        let decided = Decided { ratio: limits.margin, is_refuted };
        let evidence = |ratio: f64| {
            self.replay(OnsetPrior::AT_ONCE, |stretch, strata| {
                in_favour(&self.design, strata, ratio, stretch.dispersion)
            })
        };
        bounds::upper_bound(evidence, -beta.ln(), Some(decided))
    }

    fn replay(
        &self,
        onset: OnsetPrior,
        increments: impl Fn(&Stretch, &[Counts]) -> Vec<f64>,
    ) -> f64 {
        let mut mixture = Mixture::new(onset);
        for stretch in self.history.stretches() {
            for block in &stretch.blocks {
                mixture.add_block(block.looks(), increments(stretch, block.strata()));
            }
        }
        mixture.log_e()
    }
}

fn against(
    design: &Design,
    strata: &[Counts],
    max_ratio: f64,
    min_delta: f64,
    dispersion: f64,
) -> Vec<f64> {
    if design.only_shares {
        return bets(strata, max_ratio);
    }
    let grid = design.fail_grid.iter();
    grid.map(|growth| {
        let increments =
            strata.iter().map(|it| rate::fail_increment(it, max_ratio, min_delta, *growth));
        increments.sum::<f64>() / dispersion
    })
    .collect()
}

fn in_favour(design: &Design, strata: &[Counts], margin: f64, dispersion: f64) -> Vec<f64> {
    if design.only_shares {
        let swapped: Vec<Counts> = strata.iter().map(Counts::swapped).collect();
        return bets(&swapped, 1.0 / margin);
    }
    let grid = design.pass_grid.iter();
    grid.map(|shrink| {
        strata.iter().map(|it| rate::pass_increment(it, margin, *shrink)).sum::<f64>() / dispersion
    })
    .collect()
}

/// What the strata together add to each bet.
fn bets(strata: &[Counts], max_ratio: f64) -> Vec<f64> {
    let mut sums = vec![0.0; share::EFFECTS.len() * share::DISPERSIONS.len()];
    for counts in strata {
        let bets = share::increments(
            counts,
            max_ratio,
            &share::EFFECTS,
            &share::DISPERSIONS,
            share::MAX_STAKE,
        );
        sums.iter_mut().zip(bets).for_each(|(sum, bet)| *sum += bet);
    }
    sums
}

/// Evidence about a rate of events without a stable arm to compare with (S1a): a first release, or a
/// limit that holds in any case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AbsoluteEvidence {
    design: Design,
    #[serde(with = "decimal")]
    dispersion: f64,
    against: Mixture,
    in_favour: Mixture,
    #[serde(with = "decimal")]
    events: f64,
    #[serde(with = "decimal")]
    exposure: f64,
}

impl AbsoluteEvidence {
    /// None yet.
    pub fn new(design: Design, dispersion: f64) -> Self {
        Self {
            against: Mixture::new(design.onset),
            in_favour: Mixture::new(OnsetPrior::AT_ONCE),
            design,
            dispersion: dispersion.max(1.0),
            events: 0.0,
            exposure: 0.0,
        }
    }

    /// Takes in a look. `max_rate`: events per exposure that are allowed.
    pub fn look(&mut self, events: f64, exposure: f64, max_rate: f64) {
        let factor = self.dispersion;
        let grid = self.design.fail_grid.iter();
        self.against.add(
            grid.map(|it| rate::absolute_fail_increment(events, exposure, max_rate, *it) / factor),
        );
        let grid = self.design.pass_grid.iter();
        self.in_favour.add(
            grid.map(|it| rate::absolute_pass_increment(events, exposure, max_rate, *it) / factor),
        );
        self.events += events;
        self.exposure += exposure;
    }

    /// `ln` evidence against "the rate is at most the limit".
    pub fn log_e_against(&self) -> f64 {
        self.against.log_e()
    }

    /// `ln` evidence against "the rate is at or above the limit".
    pub fn log_e_in_favour(&self) -> f64 {
        self.in_favour.log_e()
    }

    /// Events and exposure so far.
    pub fn totals(&self) -> (f64, f64) {
        (self.events, self.exposure)
    }
}
