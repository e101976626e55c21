//! How the companions behave: every delay and every standing fault, in one place. A schedule changes
//! it at given times (see [`super::order`]), and nothing else does.
//!
//! The defaults are those of a small healthy cluster. Faults that happen once (an eviction, a push by
//! somebody else) are orders, not behaviour.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::network::WebAnswer;
use super::span::Span;

/// The behaviour of everything that stands around the API server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Behaviour {
    /// ReplicaSet, Deployment and Job controllers, garbage collector.
    pub workloads: WorkloadBehaviour,
    /// Scheduler and kubelets.
    pub nodes: NodeBehaviour,
    /// EndpointSlice controller.
    pub endpoints: EndpointBehaviour,
    /// HorizontalPodAutoscaler controller.
    pub autoscaler: AutoscalerBehaviour,
    /// Gateway and Ingress controllers with their proxies.
    pub gateway: GatewayBehaviour,
    /// Prometheus.
    pub prometheus: PrometheusBehaviour,
    /// The Git server.
    pub git: GitBehaviour,
    /// The GitOps agent.
    pub agent: AgentBehaviour,
    /// The applications, by a part of their image's name (the longest part that fits wins).
    /// Variables in the pod's environment say the same for one pod: see [`VersionBehaviour`].
    pub versions: BTreeMap<String, VersionBehaviour>,
    /// Answers to web measurements, by the beginning of their URL (the longest that fits wins).
    pub web: BTreeMap<String, WebAnswer>,
}

/// Controllers of workloads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkloadBehaviour {
    /// From a change to the reaction of a controller.
    pub acts_after: Span,
    /// Nothing is done while set.
    pub is_stopped: bool,
    /// Most pods of a namespace: beyond it their creation is refused, as by a quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_quota: Option<u32>,
    /// From a change to the next run of the garbage collector.
    pub collects_after: Span,
}

impl Default for WorkloadBehaviour {
    fn default() -> Self {
        Self {
            acts_after: Span::between_ms(5, 50),
            is_stopped: false,
            pod_quota: None,
            collects_after: Span::between_ms(50, 500),
        }
    }
}

/// Scheduler and kubelets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeBehaviour {
    /// How many nodes there are (made at the start).
    pub count: usize,
    /// From the creation of a pod to its node.
    pub schedules_after: Span,
    /// Nothing is scheduled while set.
    pub is_full: bool,
    /// From the node to the start of the containers.
    pub starts_after: Span,
    /// From the start of the containers to their first readiness.
    pub ready_after: Span,
    /// From the loss of a node to the moment at which its pods count as not ready.
    pub noticed_after: Span,
    /// From the loss of a node to the eviction of its pods.
    pub evicted_after: Span,
}

impl Default for NodeBehaviour {
    fn default() -> Self {
        Self {
            count: 3,
            schedules_after: Span::between_ms(5, 50),
            is_full: false,
            starts_after: Span::between_ms(500, 1500),
            ready_after: Span::between_ms(500, 1500),
            noticed_after: Span::secs(40),
            evicted_after: Span::secs(340),
        }
    }
}

/// The EndpointSlice controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EndpointBehaviour {
    /// From a change of pods or Services to the slices that say it.
    pub lag: Span,
    /// Nothing is done while set.
    pub is_stopped: bool,
}

impl Default for EndpointBehaviour {
    fn default() -> Self {
        Self { lag: Span::between_ms(50, 300), is_stopped: false }
    }
}

/// The HorizontalPodAutoscaler controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AutoscalerBehaviour {
    /// Time between two looks.
    pub interval: Span,
    /// Nothing is done while set.
    pub is_stopped: bool,
    /// Replicas that are wanted, by `namespace/name` of the autoscaler: stands in for every metric.
    pub wants: BTreeMap<String, u32>,
    /// Requests per second that one pod is meant to serve, where `wants` says nothing. Without it
    /// such autoscalers only keep their bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_pod: Option<f64>,
}

impl Default for AutoscalerBehaviour {
    fn default() -> Self {
        Self {
            interval: Span::secs(15),
            is_stopped: false,
            wants: BTreeMap::new(),
            requests_per_pod: None,
        }
    }
}

