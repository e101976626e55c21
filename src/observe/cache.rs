//! Caches of the cluster: one watch for each kind of object, kept as the JSON that was read.
//!
//! A cache is told of our own writes ([`Cache::note`]), and an older watch event never overwrites
//! them: nobody decides on less than what we wrote ourselves. After a relist, objects that are gone
//! are reported as gone, which the watch itself does not do. What a watch has lost without a word is
//! found by a list beside it (`observe::relist`). A cache never fails: while it is not complete it
//! says so, and what it holds is then not known.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::{join_all, select};
use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::relist::{self, Listing, Pace};
use super::watched::Watched;
use crate::telemetry::chain;
use crate::traffic::endpoints::service_of;

/// Namespace and name; the namespace is empty for kinds of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Something happened to an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Plural of its kind.
    pub plural: String,
    /// Which object.
    pub key: Key,
    /// The object as it is now, or as it was last seen when it is gone.
    pub object: Arc<Value>,
    /// Whether it was not there before.
    pub is_new: bool,
    /// Whether this very version was known already: the echo of a write of this process.
    pub is_echo: bool,
}

/// Which namespaces are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Cluster,
    /// Some, each by a watch of its own.
    Namespaces(Vec<String>),
}

impl Scope {
    /// One entry for each watch: the namespace, or `None` for all of them.
    fn watches(&self) -> Vec<Option<String>> {
        match self {
            Self::Cluster => vec![None],
            Self::Namespaces(namespaces) => namespaces.iter().cloned().map(Some).collect(),
        }
    }
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Cache {
    resource: ApiResource,
    /// Watches that have not listed everything yet.
    unsynced: AtomicUsize,
    trouble: RwLock<Option<String>>,
    objects: RwLock<Objects>,
    /// Who hears of objects that a write of ours has made.
    news: Option<mpsc::UnboundedSender<Change>>,
}

#[derive(Debug, Default)]
struct Objects {
    by_key: BTreeMap<Key, Arc<Value>>,
    by_owner: HashMap<String, BTreeSet<Key>>,
    by_service: HashMap<Key, BTreeSet<Key>>,
    /// Lists that are under way.
    lists: HashMap<ListId, Listing>,
    /// Watches that have listed everything once.
    listed: BTreeSet<Option<String>>,
}

/// A list: of a watch, by its namespace, or beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListId {
    /// Namespace of the watch; none: of all namespaces.
    pub(super) watch: Option<String>,
    /// Whether the watch goes on meanwhile.
    pub(super) is_beside: bool,
}

impl Cache {
    /// An empty cache that so many watches fill.
    pub fn new(resource: ApiResource, watches: usize) -> Self {
        Self {
            resource,
            unsynced: AtomicUsize::new(watches),
            trouble: RwLock::default(),
            objects: RwLock::default(),
            news: None,
        }
    }

    /// The same cache, which tells of the objects that our writes have made: their watch events may
    /// get lost.
    #[must_use]
    pub fn telling(self, news: mpsc::UnboundedSender<Change>) -> Self {
        Self { news: Some(news), ..self }
    }

    /// The kind.
    pub fn resource(&self) -> &ApiResource {
        &self.resource
    }

