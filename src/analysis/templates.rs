//! From the templates that an analysis names to the specification of one run: templates of templates
//! are followed, metrics and arguments merged, clashes and cycles refused.

use std::collections::{BTreeMap, BTreeSet};

use super::Problem;
use super::arguments::{RolloutFacts, field_value, rollout_argument};
use super::comparing::resolve::name_of;
use crate::api::analysis::{
    AnalysisRunSpec, AnalysisTemplateRef, AnalysisTemplateSpec, Argument, Comparison, DryRun,
    InlineAnalysis, MeasurementRetention, Metric, RolloutAnalysis, RunComparison,
};

/// Deepest chain of templates that refer to templates.
const MAX_DEPTH: usize = 10;
/// Most templates of one analysis.
const MAX_TEMPLATES: usize = 50;

/// Which template is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateKey {
    /// Whether it is a `ClusterAnalysisTemplate`.
    pub is_cluster_scope: bool,
    /// Its name.
    pub name: String,
}

impl From<&AnalysisTemplateRef> for TemplateKey {
    fn from(reference: &AnalysisTemplateRef) -> Self {
        Self {
            is_cluster_scope: reference.is_cluster_scope(),
            name: reference.template_name.clone(),
        }
    }
}

impl std::fmt::Display for TemplateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind =
            if self.is_cluster_scope { "ClusterAnalysisTemplate" } else { "AnalysisTemplate" };
        write!(f, "{kind} {:?}", self.name)
    }
}

/// The templates that were read.
pub type TemplateLibrary = BTreeMap<TemplateKey, AnalysisTemplateSpec>;

/// Why templates do not make one analysis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// These were not read yet or do not exist. Reading them cures it, so it is no error of the
    /// Rollout; there may be more behind them.
    #[error("{} not found", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Missing(Vec<TemplateKey>),
    /// A template refers to itself.
    #[error("{} refers to itself: {}", .0.first().map_or_else(String::new, ToString::to_string), .0.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(" -> "))]
    Cycle(Vec<TemplateKey>),
    /// Templates are nested too deeply or are too many.
    #[error("templates are nested deeper than {MAX_DEPTH} or more than {MAX_TEMPLATES}")]
    TooMany,
    /// Everything else that is wrong, all at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Problems(Vec<Problem>),
}

/// Several templates as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MergedTemplates {
    /// Metrics in the order of the templates.
    pub metrics: Vec<Metric>,
    /// Declared arguments with their defaults.
    pub args: Vec<Argument>,
    /// Dry-run selectors.
    pub dry_run: Vec<DryRun>,
    /// Retention selectors.
    pub measurement_retention: Vec<MeasurementRetention>,
    /// What the metrics that compare have in common.
    pub comparison: Comparison,
}

/// Follows and merges the named templates.
///
/// # Errors
/// [`TemplateError`]; `Missing` names all templates that are known to be needed and not in `library`.
pub fn merge(
    references: &[AnalysisTemplateRef],
    library: &TemplateLibrary,
) -> Result<MergedTemplates, TemplateError> {
    let mut walk = Walk { library, order: Vec::new(), done: BTreeSet::new(), missing: Vec::new() };
    for reference in references {
        walk.visit(&TemplateKey::from(reference), &mut Vec::new())?;
    }
    if !walk.missing.is_empty() {
        return Err(TemplateError::Missing(walk.missing));
    }
    merge_specs(&walk.order)
}

struct Walk<'a> {
    library: &'a TemplateLibrary,
    order: Vec<(TemplateKey, &'a AnalysisTemplateSpec)>,
    done: BTreeSet<TemplateKey>,
    missing: Vec<TemplateKey>,
}

impl Walk<'_> {
    fn visit(
        &mut self,
        key: &TemplateKey,
        path: &mut Vec<TemplateKey>,
    ) -> Result<(), TemplateError> {
        if let Some(start) = path.iter().position(|earlier| earlier == key) {
            let mut cycle = path.split_off(start);
            cycle.push(key.clone());
            return Err(TemplateError::Cycle(cycle));
        }
        if self.done.contains(key) {
            return Ok(());
        }
        if path.len() >= MAX_DEPTH || self.done.len() >= MAX_TEMPLATES {
            return Err(TemplateError::TooMany);
        }
        let Some(spec) = self.library.get(key) else {
            if !self.missing.contains(key) {
                self.missing.push(key.clone());
            }
            return Ok(());
        };
        path.push(key.clone());
        self.order.push((key.clone(), spec));
        for reference in &spec.templates {
            self.visit(&TemplateKey::from(reference), path)?;
        }
        path.pop();
        self.done.insert(key.clone());
        Ok(())
    }
}

