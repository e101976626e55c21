//! Flux: from the labels of a Rollout to its Kustomization (or first its HelmRelease), from that to
//! the GitRepository.

use serde_json::Value;

use super::{
    Answer, Found, Limit, ObjectRef, Objects, OwnerKind, Place, Refusal, Subject, Wanted, distinct,
    object,
    read::{Fields, is_set, list, text},
};
use crate::revision::Commit;

const INVENTORY: &str = "status.inventory";

/// One object as an inventory names it.
struct Entry<'a> {
    namespace: &'a str,
    name: &'a str,
    group: &'a str,
    kind: &'a str,
}

impl Entry<'_> {
    fn is_in(&self, owner: &Value) -> bool {
        let Self { namespace, name, group, kind } = self;
        let id = format!("{namespace}_{name}_{group}_{kind}");
        let entries = list(owner, "/status/inventory/entries");
        entries.iter().any(|entry| text(entry, "/id") == Some(&id))
    }
}

pub(super) fn search(subject: &Subject<'_>, objects: &Objects) -> Result<Answer, Wanted> {
    let entry = Entry {
        namespace: subject.namespace,
        name: subject.name,
        group: subject.group,
        kind: "Rollout",
    };
    let label = |key: &str| subject.labels.get(key).map(String::as_str);
    if let Some(owner) = pointer(OwnerKind::Kustomization, label) {
        return from_kustomization(owner, &entry, Vec::new(), objects);
    }
    match pointer(OwnerKind::HelmRelease, label) {
        Some(release) => from_release(subject, release, &entry, objects),
        None => Ok(Err(Refusal::NoPointer)),
    }
}

fn pointer<'l>(kind: OwnerKind, label: impl Fn(&str) -> Option<&'l str>) -> Option<ObjectRef> {
    let name = label(&format!("{}/name", kind.group()))?;
    let namespace = label(&format!("{}/namespace", kind.group()))?;
    Some(ObjectRef::new(kind, namespace, name))
}

