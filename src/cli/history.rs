//! `history`: what was released, judged, aborted and reverted, version by version, with the commits
//! that declared it. All of it stands in the Rollout's status and on its ReplicaSets and AnalysisRuns.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::cluster::Cluster;
use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
use super::run_view::RunView;
use super::text::{Line, Span, Tone, age, table};
use super::tree::{git_revert, short};
use super::view::{Objects, revision_label, rollout_view};
use super::watch::World;
use crate::api::status::{
    FailedRevision, GitRevertStatus, RevisionOutcome, RevisionSource, RolloutStatus,
};
use crate::api::{ApiNames, Time};

/// The stable shape of `history -o json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    /// Name of the Rollout.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its versions, newest first.
    pub versions: Vec<Version>,
}

/// A version.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Ordinal number, 0 when it is not known.
    pub number: u64,
    /// Its revision.
    pub revision: String,
    /// Whether it is the one that users are on.
    pub is_stable: bool,
    /// What became of it; absent when status does not know it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RevisionOutcome>,
    /// When it was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Time>,
    /// Its images.
    pub images: Vec<String>,
    /// The commit that declared it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Why that is not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub commit_unknown: String,
    /// Where it is declared, if this was found through a GitOps tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<RevisionSource>,
    /// Its AnalysisRuns, oldest first.
    pub analysis_runs: Vec<RunView>,
    /// How it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailedRevision>,
    /// The commit that took it back in Git.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverted_by: Option<String>,
    /// How far its Git revert is, if it is the last one of the Rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_revert: Option<GitRevertStatus>,
}

/// Runs the command.
pub(super) async fn run(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
) -> Result<Exit, CliError> {
    let (world, _) = Box::pin(World::load(cluster, name)).await?;
    let Some(objects) = world.objects()? else { return Ok(Exit::Done) };
    let history = history(cluster.names(), &objects);
    if history.versions.is_empty() && console.format.is_none() {
        console.say(&format!("the controller has seen no version of rollout {name:?} yet"))?;
        return Ok(Exit::Done);
    }
    console.data(&history, &history_lines(&history, (console.now)()))?;
    Ok(Exit::Done)
}

/// Makes the history: what status remembers, then what only ReplicaSets and AnalysisRuns do.
pub fn history(names: ApiNames, objects: &Objects) -> History {
    let none = RolloutStatus::default();
    let status = objects.rollout.status.as_ref().unwrap_or(&none);
    let images = images(names, objects);
    let view = rollout_view(names, objects);
    let (name, namespace) = (view.name, view.namespace);
    let mut rest = view.revisions;
    let mut versions: Vec<Version> = Vec::new();
    for record in &status.revisions {
        let place = rest.iter().position(|other| other.revision == record.revision);
        let known = place.map(|place| rest.remove(place));
        let failed = |failed: &&FailedRevision| failed.revision == record.revision;
        let revert = |revert: &&GitRevertStatus| revert.failed_revision == record.revision;
        versions.push(Version {
            number: known.as_ref().map_or(0, |known| known.number),
            revision: record.revision.clone(),
            is_stable: record.revision == status.stable_rs,
            outcome: Some(record.outcome),
            seen_at: Some(record.observed_at),
            images: images.get(&record.revision).cloned().unwrap_or_default(),
            commit: record.commit.clone(),
            commit_unknown: record.reason.clone(),
            source: record.source.clone(),
            analysis_runs: known.map_or_else(Vec::new, |known| known.analysis_runs),
            failure: status.failed_revisions.iter().find(failed).cloned(),
            reverted_by: record.reverted_by.clone(),
            git_revert: status.git_revert.as_ref().filter(revert).cloned(),
        });
    }
    versions.extend(rest.into_iter().map(|known| Version {
        number: known.number,
        is_stable: known.revision == status.stable_rs,
        outcome: None,
        seen_at: known.replica_set.and_then(|set| set.created_at),
        images: images.get(&known.revision).cloned().unwrap_or_default(),
        commit: None,
        commit_unknown: String::new(),
        source: None,
        analysis_runs: known.analysis_runs,
        failure: None,
        reverted_by: None,
        git_revert: None,
        revision: known.revision,
    }));
    History { name, namespace, versions }
}