fn merge_specs(
    specs: &[(TemplateKey, &AnalysisTemplateSpec)],
) -> Result<MergedTemplates, TemplateError> {
    let mut merged = MergedTemplates::default();
    let mut problems = Vec::new();
    let mut owner_of: BTreeMap<String, &TemplateKey> = BTreeMap::new();
    for (key, spec) in specs {
        for metric in &spec.metrics {
            let name = name_of(metric);
            if let Some(other) = owner_of.insert(name.clone(), key) {
                problems.push(Problem::new(
                    "templates",
                    format!("define the metric {name:?} twice, in {other} and in {key}"),
                ));
            }
            merged.metrics.push(metric.clone());
        }
        for argument in &spec.args {
            if let Err(problem) = add_argument(&mut merged.args, argument) {
                problems.push(problem);
            }
        }
        match joined(&merged.comparison, &spec.comparison) {
            Ok(comparison) => merged.comparison = comparison,
            Err(field) => problems.push(Problem::new(
                "templates",
                format!("give {field} different values: the metrics of one analysis are looked at together"),
            )),
        }
        for rule in &spec.dry_run {
            if !merged.dry_run.contains(rule) {
                merged.dry_run.push(rule.clone());
            }
        }
        for rule in &spec.measurement_retention {
            if !merged.measurement_retention.contains(rule) {
                merged.measurement_retention.push(rule.clone());
            }
        }
    }
    if problems.is_empty() { Ok(merged) } else { Err(TemplateError::Problems(problems)) }
}

/// Adds what stands in the Rollout itself.
fn add_inline(merged: &mut MergedTemplates, inline: &InlineAnalysis, problems: &mut Vec<Problem>) {
    for metric in &inline.metrics {
        let name = name_of(metric);
        if merged.metrics.iter().any(|other| name_of(other) == name) {
            let message = format!("has a metric {name:?}, which a template defines too");
            problems.push(Problem::new("metrics", message));
        }
        merged.metrics.push(metric.clone());
    }
    match joined(&merged.comparison, &inline.comparison) {
        Ok(comparison) => merged.comparison = comparison,
        Err(field) => problems.push(Problem::new(field, "is not what a template says")),
    }
}

/// What is said about a comparison where nothing is compared: most likely meant for other metrics.
pub(super) fn unused(settings: &Comparison, compares: bool) -> Option<Problem> {
    let tree = serde_json::to_value(settings).unwrap_or_default();
    let field = tree.as_object()?.keys().next().filter(|_| !compares)?.clone();
    let message = "is about metrics that compare canary and stable, and there is none: a metric with a \
                   provider has its own interval and source";
    Some(Problem::new(field, message))
}

/// What two templates say about their comparison, as one.
///
/// # Errors
/// The field for which they say different things.
fn joined(one: &Comparison, other: &Comparison) -> Result<Comparison, String> {
    let tree = |it: &Comparison| serde_json::to_value(it).unwrap_or_default();
    let mut all = tree(one);
    for (field, value) in tree(other).as_object().into_iter().flatten() {
        match all.get(field) {
            Some(own) if own != value => return Err(field.clone()),
            Some(_) => {}
            None => {
                if let Some(all) = all.as_object_mut() {
                    all.insert(field.clone(), value.clone());
                }
            }
        }
    }
    serde_json::from_value(all).map_err(|_| "comparison".to_owned())
}

/// The same argument of two templates is one; an argument without default takes the other's.
fn add_argument(args: &mut Vec<Argument>, new: &Argument) -> Result<(), Problem> {
    let Some(old) = args.iter_mut().find(|old| old.name == new.name) else {
        args.push(new.clone());
        return Ok(());
    };
    let is_open = |argument: &Argument| argument.value.is_none() && argument.value_from.is_none();
    if is_open(old) {
        *old = new.clone();
        Ok(())
    } else if is_open(new) || old == new {
        Ok(())
    } else {
        Err(Problem::new(
            "templates",
            format!("give the argument {:?} different defaults", new.name),
        ))
    }
}

