//! From a case that goes wrong to a small one that goes wrong in the same way: delta debugging over
//! the list of faults, then over what people do.

use crate::batch;
use crate::case::Case;

/// A smaller case that breaks the same rule, and how many runs it took.
///
/// # Errors
/// A case cannot be run.
pub(crate) fn shrink(case: &Case, rule: &str) -> anyhow::Result<(Case, usize)> {
    let mut runs = 0;
    let mut is_wrong = |case: &Case| -> anyhow::Result<bool> {
        runs += 1;
        let report = batch::alone(case, false)?;
        Ok(report.violations.iter().any(|violation| violation.rule == rule))
    };
    let mut best = case.clone();
    best.faults = minimal(&best.faults, |faults| {
        is_wrong(&Case { faults: faults.to_vec(), ..best.clone() })
    })?;
    best.steps =
        minimal(&best.steps, |steps| is_wrong(&Case { steps: steps.to_vec(), ..best.clone() }))?;
    Ok((best, runs))
}

/// A part of a list from which nothing can be taken away: ddmin.
fn minimal<T: Clone>(
    all: &[T],
    mut is_wrong: impl FnMut(&[T]) -> anyhow::Result<bool>,
) -> anyhow::Result<Vec<T>> {
    let mut kept = all.to_vec();
    if !kept.is_empty() && is_wrong(&[])? {
        return Ok(Vec::new());
    }
    let mut size = kept.len().div_ceil(2);
    while size > 0 && !kept.is_empty() {
        let mut at = 0;
        let mut has_shrunk = false;
        while at < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(at..(at + size).min(kept.len()));
            if is_wrong(&fewer)? {
                kept = fewer;
                has_shrunk = true;
            } else {
                at += size;
            }
        }
        if !has_shrunk || size > 1 {
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_what_is_needed() {
        let all: Vec<u32> = (0..40).collect();
        let needs = |part: &[u32]| Ok(part.contains(&7) && part.contains(&31));
        assert_eq!(minimal(&all, needs).ok(), Some(vec![7, 31]));
        assert_eq!(minimal(&all, |_| Ok(true)).ok(), Some(vec![]));
        assert_eq!(minimal(&[5], |part: &[u32]| Ok(!part.is_empty())).ok(), Some(vec![5]));
    }
}
