//! What a metric says to a JSON endpoint: request, path into the answer, source. Data only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Authentication, Header, SourceRef};
use crate::api::RawObject;

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

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if gives a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}
