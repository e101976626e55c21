//! From what templates say about a comparison to [`Settings`] and compared metrics. All problems are
//! found at once, and name field and remedy.

use chrono::TimeDelta;

mod metric;

pub(in crate::analysis) use metric::check_not_compared;
pub use metric::metric;

use super::{ResolvedArms, Selector, Settings};
use crate::analysis::Problem;
use crate::analysis::statistics::verdict::Rule;
use crate::api::analysis::{Arms, ArmsBy, Compared, Comparison, Metric, RunComparison};
use crate::api::values::IntOrString;
use crate::metrics::spec::{MetricProvider, SourceKind, SourceRef, prometheus};

/// Where comparing metrics are measured unless somebody says otherwise.
pub const DEFAULT_SOURCE: &str = "prometheus";
/// Looks that are planned where nobody knows how long the update takes.
pub const DEFAULT_PLANNED_LOOKS: u32 = 60;
/// Time between looks.
pub const DEFAULT_INTERVAL: TimeDelta = TimeDelta::seconds(30);
/// Most comparing metrics of a run: their evidence is kept in its status.
pub const MAX_COMPARED: usize = 10;

/// Collects problems below one field.
struct Check<'a> {
    base: &'a str,
    problems: &'a mut Vec<Problem>,
    /// Texts with placeholders that have no value yet are not looked at.
    is_lenient: bool,
}

impl Check<'_> {
    fn say(&mut self, name: &str, message: impl Into<String>) {
        let field = match (self.base, name) {
            ("", name) => name.to_owned(),
            (base, "") => base.to_owned(),
            (base, name) => format!("{base}.{name}"),
        };
        self.problems.push(Problem::new(field, message));
    }

    fn is_open(&self, text: &str) -> bool {
        self.is_lenient && text.contains("{{")
    }

    fn selector(&mut self, name: &str, text: Option<&str>, why: &str) -> Option<Selector> {
        let Some(text) = text else {
            self.say(name, format!("is required{why}"));
            return None;
        };
        if self.is_open(text) {
            return None;
        }
        Selector::parse(text).map_err(|problem| self.say(name, problem)).ok()
    }

    /// A number within bounds.
    fn number(
        &mut self,
        name: &str,
        given: Option<f64>,
        default: f64,
        fits: impl Fn(f64) -> bool,
        range: &str,
    ) -> f64 {
        match given {
            Some(number) if !(number.is_finite() && fits(number)) => {
                self.say(name, format!("is {number}: it must be {range}"));
                default
            }
            Some(number) => number,
            None => default,
        }
    }

    fn duration(
        &mut self,
        name: &str,
        given: Option<&IntOrString>,
        default: TimeDelta,
        (least, most): (TimeDelta, TimeDelta),
    ) -> TimeDelta {
        let Some(given) = given else { return default };
        if self.is_open(&given.to_string()) {
            return default;
        }
        match given.as_duration() {
            Ok(duration) if (least..=most).contains(&duration) => duration,
            Ok(_) => {
                let (least, most) = (least.num_seconds(), most.num_seconds());
                self.say(name, format!("is {given}: it must be from {least} s to {most} s"));
                default
            }
            Err(problem) => {
                self.say(name, problem.to_string());
                default
            }
        }
    }
}

