//! What a verdict says, in one plain sentence a metric.

use chrono::TimeDelta;

use super::conclude::is_refuted_alone;
use super::{ComparedMetric, Progress, Settings, Subject};
use crate::analysis::statistics::evidence::MetricEvidence;
use crate::analysis::statistics::verdict::Standing;
use crate::api::analysis::{ComparisonVerdict, TrafficSplit};

/// Everything that a sentence is made of.
pub(super) struct Facts<'a> {
    pub(super) compared: &'a ComparedMetric,
    pub(super) settings: &'a Settings,
    pub(super) evidence: &'a MetricEvidence,
    pub(super) progress: &'a Progress,
    pub(super) standing: Standing,
    /// The ratio is at least and at most this, at every look.
    pub(super) ratio: (Option<f64>, Option<f64>),
}

/// The sentence. `silent`: how long the canary has had no exposure, where that is the verdict.
pub(super) fn of(
    facts: &Facts<'_>,
    verdict: ComparisonVerdict,
    silent: Option<TimeDelta>,
) -> String {
    let name = &facts.standing.metric;
    let looks = plural(facts.progress.looks, "look");
    let body = match (verdict, silent) {
        (_, Some(silent)) => {
            let minutes = silent.num_minutes();
            return format!(
                "{name} NODATA: the canary has served no request for {minutes} minutes, though it \
                 should have traffic; nothing is judged, and the update waits."
            );
        }
        (ComparisonVerdict::Fail, None) => {
            return format!("{name} FAIL after {looks}: {}. {}", failure(facts), chance(facts));
        }
        (ComparisonVerdict::Pass, None) => format!("{name} PASS after {looks}: {}", pass(facts)),
        (
            ComparisonVerdict::Continue
            | ComparisonVerdict::Inconclusive
            | ComparisonVerdict::NoData,
            None,
        ) => format!("{name} undecided after {looks}: {}", open(facts)),
    };
    if facts.progress.note.is_empty() {
        format!("{body}.")
    } else {
        format!("{body}. Note: {}.", facts.progress.note)
    }
}

/// Where requests do not follow the weights: the shares, and that in words.
pub(super) fn split(facts: &Facts<'_>) -> Option<TrafficSplit> {
    let (found, canary, all) = facts.progress.split.as_ref()?.wrong()?;
    let (canary, all) = (grouped(canary), grouped(all));
    let message = format!(
        "Traffic: the canary gets {} of the requests ({canary} of {all}), its weight is {}: routing does \
         not follow the weight, or requests are counted that it does not divide (probes, callers that \
         use a Service directly).",
        percent(found.observed),
        percent(found.expected)
    );
    let decimal = |share: f64| format!("{share:.4}");
    Some(TrafficSplit {
        weight: decimal(found.expected),
        requests: decimal(found.observed),
        message,
    })
}

fn totals(facts: &Facts<'_>) -> [f64; 4] {
    match *facts.progress.totals.as_slice() {
        [bad, total, stable_bad, stable_total] => [bad, total, stable_bad, stable_total],
        _ => [0.0; 4],
    }
}

fn failure(facts: &Facts<'_>) -> String {
    let [bad, total, stable_bad, stable_total] = totals(facts);
    let (canary, stable) = (share(bad, total), share(stable_bad, stable_total));
    match &facts.compared.subject {
        Subject::Rate { limits, .. } => format!(
            "canary {} of {} requests bad ({canary}), stable {} of {} ({stable}): {}; allowed {}",
            grouped(bad),
            grouped(total),
            grouped(stable_bad),
            grouped(stable_total),
            times(facts),
            number(limits.max_ratio),
        ),
        Subject::Count { total: by, limits, .. } => {
            let unit = if by.is_some() { "requests" } else { "pod-seconds" };
            format!(
                "canary {} events in {} {unit}, stable {} in {}: {}; allowed {}",
                grouped(bad),
                grouped(total),
                grouped(stable_bad),
                grouped(stable_total),
                times(facts),
                number(limits.max_ratio),
            )
        }
        Subject::Slo { max_rate, .. } => format!(
            "canary {} of {} requests bad ({canary}); allowed {}",
            grouped(bad),
            grouped(total),
            percent(*max_rate),
        ),
        Subject::Latency { limits, .. } => {
            let worst = match facts.evidence {
                MetricEvidence::Latency(evidence) => evidence.worst(),
                MetricEvidence::Rate(_)
                | MetricEvidence::Absolute(_)
                | MetricEvidence::Gauge(_) => None,
            };
            let (bound, slow, all) = worst.unwrap_or((0.0, bad, total));
            format!(
                "canary {} of {} requests slower than {} ({}), and the odds of that are more than {} \
                 times those of stable",
                grouped(slow),
                grouped(all),
                number(bound),
                share(slow, all),
                number(limits.max_odds),
            )
        }
    }
}