    /// Whether it has been filled, or why not.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub fn ready(&self) -> Result<(), String> {
        if self.unsynced.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let plural = &self.resource.plural;
        let trouble = self.trouble.read().unwrap_or_else(PoisonError::into_inner).clone();
        Err(match trouble {
            Some(trouble) => format!("the {plural} to be listed: {trouble}"),
            None => format!("the {plural} to be listed"),
        })
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.read().by_key.get(key).cloned()
    }

    /// Every key.
    pub fn keys(&self) -> Vec<Key> {
        self.read().by_key.keys().cloned().collect()
    }

    /// Every object of a namespace.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<Value>> {
        let objects = self.read();
        let from = Key::new(namespace, "");
        objects
            .by_key
            .range(from..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// The objects whose controller has this uid.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<Value>> {
        let objects = self.read();
        let keys = objects.by_owner.get(uid).into_iter().flatten();
        keys.filter_map(|key| objects.by_key.get(key).cloned()).collect()
    }

    /// How many watches fill caches of namespaced kinds.
    pub fn watches_of(scope: &Scope) -> usize {
        scope.watches().len()
    }

    /// The EndpointSlices of a Service.
    pub fn of_service(&self, service: &Key) -> Vec<Arc<Value>> {
        let objects = self.read();
        let keys = objects.by_service.get(service).into_iter().flatten();
        keys.filter_map(|key| objects.by_key.get(key).cloned()).collect()
    }

    /// Takes note of what one of our writes made of an object.
    pub fn note(&self, object: Value) {
        let change = self.put(object).filter(|change| change.is_new);
        if let (Some(change), Some(news)) = (change, &self.news) {
            // The receiver is gone only when the process ends.
            let _ = news.send(Change { is_echo: true, ..change });
        }
    }

    /// Takes note that an object is gone.
    pub fn forget(&self, key: &Key) {
        self.write().remove(key);
    }

    /// Whether a watch has listed everything once.
    pub(super) fn has_listed(&self, id: &ListId) -> bool {
        self.read().listed.contains(&id.watch)
    }

    /// A list begins.
    pub(super) fn begin_list(&self, id: ListId) {
        self.write().lists.insert(id, Listing::default());
    }

    /// A list has shown an object; what changed by that.
    pub(super) fn list(&self, id: &ListId, object: Value) -> Option<Change> {
        let key = key_of(&object);
        let mut objects = self.write();
        let is_gone = objects.lists.get_mut(id).is_some_and(|list| {
            let uid = text(&object, "uid").unwrap_or_default();
            list.show(key.clone(), uid).is_err()
        });
        if is_gone { None } else { self.put_into(&mut objects, key, object) }
    }

    /// A list is over: what it did not show is gone.
    pub(super) fn end_list(&self, id: &ListId) -> Vec<Change> {
        let Some(listing) = self.write().lists.remove(id) else { return vec![] };
        let is_watched = |key: &Key| id.watch.as_ref().is_none_or(|watch| key.namespace == *watch);
        let lost: Vec<Key> = self
            .read()
            .by_key
            .keys()
            .filter(|key| is_watched(key) && listing.is_missing(key))
            .cloned()
            .collect();
        lost.iter().filter_map(|key| self.gone(key, None)).collect()
    }

    /// A list came to nothing.
    pub(super) fn drop_list(&self, id: &ListId) {
        self.write().lists.remove(id);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Objects> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Objects> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an object unless a newer version is there; what changed.
    fn put(&self, object: Value) -> Option<Change> {
        let key = key_of(&object);
        let mut objects = self.write();
        for list in objects.lists.values_mut() {
            list.note(key.clone());
        }
        self.put_into(&mut objects, key, object)
    }

    fn put_into(&self, objects: &mut Objects, key: Key, object: Value) -> Option<Change> {
        let plural = self.resource.plural.clone();
        let before = objects.by_key.get(&key);
        let is_new = before.is_none();
        if let Some(before) = before {
            if is_older(&object, before) {
                return None;
            }
            if is_same(&object, before) {
                let object = before.clone();
                return Some(Change { plural, key, object, is_new, is_echo: true });
            }
        }
        let object = Arc::new(object);
        objects.insert(key.clone(), object.clone());
        Some(Change { plural, key, object, is_new, is_echo: false })
    }

    fn apply<const METADATA_ONLY: bool>(
        &self,
        watch: Option<&str>,
        event: Event<Watched<METADATA_ONLY>>,
    ) -> Vec<Change> {
        let id = ListId { watch: watch.map(str::to_owned), is_beside: false };
        match event {
            Event::Init => {
                self.begin_list(id);
                vec![]
            }
            Event::InitApply(object) => self.list(&id, object.json).into_iter().collect(),
            Event::InitDone => {
                let changes = self.end_list(&id);
                *self.trouble.write().unwrap_or_else(PoisonError::into_inner) = None;
                if self.write().listed.insert(id.watch) {
                    self.unsynced.fetch_sub(1, Ordering::Release);
                }
                changes
            }
            Event::Apply(object) => self.put(object.json).into_iter().collect(),
            Event::Delete(object) => {
                let key = Key::new(object.namespace().unwrap_or_default(), object.name_any());
                self.gone(&key, object.uid().as_deref()).into_iter().collect()
            }
        }
    }

    /// Removes an object, unless another of its name has taken its place.
    fn gone(&self, key: &Key, uid: Option<&str>) -> Option<Change> {
        let mut objects = self.write();
        let is_other = uid.is_some_and(|uid| {
            objects.by_key.get(key).is_some_and(|object| text(object, "uid") != Some(uid))
        });
        if is_other {
            return None;
        }
        let object = objects.remove(key)?;
        let plural = self.resource.plural.clone();
        Some(Change { plural, key: key.clone(), object, is_new: false, is_echo: false })
    }
}

