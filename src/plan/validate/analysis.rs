//! References to analysis templates inside a Rollout, and metrics that stand in it.

use super::Problems;
use crate::analysis::resolve::template_problems;
use crate::api::analysis::{
    AnalysisTemplateSpec, Argument, RolloutAnalysis, RolloutAnalysisBackground,
};

/// Checks the analysis beside the steps, whose metrics may stand in the Rollout.
pub(super) fn check_background(
    field: &str,
    background: &RolloutAnalysisBackground,
    problems: &mut Problems,
) {
    let inline = &background.inline;
    if !inline.metrics.is_empty() {
        let analysis = &background.analysis;
        // What templates declare, and what the values are, is known when a run is made.
        let open = |name: &String| Argument { name: name.clone(), ..Argument::default() };
        let spec = AnalysisTemplateSpec {
            metrics: inline.metrics.clone(),
            args: analysis.args.iter().map(|argument| open(&argument.name)).collect(),
            comparison: inline.comparison.clone(),
            ..AnalysisTemplateSpec::default()
        };
        for problem in template_problems(&spec) {
            problems.add(format!("{field}.{}", problem.field), problem.message);
        }
    }
    check_parts(field, &background.analysis, !inline.metrics.is_empty(), problems);
}

/// Checks one reference to templates.
pub(super) fn check(field: &str, analysis: &RolloutAnalysis, problems: &mut Problems) {
    check_parts(field, analysis, false, problems);
}

fn check_parts(
    field: &str,
    analysis: &RolloutAnalysis,
    has_metrics: bool,
    problems: &mut Problems,
) {
    if analysis.templates.is_empty() && !has_metrics {
        problems.add(format!("{field}.templates"), "needs at least one template");
    }
    for (idx, template) in analysis.templates.iter().enumerate() {
        if template.template_name.is_empty() {
            problems.add(format!("{field}.templates[{idx}].templateName"), "is required");
        }
    }
    for (idx, arg) in analysis.args.iter().enumerate() {
        if arg.name.is_empty() {
            problems.add(format!("{field}.args[{idx}].name"), "is required");
        }
        if analysis.args.iter().take(idx).any(|other| other.name == arg.name) {
            problems
                .add(format!("{field}.args[{idx}].name"), format!("{:?} is given twice", arg.name));
        }
    }
}
