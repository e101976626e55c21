//! What a tree declares, as values: the Rollout's own document, and everything else, for
//! comparison. It must never hold a guess: what could not be computed is listed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{super::source::RepoPath, kustomize::ImageRule};

/// Which object is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Accepted API groups: `sluice.dev`, and `argoproj.io` for manifests that moved over.
    pub groups: Vec<String>,
    /// The kind; `Rollout`, or that of the workload that a `workloadRef` names.
    pub kind: String,
    /// The namespace in the cluster.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Identity {
    /// The Rollout `namespace/name` in either API group.
    pub fn rollout(namespace: &str, name: &str) -> Self {
        Self {
            groups: vec!["sluice.dev".to_owned(), "argoproj.io".to_owned()],
            kind: "Rollout".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(super) fn matches(&self, value: &Value) -> Option<Match> {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str);
        let (group, _) = text("/apiVersion")?.split_once('/')?;
        let is_ours = self.groups.iter().any(|accepted| accepted == group)
            && text("/kind")? == self.kind
            && text("/metadata/name")? == self.name;
        if !is_ours {
            return None;
        }
        match text("/metadata/namespace") {
            Some(namespace) => (namespace == self.namespace).then_some(Match::WithNamespace),
            None => Some(Match::WithoutNamespace),
        }
    }
}

/// Whether a document names its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    WithNamespace,
    WithoutNamespace,
}

/// An entry of a kustomization's `images` that was about the Rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageHit {
    /// The kustomization.
    pub file: RepoPath,
    /// Which entry of its `images`, from 0.
    pub index: usize,
    /// The entry.
    pub rule: ImageRule,
}

/// The Rollout's own document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OwnDocument {
    /// The file.
    pub file: RepoPath,
    /// Which document of the file, from 0.
    pub document: usize,
    /// The document as written.
    pub written: Value,
    /// The document as applied, as far as it is modelled.
    pub applied: Value,
}

impl OwnDocument {
    /// The pod template as applied.
    pub(super) fn template(&self) -> &Value {
        self.applied.pointer("/spec/template").unwrap_or(&Value::Null)
    }
}

/// What was found of the Rollout.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Own {
    /// Its one document.
    One(Box<OwnDocument>),
    /// No document; what could not be read might hold it.
    Absent {
        /// Files that could not be read, and remote resources, with the reason.
        unread: Vec<String>,
    },
    /// Several documents, in these files.
    Ambiguous(Vec<RepoPath>),
    /// The path does not exist.
    PathGone,
}

/// What a tree declares.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Declared {
    /// The Rollout.
    pub own: Own,
    /// Every other object, and what else shapes them, by a name made of its identity.
    pub others: BTreeMap<String, Value>,
    /// Every file that was read.
    pub inputs: BTreeSet<RepoPath>,
    /// The files that shape the Rollout: its own, the kustomizations above it, patches aimed at it.
    pub relevant: BTreeSet<RepoPath>,
    /// Image replacements that were about the Rollout.
    pub image_hits: Vec<ImageHit>,
    /// What may change the Rollout's template and is not modelled, in words.
    pub opaque: Vec<String>,
    /// What each kustomization names directly.
    pub links: BTreeMap<RepoPath, BTreeSet<RepoPath>>,
}
