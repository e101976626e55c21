//! What the Rust types cannot say about a field: bounds, keys of lists, and CEL rules
//! (`x-kubernetes-validations`) where fields constrain each other. One flat table, in the order of
//! the fields.
//!
//! These rules answer at `kubectl apply`; the plan checks everything again, because an object may
//! have been written before a rule existed. A rule must therefore never refuse what the plan
//! accepts. Bounds on lists and texts are also there to keep the estimated cost of CEL rules inside
//! the API server's budget.

use serde_json::{Map, Value, json};

mod comparison;

use super::Kind;
use crate::api::metrics_source::CEL_RULES as METRICS_SOURCE_RULES;

/// One addition to the schema of a field.
enum Extra {
    /// A CEL rule and its message.
    Rule(&'static str, &'static str),
    /// A keyword of the schema, where the type has none.
    Keyword(&'static str, Value),
    /// A list whose entries have unique keys: two appliers may each own entries of it.
    ListMap(&'static [&'static str]),
}

use Extra::{Keyword, ListMap, Rule};

type Table = Vec<(&'static str, Extra)>;

/// Adds everything known about `kind` to `object`, the schema of a whole object.
///
/// # Errors
/// The path of the first entry that names no field.
pub(super) fn apply(kind: Kind, object: &mut Value) -> Result<(), String> {
    for (path, extra) in table(kind) {
        let field = find(object, path).ok_or_else(|| path.to_owned())?;
        match extra {
            Rule(rule, message) => {
                let rules = field.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
                if let Value::Array(rules) = rules {
                    rules.push(json!({"rule": rule, "message": message}));
                }
            }
            Keyword(keyword, value) => {
                field.insert(keyword.to_owned(), value);
            }
            ListMap(keys) => {
                field.insert("x-kubernetes-list-type".to_owned(), "map".into());
                field.insert("x-kubernetes-list-map-keys".to_owned(), json!(keys));
            }
        }
    }
    Ok(())
}

/// The schema of the field at `path`: names are separated by points, `[]` steps into a list.
fn find<'a>(object: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    let mut field = object;
    for segment in path.split('.') {
        let name = segment.trim_end_matches("[]");
        field = field.get_mut("properties")?.get_mut(name)?;
        for _ in 0..segment.matches("[]").count() {
            field = field.get_mut("items")?;
        }
    }
    field.as_object_mut()
}

fn table(kind: Kind) -> Table {
    match kind {
        Kind::Rollout => {
            let mut table = rollout();
            table.extend(canary());
            table.extend(comparison::inline());
            table.extend(steps());
            table.extend(blue_green());
            table.extend(git_revert());
            table
        }
        Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate => {
            let mut table = metrics();
            table.extend(comparison::template());
            table.push((
                "spec",
                Rule(
                    "(has(self.metrics) && size(self.metrics) > 0) || \
                     (has(self.templates) && size(self.templates) > 0)",
                    "needs at least one entry in metrics or in templates",
                ),
            ));
            table.push(("spec.templates", Keyword("maxItems", json!(50))));
            table
        }
        Kind::AnalysisRun => {
            let mut table = metrics();
            table.extend(comparison::run());
            table
        }
        Kind::MetricsSource => metrics_source(false),
        Kind::ClusterMetricsSource => metrics_source(true),
        Kind::ClusterGitCredential => vec![
            ("spec.urlPrefix", Keyword("maxLength", json!(1024))),
            ("spec.allow", Keyword("maxItems", json!(256))),
            ("spec.allow[].namespaces", Keyword("minItems", json!(1))),
            ("spec.allow[].namespaces", Keyword("maxItems", json!(256))),
        ],
    }
}

fn rollout() -> Table {
    vec![
        ("spec.replicas", Keyword("maximum", json!(1_000_000))),
        // The scale subresource, and so every autoscaler, fails on a Rollout whose replicas are
        // absent. The only default: see ARCHITECTURE.md.
        ("spec.replicas", Keyword("default", json!(1))),
        ("spec.selector", Keyword("x-kubernetes-map-type", json!("atomic"))),
        ("spec.selector", Rule("self == oldSelf", "selector is immutable")),
        ("spec.selector.matchLabels", Keyword("maxProperties", json!(64))),
        ("spec.selector.matchExpressions", Keyword("maxItems", json!(64))),
        (
            "spec.selector.matchExpressions[].operator",
            Keyword("enum", json!(["In", "NotIn", "Exists", "DoesNotExist"])),
        ),
        (
            "spec",
            Rule(
                "has(self.template) != has(self.workloadRef)",
                "exactly one of template and workloadRef must be set",
            ),
        ),
        (
            "spec",
            Rule(
                "has(self.selector) || has(self.workloadRef)",
                "selector is required; it must match template.metadata.labels",
            ),
        ),
        (
            "spec",
            Rule(
                "!has(oldSelf.selector) || has(self.selector)",
                "selector is immutable and cannot be removed",
            ),
        ),
        (
            "spec",
            Rule(
                "(has(self.progressDeadlineSeconds) ? self.progressDeadlineSeconds : 600) > \
                 (has(self.minReadySeconds) ? self.minReadySeconds : 0)",
                "progressDeadlineSeconds (default 600) must be greater than minReadySeconds",
            ),
        ),
        (
            "spec.strategy",
            Rule(
                "has(self.canary) != has(self.blueGreen)",
                "exactly one of canary and blueGreen must be set",
            ),
        ),
        ("status.conditions", ListMap(&["type"])),
    ]
}

