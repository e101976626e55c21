//! What every traffic provider is: a lens through which a [`Split`] is read out of a route object
//! and written into it. A lens sees JSON values and gives back JSON values; it never talks to a
//! cluster, never retries and never touches a field that carries no weight.
//!
//! Sources: the lens laws are those of Foster et al., "Combinators for bidirectional tree
//! transformations" (TOPLAS 2007), as adapted in `tests/traffic_laws.rs`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::weight::Split;

/// One route object that carries (part of) a Rollout's traffic.
///
/// The laws, for an object `o` that can be read, and splits of one total:
/// - `read(write(o, s)) = s`;
/// - `write(o, read(o)) = o`, so nothing is patched when nothing changes;
/// - `write(write(o, a), b)` gives every backend the same share as `write(o, b)`, and is equal to
///   it when the weights of `o` are already in parts of the total;
/// - `write` changes only paths for which [`RouteLens::is_weight_path`] holds;
/// - no method panics, whatever the JSON.
pub trait RouteLens: fmt::Debug + Send + Sync {
    /// The object whose weights are read and written, in the Rollout's namespace.
    fn route(&self) -> RouteRef;

    /// The *actual weight* in `live`: the share of the traffic for these two Services that goes to
    /// the canary. In parts of [`Backends::total`] where that is exact, else in the object's own.
    ///
    /// # Errors
    /// [`ReadError`] when the object does not say one share; see [`ReadError::canary_at_most`].
    fn read(&self, live: &Value, to: &Backends) -> Result<Split, ReadError>;

    /// `live` with the *desired weight* in it. All else is as it was, byte for byte.
    ///
    /// # Errors
    /// [`WriteError`] when the object cannot carry this split.
    fn write(&self, live: &Value, to: &Backends, split: Split) -> Result<Value, WriteError>;

    /// Whether those who serve this route say, in `live` itself, that they accepted it as it is
    /// now. This is more than the object having been stored, and less than a proxy having
    /// loaded it.
    fn acceptance(&self, live: &Value, to: &Backends) -> Acceptance;

    /// Whether a write may change the value at this JSON pointer (RFC 6901).
    fn is_weight_path(&self, pointer: &str) -> bool;

    /// How the object is made, when it is ours and not the user's.
    fn derivation(&self) -> Option<&dyn Derivation> {
        None
    }
}

/// An object that we make from one of the user's and own from then on.
pub trait Derivation {
    /// The user's object from which ours is made. It is only read.
    fn source(&self) -> RouteRef;

    /// Our object as it must be now, with its weight as in `live`, or 0 when there is no `live`.
    /// Annotations, labels and fields that others added to `live` are kept.
    ///
    /// # Errors
    /// [`WriteError`] when `source` sends no traffic to the stable Service, or `live` belongs to
    /// someone else.
    fn derive(
        &self,
        source: &Value,
        live: Option<&Value>,
        to: &Backends,
    ) -> Result<Value, WriteError>;
}

/// The two Services between which traffic is divided, and the Rollout that divides it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backends {
    /// Namespace of the Rollout, of both Services and of every route.
    pub namespace: String,
    /// `stableService`.
    pub stable_service: String,
    /// `canaryService`.
    pub canary_service: String,
    /// `maxTrafficWeight`: the number of parts in all, `1..=`[`crate::weight::MAX_TOTAL`].
    pub total: u32,
    /// The Rollout: the owner of derived objects.
    pub rollout: OwnerRef,
}

/// Who owns the objects that we derive, as in `metadata.ownerReferences`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerRef {
    /// Group and version, `sluice.dev/v1alpha1` unless configured otherwise.
    pub api_version: String,
    /// Kind, `Rollout`.
    pub kind: String,
    /// Name of the Rollout.
    pub name: String,
    /// `metadata.uid` of the Rollout.
    pub uid: String,
}

/// Which object, in the Rollout's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRef {
    /// Group and version, for example `gateway.networking.k8s.io/v1`.
    pub api_version: String,
    /// Kind, for example `HTTPRoute`.
    pub kind: String,
    /// Resource name in the API's paths, for example `httproutes`.
    pub plural: String,
    /// `metadata.name`.
    pub name: String,
}

impl RouteRef {
    /// A reference from its four parts.
    pub fn new(api_version: &str, kind: &str, plural: &str, name: impl Into<String>) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            name: name.into(),
        }
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The version within the group.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(self.api_version.as_str(), |(_, version)| version)
    }
}

impl fmt::Display for RouteRef {
    /// As in messages: HTTPRoute `shop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// What those who serve a route say about its present form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Acceptance {
    /// Everyone who has to has accepted the route at its present generation.
    Confirmed,
    /// Someone has not answered yet, or answered for an older generation.
    Waiting {
        /// Who has to do what, as a noun phrase: "Gateway `web` to accept HTTPRoute `shop`".
        what: String,
    },
    /// Someone refuses the route as it is now. This may still be cured without a new write.
    Refused {
        /// Who refuses what and why, as a sentence without full stop.
        what: String,
    },
}