impl Objects {
    fn insert(&mut self, key: Key, object: Arc<Value>) {
        self.take(&key);
        if let Some(owner) = controller_uid(&object) {
            self.by_owner.entry(owner.to_owned()).or_default().insert(key.clone());
        }
        if let Some(service) = service_of(&object) {
            let service = Key::new(key.namespace.clone(), service);
            self.by_service.entry(service).or_default().insert(key.clone());
        }
        self.by_key.insert(key, object);
    }

    /// Removes an object that is gone.
    fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let object = self.take(key)?;
        let uid = text(&object, "uid").unwrap_or_default();
        for list in self.lists.values_mut() {
            list.note_gone(key, uid);
        }
        Some(object)
    }

    fn take(&mut self, key: &Key) -> Option<Arc<Value>> {
        let object = self.by_key.remove(key)?;
        if let Some(owner) = controller_uid(&object)
            && let Some(keys) = self.by_owner.get_mut(owner)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(owner);
            }
        }
        if let Some(service) = service_of(&object) {
            let service = Key::new(key.namespace.clone(), service);
            if let Some(keys) = self.by_service.get_mut(&service) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_service.remove(&service);
                }
            }
        }
        Some(object)
    }
}

/// The key of an object.
pub fn key_of(object: &Value) -> Key {
    Key::new(
        text(object, "namespace").unwrap_or_default(),
        text(object, "name").unwrap_or_default(),
    )
}

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get("metadata")?.get(field)?.as_str()
}

/// The uid of an object's controller.
pub fn controller_uid(object: &Value) -> Option<&str> {
    controller_of(object)?.get("uid")?.as_str()
}