fn images(names: ApiNames, objects: &Objects) -> BTreeMap<String, Vec<String>> {
    let of = |set: &k8s_openapi::api::apps::v1::ReplicaSet| {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        let pod = template.and_then(|template| template.spec.as_ref());
        let containers = pod.into_iter().flat_map(|pod| &pod.containers);
        containers.filter_map(|container| container.image.clone()).collect()
    };
    let sets = objects.replica_sets.iter();
    sets.map(|set| (revision_label(names, &set.metadata), of(set))).collect()
}

/// The history for people.
pub fn history_lines(history: &History, now: DateTime<Utc>) -> Vec<Line> {
    let header = ["NUMBER", "REVISION", "OUTCOME", "SEEN", "COMMIT", "IMAGES", "ANALYSIS", "GIT"];
    let mut rows: Vec<Vec<Span>> = vec![header.map(Span::plain).to_vec()];
    rows.extend(history.versions.iter().map(|version| row(version, now)));
    let mut lines = table(&rows);
    let told = |version: &Version| {
        let failure = version.failure.as_ref()?;
        let text = format!("{} failed: {}", version.revision, failure.message);
        Some(Line(vec![Span::toned(Tone::Dim, text)]))
    };
    let mut why: Vec<Line> = history.versions.iter().filter_map(told).collect();
    if !why.is_empty() {
        lines.push(Line::default());
        lines.append(&mut why);
    }
    lines
}

fn row(version: &Version, now: DateTime<Utc>) -> Vec<Span> {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let number = if version.number == 0 { String::new() } else { version.number.to_string() };
    let commit = match &version.commit {
        Some(commit) => short(commit),
        None if version.commit_unknown.is_empty() => String::new(),
        None => "not known".to_owned(),
    };
    vec![
        Span::plain(or_dash(number)),
        Span::plain(or_dash(version.revision.clone())),
        outcome(version),
        Span::plain(or_dash(age(version.seen_at.map(|at| at.0), now))),
        Span::plain(or_dash(commit)),
        Span::plain(or_dash(version.images.join(","))),
        Span::plain(or_dash(judged(&version.analysis_runs))),
        git(version),
    ]
}

fn outcome(version: &Version) -> Span {
    let (tone, word) = match version.outcome {
        None => (Tone::Dim, "forgotten"),
        Some(RevisionOutcome::Pending) => (Tone::Busy, "Pending"),
        Some(RevisionOutcome::Stable) if version.is_stable => (Tone::Good, "Stable (now)"),
        Some(RevisionOutcome::Stable) => (Tone::Good, "Stable"),
        Some(RevisionOutcome::Failed) => (Tone::Bad, "Failed"),
        Some(RevisionOutcome::Aborted) => (Tone::Waiting, "Aborted"),
        Some(RevisionOutcome::Superseded) => (Tone::Dim, "Superseded"),
        Some(RevisionOutcome::Quarantined) => (Tone::Bad, "Quarantined"),
    };
    Span::state(tone, word)
}

/// How many of its AnalysisRuns came to which end: `2 Successful, 1 Failed`.
fn judged(runs: &[RunView]) -> String {
    let mut counts: Vec<(&'static str, usize)> = Vec::new();
    for run in runs {
        let word = run.phase.as_str();
        match counts.iter_mut().find(|(other, _)| *other == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let words: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    words.join(", ")
}

fn git(version: &Version) -> Span {
    match (&version.git_revert, &version.reverted_by) {
        (Some(revert), _) => {
            // What it says at length is shown by `revert`.
            let mut span =
                git_revert(&GitRevertStatus { message: String::new(), ..revert.clone() });
            if let (None, Some(request)) = (&revert.commit, &revert.pull_request) {
                span.text = format!("{}, {}", span.text, request.url);
            }
            span
        }
        (None, Some(commit)) => Span::plain(format!("reverted by {}", short(commit))),
        (None, None) => Span::plain("-"),
    }
}
