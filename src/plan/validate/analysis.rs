//! References to analysis templates inside a Rollout.

use super::Problems;
use crate::api::analysis::RolloutAnalysis;

/// Checks one reference to templates.
pub(super) fn check(field: &str, analysis: &RolloutAnalysis, problems: &mut Problems) {
    if analysis.templates.is_empty() {
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
