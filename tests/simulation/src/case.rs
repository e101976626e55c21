//! One simulation as data: what is installed, what people do, and every fault, in one list.
//!
//! A case in a file is replayed exactly as one that a seed has made. Nothing here draws a number.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice::sim::world::Order;

/// Everything that a run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Case {
    /// Why the case is kept, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) about: String,
    /// Seed of everything that is drawn while the case runs: delays, latencies, identities.
    pub(crate) seed: u64,
    /// What is installed.
    pub(crate) setup: Setup,
    /// What people do, in order.
    pub(crate) steps: Vec<Step>,
    /// When all faults end, in milliseconds since the beginning: from then on the world is healthy.
    pub(crate) heals_at_ms: u64,
    /// Every fault.
    pub(crate) faults: Vec<Fault>,
}

/// What is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Setup {
    /// Strategy of the Rollout.
    pub(crate) shape: Shape,
    /// `spec.replicas`.
    pub(crate) replicas: u32,
    /// Processes of the controller: one, or a leader and a standby.
    pub(crate) processes: usize,
    /// Whether a HorizontalPodAutoscaler looks after the Rollout.
    pub(crate) has_autoscaler: bool,
}

/// Strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Shape {
    /// Weights of an HTTPRoute, judged by an analysis at each step.
    Canary,
    /// Weights of an HTTPRoute, with timed pauses and an analysis in the background.
    PausedCanary,
    /// Shares by numbers of pods, without a router.
    PlainCanary,
    /// A preview, a switch, and a judgement after it.
    BlueGreen,
}

/// What a person does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Step {
    /// When, in milliseconds since the beginning.
    pub(crate) at_ms: u64,
    /// What.
    pub(crate) act: Act,
}

/// What people do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Act {
    /// Pushes an image tag to Git. What a tag is like stands in its name: see `manifests::versions`.
    Release(String),
    /// `kubectl sluice abort`.
    Abort,
    /// `kubectl sluice retry`.
    Retry,
    /// `kubectl sluice promote --full`.
    PromoteFull,
    /// `kubectl sluice pause`.
    Pause,
    /// `kubectl sluice resume`.
    Resume,
    /// `kubectl scale`.
    Scale(u32),
    /// `kubectl delete`: the GitOps agent makes the Rollout again.
    Delete,
}

/// One thing that goes wrong, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Fault {
    /// When.
    pub(crate) when: When,
    /// What.
    pub(crate) what: What,
}

