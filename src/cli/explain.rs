//! `explain`: why a Rollout waits and what ends the wait. It prints what the controller has written
//! and decides nothing of its own.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::cluster::Cluster;
use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
use super::release_hold::is_held;
use super::standing::{PauseEnd, Standing, is_settled, pause_end, standing};
use super::text::{Line, Span, Tone, span_of_time};
use super::tree::{git_revert, phase_tone_of};
use crate::api::Rollout;
use crate::api::status::{
    Condition, GitRevertState, GitRevertStatus, PauseCondition, PauseReason, RolloutPhase,
    WaitingOn,
};

/// The stable shape of `explain -o json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Name of the Rollout.
    pub name: String,
    /// Namespace of the Rollout.
    pub namespace: String,
    /// Its phase.
    pub phase: RolloutPhase,
    /// Why.
    pub message: String,
    /// Whether nothing happens until a person does something.
    pub needs_person: bool,
    /// What the controller waits for.
    pub waiting_on: Vec<WaitingOn>,
    /// Why it pauses.
    pub pause_conditions: Vec<PauseCondition>,
    /// What ends the wait, one sentence each.
    pub ends_when: Vec<String>,
    /// The last Git revert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_revert: Option<GitRevertStatus>,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// Runs the command.
pub(super) async fn run(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
) -> Result<Exit, CliError> {
    let rollout = cluster.rollout(name).await?;
    let explanation = explain(&rollout, (console.now)());
    let lines = explanation_lines(&explanation, (console.now)());
    console.data(&explanation, &lines)?;
    Ok(Exit::Done)
}

/// What there is to say.
pub fn explain(rollout: &Rollout, now: DateTime<Utc>) -> Explanation {
    let standing = standing(rollout);
    let status = rollout.status.clone().unwrap_or_default();
    Explanation {
        name: rollout.metadata.name.clone().unwrap_or_default(),
        namespace: rollout.metadata.namespace.clone().unwrap_or_default(),
        ends_when: ends_when(rollout, &standing, now),
        phase: standing.phase,
        message: standing.message,
        needs_person: standing.needs_person,
        waiting_on: status.waiting_on,
        pause_conditions: status.pause_conditions,
        git_revert: status.git_revert,
        conditions: status.conditions,
    }
}

fn ends_when(rollout: &Rollout, standing: &Standing, now: DateTime<Utc>) -> Vec<String> {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let Some(status) = &rollout.status else {
        return vec!["the controller looks at the Rollout: is it running?".to_owned()];
    };
    let mut ends = Vec::new();
    match pause_end(rollout) {
        Some(PauseEnd::Person(verb)) => {
            let inconclusive = status
                .pause_conditions
                .iter()
                .any(|pause| pause.reason == PauseReason::InconclusiveAnalysisRun);
            let choice = if inconclusive { ", or gives up with abort" } else { "" };
            ends.push(format!("a person runs: kubectl sluice {verb} {name}{choice}"));
        }
        Some(PauseEnd::At(end)) => {
            ends.push(format!("the pause ends by itself in {}", span_of_time(end.0 - now)));
        }
        None => {}
    }
    let is_invalid = has_condition(&status.conditions, "InvalidSpec");
    if is_invalid {
        ends.push(
            "the spec is corrected; kubectl sluice lint -f FILE shows every problem".to_owned(),
        );
    }
    let is_aborted = status.abort && status.aborted_at.is_some() && !is_settled(status);
    if is_aborted && is_held(status) {
        ends.push(format!(
            "another version is declared, or a person runs: kubectl sluice release-hold {name}"
        ));
    } else if is_aborted {
        ends.push(format!(
            "the template changes, goes back to the stable one, or a person runs: kubectl sluice \
             retry {name}"
        ));
    }
    let is_held_back = status.git_revert.as_ref().is_some_and(GitRevertStatus::waits_for_approval);
    match status.git_revert.as_ref().map(|revert| revert.state) {
        Some(GitRevertState::AwaitingApproval | GitRevertState::Suspended) if is_held_back => {
            ends.push(format!("a person runs: kubectl sluice revert {name} --approve"));
        }
        Some(GitRevertState::Suggested) => ends.push(format!(
            "somebody applies the suggested change to Git: kubectl sluice revert {name}"
        )),
        Some(GitRevertState::PullRequestOpen) => {
            let request = status.git_revert.as_ref().and_then(|one| one.pull_request.as_ref());
            let url = request.map_or("", |request| request.url.as_str());
            ends.push(format!("somebody merges or closes the pull request {url}"));
        }
        Some(GitRevertState::AwaitingSync) => {
            ends.push("the GitOps tool applies the revert commit to the cluster".to_owned());
        }
        Some(
            GitRevertState::AwaitingApproval
            | GitRevertState::Planned
            | GitRevertState::Pushing
            | GitRevertState::Reverted
            | GitRevertState::AlreadyReverted
            | GitRevertState::Superseded
            | GitRevertState::Vetoed
            | GitRevertState::Blocked
            | GitRevertState::Ineffective
            | GitRevertState::Suspended,
        )
        | None => {}
    }
    if ends.is_empty() && standing.phase != RolloutPhase::Healthy {
        ends.extend(status.waiting_on.iter().map(|wait| wait.what.clone()));
    }
    ends
}

fn has_condition(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|condition| condition.kind == kind && condition.status == "True")
}

/// The explanation for people.
pub fn explanation_lines(explanation: &Explanation, now: DateTime<Utc>) -> Vec<Line> {
    let plain = |key: &str, text: String| Line::entry(key, Span::plain(text));
    let state = Span::state(phase_tone_of(explanation.phase), explanation.phase.as_str());
    let mut lines = vec![
        plain("Rollout", format!("{}/{}", explanation.namespace, explanation.name)),
        Line::entry("Status", state),
    ];
    if !explanation.message.is_empty() {
        lines.push(plain("Because", explanation.message.clone()));
    }
    if explanation.waiting_on.is_empty() && explanation.ends_when.is_empty() {
        lines.push(plain("Waiting on", "nothing".to_owned()));
    }
    for (idx, wait) in explanation.waiting_on.iter().enumerate() {
        let key = if idx == 0 { "Waiting on" } else { "" };
        let until =
            wait.until.map_or_else(String::new, |until| format!(", until {}", until.to_rfc3339()));
        let text = format!("{} (for {}{until})", wait.what, span_of_time(now - wait.since.0));
        lines.push(Line::entry(key, Span::toned(Tone::Waiting, text)));
    }
    for (idx, end) in explanation.ends_when.iter().enumerate() {
        lines.push(plain(if idx == 0 { "Ends when" } else { "" }, end.clone()));
    }
    if let Some(revert) = &explanation.git_revert {
        lines.push(Line::entry("Git revert", git_revert(revert)));
    }
    for (idx, condition) in explanation.conditions.iter().enumerate() {
        let message = if condition.message.is_empty() {
            String::new()
        } else {
            format!(": {}", condition.message)
        };
        let text = format!("{}={} {}{message}", condition.kind, condition.status, condition.reason);
        lines.push(plain(if idx == 0 { "Conditions" } else { "" }, text));
    }
    lines
}
