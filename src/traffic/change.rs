//! From what was seen of a route and a desired split to the one write that is needed: the generic
//! half of every provider. It is pure: the caller has read the objects and sends the result.

use std::fmt;

use json_patch::Patch;
use serde_json::Value;

use super::lens::{Backends, Derivation, ReadError, RouteLens, WriteError};
use super::patch::guarded_patch;
use crate::weight::Split;

/// What was read for one lens just now. `None` means that the API server said "not found"; a read
/// that failed is no `RouteObjects` at all.
#[derive(Clone, Copy, Debug)]
pub struct RouteObjects<'a> {
    /// The object of [`RouteLens::route`].
    pub live: Option<&'a Value>,
    /// The object of [`Derivation::source`]; not looked at when the lens has none.
    pub source: Option<&'a Value>,
}

/// The write that brings a route to a desired split.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The object is already as it must be.
    Nothing,
    /// The object does not exist: POST this one.
    Create(Value),
    /// Send this patch; it fails unless the object is exactly the one that was read.
    Patch(Patch),
}

/// The *actual weight* of a route. A derived object that does not exist carries no traffic.
///
/// # Errors
/// As [`RouteLens::read`], and [`ReadError::NotFound`] for the user's own route.
pub fn read_route(
    lens: &dyn RouteLens,
    live: Option<&Value>,
    to: &Backends,
) -> Result<Split, ReadError> {
    match live {
        Some(live) => lens.read(live, to),
        None if lens.derivation().is_some() => Ok(Split::all_stable(to.total)),
        None => Err(ReadError::NotFound {
            route: lens.route().to_string(),
            namespace: to.namespace.clone(),
        }),
    }
}

/// The write that brings the route of `lens` to `split`.
///
/// Taking all traffic from the canary needs less than anything else: a derived object's weight is
/// lowered even when its source is gone or no longer fits.
///
/// # Errors
/// [`WriteError`]; nothing may be written then.
pub fn change_to(
    lens: &dyn RouteLens,
    seen: RouteObjects<'_>,
    to: &Backends,
    split: Split,
) -> Result<Change, WriteError> {
    if let Some(live) = seen.live {
        refuse_foreign(lens, live, to)?;
    }
    match (lens.derivation(), seen.live) {
        (None, None) => Err(WriteError::Unreadable(ReadError::NotFound {
            route: lens.route().to_string(),
            namespace: to.namespace.clone(),
        })),
        (None, Some(live)) => patch(lens, live, &lens.write(live, to, split)?),
        (Some(derivation), live) => derived(lens, derivation, live, seen.source, to, split),
    }
}

fn derived(
    lens: &dyn RouteLens,
    derivation: &dyn Derivation,
    live: Option<&Value>,
    source: Option<&Value>,
    to: &Backends,
    split: Split,
) -> Result<Change, WriteError> {
    let base = source
        .ok_or_else(|| {
            let namespace = to.namespace.clone();
            WriteError::Unreadable(ReadError::NotFound {
                route: derivation.source().to_string(),
                namespace,
            })
        })
        .and_then(|source| derivation.derive(source, live, to));
    match (base, live) {
        (Ok(base), Some(live)) => patch(lens, live, &lens.write(&base, to, split)?),
        (Ok(base), None) => Ok(Change::Create(lens.write(&base, to, split)?)),
        (Err(WriteError::NotOurs { route, owner }), _) => Err(WriteError::NotOurs { route, owner }),
        (Err(_), Some(live)) if split.is_all_stable() => {
            patch(lens, live, &lens.write(live, to, split)?)
        }
        (Err(_), None) if split.is_all_stable() => Ok(Change::Nothing),
        (Err(problem), _) => Err(problem),
    }
}

fn patch(lens: &dyn RouteLens, live: &Value, desired: &Value) -> Result<Change, WriteError> {
    match guarded_patch(live, desired) {
        Ok(None) => Ok(Change::Nothing),
        Ok(Some(patch)) => Ok(Change::Patch(patch)),
        Err(source) => Err(WriteError::Unguarded { route: lens.route().to_string(), source }),
    }
}

/// A route that another controller manages would be written back by it: it is never taken.
fn refuse_foreign(lens: &dyn RouteLens, live: &Value, to: &Backends) -> Result<(), WriteError> {
    match controller_of(live) {
        Some(owner) if owner.uid != to.rollout.uid => Err(WriteError::NotOurs {
            route: lens.route().to_string(),
            owner: format!("it is controlled by {owner}"),
        }),
        _ => Ok(()),
    }
}

/// The owner that controls an object.
pub(super) struct Controller<'a> {
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
}

impl Controller<'_> {
    /// `metadata.uid` of the owner; empty when it is missing.
    pub(super) fn uid(&self) -> &str {
        self.uid
    }
}

impl fmt::Display for Controller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// The entry of `metadata.ownerReferences` with `controller: true`.
pub(super) fn controller_of(live: &Value) -> Option<Controller<'_>> {
    let owners = live.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?;
    let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or("");
    Some(Controller { kind: text("kind"), name: text("name"), uid: text("uid") })
}
