//! Which AnalysisRuns belong to the attempt, which are wanted, and what a new one looks like.

use serde_json::{Value, json};

use super::facts::{Known, ReplicaSetFact, RunFact, RunSlot};
use super::memory::Phase;
use super::transition::step_at;
use super::validate::{Step, ValidStrategy};
use super::view::View;
use crate::analysis::Verdict;
use crate::analysis::arguments::RolloutFacts;
use crate::analysis::comparing::place::{Place, Revisions, complete};
use crate::analysis::templates::plan_run;
use crate::api::Kind;
use crate::api::analysis::{AnalysisPhase, InlineAnalysis, RolloutAnalysis};
use crate::api::status::BlueGreenStage;
use crate::mutants::{Mutant, mutant};
use crate::revision::Revision;

/// The slots in which an analysis is to run now.
pub(super) fn wanted(view: &View<'_>) -> Vec<RunSlot> {
    match (&view.memory.phase, &view.spec.strategy) {
        (Phase::Canary(step), ValidStrategy::Canary(canary)) => {
            let mut slots = Vec::new();
            if let Some((_, starting)) = &canary.background
                && step.index >= *starting
            {
                slots.push(RunSlot::Background);
            }
            if let Some(Step::Analysis(_)) = step_at(canary, step.index) {
                slots.push(RunSlot::Step(step.index));
            }
            slots
        }
        (Phase::Promoting { full: false }, ValidStrategy::Canary(canary)) => {
            // It goes on until the new revision has taken over, but none is started for that.
            let has_run = of_attempt(view).any(|(slot, _)| slot == RunSlot::Background);
            canary.background.iter().filter(|_| has_run).map(|_| RunSlot::Background).collect()
        }
        (Phase::BlueGreen(state), ValidStrategy::BlueGreen(blue_green)) if !state.skips_gates => {
            match state.stage {
                BlueGreenStage::Preview => blue_green
                    .pre_promotion
                    .iter()
                    .filter(|_| {
                        // Once begun it goes on, whatever the pods do meanwhile.
                        super::targets::is_preview_ready(view)
                            || state.full_size
                            || newest(view, RunSlot::PrePromotion).is_some()
                    })
                    .map(|_| RunSlot::PrePromotion)
                    .collect(),
                BlueGreenStage::Promoting => Vec::new(),
                BlueGreenStage::Verifying => {
                    blue_green.post_promotion.iter().map(|_| RunSlot::PostPromotion).collect()
                }
            }
        }
        (
            Phase::Initial
            | Phase::Settled
            | Phase::Aborted(_)
            | Phase::Canary(_)
            | Phase::Promoting { .. }
            | Phase::BlueGreen(_),
            _,
        ) => Vec::new(),
    }
}

/// The runs of this attempt, with their slots.
pub(super) fn of_attempt<'a>(
    view: &View<'a>,
) -> impl Iterator<Item = (RunSlot, &'a RunFact)> + use<'a> {
    let attempt = view.memory.attempt;
    view.runs()
        .iter()
        .filter(move |run| run.attempt == Some(attempt) || mutant(Mutant::OldRunsCount))
        .filter_map(|run| run.slot.map(|slot| (slot, run)))
}

/// The runs whose verdict counts now: those of wanted slots that nobody has let pass.
pub(super) fn judging<'a>(
    view: &View<'a>,
) -> impl Iterator<Item = (RunSlot, &'a RunFact)> + use<'a> {
    let wanted = wanted(view);
    let acknowledged = view.memory.acknowledged.clone();
    of_attempt(view)
        .filter(move |(slot, run)| wanted.contains(slot) && !acknowledged.contains(&run.name))
}

/// The first run whose verdict counts now and that ended without one: a gate that somebody stopped
/// stays shut. The background analysis is no gate; who stops it wants to go on without it.
pub(super) fn first_inconclusive<'a>(view: &View<'a>) -> Option<&'a RunFact> {
    judging(view)
        .find(|(slot, run)| match run.verdict {
            Verdict::Inconclusive { .. } => true,
            Verdict::Terminated => *slot != RunSlot::Background,
            Verdict::Running { .. }
            | Verdict::Successful
            | Verdict::Failed { .. }
            | Verdict::Error { .. } => false,
        })
        .map(|(_, run)| run)
}