/// The owner reference of an object's controller.
pub fn controller_of(object: &Value) -> Option<&Value> {
    let owners = object.get("metadata")?.get("ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// Whether `a` is an older version of the same object than `b`. Versions of one object are ordered
/// numbers in every released Kubernetes; where they are not numbers the newcomer wins.
fn is_older(a: &Value, b: &Value) -> bool {
    if text(a, "uid") != text(b, "uid") {
        return false;
    }
    let version = |object: &Value| text(object, "resourceVersion")?.parse::<u64>().ok();
    match (version(a), version(b)) {
        (Some(a), Some(b)) => a < b,
        (None, _) | (_, None) => false,
    }
}

/// Whether both are the same version of the same object.
fn is_same(a: &Value, b: &Value) -> bool {
    let same = |field: &str| text(a, field).is_some() && text(a, field) == text(b, field);
    same("uid") && same("resourceVersion")
}

/// Where a cache gets its objects.
#[derive(Clone)]
pub struct Source {
    /// The API server.
    pub client: Client,
    /// The namespaces.
    pub scope: Scope,
    /// Selectors.
    pub config: watcher::Config,
}

/// Keeps a cache up to date until `stop`; with `METADATA_ONLY` its objects are nothing but metadata.
pub(super) async fn run<const METADATA_ONLY: bool>(
    cache: Arc<Cache>,
    source: Source,
    changes: mpsc::UnboundedSender<Change>,
    pace: Pace,
    stop: CancellationToken,
) {
    let Source { client, scope, config } = source;
    let watches = scope.watches().into_iter().map(|watch| {
        let (client, resource) = (client.clone(), cache.resource());
        let api: Api<Watched<METADATA_ONLY>> = match watch.as_deref() {
            None => Api::all_with(client, resource),
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
        };
        let stream = watcher::watcher(api.clone(), config.clone()).default_backoff();
        let id = ListId { watch: watch.clone(), is_beside: true };
        let lists = relist::run(&cache, id, api, config.clone(), &changes, &pace);
        let watching = follow(&cache, watch, stream, &changes, &stop);
        // It is the watch that ends, with `stop`.
        async {
            select(pin!(watching), pin!(lists)).await;
        }
    });
    join_all(watches).await;
}

async fn follow<const METADATA_ONLY: bool>(
    cache: &Cache,
    watch: Option<String>,
    stream: impl Stream<Item = Result<Event<Watched<METADATA_ONLY>>, watcher::Error>>,
    changes: &mpsc::UnboundedSender<Change>,
    stop: &CancellationToken,
) {
    let mut stream = pin!(stream);
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = stream.next() => event,
        };
        match event {
            Some(Ok(event)) => {
                for change in cache.apply(watch.as_deref(), event) {
                    // The receiver is gone only when the process ends.
                    let _ = changes.send(change);
                }
            }
            Some(Err(error)) => {
                let text = chain(&error);
                tracing::warn!(plural = cache.resource.plural, error = text, "watch interrupted");
                *cache.trouble.write().unwrap_or_else(PoisonError::into_inner) = Some(text);
            }
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cache() -> Cache {
        let gvk = kube::core::GroupVersionKind::gvk("apps", "v1", "ReplicaSet");
        Cache::new(ApiResource::from_gvk_with_plural(&gvk, "replicasets"), 1)
    }

    fn object(name: &str, version: u64) -> Watched<false> {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
                "resourceVersion": version.to_string(),
                "ownerReferences": [{"uid": "owner", "controller": true}],
            },
        }))
        .unwrap()
    }

    fn version(cache: &Cache, name: &str) -> Option<String> {
        let object = cache.get(&Key::new("shop", name))?;
        text(&object, "resourceVersion").map(str::to_owned)
    }

    #[test]
    fn an_older_watch_event_never_hides_our_own_write() {
        let cache = cache();
        cache.apply(None, Event::Apply(object("a", 10)));
        cache.note(object("a", 12).json);
        assert!(cache.apply(None, Event::Apply(object("a", 11))).is_empty());
        assert_eq!(version(&cache, "a").as_deref(), Some("12"));
        assert_eq!(cache.apply(None, Event::Apply(object("a", 13))).len(), 1);
    }

    #[test]
    fn the_echo_of_our_own_write_is_told_from_news() {
        let cache = cache();
        cache.note(object("a", 12).json);
        let echo = cache.apply(None, Event::Apply(object("a", 12)));
        assert_eq!(echo.iter().map(|change| change.is_echo).collect::<Vec<_>>(), [true]);
        let news = cache.apply(None, Event::Apply(object("a", 13)));
        assert_eq!(news.iter().map(|change| change.is_echo).collect::<Vec<_>>(), [false]);
        let mut namesake = object("a", 13);
        namesake.json["metadata"]["uid"] = json!("uid-2");
        assert!(!cache.apply(None, Event::Apply(namesake))[0].is_echo);
    }

    #[test]
    fn an_object_that_we_have_made_is_news_even_if_its_event_never_comes() {
        let (news, mut told) = mpsc::unbounded_channel();
        let cache = cache().telling(news);
        cache.note(object("a", 12).json);
        cache.note(object("a", 13).json);
        let first = told.try_recv().unwrap();
        assert!(first.is_new && first.is_echo);
        assert!(told.try_recv().is_err(), "only the making is news");
    }

    #[test]
    fn objects_that_vanished_during_a_relist_are_reported() {
        let cache = cache();
        for name in ["a", "b"] {
            cache.apply(None, Event::Apply(object(name, 1)));
        }
        cache.apply(None, Event::<Watched<false>>::Init);
        cache.apply(None, Event::InitApply(object("a", 1)));
        let changes = cache.apply(None, Event::<Watched<false>>::InitDone);
        assert_eq!(changes.iter().map(|c| c.key.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(cache.owned_by("owner").len(), 1);
        assert!(cache.ready().is_ok());
    }

    #[test]
    fn the_deletion_of_a_predecessor_does_not_remove_its_successor() {
        let cache = cache();
        let mut successor = object("a", 20);
        successor.json["metadata"]["uid"] = json!("uid-2");
        cache.apply(None, Event::Apply(successor));
        assert!(cache.apply(None, Event::Delete(object("a", 19))).is_empty());
        assert!(cache.get(&Key::new("shop", "a")).is_some());
    }
}
