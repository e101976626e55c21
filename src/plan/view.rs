//! The facts of one pass, arranged for deciding: who is who among the ReplicaSets, what the router
//! really does, how much is ready where. Derived from [`Observed`] and nothing else.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::defaults::means_the_same;
use super::facts::{Known, Observed, ReplicaSetFact, RouteState, RunFact, ServiceState};
use super::memory::{Memory, Requests};
use super::validate::{ValidCanary, ValidRollout, ValidRouting, ValidStrategy};
use crate::mutants::{Mutant, mutant};
use crate::revision::{Revision, TemplateDigest};
use crate::traffic::Acceptance;
use crate::weight::Split;

/// The facts of one pass for a Rollout whose spec is valid and whose ReplicaSets are known.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    /// The facts themselves.
    pub observed: &'a Observed,
    /// The checked spec.
    pub spec: &'a ValidRollout,
    /// What is remembered.
    pub memory: &'a Memory,
    /// What people asked for.
    pub requests: &'a Requests,
    /// The ReplicaSets.
    pub replica_sets: &'a [ReplicaSetFact],
    /// Digest of the template in the spec.
    pub digest: TemplateDigest,
    /// The revision of the template in the spec: that of its ReplicaSet, or the name that its
    /// ReplicaSet will get.
    pub revision: Revision,
}

impl<'a> View<'a> {
    /// Arranges the facts.
    pub(super) fn new(
        observed: &'a Observed,
        spec: &'a ValidRollout,
        memory: &'a Memory,
        requests: &'a Requests,
        replica_sets: &'a [ReplicaSetFact],
    ) -> Self {
        let digest = spec.digest.clone();
        let revision = find_by_template(replica_sets, memory, &digest, &spec.template).map_or_else(
            || Revision::name_for(&digest, memory.collisions),
            |replica_set| replica_set.revision.clone(),
        );
        Self { observed, spec, memory, requests, replica_sets, digest, revision }
    }

