//! From a run's specification to [`ResolvedRun`]: arguments put in, numbers and durations read,
//! conditions parsed. All problems are found at once; what is resolved is never checked again.
//!
//! A resolved run carries an inline address or an argument from a Secret, never both, so that nobody
//! can have a Secret sent to a server of his choice.

use chrono::TimeDelta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Problem;
use super::arguments::{ArgumentValues, run_argument_values};
use super::comparing;
use super::condition::Condition;
use super::provider_rules::check_provider;
use super::resolved::{Judge, Limits, ResolvedMetric, ResolvedRun, Schedule, Threshold};
use super::selectors::Selectors;
use super::substitution::{Language, Substitution};
use crate::api::analysis::{AnalysisRunSpec, Comparison, Metric, RunComparison};
use crate::api::values::IntOrString;
use crate::metrics::spec::Provider;

mod review;

pub use review::{Review, doubts, review, template_problems};

/// Most metrics of one run.
const MAX_METRICS: usize = 50;
/// Longest name of a metric, in bytes.
const MAX_NAME_BYTES: usize = 253;
/// Largest number of measurements or limit.
const MAX_COUNT: i64 = 1_000_000;
/// Shortest interval.
const MIN_INTERVAL_SECONDS: i64 = 1;
/// Longest query, in bytes.
pub(super) const MAX_QUERY_BYTES: usize = 16 * 1024;

impl ResolvedRun {
    /// Resolves the specification of a run.
    ///
    /// # Errors
    /// Every [`Problem`], with field paths below `spec`.
    pub fn resolve(spec: &AnalysisRunSpec) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let values = run_argument_values(&spec.args).unwrap_or_else(|found| {
            problems.extend(found);
            ArgumentValues::new()
        });
        // Missing arguments were reported already; naming each use of them would bury that.
        let is_lenient = !problems.is_empty();
        let mut resolver = Resolver::new(values, is_lenient, problems);
        let comparison = resolver.comparison(
            "comparison",
            spec.comparison.as_ref(),
            spec.metrics.iter().any(Metric::is_comparing),
        );
        let metrics = resolver.metrics(&spec.metrics);
        let metrics = resolver.selected(metrics, spec);
        resolver.check_confused_deputy(&metrics);
        if resolver.problems.is_empty() {
            let compares = metrics.iter().any(|it| matches!(it.judge, Judge::Comparison(_)));
            let comparison = comparison.filter(|_| compares);
            let is_terminate_requested = spec.terminate;
            Ok(Self { metrics, is_terminate_requested, comparison, weight: None })
        } else {
            Err(resolver.problems)
        }
    }
}

struct Resolver {
    values: ArgumentValues,
    is_lenient: bool,
    problems: Vec<Problem>,
    /// Field of the first use of an argument from a Secret.
    used_secret: Option<String>,
    /// Where the metrics that compare are measured, and how.
    compared_at: Comparison,
    schedule: Option<Schedule>,
}

impl Resolver {
    fn new(values: ArgumentValues, is_lenient: bool, problems: Vec<Problem>) -> Self {
        Self {
            values,
            is_lenient,
            problems,
            used_secret: None,
            compared_at: Comparison::default(),
            schedule: None,
        }
    }

    /// What the metrics that compare have in common. `needs_arms`: both must be named.
    fn comparison(
        &mut self,
        field: &str,
        given: Option<&RunComparison>,
        needs_arms: bool,
    ) -> Option<comparing::Settings> {
        let given = given.cloned().unwrap_or_default();
        let given = self.with_arguments(field, &given)?;
        self.compared_at = given.settings.clone();
        let settings = comparing::resolve::settings(
            field,
            &given,
            needs_arms,
            self.is_lenient,
            &mut self.problems,
        );
        self.schedule = Some(Schedule {
            initial_delay: settings.interval,
            interval: Some(settings.interval),
            count: None,
        });
        Some(settings)
    }

    fn metrics(&mut self, metrics: &[Metric]) -> Vec<ResolvedMetric> {
        if metrics.is_empty() {
            self.problems.push(Problem::new("metrics", "must name at least one metric"));
        }
        self.metric_list(metrics)
    }

