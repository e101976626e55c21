//! Whether a GitOps tool will undo a change of the spec. Pure.

use super::verb::Subject;

/// A warning for whoever changes `field` by hand; none when nobody is known to manage the Rollout.
pub(super) fn note(subject: &Subject, field: &str) -> Vec<String> {
    manager(subject)
        .map(|manager| {
            format!(
                "warning: {manager} manages this Rollout and may put {field} back; change it in \
                 Git to make it stay"
            )
        })
        .into_iter()
        .collect()
}

/// Who applies the Rollout from Git, as its marks tell.
pub(super) fn manager(subject: &Subject) -> Option<&'static str> {
    let metadata = &subject.rollout.metadata;
    let has = |marks: Option<&std::collections::BTreeMap<String, String>>, key: &str| {
        marks.is_some_and(|marks| marks.contains_key(key))
    };
    let annotations = metadata.annotations.as_ref();
    let labels = metadata.labels.as_ref();
    if has(annotations, "argocd.argoproj.io/tracking-id")
        || has(labels, "argocd.argoproj.io/instance")
    {
        return Some("Argo CD");
    }
    if has(labels, "kustomize.toolkit.fluxcd.io/name") || has(labels, "helm.toolkit.fluxcd.io/name")
    {
        return Some("Flux");
    }
    let source = subject.rollout.spec.git_revert.as_ref().and_then(|git| git.source.as_ref());
    source.map(|_| "Git (spec.gitRevert.source)")
}
