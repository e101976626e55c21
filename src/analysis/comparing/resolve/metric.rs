//! One metric that compares: what its type needs, and what has no meaning for it.

use super::{Check, is_label};
use crate::analysis::Problem;
use crate::analysis::comparing::{ComparedMetric, DispersionRule, GaugeSource, Selector, Subject};
use crate::analysis::statistics::evidence::{GaugeLimits, OddsLimits, RateLimits};
use crate::analysis::statistics::verdict::Guards;
use crate::api::analysis::{Compared, ComparedType, Metric};
use crate::api::values::IntOrString;

/// Bad events per request, or slow ones at a bound, that are tolerated unless somebody says otherwise.
const TOLERATED_OF_REQUESTS: f64 = 0.001;
/// The same per second of a pod: one in ten minutes.
const TOLERATED_OF_PODS: f64 = 1.0 / 600.0;

/// Most labels in `by`, and bounds.
const MAX_LABELS: usize = 3;
const MAX_BOUNDS: usize = 5;

/// Refuses what a metric of conditions has no use for.
pub(in crate::analysis) fn check_not_compared(
    field: &str,
    metric: &Metric,
    problems: &mut Vec<Problem>,
) {
    let used = used_fields(&metric.compared);
    if let Some(first) = used.first() {
        let message = format!(
            "compares canary and stable, and needs a type ({}) instead of a provider",
            TYPES.join(", ")
        );
        problems.push(Problem::new(format!("{field}.{first}"), message));
    }
}

const TYPES: [&str; 5] = ["rate", "count", "latency", "slo", "gauge"];

/// The fields that are set, but for the type and the short forms.
fn used_fields(compared: &Compared) -> Vec<String> {
    let tree = serde_json::to_value(compared).unwrap_or_default();
    let names = tree.as_object().into_iter().flat_map(serde_json::Map::keys);
    let is_form =
        |name: &&String| !matches!(name.as_str(), "type" | "errors" | "latency" | "memory");
    names.filter(is_form).cloned().collect()
}

/// Fields of each type beside those that all have.
fn fields_of(kind: ComparedType) -> &'static [&'static str] {
    match kind {
        ComparedType::Rate => {
            &["total", "bad", "by", "maxRatio", "minDelta", "margin", "toleratedRate"]
        }
        ComparedType::Count => {
            &["events", "total", "by", "maxRatio", "minDelta", "margin", "toleratedRate"]
        }
        ComparedType::Latency => {
            &["histogram", "bounds", "by", "maxOdds", "margin", "toleratedRate"]
        }
        ComparedType::Slo => &["total", "bad", "maxRate"],
        ComparedType::Gauge => &["gauge", "counter", "batch", "maxRatio", "margin"],
    }
}

const FIELDS_OF_ALL: [&str; 3] = ["falsePass", "weight", "gate"];
/// Of all that count events.
const FIELDS_OF_COUNTS: [&str; 3] = ["minRequests", "minBadEvents", "dispersion"];
/// Most looks whose mean is one value.
const MAX_BATCH: u32 = 1000;