    /// The time of the pass.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.observed.now
    }

    /// The number of pods that the Rollout is to have.
    pub(super) fn replicas(&self) -> u32 {
        self.spec.replicas
    }

    /// The ReplicaSet of `revision`.
    pub(super) fn replica_set(&self, revision: &Revision) -> Option<&'a ReplicaSetFact> {
        self.replica_sets.iter().find(|replica_set| replica_set.revision == *revision)
    }

    /// The ReplicaSet of the template in the spec.
    pub(super) fn current(&self) -> Option<&'a ReplicaSetFact> {
        self.replica_set(&self.revision)
    }

    /// The ReplicaSet that was last promoted.
    pub(super) fn stable(&self) -> Option<&'a ReplicaSetFact> {
        self.memory.stable.as_ref().and_then(|stable| self.replica_set(stable))
    }

    /// Whether `revision` is the stable one.
    pub(super) fn is_stable(&self, revision: &Revision) -> bool {
        self.memory.stable.as_ref() == Some(revision)
    }

    /// ReplicaSets that are neither current nor stable.
    pub(super) fn others(&self) -> impl Iterator<Item = &'a ReplicaSetFact> + '_ {
        self.replica_sets.iter().filter(|replica_set| {
            replica_set.revision != self.revision && !self.is_stable(&replica_set.revision)
        })
    }

    /// The canary strategy, if that is the strategy.
    pub(super) fn canary(&self) -> Option<&'a ValidCanary> {
        match &self.spec.strategy {
            ValidStrategy::Canary(canary) => Some(canary),
            ValidStrategy::BlueGreen(_) => None,
        }
    }

    /// The traffic router, if there is one.
    pub(super) fn routing(&self) -> Option<&'a ValidRouting> {
        self.canary().and_then(|canary| canary.routing.as_ref())
    }

    /// What is known of a Service. A Service that nobody looked at is unknown.
    pub(super) fn service(&self, name: &str) -> Known<ServiceState> {
        self.observed
            .services
            .get(name)
            .cloned()
            .unwrap_or_else(|| Known::Unknown(format!("Service `{name}` has not been read yet")))
    }

    /// The revision that a Service selects; `Known(None)` for one that selects by other labels only.
    pub(super) fn selected_by(&self, service: &str) -> Known<Option<Revision>> {
        match self.service(service) {
            Known::Unknown(reason) => Known::Unknown(reason),
            Known::Known(ServiceState::Missing) => {
                Known::Unknown(format!("Service `{service}` does not exist"))
            }
            Known::Known(ServiceState::Present(fact)) => Known::Known(
                fact.selector.get(self.observed.names.revision_label()).map(Revision::from_label),
            ),
        }
    }

    /// Whether a Service is known to select `revision`.
    pub(super) fn selects(&self, service: &str, revision: &Revision) -> bool {
        self.selected_by(service).known().is_some_and(|found| found.as_ref() == Some(revision))
    }

    /// Ready endpoints of `revision` behind a Service.
    pub(super) fn ready_behind(&self, service: &str, revision: &Revision) -> Known<u32> {
        match self.observed.endpoints.get(service) {
            None => Known::Unknown(format!(
                "the endpoints of Service `{service}` have not been read yet"
            )),
            Some(Known::Unknown(reason)) => Known::Unknown(reason.clone()),
            Some(Known::Known(counts)) => Known::Known(counts.get(revision).copied().unwrap_or(0)),
        }
    }

    /// What the router really does.
    pub(super) fn traffic(&self) -> Traffic {
        let Some(routing) = self.routing() else { return Traffic::none() };
        let mut traffic = Traffic {
            highest: Some(Split::all_stable(routing.total)),
            lowest: Some(Split::all_canary(routing.total)),
            is_even: true,
            blocked: None,
            unconfirmed: None,
            splits: BTreeMap::new(),
        };
        for route in &self.observed.routes {
            traffic.add(&route.id, &route.state);
        }
        if self.observed.routes.is_empty() {
            traffic.highest = None;
            traffic.lowest = None;
            traffic.blocked = Some("the routes of the traffic router to be read".to_owned());
        }
        traffic
    }

    /// The AnalysisRuns.
    pub(super) fn runs(&self) -> &'a [RunFact] {
        self.observed.runs.known().map_or(&[], Vec::as_slice)
    }
}

/// What the routes of one Rollout say, taken together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Traffic {
    /// The highest share of the canary in any route; `None` while some route is not known.
    pub highest: Option<Split>,
    /// The lowest share of the canary in any route, where stable gets the most; `None` while some
    /// route is not known.
    pub lowest: Option<Split>,
    /// Whether every route carries the same split.
    pub is_even: bool,
    /// Why some route cannot be used.
    pub blocked: Option<String>,
    /// Why the split is not confirmed by the data plane's controller yet.
    pub unconfirmed: Option<String>,
    /// The split of each readable route.
    pub splits: BTreeMap<String, Split>,
}

impl Traffic {
    fn none() -> Self {
        Self {
            highest: None,
            lowest: None,
            is_even: true,
            blocked: None,
            unconfirmed: None,
            splits: BTreeMap::new(),
        }
    }

