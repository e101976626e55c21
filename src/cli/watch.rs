//! Keeps the objects of one Rollout up to date through watches. A watch that breaks begins again by
//! itself; until then what was seen last stays, with the reason beside it.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures::stream::select_all;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};

use super::cluster::{Cluster, is_owned, pods_of};
use super::error::CliError;
use super::view::Objects;
use crate::api::{AnalysisRun, Kind, Rollout};

/// Something happened.
#[derive(Debug)]
pub(super) enum News {
    /// To the Rollout.
    Rollout(Event<DynamicObject>),
    /// To a ReplicaSet.
    ReplicaSet(Event<ReplicaSet>),
    /// To a pod.
    Pod(Event<Pod>),
    /// To an AnalysisRun.
    Run(Event<DynamicObject>),
    /// A watch broke; it begins again by itself.
    Lost(String),
}

/// A stream of news that never ends.
pub(super) type NewsStream = Pin<Box<dyn Stream<Item = News> + Send>>;

/// News of the Rollout alone.
pub(super) fn rollout_news(cluster: &Cluster, name: &str) -> NewsStream {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watch(cluster.api(Kind::Rollout), config, News::Rollout)
}

/// News of every Rollout of the namespace, or of all.
pub(super) fn list_news(cluster: &Cluster, is_all_namespaces: bool) -> NewsStream {
    watch(cluster.rollout_api(is_all_namespaces), watcher::Config::default(), News::Rollout)
}

/// News of the Rollout and of everything that belongs to it.
pub(super) fn all_news(cluster: &Cluster, rollout: &Rollout) -> NewsStream {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let of_pods = watcher::Config {
        label_selector: pods_of(rollout).label_selector,
        ..watcher::Config::default()
    };
    let namespace = cluster.namespace();
    let sets: Api<ReplicaSet> = Api::namespaced(cluster.client(), namespace);
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let runs = cluster.api(Kind::AnalysisRun);
    Box::pin(select_all([
        rollout_news(cluster, name),
        watch(sets, of_pods.clone(), News::ReplicaSet),
        watch(pods, of_pods, News::Pod),
        watch(runs, watcher::Config::default(), News::Run),
    ]))
}

fn watch<K>(api: Api<K>, config: watcher::Config, news: fn(Event<K>) -> News) -> NewsStream
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let stream = watcher::watcher(api, config).default_backoff();
    Box::pin(stream.map(move |event| match event {
        Ok(event) => news(event),
        Err(error) => News::Lost(error.to_string()),
    }))
}

/// Objects of one kind by namespace and name.
#[derive(Debug)]
struct Store<K> {
    seen: BTreeMap<(String, String), K>,
    /// What a new list has brought so far; it replaces `seen` when it is complete.
    next: BTreeMap<(String, String), K>,
}

impl<K: Resource + Clone> Store<K> {
    fn of(objects: Vec<K>) -> Self {
        let seen = objects.into_iter().map(|object| (key_of(&object), object)).collect();
        Self { seen, next: BTreeMap::new() }
    }

    fn take(&mut self, event: Event<K>) {
        match event {
            Event::Apply(object) => {
                self.seen.insert(key_of(&object), object);
            }
            Event::Delete(object) => {
                self.seen.remove(&key_of(&object));
            }
            Event::Init => self.next.clear(),
            Event::InitApply(object) => {
                self.next.insert(key_of(&object), object);
            }
            Event::InitDone => self.seen = std::mem::take(&mut self.next),
        }
    }
}

fn key_of(object: &impl Resource) -> (String, String) {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Rollouts, as last seen.
#[derive(Debug)]
pub(super) struct RolloutStore {
    rollouts: Store<DynamicObject>,
    /// Why it may be out of date.
    pub(super) lost: Option<String>,
}

impl RolloutStore {
    /// Those that were read.
    pub(super) fn of(rollouts: Vec<DynamicObject>) -> Self {
        Self { rollouts: Store::of(rollouts), lost: None }
    }

    /// Takes news in.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Rollout(event) => {
                self.lost = None;
                self.rollouts.take(event);
            }
            News::Lost(why) => self.lost = Some(why),
            News::ReplicaSet(_) | News::Pod(_) | News::Run(_) => {}
        }
    }

    /// All of them, by namespace and name.
    pub(super) fn all(&self) -> Vec<DynamicObject> {
        self.rollouts.seen.values().cloned().collect()
    }
}

/// The objects of one Rollout, as last seen.
#[derive(Debug)]
pub(super) struct World {
    rollouts: Store<DynamicObject>,
    sets: Store<ReplicaSet>,
    pods: Store<Pod>,
    runs: Store<DynamicObject>,
    /// Why it may be out of date.
    pub(super) lost: Option<String>,
}

impl World {
    /// Knows nothing but the Rollout.
    pub(super) fn of_rollout(rollout: DynamicObject) -> Self {
        Self {
            rollouts: Store::of(vec![rollout]),
            sets: Store::of(Vec::new()),
            pods: Store::of(Vec::new()),
            runs: Store::of(Vec::new()),
            lost: None,
        }
    }

    /// Takes news in.
    pub(super) fn take(&mut self, news: News) {
        if !matches!(news, News::Lost(_)) {
            self.lost = None;
        }
        match news {
            News::Rollout(event) => self.rollouts.take(event),
            News::ReplicaSet(event) => self.sets.take(event),
            News::Pod(event) => self.pods.take(event),
            News::Run(event) => self.runs.take(event),
            News::Lost(why) => self.lost = Some(why),
        }
    }

    /// The Rollout; `None` when it is gone.
    pub(super) fn rollout(&self) -> Result<Option<Rollout>, CliError> {
        let object = self.rollouts.seen.values().next();
        Ok(object.map(Rollout::from_dynamic).transpose()?)
    }

    /// Everything; `None` when the Rollout is gone.
    pub(super) fn objects(&self) -> Result<Option<Objects>, CliError> {
        let Some(rollout) = self.rollout()? else { return Ok(None) };
        let uid = rollout.metadata.uid.clone().unwrap_or_default();
        let replica_sets = self.sets.seen.values();
        let runs = self.runs.seen.values();
        Ok(Some(Objects {
            replica_sets: replica_sets
                .filter(|set| is_owned(&set.metadata, &uid))
                .cloned()
                .collect(),
            pods: self.pods.seen.values().cloned().collect(),
            runs: runs
                .filter(|run| is_owned(&run.metadata, &uid))
                .filter_map(|run| AnalysisRun::from_dynamic(run).ok())
                .collect(),
            rollout,
        }))
    }

    /// Fills in what belongs to the Rollout, as read.
    pub(super) async fn load(cluster: &Cluster, name: &str) -> Result<(Self, Rollout), CliError> {
        let object = cluster.object(Kind::Rollout, name).await?;
        let rollout = Rollout::from_dynamic(&object)?;
        let (sets, pods, runs) = futures::try_join!(
            cluster.replica_sets(&rollout),
            cluster.pods(&rollout),
            cluster.run_objects(&rollout),
        )?;
        let world = Self {
            rollouts: Store::of(vec![object]),
            sets: Store::of(sets),
            pods: Store::of(pods),
            runs: Store::of(runs),
            lost: None,
        };
        Ok((world, rollout))
    }
}
