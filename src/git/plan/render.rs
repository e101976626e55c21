//! What a tree declares: the one document of a Rollout, with what kustomize makes of it, and
//! everything else, for comparison.
//!
//! A model of a directory of manifests, of one file, and of a kustomization with local resources.
//! It must never claim to know more than it does: whatever could change the Rollout's template in a
//! way that is not modelled is listed in [`Declared::opaque`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    super::source::{RepoPath, Source},
    declared::{Declared, Identity, ImageHit, Match, Own},
    gathered::{Aim, Gathered},
    kustomize::{Kustomization, Patch, PatchBody, apply_image_rule},
    tree::{EntryKind, FileText, Need, View, is_kustomization, is_manifest},
    yaml_tree::YamlText,
};
use crate::revision::hex;

/// Most files that are read for one Rollout.
const MAX_INPUTS: usize = 2_000;
/// Deepest chain of kustomizations.
pub(super) const MAX_CHAIN: usize = 16;

/// Reads what `view` declares for `identity` at `source`.
///
/// # Errors
/// [`Need`] when contents have to be fetched first.
pub(super) fn declare(
    view: View<'_>,
    source: &Source,
    identity: &Identity,
) -> Result<Declared, Need> {
    let mut reader = Reader::new(view);
    let place = source.file.as_ref().map_or_else(
        || source.path.clone(),
        |file| source.path.resolve(file.as_str()).unwrap_or_else(|_| file.clone()),
    );
    let mut gathered = Vec::new();
    let exists = match reader.link_on_the_way(&place) {
        Some(unread) => {
            reader.unread.push(unread);
            true
        }
        None if view.exists(&place) => {
            gathered = reader.objects_of_files(&[place])?;
            true
        }
        None => match reader.kustomization_in(&source.path) {
            Some(_) if source.file.is_none() => {
                reader.kustomize(&source.path, &mut gathered, 0)?;
                true
            }
            _ => {
                let files = view.below(&place);
                let manifests: Vec<_> = files
                    .iter()
                    .filter(|path| is_manifest(path) && !is_kustomization(path))
                    .cloned()
                    .collect();
                gathered = reader.objects_of_files(&manifests)?;
                !files.is_empty()
            }
        },
    };
    Ok(reader.finish(gathered, identity, exists))
}

pub(super) fn kustomization_in(view: View<'_>, directory: &RepoPath) -> Option<RepoPath> {
    ["kustomization.yaml", "kustomization.yml", "Kustomization"]
        .iter()
        .filter_map(|name| directory.join(name).ok())
        .find(|path| view.exists(path))
}

