//! One server, shared: kube clients, companions, watches and followers of the log.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use axum::body::Body;
use http::Request as HttpRequest;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::access::AccessLog;
use super::actor::Actor;
use super::gc::Collector;
use super::interference::{Interference, Untouched};
use super::kinds::{KindName, Resource};
use super::log::Entry;
use super::request::Identity;
use super::server::Server;
use super::transport;
use crate::clock::{Clock, Entropy};

/// Names one watch of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchId(pub(crate) u64);

/// One server and everything around it; clones share it.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) interference: Arc<dyn Interference>,
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) server: Server,
    collector: Collector,
    /// Watches and followers that wait for a change, by number; woken in that order.
    waiting: BTreeMap<u64, Waker>,
    /// Watches that are open: what they watch, and whether they were cut.
    watches: BTreeMap<WatchId, OpenWatch>,
    next_number: u64,
    requests: u64,
}

#[derive(Debug)]
struct OpenWatch {
    identity: Identity,
    plural: String,
    is_cut: bool,
}

impl Cluster {
    /// An empty cluster. `clock` dates its objects, `entropy` makes uids and generated names.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self::with_interference(clock, entropy, Arc::new(Untouched))
    }

    /// The same behind a fault layer. Companions ([`Self::actor`]) are not touched by it.
    pub fn with_interference(
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        interference: Arc<dyn Interference>,
    ) -> Self {
        let server = Server::new(entropy, clock.now());
        Self::of(server, clock, interference)
    }

    /// A cluster that begins as `server` is: one that was prepared once, and cloned.
    pub fn of(server: Server, clock: Arc<dyn Clock>, interference: Arc<dyn Interference>) -> Self {
        let state = State {
            server,
            collector: Collector::default(),
            waiting: BTreeMap::new(),
            watches: BTreeMap::new(),
            next_number: 0,
            requests: 0,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), clock, interference }) }
    }

    /// A kube client that acts as `identity`. It needs a tokio runtime.
    pub fn client(&self, identity: Identity) -> kube::Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: HttpRequest<kube::client::Body>| {
            let (cluster, identity) = (cluster.clone(), identity.clone());
            async move { transport::serve(cluster, identity, request.map(Body::new)).await }
        });
        kube::Client::new(service, "default")
    }

    /// The same for a process that can be killed: when `ended` is cancelled, every connection is cut
    /// and no new one is made. What was on the wire goes its own way.
    pub fn client_until(&self, identity: Identity, ended: CancellationToken) -> kube::Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: HttpRequest<kube::client::Body>| {
            let (cluster, identity, ended) = (cluster.clone(), identity.clone(), ended.clone());
            async move {
                let served = transport::serve(cluster, identity, request.map(Body::new));
                tokio::select! {
                    biased;
                    () = ended.cancelled() => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
                    answer = served => answer,
                }
            }
        });
        kube::Client::new(service, "default")
    }

    /// Somebody inside of the process who writes under a name: a companion, a test, a person of a
    /// scenario.
    pub fn actor(&self, identity: Identity) -> Actor {
        Actor::new(self.clone(), identity)
    }

    /// An object as it is stored now.
    pub fn get(&self, kind: &KindName, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.lock().server.object(kind, namespace, name).cloned()
    }

    /// The objects of a kind in a namespace (in all when it is empty), sorted.
    pub fn list(&self, kind: &KindName, namespace: &str) -> Vec<Arc<Value>> {
        self.lock().server.objects(kind, namespace)
    }

    /// The kind that a manifest of this `apiVersion` and `kind` is of, if it is served.
    pub fn resource(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.lock().server.kinds.of_kind(api_version, kind).cloned()
    }

    /// The resourceVersion of the latest change.
    pub fn version(&self) -> u64 {
        self.lock().server.version()
    }

    /// The changes after a version, oldest first.
    pub fn changes_since(&self, version: u64) -> Vec<Arc<Entry>> {
        self.lock().server.changes_since(version)
    }

    /// Follows the log from the first change after `version` (0 for all that is not compacted).
    pub fn follow(&self, version: u64) -> Follower {
        let number = self.lock().number();
        Follower { cluster: self.clone(), cursor: version, number }
    }

    /// Which rights were used, and which were missing, until now.
    pub fn access_log(&self) -> AccessLog {
        self.lock().server.access_log().clone()
    }

    /// Forgets the changes up to `version`: see [`Server::compact`].
    pub fn compact(&self, version: u64) {
        self.change(|state| state.server.compact(version));
    }

    /// The open watches of one identity (of all when none is given), with the plural they watch.
    pub fn watches(&self, identity: Option<&Identity>) -> Vec<(WatchId, String)> {
        let state = self.lock();
        let open = state.watches.iter().filter(|(_, watch)| !watch.is_cut);
        open.filter(|(_, watch)| identity.is_none_or(|identity| watch.identity == *identity))
            .map(|(id, watch)| (*id, watch.plural.clone()))
            .collect()
    }

    /// Ends a watch as a broken connection does.
    pub fn cut(&self, id: WatchId) {
        let mut state = self.lock();
        if let Some(watch) = state.watches.get_mut(&id) {
            watch.is_cut = true;
        }
        wake(state);
    }

    /// Runs the garbage collector and the namespace controller once over what has changed since the
    /// last time; how many writes they made. The real ones run beside the API server, some time
    /// after a change: when this is called is up to the companion that plays them.
    pub fn collect_garbage(&self) -> usize {
        let now = self.shared.clock.now();
        self.change(|state| state.collector.step(&mut state.server, now))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the server, and wakes whoever waits for changes.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let before = (state.server.version(), state.server.store.compacted());
        let result = change(&mut state);
        if (state.server.version(), state.server.store.compacted()) != before {
            wake(state);
        }
        result
    }
}

