//! Quantiles of values and of histograms.

/// The `share` quantile of values, interpolated; NaN sorts first.
pub(super) fn quantile(share: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || share.is_nan() {
        return f64::NAN;
    }
    if share < 0.0 {
        return f64::NEG_INFINITY;
    }
    if share > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|one, other| {
        one.partial_cmp(other).unwrap_or_else(|| other.is_nan().cmp(&one.is_nan()))
    });
    let rank = share * super::over_time::count(&values) - share;
    let lower = super::functions::whole(rank.floor().max(0.0));
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    let at = |idx: usize| values.get(idx).copied().unwrap_or(f64::NAN);
    at(lower) * (1.0 - weight) + at(upper) * weight
}

/// The `share` quantile of a histogram: its buckets as upper bound and cumulated count, in any order.
pub(super) fn histogram_quantile(share: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if share.is_nan() {
        return f64::NAN;
    }
    if share < 0.0 {
        return f64::NEG_INFINITY;
    }
    if share > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    // Counts of the same bound belong together, and a later bucket never has less than an earlier.
    let mut merged: Vec<(f64, f64)> = Vec::new();
    for (bound, count) in buckets {
        match merged.last_mut() {
            Some((last, sum)) if last.total_cmp(&bound).is_eq() => *sum += count,
            _ => merged.push((bound, count)),
        }
    }
    let mut most = f64::NEG_INFINITY;
    for (_, count) in &mut merged {
        most = most.max(*count);
        *count = most;
    }
    let Some(((last_bound, total), finite)) = merged.split_last() else { return f64::NAN };
    if *last_bound != f64::INFINITY || finite.is_empty() || *total == 0.0 || total.is_nan() {
        return f64::NAN;
    }
    let rank = share * total;
    let Some(at) = finite.iter().position(|(_, count)| *count >= rank) else {
        return finite.last().map_or(f64::NAN, |(bound, _)| *bound);
    };
    let Some((end, count)) = finite.get(at).copied() else { return f64::NAN };
    if at == 0 && end <= 0.0 {
        return end;
    }
    let (start, before) =
        at.checked_sub(1).and_then(|at| finite.get(at)).copied().unwrap_or((0.0, 0.0));
    start + (end - start) * ((rank - before) / (count - before))
}
