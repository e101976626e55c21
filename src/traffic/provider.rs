//! What a provider says about itself, once, in its own file: its configuration in the CRD, what it
//! can do, the rights it needs, its lenses, and an example that feeds the law tests.

use serde::Serialize;
use serde_json::Value;

use super::lens::{Backends, RouteLens};

/// Longest name of a Kubernetes object, in bytes.
pub(super) const MAX_NAME: usize = 253;

/// The configuration of one provider: the value of its field under `trafficRouting`.
pub trait Provider: Sized {
    /// What its routes can carry.
    const CAPABILITIES: Capabilities;
    /// The rights that the controller needs for it.
    const RULES: &'static [RbacRule];

    /// What is wrong with this configuration, whatever the cluster holds; empty when nothing is.
    /// Field names are relative to the provider's own field.
    fn problems(&self) -> Vec<ConfigError>;

    /// One lens for each route object. Meaningful only without [`Provider::problems`].
    fn lenses(&self, to: &Backends) -> Vec<Box<dyn RouteLens>>;

    /// Configurations with a live object for the first lens of each, made for
    /// [`example_backends`]. At least one; the laws are tested on all.
    fn examples() -> Vec<Example<Self>>;
}

/// A configuration and the objects that belong to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Example<C> {
    /// The provider's configuration.
    pub config: C,
    /// The object of its first lens, with all traffic on stable.
    pub live: Value,
    /// The object from which that is derived, if it is.
    pub source: Option<Value>,
}

/// What the routes of a provider can carry. A step that asks for more is refused by validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Weights: `setWeight`.
    pub weight: bool,
    /// Routes by header: `setHeaderRoute`.
    pub header_route: bool,
    /// Mirrored requests: `setMirrorRoute`.
    pub mirror: bool,
}

impl Capabilities {
    /// What both can carry: several providers of one Rollout must all do what a step asks.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            weight: self.weight && other.weight,
            header_route: self.header_route && other.header_route,
            mirror: self.mirror && other.mirror,
        }
    }
}

/// Rights on resources, as in a `Role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RbacRule {
    /// The API group; empty for the core group.
    pub api_group: &'static str,
    /// Plural resource names.
    pub resources: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
}

/// A field under `trafficRouting` that no change in the cluster can make right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct ConfigError {
    /// Path of the field below `trafficRouting`, for example `nginx.stableIngresses[1]`.
    pub field: String,
    /// What is wrong and what would be right, to be read after the field's name.
    pub problem: String,
}

impl ConfigError {
    pub(super) fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }

    pub(super) fn below(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

/// Refuses what can be no object's name: a DNS subdomain (RFC 1123) is needed.
pub(super) fn check_name(field: &str, name: &str) -> Option<ConfigError> {
    let is_label = |label: &str| {
        let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty()
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = name.len() <= MAX_NAME && name.split('.').all(is_label);
    (!is_name).then(|| {
        let shown: String = name.chars().take(60).collect();
        let rule = "at most 253 lower-case letters, digits, `-` and `.`, beginning and ending \
                    with a letter or digit";
        ConfigError::new(field, format!("is {shown:?}, which cannot be a name: use {rule}"))
    })
}

/// A JSON value for a message, cut to a bounded length.
pub(super) fn shortened(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Null => "missing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let text = value.to_string();
            let cut: String = text.chars().take(LONGEST).collect();
            if cut.len() < text.len() { format!("{cut}...") } else { cut }
        }
    }
}

/// The backends of all [`Provider::examples`].
pub fn example_backends() -> Backends {
    Backends {
        namespace: "default".to_owned(),
        stable_service: "shop-stable".to_owned(),
        canary_service: "shop-canary".to_owned(),
        total: 100,
        rollout: super::lens::OwnerRef {
            api_version: "sluice.dev/v1alpha1".to_owned(),
            kind: "Rollout".to_owned(),
            name: "shop".to_owned(),
            uid: "rollout-uid".to_owned(),
        },
    }
}