struct Reader<'a> {
    view: View<'a>,
    inputs: BTreeSet<RepoPath>,
    links: BTreeMap<RepoPath, BTreeSet<RepoPath>>,
    pseudo: BTreeMap<String, Value>,
    unread: Vec<String>,
    opaque: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(view: View<'a>) -> Self {
        Self {
            view,
            inputs: BTreeSet::new(),
            links: BTreeMap::new(),
            pseudo: BTreeMap::new(),
            unread: Vec::new(),
            opaque: Vec::new(),
        }
    }

    /// A link or a submodule where `path` should lead through a directory.
    fn link_on_the_way(&self, path: &RepoPath) -> Option<String> {
        let mut place = path.clone();
        while !place.is_root() {
            match self.view.tree().entry(&place).map(|entry| entry.kind) {
                Some(EntryKind::Symlink) => return Some(format!("{place} is a symbolic link")),
                Some(EntryKind::Submodule) => return Some(format!("{place} is a submodule")),
                Some(EntryKind::File | EntryKind::Executable) | None => place = place.parent(),
            }
        }
        None
    }

    fn kustomization_in(&self, directory: &RepoPath) -> Option<RepoPath> {
        kustomization_in(self.view, directory)
    }

    fn objects_of_files(&mut self, files: &[RepoPath]) -> Result<Vec<Gathered>, Need> {
        if self.inputs.len() + files.len() > MAX_INPUTS {
            self.unread.push(format!("more than {MAX_INPUTS} manifests; name one with `file`"));
            return Ok(Vec::new());
        }
        self.view.require(files)?;
        let mut gathered = Vec::new();
        for file in files {
            self.inputs.insert(file.clone());
            let text = match self.view.text(file)? {
                FileText::Text(text) => text,
                FileText::NotText(why) => {
                    self.not_read(file, why);
                    continue;
                }
                FileText::Absent => {
                    self.opaque.push(format!("{file} does not exist"));
                    continue;
                }
            };
            match YamlText::parse(text) {
                Err(why) => self.not_read(file, &why.to_string()),
                Ok(yaml) => gathered.extend(
                    yaml.values()
                        .enumerate()
                        .filter(|(_, value)| !value.is_null())
                        .map(|(document, value)| Gathered::new(file, document, value)),
                ),
            }
        }
        Ok(gathered)
    }

    fn not_read(&mut self, file: &RepoPath, why: &str) {
        self.unread.push(format!("{file}: {why}"));
        let digest = json!(self.digest(file));
        self.pseudo.insert(format!("file {file}"), digest);
    }

    /// A content's identity as text.
    fn digest(&self, file: &RepoPath) -> String {
        match self.view.bytes(file) {
            Ok(Some(bytes)) => hex(&Sha256::digest(bytes)),
            Ok(None) | Err(_) => self
                .view
                .tree()
                .entry(file)
                .map_or_else(|| "absent".to_owned(), |entry| entry.blob.as_str().to_owned()),
        }
    }

    /// Adds what the kustomization of `directory` makes to `gathered`.
    fn kustomize(
        &mut self,
        directory: &RepoPath,
        gathered: &mut Vec<Gathered>,
        depth: usize,
    ) -> Result<(), Need> {
        let Some((file, spec)) = self.read_kustomization(directory, depth)? else {
            return Ok(());
        };
        let mut own = Vec::new();
        self.resources(directory, &file, &spec, &mut own, depth)?;
        for component in &spec.components {
            match self.local(directory, &file, component) {
                Some(path) if self.kustomization_in(&path).is_some() => {
                    self.component(&path, &mut own, depth + 1)?;
                }
                _ => self.opaque.push(format!("{file}: component {component} is not local")),
            }
        }
        self.transform(directory, &file, &spec, &mut own)?;
        gathered.append(&mut own);
        Ok(())
    }

    /// A component adds its resources and then transforms everything gathered so far.
    fn component(
        &mut self,
        directory: &RepoPath,
        gathered: &mut Vec<Gathered>,
        depth: usize,
    ) -> Result<(), Need> {
        let Some((file, spec)) = self.read_kustomization(directory, depth)? else {
            return Ok(());
        };
        self.resources(directory, &file, &spec, gathered, depth)?;
        if !spec.components.is_empty() {
            self.opaque.push(format!("{file}: components inside a component"));
        }
        self.transform(directory, &file, &spec, gathered)
    }

    fn read_kustomization(
        &mut self,
        directory: &RepoPath,
        depth: usize,
    ) -> Result<Option<(RepoPath, Kustomization)>, Need> {
        let Some(file) = self.kustomization_in(directory) else {
            self.opaque.push(format!("{directory} has no kustomization"));
            return Ok(None);
        };
        if depth > MAX_CHAIN || self.inputs.len() > MAX_INPUTS {
            self.opaque.push(format!("{file}: too many kustomizations in a chain"));
            return Ok(None);
        }
        self.inputs.insert(file.clone());
        let read = match self.view.text(&file)? {
            FileText::Text(text) => YamlText::parse(text)
                .map_err(|why| why.to_string())
                .and_then(|yaml| Kustomization::read(yaml.values().next().unwrap_or(&Value::Null))),
            FileText::NotText(why) => Err(why.to_owned()),
            FileText::Absent => Err("absent".to_owned()),
        };
        match read {
            Ok(spec) => Ok(Some((file, spec))),
            Err(why) => {
                self.opaque.push(format!("{file}: {why}"));
                self.not_read(&file, &why);
                Ok(None)
            }
        }
    }

    /// The local path that a kustomization names, noted as a link.
    fn local(&mut self, directory: &RepoPath, file: &RepoPath, name: &str) -> Option<RepoPath> {
        if name.contains("://") || name.contains("?ref=") || name.starts_with("git@") {
            return None;
        }
        let path = directory.resolve(name).ok()?;
        self.links.entry(file.clone()).or_default().insert(path.clone());
        Some(path)
    }

    fn resources(
        &mut self,
        directory: &RepoPath,
        file: &RepoPath,
        spec: &Kustomization,
        gathered: &mut Vec<Gathered>,
        depth: usize,
    ) -> Result<(), Need> {
        let mut files = Vec::new();
        for name in &spec.resources {
            match self.local(directory, file, name) {
                Some(path) if self.view.exists(&path) => files.push(path),
                Some(path) if self.kustomization_in(&path).is_some() => {
                    self.kustomize(&path, gathered, depth + 1)?;
                }
                Some(path) => self.opaque.push(format!("{file}: {path} does not exist")),
                None => {
                    self.unread.push(format!("{file}: {name} is remote"));
                    self.pseudo.insert(format!("remote {name} in {file}"), Value::Null);
                }
            }
        }
        gathered.append(&mut self.objects_of_files(&files)?);
        Ok(())
    }

    fn transform(
        &mut self,
        directory: &RepoPath,
        file: &RepoPath,
        spec: &Kustomization,
        gathered: &mut [Gathered],
    ) -> Result<(), Need> {
        let mut harmless = vec![spec.rest.clone()];
        for name in &spec.generator_files {
            if let Some(path) = self.local(directory, file, name) {
                self.inputs.insert(path.clone());
                self.view.require([&path])?;
                harmless.push(json!([path.as_str(), self.digest(&path)]));
            }
        }
        for field in &spec.opaque {
            self.opaque.push(format!("{file} uses `{field}`"));
        }
        for patch in &spec.patches {
            self.patch(directory, file, patch, gathered)?;
        }
        self.pseudo.insert(format!("kustomization {file}"), Value::Array(harmless));
        for object in gathered {
            object.shaped_by.insert(file.clone());
            object.rename(spec);
            for (index, rule) in spec.images.iter().enumerate() {
                if apply_image_rule(rule, &mut object.applied) {
                    let rule = rule.clone();
                    object.hits.push(ImageHit { file: file.clone(), index, rule });
                }
            }
        }
        Ok(())
    }

    /// Notes a patch at each object that it may change.
    fn patch(
        &mut self,
        directory: &RepoPath,
        file: &RepoPath,
        patch: &Patch,
        gathered: &mut [Gathered],
    ) -> Result<(), Need> {
        let (place, text) = match &patch.body {
            PatchBody::Inline(text) => (None, Some(text.clone())),
            PatchBody::File(name) => match self.local(directory, file, name) {
                None => (None, None),
                Some(place) => {
                    self.inputs.insert(place.clone());
                    self.view.require([&place])?;
                    let text = match self.view.text(&place)? {
                        FileText::Text(text) => Some(text.to_owned()),
                        FileText::NotText(_) | FileText::Absent => None,
                    };
                    (Some(place), text)
                }
            },
        };
        let anything = vec![Aim::default()];
        let aims = text.as_ref().map_or(anything, |text| aims_of(patch, text));
        let content = text.unwrap_or_else(|| format!("{:?}", patch.body));
        for object in gathered.iter_mut().filter(|object| object.is_aimed_at(&aims)) {
            let origin = place.as_ref().unwrap_or(file);
            object.opaque.push(format!("{origin} patches it"));
            object.shaped_by.extend(place.clone());
            object.patches.push(content.clone());
        }
        Ok(())
    }

    fn finish(mut self, gathered: Vec<Gathered>, identity: &Identity, exists: bool) -> Declared {
        let matches: Vec<(usize, Match)> = gathered
            .iter()
            .enumerate()
            .filter_map(|(at, object)| Some((at, identity.matches(&object.applied)?)))
            .collect();
        let exact: Vec<usize> = matches
            .iter()
            .filter(|(_, how)| *how == Match::WithNamespace)
            .map(|(at, _)| *at)
            .collect();
        let chosen =
            if exact.is_empty() { matches.iter().map(|(at, _)| *at).collect() } else { exact };
        let mut own = Own::Absent { unread: self.unread.clone() };
        let mut relevant = BTreeSet::new();
        let mut image_hits = Vec::new();
        let mut others = std::mem::take(&mut self.pseudo);
        let mut opaque = std::mem::take(&mut self.opaque);
        for (at, object) in gathered.into_iter().enumerate() {
            if chosen.as_slice() == [at] {
                relevant.clone_from(&object.shaped_by);
                relevant.insert(object.file.clone());
                opaque.extend(object.opaque.clone());
                image_hits.clone_from(&object.hits);
                own = Own::One(Box::new(object.into_own()));
            } else {
                if chosen.contains(&at) {
                    own = ambiguous(own, &object.file);
                }
                object.note(&mut others);
            }
        }
        if !exists {
            own = Own::PathGone;
        }
        let (inputs, links) = (self.inputs, self.links);
        Declared { own, others, inputs, relevant, image_hits, opaque, links }
    }
}

fn ambiguous(own: Own, file: &RepoPath) -> Own {
    match own {
        Own::Ambiguous(mut files) => {
            files.push(file.clone());
            Own::Ambiguous(files)
        }
        Own::One(_) | Own::Absent { .. } | Own::PathGone => Own::Ambiguous(vec![file.clone()]),
    }
}

/// What a patch is aimed at.
fn aims_of(patch: &Patch, text: &str) -> Vec<Aim> {
    if let Some(target) = &patch.target {
        return vec![Aim { kind: target.kind.clone(), name: target.name.clone() }];
    }
    let Ok(yaml) = YamlText::parse(text) else {
        return vec![Aim::default()];
    };
    yaml.values()
        .filter(|value| !value.is_null())
        .map(|value| {
            let text = |path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
            Aim { kind: text("/kind"), name: text("/metadata/name") }
        })
        .collect()
}