    fn metric_list(&mut self, metrics: &[Metric]) -> Vec<ResolvedMetric> {
        if metrics.len() > MAX_METRICS {
            self.problems
                .push(Problem::new("metrics", format!("must be at most {MAX_METRICS} metrics")));
            return Vec::new();
        }
        let mut resolved: Vec<ResolvedMetric> = Vec::new();
        for (index, metric) in metrics.iter().enumerate() {
            let field = format!("metrics[{index}]");
            let Some(mut metric) = self.with_arguments(&field, metric) else {
                continue;
            };
            metric.name = comparing::resolve::name_of(&metric);
            if metric.name.is_empty() {
                self.problems.push(Problem::new(&field, "has no name"));
            }
            if metric.name.len() > MAX_NAME_BYTES {
                let message = format!("is longer than {MAX_NAME_BYTES} bytes");
                self.problems.push(Problem::new(format!("{field}.name"), message));
            }
            if resolved.iter().any(|other| other.name == metric.name) {
                self.problems
                    .push(Problem::new(&field, format!("repeats the name {:?}", metric.name)));
            }
            resolved.extend(if metric.is_comparing() {
                self.compared(&field, metric)
            } else {
                self.metric(&field, metric)
            });
        }
        let compared = |it: &&ResolvedMetric| matches!(it.judge, Judge::Comparison(_));
        if resolved.iter().filter(compared).count() > comparing::resolve::MAX_COMPARED {
            let most = comparing::resolve::MAX_COMPARED;
            let message =
                format!("must be at most {most} that compare: their evidence is in status");
            self.problems.push(Problem::new("metrics", message));
        }
        resolved
    }

    /// A metric that compares.
    fn compared(&mut self, field: &str, metric: Metric) -> Option<ResolvedMetric> {
        let judge =
            comparing::resolve::metric(field, &metric, self.is_lenient, &mut self.problems)?;
        let query = judge.main_selector().with(&[]);
        let provider = comparing::resolve::provider(&self.compared_at, &query);
        check_provider(field, &provider, self.is_lenient, &mut self.problems);
        Some(ResolvedMetric {
            name: metric.name,
            provider,
            schedule: self.schedule?,
            judge: Judge::Comparison(Box::new(judge)),
            limits: Limits {
                failure: None,
                inconclusive: u32::MAX,
                consecutive_error: None,
                consecutive_success: None,
                min_samples: 1,
            },
            is_dry_run: false,
            kept_measurements: super::selectors::DEFAULT_KEPT_MEASUREMENTS,
        })
    }

    fn with_arguments<T: Serialize + DeserializeOwned>(
        &mut self,
        field: &str,
        metric: &T,
    ) -> Option<T> {
        let Ok(tree) = serde_json::to_value(metric) else {
            self.problems.push(Problem::new(field, "cannot be written as JSON"));
            return None;
        };
        let mut substitution = Substitution {
            values: &self.values,
            language_of,
            permits_secret_env,
            is_lenient: self.is_lenient,
            problems: Vec::new(),
            used_secret: false,
        };
        let tree: Value = substitution.tree(field, &tree);
        let used_secret = substitution.used_secret;
        let found = substitution.problems;
        let is_usable = found.is_empty();
        self.problems.extend(found);
        if used_secret && self.used_secret.is_none() {
            self.used_secret = Some(format!("{field}.provider.job"));
        }
        match serde_json::from_value(tree) {
            Ok(metric) => is_usable.then_some(metric),
            Err(error) => {
                let message = format!("does not fit once its arguments are in: {error}");
                self.problems.push(Problem::new(field, message));
                None
            }
        }
    }

    fn metric(&mut self, field: &str, metric: Metric) -> Option<ResolvedMetric> {
        let before = self.problems.len();
        comparing::resolve::check_not_compared(field, &metric, &mut self.problems);
        let schedule = self.schedule(field, &metric);
        let limits = self.limits(field, &metric, &schedule);
        let is_job = check_provider(field, &metric.provider, self.is_lenient, &mut self.problems);
        let judge = self.judge(field, &metric, is_job);
        let is_usable = self.problems.len() == before;
        let judge = judge?;
        is_usable.then(|| ResolvedMetric {
            name: metric.name,
            provider: metric.provider,
            schedule,
            judge,
            limits,
            is_dry_run: false,
            kept_measurements: super::selectors::DEFAULT_KEPT_MEASUREMENTS,
        })
    }

    /// Whether a field cannot be checked because an argument in it has no value yet.
    fn is_open(&self, text: &str) -> bool {
        self.is_lenient && text.contains("{{")
    }

