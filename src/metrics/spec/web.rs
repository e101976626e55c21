//! What a metric says to a JSON endpoint: request, path into the answer, source. Data only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json_path::JsonPath;

use super::{Authentication, Header, SourceRef};
use crate::api::values::{RawObject, is_false};

/// An HTTP request whose answer is JSON (`provider.web`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The `MetricsSource` that holds address and credentials; `url` is then a path below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// GET (default), POST or PUT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Absolute URL whose host is on the controller's list of allowed hosts; or, with `source`, a
    /// path that begins with `/`.
    pub url: String,
    /// Extra request headers without secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// Text body of POST and PUT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// JSON body of POST and PUT; excludes `body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_body: Option<RawObject>,
    /// Time limit in seconds; default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
    /// JSONPath of the value, as `{$.data.ok}` or `$.data.ok`; default the whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_path: Option<String>,
    /// Skips the check of the server's certificate. Refused: name the CA in a `MetricsSource`.
    #[serde(skip_serializing_if = "is_false")]
    pub insecure: bool,
    /// Inline credentials. Refused: they belong in a `MetricsSource`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
}

/// Request method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET, without body.
    #[default]
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
}

/// Longest JSONPath, in bytes.
const MAX_PATH_BYTES: usize = 1024;

/// A JSONPath, written as in Kubernetes (`{$.data.ok}`, `{.data.ok}`) or bare (`$.data.ok`).
///
/// # Errors
/// A sentence part that says what is wrong.
pub fn parsed_json_path(text: &str) -> Result<JsonPath, String> {
    if text.len() > MAX_PATH_BYTES {
        return Err(format!("is longer than {MAX_PATH_BYTES} bytes"));
    }
    check_cost(text)?;
    let trimmed = text.trim();
    let inner = match trimmed.strip_prefix('{') {
        Some(rest) => {
            rest.strip_suffix('}').ok_or_else(|| format!("{text:?} lacks its closing }}"))?
        }
        None => trimmed,
    };
    let inner = inner.trim();
    let path = match inner {
        "" => "$".to_owned(),
        _ if inner.starts_with('$') => inner.to_owned(),
        _ if inner.starts_with(['.', '[']) => format!("${inner}"),
        _ => format!("$.{inner}"),
    };
    JsonPath::parse(&path)
        .map_err(|_| format!("{text:?} is not a JSONPath such as {{$.data.value}}"))
}

/// Refuses what makes a path visit the same node many times: its cost must stay within the size of
/// the answer times a small factor.
fn check_cost(text: &str) -> Result<(), String> {
    let number_of = |part: &str| text.matches(part).count();
    let is_costly = number_of("..") > 1
        || number_of("?") > 2
        || (number_of("..") > 0 && number_of("?") > 0)
        || number_of("$") > 1
        || number_of(",") > 3
        || number_of("(") > 8
        || number_of("[") > 32;
    if is_costly {
        return Err(format!(
            "{text:?} is too costly: use at most one .., two filters, no filter beside .., one $, three commas"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_read_in_kubernetes_form_and_bare() {
        let answer = json!({"data": {"ok": true, "items": [{"n": 1}, {"n": 2}]}});
        for (path, expected) in [
            ("{$.data.ok}", json!(true)),
            ("{.data.ok}", json!(true)),
            ("$.data.items[1].n", json!(2)),
            ("{$.data.items[?(@.n == 2)].n}", json!(2)),
            ("data.ok", json!(true)),
            ("{$}", answer.clone()),
        ] {
            let found = parsed_json_path(path).unwrap().query(&answer).first().cloned();
            assert_eq!(found, Some(expected), "{path}");
        }
        assert!(parsed_json_path("{$.data").is_err() && parsed_json_path("$..[").is_err());
        for costly in ["$..*..*", "$[0,0][0,0][0,0][0,0]", "$..[?@.a]", "$[?$.a[?$.b]]"] {
            assert!(parsed_json_path(costly).unwrap_err().contains("too costly"), "{costly}");
        }
    }
}
