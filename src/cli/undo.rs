//! `undo`: put the pod template of an earlier revision back into the spec.

use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::Value;

use super::cluster::as_json;
use super::error::CliError;
use super::standing::is_settled;
use super::verb::{Decision, Edit, Subject};
use super::view::{revision_label, revision_number};
use crate::api::ApiNames;
use crate::api::status::{RevisionOutcome, RolloutStatus};

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "undo";

/// What undoing means here. `sets` are the Rollout's ReplicaSets.
pub(super) fn decide(
    subject: &Subject,
    sets: &[ReplicaSet],
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
    let number = revision_number(subject.names, target);
    let template = template_of(subject.names, target)?;
    let mut spec = subject.part("spec");
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
    sets: &'a [ReplicaSet],
    number: u64,
    rollout: &str,
) -> Result<&'a ReplicaSet, CliError> {
    sets.iter().find(|set| revision_number(names, set) == number).ok_or_else(|| {
        let mut known: Vec<u64> = sets.iter().map(|set| revision_number(names, set)).collect();
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
    sets: &'a [ReplicaSet],
    status: &RolloutStatus,
    rollout: &str,
) -> Result<&'a ReplicaSet, CliError> {
    let label = |set: &ReplicaSet| revision_label(names, &set.metadata);
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
        .max_by_key(|set| revision_number(names, set))
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

/// The pod template that a ReplicaSet was made from: without the label that the controller added.
fn template_of(names: ApiNames, set: &ReplicaSet) -> Result<Value, CliError> {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let mut template = as_json(&template)?;
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(names.revision_label());
    }
    Ok(template)
}
