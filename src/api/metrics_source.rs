//! `MetricsSource` and `ClusterMetricsSource`: the only place where the address of a metrics server
//! and the credentials for it stand together. Templates refer to one by name, so whoever may write
//! templates cannot send a Secret to a server of his choice.
//!
//! Secrets and ConfigMaps of a `MetricsSource` are in its own namespace, those of a
//! `ClusterMetricsSource` in the namespace of the controller.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::analysis::SecretKeyRef;
use super::values::IntOrString;

/// Specification of a `MetricsSource` and of a `ClusterMetricsSource`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricsSourceSpec {
    /// What speaks at the address; default `Prometheus`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<MetricsSourceType>,
    /// Base URL, `http://` or `https://`, without user, query or fragment.
    pub address: String,
    /// Organization of InfluxDB; required with that type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Account of New Relic; required with that type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<i64>,
    /// How we identify ourselves; at most one way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Headers that are sent with each request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<SourceHeader>,
    /// Who signs the server's certificate; default the system's certificate authorities. When set,
    /// no other authority is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaBundle>,
    /// Text with which every query, or every path of a web request, must begin. For queries
    /// it keeps honest templates apart and is no security boundary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_query_prefix: Option<String>,
    /// Namespaces whose runs may use a `ClusterMetricsSource`: names, or patterns with `*`; default
    /// all. Refused in a `MetricsSource`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_namespaces: Vec<String>,
    /// Longest time for one request; a metric may ask for less, never for more. Default 30 s, at
    /// most 120 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<IntOrString>,
}

/// What speaks at the address of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricsSourceType {
    /// The HTTP API of Prometheus (also Thanos, Mimir, VictoriaMetrics).
    #[default]
    Prometheus,
    /// JSON over HTTP.
    Web,
    /// The JSON protocol of CloudWatch.
    CloudWatch,
    /// The API of Datadog.
    Datadog,
    /// The render API of Graphite.
    Graphite,
    /// The query API of InfluxDB 2.
    #[serde(rename = "InfluxDB")]
    InfluxDb,
    /// The NerdGraph API of New Relic.
    NewRelic,
}

impl MetricsSourceType {
    /// The type as written in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prometheus => "Prometheus",
            Self::Web => "Web",
            Self::CloudWatch => "CloudWatch",
            Self::Datadog => "Datadog",
            Self::Graphite => "Graphite",
            Self::InfluxDb => "InfluxDB",
            Self::NewRelic => "NewRelic",
        }
    }
}

/// How we identify ourselves: exactly one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Credentials {
    /// User name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicCredentials>,
    /// A bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer: Option<BearerCredentials>,
    /// OAuth2 client credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2Credentials>,
    /// A key of AWS, with which requests are signed; required with type CloudWatch, and for nothing
    /// else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsCredentials>,
}

/// A key of AWS (Signature Version 4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsCredentials {
    /// Region, such as eu-west-1.
    pub region: String,
    /// Where the identifier of the key is.
    pub access_key_id_ref: SecretKeyRef,
    /// Where the key is.
    pub secret_access_key_ref: SecretKeyRef,
    /// Where the token of temporary credentials is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token_ref: Option<SecretKeyRef>,
}

/// User name and password, both from a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicCredentials {
    /// Where the user name is.
    pub username_ref: SecretKeyRef,
    /// Where the password is.
    pub password_ref: SecretKeyRef,
}

/// A bearer token from a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BearerCredentials {
    /// Where the token is.
    pub token_ref: SecretKeyRef,
}

/// OAuth2 client credentials (RFC 6749, section 4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2Credentials {
    /// URL of the token endpoint.
    pub token_url: String,
    /// Identifier of the client.
    pub client_id: String,
    /// Where the client's secret is.
    pub client_secret_ref: SecretKeyRef,
    /// Scopes that are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
}

/// A header of a source: a value or a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceHeader {
    /// Name of the header.
    pub name: String,
    /// Its value, not secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where its secret value is; excludes `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_ref: Option<SecretKeyRef>,
}

/// Certificates in PEM: exactly one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CaBundle {
    /// The certificates themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
    /// A key of a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyRef>,
    /// A key of a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

/// CEL rules for the generated CRDs (`x-kubernetes-validations` of `spec`): rule and message.
pub const CEL_RULES: &[(&str, &str)] = &[
    (
        "self.address.startsWith('https://') || self.address.startsWith('http://')",
        "address must begin with http:// or https://",
    ),
    (
        "!has(self.credentials) || [has(self.credentials.basic), has(self.credentials.bearer), has(self.credentials.oauth2), has(self.credentials.aws)].filter(x, x).size() == 1",
        "credentials needs exactly one of basic, bearer, oauth2, aws",
    ),
    (
        "!has(self.ca) || [has(self.ca.pem), has(self.ca.configMapRef), has(self.ca.secretRef)].filter(x, x).size() == 1",
        "ca needs exactly one of pem, configMapRef, secretRef",
    ),
    (
        "!has(self.headers) || self.headers.all(h, has(h.value) != has(h.valueRef))",
        "a header needs exactly one of value, valueRef",
    ),
    (
        "has(self.organization) == (has(self.type) && self.type == 'InfluxDB')",
        "organization is required with type InfluxDB, and for nothing else",
    ),
    (
        "(has(self.credentials) && has(self.credentials.aws)) == (has(self.type) && self.type == 'CloudWatch')",
        "credentials.aws is required with type CloudWatch, and for nothing else",
    ),
    (
        "has(self.accountId) == (has(self.type) && self.type == 'NewRelic')",
        "accountId is required with type NewRelic, and for nothing else",
    ),
];

