//! What a metric says to Graphite: a target and a time range. Data only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AskedSpec, SourceRef};

/// A query of Graphite's render API (`provider.graphite`). Its result is the list of the values of one
/// series, without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The `MetricsSource` of type Graphite that holds address and credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// Base URL of the server, when no `source` is named. Its host must be on the controller's list of
    /// allowed hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A target, or `target=...&from=-5min&until=now`. Without `from` Graphite gives the last 24 hours.
    pub query: String,
}

/// Parameters that a query may give.
const PARAMETERS: [&str; 5] = ["target", "from", "until", "tz", "maxDataPoints"];

impl Spec {
    /// The parameters of the request, with white space as single blanks.
    ///
    /// # Errors
    /// What is wrong with the query, to be read on from its field.
    pub fn parameters(&self) -> Result<Vec<(String, String)>, String> {
        let text = self.query.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if !text.starts_with("target=") {
            return Ok(vec![("target".to_owned(), text)]);
        }
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        match pairs.iter().find(|(name, _)| !PARAMETERS.contains(&name.as_str())) {
            Some((name, _)) => Err(format!(
                "has a parameter {name:?}; there are {}. A & inside a target is written %26",
                PARAMETERS.join(", ")
            )),
            None => Ok(pairs),
        }
    }
}

impl AskedSpec for Spec {
    fn kind(&self) -> &'static str {
        "Graphite"
    }

    fn source(&self) -> Option<&SourceRef> {
        self.source.as_ref()
    }

    fn address(&self) -> Option<&str> {
        self.address.as_deref().filter(|address| !address.is_empty())
    }

    fn may_name_address(&self) -> bool {
        true
    }

    fn queries(&self) -> Vec<&str> {
        vec![&self.query]
    }

    fn problems(&self) -> Vec<(&'static str, String)> {
        self.parameters().err().map(|problem| ("query", problem)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_target_or_parameters() {
        let of = |query: &str| Spec { query: query.to_owned(), ..Spec::default() }.parameters();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(of("sumSeries(\n  a.b\n)").unwrap(), [pair("target", "sumSeries( a.b )")]);
        assert_eq!(
            of("target=a.*.b&from=-5min").unwrap(),
            [pair("target", "a.*.b"), pair("from", "-5min")]
        );
        assert!(of(" ").is_err());
        assert!(of("target=a&format=png").unwrap_err().contains("format"));
    }
}
