//! A metrics server, resolved: address, credentials, certificates and limits, ready for requests.
//! Has no `Debug`, because it holds secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

use super::address::AddressOrigin;
use super::sample::MeasureError;
use super::secret::Secret;
use super::sigv4::AwsKey;
use super::spec::Header;
use crate::api::analysis::SecretKeyRef;
use crate::api::metrics_source::{
    ConfigMapKeyRef, Credentials, MetricsSourceSpec, MetricsSourceType, checked_base_url,
};
use crate::api::values::IntOrString;

/// Time limit of a source that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// CloudWatch's name in signatures; it is the only service of AWS that is asked.
const AWS_SERVICE: &str = "monitoring";
/// Time limit of an address in a template.
const INLINE_TIMEOUT: Duration = Duration::from_mins(2);

/// How requests identify themselves.
#[derive(Clone)]
pub enum Auth {
    /// Not at all.
    None,
    /// User name and password.
    Basic {
        /// User name.
        username: Secret<String>,
        /// Password.
        password: Secret<String>,
    },
    /// A bearer token.
    Bearer(Secret<String>),
    /// A key of AWS, with which each request is signed.
    Aws(Box<AwsKey>),
    /// OAuth2 client credentials.
    OAuth2 {
        /// Token endpoint.
        token_url: Url,
        /// Identifier of the client.
        client_id: String,
        /// The client's secret.
        client_secret: Secret<String>,
        /// Scopes that are asked for.
        scopes: Vec<String>,
    },
}

/// A metrics server, ready for requests.
#[derive(Clone)]
pub struct ResolvedEndpoint {
    /// Base URL.
    pub base: Url,
    /// Who named the address.
    pub origin: AddressOrigin,
    /// What speaks there, when a source says so.
    pub kind: Option<MetricsSourceType>,
    /// Organization of InfluxDB.
    pub organization: Option<String>,
    /// Account of New Relic.
    pub account_id: Option<i64>,
    /// How requests identify themselves.
    pub auth: Auth,
    /// Headers for every request; secret ones are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The only certificate authorities that are trusted, in PEM; none: the system's.
    pub ca_pem: Option<String>,
    /// Longest time of one request.
    pub timeout_limit: Duration,
    /// What every query or path must begin with.
    pub allowed_query_prefix: Option<String>,
}

/// What has to be read before a source can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceNeeds {
    /// Keys of Secrets.
    pub secrets: Vec<SecretKeyRef>,
    /// Keys of ConfigMaps.
    pub config_maps: Vec<ConfigMapKeyRef>,
}

/// What was read for a source.
#[derive(Clone, Default)]
pub struct SourceMaterial {
    /// Values of Secrets.
    pub secrets: BTreeMap<(String, String), Secret<String>>,
    /// Values of ConfigMaps.
    pub config_maps: BTreeMap<(String, String), String>,
}

impl SourceMaterial {
    fn secret(&self, key: &SecretKeyRef) -> Result<&Secret<String>, MeasureError> {
        self.secrets.get(&(key.name.clone(), key.key.clone())).ok_or_else(|| {
            MeasureError::Unusable(format!(
                "the Secret {:?} with the key {:?} is missing",
                key.name, key.key
            ))
        })
    }

    fn config_map(&self, key: &ConfigMapKeyRef) -> Result<&String, MeasureError> {
        self.config_maps.get(&(key.name.clone(), key.key.clone())).ok_or_else(|| {
            MeasureError::Unusable(format!(
                "the ConfigMap {:?} with the key {:?} is missing",
                key.name, key.key
            ))
        })
    }
}

/// What has to be read before `spec` can be used.
pub fn source_needs(spec: &MetricsSourceSpec) -> SourceNeeds {
    let mut needs = SourceNeeds::default();
    if let Some(credentials) = &spec.credentials {
        if let Some(basic) = &credentials.basic {
            needs.secrets.extend([basic.username_ref.clone(), basic.password_ref.clone()]);
        }
        if let Some(aws) = &credentials.aws {
            needs
                .secrets
                .extend([aws.access_key_id_ref.clone(), aws.secret_access_key_ref.clone()]);
            needs.secrets.extend(aws.session_token_ref.clone());
        }
        needs.secrets.extend(credentials.bearer.iter().map(|bearer| bearer.token_ref.clone()));
        needs
            .secrets
            .extend(credentials.oauth2.iter().map(|oauth2| oauth2.client_secret_ref.clone()));
    }
    needs.secrets.extend(spec.headers.iter().filter_map(|header| header.value_ref.clone()));
    if let Some(ca) = &spec.ca {
        needs.secrets.extend(ca.secret_ref.clone());
        needs.config_maps.extend(ca.config_map_ref.clone());
    }
    needs
}

impl ResolvedEndpoint {
    /// An address that stands in a template itself: without credentials.
    ///
    /// # Errors
    /// [`MeasureError::Unusable`] when it is no address.
    pub fn inline(address: &str) -> Result<Self, MeasureError> {
        let base = checked_base_url(address)
            .map_err(|problem| MeasureError::Unusable(format!("the address {problem}")))?;
        Ok(Self {
            base,
            origin: AddressOrigin::Template,
            kind: None,
            organization: None,
            account_id: None,
            auth: Auth::None,
            headers: Vec::new(),
            ca_pem: None,
            timeout_limit: INLINE_TIMEOUT,
            allowed_query_prefix: None,
        })
    }