/// Gateway and Ingress controllers, and the proxies that they programme.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewayBehaviour {
    /// From a change of a route to its status.
    pub reports_after: Span,
    /// From a change of a route to the moment at which requests follow it.
    pub programs_after: Span,
    /// From a change of EndpointSlices to the moment at which requests follow it.
    pub endpoints_after: Span,
    /// What the controller says about routes.
    pub answer: RouteAnswer,
    /// Whether changes of routes reach the proxies at all.
    pub programs: bool,
    /// Routes that are meant by `answer` and `programs` (`namespace/name`); none for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}

impl Default for GatewayBehaviour {
    fn default() -> Self {
        Self {
            reports_after: Span::between_ms(50, 500),
            programs_after: Span::between_ms(50, 500),
            endpoints_after: Span::between_ms(50, 300),
            answer: RouteAnswer::Accepts,
            programs: true,
            only: Vec::new(),
        }
    }
}

/// What a gateway's controller says about a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteAnswer {
    /// Accepted and resolved, of the present generation.
    #[default]
    Accepts,
    /// `Accepted` is False; what was in force stays.
    Rejects,
    /// Nothing at all.
    IsSilent,
    /// The answer to the generation before, though it is looked at again.
    ReportsOldGeneration,
    /// Accepted, but `PartiallyInvalid` is True; what was in force stays.
    TakesPart,
}

/// Prometheus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PrometheusBehaviour {
    /// Time between two scrapes.
    pub scrape_interval: Span,
    /// Whether anything is scraped; else all samples grow stale.
    pub scrapes: bool,
    /// Time that an answer takes.
    pub answers_after: Span,
    /// What answers are.
    pub answer: QueryAnswer,
    /// How far its clock is ahead of the world's, in seconds.
    pub clock_ahead: i64,
    /// Names of series that there are, of those that [`crate::sim::world::exported_series`] knows.
    /// With them it stands in for whatever a team has: every pod is scraped, asked for or not, with
    /// the labels of several conventions and fine latency buckets, and so are gateways and meshes.
    /// What is set at the start of the world holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exports: Option<BTreeSet<String>>,
}

impl Default for PrometheusBehaviour {
    fn default() -> Self {
        Self {
            scrape_interval: Span::secs(5),
            scrapes: true,
            answers_after: Span::between_ms(5, 50),
            answer: QueryAnswer::True,
            clock_ahead: 0,
            exports: None,
        }
    }
}

/// What Prometheus answers to queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum QueryAnswer {
    /// What its data say.
    #[default]
    True,
    /// No connection.
    Down,
    /// The connection stands, and nothing ever comes.
    Hangs,
    /// This HTTP status, with a page of some proxy.
    Status(u16),
    /// The true answer, cut off in the middle.
    Truncated,
    /// This number in place of every value: `NaN`, `+Inf`, `0.5`.
    Number(String),
    /// No series.
    Empty,
    /// Every series so many times, with another label each.
    Many(usize),
    /// A text.
    Text(String),
    /// The true answer with these warnings.
    Warns(Vec<String>),
    /// An answer of so many bytes: more than is read.
    TooLarge(usize),
}

/// The Git server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GitBehaviour {
    /// Time that one operation takes.
    pub takes: Span,
    /// What becomes of operations.
    pub answer: GitAnswer,
    /// What becomes of pushes, when the rest works.
    pub push: PushAnswer,
}

impl Default for GitBehaviour {
    fn default() -> Self {
        Self {
            takes: Span::between_ms(50, 300),
            answer: GitAnswer::Works,
            push: PushAnswer::Accepted,
        }
    }
}

/// What becomes of operations on the Git server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GitAnswer {
    /// They work.
    #[default]
    Works,
    /// The server cannot be reached.
    Unreachable,
    /// The connection stands, and nothing ever comes.
    Hangs,
    /// The credentials have expired.
    Unauthorized,
}

