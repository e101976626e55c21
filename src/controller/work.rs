//! The loop around a [`Queue`]: passes over many objects at once, one at a time over each, when
//! somebody asked for them or their time has come. What a pass does is the [`Work`]'s; nothing here
//! knows what an object is.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::queue::Queue;
use crate::api::Kind;
use crate::breakdown::caught;
use crate::observe::cache::Key;
use crate::telemetry::metrics::Metrics;

/// Objects that are worked on at once.
const MOST_AT_ONCE: usize = 64;
/// Passes over one object in a row before others get their turn.
const PASSES_IN_A_ROW: usize = 30;
/// How long others get their turn.
const TURN: Duration = Duration::from_millis(100);
/// When an object is looked at again whose pass broke down.
const AFTER_BREAKDOWN: Duration = Duration::from_mins(1);

/// What a pass wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another pass at once.
    Again,
    /// Another pass then.
    At(Instant),
    /// None, unless somebody asks.
    Nothing,
}

impl Next {
    /// The same, or then if that is earlier.
    pub(super) fn at_latest(self, then: Instant) -> Self {
        match self {
            Self::At(at) => Self::At(at.min(then)),
            Self::Again | Self::Nothing => self,
        }
    }
}

/// A wish for passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// Over these objects.
    pub(super) keys: Vec<Key>,
    /// After this time, within which more may come together.
    pub(super) after: Duration,
}

impl Ask {
    /// A pass over one object at once.
    pub(super) fn now(key: Key) -> Self {
        Self { keys: vec![key], after: Duration::ZERO }
    }
}

/// What is done with objects of one kind.
pub(super) trait Work: Send + Sync + 'static {
    /// The kind.
    const KIND: Kind;

    /// Where passes are counted.
    fn metrics(&self) -> &Metrics;

    /// The span of the logs of a pass.
    fn span(key: &Key) -> Span;

    /// One pass.
    fn pass(&self, key: &Key) -> impl Future<Output = Next> + Send;
}

/// Works until `stop`: on `keys` at the start, and then on what is asked for or whose time has come.
/// Passes that run at `stop` come to their end.
pub(super) async fn run<W: Work>(
    work: &Arc<W>,
    keys: Vec<Key>,
    mut asks: impl Stream<Item = Ask> + Unpin,
    stop: &CancellationToken,
) {
    let mut queue = Queue::default();
    let mut tasks: JoinSet<(Key, Option<Instant>)> = JoinSet::new();
    for key in keys {
        queue.ask(key, Instant::now());
    }
    loop {
        while queue.running() < MOST_AT_ONCE
            && let Some(key) = queue.take(Instant::now())
        {
            let work = Arc::clone(work);
            tasks.spawn(async move {
                let next = passes(work.as_ref(), &key).await;
                (key, next)
            });
        }
        let due = queue.next_due().filter(|_| queue.running() < MOST_AT_ONCE);
        let timer = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                if let Ok((key, next)) = done {
                    queue.done(&key, next);
                }
            }
            Some(ask) = asks.next() => {
                for key in ask.keys {
                    queue.ask(key, Instant::now() + ask.after);
                }
            }
            () = timer => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Passes over one object until nothing is left to do now; when to look again.
async fn passes<W: Work>(work: &W, key: &Key) -> Option<Instant> {
    let many = async {
        let started = Instant::now();
        let next = until_quiet(work, key).await;
        work.metrics().reconciled(W::KIND, started.elapsed());
        next
    };
    // Whatever one object holds, the others go on (S33).
    caught(many.instrument(W::span(key))).await.unwrap_or_else(|_| {
        work.metrics().reconcile_failed(W::KIND);
        let kind = W::KIND.as_str();
        tracing::error!(kind, namespace = key.namespace, name = key.name, "the pass broke down");
        Some(Instant::now() + AFTER_BREAKDOWN)
    })
}

async fn until_quiet<W: Work>(work: &W, key: &Key) -> Option<Instant> {
    for _ in 0..PASSES_IN_A_ROW {
        match work.pass(key).await {
            Next::Again => {}
            Next::At(at) => return Some(at),
            Next::Nothing => return None,
        }
    }
    Some(Instant::now() + TURN)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use futures::stream;
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::*;

    /// Notes when each object was looked at, in milliseconds since the start.
    struct Notes {
        started: Instant,
        metrics: Metrics,
        seen: Mutex<BTreeMap<String, Vec<u128>>>,
    }

    impl Work for Notes {
        const KIND: Kind = Kind::Rollout;

        fn metrics(&self) -> &Metrics {
            &self.metrics
        }

        fn span(_: &Key) -> Span {
            Span::none()
        }

        async fn pass(&self, key: &Key) -> Next {
            let at = self.started.elapsed().as_millis();
            self.seen.lock().unwrap().entry(key.name.clone()).or_default().push(at);
            match key.name.as_str() {
                "broken" => panic!("what one object holds"),
                "restless" => Next::Again,
                "slow" => {
                    sleep(Duration::from_secs(5)).await;
                    Next::Nothing
                }
                "later" => Next::At(Instant::now() + Duration::from_secs(10)),
                _ => Next::Nothing,
            }
        }
    }

    fn key(name: &str) -> Key {
        Key::new("shop", name)
    }

    /// Runs for `seconds` with these objects at the start; what is sent is asked for.
    async fn seen(
        names: &[&str],
        seconds: u64,
        asks: &[(u64, &str)],
    ) -> (BTreeMap<String, Vec<u128>>, String) {
        let notes = Arc::new(Notes {
            started: Instant::now(),
            metrics: Metrics::default(),
            seen: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let keys = names.iter().map(|name| key(name)).collect();
        let asked = stream::poll_fn(|context| receiver.poll_recv(context)).map(Ask::now);
        let act = async {
            for (at, name) in asks {
                tokio::time::sleep_until(notes.started + Duration::from_secs(*at)).await;
                sender.send(key(name)).unwrap();
            }
            tokio::time::sleep_until(notes.started + Duration::from_secs(seconds)).await;
            stop.cancel();
        };
        tokio::join!(run(&notes, keys, asked, &stop), act);
        let seen = notes.seen.lock().unwrap().clone();
        (seen, notes.metrics.render(chrono::DateTime::UNIX_EPOCH))
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_is_looked_at_when_it_is_asked_for_or_its_time_has_come() {
        let (seen, _) = seen(&["later", "quiet"], 25, &[(3, "quiet"), (4, "later")]).await;
        assert_eq!(seen["quiet"], [0, 3000]);
        assert_eq!(seen["later"], [0, 4000, 14_000, 24_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_object_is_never_looked_at_twice_at_once_and_none_is_forgotten() {
        let (seen, _) = seen(&["slow"], 12, &[(1, "slow"), (2, "slow")]).await;
        assert_eq!(seen["slow"], [0, 5000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_and_a_restless_object_hold_up_nobody() {
        let (seen, metrics) = seen(&["broken", "restless", "quiet"], 61, &[]).await;
        assert_eq!(seen["quiet"], [0]);
        assert_eq!(seen["broken"], [0, 60_000]);
        assert!(seen["restless"].len() > 1000, "{}", seen["restless"].len());
        assert!(metrics.contains("sluice_reconcile_errors_total{kind=\"Rollout\"} 2"), "{metrics}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_at_the_end_comes_to_its_end() {
        let started = Instant::now();
        let (seen, _) = seen(&["slow"], 1, &[]).await;
        assert_eq!(seen["slow"], [0]);
        assert_eq!(started.elapsed(), Duration::from_secs(5));
    }
}