    /// A `MetricsSource` with everything that was read for it. `is_cluster` is for
    /// `ClusterMetricsSource`, which must permit `namespace`.
    ///
    /// # Errors
    /// [`MeasureError::Unusable`] that names what is wrong or missing.
    pub fn from_source(
        spec: &MetricsSourceSpec,
        is_cluster: bool,
        namespace: &str,
        material: &SourceMaterial,
    ) -> Result<Self, MeasureError> {
        let problems = spec.problems(is_cluster);
        if !problems.is_empty() {
            let list: Vec<String> =
                problems.iter().map(|(field, problem)| format!("{field} {problem}")).collect();
            return Err(MeasureError::Unusable(format!(
                "the source is invalid: {}",
                list.join("; ")
            )));
        }
        if is_cluster && !spec.permits_namespace(namespace) {
            return Err(MeasureError::Unusable(format!(
                "the source does not list the namespace {namespace:?} in allowedNamespaces"
            )));
        }
        let base = checked_base_url(&spec.address)
            .map_err(|problem| MeasureError::Unusable(format!("spec.address {problem}")))?;
        let headers = spec
            .headers
            .iter()
            .map(|header| match &header.value_ref {
                Some(key) => named_header(&header.name, material.secret(key)?.expose(), true),
                None => named_header(&header.name, header.value.as_deref().unwrap_or(""), false),
            })
            .collect::<Result<_, _>>()?;
        let ca = spec.ca.as_ref();
        let ca_pem = match ca.map(|ca| (&ca.pem, &ca.config_map_ref, &ca.secret_ref)) {
            Some((Some(pem), _, _)) => Some(pem.clone()),
            Some((None, Some(key), _)) => Some(material.config_map(key)?.clone()),
            Some((None, None, Some(key))) => Some(material.secret(key)?.expose().clone()),
            Some((None, None, None)) | None => None,
        };
        Ok(Self {
            base,
            origin: AddressOrigin::Source,
            kind: Some(spec.kind()),
            organization: spec.organization.clone(),
            account_id: spec.account_id,
            auth: auth(spec.credentials.as_ref(), material)?,
            headers,
            ca_pem,
            timeout_limit: timeout_limit(spec.timeout.as_ref()),
            allowed_query_prefix: spec.allowed_query_prefix.clone(),
        })
    }

    /// The same endpoint with further headers.
    ///
    /// # Errors
    /// [`MeasureError::Unusable`] for what is no header.
    pub fn with_headers(mut self, headers: &[Header]) -> Result<Self, MeasureError> {
        for header in headers {
            self.headers.push(named_header(&header.key, &header.value, false)?);
        }
        Ok(self)
    }

    /// `host:port`, by which concurrent requests are limited.
    pub fn lane(&self) -> String {
        let host = self.base.host_str().unwrap_or("");
        format!("{host}:{}", self.base.port_or_known_default().unwrap_or(0))
    }
}

fn named_header(
    name: &str,
    value: &str,
    is_secret: bool,
) -> Result<(HeaderName, HeaderValue), MeasureError> {
    let bad = || MeasureError::Unusable(format!("the header {name:?} cannot be sent"));
    let parsed = HeaderName::try_from(name).map_err(|_| bad())?;
    let mut value =
        HeaderValue::try_from(value.trim_end_matches(['\r', '\n'])).map_err(|_| bad())?;
    value.set_sensitive(is_secret);
    Ok((parsed, value))
}

fn auth(
    credentials: Option<&Credentials>,
    material: &SourceMaterial,
) -> Result<Auth, MeasureError> {
    let Some(credentials) = credentials else {
        return Ok(Auth::None);
    };
    // Secrets are often written with a line break at their end, which no server expects.
    let read = |key| {
        let text = material.secret(key)?.expose();
        Ok::<_, MeasureError>(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    };
    if let Some(basic) = &credentials.basic {
        Ok(Auth::Basic {
            username: read(&basic.username_ref)?,
            password: read(&basic.password_ref)?,
        })
    } else if let Some(aws) = &credentials.aws {
        Ok(Auth::Aws(Box::new(AwsKey {
            access_key_id: read(&aws.access_key_id_ref)?,
            secret_access_key: read(&aws.secret_access_key_ref)?,
            session_token: aws.session_token_ref.as_ref().map(read).transpose()?,
            region: aws.region.clone(),
            service: AWS_SERVICE.to_owned(),
        })))
    } else if let Some(bearer) = &credentials.bearer {
        Ok(Auth::Bearer(read(&bearer.token_ref)?))
    } else if let Some(oauth2) = &credentials.oauth2 {
        let token_url = checked_base_url(&oauth2.token_url).map_err(MeasureError::Unusable)?;
        Ok(Auth::OAuth2 {
            token_url,
            client_id: oauth2.client_id.clone(),
            client_secret: read(&oauth2.client_secret_ref)?,
            scopes: oauth2.scopes.clone(),
        })
    } else {
        Ok(Auth::None)
    }
}

fn timeout_limit(given: Option<&IntOrString>) -> Duration {
    given
        .and_then(|given| given.as_duration().ok())
        .and_then(|limit| limit.to_std().ok())
        .unwrap_or(DEFAULT_TIMEOUT)
}
