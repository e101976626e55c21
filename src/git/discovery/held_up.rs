//! Why a GitOps tool has not applied a commit yet, in words, from its own objects. It names no cause that they do not
//! show.

use serde_json::Value;

use super::flux::commit_of;
use super::read::{is_set, list, text};
use super::{Found, Objects, OwnerKind, Seen};
use crate::revision::Commit;

/// Most characters of a revision that is no commit.
const MAX_REVISION: usize = 40;
/// Argo CD leaves an Application alone that has it.
const SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";
/// Most characters that are taken from a message of a tool.
const MAX_QUOTED: usize = 160;

/// What holds up `commit` at the tool that applies the Rollout; none when nothing says that anything does.
pub fn held_up(found: &Found, objects: &Objects, commit: &Commit) -> Option<String> {
    let mut chain = vec![&found.owner];
    // What feeds it comes first: a Kustomization cannot apply what its repository has not fetched.
    let feeders = objects.keys().filter(|object| object.kind != OwnerKind::Application);
    chain.extend(feeders.filter(|object| **object != found.owner));
    chain.sort_by_key(|object| object.kind.depth());
    chain.into_iter().find_map(|object| {
        let Some(Seen::Found(value)) = objects.get(object) else { return None };
        let reason = match object.kind {
            OwnerKind::Application => of_application(value, commit),
            OwnerKind::GitRepository => of_repository(value, commit),
            OwnerKind::Kustomization => of_kustomization(value, commit),
            OwnerKind::HelmRelease => of_flux(value),
        };
        reason.map(|reason| format!("{object} {reason}"))
    })
}

/// Whether a person told the tool to leave the object alone.
pub(super) fn is_suspended(kind: OwnerKind, object: &Value) -> bool {
    match kind {
        OwnerKind::Application => {
            let annotations = object.pointer("/metadata/annotations");
            let skip = annotations.and_then(|all| all.get(SKIP_RECONCILE)?.as_str());
            skip.is_some_and(|skip| skip.eq_ignore_ascii_case("true"))
        }
        OwnerKind::Kustomization | OwnerKind::HelmRelease | OwnerKind::GitRepository => {
            is_set(object, "/spec/suspend")
        }
    }
}

fn of_application(application: &Value, commit: &Commit) -> Option<String> {
    if is_suspended(OwnerKind::Application, application) {
        return Some(format!("is left alone, as its annotation {SKIP_RECONCILE} wants it"));
    }
    let conditions = list(application, "/status/conditions");
    let error = conditions.iter().find(|one| text(one, "/type").is_some_and(is_error));
    if let Some(error) = error {
        let kind = text(error, "/type").unwrap_or_default();
        return Some(format!("reports {kind}: {}", quoted(text(error, "/message"))));
    }
    let operation = "/status/operationState";
    let field = |name: &str| text(application, &format!("{operation}/{name}"));
    let synced = all_revisions(application, &format!("{operation}/syncResult"));
    let is_ours = synced.iter().any(|revision| *revision == commit.as_str());
    match field("phase") {
        Some(phase @ ("Running" | "Terminating")) if !is_ours => {
            let at = synced.first().map_or_else(String::new, |one| format!(" of {}", short(one)));
            let message = quoted(field("message"));
            return Some(format!("has an older sync{at} under way ({phase}: {message})"));
        }
        Some("Failed" | "Error") if is_ours => {
            return Some(format!("failed to sync the commit: {}", quoted(field("message"))));
        }
        _ => {}
    }
    let automated = application.pointer("/spec/syncPolicy/automated").filter(|one| !one.is_null());
    let is_switched_off = |one: &Value| one.get("enabled") == Some(&Value::Bool(false));
    if automated.is_none_or(is_switched_off) && !is_ours {
        return Some("does not sync by itself: a person has to sync it".to_owned());
    }
    let compared = all_revisions(application, "/status/sync");
    let shown = compared.first().filter(|_| !compared.contains(&commit.as_str()));
    shown.map(|shown| format!("has not seen the commit yet (it compares with {})", short(shown)))
}

fn is_error(kind: &str) -> bool {
    kind.ends_with("Error")
}

/// The revisions of one or several sources.
fn all_revisions<'v>(value: &'v Value, place: &str) -> Vec<&'v str> {
    let several = list(value, &format!("{place}/revisions")).iter().filter_map(Value::as_str);
    several.chain(text(value, &format!("{place}/revision"))).collect()
}

fn of_repository(repository: &Value, commit: &Commit) -> Option<String> {
    of_flux(repository).or_else(|| {
        let fetched = text(repository, "/status/artifact/revision")?;
        (commit_of(fetched).as_ref() != Some(commit))
            .then(|| format!("has not fetched the commit yet (it has {})", short(fetched)))
    })
}

fn of_kustomization(kustomization: &Value, commit: &Commit) -> Option<String> {
    let attempted = text(kustomization, "/status/lastAttemptedRevision");
    let others = attempted.filter(|attempted| commit_of(attempted).as_ref() != Some(commit));
    of_flux(kustomization).or_else(|| {
        let other = short(others?);
        let ready = condition(kustomization, "Ready")?;
        if text(ready, "/status") == Some("Unknown") {
            let message = quoted(text(ready, "/message"));
            return Some(format!("is still busy with {other}: {message}"));
        }
        Some(format!("has not tried the commit yet (it tried {other} last)"))
    })
}

