//! Questions to Prometheus, for the scenarios' own checks.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cluster::text;

/// The values of an instant query, one a series; an empty list is an answer, too.
pub(crate) async fn query(address: &str, query: &str) -> Result<Vec<f64>> {
    let answer: Value = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .no_proxy()
        .build()?
        .get(format!("{address}/api/v1/query"))
        .query(&[("query", query)])
        .send()
        .await
        .with_context(|| format!("Prometheus at {address} does not answer"))?
        .json()
        .await
        .context("Prometheus did not answer in JSON")?;
    let series = answer
        .pointer("/data/result")
        .and_then(Value::as_array)
        .with_context(|| format!("Prometheus refused `{query}`: {}", text(&answer, "/error")))?;
    series
        .iter()
        .map(|one| text(one, "/value/1").parse().context("a value of Prometheus is no number"))
        .collect()
}
