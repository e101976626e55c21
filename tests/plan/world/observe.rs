//! What the controller sees of the world.

use std::sync::Arc;

use super::*;

impl World {
    pub(crate) fn observe(&self) -> Observed {
        let spec: RolloutSpec = serde_json::from_value(self.spec.clone()).unwrap();
        let names = ApiNames::SLUICE;
        let checked = validate("web", &spec);
        Observed {
            now: self.now + self.skew,
            names,
            rollout: RolloutFact {
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
                uid: "uid-1".to_owned(),
                generation: self.generation,
                annotations: self.annotations.clone(),
                labels: BTreeMap::new(),
                has_finalizer: self.has_finalizer,
                deleted_at: self.deleted_at,
                spec: Arc::new(checked),
                status: Known::Known(self.status.clone().unwrap_or_default()),
                raw: json!({"metadata": {"name": "web"}, "spec": self.spec}).into(),
            },
            replica_sets: if self.unknown_sets {
                Known::Unknown("the ReplicaSets to be read".to_owned())
            } else {
                let owned = self.sets.values().filter(|set| !set.is_orphan);
                Known::Known(owned.map(|set| self.seen(set)).collect())
            },
            services: self
                .services
                .iter()
                .map(|(name, fact)| {
                    let state = if self.missing_services.contains(name) {
                        ServiceState::Missing
                    } else {
                        ServiceState::Present(fact.clone())
                    };
                    (name.clone(), Known::Known(state))
                })
                .collect(),
            endpoints: self
                .services
                .iter()
                .map(|(name, fact)| (name.clone(), self.endpoints(fact)))
                .collect(),
            routes: self.route_facts(),
            runs: Known::Known(self.runs.clone()),
            templates: Known::Known(self.templates.clone()),
            git: self.git.clone(),
            pods_to_restart: Known::Known(self.old_pods.clone()),
            failing: self
                .failing
                .iter()
                .filter(|failing| failing.retry_at > self.now + self.skew)
                .cloned()
                .collect(),
            pause_watch: self.watch.map(|(since, first_seen, seen)| PauseWatch {
                since,
                first_seen,
                watched: self.now - seen,
            }),
        }
    }

    /// A status that is older than the spec says nothing about the pods that the spec asks for.
    fn seen(&self, set: &Set) -> ReplicaSetFact {
        let mut fact = set.fact.clone();
        if self.now < set.seen_at {
            fact.is_behind = true;
            fact.ready = 0;
            fact.available = 0;
        }
        fact
    }

    pub(super) fn endpoints(&self, service: &ServiceFact) -> Known<BTreeMap<Revision, u32>> {
        if self.unknown_endpoints {
            return Known::Unknown("the endpoints to be read".to_owned());
        }
        let label = ApiNames::SLUICE.revision_label();
        let selected = service.selector.get(label);
        let sets = self
            .sets
            .values()
            .filter(|set| selected.is_none_or(|revision| set.fact.revision.as_str() == revision));
        let ready = sets.map(|set| (set.fact.revision.clone(), set.fact.ready));
        Known::Known(ready.filter(|(_, ready)| *ready > 0).collect())
    }

    /// Whether the data plane does what the route says.
    pub(super) fn is_accepted(&self, route: &Route) -> bool {
        self.now >= route.written + TimeDelta::seconds(self.route_lag)
    }

    fn route_facts(&self) -> Vec<RouteFact> {
        self.routes
            .iter()
            .map(|(id, route)| {
                let state = if self.unknown_routes {
                    Known::Unknown("the API server does not answer".to_owned())
                } else if self.missing_route {
                    Known::Known(RouteState::Missing { reason: format!("{id} does not exist") })
                } else {
                    let acceptance = if self.is_accepted(route) {
                        Acceptance::Confirmed
                    } else {
                        Acceptance::Waiting { what: "parent `gateway` to accept".to_owned() }
                    };
                    Known::Known(RouteState::Present { split: route.split, acceptance })
                };
                RouteFact { id: id.clone(), state }
            })
            .collect()
    }
}
