//! What happened in a scenario's namespace, with the moment at which we saw it: watches the objects of interest, turns each
//! into a few named texts, prints every change and remembers it. Assertions are about this history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use futures::TryStreamExt as _;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{
    ANALYSIS_RUN, Cluster, HTTP_ROUTE, Kind, REPLICA_SET, ROLLOUT, SERVICE, number, text,
};
use crate::log::say;

/// One text of an object, for example `rollout/web phase`, and the values that it had.
type Histories = BTreeMap<String, Vec<(Instant, String)>>;

/// The history of one namespace; cheap to clone.
#[derive(Clone)]
pub(crate) struct Recorder {
    scope: String,
    histories: Arc<Mutex<Histories>>,
    changed: Arc<watch::Sender<u64>>,
    stop: CancellationToken,
}

impl Recorder {
    /// An empty history that prints under the name `scope`.
    pub(crate) fn new(scope: &str) -> Self {
        Self {
            scope: scope.to_owned(),
            histories: Arc::default(),
            changed: Arc::new(watch::channel(0).0),
            stop: CancellationToken::new(),
        }
    }

    /// Watches the objects of a kind in a namespace until `stop`.
    pub(crate) async fn watch(&self, cluster: &Cluster, kind: Kind, namespace: &str) -> Result<()> {
        let api = cluster.api(kind.0, kind.1, namespace).await?;
        let recorder = self.clone();
        tokio::spawn(async move {
            let stream = watcher(api, watcher::Config::default())
                .default_backoff()
                .touched_objects()
                .try_for_each(|object: DynamicObject| {
                    recorder.observe(kind, &object);
                    futures::future::ready(Ok(()))
                });
            tokio::select! {
                () = recorder.stop.cancelled() => {}
                ended = stream => if let Err(error) = ended {
                    say(&recorder.scope, format!("watching {} ended: {error}", kind.1));
                }
            }
        });
        Ok(())
    }

    fn observe(&self, kind: Kind, object: &DynamicObject) {
        let Ok(value) = serde_json::to_value(object) else {
            return;
        };
        let name = text(&value, "/metadata/name");
        for (what, now) in facts(kind, &value) {
            self.record(&format!("{}/{name} {what}", kind.1.to_lowercase()), &now);
        }
    }

