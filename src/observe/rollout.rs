//! The facts of one Rollout, gathered from the caches at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::around;
use super::cache::{Cache, Key};
use super::caches::Caches;
use super::objects;
use super::recall::Recall;
use crate::analysis::templates::{TemplateKey, TemplateLibrary};
use crate::api::ApiNames;
use crate::api::analysis::{AnalysisTemplateSpec, RolloutAnalysis};
use crate::api::rollout::RolloutSpec;
use crate::api::status::RolloutStatus;
use crate::plan::facts::{
    FailingAction, GitFact, Known, Observed, PauseWatch, PodFact, ReplicaSetFact, RolloutFact,
    RouteFact, RouteState, RunFact, ServiceState,
};
use crate::plan::validate::{
    Checked, Problem, Step, ValidRollout, ValidRouting, ValidStrategy, validate,
};
use crate::revision::Revision;
use crate::traffic::endpoints::ready_endpoints;
use crate::traffic::{Backends, OwnerRef, ReadError, RouteLens, RouteRef, read_route};

/// What the process remembers of a Rollout beside its status.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    /// What is known of Git.
    pub git: GitFact,
    /// Actions that failed lately.
    pub failing: Vec<FailingAction>,
    /// The pause that it has been watching.
    pub pause_watch: Option<PauseWatch>,
    /// What an earlier pass made of the objects.
    pub recall: Recall,
}

/// An object whose changes concern a Rollout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interest {
    /// Plural of its kind.
    pub plural: String,
    /// Which object.
    pub key: Key,
}

/// The facts, and the very objects that they were read from: what is written is guarded by these.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The facts.
    pub observed: Observed,
    /// The Rollout as read.
    pub rollout: Arc<Value>,
    /// Every other object that was looked at, by plural and name; in an order that is always the same,
    /// since a new leader writes to them one after the other.
    pub objects: BTreeMap<(String, String), Arc<Value>>,
    /// Objects whose changes concern the Rollout, whether they exist or not.
    pub interests: BTreeSet<Interest>,
}

struct Look<'a> {
    caches: &'a Caches,
    names: ApiNames,
    namespace: &'a str,
    objects: BTreeMap<(String, String), Arc<Value>>,
    interests: BTreeSet<Interest>,
}

/// Gathers the facts of a Rollout at `now`.
pub fn observe(
    caches: &Caches,
    names: ApiNames,
    rollout: &Arc<Value>,
    memo: &Memo,
    now: DateTime<Utc>,
) -> Snapshot {
    let fact = rollout_fact(rollout, names, &memo.recall);
    let namespace = fact.namespace.clone();
    let mut look = Look {
        caches,
        names,
        namespace: &namespace,
        objects: BTreeMap::new(),
        interests: BTreeSet::new(),
    };
    let replica_sets = look.replica_sets(&fact.uid, &memo.recall);
    let runs = look.runs(&fact.uid);
    let checked = fact.spec.clone();
    let spec = checked.usable.as_ref();
    let names_of_services = spec.map(service_names).unwrap_or_default();
    let mut services = BTreeMap::new();
    let mut endpoints = BTreeMap::new();
    for service in names_of_services {
        services.insert(service.clone(), look.service(&service));
        endpoints.insert(service.clone(), look.endpoints(&service));
    }
    let routes = match spec.and_then(ValidRollout::routing) {
        Some(routing) => look.routes(&fact, routing),
        None => vec![],
    };
    let templates = match spec {
        Some(spec) => look.templates(spec),
        None => Known::Known(TemplateLibrary::new()),
    };
    let pods_to_restart = match spec.and_then(|spec| spec.restart_at) {
        Some(at) if at.0 <= now => look.pods_before(&replica_sets, at.0),
        Some(_) | None => Known::Known(vec![]),
    };
    let around = around::look(caches, &fact, now);
    let observed = Observed {
        now,
        names,
        rollout: fact,
        replica_sets,
        services,
        endpoints,
        routes,
        runs,
        templates,
        git: GitFact { around, ..memo.git.clone() },
        pods_to_restart,
        failing: memo.failing.iter().filter(|failing| failing.retry_at > now).cloned().collect(),
        pause_watch: memo.pause_watch,
    };
    let Look { objects, interests, .. } = look;
    Snapshot { observed, rollout: rollout.clone(), objects, interests }
}