/// What becomes of pushes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PushAnswer {
    /// They land.
    #[default]
    Accepted,
    /// A hook or a protection refuses them with these words.
    Rejected(String),
    /// They land, but the answer never comes.
    ReplyLost,
    /// Somebody else's commit lands before each of them, on a file `other.txt` that nobody needs.
    Raced,
}

/// The GitOps agent.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own that users write")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AgentBehaviour {
    /// Time between two looks at the branch.
    pub interval: Span,
    /// From the fetched commit to its application.
    pub applies_after: Span,
    /// Nothing is done while set.
    pub is_paused: bool,
    /// Whether what others changed is put back though the branch did not move.
    pub self_heals: bool,
    /// Whether what is gone from the branch is deleted.
    pub prunes: bool,
    /// Objects that are made when they are missing and never changed after
    /// (`kustomize.toolkit.fluxcd.io/ssa: IfNotPresent`) are changed all the same.
    pub ignores_create_only: bool,
}

impl Default for AgentBehaviour {
    fn default() -> Self {
        Self {
            interval: Span::secs(3),
            applies_after: Span::between_ms(100, 500),
            is_paused: false,
            self_heals: true,
            prunes: false,
            ignores_create_only: false,
        }
    }
}

/// How one version of an application behaves in its pods. The variables of the end-to-end
/// application (`ERROR_RATE`, `LATENCY_MS`, `SLOW_RATE`, `SLOW_MS`, `STARTUP_DELAY_MS`,
/// `CRASH_AFTER_MS`, `DRAIN_MS`) in a pod's environment win over this table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VersionBehaviour {
    /// Share of requests that are answered with 500, in 0..=1.
    pub error_rate: f64,
    /// Median of the time that an answer takes, in milliseconds.
    pub latency_ms: f64,
    /// Spread of that time: the standard deviation of its logarithm.
    pub latency_spread: f64,
    /// Share of requests that take `slow_ms` longer, in 0..=1.
    pub slow_rate: f64,
    /// What a slow answer takes on top, in milliseconds.
    pub slow_ms: f64,
    /// For so long after its start a container is good and fast, whatever the above says.
    pub good_for: Span,
    /// From the node to the start of the containers, if not that of the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_after: Option<Span>,
    /// From the start to the first readiness, if not that of the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_after: Option<Span>,
    /// Never becomes ready.
    pub is_never_ready: bool,
    /// The image cannot be pulled.
    pub image_is_missing: bool,
    /// The containers end with an error so long after each start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crashes_after: Option<Span>,
    /// Falls out of readiness again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flaps: Option<Flapping>,
    /// For so long it serves after it was told to end, within its grace period.
    pub drains_for: Span,
    /// How long the pods of a Job run.
    pub runs_for: Span,
    /// Exit code of the pods of a Job.
    pub exit_code: i32,
}

impl Default for VersionBehaviour {
    fn default() -> Self {
        Self {
            error_rate: 0.0,
            latency_ms: 20.0,
            latency_spread: 0.4,
            slow_rate: 0.0,
            slow_ms: 1000.0,
            good_for: Span::ZERO,
            starts_after: None,
            ready_after: None,
            is_never_ready: false,
            image_is_missing: false,
            crashes_after: None,
            flaps: None,
            drains_for: Span::secs(5),
            runs_for: Span::secs(3),
            exit_code: 0,
        }
    }
}

/// A readiness that comes and goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flapping {
    /// Ready for so long,
    pub ready_for: Span,
    /// then not ready for so long.
    pub unready_for: Span,
}

/// A change of the behaviour: a JSON merge patch (RFC 7396) that leaves a valid behaviour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct BehaviourPatch(Value);

/// Fields that are one of several objects.
const ALTERNATIVES: [&str; 2] = ["/prometheus/answer", "/git/push"];

