//! `undo`: put the pod template of an earlier revision back into the spec.

use kube::core::DynamicObject;
use serde_json::Value;

use crate::plan::defaults::as_written;
use super::error::CliError;
use super::standing::is_settled;
use super::verb::{Decision, Edit, Subject};
use super::view::{annotation, revision_label, revision_number};
use crate::api::ApiNames;
use crate::api::status::{RevisionOutcome, RolloutStatus};
use crate::revision::TemplateDigest;

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "undo";

/// What undoing means here. `sets` are the Rollout's ReplicaSets.
pub(super) fn decide(
    subject: &Subject,
    sets: &[DynamicObject],
    to_revision: Option<u64>,
) -> Result<Decision, CliError> {
    let name = subject.rollout.metadata.name.as_deref().unwrap_or_default();
    if subject.rollout.spec.workload_ref.is_some() {
        return Err(CliError::refused(
            format!("rollout {name:?} takes its pod template from spec.workloadRef"),
            "undo the change of that workload: kubectl rollout undo",
        ));
    }
    let status = subject.rollout.status.clone().unwrap_or_default();
    let target = match to_revision {
        Some(number) => numbered(subject.names, sets, number, name)?,
        None => previous(subject.names, sets, &status, name)?,
    };
    let number = revision_number(subject.names, &target.metadata);
    let mut spec = subject.part("spec");
    let newer = spec.get("template").cloned().unwrap_or_default();
    let template = template_of(subject.names, target, &newer, name)?;
    if spec.get("template") == Some(&template) {
        return Ok(Decision::Nothing(format!("has the template of revision {number} already")));
    }
    spec.insert("template".to_owned(), template);
    let mut notes = super::gitops::note(subject, "the template");
    if notes.is_empty() {
        notes.push(
            "note: what applies this Rollout from a file or from Git puts the newer template back; \
             change it there too"
                .to_owned(),
        );
    }
    Ok(Decision::Change(Edit {
        spec: Some(Value::Object(spec)),
        said: format!(
            "has the template of revision {number} ({}) again",
            revision_label(subject.names, &target.metadata)
        ),
        notes,
        ..Edit::default()
    }))
}

fn numbered<'a>(
    names: ApiNames,
    sets: &'a [DynamicObject],
    number: u64,
    rollout: &str,
) -> Result<&'a DynamicObject, CliError> {
    sets.iter().find(|set| revision_number(names, &set.metadata) == number).ok_or_else(|| {
        let mut known: Vec<u64> =
            sets.iter().map(|set| revision_number(names, &set.metadata)).collect();
        known.sort_unstable();
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        CliError::refused(
            format!("rollout {rollout:?} keeps no revision {number}"),
            format!("it keeps: {}", known.join(", ")),
        )
    })
}

/// During an update the stable revision; else the newest other one that did not fail.
fn previous<'a>(
    names: ApiNames,
    sets: &'a [DynamicObject],
    status: &RolloutStatus,
    rollout: &str,
) -> Result<&'a DynamicObject, CliError> {
    let label = |set: &DynamicObject| revision_label(names, &set.metadata);
    if !status.stable_rs.is_empty() && !is_settled(status) {
        let stable = sets.iter().find(|set| label(set) == status.stable_rs);
        if let Some(stable) = stable {
            return Ok(stable);
        }
    }
    let has_failed = |revision: &str| {
        status.revisions.iter().any(|record| {
            record.revision == revision
                && matches!(record.outcome, RevisionOutcome::Failed | RevisionOutcome::Aborted)
        })
    };
    sets.iter()
        .filter(|set| label(set) != status.current_pod_hash && !has_failed(&label(set)))
        .max_by_key(|set| revision_number(names, &set.metadata))
        .ok_or_else(|| {
            CliError::refused(
                format!("rollout {rollout:?} has no earlier revision that was good"),
                format!(
                    "see what there is: kubectl sluice get rollout {rollout}; name one with \
                     --to-revision"
                ),
            )
        })
}

/// The pod template that a ReplicaSet was made from: as its author wrote it where that can be found
/// again, so that it is the same revision; else as the ReplicaSet has it. The label that the
/// controller added is left out.
fn template_of(
    names: ApiNames,
    set: &DynamicObject,
    newer: &Value,
    rollout: &str,
) -> Result<Value, CliError> {
    let Some(mut template) = set.data.pointer("/spec/template").cloned() else {
        return Err(CliError::Refused {
            message: format!("a ReplicaSet of rollout {rollout:?} has no pod template"),
            hint: None,
        });
    };
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(names.revision_label());
    }
    let digest = annotation(&set.metadata, names.digest_annotation());
    let written = digest
        .map(TemplateDigest::from_annotation)
        .and_then(|digest| as_written(&template, newer, &digest));
    Ok(written.unwrap_or(template))
}