impl Acceptance {
    /// What is awaited or refused; `None` when nothing is.
    pub fn what(&self) -> Option<&str> {
        match self {
            Self::Confirmed => None,
            Self::Waiting { what } | Self::Refused { what } => Some(what),
        }
    }
}

/// Why no single share can be read out of a route object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The object does not exist.
    #[error("{route} does not exist in namespace `{namespace}`")]
    NotFound {
        /// The object that is missing.
        route: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// No rule has the name that the Rollout gives.
    #[error("{route} has no rule named `{rule}`; its named rules are: {names}")]
    NoSuchRule {
        /// The object.
        route: String,
        /// The name in the Rollout.
        rule: String,
        /// The names that exist, joined by commas, or `none`.
        names: String,
    },
    /// One of the two Services is missing where the other is.
    #[error(
        "{route}: {rule} sends traffic to Service `{present}` but not to `{missing}`: add a \
             backendRef for `{missing}` to it, with weight 0 if it is to take no traffic yet"
    )]
    MissingBackend {
        /// The object.
        route: String,
        /// The rule that has only one of them.
        rule: String,
        /// The Service that is there.
        present: String,
        /// The Service that is not.
        missing: String,
        /// Whether any rule of the object names the canary Service with a weight above 0.
        is_canary_reachable: bool,
    },
    /// No rule names either Service.
    #[error(
        "{route}: found neither Service `{stable}` nor `{canary}` in {place}: \
         one rule must carry both"
    )]
    NoBackends {
        /// The object.
        route: String,
        /// Where they were looked for: `any rule`, or the named one.
        place: String,
        /// The stable Service.
        stable: String,
        /// The canary Service.
        canary: String,
        /// Whether any rule of the object names the canary Service with a weight above 0.
        is_canary_reachable: bool,
    },
    /// A rule names the same Service twice, so that its weight is no single field.
    #[error("{route}: {rule} names Service `{service}` more than once: keep one backendRef for it")]
    Duplicate {
        /// The object.
        route: String,
        /// The rule.
        rule: String,
        /// The Service that is named twice.
        service: String,
    },
    /// A field is not what its API says it is.
    #[error("{route}: {field} is {found}, expected {expected}")]
    Malformed {
        /// The object.
        route: String,
        /// Path of the field, as users write it: `spec.rules[0].backendRefs[1].weight`.
        field: String,
        /// What is there, shortened.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Stable and the canary have weight 0, so there is no share to speak of.
    #[error(
        "{route}: {rule} gives weight 0 to both Service `{stable}` and Service `{canary}`: \
             give the stable one a weight above 0"
    )]
    NoTraffic {
        /// The object.
        route: String,
        /// The rule.
        rule: String,
        /// The stable Service.
        stable: String,
        /// The canary Service.
        canary: String,
        /// The canary's largest share in the other rules.
        highest_elsewhere: Split,
    },
    /// The rules that carry both Services give the canary different shares.
    #[error("the rules of {route} give the canary different shares, from {lowest} to {highest}")]
    Disagree {
        /// The object.
        route: String,
        /// The largest share of the canary.
        highest: Split,
        /// The smallest share of the canary.
        lowest: Split,
    },
}

impl ReadError {
    /// The largest share that the canary can have through this object, when that much is known in
    /// spite of the error, in parts of `total`. `None` means that it may be anything: capacity
    /// must then be kept for every weight that was ever written (safety rule S3).
    pub fn canary_at_most(&self, total: u32) -> Option<Split> {
        match self {
            Self::NotFound { .. } => Some(Split::all_stable(total)),
            Self::Disagree { highest, .. } => Some(*highest),
            Self::NoTraffic { highest_elsewhere, .. } => Some(*highest_elsewhere),
            Self::MissingBackend { is_canary_reachable, .. }
            | Self::NoBackends { is_canary_reachable, .. } => {
                (!is_canary_reachable).then(|| Split::all_stable(total))
            }
            Self::NoSuchRule { .. } | Self::Duplicate { .. } | Self::Malformed { .. } => None,
        }
    }
}

/// Why a split cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The object cannot even be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// Exact weights would leave the range of the API.
    #[error(
        "{route}: {rule} cannot carry {split} exactly beside its other backends: their \
             weights would exceed 1000000; use smaller or rounder weights for the other backends"
    )]
    TooFine {
        /// The object.
        route: String,
        /// The rule.
        rule: String,
        /// The split that was asked for.
        split: Split,
    },
    /// Someone else controls the object.
    #[error("{route} is not this Rollout's: {owner}; rename or remove one of the two")]
    NotOurs {
        /// The object.
        route: String,
        /// Who controls it: "it is controlled by Deployment `web`" or "it has no owner".
        owner: String,
    },
    /// The object from which ours is made sends nothing to the stable Service.
    #[error("{route} has no rule that points at Service `{service}`")]
    NoSourceRule {
        /// The user's object.
        route: String,
        /// The stable Service.
        service: String,
    },
    /// A write could not be guarded.
    #[error("{route} cannot be patched safely")]
    Unguarded {
        /// The object.
        route: String,
        /// What it lacks.
        #[source]
        source: super::patch::Unguarded,
    },
}