/// The newest run in a slot of this attempt.
pub(super) fn newest<'a>(view: &View<'a>, wanted: RunSlot) -> Option<&'a RunFact> {
    of_attempt(view)
        .filter(|(slot, _)| *slot == wanted)
        .map(|(_, run)| run)
        .max_by_key(|run| (run.created_at, run.name.clone()))
}

/// Wanted slots that have no run yet.
pub(super) fn missing(view: &View<'_>) -> Vec<RunSlot> {
    wanted(view)
        .into_iter()
        .filter(|slot| match newest(view, *slot) {
            None => true,
            // After a person let an inconclusive background analysis pass, another one watches on.
            Some(run) => {
                *slot == RunSlot::Background && view.memory.acknowledged.contains(&run.name)
            }
        })
        .collect()
}

/// Runs that have not ended and that nobody wants any more.
pub(super) fn superfluous<'a>(view: &View<'a>) -> Vec<&'a RunFact> {
    let wanted = wanted(view);
    view.runs()
        .iter()
        .filter(|run| !run.terminate && !run.verdict.is_final())
        .filter(|run| {
            let is_of_attempt = run.attempt == Some(view.memory.attempt);
            let is_wanted = run.slot.is_some_and(|slot| wanted.contains(&slot));
            run.slot.is_some() && !(is_of_attempt && is_wanted)
        })
        .collect()
}

fn reference<'a>(view: &View<'a>, slot: RunSlot) -> Option<&'a RolloutAnalysis> {
    match (&view.spec.strategy, slot) {
        (ValidStrategy::Canary(canary), RunSlot::Background) => {
            canary.background.as_ref().map(|(analysis, _)| analysis)
        }
        (ValidStrategy::Canary(canary), RunSlot::Step(index)) => match step_at(canary, index) {
            Some(Step::Analysis(analysis)) => Some(analysis),
            Some(Step::SetWeight(_) | Step::Pause(_) | Step::SetCanaryScale(_)) | None => None,
        },
        (ValidStrategy::BlueGreen(blue_green), RunSlot::PrePromotion) => {
            blue_green.pre_promotion.as_ref()
        }
        (ValidStrategy::BlueGreen(blue_green), RunSlot::PostPromotion) => {
            blue_green.post_promotion.as_ref()
        }
        (ValidStrategy::Canary(_), RunSlot::PrePromotion | RunSlot::PostPromotion)
        | (ValidStrategy::BlueGreen(_), RunSlot::Background | RunSlot::Step(_)) => None,
    }
}

