//! One object on its way through a chain of kustomizations. It must never forget what shaped it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    super::source::RepoPath,
    declared::{ImageHit, OwnDocument},
    kustomize::Kustomization,
};

/// What a patch is aimed at; `None` stands for any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Aim {
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
}

/// An object, as written and as changed so far.
#[derive(Clone, Debug)]
pub(super) struct Gathered {
    pub(super) file: RepoPath,
    pub(super) document: usize,
    written: Value,
    pub(super) applied: Value,
    pub(super) hits: Vec<ImageHit>,
    pub(super) opaque: Vec<String>,
    pub(super) patches: Vec<String>,
    pub(super) shaped_by: BTreeSet<RepoPath>,
}

impl Gathered {
    pub(super) fn new(file: &RepoPath, document: usize, value: &Value) -> Self {
        Self {
            file: file.clone(),
            document,
            written: value.clone(),
            applied: value.clone(),
            hits: Vec::new(),
            opaque: Vec::new(),
            patches: Vec::new(),
            shaped_by: BTreeSet::new(),
        }
    }

    /// Gives the object the namespace, prefix and suffix of `spec`.
    pub(super) fn rename(&mut self, spec: &Kustomization) {
        let Some(metadata) = self.applied.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        if let Some(namespace) = &spec.namespace {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        if let Some(Value::String(name)) = metadata.get_mut("name") {
            *name = format!("{}{name}{}", spec.name_prefix, spec.name_suffix);
        }
    }

    /// Whether one of `aims` may mean this object, by its first or by its present name.
    pub(super) fn is_aimed_at(&self, aims: &[Aim]) -> bool {
        let text = |value: &Value, path: &str| {
            value.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned()
        };
        let kind = text(&self.applied, "/kind");
        let names = [text(&self.written, "/metadata/name"), text(&self.applied, "/metadata/name")];
        aims.iter().any(|aim| {
            aim.kind.as_ref().is_none_or(|wanted| *wanted == kind)
                && aim.name.as_ref().is_none_or(|wanted| names.contains(wanted))
        })
    }

    pub(super) fn into_own(self) -> OwnDocument {
        let Self { file, document, written, applied, .. } = self;
        OwnDocument { file, document, written, applied }
    }

    /// Enters the object into `others` under its identity; equal identities are counted.
    pub(super) fn note(self, others: &mut BTreeMap<String, Value>) {
        let text = |path: &str| self.applied.pointer(path).and_then(Value::as_str).unwrap_or("-");
        let name = format!(
            "{} {} {}/{}",
            text("/apiVersion"),
            text("/kind"),
            text("/metadata/namespace"),
            text("/metadata/name")
        );
        let before = others.keys().filter(|key| key.starts_with(&format!("{name} #"))).count();
        let count = before + 1;
        let content = if self.patches.is_empty() {
            self.applied
        } else {
            json!({"object": self.applied, "patches": self.patches})
        };
        others.insert(format!("{name} #{count}"), content);
    }
}