/// Checks one metric that compares.
pub fn metric(
    field: &str,
    metric: &Metric,
    is_lenient: bool,
    problems: &mut Vec<Problem>,
) -> Option<ComparedMetric> {
    let before = problems.len();
    let mut check = Check { base: field, problems, is_lenient };
    refuse_threshold_fields(&mut check, metric);
    let given = &metric.compared;
    let forms = [
        given.kind.is_some(),
        given.errors.is_some(),
        given.latency.is_some(),
        given.memory.is_some(),
    ];
    if forms.iter().filter(|is_given| **is_given).count() > 1 {
        check.say("", "has several of type, errors, latency and memory: write one");
        return None;
    }
    let kind = match (given.kind, &given.errors, &given.memory) {
        (Some(kind), _, _) => kind,
        (None, Some(_), _) => ComparedType::Rate,
        (None, None, Some(_)) => ComparedType::Gauge,
        (None, None, None) => ComparedType::Latency,
    };
    refuse_foreign_fields(&mut check, kind, given);
    let subject = subject(&mut check, kind, given);
    let by = labels(&mut check, &given.by);
    let dispersion = dispersion(&mut check, given.dispersion.as_deref());
    let usual = Guards::default();
    let is_share = |it: f64| it > 0.0 && it < 1.0;
    let guards = Guards {
        false_pass: check.number(
            "falsePass",
            given.false_pass,
            usual.false_pass,
            is_share,
            "above 0 and below 1",
        ),
        min_bad_events: check.number(
            "minBadEvents",
            given.min_bad_events,
            usual.min_bad_events,
            |it| it >= 0.0,
            "at least 0",
        ),
        min_requests: check.number(
            "minRequests",
            given.min_requests,
            usual.min_requests,
            |it| it >= 0.0,
            "at least 0",
        ),
    };
    let weight = check.number("weight", given.weight, 1.0, |it| it > 0.0, "above 0");
    let is_usable = check.problems.len() == before;
    let subject = subject?;
    is_usable.then(|| ComparedMetric {
        subject,
        by,
        dispersion,
        guards,
        weight: given.gate.unwrap_or(kind != ComparedType::Gauge).then_some(weight),
    })
}

fn refuse_threshold_fields(check: &mut Check<'_>, metric: &Metric) {
    let is_text = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let fields = [
        ("provider", !metric.provider.is_absent()),
        ("interval", metric.interval.is_some()),
        ("initialDelay", metric.initial_delay.is_some()),
        ("count", metric.count.is_some()),
        ("successCondition", is_text(&metric.success_condition)),
        ("failureCondition", is_text(&metric.failure_condition)),
        ("failureLimit", metric.failure_limit.is_some()),
        ("inconclusiveLimit", metric.inconclusive_limit.is_some()),
        ("consecutiveErrorLimit", metric.consecutive_error_limit.is_some()),
        ("consecutiveSuccessLimit", metric.consecutive_success_limit.is_some()),
        ("minSamples", metric.min_samples.is_some()),
    ];
    for (name, _) in fields.iter().filter(|(_, is_set)| *is_set) {
        let message = match *name {
            "provider" => {
                "must not stand in a metric that compares: where it is measured is said once, in the \
                 source of the template"
            }
            "interval" => {
                "must not stand in a metric that compares: all of them are looked at together, by the \
                 interval of the template"
            }
            _ => {
                "has no meaning for a metric that compares: evidence decides, not single values; \
                 remove it"
            }
        };
        check.say(name, message);
    }
}

fn refuse_foreign_fields(check: &mut Check<'_>, kind: ComparedType, given: &Compared) {
    let short = given.errors.is_some() || given.latency.is_some() || given.memory.is_some();
    let of_counts = if kind == ComparedType::Gauge { &[][..] } else { &FIELDS_OF_COUNTS[..] };
    let all: Vec<&str> =
        fields_of(kind).iter().chain(of_counts).chain(&FIELDS_OF_ALL).copied().collect();
    for name in used_fields(given) {
        let is_selector =
            matches!(name.as_str(), "total" | "bad" | "histogram" | "events" | "gauge" | "counter");
        if short && is_selector {
            check.say(&name, "stands in the short form already: remove one of them");
        } else if !all.contains(&name.as_str()) {
            let message = format!("has no meaning for this type, which has {}", all.join(", "));
            check.say(&name, message);
        }
    }
}

