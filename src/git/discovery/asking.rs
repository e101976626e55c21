//! What asks a GitOps tool to look at Git now, instead of at its next turn: one annotation on its own
//! objects, as people and the tools' own programs set it. It changes nothing else of them, and asks
//! nobody whom a person suspended.
//!
//! Sources: Argo CD, "Automated Sync Policy" and the annotation `argocd.argoproj.io/refresh`; Flux,
//! "Triggering a reconcile" of `GitRepository`, `Kustomization` and `HelmRelease`.

use super::held_up::is_suspended;
use super::{Found, Limit, ObjectRef, Objects, OwnerKind, Seen};

const REFRESH: &str = "argocd.argoproj.io/refresh";
const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// One annotation that is to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// On which object.
    pub object: ObjectRef,
    /// Its key.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// What is to be set so that the tool looks at Git now, the source before what is applied from it;
/// nothing is left out but what says so already. `token` tells this request apart from others.
///
/// None while a person holds any of the objects, or where none of them confirms that it applies the
/// Rollout.
pub fn asking(found: &Found, objects: &Objects, token: &str) -> Option<Vec<Asking>> {
    let is_believed = |limit: &Limit| !matches!(limit, Limit::NoInventory { .. });
    if !found.limits.iter().all(is_believed) {
        return None;
    }
    let is_of_argo = |object: &ObjectRef| object.kind == OwnerKind::Application;
    let by_argo = is_of_argo(&found.owner);
    let mut chain: Vec<_> = objects
        .iter()
        .filter(|(object, _)| is_of_argo(object) == by_argo)
        .filter(|(object, _)| !by_argo || **object == found.owner)
        .filter_map(|(object, seen)| match seen {
            Seen::Found(value) => Some((object, value)),
            Seen::Absent | Seen::Unknown(_) => None,
        })
        .collect();
    if chain.iter().any(|(object, value)| is_suspended(object.kind, value)) {
        return None;
    }
    chain.sort_by_key(|(object, _)| object.kind.depth());
    let asking = chain.into_iter().filter_map(|(object, value)| {
        let annotations = value.pointer("/metadata/annotations");
        let there = |key: &str| annotations.and_then(|annotations| annotations.get(key)?.as_str());
        let (key, wanted, is_asked) = match object.kind {
            // Argo CD removes it when it begins; `hard` asks for more than we do.
            OwnerKind::Application => (REFRESH, "normal", there(REFRESH).is_some()),
            OwnerKind::Kustomization | OwnerKind::HelmRelease | OwnerKind::GitRepository => {
                (REQUESTED_AT, token, there(REQUESTED_AT) == Some(token))
            }
        };
        (!is_asked).then(|| Asking { object: object.clone(), key, value: wanted.to_owned() })
    });
    Some(asking.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TOKEN: &str = "2026-11-22T08:00:00Z";

    fn reference(kind: OwnerKind) -> ObjectRef {
        ObjectRef::new(kind, "tools", "web")
    }

    fn asked(owner: OwnerKind, objects: &[(OwnerKind, Value)]) -> Option<Vec<(OwnerKind, String)>> {
        let seen = |value: &Value| Seen::Found(Box::new(value.clone()));
        let objects = objects.iter().map(|(kind, value)| (reference(*kind), seen(value))).collect();
        let found =
            Found { owner: reference(owner), places: vec![], is_settled: true, limits: vec![] };
        let asking = asking(&found, &objects, TOKEN)?;
        Some(asking.into_iter().map(|one| (one.object.kind, one.value)).collect())
    }

    fn flux(patch: &Value) -> Vec<(OwnerKind, Value)> {
        let kinds = [OwnerKind::HelmRelease, OwnerKind::Kustomization, OwnerKind::GitRepository];
        let mut all: Vec<_> = kinds.map(|kind| (kind, json!({}))).into();
        json_patch::merge(&mut all[1].1, patch);
        all
    }

    #[test]
    fn an_application_alone_is_asked_to_refresh() {
        let objects = [(OwnerKind::Application, json!({})), (OwnerKind::Kustomization, json!({}))];
        let refresh = (OwnerKind::Application, "normal".to_owned());
        assert_eq!(asked(OwnerKind::Application, &objects), Some(vec![refresh]));
        for value in ["normal", "hard"] {
            let there = json!({"metadata": {"annotations": {REFRESH: value}}});
            let objects = [(OwnerKind::Application, there)];
            assert_eq!(asked(OwnerKind::Application, &objects), Some(vec![]));
        }
    }

    #[test]
    fn flux_is_asked_from_the_source_on_and_only_where_it_was_not() {
        let all = |kinds: &[OwnerKind]| {
            Some(kinds.iter().map(|kind| (*kind, TOKEN.to_owned())).collect::<Vec<_>>())
        };
        let [release, kustomization, repository] =
            [OwnerKind::HelmRelease, OwnerKind::Kustomization, OwnerKind::GitRepository];
        assert_eq!(asked(release, &flux(&json!({}))), all(&[repository, kustomization, release]));
        let there = |value: &str| json!({"metadata": {"annotations": {REQUESTED_AT: value}}});
        assert_eq!(asked(kustomization, &flux(&there(TOKEN))), all(&[repository, release]));
        let older = flux(&there("2026-01-01T00:00:00Z"));
        assert_eq!(asked(kustomization, &older), all(&[repository, kustomization, release]));
    }

    #[test]
    fn nobody_is_asked_whom_a_person_suspended() {
        let suspended = flux(&json!({"spec": {"suspend": true}}));
        assert_eq!(asked(OwnerKind::Kustomization, &suspended), None);
        let key = "argocd.argoproj.io/skip-reconcile";
        let skipped = json!({"metadata": {"annotations": {key: "true"}}});
        assert_eq!(asked(OwnerKind::Application, &[(OwnerKind::Application, skipped)]), None);
    }

    #[test]
    fn who_does_not_confirm_the_rollout_is_not_asked() {
        let owner = reference(OwnerKind::HelmRelease);
        let seen = Seen::Found(Box::new(json!({})));
        let objects = Objects::from([(owner.clone(), seen)]);
        let limits = vec![Limit::NoInventory { owner: owner.clone() }];
        let found = Found { owner, places: vec![], is_settled: true, limits };
        assert_eq!(asking(&found, &objects, TOKEN), None);
    }
}
