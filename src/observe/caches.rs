//! All caches of the controller: which kinds are watched, and with which selectors. Route kinds are
//! watched from the moment that a Rollout first names one, so that a cluster without, say, the
//! Gateway API needs none of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::Config;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cache::{Cache, Change, Scope, Source, run};
use super::limit::limited;
use super::relist::Pace;
use crate::api::{ApiNames, Kind};
use crate::breakdown::caught;
use crate::clock::Entropy;
use crate::traffic::RouteRef;

/// When a watch that broke down is begun anew.
const AFTER_BREAKDOWN: Duration = Duration::from_secs(10);

/// The caches.
#[derive(Debug)]
pub struct Caches {
    /// Rollouts.
    pub rollouts: Arc<Cache>,
    /// ReplicaSets with a revision label.
    pub replica_sets: Arc<Cache>,
    /// AnalysisRuns.
    pub runs: Arc<Cache>,
    /// AnalysisTemplates.
    pub templates: Arc<Cache>,
    /// ClusterAnalysisTemplates; absent when one namespace is watched.
    pub cluster_templates: Option<Arc<Cache>>,
    /// Services.
    pub services: Arc<Cache>,
    /// EndpointSlices.
    pub slices: Arc<Cache>,
    /// Pods with a revision label: metadata only.
    pub pods: Arc<Cache>,
    routes: Mutex<HashMap<(String, String), Arc<Cache>>>,
    starter: Starter,
}

struct Starter {
    client: Client,
    scope: Scope,
    changes: mpsc::UnboundedSender<Change>,
    pace: Pace,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What a built-in kind is called.
pub fn builtin(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// ReplicaSets.
pub fn replica_sets() -> ApiResource {
    builtin("apps", "v1", "ReplicaSet", "replicasets")
}

/// Services.
pub fn services() -> ApiResource {
    builtin("", "v1", "Service", "services")
}

/// Pods.
pub fn pods() -> ApiResource {
    builtin("", "v1", "Pod", "pods")
}

impl Caches {
    /// Starts every watch; they end with `stop`.
    pub fn start(
        client: &Client,
        names: ApiNames,
        scope: Scope,
        entropy: Arc<dyn Entropy>,
        stop: CancellationToken,
    ) -> (Self, mpsc::UnboundedReceiver<Change>) {
        let (changes, receiver) = mpsc::unbounded_channel();
        let (client, pace, tasks) = (limited(client), Pace::new(entropy), TaskTracker::new());
        let starter = Starter { client, scope, changes, pace, stop, tasks };
        let revisions = Config::default().labels(names.revision_label());
        let all = Config::default;
        let own = |kind: Kind| starter.start::<false>(names.resource(kind), all());
        let is_cluster = starter.scope == Scope::Cluster;
        let caches = Self {
            rollouts: own(Kind::Rollout),
            runs: own(Kind::AnalysisRun),
            templates: own(Kind::AnalysisTemplate),
            cluster_templates: is_cluster.then(|| own(Kind::ClusterAnalysisTemplate)),
            replica_sets: starter.start::<false>(replica_sets(), revisions.clone()),
            services: starter.start::<false>(services(), all()),
            slices: starter.start::<false>(
                builtin("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
                all(),
            ),
            pods: starter.start::<true>(pods(), revisions),
            routes: Mutex::default(),
            starter,
        };
        (caches, receiver)
    }

    /// The caches that must be filled before anything is decided.
    pub fn required(&self) -> Vec<&Arc<Cache>> {
        let mut required = vec![
            &self.rollouts,
            &self.runs,
            &self.templates,
            &self.replica_sets,
            &self.services,
            &self.slices,
            &self.pods,
        ];
        required.extend(&self.cluster_templates);
        required
    }

    /// The cache of a route's kind; its watch is started when nobody asked before.
    pub fn routes_like(&self, route: &RouteRef) -> Arc<Cache> {
        let key = (route.group().to_owned(), route.plural.clone());
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes
            .entry(key)
            .or_insert_with(|| {
                let resource = builtin(route.group(), route.version(), &route.kind, &route.plural);
                self.starter.start::<false>(resource, Config::default())
            })
            .clone()
    }

    /// The cache that holds objects of this plural, if there is one.
    pub fn of_plural(&self, plural: &str) -> Option<Arc<Cache>> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        self.required()
            .into_iter()
            .chain(routes.values())
            .find(|cache| cache.resource().plural == plural)
            .cloned()
    }
}

impl std::fmt::Debug for Starter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Starter").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Starter {
    fn start<const METADATA_ONLY: bool>(
        &self,
        resource: ApiResource,
        config: Config,
    ) -> Arc<Cache> {
        let cache = Cache::new(resource, Cache::watches_of(&self.scope));
        let cache = Arc::new(cache.telling(self.changes.clone()));
        let source = Source { client: self.client.clone(), scope: self.scope.clone(), config };
        let (changes, pace, stop) = (self.changes.clone(), self.pace.clone(), self.stop.clone());
        let kept = cache.clone();
        self.tasks.spawn(async move {
            let begin = || {
                let (source, changes) = (source.clone(), changes.clone());
                run::<METADATA_ONLY>(kept.clone(), source, changes, pace.clone(), stop.clone())
            };
            // A cache that nobody keeps up to date any more would be believed all the same.
            while let Err(error) = caught(begin()).await {
                let plural = &kept.resource().plural;
                tracing::error!(plural, %error, "the watch is begun anew");
                tokio::time::sleep(AFTER_BREAKDOWN).await;
            }
        });
        cache
    }
}