const CANARY: &str = "spec.strategy.canary";

fn canary() -> Table {
    vec![
        (
            CANARY,
            Rule(
                "!has(self.scaleDownDelaySeconds) || has(self.trafficRouting)",
                "scaleDownDelaySeconds needs trafficRouting",
            ),
        ),
        (
            CANARY,
            Rule(
                "!has(self.dynamicStableScale) || !self.dynamicStableScale || \
                 has(self.trafficRouting)",
                "dynamicStableScale needs trafficRouting",
            ),
        ),
        (
            CANARY,
            Rule(
                "!has(self.dynamicStableScale) || !self.dynamicStableScale || \
                 !has(self.scaleDownDelaySeconds)",
                "scaleDownDelaySeconds has no meaning with dynamicStableScale; remove one of them",
            ),
        ),
        (
            CANARY,
            Rule(
                "!has(self.minPodsPerReplicaSet) || has(self.trafficRouting)",
                "minPodsPerReplicaSet needs trafficRouting",
            ),
        ),
        (
            CANARY,
            Rule(
                "!has(self.steps) || has(self.trafficRouting) || \
                 self.steps.all(step, !has(step.setCanaryScale))",
                "setCanaryScale needs trafficRouting",
            ),
        ),
        (
            CANARY,
            Rule(
                "!has(self.steps) || self.steps.all(step, !has(step.setWeight) || step.setWeight \
                 <= (has(self.trafficRouting) && has(self.trafficRouting.maxTrafficWeight) ? \
                 self.trafficRouting.maxTrafficWeight : 100))",
                "setWeight must be at most trafficRouting.maxTrafficWeight (default 100)",
            ),
        ),
        (
            CANARY,
            Rule(
                "!has(self.stableService) || !has(self.canaryService) || \
                 self.stableService != self.canaryService",
                "stableService and canaryService must be two Services",
            ),
        ),
        ("spec.strategy.canary.stableService", Keyword("maxLength", json!(63))),
        ("spec.strategy.canary.canaryService", Keyword("maxLength", json!(63))),
        (
            "spec.strategy.canary.replicaProgressThreshold.type",
            Keyword("enum", json!(["Percent", "Pods"])),
        ),
        ("spec.strategy.canary.replicaProgressThreshold.value", Keyword("minimum", json!(1))),
        ("spec.strategy.canary.analysis.startingStep", Keyword("minimum", json!(0))),
        ("spec.strategy.canary.trafficRouting.maxTrafficWeight", Keyword("minimum", json!(1))),
        (
            "spec.strategy.canary.trafficRouting.maxTrafficWeight",
            Keyword("maximum", json!(1_000_000)),
        ),
        ("spec.strategy.canary.trafficRouting.managedRoutes", Keyword("maxItems", json!(64))),
        ("spec.strategy.canary.analysis.args", ListMap(&["name"])),
        ("spec.strategy.canary.analysis.args", Keyword("maxItems", json!(100))),
        ("spec.strategy.canary.analysis.args[]", one_value()),
    ]
}

fn one_value() -> Extra {
    Rule(
        "!has(self.value) || !has(self.valueFrom)",
        "an argument has a value or a valueFrom, not both",
    )
}

fn steps() -> Table {
    vec![
        ("spec.strategy.canary.steps", Keyword("maxItems", json!(200))),
        (
            "spec.strategy.canary.steps[]",
            Rule(
                "[has(self.setWeight), has(self.pause), has(self.setCanaryScale), \
                 has(self.analysis), has(self.experiment), has(self.setHeaderRoute), \
                 has(self.setMirrorRoute), has(self.plugin)].exists_one(set, set)",
                "a step sets exactly one of setWeight, pause, setCanaryScale, analysis, \
                 experiment, setHeaderRoute, setMirrorRoute, plugin",
            ),
        ),
        ("spec.strategy.canary.steps[].setWeight", Keyword("minimum", json!(0))),
        (
            "spec.strategy.canary.steps[].setCanaryScale",
            Rule(
                "[has(self.weight), has(self.replicas), has(self.matchTrafficWeight) && \
                 self.matchTrafficWeight].exists_one(set, set)",
                "setCanaryScale sets exactly one of weight, replicas, matchTrafficWeight",
            ),
        ),
        ("spec.strategy.canary.steps[].setCanaryScale.weight", Keyword("minimum", json!(0))),
        ("spec.strategy.canary.steps[].setCanaryScale.weight", Keyword("maximum", json!(100))),
        ("spec.strategy.canary.steps[].setCanaryScale.replicas", Keyword("minimum", json!(0))),
        ("spec.strategy.canary.steps[].analysis.args", ListMap(&["name"])),
        ("spec.strategy.canary.steps[].analysis.args", Keyword("maxItems", json!(100))),
        ("spec.strategy.canary.steps[].analysis.args[]", one_value()),
    ]
}

