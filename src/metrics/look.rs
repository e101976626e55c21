//! One look at the series of both arms: raw samples by the HTTP API of Prometheus, each selector in one
//! answer. What they mean is decided elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::endpoint::ResolvedEndpoint;
use super::prometheus::{DEFAULT_TIMEOUT, check, query};
use super::sample::{Clocks, Look, MeasureError, NativeBucket, NativeBuckets, Series};
use super::spec::look::{LookSpec, range};
use super::transport::Transport;

/// Most series of one selector: what is beyond is better counted by fewer labels.
const MAX_SERIES: usize = 20_000;
/// Query for the clock of the server.
const CLOCK: &str = "time()";
/// Name of a metric among its labels.
const NAME: &str = "__name__";

/// Time limit of a whole look.
pub fn time_limit(endpoint: &ResolvedEndpoint) -> Duration {
    DEFAULT_TIMEOUT.min(endpoint.timeout_limit)
}

/// Asks for everything that a look needs.
///
/// # Errors
/// [`MeasureError`]: then nothing of the look counts, and the next one covers its time.
pub async fn look(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    spec: &LookSpec,
    now: DateTime<Utc>,
) -> Result<Look, MeasureError> {
    let limit = time_limit(endpoint);
    let clocks = clocks(transport, endpoint, now, limit).await;
    let mut parts = Vec::new();
    for selector in &spec.selectors {
        check(endpoint, selector)?;
        let data = query(transport, endpoint, &spec.samples(selector), None, limit).await?;
        let mut part = series_of(&data)?;
        // Nothing in the last minute and a half: it is new, or was not scraped for a while.
        if part.iter().any(|series| !series.is_known_at(spec.from)) {
            let data = query(transport, endpoint, &spec.last_before(selector), None, limit).await?;
            put_before(&mut part, series_of(&data)?, spec);
        }
        parts.push(part);
    }
    let history = match &spec.history {
        None => None,
        Some(wanted) => {
            let mut all = Vec::new();
            for text in &wanted.queries {
                let data = query(transport, endpoint, text, Some(wanted.range), limit).await?;
                all.push(series_of(&data)?);
            }
            Some(all)
        }
    };
    Ok(Look { from: spec.from, until: spec.until, parts, history, clocks })
}

/// What the clock of the server says now. A server that does not answer this answers nothing else either, or allows
/// only certain queries: then its clock is not known.
async fn clocks(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    now: DateTime<Utc>,
    limit: Duration,
) -> Option<Clocks> {
    check(endpoint, CLOCK).ok()?;
    let data = query(transport, endpoint, CLOCK, None, limit).await.ok()?;
    let milliseconds = text_number(data.get("result")?.get(1)?)? * 1000.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the cast saturates, and then it is no time"
    )]
    let server = DateTime::from_timestamp_millis(milliseconds.round() as i64)?;
    Some(Clocks { own: now, server })
}

/// The raw samples of a selector after `from`, up to `until`.
///
/// # Errors
/// [`MeasureError`], as for a look.
pub async fn samples(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    selector: &str,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Series>, MeasureError> {
    check(endpoint, selector)?;
    let text = range(selector, until, until.signed_duration_since(from));
    series_of(&query(transport, endpoint, &text, None, endpoint.timeout_limit).await?)
}

/// Puts the last samples before the span where a series has none.
fn put_before(part: &mut [Series], earlier: Vec<Series>, spec: &LookSpec) {
    let from = spec.from.timestamp_millis();
    let mut by_labels: BTreeMap<BTreeMap<String, String>, Series> =
        earlier.into_iter().map(|series| (series.labels.clone(), series)).collect();
    for series in part.iter_mut().filter(|series| !series.is_known_at(spec.from)) {
        let Some(known) = by_labels.remove(&series.labels) else { continue };
        let numbers = known.numbers.last().map(|(_, value)| (from, *value));
        series.numbers.splice(..0, numbers);
        let histograms = known.histograms.into_iter().next_back().map(|(_, value)| (from, value));
        series.histograms.splice(..0, histograms);
    }
}

fn malformed(what: &str) -> MeasureError {
    MeasureError::Malformed(format!("{what} has another form"))
}

/// The series of a vector or a matrix.
fn series_of(data: &Value) -> Result<Vec<Series>, MeasureError> {
    let found = data.get("result").and_then(Value::as_array);
    let found = found.ok_or_else(|| malformed("its result"))?;
    if found.len() > MAX_SERIES {
        return Err(MeasureError::Unusable(format!(
            "a selector finds {} series, and at most {MAX_SERIES} are counted: narrow it",
            found.len()
        )));
    }
    found.iter().map(one_series).collect()
}

fn one_series(found: &Value) -> Result<Series, MeasureError> {
    let labels = found.get("metric").and_then(Value::as_object).into_iter().flatten();
    let labels = labels
        .filter(|(name, _)| *name != NAME)
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let list = |many: &str, one: &str| -> Vec<Value> {
        let many = found.get(many).and_then(Value::as_array).cloned();
        many.or_else(|| found.get(one).map(|value| vec![value.clone()])).unwrap_or_default()
    };
    let numbers: Option<Vec<(i64, f64)>> = list("values", "value").iter().map(number).collect();
    let histograms: Option<Vec<(i64, NativeBuckets)>> =
        list("histograms", "histogram").iter().map(histogram).collect();
    Ok(Series {
        labels: labels.collect(),
        numbers: numbers.ok_or_else(|| malformed("a sample"))?,
        histograms: histograms.ok_or_else(|| malformed("a histogram"))?,
    })
}

fn number(point: &Value) -> Option<(i64, f64)> {
    Some((moment(point.get(0)?)?, text_number(point.get(1)?)?))
}

/// Seconds with a fraction, as milliseconds.
fn moment(seconds: &Value) -> Option<i64> {
    let milliseconds = (seconds.as_f64()? * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    let milliseconds = milliseconds as i64;
    Some(milliseconds)
}

fn text_number(value: &Value) -> Option<f64> {
    match value.as_str()? {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        text => text.parse().ok(),
    }
}

/// `[TIME, {count, sum, buckets: [[RULE, LOWER, UPPER, COUNT], ...]}]`, as the query API writes a sample of a native histogram;
/// none where it is of another form.
pub fn histogram(point: &Value) -> Option<(i64, NativeBuckets)> {
    let value = point.get(1)?;
    let buckets = value.get("buckets").and_then(Value::as_array).into_iter().flatten();
    let buckets: Option<Vec<NativeBucket>> = buckets
        .map(|bucket| {
            let part = |idx: usize| text_number(bucket.get(idx)?);
            Some(NativeBucket { lower: part(1)?, upper: part(2)?, count: part(3)? })
        })
        .collect();
    Some((
        moment(point.get(0)?)?,
        NativeBuckets { count: text_number(value.get("count")?)?, buckets: buckets? },
    ))
}