/// Longest time limit of a request, in seconds.
pub const MAX_TIMEOUT_SECONDS: i64 = 120;

impl MetricsSourceSpec {
    /// What speaks at the address, with its default.
    pub fn kind(&self) -> MetricsSourceType {
        self.kind.unwrap_or_default()
    }

    /// Whether runs of `namespace` may use this source (of the cluster).
    pub fn permits_namespace(&self, namespace: &str) -> bool {
        self.allowed_namespaces.is_empty()
            || self.allowed_namespaces.iter().any(|pattern| glob_matches(pattern, namespace))
    }

    /// Everything that is wrong with it, as `(field path, problem)`. `is_cluster` is for
    /// `ClusterMetricsSource`.
    pub fn problems(&self, is_cluster: bool) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut say = |field: &str, problem: &str| {
            problems.push((format!("spec.{field}"), problem.to_owned()));
        };
        if let Err(problem) = checked_base_url(&self.address) {
            say("address", &problem);
        }
        if let Some(credentials) = &self.credentials {
            let ways = [
                credentials.basic.is_some(),
                credentials.bearer.is_some(),
                credentials.oauth2.is_some(),
                credentials.aws.is_some(),
            ];
            if ways.into_iter().filter(|is_set| *is_set).count() != 1 {
                say("credentials", "needs exactly one of basic, bearer, oauth2, aws");
            }
            if let Some(oauth2) = &credentials.oauth2
                && let Err(problem) = checked_base_url(&oauth2.token_url)
            {
                say("credentials.oauth2.tokenUrl", &problem);
            }
        }
        if let Some(ca) = &self.ca {
            let ways = [ca.pem.is_some(), ca.config_map_ref.is_some(), ca.secret_ref.is_some()];
            if ways.into_iter().filter(|is_set| *is_set).count() != 1 {
                say("ca", "needs exactly one of pem, configMapRef, secretRef");
            }
        }
        for (index, header) in self.headers.iter().enumerate() {
            if header.value.is_some() == header.value_ref.is_some() {
                say(&format!("headers[{index}]"), "needs exactly one of value, valueRef");
            }
        }
        if !is_cluster && !self.allowed_namespaces.is_empty() {
            say("allowedNamespaces", "is for ClusterMetricsSource only");
        }
        let aws = self.credentials.as_ref().and_then(|credentials| credentials.aws.as_ref());
        if aws.is_some_and(|aws| aws.region.is_empty()) {
            say("credentials.aws.region", "is empty");
        }
        let of_type = [
            ("credentials.aws", aws.is_some(), MetricsSourceType::CloudWatch),
            ("organization", self.organization.is_some(), MetricsSourceType::InfluxDb),
            ("accountId", self.account_id.is_some(), MetricsSourceType::NewRelic),
        ];
        for (field, is_set, kind) in of_type {
            if is_set != (self.kind() == kind) {
                let what = if is_set { "is for" } else { "is required with" };
                say(field, &format!("{what} type {}", kind.as_str()));
            }
        }
        match self.timeout.as_ref().map(IntOrString::as_duration) {
            Some(Err(problem)) => say("timeout", &problem.to_string()),
            Some(Ok(limit)) if limit.is_zero() || limit.num_seconds() > MAX_TIMEOUT_SECONDS => {
                say("timeout", &format!("must be above 0 s and at most {MAX_TIMEOUT_SECONDS} s"));
            }
            None | Some(Ok(_)) => {}
        }
        problems
    }
}

/// The URL, when it can be the base of requests.
///
/// # Errors
/// What is wrong with it, as a sentence part.
pub fn checked_base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|_| format!("{text:?} is not a URL such as \"https://prometheus:9090\""))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user or a password; use credentials".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not carry a fragment".to_owned());
    }
    Ok(url)
}

/// Whether `name` matches `pattern`, in which `*` stands for any run of characters.
pub fn glob_matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source(json: serde_json::Value) -> MetricsSourceSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_full_source_has_no_problem() {
        let spec = source(json!({
            "address": "https://prometheus.monitoring:9090/tenant",
            "credentials": {"oauth2": {
                "tokenUrl": "https://sso/token", "clientId": "sluice",
                "clientSecretRef": {"name": "sso", "key": "secret"}, "scopes": ["metrics"]}},
            "headers": [{"name": "X-Scope-OrgID", "value": "a"}],
            "ca": {"configMapRef": {"name": "ca", "key": "ca.crt"}},
            "allowedNamespaces": ["team-*"], "timeout": "10s",
        }));
        assert_eq!(spec.problems(true), []);
        assert!(spec.permits_namespace("team-a") && !spec.permits_namespace("kube-system"));
    }

    #[test]
    fn all_problems_of_a_source_are_named_at_once() {
        let spec = source(json!({
            "address": "ftp://user:secret@host",
            "credentials": {}, "ca": {}, "headers": [{"name": "a"}],
            "allowedNamespaces": ["x"], "timeout": "1h",
        }));
        let fields: Vec<String> =
            spec.problems(false).into_iter().map(|(field, _)| field).collect();
        assert_eq!(
            fields,
            [
                "spec.address",
                "spec.credentials",
                "spec.ca",
                "spec.headers[0]",
                "spec.allowedNamespaces",
                "spec.timeout"
            ]
        );
        assert!(checked_base_url("http://u:p@h").unwrap_err().contains("credentials"));
    }

    #[test]
    fn globs_match_whole_names() {
        for (pattern, name, expected) in [
            ("*", "anything", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*.svc", "prometheus.svc", true),
            ("*.svc", "prometheus.svc.evil.com", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("", "", true),
            ("", "a", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob_matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
