//! A user of the application: sends real requests through the gateway at a fixed rate, whatever comes back (open loop), on
//! kept-alive connections, and remembers every answer with its version. It never retries and never hides a failure.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::binomial::real;
use crate::log::say;

/// So many requests may be unanswered at one time; beyond that a request is not sent but counted as dropped.
const MOST_IN_FLIGHT: usize = 2000;
/// A request without an answer after this has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// So many good answers in a row mean that the gateway knows the endpoints of every backend, be its share 5 %.
const FIRST_ANSWERS: u32 = 50;
/// So many failures are printed as they happen; all are counted.
const FAILURES_SAID: u32 = 20;

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The application answered, with its version and a status code (which a bad version chooses itself).
    Answered {
        /// `VERSION` of the pod.
        version: String,
        /// HTTP status.
        code: u16,
    },
    /// Nobody's answer: refused, reset, timed out, or an error that the gateway made itself.
    Failed(String),
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// When it was sent.
    pub(crate) sent: Instant,
    /// When its answer was there.
    pub(crate) done: Instant,
    /// What it was.
    pub(crate) outcome: Outcome,
}

/// A running prober; dropping it ends the sending.
pub(crate) struct Prober {
    records: Arc<Mutex<Vec<Answer>>>,
    dropped: Arc<Mutex<u64>>,
    stop: CancellationToken,
    requests: TaskTracker,
}

