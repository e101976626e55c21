//! What a simulation found: the stable shape of `simulate -o json`, from which text and picture are
//! made. Fields are added, never renamed or removed.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::intake::Note;

/// A simulation from the change to its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the Rollout.
    pub rollout: String,
    /// Its namespace.
    pub namespace: String,
    /// `Canary` or `BlueGreen`.
    pub strategy: &'static str,
    /// The steps of a canary, in a few words each.
    pub steps: Vec<String>,
    /// Everything random follows from it.
    pub seed: u64,
    /// Requests per second at the beginning.
    pub requests_per_second: f64,
    /// The version before the change.
    pub stable: Version,
    /// The version after the change.
    pub canary: Version,
    /// How the simulation differs from the team's own cluster.
    pub notes: Vec<Note>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// How everything stood, at each change and every 30 s.
    pub samples: Vec<Sample>,
    /// Where it came to.
    pub end: End,
}

/// A version of the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Image of its first container.
    pub image: String,
    /// What people call it: the tag.
    pub tag: String,
    /// How it behaves, in the words of the command line; empty: well.
    pub behaviour: String,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Seconds since the change.
    #[serde(serialize_with = "rounded")]
    pub at: f64,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
    /// One sentence.
    pub text: String,
    /// How everything stood then.
    pub state: State,
}

/// Kinds of things that happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    /// The change itself.
    Change,
    /// An Event of the controller about the Rollout.
    Event {
        /// Its reason.
        reason: String,
        /// Whether it is a warning.
        is_warning: bool,
    },
    /// The data plane sends another share to the new version.
    Weight {
        /// Percent of all requests.
        #[serde(serialize_with = "rounded")]
        canary: f64,
        /// Percent of all requests that meet no ready pod.
        #[serde(serialize_with = "rounded")]
        nobody: f64,
    },
    /// One measurement of a metric.
    Measurement {
        /// The AnalysisRun.
        run: String,
        /// Name of the metric.
        metric: String,
        /// The value; empty when there was none.
        value: String,
        /// Successful, Failed, Inconclusive or Error.
        verdict: String,
        /// Whether the metric never decides.
        is_dry_run: bool,
    },
    /// An AnalysisRun came to its end.
    Verdict {
        /// The AnalysisRun.
        run: String,
        /// Successful, Failed, Inconclusive or Error.
        verdict: String,
        /// Whether it was ended before it had decided.
        was_ended: bool,
    },
    /// A person did something (`--at`, `--promote-pauses`).
    Person,
    /// Something around the Rollout behaves otherwise (`--at`).
    World,
    /// A commit on the branch.
    Commit {
        /// The commit.
        commit: String,
        /// What it changes, as a unified diff.
        diff: String,
    },
    /// The GitOps agent applied a commit.
    Applied {
        /// The commit.
        commit: String,
    },
}

/// How everything stands at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Phase of the Rollout.
    pub phase: String,
    /// Index of the current step, from 0; the number of steps when all are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Percent of the requests that the controller wants for the new version.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_maybe")]
    pub desired_weight: Option<f64>,
    /// Percent of the requests that go to the new version.
    #[serde(serialize_with = "rounded")]
    pub actual_weight: f64,
    /// Pods of the old version.
    pub stable_pods: Pods,
    /// Pods of the new version.
    pub canary_pods: Pods,
    /// Requests of users since the change.
    pub requests: Requests,
}

/// Pods of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// Wanted.
    pub desired: u64,
    /// Ready.
    pub ready: u64,
}

/// How requests ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// All of them.
    pub sent: u64,
    /// Answered with an error.
    pub failed: u64,
    /// Answered by nobody.
    pub lost: u64,
    /// Answered, by the tag of the version.
    pub by_version: BTreeMap<String, u64>,
}

/// How everything stood at a time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Seconds since the change.
    #[serde(serialize_with = "rounded")]
    pub at: f64,
    /// How everything stood.
    #[serde(flatten)]
    pub state: State,
}

/// Where a simulation came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// How it ended.
    pub outcome: Outcome,
    /// Seconds from the change to that.
    #[serde(serialize_with = "rounded")]
    pub after: f64,
    /// Why.
    pub message: String,
    /// What ends a wait, when it waits for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub waits_for: String,
    /// State of the Git revert, if there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_revert: String,
    /// The image that Git declares at the end; empty without Git.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_image: String,
    /// Virtual seconds that were simulated after the change.
    #[serde(serialize_with = "rounded")]
    pub simulated: f64,
    /// How everything stood.
    pub state: State,
}

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// The new version is the stable one.
    Promoted,
    /// It was given up, and all traffic went back.
    Aborted,
    /// It was given up, and Git declares the old version again.
    Reverted,
    /// It waits for a person.
    Paused,
    /// The limit of the virtual time came first.
    TimedOut,
}

impl Outcome {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "Promoted",
            Self::Aborted => "Aborted",
            Self::Reverted => "Reverted",
            Self::Paused => "Paused",
            Self::TimedOut => "TimedOut",
        }
    }
}

/// A number with three decimals.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn rounded<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((number * 1000.0).round() / 1000.0)
}

#[expect(clippy::ref_option, reason = "serde gives a reference")]
fn rounded_maybe<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    rounded(&number.unwrap_or_default(), serializer)
}
