//! From what a user wrote to what the plan works with: every rule that the schema cannot state, all
//! problems at once, each with its field and what would be right. `plan` never checks again.

mod analysis;
mod blue_green;
mod canary;
mod git;
mod types;

use chrono::TimeDelta;
use serde_json::Value;

pub use types::{
    CanaryScale, NamedSource, Promotion, ScaleDown, Step, Threshold, ValidBlueGreen, ValidCanary,
    ValidGit, ValidRollout, ValidRouting, ValidStrategy,
};

use crate::api::rollout::RolloutSpec;
use crate::revision::TemplateDigest;

/// One thing that is wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Problem {
    /// Path of the field, for example `spec.strategy.canary.steps[0].setWeight`.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// Collects problems.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a problem.
    pub(crate) fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Problem { field: field.into(), problem: problem.into() });
    }

    /// Notes that a field is not built yet.
    pub(crate) fn unbuilt(&mut self, field: impl Into<String>, instead: &str) {
        self.add(field, format!("is not supported yet{instead}"));
    }

    /// Takes the value, or notes why there is none.
    pub(crate) fn take<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.add(field, error.to_string())).ok()
    }
}

/// Longest name for which every derived name stays a valid one: a ReplicaSet's name is
/// `<rollout>-<10 characters>`, and a run's has up to 40 characters more.
const MAX_NAME: usize = 200;
/// Largest template: beyond it a ReplicaSet with it would not fit into one API object.
const MAX_TEMPLATE_BYTES: usize = 512 * 1024;
/// Largest number of pods.
const MAX_REPLICAS: u32 = 1_000_000;

/// A spec that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What the plan can work with. Present beside problems when the template and the Services are
    /// usable, so that an abort still reaches the router of a Rollout whose steps, say, are wrong.
    pub usable: Option<ValidRollout>,
    /// Everything that is wrong, in the order of the fields; empty for a valid spec.
    pub problems: Vec<Problem>,
}

impl Checked {
    /// The spec, if nothing is wrong with it.
    pub fn valid(&self) -> Option<&ValidRollout> {
        self.usable.as_ref().filter(|_| self.problems.is_empty())
    }
}

/// Checks a spec: every problem at once.
pub fn validate(name: &str, spec: &RolloutSpec) -> Checked {
    let mut problems = Problems::default();
    if name.len() > MAX_NAME {
        problems.add(
            "metadata.name",
            format!(
                "has {} characters; at most {MAX_NAME} leave room for derived names",
                name.len()
            ),
        );
    }
    if spec.replicas.is_some_and(|replicas| replicas > MAX_REPLICAS) {
        problems.add("spec.replicas", format!("must be at most {MAX_REPLICAS}"));
    }
    let template = check_template(spec, &mut problems);
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let deadline = spec.progress_deadline_seconds.unwrap_or(600);
    if deadline <= min_ready {
        problems.add(
            "spec.progressDeadlineSeconds",
            format!("must be greater than minReadySeconds ({min_ready}), but is {deadline}"),
        );
    }
    if spec.rollback_window.is_some() {
        problems.unbuilt(
            "spec.rollbackWindow",
            "; going back to the stable revision skips steps without it",
        );
    }
    let strategy = match (&spec.strategy.canary, &spec.strategy.blue_green) {
        (Some(canary), None) => canary::check(canary, &mut problems).map(ValidStrategy::Canary),
        (None, Some(blue_green)) => {
            blue_green::check(blue_green, &mut problems).map(ValidStrategy::BlueGreen)
        }
        (Some(_), Some(_)) => {
            problems.add("spec.strategy", "has both canary and blueGreen; keep exactly one");
            None
        }
        (None, None) => {
            problems.add("spec.strategy", "has neither canary nor blueGreen; set exactly one");
            None
        }
    };
    let git = spec.git_revert.as_ref().and_then(|git| git::check(git, &mut problems));
    let history = spec.analysis.as_ref();
    let usable = template.zip(strategy).map(|((selector, template), strategy)| ValidRollout {
        replicas: spec.replicas.unwrap_or(1),
        selector,
        digest: TemplateDigest::of(&template),
        template,
        min_ready_seconds: min_ready,
        history_limit: spec.revision_history_limit.unwrap_or(10),
        paused: spec.paused,
        progress_deadline: TimeDelta::seconds(i64::from(deadline)),
        deadline_aborts: spec.progress_deadline_abort,
        restart_at: spec.restart_at,
        keep_successful_runs: history.and_then(|h| h.successful_run_history_limit).unwrap_or(5),
        keep_unsuccessful_runs: history.and_then(|h| h.unsuccessful_run_history_limit).unwrap_or(5),
        strategy,
        git,
    });
    Checked { usable, problems: problems.0 }
}

fn check_template(
    spec: &RolloutSpec,
    problems: &mut Problems,
) -> Option<(crate::api::LabelSelector, Value)> {
    if spec.workload_ref.is_some() {
        problems.unbuilt("spec.workloadRef", "; move the pod template into spec.template");
        return None;
    }
    let Some(template) = spec.template.as_ref().map(|raw| &raw.0) else {
        problems.add("spec.template", "is required");
        return None;
    };
    let Some(selector) = spec.selector.as_ref() else {
        problems.add("spec.selector", "is required; it must match spec.template.metadata.labels");
        return None;
    };
    if selector.is_empty() {
        problems.add(
            "spec.selector",
            "is empty and would select every pod; name a label of the template",
        );
    }
    for (idx, requirement) in selector.match_expressions.iter().enumerate() {
        if !matches!(requirement.operator.as_str(), "In" | "NotIn" | "Exists" | "DoesNotExist") {
            problems.add(
                format!("spec.selector.matchExpressions[{idx}].operator"),
                format!("{:?} is not one of In, NotIn, Exists, DoesNotExist", requirement.operator),
            );
        }
    }
    let labels = string_map(template.pointer("/metadata/labels"));
    if !selector.matches(&labels) {
        problems.add(
            "spec.selector",
            format!(
                "does not match spec.template.metadata.labels: {selector:?}",
                selector = selector.to_query()
            ),
        );
    }
    check_containers(template, problems);
    let bytes = template.to_string().len();
    if bytes > MAX_TEMPLATE_BYTES {
        problems.add(
            "spec.template",
            format!("has {bytes} bytes; at most {MAX_TEMPLATE_BYTES} are accepted"),
        );
    }
    Some((selector.clone(), template.clone()))
}

fn check_containers(template: &Value, problems: &mut Problems) {
    let Some(containers) = template.pointer("/spec/containers").and_then(Value::as_array) else {
        problems.add("spec.template.spec.containers", "is required and must be a list");
        return;
    };
    if containers.is_empty() {
        problems.add("spec.template.spec.containers", "needs at least one container");
    }
    for (idx, container) in containers.iter().enumerate() {
        for field in ["name", "image"] {
            if container.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
                problems
                    .add(format!("spec.template.spec.containers[{idx}].{field}"), "is required");
            }
        }
    }
    let restart = template.pointer("/spec/restartPolicy").and_then(Value::as_str);
    if restart.is_some_and(|policy| policy != "Always") {
        problems.add("spec.template.spec.restartPolicy", "must be Always");
    }
}

/// The entries of a JSON object whose values are text.
pub(crate) fn string_map(value: Option<&Value>) -> std::collections::BTreeMap<String, String> {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}