/// What every object of Flux may say.
fn of_flux(object: &Value) -> Option<String> {
    if is_suspended(OwnerKind::GitRepository, object) {
        return Some("is suspended".to_owned());
    }
    let ready = condition(object, "Ready")?;
    (text(ready, "/status") == Some("False"))
        .then(|| format!("is not ready: {}", quoted(text(ready, "/message"))))
}

fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = list(object, "/status/conditions");
    conditions.iter().find(|one| text(one, "/type") == Some(kind))
}

/// A revision as it is told: its commit, or the beginning of what else it is.
fn short(revision: &str) -> String {
    match commit_of(revision) {
        Some(commit) => commit.short().to_owned(),
        None => revision.chars().filter(|c| !c.is_control()).take(MAX_REVISION).collect(),
    }
}

/// Somebody else's words, on one line and not longer than they are worth.
fn quoted(message: Option<&str>) -> String {
    let words = message.unwrap_or("no message").split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|c| !c.is_control()).take(MAX_QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ObjectRef;
    use super::*;

    fn commit(digit: char) -> Commit {
        Commit::parse(&digit.to_string().repeat(40)).unwrap()
    }

    fn said(kind: OwnerKind, value: &Value) -> Option<String> {
        let owner = ObjectRef::new(kind, "tools", "web");
        let objects = Objects::from([(owner.clone(), Seen::Found(Box::new(value.clone())))]);
        let found = Found { owner, places: vec![], is_settled: true, limits: vec![] };
        held_up(&found, &objects, &commit('c'))
    }

    fn application(status: &Value) -> Value {
        json!({"spec": {"syncPolicy": {"automated": {"prune": true}}}, "status": status})
    }

    #[test]
    fn an_application_that_compares_with_the_commit_holds_up_nothing() {
        let status = json!({"sync": {"revision": commit('c').as_str(), "status": "OutOfSync"}});
        assert_eq!(said(OwnerKind::Application, &application(&status)), None);
        let several = json!({"sync": {"revisions": [commit('a').as_str(), commit('c').as_str()]}});
        assert_eq!(said(OwnerKind::Application, &application(&several)), None);
    }

    #[test]
    fn an_application_says_what_holds_it_up() {
        let old = commit('b');
        for (status, words) in [
            (
                json!({"sync": {"revision": old.as_str()}}),
                "Application tools/web has not seen the commit yet (it compares with bbbbbbbb)",
            ),
            (
                json!({"conditions": [{"type": "ComparisonError", "message": "line one\nline two"}]}),
                "Application tools/web reports ComparisonError: line one line two",
            ),
            (
                json!({"operationState": {
                    "phase": "Running", "message": "waiting for healthy state of Rollout/web",
                    "syncResult": {"revision": old.as_str()},
                }}),
                "Application tools/web has an older sync of bbbbbbbb under way (Running: waiting for \
                 healthy state of Rollout/web)",
            ),
            (
                json!({"operationState": {
                    "phase": "Failed", "message": "denied",
                    "syncResult": {"revision": commit('c').as_str()},
                }}),
                "Application tools/web failed to sync the commit: denied",
            ),
        ] {
            let said = said(OwnerKind::Application, &application(&status));
            assert_eq!(said.as_deref(), Some(words), "{status}");
        }
    }

    #[test]
    fn an_application_without_automatic_sync_waits_for_a_person() {
        let expected = "Application tools/web does not sync by itself: a person has to sync it";
        for policy in [json!({}), json!({"automated": {"enabled": false}})] {
            let value = json!({"spec": {"syncPolicy": policy}, "status": {}});
            assert_eq!(said(OwnerKind::Application, &value).as_deref(), Some(expected));
        }
    }

    #[test]
    fn flux_says_what_holds_it_up() {
        let ready = |status: &str| json!([{"type": "Ready", "status": status, "message": "m"}]);
        let revision = |digit: char| format!("main@sha1:{}", commit(digit).as_str());
        let kustomization = OwnerKind::Kustomization;
        for (kind, value, words) in [
            (kustomization, json!({"spec": {"suspend": true}}), "is suspended"),
            (kustomization, json!({"status": {"conditions": ready("False")}}), "is not ready: m"),
            (
                kustomization,
                json!({"status": {
                    "conditions": ready("Unknown"), "lastAttemptedRevision": revision('b'),
                }}),
                "is still busy with bbbbbbbb: m",
            ),
            (
                kustomization,
                json!({"status": {
                    "conditions": ready("True"), "lastAttemptedRevision": revision('b'),
                }}),
                "has not tried the commit yet (it tried bbbbbbbb last)",
            ),
            (
                OwnerKind::GitRepository,
                json!({"status": {
                    "conditions": ready("True"), "artifact": {"revision": revision('b')},
                }}),
                "has not fetched the commit yet (it has bbbbbbbb)",
            ),
        ] {
            let expected = format!("{} tools/web {words}", kind.as_str());
            assert_eq!(said(kind, &value), Some(expected), "{value}");
        }
        let applied = json!({"status": {
            "conditions": ready("True"), "lastAttemptedRevision": revision('c'),
        }});
        assert_eq!(said(kustomization, &applied), None);
    }
}