/// The patch names a field that does not exist, or gives it a value that is none of its values.
#[derive(Debug, thiserror::Error)]
#[error("this is no change of a behaviour: {0}")]
pub struct InvalidPatch(#[source] serde_json::Error);

impl BehaviourPatch {
    /// Checks a patch.
    ///
    /// # Errors
    /// [`InvalidPatch`].
    pub fn new(patch: Value) -> Result<Self, InvalidPatch> {
        let patch = Self(patch);
        patch.applied_to(&Behaviour::default())?;
        Ok(patch)
    }

    /// `behaviour` with this change.
    ///
    /// # Errors
    /// [`InvalidPatch`]; none for a patch that was made by [`BehaviourPatch::new`], unless it removes
    /// what another one has made.
    pub fn applied_to(&self, behaviour: &Behaviour) -> Result<Behaviour, InvalidPatch> {
        let mut value = serde_json::to_value(behaviour).map_err(InvalidPatch)?;
        for path in ALTERNATIVES {
            // One alternative takes the place of another; a merge would leave parts of both.
            if self.0.pointer(path).is_some()
                && let Some(old) = value.pointer_mut(path)
            {
                *old = Value::Null;
            }
        }
        json_patch::merge(&mut value, &self.0);
        serde_json::from_value(value).map_err(InvalidPatch)
    }
}

impl TryFrom<Value> for BehaviourPatch {
    type Error = InvalidPatch;

    fn try_from(value: Value) -> Result<Self, InvalidPatch> {
        Self::new(value)
    }
}

impl From<BehaviourPatch> for Value {
    fn from(patch: BehaviourPatch) -> Self {
        patch.0
    }
}

impl Behaviour {
    /// What the table says about an image.
    pub(crate) fn of_image(&self, image: &str) -> VersionBehaviour {
        longest(&self.versions, |part| image.contains(part)).cloned().unwrap_or_default()
    }

    /// The answer to a web measurement of this URL; none for a server that does not exist.
    pub(crate) fn of_url(&self, url: &str) -> Option<&WebAnswer> {
        longest(&self.web, |start| url.starts_with(start))
    }
}

fn longest<T>(map: &BTreeMap<String, T>, fits: impl Fn(&str) -> bool) -> Option<&T> {
    map.iter().filter(|(key, _)| fits(key)).max_by_key(|(key, _)| key.len()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let patch = json!({
            "gateway": {"answer": "rejects"},
            "prometheus": {"answer": {"status": 503}, "answersAfter": "1s..10s"},
            "versions": {":v2": {"errorRate": 0.2, "flaps": {"readyFor": "5s", "unreadyFor": "2s"}}},
        });
        let first = BehaviourPatch::new(patch).unwrap().applied_to(&Behaviour::default()).unwrap();
        assert_eq!(first.gateway.answer, RouteAnswer::Rejects);
        assert_eq!(first.prometheus.answer, QueryAnswer::Status(503));
        assert_eq!(first.of_image("registry/web:v2").flaps.unwrap().ready_for, Span::secs(5));
        let second =
            json!({"gateway": {"answer": "accepts"}, "prometheus": {"answer": {"number": "NaN"}}});
        let second = BehaviourPatch::new(second).unwrap().applied_to(&first).unwrap();
        assert_eq!(second.prometheus.answer, QueryAnswer::Number("NaN".to_owned()));
        assert_eq!(second.versions, first.versions);
        let back = json!({"prometheus": null, "versions": {":v2": null}});
        let back = BehaviourPatch::new(back).unwrap().applied_to(&second).unwrap();
        assert_eq!(back, Behaviour::default());
    }

    #[test]
    fn a_patch_of_unknown_fields_or_values_is_refused_when_it_is_read() {
        for bad in [
            json!({"gatway": {}}),
            json!({"gateway": {"answer": "shrugs"}}),
            json!({"nodes": {"startsAfter": "soon"}}),
            json!(7),
        ] {
            assert!(serde_json::from_value::<BehaviourPatch>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_part_of_an_image_decides() {
        let mut behaviour = Behaviour::default();
        let version = |error_rate| VersionBehaviour { error_rate, ..VersionBehaviour::default() };
        behaviour.versions.insert("web".to_owned(), version(0.1));
        behaviour.versions.insert("web:v2".to_owned(), version(0.2));
        let rate = |image: &str| behaviour.of_image(image).error_rate;
        assert_eq!((rate("x/web:v2"), rate("x/web:v1"), rate("api")), (0.2, 0.1, 0.0));
    }
}