/// A run's specification, and what the Rollout gave without need.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRun {
    /// The specification of the run.
    pub spec: AnalysisRunSpec,
    /// Arguments that the Rollout gives and no template declares: perhaps a slip of the pen.
    pub unused_args: Vec<String>,
}

/// The specification of the run that a Rollout's analysis asks for; `inline` is what stands in the Rollout
/// itself. The arms of a comparison are still to be named.
///
/// # Errors
/// [`TemplateError`], with field paths below the analysis.
pub fn plan_run(
    analysis: &RolloutAnalysis,
    inline: &InlineAnalysis,
    library: &TemplateLibrary,
    facts: &RolloutFacts<'_>,
) -> Result<PlannedRun, TemplateError> {
    let mut problems = Vec::new();
    if analysis.templates.is_empty() && inline.metrics.is_empty() {
        problems.push(Problem::new("templates", "names no template"));
    }
    let mut merged = merge(&analysis.templates, library)?;
    add_inline(&mut merged, inline, &mut problems);
    let mut args = merged.args;
    // Metrics in the Rollout declare no arguments: what is given is there for them.
    for given in analysis.args.iter().filter(|_| !inline.metrics.is_empty()) {
        if !args.iter().any(|declared| declared.name == given.name) {
            args.push(Argument { name: given.name.clone(), ..Argument::default() });
        }
    }
    let mut unused_args = Vec::new();
    for (index, given) in analysis.args.iter().enumerate() {
        let Some(declared) = args.iter_mut().find(|declared| declared.name == given.name) else {
            unused_args.push(given.name.clone());
            continue;
        };
        match rollout_argument(given, facts, &format!("args[{index}]")) {
            Ok(value) => {
                declared.value = Some(value);
                declared.value_from = None;
            }
            Err(problem) => problems.push(problem),
        }
    }
    for declared in &mut args {
        let reference = declared.value_from.as_ref().and_then(|source| source.field_ref.clone());
        if let Some(reference) = reference {
            match field_value(facts.rollout, &reference, &format!("args.{}", declared.name)) {
                Ok(value) => {
                    declared.value = Some(value);
                    declared.value_from = None;
                }
                Err(problem) => problems.push(problem),
            }
        } else if declared.value.is_none() && declared.value_from.is_none() {
            let was_given = analysis.args.iter().any(|given| given.name == declared.name);
            if !was_given {
                problems.push(Problem::new(
                    "args",
                    format!("must give a value to {:?}, which the templates need", declared.name),
                ));
            }
        }
    }
    if !problems.is_empty() {
        return Err(TemplateError::Problems(problems));
    }
    let compares = merged.metrics.iter().any(Metric::is_comparing);
    let settings = merged.comparison;
    if let Some(problem) = unused(&settings, compares) {
        return Err(TemplateError::Problems(vec![problem]));
    }
    for metric in &mut merged.metrics {
        metric.name = name_of(metric);
    }
    Ok(PlannedRun {
        spec: AnalysisRunSpec {
            comparison: compares.then(|| RunComparison { settings, ..RunComparison::default() }),
            metrics: merged.metrics,
            args,
            terminate: false,
            dry_run: united(merged.dry_run, &analysis.dry_run),
            measurement_retention: united(
                merged.measurement_retention,
                &analysis.measurement_retention,
            ),
            ttl_strategy: None,
        },
        unused_args,
    })
}