    fn schedule(&mut self, field: &str, metric: &Metric) -> Schedule {
        let interval = self.duration(field, "interval", metric.interval.as_ref());
        let initial_delay = self.duration(field, "initialDelay", metric.initial_delay.as_ref());
        let is_open =
            metric.interval.as_ref().is_some_and(|given| self.is_open(&given.to_string()));
        if interval.is_some_and(|interval| interval.num_seconds() < MIN_INTERVAL_SECONDS)
            && !is_open
        {
            let message = format!("must be at least {MIN_INTERVAL_SECONDS} s");
            self.problems.push(Problem::new(format!("{field}.interval"), message));
        }
        let written = self.number(field, "count", metric.count.as_ref(), 0).filter(|it| *it > 0);
        let count = written.or_else(|| interval.is_none().then_some(1));
        if count.is_some_and(|count| count > 1) && interval.is_none() {
            let message = "must be given when count is above 1";
            self.problems.push(Problem::new(format!("{field}.interval"), message));
        }
        Schedule {
            initial_delay: initial_delay.unwrap_or_else(TimeDelta::zero),
            interval,
            count: count.map(saturated),
        }
    }

    fn duration(
        &mut self,
        field: &str,
        name: &str,
        given: Option<&IntOrString>,
    ) -> Option<TimeDelta> {
        let given = given?;
        let text = given.to_string();
        if text.is_empty() {
            return None;
        }
        match given.as_duration() {
            Ok(duration) => Some(duration),
            // A stand-in, so that what depends on the field is not reported as missing.
            Err(_) if self.is_open(&text) => Some(TimeDelta::minutes(1)),
            Err(problem) => {
                self.problems.push(Problem::new(format!("{field}.{name}"), problem.to_string()));
                None
            }
        }
    }

    /// A whole number between `least` and [`MAX_COUNT`], also as text.
    fn number(
        &mut self,
        field: &str,
        name: &str,
        given: Option<&IntOrString>,
        least: i64,
    ) -> Option<i64> {
        let given = given?;
        let text = given.to_string();
        if text.is_empty() || self.is_open(&text) {
            return None;
        }
        let number = text.trim().parse::<i64>().ok();
        let fits = number.is_some_and(|number| (least..=MAX_COUNT).contains(&number));
        if fits {
            return number;
        }
        let message = if least < 0 {
            format!("is {text:?}: it must be a whole number of at least 0, or -1 to be disabled")
        } else {
            format!("is {text:?}: it must be a whole number from {least} to {MAX_COUNT}")
        };
        self.problems.push(Problem::new(format!("{field}.{name}"), message));
        None
    }

    fn limits(&mut self, field: &str, metric: &Metric, schedule: &Schedule) -> Limits {
        let failure = self.number(field, "failureLimit", metric.failure_limit.as_ref(), -1);
        let inconclusive =
            self.number(field, "inconclusiveLimit", metric.inconclusive_limit.as_ref(), 0);
        let consecutive_error =
            self.number(field, "consecutiveErrorLimit", metric.consecutive_error_limit.as_ref(), 0);
        let consecutive_success = self.number(
            field,
            "consecutiveSuccessLimit",
            metric.consecutive_success_limit.as_ref(),
            0,
        );
        let min_samples = self.number(field, "minSamples", metric.min_samples.as_ref(), 1);
        let limits = Limits {
            failure: match failure {
                None => Some(0),
                Some(-1) => None,
                Some(limit) => Some(saturated(limit)),
            },
            inconclusive: inconclusive.map_or(0, saturated),
            consecutive_error: consecutive_error.map(saturated),
            consecutive_success: consecutive_success.filter(|limit| *limit > 0).map(saturated),
            min_samples: min_samples.map_or(1, saturated),
        };
        let written = metric.count.as_ref().map(ToString::to_string);
        let has_written_count = written.is_some_and(|text| !matches!(text.as_str(), "" | "0"));
        self.check_limits(field, limits, schedule, has_written_count);
        limits
    }

