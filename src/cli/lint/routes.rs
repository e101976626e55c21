//! Whether the routes that a Rollout names carry its two Services, as its own lenses read them. Pure.

use super::object::Manifest;
use super::set::{RolloutOf, Set, routing};
use crate::api::ApiNames;
use crate::plan::validate::ValidRouting;
use crate::traffic::{Backends, OwnerRef, read_route};

const FIELD: &str = "spec.strategy.canary.trafficRouting";

/// Checks every route of the Rollout that is in the files.
pub(super) fn check(set: &mut Set<'_>, rollout: &RolloutOf<'_>) {
    let Some(routing) = routing(rollout) else { return };
    // A configuration that is wrong on its own is told there, and gives no lenses.
    if !routing.providers.problems().is_empty() {
        return;
    }
    let manifest = rollout.manifest;
    let to = backends(set.names(), manifest, &routing);
    for lens in routing.providers.lenses(&to) {
        let (reference, is_derived) = match lens.derivation() {
            Some(derivation) => (derivation.source(), true),
            None => (lens.route(), false),
        };
        let at = (manifest.node.line_of_text_below(FIELD, &reference.name), FIELD);
        let group = reference.group().to_owned();
        let route = set.find(manifest, at, &group, &reference.kind, &reference.name, false);
        let Some(route) = route else { continue };
        let problem = if is_derived {
            let derivation = lens.derivation();
            derivation.and_then(|derivation| {
                derivation.derive(&route.json, None, &to).err().map(|error| error.to_string())
            })
        } else {
            read_route(lens.as_ref(), Some(&route.json), &to).err().map(|error| error.to_string())
        };
        if let Some(problem) = problem {
            report(set, manifest, route, at.0, &problem);
        }
    }
}

/// What the lenses of a Rollout are made for.
pub(in crate::cli) fn backends(
    names: ApiNames,
    manifest: &Manifest,
    routing: &ValidRouting,
) -> Backends {
    Backends {
        namespace: manifest.namespace.clone(),
        stable_service: routing.stable_service.clone(),
        canary_service: routing.canary_service.clone(),
        total: routing.total,
        rollout: OwnerRef {
            api_version: names.api_version(),
            kind: "Rollout".to_owned(),
            name: manifest.name.clone(),
            uid: "unknown".to_owned(),
        },
    }
}

fn report(set: &mut Set<'_>, rollout: &Manifest, route: &Manifest, line: usize, problem: &str) {
    let mut found = rollout.error(FIELD, format!("{problem} ({})", route.place()));
    found.line = line;
    set.findings.push(found);
}