/// The moment of a fault. Counts begin at the beginning of the case, from 1. What is not about a
/// request or an event may come at one all the same: it happens just before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum When {
    /// At this request of the controller's processes, of any kind.
    Request(u64),
    /// At this write of theirs, Leases and Events left out.
    Write(u64),
    /// At this event that is about to be sent to one of their watches.
    Event(u64),
    /// At this time, in milliseconds since the beginning.
    AtMs(u64),
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum What {
    /// The process that asks dies before its request has left it.
    DiesBefore {
        /// After so long it is started again.
        restart_ms: u64,
    },
    /// The request is carried out, and the process dies before the answer comes.
    DiesAfter {
        /// After so long it is started again.
        restart_ms: u64,
    },
    /// The process dies, and what was on the wire is carried out later.
    DiesInFlight {
        /// So much later.
        lands_ms: u64,
        /// After so long it is started again.
        restart_ms: u64,
    },
    /// The client hears nothing, and the request is carried out later.
    LandsLate {
        /// So much later.
        lands_ms: u64,
    },
    /// The request is slow.
    Slow {
        /// On its way there.
        before_ms: u64,
        /// On its way back.
        after_ms: u64,
    },
    /// The request gets lost; the client hears nothing.
    RequestLost,
    /// The request is carried out; the client hears nothing.
    ReplyLost,
    /// The request is carried out; the connection breaks.
    ReplyBroken,
    /// What asks breaks down, with a panic, before its request has left it: its process goes on.
    BreaksDown,
    /// The server refuses with this code and does nothing.
    Refused(u16),
    /// The server carries it out, and answers with this code.
    CarriedOutBut(u16),
    /// Somebody else writes to the object of a write while that is on its way.
    Overtaken {
        /// Whether the event of that write gets lost on its way to the controller.
        is_unseen: bool,
    },
    /// An event of a watch comes late, and so do those after it.
    EventLate {
        /// So much later.
        by_ms: u64,
    },
    /// An event of a watch never comes.
    EventLost,
    /// The watch ends before the event.
    EventCut,
    /// All watches are cut.
    WatchesCut,
    /// The history is compacted: what resumes from before gets 410.
    Compaction,
    /// Requests of one process take so long as they are sent in this time: it is cut off, and acts
    /// on what it knows when it is back.
    Stalled {
        /// Which process, from 0.
        process: usize,
        /// How long.
        lasts_ms: u64,
    },
    /// One process cannot reach the API server: what it sends gets lost, and its watches end.
    Partitioned {
        /// Which process, from 0.
        process: usize,
        /// How long.
        lasts_ms: u64,
    },
    /// Requests are refused for a while: a role was edited, a token has expired, an admission
    /// webhook denies.
    Denied {
        /// Those whose path contains this; all when it is empty.
        path: String,
        /// Whether only writes are meant.
        is_write_only: bool,
        /// With this code.
        code: u16,
        /// How long.
        lasts_ms: u64,
    },
    /// The process is killed.
    Killed {
        /// Which process, from 0.
        process: usize,
        /// After so long it is started again.
        restart_ms: u64,
    },
    /// The process is told to stop, and started again.
    Stopped {
        /// Which process, from 0.
        process: usize,
        /// After so long it is started again.
        restart_ms: u64,
    },
    /// A companion behaves otherwise for a while.
    Standing {
        /// The change of the behaviour, as a merge patch.
        patch: Value,
        /// How long.
        lasts_ms: u64,
    },
    /// The clock of the controller differs from the world's for a while.
    Clock {
        /// Negative: it is behind.
        ahead_ms: i64,
        /// How long.
        lasts_ms: u64,
    },
    /// Somebody scales or deletes a ReplicaSet that the controller has written before.
    Meddled {
        /// Which of them, by their first writes; modulo their number.
        nth: usize,
        /// Its pods from then on; none: it is deleted.
        replicas: Option<u32>,
    },
    /// Something happens once in the world.
    Happens(Order),
}

impl Case {
    /// Reads a case from JSON.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    /// The case as JSON, for a file.
    pub(crate) fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The same case in which nothing goes wrong.
    pub(crate) fn without_faults(&self) -> Self {
        Self { faults: Vec::new(), ..self.clone() }
    }

    /// Whether a person said what becomes of an update.
    pub(crate) fn has_verbs(&self) -> bool {
        self.steps.iter().any(|step| !matches!(step.act, Act::Release(_) | Act::Scale(_)))
    }

    /// The newest tag that people released.
    pub(crate) fn newest(&self) -> &str {
        let mut releases = self.steps.iter().rev().filter_map(|step| match &step.act {
            Act::Release(tag) => Some(tag.as_str()),
            _ => None,
        });
        releases.next().unwrap_or("v1")
    }
}

impl What {
    /// Whether it is about the request that it comes at.
    pub(crate) fn is_of_request(&self) -> bool {
        match self {
            Self::DiesBefore { .. }
            | Self::DiesAfter { .. }
            | Self::DiesInFlight { .. }
            | Self::LandsLate { .. }
            | Self::Slow { .. }
            | Self::RequestLost
            | Self::ReplyLost
            | Self::ReplyBroken
            | Self::BreaksDown
            | Self::Refused(_)
            | Self::CarriedOutBut(_)
            | Self::Overtaken { .. }
            | Self::EventLate { .. }
            | Self::EventLost
            | Self::EventCut => true,
            Self::WatchesCut
            | Self::Compaction
            | Self::Stalled { .. }
            | Self::Partitioned { .. }
            | Self::Denied { .. }
            | Self::Killed { .. }
            | Self::Stopped { .. }
            | Self::Standing { .. }
            | Self::Clock { .. }
            | Self::Meddled { .. }
            | Self::Happens(_) => false,
        }
    }

    /// Whether a correct controller may abort an update because of it: pods, endpoints, gateway and
    /// clock may make a deadline pass, or requests of users fail.
    pub(crate) fn may_abort(&self) -> bool {
        match self {
            Self::Happens(_) | Self::Meddled { .. } | Self::Clock { .. } | Self::Denied { .. } => {
                true
            }
            Self::Standing { patch, .. } => {
                ["nodes", "workloads", "endpoints", "gateway", "prometheus", "versions"]
                    .iter()
                    .any(|part| patch.get(part).is_some())
            }
            _ => false,
        }
    }
}