    fn check_limits(
        &mut self,
        field: &str,
        limits: Limits,
        schedule: &Schedule,
        has_written_count: bool,
    ) {
        let mut say = |name: &str, message: String| {
            self.problems.push(Problem::new(format!("{field}.{name}"), message));
        };
        if limits.failure.is_none() && limits.consecutive_success.is_none() {
            say("failureLimit", "and consecutiveSuccessLimit must not both be disabled".to_owned());
        }
        let Some(count) = schedule.count else { return };
        if limits.min_samples > count {
            say("count", format!("is {count}, less than minSamples ({})", limits.min_samples));
        }
        let successes = limits.consecutive_success.unwrap_or(0);
        if schedule.interval.is_none() && successes > count {
            let message = format!("must be given: one measurement is not {successes} in a row");
            say("interval", message);
        }
        // As in Argo Rollouts, whose manifests set limits beside a count that they leave out.
        if !has_written_count {
            return;
        }
        let needed = limits.failure.unwrap_or(0).saturating_add(successes);
        if needed > count {
            let message = format!(
                "is {count}, less than failureLimit and consecutiveSuccessLimit together ({needed})"
            );
            say("count", message);
        }
        if limits.inconclusive > count {
            say(
                "count",
                format!("is {count}, less than inconclusiveLimit ({})", limits.inconclusive),
            );
        }
    }

    fn judge(&mut self, field: &str, metric: &Metric, is_job: bool) -> Option<Judge> {
        let success =
            self.condition(field, "successCondition", metric.success_condition.as_deref());
        let failure =
            self.condition(field, "failureCondition", metric.failure_condition.as_deref());
        let is_given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        let has_any = is_given(&metric.success_condition) || is_given(&metric.failure_condition);
        match (is_job, has_any) {
            (true, false) => Some(Judge::JobOutcome),
            (true, true) => {
                let message = "has a condition, but a Job is judged by how it ends";
                self.problems.push(Problem::new(field, message));
                None
            }
            (false, true) => Some(Judge::Threshold(Box::new(Threshold { success, failure }))),
            (false, false) => {
                let message =
                    "has neither successCondition nor failureCondition: nothing would decide";
                self.problems.push(Problem::new(field, message));
                None
            }
        }
    }

    fn condition(&mut self, field: &str, name: &str, text: Option<&str>) -> Option<Condition> {
        let text = text.filter(|text| !text.is_empty())?;
        if self.is_open(text) {
            return None;
        }
        match Condition::parse(text) {
            Ok(condition) => Some(condition),
            Err(problem) => {
                self.problems.push(Problem::new(format!("{field}.{name}"), problem.to_string()));
                None
            }
        }
    }

    fn selected(
        &mut self,
        metrics: Vec<ResolvedMetric>,
        spec: &AnalysisRunSpec,
    ) -> Vec<ResolvedMetric> {
        // Selectors are matched against names; with a metric missing they would be blamed for it.
        if !self.problems.is_empty() {
            return metrics;
        }
        let selectors = Selectors::read(spec, &mut self.problems);
        selectors.apply(metrics, &mut self.problems)
    }

    fn check_confused_deputy(&mut self, metrics: &[ResolvedMetric]) {
        let Some(secret_field) = &self.used_secret else {
            return;
        };
        for (index, metric) in metrics.iter().enumerate() {
            let inline = match metric.provider.chosen() {
                Ok(Provider::Prometheus(spec)) => {
                    spec.address.as_ref().map(|_| "prometheus.address")
                }
                Ok(Provider::Web(spec)) => spec.source.is_none().then_some("web.url"),
                Ok(Provider::Asked(asked)) => asked.spec().address().map(|_| "address"),
                Ok(Provider::Job(_)) | Err(_) => None,
            };
            if let Some(name) = inline {
                self.problems.push(Problem::new(
                    format!("metrics[{index}].provider.{name}"),
                    format!("stands in the same run as an argument from a Secret ({secret_field}): name a MetricsSource in source instead"),
                ));
            }
        }
    }
}

fn saturated(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(if number < 0 { 0 } else { u32::MAX })
}

fn language_of(path: &str) -> Language {
    let is_selector = ["total", "bad", "events", "histogram", "counter"].iter().any(|name| {
        path.rsplit_once('.').is_some_and(|(_, last)| last == *name) && !path.contains(".provider.")
    });
    if path.ends_with(".provider.prometheus.query") || is_selector {
        Language::Promql
    } else if path.ends_with(".successCondition") || path.ends_with(".failureCondition") {
        Language::Condition
    } else {
        Language::Plain
    }
}

/// Whether `path` is one entry of an `env` list in a Job.
fn permits_secret_env(path: &str) -> bool {
    path.contains(".provider.job.spec.")
        && path.strip_suffix(']').and_then(|path| path.rsplit_once('[')).is_some_and(
            |(list, index)| {
                list.rsplit('.').next() == Some("env") && index.bytes().all(|b| b.is_ascii_digit())
            },
        )
}
