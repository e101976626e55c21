//! Lists beside the watches. A watch can lose an event without a word (a proxy, a fault of a server),
//! and what it does not say again would stay unseen for ever. So everything is listed again from time
//! to time, one kind after the other; the watch goes on meanwhile, so that no news is late for it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::{Mutex, mpsc};

use super::cache::{Cache, Change, Key, ListId};
use super::watched::Watched;
use crate::clock::Entropy;
use crate::telemetry::chain;

/// Time between two lists of a kind; a quarter of it at most is added by chance.
const EVERY: Duration = Duration::from_mins(10);
/// When a list that failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_mins(1);

/// When caches are listed again: one at a time, at times that differ between processes.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    turn: Arc<Mutex<()>>,
    entropy: Arc<dyn Entropy>,
}

impl Pace {
    /// The pace of one process.
    pub(super) fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { turn: Arc::default(), entropy }
    }
}

/// What a list that is under way has shown, and what was heard meanwhile.
#[derive(Debug, Default)]
pub(super) struct Listing {
    shown: BTreeSet<Key>,
    heard: BTreeSet<Key>,
    /// The uids of those that went.
    gone: BTreeMap<Key, String>,
}

/// The object went after the list had begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl Listing {
    /// The list shows an object.
    ///
    /// # Errors
    /// It went meanwhile.
    pub(super) fn show(&mut self, key: Key, uid: &str) -> Result<(), Gone> {
        let is_gone = self.gone.get(&key).is_some_and(|gone| gone == uid);
        self.shown.insert(key);
        if is_gone { Err(Gone) } else { Ok(()) }
    }

    /// An object was heard of otherwise.
    pub(super) fn note(&mut self, key: Key) {
        self.heard.insert(key);
    }

    /// An object went.
    pub(super) fn note_gone(&mut self, key: &Key, uid: &str) {
        self.gone.insert(key.clone(), uid.to_owned());
    }

    /// Whether an object, of which the cache knows, cannot be there any more.
    pub(super) fn is_missing(&self, key: &Key) -> bool {
        !self.shown.contains(key) && !self.heard.contains(key)
    }
}

/// Lists the objects of a watch again from time to time, for as long as the watch lives.
pub(super) async fn run<const METADATA_ONLY: bool>(
    cache: &Cache,
    id: ListId,
    api: Api<Watched<METADATA_ONLY>>,
    config: watcher::Config,
    changes: &mpsc::UnboundedSender<Change>,
    pace: &Pace,
) {
    let mut wait = EVERY;
    loop {
        tokio::time::sleep(pace.entropy.jitter(wait, 25)).await;
        if !cache.has_listed(&id) {
            // The watch itself is about to.
            continue;
        }
        let _turn = pace.turn.lock().await;
        wait = match list(cache, &id, api.clone(), config.clone(), changes).await {
            Ok(()) => EVERY,
            Err(error) => {
                let (plural, error) = (&cache.resource().plural, chain(&error));
                tracing::warn!(plural, error, "cannot list again");
                cache.drop_list(&id);
                AFTER_FAILURE
            }
        };
    }
}

/// One list: the beginning of a watch that is never begun.
async fn list<const METADATA_ONLY: bool>(
    cache: &Cache,
    id: &ListId,
    api: Api<Watched<METADATA_ONLY>>,
    config: watcher::Config,
    changes: &mpsc::UnboundedSender<Change>,
) -> Result<(), watcher::Error> {
    let mut events = pin!(watcher(api, config));
    let mut found = 0_usize;
    let mut tell = |change: Change| {
        // What is known already is no news.
        if !change.is_echo {
            found += 1;
            // The receiver is gone only when the process ends.
            let _ = changes.send(change);
        }
    };
    while let Some(event) = events.next().await {
        match event? {
            Event::Init => cache.begin_list(id.clone()),
            Event::InitApply(object) => {
                if let Some(change) = cache.list(id, object.json) {
                    tell(change);
                }
            }
            Event::InitDone => {
                cache.end_list(id).into_iter().for_each(&mut tell);
                break;
            }
            Event::Apply(_) | Event::Delete(_) => {}
        }
    }
    // Some of it is what the watch is about to say.
    tracing::debug!(plural = cache.resource().plural, found, "listed again");
    Ok(())
}

#[cfg(test)]
mod tests {
    use kube::core::{ApiResource, GroupVersionKind};
    use serde_json::{Value, json};

    use super::*;

    fn cache() -> Cache {
        let gvk = GroupVersionKind::gvk("apps", "v1", "ReplicaSet");
        Cache::new(ApiResource::from_gvk_with_plural(&gvk, "replicasets"), 1)
    }

    fn object(name: &str, uid: &str, version: u64) -> Value {
        let version = version.to_string();
        json!({"metadata": {
            "name": name, "namespace": "shop", "uid": uid, "resourceVersion": version,
        }})
    }

    fn uid(cache: &Cache, name: &str) -> Option<String> {
        let object = cache.get(&Key::new("shop", name))?;
        Some(object.pointer("/metadata/uid")?.as_str()?.to_owned())
    }

    const BESIDE: ListId = ListId { watch: None, is_beside: true };

    #[test]
    fn what_no_event_told_of_is_found() {
        let cache = cache();
        cache.note(object("stays", "1", 1));
        cache.note(object("goes", "2", 2));
        cache.begin_list(BESIDE);
        assert!(cache.list(&BESIDE, object("stays", "1", 1)).is_some_and(|change| change.is_echo));
        assert!(cache.list(&BESIDE, object("came", "3", 3)).is_some_and(|change| change.is_new));
        let gone = cache.end_list(&BESIDE);
        assert_eq!(gone.iter().map(|gone| gone.key.name.as_str()).collect::<Vec<_>>(), ["goes"]);
        assert_eq!((uid(&cache, "goes"), uid(&cache, "came")), (None, Some("3".to_owned())));
    }

    #[test]
    fn what_happens_while_a_list_is_made_is_newer_than_the_list() {
        let cache = cache();
        for (name, uid) in [("deleted", "1"), ("replaced", "2"), ("edited", "3")] {
            cache.note(object(name, uid, 1));
        }
        cache.begin_list(BESIDE);
        cache.forget(&Key::new("shop", "deleted"));
        cache.forget(&Key::new("shop", "replaced"));
        cache.note(object("replaced", "4", 12));
        cache.note(object("edited", "3", 13));
        cache.note(object("created", "5", 14));
        for (name, uid) in [("deleted", "1"), ("replaced", "2"), ("edited", "3")] {
            assert!(cache.list(&BESIDE, object(name, uid, 1)).is_none(), "{name}");
        }
        assert!(cache.end_list(&BESIDE).is_empty());
        let uids = ["deleted", "replaced", "edited", "created"].map(|name| uid(&cache, name));
        assert_eq!(uids.map(Option::unwrap_or_default), ["", "4", "3", "5"]);
        let edited = cache.get(&Key::new("shop", "edited"));
        assert_eq!(
            edited.map(|object| object["metadata"]["resourceVersion"].clone()),
            Some(json!("13"))
        );
    }
}