fn united<T: Clone + PartialEq>(mut rules: Vec<T>, more: &[T]) -> Vec<T> {
    for rule in more {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn library(templates: &[(&str, Value)]) -> TemplateLibrary {
        templates
            .iter()
            .map(|(name, spec)| {
                let is_cluster_scope = name.starts_with("cluster/");
                let name = name.trim_start_matches("cluster/").to_owned();
                (
                    TemplateKey { is_cluster_scope, name },
                    serde_json::from_value(spec.clone()).unwrap(),
                )
            })
            .collect()
    }

    fn metric(name: &str) -> Value {
        json!({"name": name, "successCondition": "true", "provider": {"prometheus": {"query": "up"}}})
    }

    fn refs(names: &[&str]) -> Vec<AnalysisTemplateRef> {
        names
            .iter()
            .map(|name| AnalysisTemplateRef {
                template_name: name.trim_start_matches("cluster/").to_owned(),
                cluster_scope: name.starts_with("cluster/").then_some(true),
            })
            .collect()
    }

    #[test]
    fn templates_of_templates_are_followed_once_each() {
        let library = library(&[
            (
                "a",
                json!({"metrics": [metric("a")], "templates": [{"templateName": "b"}, {"templateName": "c", "clusterScope": true}]}),
            ),
            (
                "b",
                json!({"metrics": [metric("b")], "templates": [{"templateName": "c", "clusterScope": true}]}),
            ),
            ("cluster/c", json!({"metrics": [metric("c")]})),
        ]);
        let merged = merge(&refs(&["a", "b", "cluster/c"]), &library).unwrap();
        let names: Vec<&str> = merged.metrics.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn a_template_that_refers_to_itself_is_refused_with_its_path() {
        let library = library(&[
            ("a", json!({"templates": [{"templateName": "b"}]})),
            ("b", json!({"templates": [{"templateName": "a"}]})),
        ]);
        let error = merge(&refs(&["a"]), &library).unwrap_err().to_string();
        assert_eq!(error, "AnalysisTemplate \"a\" refers to itself: a -> b -> a");
    }

    #[test]
    fn all_missing_templates_are_named_at_once() {
        let library = library(&[("a", json!({"templates": [{"templateName": "x"}]}))]);
        let error = merge(&refs(&["a", "cluster/y", "x"]), &library).unwrap_err();
        assert_eq!(
            error.to_string(),
            "AnalysisTemplate \"x\", ClusterAnalysisTemplate \"y\" not found"
        );
    }

    #[test]
    fn a_long_chain_of_templates_is_refused() {
        let chain: Vec<(String, Value)> = (0..20)
            .map(|n| {
                (format!("t{n}"), json!({"templates": [{"templateName": format!("t{}", n + 1)}]}))
            })
            .collect();
        let chain: Vec<(&str, Value)> =
            chain.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
        assert_eq!(merge(&refs(&["t0"]), &library(&chain)), Err(TemplateError::TooMany));
    }

    #[test]
    fn clashes_of_metrics_and_of_defaults_are_refused_together() {
        let library = library(&[
            ("a", json!({"metrics": [metric("m")], "args": [{"name": "x", "value": "1"}]})),
            ("b", json!({"metrics": [metric("m")], "args": [{"name": "x", "value": "2"}]})),
        ]);
        let error = merge(&refs(&["a", "b"]), &library).unwrap_err().to_string();
        assert!(
            error.contains(
                "metric \"m\" twice, in AnalysisTemplate \"a\" and in AnalysisTemplate \"b\""
            ),
            "{error}"
        );
        assert!(error.contains("argument \"x\" different defaults"), "{error}");
    }

    #[test]
    fn a_rollouts_arguments_win_over_defaults_and_secrets_stay_references() {
        let library = library(&[(
            "a",
            json!({"metrics": [metric("m")], "args": [
                {"name": "service"}, {"name": "limit", "value": "0.9"},
                {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "app", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ]}),
        )]);
        let analysis: RolloutAnalysis = serde_json::from_value(json!({
            "templates": [{"templateName": "a"}],
            "args": [{"name": "service", "value": "web"}, {"name": "limit", "value": "0.5"}, {"name": "stray", "value": "1"},],
            "dryRun": [{"metricName": "m"}],
        })).unwrap();
        let rollout = json!({"metadata": {"name": "shop"}});
        let facts = RolloutFacts { rollout: &rollout, latest_hash: "n", stable_hash: None };
        let run = plan_run(&analysis, &InlineAnalysis::default(), &library, &facts).unwrap();
        assert_eq!(run.unused_args, ["stray"]);
        assert_eq!(
            serde_json::to_value(&run.spec.args).unwrap(),
            json!([
                {"name": "service", "value": "web"}, {"name": "limit", "value": "0.5"},
                {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "app", "value": "shop"},
            ])
        );
        assert_eq!(run.spec.dry_run.len(), 1);
    }

    #[test]
    fn an_argument_without_value_is_named() {
        let library =
            library(&[("a", json!({"metrics": [metric("m")], "args": [{"name": "service"}]}))]);
        let analysis: RolloutAnalysis =
            serde_json::from_value(json!({"templates": [{"templateName": "a"}]})).unwrap();
        let facts = RolloutFacts { rollout: &Value::Null, latest_hash: "n", stable_hash: None };
        let error = plan_run(&analysis, &InlineAnalysis::default(), &library, &facts)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "args must give a value to \"service\", which the templates need");
    }
}
