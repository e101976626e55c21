//! Who answers the queries of a run: series in memory, or a real Prometheus.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::args::PrometheusArgs;
use crate::analysis::{DueMeasurement, ResolvedRun};
use crate::cli::error::CliError;
use crate::metrics::address::AddressOrigin;
use crate::metrics::endpoint::Auth;
use crate::metrics::sample::Series;
use crate::metrics::spec::Provider;
use crate::metrics::{
    AddressPolicy, MeasureError, MeasurementResult, ResolvedEndpoint, Secret, Transport, look,
    prometheus,
};
use crate::sim::recorded::{Recorded, RecordedSeries};

/// Time limit of one query.
const LIMIT: Duration = Duration::from_mins(2);
/// How much of a series is asked for at once, and the least that is still tried.
const CHUNK: TimeDelta = TimeDelta::hours(2);
const LEAST_CHUNK: TimeDelta = TimeDelta::minutes(2);

/// Host under which recorded series are found.
const RECORDED: &str = "recorded.invalid";

/// Who answers queries.
pub(super) struct Server {
    transport: Transport,
    endpoint: ResolvedEndpoint,
    recorded: Option<Arc<Recorded>>,
}

impl Server {
    /// Series in memory.
    pub(super) fn recorded<'a>(
        series: impl IntoIterator<Item = &'a RecordedSeries>,
    ) -> Result<Self, MeasureError> {
        let recorded = Arc::new(Recorded::new(series));
        let policy =
            AddressPolicy { allowed_hosts: vec![RECORDED.to_owned()], ..AddressPolicy::default() };
        Ok(Self {
            transport: Transport::new(policy).through(recorded.clone()),
            endpoint: ResolvedEndpoint::inline(&format!("http://{RECORDED}"))?,
            recorded: Some(recorded),
        })
    }

    /// A server that a person named. It may be anywhere that this person can reach.
    pub(super) fn prometheus(args: &PrometheusArgs) -> Result<Self, CliError> {
        let refused = |error: MeasureError| {
            CliError::usage(
                format!("--prometheus: {error}"),
                "write for example http://localhost:9090",
            )
        };
        let read = |path: &Path| {
            let what = format!("read {}", path.display());
            std::fs::read_to_string(path).map_err(|source| CliError::Io { what, source })
        };
        let mut endpoint = ResolvedEndpoint::inline(&args.prometheus).map_err(refused)?;
        endpoint.origin = AddressOrigin::Source;
        endpoint.timeout_limit = LIMIT;
        if let Some(path) = &args.token_file {
            endpoint.auth = Auth::Bearer(Secret::new(read(path)?.trim().to_owned()));
        }
        endpoint.ca_pem = args.ca_file.as_deref().map(read).transpose()?;
        let policy = AddressPolicy { allow_private: true, ..AddressPolicy::default() };
        Ok(Self { transport: Transport::new(policy), endpoint, recorded: None })
    }

    /// Moves the present of series in memory.
    pub(super) fn set_now(&self, now: DateTime<Utc>) {
        if let Some(recorded) = &self.recorded {
            recorded.set_now(now);
        }
    }

    /// The raw samples of a selector, without names, in pieces that the server can bear.
    pub(super) async fn samples(
        &self,
        selector: &str,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Series>, MeasureError> {
        let mut all: BTreeMap<_, Series> = BTreeMap::new();
        let (mut at, mut chunk) = (from, CHUNK);
        while at < until {
            let end = (at + chunk).min(until);
            let answered = look::samples(&self.transport, &self.endpoint, selector, at, end).await;
            let found = match answered {
                Err(error) if is_too_much(&error) && chunk > LEAST_CHUNK => {
                    chunk = (chunk / 2).max(LEAST_CHUNK);
                    continue;
                }
                other => other?,
            };
            for series in found {
                let kept = all.entry(series.labels.clone()).or_default();
                kept.labels = series.labels;
                let last = kept.numbers.last().map_or(i64::MIN, |(at, _)| *at);
                kept.numbers.extend(series.numbers.into_iter().filter(|(at, _)| *at > last));
                let last = kept.histograms.last().map_or(i64::MIN, |(at, _)| *at);
                kept.histograms.extend(series.histograms.into_iter().filter(|(at, _)| *at > last));
            }
            at = end;
        }
        Ok(all.into_values().collect())
    }

    /// Carries out one measurement.
    pub(super) async fn measure(
        &self,
        run: &ResolvedRun,
        due: &DueMeasurement,
        now: DateTime<Utc>,
    ) -> MeasurementResult {
        let measured = match (&due.look, run.metrics.get(due.metric_index)) {
            (Some(spec), _) => look::look(&self.transport, &self.endpoint, spec, now)
                .await
                .map(|look| MeasurementResult::Look(Box::new(look))),
            (None, Some(metric)) => match metric.provider.chosen() {
                Ok(Provider::Prometheus(spec)) => {
                    prometheus::measure(&self.transport, &self.endpoint, spec, now)
                        .await
                        .map(MeasurementResult::Sample)
                }
                Ok(_) | Err(_) => Err(MeasureError::Unusable(
                    "only metrics over series of Prometheus can be tried".to_owned(),
                )),
            },
            (None, None) => Err(MeasureError::Unusable("the metric is gone".to_owned())),
        };
        measured.unwrap_or_else(MeasurementResult::Error)
    }
}

/// Whether less may be asked for at once.
fn is_too_much(error: &MeasureError) -> bool {
    match error {
        MeasureError::TooLarge { .. } | MeasureError::TimedOut { .. } => true,
        // "query processing would load too many samples into memory"
        MeasureError::Rejected { detail, .. } => detail.contains("too many samples"),
        _ => false,
    }
}