    /// Remembers that `key` has the value `now`, and prints it, when that is news.
    pub(crate) fn record(&self, key: &str, now: &str) {
        let at = Instant::now();
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        let history = histories.entry(key.to_owned()).or_default();
        let unchanged = match history.last() {
            Some((_, last)) => last == now,
            None => now.is_empty(),
        };
        if !unchanged {
            history.push((at, now.to_owned()));
            drop(histories);
            say(&self.scope, format!("{key}: {now}"));
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Remembers a value without saying so.
    pub(crate) fn remember(&self, key: &str, now: &str) {
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        histories.insert(key.to_owned(), vec![(Instant::now(), now.to_owned())]);
    }

    /// Every value of `key` with the moment at which it was first seen.
    pub(crate) fn history(&self, key: &str) -> Vec<(Instant, String)> {
        let histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        histories.get(key).cloned().unwrap_or_default()
    }

    /// The value of `key` now; empty when it was never seen.
    pub(crate) fn now(&self, key: &str) -> String {
        self.history(key).pop().map_or_else(String::new, |(_, value)| value)
    }

    /// The first moment at or after `from` at which a value that passes `test` was there, if it was seen already.
    pub(crate) fn seen(
        &self,
        key: &str,
        from: Instant,
        test: impl Fn(&str) -> bool,
    ) -> Option<(Instant, String)> {
        let history = self.history(key);
        let before = history.iter().rfind(|(at, _)| *at <= from);
        if let Some((_, value)) = before
            && test(value)
        {
            return Some((from, value.clone()));
        }
        self.became(key, from, test)
    }

    /// The first moment after `from` at which `key` got a value that passes `test`; one that it had before does not count.
    pub(crate) fn became(
        &self,
        key: &str,
        from: Instant,
        test: impl Fn(&str) -> bool,
    ) -> Option<(Instant, String)> {
        self.history(key).into_iter().filter(|(at, _)| *at > from).find(|(_, value)| test(value))
    }

    /// Waits until `key` has a value that passes `test`, now or at any moment since `from`.
    pub(crate) async fn wait(
        &self,
        what: &str,
        deadline: Duration,
        (key, from): (&str, Instant),
        test: impl Fn(&str) -> bool,
    ) -> Result<(Instant, String)> {
        self.wait_for(what, deadline, key, || self.seen(key, from, &test)).await
    }

    /// Waits until `key` gets a value that passes `test` after `from`; one that it had before does not count.
    pub(crate) async fn wait_change(
        &self,
        what: &str,
        deadline: Duration,
        (key, from): (&str, Instant),
        test: impl Fn(&str) -> bool,
    ) -> Result<(Instant, String)> {
        self.wait_for(what, deadline, key, || self.became(key, from, &test)).await
    }

    async fn wait_for(
        &self,
        what: &str,
        deadline: Duration,
        key: &str,
        look: impl Fn() -> Option<(Instant, String)>,
    ) -> Result<(Instant, String)> {
        let mut changes = self.changed.subscribe();
        let end = Instant::now() + deadline;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            let next = tokio::time::timeout_at(end, changes.changed()).await;
            if next.is_err() {
                bail!("{what}: not within {deadline:?}; `{key}` is `{}`", self.now(key));
            }
        }
    }

    /// Keys that begin with `prefix`.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        histories.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// Ends all watches.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

/// What is worth remembering about an object of each kind.
fn facts(kind: Kind, value: &Value) -> Vec<(&'static str, String)> {
    if kind == ROLLOUT {
        rollout_facts(value)
    } else if kind == ANALYSIS_RUN {
        vec![("phase", text(value, "/status/phase")), ("message", text(value, "/status/message"))]
    } else if kind == HTTP_ROUTE {
        vec![("weights", route_weights(value))]
    } else if kind == SERVICE {
        let selector = value.pointer("/spec/selector");
        vec![("selector", selector.map_or_else(String::new, Value::to_string))]
    } else if kind == REPLICA_SET {
        vec![(
            "size",
            format!(
                "{} of {} available",
                number(value, "/status/availableReplicas"),
                number(value, "/spec/replicas")
            ),
        )]
    } else {
        Vec::new()
    }
}

fn rollout_facts(value: &Value) -> Vec<(&'static str, String)> {
    let waiting = value.pointer("/status/waitingOn").and_then(Value::as_array);
    let waiting = waiting
        .map(|list| list.iter().map(|entry| text(entry, "/what")).collect::<Vec<_>>().join("; "));
    vec![
        ("phase", text(value, "/status/phase")),
        ("message", text(value, "/status/message")),
        ("step", text(value, "/status/currentStepIndex")),
        ("aborted", text(value, "/status/abort")),
        ("stable", text(value, "/status/stableRS")),
        ("current", text(value, "/status/currentPodHash")),
        ("actual weight", text(value, "/status/canary/weights/canary/weight")),
        ("git revert", text(value, "/status/gitRevert/state")),
        ("git commit", text(value, "/status/gitRevert/commit")),
        ("git message", text(value, "/status/gitRevert/message")),
        ("quarantined", condition(value, "Quarantined")),
        ("waiting on", waiting.unwrap_or_default()),
    ]
}

/// The status of a condition; empty without it.
fn condition(value: &Value, kind: &str) -> String {
    let conditions = value.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|one| text(one, "/type") == kind);
    found.map_or_else(String::new, |one| text(one, "/status"))
}

/// `web-stable=95 web-canary=5` of the first rule.
fn route_weights(route: &Value) -> String {
    let backends = route.pointer("/spec/rules/0/backendRefs").and_then(Value::as_array);
    let weights = backends.into_iter().flatten().map(|backend| {
        let weight = backend.get("weight").and_then(Value::as_i64).unwrap_or(1);
        format!("{}={weight}", text(backend, "/name"))
    });
    weights.collect::<Vec<_>>().join(" ")
}

/// The weight of one backend in what `weights` of a route says, or nothing when it is not there.
pub(crate) fn weight_of(weights: &str, backend: &str) -> Option<i64> {
    weights
        .split(' ')
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| *name == backend)
        .and_then(|(_, weight)| weight.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn weights_of_a_route_are_read_back_by_name() {
        let route = json!({"spec": {"rules": [{"backendRefs": [
            {"name": "web-stable", "weight": 95}, {"name": "web-canary", "weight": 5}]}]}});
        let weights = route_weights(&route);
        assert_eq!(weights, "web-stable=95 web-canary=5");
        assert_eq!(weight_of(&weights, "web-canary"), Some(5));
        assert_eq!(weight_of(&weights, "web"), None);
    }

    #[test]
    fn a_backend_without_a_weight_has_one() {
        let route = json!({"spec": {"rules": [{"backendRefs": [{"name": "web"}]}]}});
        assert_eq!(route_weights(&route), "web=1");
    }

    #[test]
    fn only_changes_enter_the_history() {
        let recorder = Recorder::new("test");
        for value in ["", "a", "a", "b"] {
            recorder.record("key", value);
        }
        let values: Vec<String> = recorder.history("key").into_iter().map(|(_, v)| v).collect();
        assert_eq!(values, ["a", "b"]);
        assert_eq!(recorder.now("key"), "b");
    }

    #[test]
    fn a_change_is_looked_for_after_the_value_of_that_moment() {
        let recorder = Recorder::new("test");
        recorder.record("key", "25");
        recorder.record("key", "50");
        let fifty = recorder.history("key")[1].0;
        recorder.record("key", "100");
        let next = recorder.seen("key", fifty, |value| value != "50");
        assert_eq!(next.map(|(_, value)| value), Some("100".to_owned()));
    }

    #[test]
    fn a_value_from_before_still_counts_when_it_is_the_current_one() {
        let recorder = Recorder::new("test");
        recorder.record("key", "old");
        let from = Instant::now();
        assert_eq!(recorder.seen("key", from, |v| v == "old").map(|(at, _)| at), Some(from));
        recorder.record("key", "new");
        assert!(recorder.seen("key", from, |v| v == "new").is_some());
        assert!(recorder.seen("key", Instant::now(), |v| v == "old").is_none());
    }
}