fn rollout_fact(rollout: &Arc<Value>, names: ApiNames, recall: &Recall) -> RolloutFact {
    let text = |pointer: &str| objects::text(rollout, pointer).unwrap_or_default().to_owned();
    let name = text("/metadata/name");
    let spec = recall.spec(rollout).unwrap_or_else(|| Arc::new(checked_spec(rollout, &name)));
    let status = match rollout.get("status") {
        None | Some(Value::Null) => Known::Known(RolloutStatus::default()),
        Some(status) => match serde_path_to_error::deserialize(status) {
            Ok(status) => Known::Known(status),
            Err(error) => Known::Unknown(format!(
                "status.{} to be put right: {}",
                error.path(),
                error.inner()
            )),
        },
    };
    let finalizers = objects::at(rollout, "/metadata/finalizers").and_then(Value::as_array);
    RolloutFact {
        namespace: text("/metadata/namespace"),
        name,
        uid: text("/metadata/uid"),
        generation: objects::at(rollout, "/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or(0),
        annotations: objects::texts(rollout, "/metadata/annotations"),
        labels: objects::texts(rollout, "/metadata/labels"),
        has_finalizer: finalizers
            .is_some_and(|all| all.iter().any(|one| one.as_str() == Some(names.finalizer()))),
        deleted_at: objects::time(rollout, "/metadata/deletionTimestamp"),
        spec,
        status,
        raw: rollout.clone(),
    }
}

fn checked_spec(rollout: &Value, name: &str) -> Checked {
    let spec = rollout.get("spec").unwrap_or(&Value::Null);
    match serde_path_to_error::deserialize::<_, RolloutSpec>(spec) {
        Ok(spec) => validate(name, &spec),
        Err(error) => {
            let field = format!("spec.{}", error.path());
            let problem = Problem { field, problem: error.inner().to_string() };
            Checked { usable: None, problems: vec![problem] }
        }
    }
}

fn service_names(spec: &ValidRollout) -> Vec<String> {
    let names = match &spec.strategy {
        ValidStrategy::Canary(canary) => {
            vec![canary.stable_service.clone(), canary.canary_service.clone()]
        }
        ValidStrategy::BlueGreen(blue_green) => {
            vec![Some(blue_green.active_service.clone()), blue_green.preview_service.clone()]
        }
    };
    names.into_iter().flatten().collect()
}

/// The Services and the owner that a route's lens is asked about.
pub fn backends(names: ApiNames, rollout: &RolloutFact, routing: &ValidRouting) -> Backends {
    Backends {
        namespace: rollout.namespace.clone(),
        stable_service: routing.stable_service.clone(),
        canary_service: routing.canary_service.clone(),
        total: routing.total,
        rollout: OwnerRef {
            api_version: names.api_version(),
            kind: crate::api::Kind::Rollout.as_str().to_owned(),
            name: rollout.name.clone(),
            uid: rollout.uid.clone(),
        },
    }
}

impl Look<'_> {
    /// One object of a cache, noted as seen and of interest.
    fn get(&mut self, cache: &Cache, name: &str) -> Result<Option<Arc<Value>>, String> {
        let key = Key::new(self.namespace, name);
        self.interest(cache, key.clone());
        cache.ready()?;
        let found = cache.get(&key);
        if let Some(object) = &found {
            self.saw(cache, object);
        }
        Ok(found)
    }

    fn interest(&mut self, cache: &Cache, key: Key) {
        self.interests.insert(Interest { plural: cache.resource().plural.clone(), key });
    }

    fn saw(&mut self, cache: &Cache, object: &Arc<Value>) {
        let name = objects::text(object, "/metadata/name").unwrap_or_default().to_owned();
        self.objects.insert((cache.resource().plural.clone(), name), object.clone());
    }

    fn replica_sets(&mut self, uid: &str, recall: &Recall) -> Known<Vec<ReplicaSetFact>> {
        let cache = self.caches.replica_sets.clone();
        if let Err(reason) = cache.ready() {
            return Known::Unknown(reason);
        }
        let mut facts = Vec::new();
        for object in cache.owned_by(uid) {
            if objects::text(&object, "/metadata/deletionTimestamp").is_some() {
                continue;
            }
            if let Some(fact) = objects::replica_set(&object, self.names, recall) {
                self.saw(&cache, &object);
                facts.push(fact);
            }
        }
        Known::Known(facts)
    }

    fn runs(&mut self, uid: &str) -> Known<Vec<RunFact>> {
        let cache = self.caches.runs.clone();
        if let Err(reason) = cache.ready() {
            return Known::Unknown(reason);
        }
        let mut facts = Vec::new();
        for object in cache.owned_by(uid) {
            if let Some(fact) = objects::run(&object, self.names) {
                self.saw(&cache, &object);
                facts.push(fact);
            }
        }
        Known::Known(facts)
    }

    fn service(&mut self, name: &str) -> Known<ServiceState> {
        let cache = self.caches.services.clone();
        match self.get(&cache, name) {
            Err(reason) => Known::Unknown(reason),
            Ok(None) => Known::Known(ServiceState::Missing),
            Ok(Some(object)) => {
                Known::Known(ServiceState::Present(objects::service(&object, self.names)))
            }
        }
    }

    fn endpoints(&mut self, service: &str) -> Known<BTreeMap<Revision, u32>> {
        let slices = self.caches.slices.clone();
        let key = Key::new(self.namespace, service);
        self.interest(&slices, key.clone());
        if let Err(reason) = slices.ready().and_then(|()| self.caches.pods.ready()) {
            return Known::Unknown(reason);
        }
        let slices = slices.of_service(&key);
        let pods = self.pods_of(&slices);
        match ready_endpoints(service, &slices, &pods) {
            Ok(ready) => Known::Known(ready.by_revision),
            Err(error) => Known::Unknown(error.to_string()),
        }
    }

    /// The revisions of the pods that the slices name.
    fn pods_of(&self, slices: &[Arc<Value>]) -> BTreeMap<String, Revision> {
        let endpoints = slices
            .iter()
            .filter_map(|slice| slice.get("endpoints").and_then(Value::as_array))
            .flatten();
        endpoints
            .filter_map(|endpoint| objects::text(endpoint, "/targetRef/name"))
            .filter_map(|name| {
                let pod = self.caches.pods.get(&Key::new(self.namespace, name))?;
                let fact = objects::pod(&pod, self.names)?;
                Some((name.to_owned(), fact.revision))
            })
            .collect()
    }

    fn routes(&mut self, rollout: &RolloutFact, routing: &ValidRouting) -> Vec<RouteFact> {
        let backends = backends(self.names, rollout, routing);
        let lenses = routing.providers.lenses(&backends);
        lenses.iter().map(|lens| self.route(lens.as_ref(), &backends)).collect()
    }

    fn route(&mut self, lens: &dyn RouteLens, backends: &Backends) -> RouteFact {
        let route = lens.route();
        let cache = self.caches.routes_like(&route);
        let live = self.get(&cache, &route.name);
        let missing_source = lens.derivation().and_then(|derivation| {
            let source = derivation.source();
            let cache = self.caches.routes_like(&source);
            // What it says is looked at when the derived object is written.
            let found = self.get(&cache, &source.name);
            matches!(found, Ok(None)).then_some(source)
        });
        let state = match live {
            Err(reason) => Known::Unknown(reason),
            Ok(live) => {
                Known::Known(route_state(lens, live.as_deref(), missing_source.as_ref(), backends))
            }
        };
        RouteFact { id: route.to_string(), state }
    }

    fn templates(&mut self, spec: &ValidRollout) -> Known<TemplateLibrary> {
        let mut library = TemplateLibrary::new();
        let mut wanted: Vec<TemplateKey> = analyses(spec)
            .into_iter()
            .flat_map(|analysis| analysis.templates.iter().map(TemplateKey::from))
            .collect();
        while let Some(key) = wanted.pop() {
            if library.contains_key(&key) {
                continue;
            }
            let (cache, namespace) = if key.is_cluster_scope {
                let Some(cache) = self.caches.cluster_templates.clone() else { continue };
                (cache, "")
            } else {
                (self.caches.templates.clone(), self.namespace)
            };
            let object_key = Key::new(namespace, key.name.clone());
            self.interest(&cache, object_key.clone());
            if let Err(reason) = cache.ready() {
                return Known::Unknown(reason);
            }
            let Some(object) = cache.get(&object_key) else { continue };
            let spec = object.get("spec").cloned().unwrap_or(Value::Null);
            match serde_path_to_error::deserialize::<_, AnalysisTemplateSpec>(spec) {
                Ok(spec) => {
                    wanted.extend(spec.templates.iter().map(TemplateKey::from));
                    library.insert(key, spec);
                }
                Err(error) => {
                    return Known::Unknown(format!(
                        "{key} to be put right: spec.{}: {}",
                        error.path(),
                        error.inner()
                    ));
                }
            }
        }
        Known::Known(library)
    }

    fn pods_before(
        &mut self,
        replica_sets: &Known<Vec<ReplicaSetFact>>,
        at: DateTime<Utc>,
    ) -> Known<Vec<PodFact>> {
        let cache = self.caches.pods.clone();
        if let Err(reason) = cache.ready() {
            return Known::Unknown(reason);
        }
        let Known::Known(sets) = replica_sets else {
            return Known::Unknown("the ReplicaSets to be listed".to_owned());
        };
        let mut pods = Vec::new();
        for object in cache.in_namespace(self.namespace) {
            let owner = super::cache::controller_of(&object)
                .and_then(|owner| owner.get("name"))
                .and_then(Value::as_str);
            if !sets.iter().any(|set| Some(set.name.as_str()) == owner) {
                continue;
            }
            if let Some(pod) = objects::pod(&object, self.names).filter(|pod| pod.created_at < at) {
                self.saw(&cache, &object);
                pods.push(pod);
            }
        }
        Known::Known(pods)
    }
}

