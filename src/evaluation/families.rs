//! The families of test vectors: what their inputs and outputs hold, and which function of the judge
//! answers. Lists over looks are compared look by look, and must have the same length.

mod evidence;
mod reports;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::vectors::{Comparison, Tolerance};
use crate::analysis::statistics::counts::InvalidCounts;
use crate::analysis::statistics::mixture::OnsetPrior;

const EXACT: Tolerance = Tolerance::new(0.0, 0.0);

/// Why a case cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// No function answers for it.
    #[error("a family of this name is not known")]
    UnknownFamily,
    /// Not what the family holds.
    #[error("input or output is not of the family's form: {0}")]
    Form(#[from] serde_json::Error),
    /// Counts that cannot be.
    #[error(transparent)]
    Counts(#[from] InvalidCounts),
    /// The judge gives no answer.
    #[error("no answer for this input")]
    NoAnswer,
}

type Compared = Result<Vec<Comparison>, Unreadable>;

/// Computes a case's numbers and puts them beside the expected ones.
pub(super) fn compare(family: &str, input: &Value, output: &Value) -> Compared {
    let case = Pair { input, output };
    match family {
        "rate_fail_eprocess" => evidence::rate_fail(&case, OnsetPrior::AT_ONCE),
        "rate_fail_onset_eprocess" => evidence::rate_fail_onset(&case),
        "rate_pass_eprocess" => evidence::rate_pass(&case),
        "rate_ratio_confidence_bounds" => evidence::ratio_bounds(&case),
        "absolute_rate_eprocess" => evidence::absolute(&case),
        "share_betting_eprocess" => evidence::share_betting(&case),
        "odds_fail_eprocess" => evidence::odds_fail(&case),
        "mann_whitney_histogram" => reports::slower(&case),
        "welch_t" => reports::two_means(&case),
        "sequential_t" => reports::gauge(&case),
        "time_uniform_dkw" => reports::band(&case),
        "dispersion_phi" => reports::phi(&case),
        "traffic_split_srm" => reports::split(&case),
        "exact_conditional_rate_test" => reports::exact(&case),
        "histogram_quantile_classic" => reports::quantile(&case),
        "combine_evalues" => reports::combine(&case),
        "kayenta_baseline_high" => reports::kayenta(&case),
        _ => Err(Unreadable::UnknownFamily),
    }
}

struct Pair<'a> {
    input: &'a Value,
    output: &'a Value,
}

impl Pair<'_> {
    fn read<I: DeserializeOwned, O: DeserializeOwned>(&self) -> Result<(I, O), Unreadable> {
        Ok((I::deserialize(self.input)?, O::deserialize(self.output)?))
    }
}

fn number(field: &str, expected: f64, actual: f64, tolerance: Tolerance) -> Comparison {
    Comparison {
        field: field.to_owned(),
        expected: Some(expected),
        actual: Some(actual),
        tolerance,
    }
}

fn flag(field: &str, expected: bool, actual: bool) -> Comparison {
    number(field, f64::from(u8::from(expected)), f64::from(u8::from(actual)), EXACT)
}

fn list(field: &str, expected: &[f64], actual: &[f64], tolerance: Tolerance) -> Vec<Comparison> {
    (0..expected.len().max(actual.len()))
        .map(|idx| Comparison {
            field: format!("{field}[{idx}]"),
            expected: expected.get(idx).copied(),
            actual: actual.get(idx).copied(),
            tolerance,
        })
        .collect()
}

fn flags(field: &str, expected: &[bool], actual: &[bool]) -> Vec<Comparison> {
    let as_numbers =
        |all: &[bool]| all.iter().map(|it| f64::from(u8::from(*it))).collect::<Vec<_>>();
    list(field, &as_numbers(expected), &as_numbers(actual), EXACT)
}
