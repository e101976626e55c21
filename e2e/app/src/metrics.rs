//! The two metrics that analyses ask for, in the Prometheus text format (version 0.0.4). Probes and scrapes are not counted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Upper bounds of the latency buckets in seconds.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0];

/// Counters of one pod. The server is single-threaded, so there is no lock.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    requests: BTreeMap<u16, u64>,
    /// Requests a bucket, not cumulative; the last is above every bound.
    buckets: [u64; BOUNDS.len() + 1],
    sum_seconds: f64,
}

impl Metrics {
    /// Counts one answered request.
    pub(crate) fn record(&self, code: u16, took: Duration) {
        let mut inner = self.inner.borrow_mut();
        *inner.requests.entry(code).or_insert(0) += 1;
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = inner.buckets.get_mut(bucket) {
            *count += 1;
        }
        inner.sum_seconds += seconds;
    }

    /// The text that Prometheus reads. The codes 200 and 500 are always there, so that `rate()` knows their zero.
    pub(crate) fn render(&self) -> String {
        let inner = self.inner.borrow();
        let mut text = String::from(
            "# HELP http_requests_total Requests answered, by status code.\n# TYPE http_requests_total counter\n",
        );
        let mut codes = inner.requests.clone();
        for always in [200, 500] {
            codes.entry(always).or_insert(0);
        }
        for (code, count) in &codes {
            let _infallible = writeln!(text, "http_requests_total{{code=\"{code}\"}} {count}");
        }
        text.push_str(
            "# HELP http_request_duration_seconds Time to answer.\n# TYPE http_request_duration_seconds histogram\n",
        );
        let mut cumulative = 0;
        let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(inner.buckets) {
            cumulative += count;
            let _infallible = writeln!(
                text,
                "http_request_duration_seconds_bucket{{le=\"{bound}\"}} {cumulative}"
            );
        }
        let _infallible = writeln!(text, "http_request_duration_seconds_sum {}", inner.sum_seconds);
        let _infallible = writeln!(text, "http_request_duration_seconds_count {cumulative}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_codes_are_exported_before_the_first_request() {
        let text = Metrics::default().render();
        assert!(text.contains("http_requests_total{code=\"200\"} 0\n"));
        assert!(text.contains("http_requests_total{code=\"500\"} 0\n"));
    }

    #[test]
    fn buckets_are_cumulative_and_end_at_infinity() {
        let metrics = Metrics::default();
        metrics.record(200, Duration::from_millis(1));
        metrics.record(200, Duration::from_millis(30));
        metrics.record(500, Duration::from_secs(9));
        let text = metrics.render();
        assert!(text.contains("_bucket{le=\"0.005\"} 1\n"), "{text}");
        assert!(text.contains("_bucket{le=\"0.05\"} 2\n"), "{text}");
        assert!(text.contains("_bucket{le=\"5\"} 2\n"), "{text}");
        assert!(text.contains("_bucket{le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.contains("_count 3\n"), "{text}");
        assert!(text.contains("http_requests_total{code=\"500\"} 1\n"), "{text}");
    }
}