fn blue_green() -> Table {
    vec![
        (
            "spec.strategy.blueGreen",
            Rule(
                "!has(self.previewService) || self.previewService != self.activeService",
                "activeService and previewService must be two Services",
            ),
        ),
        ("spec.strategy.blueGreen.activeService", Keyword("minLength", json!(1))),
        ("spec.strategy.blueGreen.activeService", Keyword("maxLength", json!(63))),
        ("spec.strategy.blueGreen.previewService", Keyword("maxLength", json!(63))),
        ("spec.strategy.blueGreen.prePromotionAnalysis.args", ListMap(&["name"])),
        ("spec.strategy.blueGreen.prePromotionAnalysis.args", Keyword("maxItems", json!(100))),
        ("spec.strategy.blueGreen.prePromotionAnalysis.args[]", one_value()),
        ("spec.strategy.blueGreen.postPromotionAnalysis.args", ListMap(&["name"])),
        ("spec.strategy.blueGreen.postPromotionAnalysis.args", Keyword("maxItems", json!(100))),
        ("spec.strategy.blueGreen.postPromotionAnalysis.args[]", one_value()),
    ]
}

fn git_revert() -> Table {
    vec![
        (
            "spec.gitRevert",
            Rule(
                "!has(self.source) || (has(self.source.url) == has(self.source.branch) && \
                 has(self.source.url) == has(self.source.path) && \
                 (has(self.source.url) || !has(self.source.file)))",
                "source needs url, branch and path, or none of them and no file",
            ),
        ),
        ("spec.gitRevert.source.url", Keyword("minLength", json!(1))),
        ("spec.gitRevert.source.url", Keyword("maxLength", json!(2048))),
        (
            "spec.gitRevert.source.url",
            Rule(
                "!self.startsWith('-') && !self.startsWith('file:') && !self.startsWith('ext:')",
                "url must be https://..., ssh://... or user@host:path",
            ),
        ),
        ("spec.gitRevert.source.branch", Keyword("minLength", json!(1))),
        ("spec.gitRevert.source.branch", Keyword("maxLength", json!(255))),
        ("spec.gitRevert.source.path", Keyword("maxLength", json!(1024))),
    ]
}

/// Templates and runs.
fn metrics() -> Table {
    vec![
        ("spec.metrics", Keyword("maxItems", json!(50))),
        ("spec.metrics[].name", Keyword("minLength", json!(1))),
        ("spec.metrics[].name", Keyword("maxLength", json!(253))),
        (
            "spec.metrics[].provider",
            Rule(
                "[has(self.prometheus), has(self.web), has(self.job), has(self.datadog), \
                 has(self.newRelic), has(self.wavefront), has(self.kayenta), \
                 has(self.cloudWatch), has(self.graphite), has(self.influxdb), \
                 has(self.skywalking), has(self.plugin)].exists_one(set, set)",
                "exactly one provider must be set",
            ),
        ),
        (
            "spec.metrics[].provider.web",
            Rule("!has(self.body) || !has(self.jsonBody)", "body and jsonBody exclude each other"),
        ),
        ("spec.args", ListMap(&["name"])),
        ("spec.args", Keyword("maxItems", json!(100))),
        ("spec.args[].name", Keyword("minLength", json!(1))),
        ("spec.args[]", one_value()),
        (
            "spec.args[].valueFrom",
            Rule(
                "has(self.secretKeyRef) != has(self.fieldRef)",
                "valueFrom needs exactly one of secretKeyRef and fieldRef",
            ),
        ),
        ("spec.measurementRetention[].limit", Keyword("minimum", json!(0))),
    ]
}

fn metrics_source(is_cluster: bool) -> Table {
    let mut table: Table =
        METRICS_SOURCE_RULES.iter().map(|&(rule, message)| ("spec", Rule(rule, message))).collect();
    table.extend([
        ("spec.address", Keyword("maxLength", json!(2048))),
        ("spec.headers", ListMap(&["name"])),
        ("spec.headers", Keyword("maxItems", json!(32))),
        ("spec.allowedNamespaces", Keyword("maxItems", json!(256))),
    ]);
    if !is_cluster {
        table.push((
            "spec",
            Rule(
                "!has(self.allowedNamespaces) || size(self.allowedNamespaces) == 0",
                "allowedNamespaces is for ClusterMetricsSource only",
            ),
        ));
    }
    table
}