    fn add(&mut self, id: &str, state: &Known<RouteState>) {
        match state {
            Known::Unknown(_) if mutant(Mutant::UnknownRouteIsStable) => {}
            Known::Unknown(reason) => {
                self.highest = None;
                self.lowest = None;
                self.blocked.get_or_insert(format!("{id} to be readable: {reason}"));
            }
            Known::Known(RouteState::Missing { reason }) => {
                self.blocked.get_or_insert(reason.clone());
            }
            Known::Known(RouteState::Unusable { reason, canary_at_most }) => {
                self.blocked.get_or_insert(reason.clone());
                self.lowest = None;
                match canary_at_most {
                    Some(split) => self.raise_highest(*split),
                    None => self.highest = None,
                }
            }
            Known::Known(RouteState::Uneven(split)) => {
                self.is_even = false;
                self.lowest = None;
                self.raise_highest(*split);
                self.splits.insert(id.to_owned(), *split);
            }
            Known::Known(RouteState::Present { split, acceptance }) => {
                if self.splits.values().any(|other| !other.same_share(*split)) {
                    self.is_even = false;
                }
                self.raise_highest(*split);
                if self.lowest.is_some_and(|lowest| lowest.gives_canary_more_than(*split)) {
                    self.lowest = Some(*split);
                }
                self.splits.insert(id.to_owned(), *split);
                match acceptance {
                    Acceptance::Confirmed => {}
                    _ if mutant(Mutant::UnconfirmedIsConfirmed) => {}
                    Acceptance::Waiting { what } | Acceptance::Refused { what } => {
                        self.unconfirmed.get_or_insert(format!("{id}: {what}"));
                    }
                }
            }
        }
    }

    fn raise_highest(&mut self, split: Split) {
        if self.highest.is_some_and(|highest| split.gives_canary_more_than(highest)) {
            self.highest = Some(split);
        }
    }

    /// Whether every route is known to carry `split`, confirmed by its controller.
    pub(super) fn is_confirmed_at(&self, split: Split) -> bool {
        self.is_even
            && self.blocked.is_none()
            && self.unconfirmed.is_none()
            && self.highest.is_some_and(|highest| highest.same_share(split))
    }

    /// Whether every route is known to send nothing to the canary, confirmed by its controller.
    pub(super) fn is_confirmed_all_stable(&self) -> bool {
        self.is_confirmed_at(Split::all_stable(1))
    }
}

/// The ReplicaSet of a template. The digest of the user's JSON decides. A template that says the same
/// with other words (Argo Rollouts' `undo` copies what the API server made of the old one) is that of
/// the ReplicaSet that says so; and a ReplicaSet without a digest (made by Argo Rollouts) is
/// recognised when status names it and it holds everything that the template declares.
fn find_by_template<'a>(
    replica_sets: &'a [ReplicaSetFact],
    memory: &Memory,
    digest: &TemplateDigest,
    template: &Value,
) -> Option<&'a ReplicaSetFact> {
    let newest = |a: &&ReplicaSetFact, b: &&ReplicaSetFact| {
        (a.number, a.created_at, &a.name).cmp(&(b.number, b.created_at, &b.name))
    };
    let by_digest = replica_sets.iter().filter(|rs| rs.digest.as_ref() == Some(digest));
    let is_meant = |rs: &ReplicaSetFact| {
        (
            memory.current.as_ref() == Some(&rs.revision),
            memory.stable.as_ref() == Some(&rs.revision),
        )
    };
    let by_meaning = || {
        let same = replica_sets.iter().filter(|rs| means_the_same(template, &rs.template));
        same.max_by(|a, b| is_meant(a).cmp(&is_meant(b)).then_with(|| newest(a, b)))
    };
    by_digest.max_by(newest).or_else(by_meaning).or_else(|| {
        let adopted = replica_sets.iter().filter(|rs| rs.digest.is_none());
        adopted
            .filter(|rs| memory.current.as_ref() == Some(&rs.revision) || is_known(memory, rs))
            .filter(|rs| declares(template, &rs.template))
            .max_by(newest)
    })
}

fn is_known(memory: &Memory, replica_set: &ReplicaSetFact) -> bool {
    memory.stable.as_ref() == Some(&replica_set.revision)
}

/// Whether everything that `declared` says is so in `live`; `live` may say more (defaults).
fn declares(declared: &Value, live: &Value) -> bool {
    match (declared, live) {
        (Value::Object(declared), Value::Object(live)) => declared.iter().all(|(key, value)| {
            live.get(key).map_or_else(|| value.is_null(), |found| declares(value, found))
        }),
        (Value::Array(declared), Value::Array(live)) => {
            declared.len() == live.len()
                && declared.iter().zip(live).all(|(declared, live)| declares(declared, live))
        }
        (declared, live) => declared == live,
    }
}