fn route_state(
    lens: &dyn RouteLens,
    live: Option<&Value>,
    missing_source: Option<&RouteRef>,
    backends: &Backends,
) -> RouteState {
    if let (None, Some(source)) = (live, missing_source) {
        let reason = format!("{source} does not exist in namespace `{}`", backends.namespace);
        return RouteState::Missing { reason };
    }
    match read_route(lens, live, backends) {
        Ok(split) => {
            let acceptance = match live {
                Some(live) => lens.acceptance(live, backends),
                // A derived object that does not exist yet carries nothing, and nobody has to agree.
                None => crate::traffic::Acceptance::Confirmed,
            };
            RouteState::Present { split, acceptance }
        }
        Err(ReadError::Disagree { highest, .. }) => RouteState::Uneven(highest),
        Err(error @ ReadError::NotFound { .. }) => {
            RouteState::Missing { reason: error.to_string() }
        }
        Err(error) => RouteState::Unusable {
            canary_at_most: error.canary_at_most(backends.total),
            reason: error.to_string(),
        },
    }
}

fn analyses(spec: &ValidRollout) -> Vec<&RolloutAnalysis> {
    match &spec.strategy {
        ValidStrategy::Canary(canary) => canary
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Analysis(analysis) => Some(analysis),
                Step::SetWeight(_) | Step::Pause(_) | Step::SetCanaryScale(_) => None,
            })
            .chain(canary.background.as_ref().map(|(analysis, _)| analysis))
            .collect(),
        ValidStrategy::BlueGreen(blue_green) => {
            blue_green.pre_promotion.iter().chain(&blue_green.post_promotion).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Derivation, example_backends, registry};

    #[test]
    fn a_route_of_which_nothing_is_left_is_missing_whatever_the_provider() {
        let backends = example_backends();
        for example in registry().into_iter().flat_map(|entry| entry.examples) {
            for lens in example.config.lenses(&backends) {
                let source = lens.derivation().map(Derivation::source);
                let named = source.clone().unwrap_or_else(|| lens.route()).to_string();
                let found = route_state(lens.as_ref(), None, source.as_ref(), &backends);
                let RouteState::Missing { reason } = found else { panic!("{named}: {found:?}") };
                assert!(reason.contains(&named), "{reason}");
                // What is still to be derived is no route that is gone.
                if source.is_some() {
                    let found = route_state(lens.as_ref(), None, None, &backends);
                    assert!(matches!(found, RouteState::Present { .. }), "{named}: {found:?}");
                }
            }
        }
    }
}
