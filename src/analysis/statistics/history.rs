//! The counts of each look, kept for the bounds of the ratio: they need the evidence for ratios that
//! nobody asked for before.

use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::decimal;

/// Blocks that are kept. Beyond them neighbours are joined, those whose shares of the traffic are
/// most alike first; the verdict does not depend on it, and the bounds hardly.
pub const MAX_BLOCKS: usize = 120;

/// Counts by stratum of one look, or of several that were joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Block {
    looks: u32,
    strata: Vec<Counts>,
}

impl Block {
    /// How many looks it holds.
    pub fn looks(&self) -> u32 {
        self.looks
    }

    /// The counts of each stratum.
    pub fn strata(&self) -> &[Counts] {
        &self.strata
    }

    fn total(&self) -> Option<Counts> {
        self.strata.iter().copied().reduce(|sum, counts| sum.plus(&counts))
    }

    /// How far the canary's shares of the traffic are apart, 0 to 1.
    fn distance(&self, other: &Self) -> f64 {
        let share = |block: &Self| block.total().map_or(0.0, |counts| counts.canary_share());
        (share(self) - share(other)).abs()
    }
}

/// `LOOKS:x y n_c n_s;x y n_c n_s;...`; one look leaves `1:` out.
impl From<Block> for String {
    fn from(block: Block) -> Self {
        let strata: Vec<String> = block
            .strata
            .iter()
            .map(|it| {
                let [x, y, canary, stable] =
                    [it.canary_bad(), it.stable_bad(), it.canary_total(), it.stable_total()];
                format!("{x} {y} {canary} {stable}")
            })
            .collect();
        let strata = strata.join(";");
        if block.looks == 1 { strata } else { format!("{}:{strata}", block.looks) }
    }
}

impl TryFrom<String> for Block {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not `x y n_c n_s` for each stratum");
        let (looks, rest) = match text.split_once(':') {
            Some((looks, rest)) => (looks.parse().map_err(|_| wrong())?, rest),
            None => (1, text.as_str()),
        };
        let strata = rest
            .split(';')
            .filter(|stratum| !stratum.is_empty())
            .map(|stratum| {
                let numbers: Vec<f64> = stratum
                    .split(' ')
                    .map(str::parse)
                    .collect::<Result<_, _>>()
                    .map_err(|_| wrong())?;
                let [x, y, canary, stable] = *numbers.as_slice() else { return Err(wrong()) };
                Counts::new(x, y, canary, stable).map_err(|error| error.to_string())
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { looks, strata })
    }
}

/// Successive blocks that were judged alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stretch {
    /// What the evidence was divided by.
    #[serde(with = "decimal")]
    pub dispersion: f64,
    /// The ratio below which the limit did not go: that of the warm-up, or 0.
    #[serde(with = "decimal")]
    pub least_ratio: f64,
    /// The blocks, oldest first.
    pub blocks: Vec<Block>,
}

/// The looks of one metric, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History {
    stretches: Vec<Stretch>,
}

impl History {
    /// The stretches, oldest first.
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// Adds a look.
    pub fn push(&mut self, strata: &[Counts], dispersion: f64, least_ratio: f64) {
        let block = Block { looks: 1, strata: strata.to_vec() };
        let is_alike = |it: &&mut Stretch| {
            it.dispersion.total_cmp(&dispersion).is_eq()
                && it.least_ratio.total_cmp(&least_ratio).is_eq()
        };
        match self.stretches.last_mut().filter(is_alike) {
            Some(stretch) => stretch.blocks.push(block),
            None => self.stretches.push(Stretch { dispersion, least_ratio, blocks: vec![block] }),
        }
        if self.stretches.iter().map(|it| it.blocks.len()).sum::<usize>() > MAX_BLOCKS {
            self.join_two();
        }
    }

    fn join_two(&mut self) {
        let pairs = self.stretches.iter().enumerate().flat_map(|(stretch, it)| {
            let neighbours = it.blocks.iter().zip(it.blocks.iter().skip(1)).enumerate();
            neighbours
                .filter(|(_, (a, b))| a.strata.len() == b.strata.len())
                .map(move |(idx, (a, b))| (stretch, idx, a.distance(b), a.looks + b.looks))
        });
        // Of those that are equally alike, the smallest blocks; then the oldest.
        let nearest = pairs.min_by(|a, b| a.2.total_cmp(&b.2).then(a.3.cmp(&b.3)));
        let Some((stretch, idx, ..)) = nearest else { return };
        let Some(stretch) = self.stretches.get_mut(stretch) else { return };
        let second = stretch.blocks.remove(idx + 1);
        if let Some(first) = stretch.blocks.get_mut(idx) {
            first.looks += second.looks;
            for (own, other) in first.strata.iter_mut().zip(&second.strata) {
                *own = own.plus(other);
            }
        }
    }
}