/// How many times as many, between which bounds.
fn times(facts: &Facts<'_>) -> String {
    let [bad, total, stable_bad, stable_total] = totals(facts);
    let ratio = (bad / total) / (stable_bad / stable_total);
    let estimate = if ratio.is_finite() {
        format!("{} times as many", number(ratio))
    } else {
        "stable has none".to_owned()
    };
    match facts.ratio {
        (Some(lower), Some(upper)) => {
            format!("{estimate}, at least {} and at most {} times", number(lower), number(upper))
        }
        (Some(lower), None) => format!("{estimate}, at least {} times", number(lower)),
        (None, Some(upper)) => format!("{estimate}, at most {} times", number(upper)),
        (None, None) => estimate,
    }
}

/// What the budget means; and that it was shared.
fn chance(facts: &Facts<'_>) -> String {
    let budget = facts.settings.rule.false_rollback;
    let one_in = grouped((1.0 / budget).round());
    let together = if is_refuted_alone(&facts.standing, &facts.settings.rule) {
        ""
    } else {
        " The other metrics carry part of this."
    };
    format!(
        "A release within its limits would be rolled back by chance in fewer than 1 of {one_in} \
         rollouts.{together}"
    )
}

fn pass(facts: &Facts<'_>) -> String {
    match &facts.compared.subject {
        Subject::Rate { limits, .. } | Subject::Count { limits, .. } => {
            let margin = number(limits.margin);
            match (facts.ratio.1.filter(|upper| *upper <= limits.margin), &facts.compared.subject) {
                (Some(upper), _) => {
                    format!("at most {} times stable; margin {margin}", number(upper))
                }
                (None, Subject::Count { total: None, .. }) => format!(
                    "fewer than {} events in an hour of a pod, which is tolerated whatever stable has",
                    number(limits.tolerated_rate * 3600.0)
                ),
                (None, _) => format!(
                    "fewer than {} bad, which is tolerated whatever stable has",
                    percent(limits.tolerated_rate)
                ),
            }
        }
        Subject::Slo { max_rate, .. } => format!("below {} bad", percent(*max_rate)),
        Subject::Latency { limits, .. } => format!(
            "at every bound the odds of a slow request are below {} times those of stable, or slow ones \
             are fewer than {}, which is tolerated",
            number(limits.margin),
            percent(limits.tolerated_share)
        ),
    }
}

fn open(facts: &Facts<'_>) -> String {
    let [bad, total, _, _] = totals(facts);
    let counts = match &facts.compared.subject {
        Subject::Rate { .. } | Subject::Slo { .. } => {
            format!("{} bad of {} requests", grouped(bad), grouped(total))
        }
        Subject::Count { total: Some(_), .. } => {
            format!("{} events in {} requests", grouped(bad), grouped(total))
        }
        Subject::Count { total: None, .. } => {
            format!("{} events in {} pod-seconds", grouped(bad), grouped(total))
        }
        Subject::Latency { .. } => format!("{} requests", grouped(total)),
    };
    let range = match facts.ratio {
        (Some(lower), Some(upper)) => {
            format!("; ratio between {} and {}", number(lower), number(upper))
        }
        (Some(lower), None) => format!("; ratio at least {}", number(lower)),
        (None, Some(upper)) => format!("; ratio at most {}", number(upper)),
        (None, None) => String::new(),
    };
    format!("canary {counts}{range}")
}

fn plural(count: u32, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 { percent(part / whole) } else { "none".to_owned() }
}

fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// Two significant digits.
fn number(value: f64) -> String {
    if !value.is_finite() || value.abs() >= 1e9 {
        return "more than 1,000,000,000".to_owned();
    }
    if value.abs() < 1e-9 {
        return "0".to_owned();
    }
    if value.abs() >= 100.0 {
        return grouped(value.round());
    }
    let digits: usize = match value.abs() {
        size if size >= 10.0 => 0,
        size if size >= 1.0 => 1,
        size if size >= 0.1 => 2,
        size if size >= 0.01 => 3,
        _ => 5,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A whole number with its thousands apart.
fn grouped(count: f64) -> String {
    let digits = format!("{count:.0}");
    let size = digits.len();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (size - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let texts: Vec<String> =
            [3.2, 2.92, 0.92, 1.1, 25.0, 123.4, 0.05, 2.0, 0.0, f64::INFINITY].map(number).into();
        let expected =
            ["3.2", "2.9", "0.92", "1.1", "25", "123", "0.05", "2", "0", "more than 1,000,000,000"];
        assert_eq!(texts, expected);
        assert_eq!(
            [1815.0, 34_243.0, 999.0, 1e6].map(grouped),
            ["1,815", "34,243", "999", "1,000,000"]
        );
    }
}