/// A new run for a slot: its name and the whole object, or why it cannot be made.
pub(super) fn build(view: &View<'_>, slot: RunSlot) -> Result<(String, Value), String> {
    let Some(reference) = reference(view, slot) else {
        return Err(format!("no {} is declared", slot.describe()));
    };
    let templates = match &view.observed.templates {
        Known::Known(templates) => templates,
        Known::Unknown(reason) => return Err(reason.clone()),
    };
    let facts = RolloutFacts {
        rollout: &view.observed.rollout.raw,
        stable_hash: view.memory.stable.as_ref().map(Revision::as_str),
        latest_hash: view.revision.as_str(),
    };
    let none = InlineAnalysis::default();
    let inline = match (&view.spec.strategy, slot) {
        (ValidStrategy::Canary(canary), RunSlot::Background) => canary.inline.as_ref(),
        (_, _) => &none,
    };
    let planned =
        plan_run(reference, inline, templates, &facts).map_err(|error| error.to_string())?;
    let mut spec = planned.spec;
    complete(&mut spec, place(view, slot), &revisions(view), compared_before(view))?;
    let ordinal = of_attempt(view).filter(|(other, _)| *other == slot).count();
    let name = run_name(view, slot, ordinal);
    let names = view.observed.names;
    let mut labels = serde_json::Map::new();
    let mut annotations = serde_json::Map::new();
    if let Some(metadata) = &reference.analysis_run_metadata {
        labels.extend(metadata.labels.iter().map(|(k, v)| (k.clone(), json!(v))));
        annotations.extend(metadata.annotations.iter().map(|(k, v)| (k.clone(), json!(v))));
    }
    labels.insert(names.rollout_label().into(), json!(label_value(&view.observed.rollout.name)));
    labels.insert(names.revision_label().into(), json!(view.revision.as_str()));
    labels.insert(names.run_type_label().into(), json!(slot.label()));
    labels.insert(names.attempt_label().into(), json!(view.memory.attempt.to_string()));
    if let RunSlot::Step(index) = slot {
        labels.insert(names.step_index_label().into(), json!(index.to_string()));
    }
    let object = json!({
        "apiVersion": names.api_version(),
        "kind": Kind::AnalysisRun.as_str(),
        "metadata": {
            "name": name,
            "namespace": view.observed.rollout.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    });
    Ok((name, object))
}

fn place(view: &View<'_>, slot: RunSlot) -> Place {
    match slot {
        RunSlot::Background => {
            let steps = view.canary().map_or(&[][..], |canary| canary.steps.as_slice());
            let pauses = steps.iter().filter_map(|step| match step {
                Step::Pause(duration) => *duration,
                Step::SetWeight(_) | Step::SetCanaryScale(_) | Step::Analysis(_) => None,
            });
            Place::Background { has_steps: !steps.is_empty(), pauses: pauses.sum() }
        }
        RunSlot::Step(_) => Place::Step,
        RunSlot::PrePromotion | RunSlot::PostPromotion => Place::BlueGreen,
    }
}

fn revisions<'a>(view: &View<'a>) -> Revisions<'a> {
    let of = |set: &'a ReplicaSetFact| (set.name.as_str(), set.revision.as_str());
    Revisions { canary: view.current().map(of), stable: view.stable().map(of) }
}

/// Runs that have compared this revision before, in any attempt: each has spent a part of the budget.
fn compared_before(view: &View<'_>) -> u32 {
    let is_same = |run: &&RunFact| {
        run.slot == Some(RunSlot::Background)
            && run.compares
            && run.revision.as_ref() == Some(&view.revision)
    };
    u32::try_from(view.runs().iter().filter(is_same).count()).unwrap_or(u32::MAX)
}

/// `<rollout>-<revision>-<attempt>-<what>`: the same run has the same name after a crash, so it is
/// never made twice.
fn run_name(view: &View<'_>, slot: RunSlot, ordinal: usize) -> String {
    let what = match slot {
        RunSlot::Step(index) => index.to_string(),
        RunSlot::Background => "bg".to_owned(),
        RunSlot::PrePromotion => "pre".to_owned(),
        RunSlot::PostPromotion => "post".to_owned(),
    };
    let again = if ordinal == 0 { String::new() } else { format!(".{ordinal}") };
    let (rollout, revision) = (&view.observed.rollout.name, &view.revision);
    format!("{rollout}-{revision}-{}-{what}{again}", view.memory.attempt)
}

/// A name as a label value: at most 63 characters, and still one of a kind when cut.
pub(super) fn label_value(name: &str) -> String {
    if name.len() <= 63 {
        return name.to_owned();
    }
    let digest = crate::revision::TemplateDigest::of(&json!(name));
    let head: String = name.chars().take(52).collect();
    let tail: String = digest.as_str().chars().take(10).collect();
    format!("{head}-{tail}")
}

/// A run's phase and message, for status.
pub(super) fn describe(verdict: &Verdict) -> (AnalysisPhase, &str) {
    match verdict {
        Verdict::Running { waiting_on } => {
            (AnalysisPhase::Running, waiting_on.as_deref().unwrap_or_default())
        }
        Verdict::Successful => (AnalysisPhase::Successful, ""),
        Verdict::Failed { message, .. } => (AnalysisPhase::Failed, message),
        Verdict::Error { message } => (AnalysisPhase::Error, message),
        Verdict::Inconclusive { message } => (AnalysisPhase::Inconclusive, message),
        Verdict::Terminated => (AnalysisPhase::Successful, "Run Terminated"),
    }
}
