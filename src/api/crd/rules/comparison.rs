//! Rules for metrics that compare, in the three places where they can stand.
//!
//! `metrics` is a list without keys in templates, because the short forms have no name.

use serde_json::json;

use super::Extra::{Keyword, ListMap, Rule};
use super::Table;

/// What holds for each metric, and for what they have in common. `$metrics` and `$common` are paths.
macro_rules! comparison {
    ($metrics:literal, $common:literal) => {
        vec![
            (
                concat!($metrics, "[]"),
                Rule(
                    "has(self.provider) != (has(self.type) || has(self.errors) || \
                     has(self.latency) || has(self.memory))",
                    "a metric has either a provider, or a type (or errors, latency or memory) when it \
                     compares canary and stable",
                ),
            ),
            (
                concat!($metrics, "[]"),
                Rule(
                    "has(self.provider) || [has(self.type), has(self.errors), has(self.latency), \
                     has(self.memory)].exists_one(set, set)",
                    "a metric that compares sets exactly one of type, errors, latency, memory",
                ),
            ),
            (
                concat!($metrics, "[]"),
                Rule(
                    "has(self.provider) || !(has(self.interval) || has(self.initialDelay) || \
                     has(self.count) || has(self.successCondition) || has(self.failureCondition) \
                     || has(self.failureLimit))",
                    "a metric that compares has no conditions, limits or interval of its own: its \
                     evidence decides",
                ),
            ),
            (concat!($metrics, "[].by"), Keyword("maxItems", json!(3))),
            (concat!($metrics, "[].bounds"), Keyword("maxItems", json!(5))),
            (concat!($metrics, "[].maxRatio"), Rule("self > 0.0", "maxRatio must be above 0")),
            (concat!($metrics, "[].maxOdds"), Rule("self > 0.0", "maxOdds must be above 0")),
            (
                concat!($metrics, "[].minDelta"),
                Rule("self >= 0.0 && self < 1.0", "minDelta must be at least 0 and below 1"),
            ),
            (
                concat!($metrics, "[].maxRate"),
                Rule("self > 0.0 && self < 1.0", "maxRate must be above 0 and below 1"),
            ),
            (
                concat!($metrics, "[].falsePass"),
                Rule("self > 0.0 && self < 1.0", "falsePass must be above 0 and below 1"),
            ),
            (
                concat!($metrics, "[].batch"),
                Rule("self >= 1 && self <= 1000", "batch must be from 1 to 1000 looks"),
            ),
            (concat!($metrics, "[].weight"), Rule("self > 0.0", "weight must be above 0")),
            (
                concat!($common, ".falseRollbackBudget"),
                Rule(
                    "self > 0.0 && self <= 0.2",
                    "falseRollbackBudget must be above 0 and at most 0.2",
                ),
            ),
            (
                $common,
                Rule(
                    "!has(self.source) || !has(self.address)",
                    "source and address exclude each other",
                ),
            ),
            (
                concat!($common, ".arms"),
                Rule(
                    "!has(self.by) || self.by != 'label' || has(self.label)",
                    "arms by label need a label",
                ),
            ),
        ]
    };
}

fn names(path: &'static str) -> (&'static str, super::Extra) {
    (
        path,
        Rule(
            "has(self.name) || has(self.errors) || has(self.latency) || has(self.memory)",
            "name is required; only errors, latency and memory have one of their own",
        ),
    )
}

/// What a list map would say, if every metric had a name.
fn unique(path: &'static str) -> (&'static str, super::Extra) {
    (
        path,
        Rule(
            "self.all(one, !has(one.name) || self.exists_one(other, has(other.name) && \
             other.name == one.name))",
            "metrics must have different names",
        ),
    )
}

/// Templates.
pub(super) fn template() -> Table {
    let mut table = comparison!("spec.metrics", "spec");
    table.push(names("spec.metrics[]"));
    table.push(unique("spec.metrics"));
    table
}

/// Metrics in a Rollout.
pub(super) fn inline() -> Table {
    let mut table =
        comparison!("spec.strategy.canary.analysis.metrics", "spec.strategy.canary.analysis");
    table.push(names("spec.strategy.canary.analysis.metrics[]"));
    table.push(unique("spec.strategy.canary.analysis.metrics"));
    table.push(("spec.strategy.canary.analysis.metrics", Keyword("maxItems", json!(50))));
    table.push(("spec.strategy.canary.analysis.metrics[].name", Keyword("minLength", json!(1))));
    table.push(("spec.strategy.canary.analysis.metrics[].name", Keyword("maxLength", json!(253))));
    table
}

/// Runs, in which every metric has its name.
pub(super) fn run() -> Table {
    let mut table = comparison!("spec.metrics", "spec.comparison");
    table.push(("spec.metrics", ListMap(&["name"])));
    table.push(("spec.metrics[]", Keyword("required", json!(["name"]))));
    table
}