fn subject(check: &mut Check<'_>, kind: ComparedType, given: &Compared) -> Option<Subject> {
    match kind {
        ComparedType::Rate => {
            let limits = rate_limits(check, given, TOLERATED_OF_REQUESTS);
            let (total, bad) = total_and_bad(check, given)?;
            Some(Subject::Rate { total, bad, limits })
        }
        ComparedType::Count => {
            let tolerated =
                if given.total.is_some() { TOLERATED_OF_REQUESTS } else { TOLERATED_OF_PODS };
            let limits = rate_limits(check, given, tolerated);
            let why = ": the counter of the events";
            let events = check.selector("events", given.events.as_deref(), why);
            let total = given.total.as_deref().map(|text| check.selector("total", Some(text), ""));
            let total = match total {
                Some(total) => Some(total?),
                None => None,
            };
            Some(Subject::Count { events: events?, total, limits })
        }
        ComparedType::Latency => {
            let limits = odds_limits(check, given);
            let bounds = bounds(check, &given.bounds);
            let histogram = match &given.latency {
                Some(short) => check.selector("latency.histogram", Some(&short.histogram), ""),
                None => check.selector(
                    "histogram",
                    given.histogram.as_deref(),
                    ": the selector of a histogram of latencies",
                ),
            }?;
            let name = histogram.name();
            for end in ["_sum", "_count"] {
                if name.ends_with(end) {
                    let stem = name.trim_end_matches(end);
                    check.say(
                        "histogram",
                        format!("is {name}, which holds no buckets: write {stem}"),
                    );
                }
            }
            let stem = name.strip_suffix("_bucket").unwrap_or(name).to_owned();
            Some(Subject::Latency { histogram: histogram.renamed(&stem), bounds, limits })
        }
        ComparedType::Slo => {
            if given.max_rate.is_none() {
                check.say("maxRate", "is required: the share of bad requests that is allowed");
            }
            let is_share = |it: f64| it > 0.0 && it < 1.0;
            let max_rate =
                check.number("maxRate", given.max_rate, 0.01, is_share, "above 0 and below 1");
            let (total, bad) = total_and_bad(check, given)?;
            Some(Subject::Slo { total, bad, max_rate })
        }
        ComparedType::Gauge => {
            let limits = gauge_limits(check, given);
            if let Some(batch) = given.batch.filter(|batch| !(1..=MAX_BATCH).contains(batch)) {
                check.say("batch", format!("is {batch}: it must be from 1 to {MAX_BATCH} looks"));
            }
            Some(Subject::Gauge { source: gauge_source(check, given)?, batch: given.batch, limits })
        }
    }
}

fn gauge_source(check: &mut Check<'_>, given: &Compared) -> Option<GaugeSource> {
    let source = match (&given.memory, &given.gauge, &given.counter) {
        (Some(short), _, _) => {
            GaugeSource::Values(check.selector("memory.gauge", Some(&short.gauge), "")?)
        }
        (None, Some(_), Some(_)) => {
            check.say("counter", "must not stand beside gauge: write one of them");
            return None;
        }
        (None, None, Some(counter)) => {
            GaugeSource::Increase(check.selector("counter", Some(counter), "")?)
        }
        (None, gauge, None) => GaugeSource::Values(check.selector(
            "gauge",
            gauge.as_deref(),
            ": the selector of the gauge; or counter, of which the increase per second is compared",
        )?),
    };
    if let GaugeSource::Values(selector) = &source
        && selector.name().ends_with("_total")
    {
        let message = "is a counter by its name, which only grows: write it as counter, and its increase per \
                       second is compared";
        check.say("gauge", message);
    }
    Some(source)
}

fn gauge_limits(check: &mut Check<'_>, given: &Compared) -> GaugeLimits {
    let usual = GaugeLimits::default();
    let max_ratio =
        check.number("maxRatio", given.max_ratio, usual.max_ratio, |it| it > 0.0, "above 0");
    let margin = margin(check, given, max_ratio, usual.margin, "maxRatio");
    GaugeLimits { max_ratio, margin }
}

fn total_and_bad(check: &mut Check<'_>, given: &Compared) -> Option<(Selector, Selector)> {
    if let Some(short) = &given.errors {
        let total = check.selector("errors.counter", Some(&short.counter), "")?;
        if check.is_open(&short.bad) {
            return None;
        }
        return match total.and(&short.bad) {
            Ok(bad) => Some((total, bad)),
            Err(problem) => {
                check.say("errors.bad", problem);
                None
            }
        };
    }
    let total = check.selector("total", given.total.as_deref(), ": the counter of all requests");
    let bad = check.selector("bad", given.bad.as_deref(), ": the counter of the bad requests");
    Some((total?, bad?))
}

