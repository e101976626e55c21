//! Argo Rollouts' phase and its message. Both follow from what is left to do, and from nothing else,
//! so that they never contradict each other and a phase changes only where something did.

use crate::api::status::{BlueGreenStage, RolloutPhase, RolloutStatus};
use crate::plan::facts::{Known, RunSlot};
use crate::plan::memory::{ABORT_TEXT, Memory, Pause, Phase};
use crate::plan::validate::ValidStrategy;
use crate::plan::view::View;
use crate::plan::{Decision, runs, targets, transition};

/// What is left to do before a Rollout has come to rest.
enum Rest {
    /// Nothing but tidying up.
    Nothing,
    /// This, in a message of Argo Rollouts where it has one.
    Left(&'static str),
    /// A fact is missing that would tell.
    Unknown,
}

const MORE_REPLICAS: &str = "more replicas need to be updated";
const BECOMING_AVAILABLE: &str = "updated replicas are still becoming available";
const CUTOVER: &str = "active service cutover pending";

/// The phase, and why.
pub(super) fn phase(
    view: Option<&View<'_>>,
    memory: &Memory,
    decision: &Decision,
    old: &RolloutStatus,
) -> (RolloutPhase, String) {
    if let Phase::Aborted(aborted) = &memory.phase {
        let message = format!("RolloutAborted: {}", abort_message(view, &aborted.cause));
        return (RolloutPhase::Degraded, message);
    }
    if !decision.problems.is_empty() {
        let message = format!("InvalidSpec: {}", problem_message(decision));
        return (RolloutPhase::Degraded, message);
    }
    if memory.deadline_exceeded {
        let message = format!("ProgressDeadlineExceeded: {}", deadline_message(view));
        return (RolloutPhase::Degraded, message);
    }
    let Some(view) = view else {
        return (RolloutPhase::Progressing, "waiting for facts".to_owned());
    };
    if view.spec.paused {
        return (RolloutPhase::Paused, "manually paused".to_owned());
    }
    if let Pause::Since { reason, .. } = memory.phase.pause() {
        return (RolloutPhase::Paused, reason.as_str().to_owned());
    }
    match rest(view, memory) {
        Rest::Nothing => (RolloutPhase::Healthy, String::new()),
        Rest::Left(what) => (RolloutPhase::Progressing, what.to_owned()),
        // Not to know is no change.
        Rest::Unknown => match old.phase {
            Some(phase @ (RolloutPhase::Healthy | RolloutPhase::Progressing)) => {
                (phase, old.message.clone())
            }
            Some(RolloutPhase::Degraded | RolloutPhase::Paused) | None => {
                (RolloutPhase::Progressing, "waiting for facts".to_owned())
            }
        },
    }
}

fn rest(view: &View<'_>, memory: &Memory) -> Rest {
    let is_restarting = view
        .spec
        .restart_at
        .is_some_and(|at| memory.restarted_at != Some(at) && view.now() >= at.0);
    if is_restarting {
        return Rest::Left("rollout is restarting");
    }
    if view.observed.replica_sets.known().is_none() {
        return Rest::Unknown;
    }
    let Some(current) = view.current() else { return Rest::Left(MORE_REPLICAS) };
    let replicas = view.replicas();
    let missing = match () {
        () if current.desired < replicas => Some(MORE_REPLICAS),
        () if current.available < replicas && current.is_behind => return Rest::Unknown,
        () if current.available < replicas => Some(BECOMING_AVAILABLE),
        () => None,
    };
    Rest::Left(match &memory.phase {
        Phase::Settled => return missing.map_or_else(|| rest_of_traffic(view), Rest::Left),
        Phase::Initial | Phase::Aborted(_) => missing.unwrap_or(match view.spec.strategy {
            ValidStrategy::BlueGreen(_) => CUTOVER,
            ValidStrategy::Canary(_) => "waiting for the Services to select the new revision",
        }),
        Phase::Canary(_) | Phase::Promoting { .. }
            if runs::judging(view).any(|(slot, _)| matches!(slot, RunSlot::Step(_))) =>
        {
            "waiting for analysis to complete"
        }
        Phase::Canary(_) => "waiting for all steps to complete",
        Phase::Promoting { .. } => missing.unwrap_or("waiting for the new revision to take over"),
        Phase::BlueGreen(state) => match state.stage {
            BlueGreenStage::Verifying => "waiting for post-promotion verification",
            BlueGreenStage::Preview if current.available < current.desired => BECOMING_AVAILABLE,
            BlueGreenStage::Preview
                if runs::judging(view).any(|(_, run)| !run.verdict.is_final()) =>
            {
                "waiting for analysis to complete"
            }
            BlueGreenStage::Preview | BlueGreenStage::Promoting => CUTOVER,
        },
    })
}

/// What is left once the current revision has its pods: old pods that would serve too, Services, and
/// the router.
fn rest_of_traffic(view: &View<'_>) -> Rest {
    let is_unrouted =
        matches!(&view.spec.strategy, ValidStrategy::Canary(canary) if canary.routing.is_none());
    if is_unrouted && view.others().any(|other| other.desired > 0 || other.replicas > 0) {
        return Rest::Left("old replicas are pending termination");
    }
    let selections = targets::selections(view);
    let traffic = view.traffic();
    let is_home = view.routing().is_none() || traffic.is_confirmed_all_stable();
    let is_unknown = view.observed.routes.iter().any(|route| route.state.known().is_none())
        || selections
            .iter()
            .any(|selection| matches!(view.service(&selection.service), Known::Unknown(_)));
    match &view.spec.strategy {
        _ if selections.is_empty() && is_home => Rest::Nothing,
        _ if is_unknown => Rest::Unknown,
        ValidStrategy::BlueGreen(_) => Rest::Left(CUTOVER),
        ValidStrategy::Canary(_) => {
            Rest::Left("waiting for all traffic to reach the stable revision")
        }
    }
}

pub(super) fn abort_message(view: Option<&View<'_>>, cause: &str) -> String {
    let number = view.and_then(View::current).map_or(0, |set| set.number);
    let text = format!("{ABORT_TEXT}{number}");
    if cause.is_empty() { text } else { format!("{text}: {cause}") }
}

pub(super) fn problem_message(decision: &Decision) -> String {
    let problems: Vec<String> = decision.problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

pub(super) fn deadline_message(view: Option<&View<'_>>) -> String {
    match view {
        None => "no progress".to_owned(),
        Some(view) if transition::is_deadline_of_analysis(view) => format!(
            "an analysis could not be measured for {} seconds",
            view.spec.progress_deadline.num_seconds()
        ),
        Some(view) => format!(
            "ReplicaSet \"{}-{}\" has made no progress for {} seconds",
            view.observed.rollout.name,
            view.revision,
            view.spec.progress_deadline.num_seconds()
        ),
    }
}
