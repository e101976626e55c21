//! A template on its own, before anybody uses it.

use super::Resolver;
use crate::analysis::Problem;
use crate::analysis::arguments::{ArgumentValue, ArgumentValues};
use crate::analysis::resolved::ResolvedMetric;
use crate::analysis::templates::unused;
use crate::api::analysis::{AnalysisRunSpec, AnalysisTemplateSpec, Metric, RunComparison};

/// What a template says on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Why no run can be made of it.
    pub problems: Vec<Problem>,
    /// What its author hardly meant.
    pub doubts: Vec<Problem>,
}

/// Everything that is wrong with a template on its own.
pub fn template_problems(spec: &AnalysisTemplateSpec) -> Vec<Problem> {
    review(spec).problems
}

/// What metrics say that their author hardly meant.
pub fn doubts(metrics: &[ResolvedMetric]) -> Vec<Problem> {
    let mut doubts = Vec::new();
    for (index, metric) in metrics.iter().enumerate() {
        let (Some(count), Some(limit)) = (metric.schedule.count, metric.limits.failure) else {
            continue;
        };
        if limit > 0 && limit >= count {
            let message = format!(
                "tolerates {limit} bad values, but only {count} will be measured: the metric can \
                 never fail, and bad values alone pause the update (Inconclusive)"
            );
            doubts.push(Problem::new(format!("metrics[{index}].failureLimit"), message));
        }
    }
    doubts
}

/// Reads a template on its own. Arguments without default are unknown, so the fields that use them
/// are checked only when a run is made.
pub fn review(spec: &AnalysisTemplateSpec) -> Review {
    let mut values = ArgumentValues::new();
    let mut problems = Vec::new();
    for (index, argument) in spec.args.iter().enumerate() {
        let mut say =
            |problem: &str| problems.push(Problem::new(format!("args[{index}]"), problem));
        let value = match (&argument.value, &argument.value_from) {
            (Some(value), None) => ArgumentValue::Text(value.clone()),
            (None, None) => continue,
            (Some(_), Some(_)) => {
                say("has both value and valueFrom");
                continue;
            }
            (None, Some(from)) => match (&from.secret_key_ref, &from.field_ref) {
                (Some(secret), None) => ArgumentValue::Secret(secret.clone()),
                (None, Some(_)) => continue,
                (Some(_), Some(_)) | (None, None) => {
                    say("needs exactly one of secretKeyRef and fieldRef in valueFrom");
                    continue;
                }
            },
        };
        values.insert(argument.name.clone(), value);
    }
    if spec.metrics.is_empty() && spec.templates.is_empty() {
        problems.push(Problem::new("metrics", "must name at least one metric"));
    }
    let mut resolver = Resolver::new(values, true, problems);
    let comparison =
        RunComparison { settings: spec.comparison.clone(), ..RunComparison::default() };
    let _ = resolver.comparison("", Some(&comparison), false);
    let metrics = resolver.metric_list(&spec.metrics);
    let compares = spec.metrics.iter().any(Metric::is_comparing);
    // Settings may stand apart from the templates whose metrics they are for.
    let is_used = compares || !spec.templates.is_empty();
    resolver.problems.extend(unused(&spec.comparison, is_used));
    if spec.templates.is_empty() {
        let run = AnalysisRunSpec {
            dry_run: spec.dry_run.clone(),
            measurement_retention: spec.measurement_retention.clone(),
            ..AnalysisRunSpec::default()
        };
        let _ = resolver.selected(metrics.clone(), &run);
    }
    resolver.check_confused_deputy(&metrics);
    // A metric that could not be read leaves a gap, and indexes would name others.
    let is_whole = metrics.len() == spec.metrics.len();
    let doubts = if is_whole { doubts(&metrics) } else { Vec::new() };
    Review { problems: resolver.problems, doubts }
}