fn rate_limits(check: &mut Check<'_>, given: &Compared, tolerated: f64) -> RateLimits {
    let usual = RateLimits::default();
    let max_ratio =
        check.number("maxRatio", given.max_ratio, usual.max_ratio, |it| it > 0.0, "above 0");
    RateLimits {
        max_ratio,
        min_delta: check.number(
            "minDelta",
            given.min_delta,
            usual.min_delta,
            |it| (0.0..1.0).contains(&it),
            "at least 0 and below 1",
        ),
        margin: margin(check, given, max_ratio, usual.margin, "maxRatio"),
        tolerated_rate: tolerated_rate(check, given, tolerated),
        ..usual
    }
}

fn odds_limits(check: &mut Check<'_>, given: &Compared) -> OddsLimits {
    let usual = OddsLimits::default();
    let max_odds =
        check.number("maxOdds", given.max_odds, usual.max_odds, |it| it > 0.0, "above 0");
    OddsLimits {
        max_odds,
        margin: margin(check, given, max_odds, usual.margin, "maxOdds"),
        tolerated_share: tolerated_rate(check, given, TOLERATED_OF_REQUESTS),
        ..usual
    }
}

fn tolerated_rate(check: &mut Check<'_>, given: &Compared, usual: f64) -> f64 {
    let fits = |it: f64| (0.0..1.0).contains(&it);
    check.number("toleratedRate", given.tolerated_rate, usual, fits, "at least 0 and below 1")
}

fn margin(check: &mut Check<'_>, given: &Compared, limit: f64, usual: f64, name: &str) -> f64 {
    let margin = check.number("margin", given.margin, usual, |it| it > 0.0, "above 0");
    if margin <= limit {
        let message = format!(
            "is {margin}: it must be above {name} ({limit}), or nothing lies between PASS and FAIL"
        );
        check.say("margin", message);
    }
    margin
}

fn labels(check: &mut Check<'_>, by: &[String]) -> Vec<String> {
    if by.len() > MAX_LABELS {
        check.say("by", format!("must be at most {MAX_LABELS} labels"));
    }
    for (idx, label) in by.iter().enumerate() {
        if !is_label(label) || label == "le" {
            check.say(&format!("by[{idx}]"), format!("is {label:?}, which is no label to go by"));
        }
    }
    by.to_vec()
}

fn bounds(check: &mut Check<'_>, given: &[String]) -> Vec<f64> {
    if given.len() > MAX_BOUNDS {
        check.say("bounds", format!("must be at most {MAX_BOUNDS}"));
    }
    let mut bounds = Vec::new();
    for (idx, text) in given.iter().enumerate() {
        if check.is_open(text) {
            continue;
        }
        let number = text.parse::<f64>().ok();
        let duration = || {
            let duration = IntOrString::Text(text.clone()).as_duration().ok()?;
            Some(duration.as_seconds_f64())
        };
        match number.or_else(duration).filter(|bound| bound.is_finite() && *bound > 0.0) {
            Some(bound) => bounds.push(bound),
            None => check.say(
                &format!("bounds[{idx}]"),
                format!("is {text:?}: write 300ms, 1s, or a number in the histogram's unit"),
            ),
        }
    }
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    bounds
}

fn dispersion(check: &mut Check<'_>, given: Option<&str>) -> DispersionRule {
    match given.unwrap_or("auto") {
        "auto" => DispersionRule::Auto,
        "independent" => DispersionRule::Independent,
        "robust" => DispersionRule::Robust,
        text => match text.parse::<f64>() {
            Ok(factor) if factor.is_finite() && factor >= 1.0 => DispersionRule::Given(factor),
            Ok(_) | Err(_) => {
                check.say(
                    "dispersion",
                    format!(
                        "is {text:?}: write auto, independent, robust or a number of at least 1"
                    ),
                );
                DispersionRule::Auto
            }
        },
    }
}