/// Checks what comparing metrics have in common. `is_run`: the arms must be named.
pub fn settings(
    base: &str,
    comparison: &RunComparison,
    is_run: bool,
    is_lenient: bool,
    problems: &mut Vec<Problem>,
) -> Settings {
    let mut check = Check { base, problems, is_lenient };
    let given = &comparison.settings;
    if given.source.is_some() && given.address.is_some() {
        check.say("address", "must not stand beside source");
    }
    let seconds = TimeDelta::seconds;
    let interval = check.duration(
        "interval",
        given.interval.as_ref(),
        DEFAULT_INTERVAL,
        (seconds(5), seconds(3600)),
    );
    let lag =
        check.duration("lag", given.lag.as_ref(), seconds(15), (TimeDelta::zero(), seconds(600)));
    let warmup = check.duration(
        "warmup",
        given.warmup.as_ref(),
        seconds(60),
        (TimeDelta::zero(), seconds(3600)),
    );
    let no_data_after = check.duration(
        "noDataAfter",
        given.no_data_after.as_ref(),
        seconds(300),
        (seconds(60), seconds(86_400)),
    );
    let false_rollback = check.number(
        "falseRollbackBudget",
        given.false_rollback_budget,
        Rule::default().false_rollback,
        |it| it > 0.0 && it <= 0.2,
        "above 0 and at most 0.2",
    );
    let rule = Rule { false_rollback, no_data_after };
    let arms = arms(&mut check, given.arms.as_ref(), is_run);
    Settings {
        interval,
        lag,
        warmup,
        rule: rule.for_attempt(comparison.attempt.unwrap_or(1)),
        planned_looks: comparison.planned_looks.unwrap_or(DEFAULT_PLANNED_LOOKS).max(1),
        on_inconclusive: given.on_inconclusive.unwrap_or_default(),
        requires_pass: given.require_pass.unwrap_or(true),
        arms,
    }
}

fn arms(check: &mut Check<'_>, given: Option<&Arms>, is_run: bool) -> Option<ResolvedArms> {
    let none = Arms::default();
    let given = given.unwrap_or(&none);
    let by = given.by.unwrap_or_default();
    let label = match (&given.label, by) {
        (Some(label), _) => label.as_str(),
        (None, ArmsBy::Pod) => "pod",
        (None, ArmsBy::Workload) => "destination_workload",
        (None, ArmsBy::Label) => {
            check.say("arms.label", "is required with by: label");
            return None;
        }
    };
    let pod_label = given.pod_label.as_deref();
    let pod_label = pod_label.unwrap_or(if by == ArmsBy::Pod { label } else { "pod" });
    for (name, label) in [("arms.label", label), ("arms.podLabel", pod_label)] {
        if !is_label(label) {
            check.say(name, format!("is {label:?}, which is no name of a label"));
        }
    }
    let value = |name: &str, given: &Option<String>, check: &mut Check<'_>| {
        // Stable may be what lacks the label; the canary never.
        let may_be_empty = name == "stable" && by == ArmsBy::Label;
        let usable = given.clone().filter(|value| may_be_empty || !value.is_empty());
        if usable.is_none() && is_run {
            check.say(
                &format!("arms.{name}"),
                "is required in an AnalysisRun that no Rollout made: name the ReplicaSet, or the \
                 value of the label",
            );
        }
        usable
    };
    let canary = value("canary", &given.canary, check);
    let stable = value("stable", &given.stable, check);
    let (canary, stable) = (canary?, stable?);
    if canary == stable {
        check.say("arms", format!("name {canary:?} for both: there is nothing to compare"));
        return None;
    }
    Some(ResolvedArms {
        by,
        label: label.to_owned(),
        pod_label: pod_label.to_owned(),
        canary,
        stable,
    })
}

fn is_label(name: &str) -> bool {
    name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The provider that stands for the source of a comparison.
pub fn provider(comparison: &Comparison, query: &str) -> MetricProvider {
    let default =
        SourceRef { name: DEFAULT_SOURCE.to_owned(), kind: Some(SourceKind::ClusterMetricsSource) };
    let source = comparison.source.clone();
    prometheus::Spec {
        source: source.or_else(|| comparison.address.is_none().then_some(default)),
        address: comparison.address.clone(),
        query: query.to_owned(),
        ..prometheus::Spec::default()
    }
    .into()
}

/// The name of a metric: as written, or that of its short form.
pub fn name_of(metric: &Metric) -> String {
    let Compared { errors, latency, memory, .. } = &metric.compared;
    match metric.name.as_str() {
        "" if errors.is_some() => "errors".to_owned(),
        "" if latency.is_some() => "latency".to_owned(),
        "" if memory.is_some() => "memory".to_owned(),
        name => name.to_owned(),
    }
}
