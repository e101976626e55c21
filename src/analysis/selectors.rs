//! `dryRun` and `measurementRetention`: rules that select metrics by name or regular expression. A
//! rule that selects nothing is a problem, never ignored.
//!
//! An expression must match the whole name. (Argo Rollouts accepts a match anywhere, so that
//! `errors` silently takes `errors-5xx` out of the decision.)

use regex::Regex;

use super::Problem;
use super::resolved::ResolvedMetric;
use crate::api::analysis::AnalysisRunSpec;

/// Measurements of a metric that are kept without a rule.
pub(super) const DEFAULT_KEPT_MEASUREMENTS: usize = 10;
/// Most measurements of a metric that a rule may keep: status has a size.
const MAX_KEPT_MEASUREMENTS: i32 = 100;
/// Memory of a compiled expression, in bytes.
const MAX_COMPILED_BYTES: usize = 256 * 1024;

struct Selector {
    field: String,
    name: String,
    pattern: Option<Regex>,
}

impl Selector {
    fn read(field: String, name: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        if name.is_empty() {
            problems.push(Problem::new(format!("{field}.metricName"), "is empty"));
            return None;
        }
        let pattern = regex::RegexBuilder::new(&format!("^(?:{name})$"))
            .size_limit(MAX_COMPILED_BYTES)
            .build()
            .ok();
        Some(Self { field, name: name.to_owned(), pattern })
    }

    fn selects(&self, metric: &str) -> bool {
        self.name == metric || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(metric))
    }

    fn check_used(&self, metrics: &[ResolvedMetric], problems: &mut Vec<Problem>) {
        if !metrics.iter().any(|metric| self.selects(&metric.name)) {
            let expression =
                if self.pattern.is_some() { "" } else { " and is no regular expression" };
            problems.push(Problem::new(
                format!("{}.metricName", self.field),
                format!("{:?} names no metric{expression}", self.name),
            ));
        }
    }
}

/// The rules of one run.
pub(super) struct Selectors {
    dry_run: Vec<Selector>,
    retention: Vec<(Selector, usize)>,
}

impl Selectors {
    /// Reads the rules; problems are collected.
    pub(super) fn read(spec: &AnalysisRunSpec, problems: &mut Vec<Problem>) -> Self {
        let dry_run = spec
            .dry_run
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| {
                Selector::read(format!("dryRun[{index}]"), &rule.metric_name, problems)
            })
            .collect();
        let mut retention = Vec::new();
        for (index, rule) in spec.measurement_retention.iter().enumerate() {
            let field = format!("measurementRetention[{index}]");
            match usize::try_from(rule.limit) {
                Ok(limit) if (1..=MAX_KEPT_MEASUREMENTS).contains(&rule.limit) => {
                    let selector = Selector::read(field, &rule.metric_name, problems);
                    retention.extend(selector.map(|selector| (selector, limit)));
                }
                Ok(_) | Err(_) => problems.push(Problem::new(
                    format!("{field}.limit"),
                    format!("must be from 1 to {MAX_KEPT_MEASUREMENTS}"),
                )),
            }
        }
        Self { dry_run, retention }
    }

    /// Marks the selected metrics. Of several retention rules the last one that selects wins.
    pub(super) fn apply(
        &self,
        mut metrics: Vec<ResolvedMetric>,
        problems: &mut Vec<Problem>,
    ) -> Vec<ResolvedMetric> {
        for selector in &self.dry_run {
            selector.check_used(&metrics, problems);
        }
        for (selector, _) in &self.retention {
            selector.check_used(&metrics, problems);
        }
        for metric in &mut metrics {
            metric.is_dry_run = self.dry_run.iter().any(|rule| rule.selects(&metric.name));
            let kept = self.retention.iter().rev().find(|(rule, _)| rule.selects(&metric.name));
            if let Some((_, limit)) = kept {
                metric.kept_measurements = *limit;
            }
        }
        metrics
    }
}