fn from_release(
    subject: &Subject<'_>,
    owner: ObjectRef,
    entry: &Entry<'_>,
    objects: &Objects,
) -> Result<Answer, Wanted> {
    let release = match object(&owner, objects)? {
        Ok(release) => release,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut limits = Vec::new();
    if is_set(release, "/status/inventory") {
        if !entry.is_in(release) {
            return Ok(Err(Refusal::NotListed { owner, field: INVENTORY }));
        }
    } else if is_of_helm_release(subject, &owner, release) {
        // Flux before 2.8 keeps no inventory of a release.
        limits.push(Limit::NoInventory { owner: owner.clone() });
    } else {
        return Ok(Err(Refusal::NotListed { owner, field: INVENTORY }));
    }
    if is_set(release, "/spec/valuesFrom") {
        let field = "spec.valuesFrom".to_owned();
        limits.push(Limit::Overridden { owner: owner.clone(), field });
    }
    let label = |key: &str| release.pointer("/metadata/labels")?.get(key)?.as_str();
    let Some(kustomization) = pointer(OwnerKind::Kustomization, label) else {
        return Ok(Err(Refusal::Missing {
            owner,
            field: "labels of a Kustomization: nothing says which Git declares it",
        }));
    };
    let entry = Entry {
        namespace: &owner.namespace,
        name: &owner.name,
        group: OwnerKind::HelmRelease.group(),
        kind: OwnerKind::HelmRelease.as_str(),
    };
    from_kustomization(kustomization, &entry, limits, objects)
}

/// Helm's own marks on the Rollout name this release.
fn is_of_helm_release(subject: &Subject<'_>, owner: &ObjectRef, release: &Value) -> bool {
    let target = text(release, "/spec/targetNamespace");
    let usual = match target {
        Some(target) => format!("{target}-{}", owner.name),
        None => owner.name.clone(),
    };
    let name = text(release, "/spec/releaseName").unwrap_or(&usual);
    let namespace = text(release, "/spec/storageNamespace").unwrap_or(&owner.namespace);
    let places = [Some(namespace), target, Some(owner.namespace.as_str())];
    let mark = |key: &str| subject.annotations.get(key).map(String::as_str);
    let in_namespace = mark("meta.helm.sh/release-namespace");
    mark("meta.helm.sh/release-name") == Some(name)
        && in_namespace.is_some()
        && places.contains(&in_namespace)
}

fn from_kustomization(
    owner: ObjectRef,
    entry: &Entry<'_>,
    mut limits: Vec<Limit>,
    objects: &Objects,
) -> Result<Answer, Wanted> {
    let kustomization = match object(&owner, objects)? {
        Ok(kustomization) => kustomization,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if !entry.is_in(kustomization) {
        return Ok(Err(Refusal::NotListed { owner, field: INVENTORY }));
    }
    if is_set(kustomization, "/spec/kubeConfig") {
        let cluster = "of spec.kubeConfig".to_owned();
        return Ok(Err(Refusal::OtherCluster { owner, cluster }));
    }
    if is_set(kustomization, "/spec/images") && entry.kind == "Rollout" {
        let field = "spec.images".to_owned();
        return Ok(Err(Refusal::InOwner { owner, field }));
    }
    let kind = text(kustomization, "/spec/sourceRef/kind").unwrap_or_default();
    let Some(name) = text(kustomization, "/spec/sourceRef/name") else {
        return Ok(Err(Refusal::Missing { owner, field: "spec.sourceRef.name" }));
    };
    if kind != "GitRepository" {
        let origin = text(kustomization, "/status/lastAppliedOriginRevision").map(str::to_owned);
        let kind = format!("{kind} {name}");
        return Ok(Err(Refusal::NotGit { owner, kind, origin }));
    }
    let namespace = text(kustomization, "/spec/sourceRef/namespace").unwrap_or(&owner.namespace);
    let reference = ObjectRef::new(OwnerKind::GitRepository, namespace, name);
    let repository = match object(&reference, objects)? {
        Ok(repository) => repository,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if is_set(repository, "/spec/include") {
        limits.push(Limit::Includes { owner: reference.clone() });
    }
    let place = match place(&owner, kustomization, &reference, repository) {
        Ok(place) => place,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let is_settled = is_settled(kustomization);
    Ok(Ok(Found { owner, places: vec![place], is_settled, limits }))
}

fn place(
    owner: &ObjectRef,
    kustomization: &Value,
    reference: &ObjectRef,
    repository: &Value,
) -> Result<Place, Refusal> {
    let fields = Fields { owner: reference };
    let url = fields.url("spec.url", text(repository, "/spec/url"))?;
    let branch = fields.branch(Some(followed(repository, reference)?), None)?;
    let path = Fields { owner }.path("spec.path", text(kustomization, "/spec/path"))?;
    let at = |pointer: &str| commit_of(text(kustomization, pointer)?);
    let commits =
        distinct([at("/status/lastAttemptedRevision"), at("/status/lastAppliedRevision")]);
    Ok(Place { url, branch, path, file: None, commits })
}

/// The branch that a GitRepository follows. Its fields override each other in this order.
fn followed<'r>(repository: &'r Value, reference: &ObjectRef) -> Result<&'r str, Refusal> {
    let at = |field: &str| text(repository, &format!("/spec/ref/{field}"));
    let fixed = |field: &str, revision: &str| Refusal::FixedRevision {
        owner: reference.clone(),
        revision: format!("{field} {revision}"),
        by: None,
    };
    if let Some(commit) = at("commit") {
        return Err(fixed("commit", commit));
    }
    if let Some(name) = at("name") {
        return Ok(name);
    }
    for field in ["semver", "tag"] {
        if let Some(revision) = at(field) {
            return Err(fixed(field, revision));
        }
    }
    Ok(at("branch").unwrap_or("master"))
}

/// The commit of an artifact's revision: `branch@sha1:<hex>`, `sha1:<hex>`, or the older
/// `branch/<hex>`. A branch may hold `/` and `@`.
pub(super) fn commit_of(revision: &str) -> Option<Commit> {
    let last = revision.rsplit_once('@').map_or(revision, |(_, digest)| digest);
    if let Some((algorithm, digest)) = last.split_once(':') {
        // A sha256 after a tag is an OCI digest; after a branch of a repository, its commit.
        return matches!(algorithm, "sha1" | "sha256").then(|| Commit::parse(digest).ok())?;
    }
    Commit::parse(last.rsplit_once('/').map_or(last, |(_, digest)| digest)).ok()
}

/// Whether nothing is being applied, and the newest spec was.
fn is_settled(kustomization: &Value) -> bool {
    let observed = kustomization.pointer("/status/observedGeneration");
    let is_current = observed == kustomization.pointer("/metadata/generation");
    let is_reconciling = list(kustomization, "/status/conditions").iter().any(|condition| {
        text(condition, "/type") == Some("Reconciling")
            && text(condition, "/status") == Some("True")
    });
    is_current && !is_reconciling
}