/// Wakes everyone who waits, in the order of their numbers, after the lock is free.
fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = std::mem::take(&mut state.waiting);
    drop(state);
    for waker in waiting.into_values() {
        waker.wake();
    }
}

impl State {
    /// The next number of a watch or follower.
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// The number of a request.
    pub(crate) fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    pub(crate) fn open_watch(&mut self, identity: Identity, plural: &str) -> WatchId {
        let id = WatchId(self.number());
        let watch = OpenWatch { identity, plural: plural.to_owned(), is_cut: false };
        self.watches.insert(id, watch);
        id
    }

    pub(crate) fn close_watch(&mut self, id: WatchId) {
        self.watches.remove(&id);
        self.waiting.remove(&id.0);
    }

    pub(crate) fn is_cut(&self, id: WatchId) -> bool {
        self.watches.get(&id).is_none_or(|watch| watch.is_cut)
    }

    /// Has `waker` woken at the next change.
    pub(crate) fn wait(&mut self, number: u64, waker: &Waker) {
        self.waiting.insert(number, waker.clone());
    }
}

/// Follows the event log.
#[derive(Debug)]
pub struct Follower {
    cluster: Cluster,
    cursor: u64,
    number: u64,
}

impl Follower {
    /// The changes since the last call; waits until there is one. Changes that were compacted
    /// meanwhile are left out.
    pub async fn next(&mut self) -> Vec<Arc<Entry>> {
        poll_fn(|context| {
            let mut state = self.cluster.lock();
            let entries = state.server.changes_since(self.cursor);
            if let Some(last) = entries.last() {
                self.cursor = last.version;
                return Poll::Ready(entries);
            }
            state.wait(self.number, context.waker());
            Poll::Pending
        })
        .await
    }

    /// The changes since the last call, without waiting.
    pub fn ready(&mut self) -> Vec<Arc<Entry>> {
        let entries = self.cluster.changes_since(self.cursor);
        self.cursor = entries.last().map_or(self.cursor, |last| last.version);
        entries
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.cluster.lock().waiting.remove(&self.number);
    }
}