impl Prober {
    /// Waits until the application answers through the gateway, then sends `a_minute` requests a minute to `host`.
    pub(crate) async fn start(
        url: &str,
        host: &str,
        a_minute: u32,
        deadline: Duration,
    ) -> Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(MOST_IN_FLIGHT)
            .no_proxy()
            .build()
            .context("failed to make an HTTP client")?;
        let prober = Self {
            records: Arc::default(),
            dropped: Arc::default(),
            stop: CancellationToken::new(),
            requests: TaskTracker::new(),
        };
        let from = Instant::now();
        let mut in_a_row = 0;
        while in_a_row < FIRST_ANSWERS {
            let outcome = request(&client, url, host).await;
            if matches!(outcome, Outcome::Answered { code: 200, .. }) {
                in_a_row += 1;
                continue;
            }
            in_a_row = 0;
            if from.elapsed() > deadline {
                bail!("{host} does not answer through {url} within {deadline:?}: {outcome:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        say("prober", format!("{host} answers; sending {a_minute} requests a minute"));
        prober.spawn_sender(client, url.to_owned(), host.to_owned(), a_minute);
        Ok(prober)
    }

    fn spawn_sender(&self, client: reqwest::Client, url: String, host: String, a_minute: u32) {
        let (records, dropped) = (Arc::clone(&self.records), Arc::clone(&self.dropped));
        let (stop, requests) = (self.stop.clone(), self.requests.clone());
        let said = Arc::new(AtomicU32::new(0));
        let permits = Arc::new(Semaphore::new(MOST_IN_FLIGHT));
        self.requests.spawn(async move {
            let mut tick =
                tokio::time::interval(Duration::from_secs_f64(60.0 / f64::from(a_minute.max(1))));
            // Burst keeps the rate when this task was late, which is what an open loop is.
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = tick.tick() => {}
                }
                let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                    *dropped.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                    continue;
                };
                let (client, url, host) = (client.clone(), url.clone(), host.clone());
                let (records, said) = (Arc::clone(&records), Arc::clone(&said));
                requests.spawn(async move {
                    let sent = Instant::now();
                    let outcome = request(&client, &url, &host).await;
                    let answer = Answer { sent, done: Instant::now(), outcome };
                    if let Outcome::Failed(cause) = &answer.outcome
                        && said.fetch_add(1, Ordering::Relaxed) < FAILURES_SAID
                    {
                        let took = answer.done - answer.sent;
                        say("prober", format!("a request failed after {took:?}: {cause}"));
                    }
                    records.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                    drop(permit);
                });
            }
        });
    }

    /// What was answered so far.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            answers: self.records.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            dropped: *self.dropped.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Stops sending, waits for the answers that are on their way, and gives all.
    pub(crate) async fn stop(self) -> Traffic {
        self.stop.cancel();
        self.requests.close();
        self.requests.wait().await;
        self.traffic()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn request(client: &reqwest::Client, url: &str, host: &str) -> Outcome {
    let response = match client.get(url).header("host", host).send().await {
        Ok(response) => response,
        Err(error) => return Outcome::Failed(chain(&error)),
    };
    let code = response.status().as_u16();
    match response.bytes().await {
        Ok(body) => match serde_json::from_slice::<Value>(&body) {
            Ok(page) => Outcome::Answered {
                version: page.get("version").and_then(Value::as_str).unwrap_or("?").to_owned(),
                code,
            },
            Err(_not_the_application) => Outcome::Failed(format!("status {code} from the gateway")),
        },
        Err(error) => Outcome::Failed(chain(&error)),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// All answers of one prober.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    /// Every request that was sent and is finished.
    pub(crate) answers: Vec<Answer>,
    /// Requests that were not sent, because too many were unanswered.
    pub(crate) dropped: u64,
}

impl Traffic {
    /// Requests that nobody answered, by cause.
    pub(crate) fn failures(&self) -> BTreeMap<String, u64> {
        let mut causes = BTreeMap::new();
        for answer in &self.answers {
            match &answer.outcome {
                Outcome::Failed(cause) => *causes.entry(cause.clone()).or_insert(0) += 1,
                Outcome::Answered { .. } => {}
            }
        }
        if self.dropped > 0 {
            causes.insert("not sent, too many unanswered".to_owned(), self.dropped);
        }
        causes
    }

    /// Answers with status 500 and above that the application gave itself.
    pub(crate) fn application_errors(&self) -> u64 {
        self.count(|outcome| matches!(outcome, Outcome::Answered { code: 500.., .. }))
    }

    /// Answers of `version`, and how many of them had status 500 and above.
    pub(crate) fn of(&self, version: &str) -> (u64, u64) {
        let is_bad = |outcome: &Outcome| matches!(outcome, Outcome::Answered { code: 500.., .. });
        (
            self.count(|outcome| is_of(outcome, version)),
            self.count(|outcome| is_of(outcome, version) && is_bad(outcome)),
        )
    }

    /// Answers by version of requests sent in `from..to`.
    pub(crate) fn by_version(&self, from: Instant, to: Instant) -> BTreeMap<String, u64> {
        let mut versions = BTreeMap::new();
        for answer in self.answers.iter().filter(|answer| (from..to).contains(&answer.sent)) {
            match &answer.outcome {
                Outcome::Answered { version, .. } => {
                    *versions.entry(version.clone()).or_insert(0) += 1;
                }
                Outcome::Failed(_) => {}
            }
        }
        versions
    }

    /// When the last answer of `version` came, and when its request was sent, if there was one.
    pub(crate) fn last_of(&self, version: &str) -> Option<(Instant, Instant)> {
        self.answers
            .iter()
            .filter(|answer| is_of(&answer.outcome, version))
            .map(|answer| (answer.done, answer.sent))
            .max()
    }

    /// Answers of `version` to requests sent at or after `from`.
    pub(crate) fn sent_after(&self, version: &str, from: Instant) -> u64 {
        let late = self
            .answers
            .iter()
            .filter(|answer| answer.sent >= from && is_of(&answer.outcome, version))
            .count();
        u64::try_from(late).unwrap_or(u64::MAX)
    }

    /// How many requests were sent in all.
    pub(crate) fn sent(&self) -> u64 {
        self.count(|_| true) + self.dropped
    }

    /// The latency below which `share` of the answers came, in milliseconds.
    pub(crate) fn latency_ms(&self, share: f64) -> f64 {
        let mut took: Vec<f64> =
            self.answers.iter().map(|a| (a.done - a.sent).as_secs_f64() * 1000.0).collect();
        took.sort_by(f64::total_cmp);
        let wanted = share * real(u64::try_from(took.len()).unwrap_or(u64::MAX));
        let mut counted = 0.0;
        took.into_iter()
            .find(|_| {
                counted += 1.0;
                counted >= wanted
            })
            .unwrap_or(0.0)
    }

    fn count(&self, test: impl Fn(&Outcome) -> bool) -> u64 {
        let counted = self.answers.iter().filter(|answer| test(&answer.outcome)).count();
        u64::try_from(counted).unwrap_or(u64::MAX)
    }
}

fn is_of(outcome: &Outcome, wanted: &str) -> bool {
    match outcome {
        Outcome::Answered { version, .. } => version == wanted,
        Outcome::Failed(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(version: &str, code: u16, sent: Instant) -> Answer {
        Answer {
            sent,
            done: sent + Duration::from_millis(5),
            outcome: Outcome::Answered { version: version.to_owned(), code },
        }
    }

    #[test]
    fn a_gateway_error_is_a_failure_and_an_application_error_is_not() {
        let now = Instant::now();
        let failed = Answer {
            sent: now,
            done: now,
            outcome: Outcome::Failed("status 503 from the gateway".to_owned()),
        };
        let traffic = Traffic {
            answers: vec![answered("v1", 200, now), answered("v2", 500, now), failed],
            dropped: 0,
        };
        assert_eq!(traffic.failures().len(), 1);
        assert_eq!(traffic.application_errors(), 1);
        assert_eq!((traffic.of("v1"), traffic.of("v2")), ((1, 0), (1, 1)));
        assert_eq!(traffic.sent(), 3);
    }

    #[test]
    fn a_request_that_could_not_be_sent_counts_as_failed() {
        let traffic = Traffic { answers: vec![], dropped: 2 };
        assert_eq!(traffic.failures().values().sum::<u64>(), 2);
    }

    #[test]
    fn answers_are_attributed_by_the_time_of_sending() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let traffic = Traffic {
            answers: vec![answered("v1", 200, now), answered("v2", 200, later)],
            dropped: 0,
        };
        assert_eq!(traffic.by_version(now, later), BTreeMap::from([("v1".to_owned(), 1)]));
        assert_eq!(traffic.sent_after("v2", later), 1);
        assert_eq!(traffic.sent_after("v1", later), 0);
        assert_eq!(traffic.last_of("v2"), Some((later + Duration::from_millis(5), later)));
    }

    #[test]
    fn latency_is_a_quantile_of_what_was_measured() {
        let now = Instant::now();
        let traffic = Traffic { answers: vec![answered("v1", 200, now); 4], dropped: 0 };
        assert!((traffic.latency_ms(0.5) - 5.0).abs() < 0.001);
    }
}
