//! Declarations whose template a program makes that is not run here: values of a Helm chart, of a Flux
//! HelmRelease, and the overrides that Argo CD's image updater writes.
//!
//! The template cannot be computed, so that the proof is another one: only values change, only back to
//! what they were, and where the two templates are known each of these values must be found in what
//! differs between them, and nothing may differ that none of them explains. What is not proved so is
//! suggested.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{
    Blocked, SuggestReason, Superseded, Verdict,
    declared::{Declared, Own},
    tree::{FileText, Need, View, is_kustomization, is_manifest},
    values::{FieldPath, ScalarChange, images, same_json, scalar_changes},
    yaml_span::Edit,
    yaml_tree::YamlText,
};
use super::{Attempt, Changes, Ladder, Restorable, changed_names};
use crate::git::source::RepoPath;

const RELEASE_GROUP: &str = "helm.toolkit.fluxcd.io/";

/// What is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::git::plan) enum Form {
    /// Values and templates: these files.
    Files(BTreeSet<RepoPath>),
    /// A HelmRelease, by its name in its file.
    Release { file: RepoPath, name: String },
}

/// Where a value is among several trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Bad,
    Good,
    Other,
}

/// A value that changed with the failed version.
struct Changed {
    file: RepoPath,
    /// Its document in GOOD and at HEAD.
    documents: (usize, usize),
    change: ScalarChange,
    standing: Standing,
}

/// Whether a path holds what is rendered, and no Rollout of its own. `differs` tells what changed.
pub(in crate::git::plan) fn form_of(
    view: View<'_>,
    path: &RepoPath,
    file: Option<&RepoPath>,
    name: &str,
) -> Result<Option<Form>, Need> {
    if let Some(file) = file.and_then(|file| path.resolve(file.as_str()).ok()) {
        let is_there = view.exists(&file) && is_manifest(&file);
        let releases =
            if is_there { releases(view, std::slice::from_ref(&file))? } else { Vec::new() };
        return Ok(match one_release(releases, name) {
            Some(release) => Some(release),
            None => is_there.then(|| Form::Files([file].into())),
        });
    }
    let below = view.below(path);
    if path.join("Chart.yaml").is_ok_and(|chart| view.exists(&chart)) {
        return Ok(Some(Form::Files(below.into_iter().collect())));
    }
    let manifests: Vec<RepoPath> = below.iter().filter(|file| is_manifest(file)).cloned().collect();
    if let Some(release) = one_release(releases(view, &manifests)?, name) {
        return Ok(Some(release));
    }
    let values: BTreeSet<RepoPath> = below.into_iter().filter(is_values).collect();
    Ok((!values.is_empty()).then_some(Form::Files(values)))
}

/// The files with which Argo CD overrides what a path declares.
fn overrides(view: View<'_>, path: &RepoPath) -> BTreeSet<RepoPath> {
    view.below(path).into_iter().filter(is_override).collect()
}

/// The images of a template that no value of the form names, in words.
pub(in crate::git::plan) fn unnamed_images(
    view: View<'_>,
    form: &Form,
    template: &Value,
) -> Result<Vec<String>, Need> {
    let files: Vec<RepoPath> = match form {
        Form::Files(files) => files.iter().filter(|file| is_manifest(file)).cloned().collect(),
        Form::Release { file, .. } => vec![file.clone()],
    };
    view.require(&files)?;
    let mut values = BTreeSet::new();
    for file in files {
        let FileText::Text(text) = view.text(&file)? else { continue };
        let Ok(yaml) = YamlText::parse(text) else { continue };
        for document in yaml.values() {
            collect_scalars(document, &mut values);
        }
    }
    let is_named = |image: &str| {
        values.iter().any(|value| {
            let rest = image.strip_suffix(value.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with([':', '@']))
        })
    };
    let unnamed = images(template).filter(|image| !is_named(image));
    Ok(unnamed.map(|image| format!("no value of the chart names the image {image}")).collect())
}

fn collect_scalars(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.values().for_each(|value| collect_scalars(value, found)),
        Value::Array(items) => items.iter().for_each(|value| collect_scalars(value, found)),
        Value::Null => {}
        scalar => {
            let text = text(scalar);
            if !text.is_empty() {
                found.insert(text);
            }
        }
    }
}

fn is_override(path: &RepoPath) -> bool {
    path.file_name().starts_with(".argocd-source") && is_manifest(path)
}

fn is_values(path: &RepoPath) -> bool {
    is_override(path)
        || (is_manifest(path) && !is_kustomization(path) && path.file_name().contains("values"))
}

/// Every HelmRelease in the files.
fn releases(view: View<'_>, files: &[RepoPath]) -> Result<Vec<(RepoPath, String)>, Need> {
    view.require(files)?;
    let mut found = Vec::new();
    for file in files {
        let FileText::Text(text) = view.text(file)? else { continue };
        let Ok(yaml) = YamlText::parse(text) else { continue };
        found.extend(
            yaml.values().filter_map(release_name).map(|name| (file.clone(), name.to_owned())),
        );
    }
    Ok(found)
}

fn release_name(value: &Value) -> Option<&str> {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str);
    let is_release =
        text("/apiVersion")?.starts_with(RELEASE_GROUP) && text("/kind")? == "HelmRelease";
    is_release.then(|| text("/metadata/name"))?
}

/// The one that is meant: the only one, or the one with the Rollout's name.
fn one_release(releases: Vec<(RepoPath, String)>, name: &str) -> Option<Form> {
    let is_only = releases.len() == 1;
    let mut fitting = releases.into_iter().filter(|(_, release)| is_only || release == name);
    let (file, name) = fitting.next()?;
    fitting.next().is_none().then_some(Form::Release { file, name })
}

impl Ladder<'_> {
    /// What is rendered here, if no document of the path declares the Rollout, or if an override of
    /// Argo CD changed with the failed version.
    pub(super) fn rendered_step(&self, head: &Declared) -> Result<Option<Verdict>, Need> {
        let source = self.question.source;
        let overridden: BTreeSet<RepoPath> = [self.good, self.bad]
            .into_iter()
            .flat_map(|view| overrides(view, &source.path))
            .filter(|file| self.good.tree().entry(file) != self.bad.tree().entry(file))
            .collect();
        let form = match &head.own {
            Own::Absent { .. } => {
                let name = &self.question.identity.name;
                form_of(self.head, &source.path, source.file.as_ref(), name)?
            }
            Own::One(_) if !overridden.is_empty() => Some(Form::Files(overridden)),
            Own::One(_) | Own::Ambiguous(_) | Own::PathGone => None,
        };
        form.map(|form| self.restore_rendered(&form, head)).transpose()
    }

    fn restore_rendered(&self, form: &Form, head: &Declared) -> Result<Verdict, Need> {
        let (values, whole) = self.rendered_changes(form)?;
        if values.is_empty() && whole.is_empty() {
            return Ok(Verdict::Blocked(Blocked::NoGitChange));
        }
        let differs = Differs::of(&self.question.bad.template, &self.question.good.template);
        let (chosen, left): (Vec<Changed>, Vec<Changed>) = match &differs {
            Differs::Values(leaves) if whole.is_empty() => {
                values.into_iter().partition(|one| leaves.iter().any(|leaf| explains(one, leaf)))
            }
            Differs::Values(_) | Differs::Structure | Differs::Unknown => (values, Vec::new()),
        };
        if let Some(verdict) = gate(&chosen) {
            return Ok(verdict);
        }
        let Restorable { attempt, mut conflicts, not_text } = self.whole_files(&whole)?;
        conflicts.extend(not_text.into_iter().map(|(file, _)| file));
        if !conflicts.is_empty() {
            conflicts.sort();
            return Ok(Verdict::Conflict(conflicts));
        }
        let Attempt { mut changes, mut restored } = attempt;
        let edits: Vec<(RepoPath, Edit)> = chosen
            .iter()
            .filter(|one| one.standing == Standing::Bad)
            .map(|one| self.edit_of(one))
            .collect::<Result<_, Need>>()?;
        if edits.is_empty() && changes.is_empty() {
            // The values are where they were, or none of them shaped the template.
            return Ok(if chosen.is_empty() && whole.is_empty() {
                Verdict::Blocked(Blocked::NoGitChange)
            } else {
                Verdict::AlreadyReverted
            });
        }
        let Some(edited) = self.edited(&edits)? else {
            let files = edits.into_iter().map(|(file, _)| file).collect::<BTreeSet<_>>();
            return Ok(Verdict::Conflict(files.into_iter().collect()));
        };
        changes.extend(edited.changes);
        restored.extend(edited.restored);
        let reason = match self.other_objects(form, head, &changes)? {
            Some(reason) => Some(reason),
            None => match &differs {
                // Whoever names two commits and no templates has said what he wants.
                Differs::Unknown => None,
                Differs::Values(leaves) if whole.is_empty() => unexplained(leaves, &chosen, &left),
                Differs::Values(_) | Differs::Structure => self.other_inputs(form, &changes)?,
            },
        };
        self.finish(Attempt { changes, restored }, head, reason)
    }

    /// Values that changed from GOOD to BAD, and files whose structure did.
    fn rendered_changes(&self, form: &Form) -> Result<(Vec<Changed>, Vec<RepoPath>), Need> {
        let differing = self.good.tree().differing(self.bad.tree());
        let files: BTreeSet<RepoPath> = match form {
            Form::Files(files) => {
                let path = &self.question.source.path;
                // Also what the failed version added or removed.
                let is_input =
                    |file: &&RepoPath| files.contains(*file) || self.is_like(form, file, path);
                differing.iter().filter(is_input).cloned().collect()
            }
            Form::Release { file, .. } => {
                differing.iter().filter(|one| *one == file).cloned().collect()
            }
        };
        for view in [self.good, self.bad, self.head] {
            view.require(&files)?;
        }
        let (mut values, mut whole) = (Vec::new(), Vec::new());
        for file in files {
            match self.value_changes(form, &file)? {
                Some(mut changes) => values.append(&mut changes),
                None => whole.push(file),
            }
        }
        Ok((values, whole))
    }

    /// Whether a file that only GOOD or BAD has belongs to the form.
    fn is_like(&self, form: &Form, file: &RepoPath, path: &RepoPath) -> bool {
        let Form::Files(files) = form else { return false };
        let is_chart = files.iter().any(|one| one.file_name() == "Chart.yaml");
        !self.head.exists(file) && file.is_within(path) && (is_chart || is_values(file))
    }

    /// The values of one file that changed; `None` when more than values did.
    fn value_changes(&self, form: &Form, file: &RepoPath) -> Result<Option<Vec<Changed>>, Need> {
        let texts = [self.good.text(file)?, self.bad.text(file)?, self.head.text(file)?];
        let [FileText::Text(good), FileText::Text(bad), FileText::Text(head)] = texts else {
            return Ok(None);
        };
        let parsed = [good, bad, head].map(|text| YamlText::parse(text).ok());
        let [Some(good), Some(bad), Some(head)] = &parsed else { return Ok(None) };
        let (Some((good_at, good)), Some((_, bad)), Some((head_at, head))) =
            (document(form, good), document(form, bad), document(form, head))
        else {
            return Ok(None);
        };
        let Some(changes) = scalar_changes(bad, good) else { return Ok(None) };
        let values =
            changes.into_iter().filter(|change| is_of_release(form, &change.path)).map(|change| {
                let standing = match change.path.find(head) {
                    Some(value) if same_json(value, &change.from) => Standing::Bad,
                    Some(value) if same_json(value, &change.to) => Standing::Good,
                    Some(_) | None => Standing::Other,
                };
                Changed { file: file.clone(), documents: (good_at, head_at), change, standing }
            });
        Ok(Some(values.collect()))
    }

    fn edit_of(&self, one: &Changed) -> Result<(RepoPath, Edit), Need> {
        let text = self.good.text(&one.file)?;
        let written_as = super::parsed(&text).and_then(|yaml| {
            yaml.scalar_text(one.documents.0, &one.change.path).map(str::to_owned)
        });
        let ScalarChange { path, from, to } = one.change.clone();
        let edit = Edit { document: one.documents.1, path, from, to, written_as };
        Ok((one.file.clone(), edit))
    }

    /// Other objects that would change, too.
    fn other_objects(
        &self,
        form: &Form,
        head: &Declared,
        changes: &Changes,
    ) -> Result<Option<SuggestReason>, Need> {
        let after = self.declared(self.head.with(changes))?;
        let mut others = changed_names(&head.others, &after.others);
        // Values are documents without a kind, and templates are files that cannot be read: they are
        // what is meant to change.
        others.retain(|other| match form {
            Form::Files(_) => !other.starts_with("file ") && !other.starts_with("- - "),
            Form::Release { name, .. } => !is_named(other, name),
        });
        Ok((!others.is_empty()).then_some(SuggestReason::OtherObjects(others)))
    }

    /// The same input gives the same template: what is not as it was in GOOD.
    fn other_inputs(&self, form: &Form, changes: &Changes) -> Result<Option<SuggestReason>, Need> {
        let after = self.head.with(changes);
        let path = &self.question.source.path;
        let inputs: BTreeSet<RepoPath> = match form {
            Form::Files(files) => {
                let is_chart = files.iter().any(|one| one.file_name() == "Chart.yaml");
                let below = self.good.below(path).into_iter().chain(after.below(path));
                below.filter(|file| is_chart || is_values(file) || files.contains(file)).collect()
            }
            Form::Release { file, .. } => [file.clone()].into(),
        };
        self.good.require(changes.keys())?;
        let mut others = Vec::new();
        for file in inputs {
            let is_same = match changes.get(&file) {
                Some(content) => content.as_deref() == self.good.bytes(&file)?,
                None => self.head.tree().entry(&file) == self.good.tree().entry(&file),
            };
            if !is_same {
                others.push(file.to_string());
            }
        }
        let words = format!("files are put back, and others changed, too: {}", others.join(", "));
        Ok((!others.is_empty()).then_some(SuggestReason::TemplateNotProved(words)))
    }
}

/// What differs in the template and follows from no value that is put back.
fn unexplained(
    leaves: &[ScalarChange],
    chosen: &[Changed],
    left: &[Changed],
) -> Option<SuggestReason> {
    let open: Vec<String> = leaves
        .iter()
        .filter(|leaf| !chosen.iter().any(|one| explains(one, leaf)))
        .map(|leaf| format!("spec.template.{}", leaf.path))
        .collect();
    if open.is_empty() {
        return None;
    }
    let unused: Vec<String> = left.iter().map(|one| one.change.path.to_string()).collect();
    let also = if unused.is_empty() {
        String::new()
    } else {
        format!("; left as they are: {}", unused.join(", "))
    };
    let words = format!("no value that is put back explains {}{also}", open.join(", "));
    Some(SuggestReason::TemplateNotProved(words))
}

/// Whether HEAD still has what failed. Among values that say a version these decide; else all do.
fn gate(changed: &[Changed]) -> Option<Verdict> {
    let versions: Vec<&Changed> =
        changed.iter().filter(|one| is_version(&one.change.path)).collect();
    let deciding = if versions.is_empty() { changed.iter().collect() } else { versions };
    let all = |standing| deciding.iter().all(|one| one.standing == standing);
    if deciding.is_empty() || all(Standing::Bad) {
        None
    } else if all(Standing::Good) && changed.iter().all(|one| one.standing == Standing::Good) {
        Some(Verdict::AlreadyReverted)
    } else {
        Some(Verdict::Superseded(Superseded::OtherTemplate))
    }
}

fn is_version(path: &FieldPath) -> bool {
    let text = path.to_string().to_ascii_lowercase();
    ["tag", "image", "digest", "version"].iter().any(|word| text.ends_with(word))
}

/// The document that is meant: the HelmRelease, or the only one.
fn document<'y>(form: &Form, yaml: &'y YamlText<'_>) -> Option<(usize, &'y Value)> {
    let mut fitting = yaml.values().enumerate().filter(|(_, value)| match form {
        Form::Files(_) => !value.is_null(),
        Form::Release { name, .. } => release_name(value) == Some(name),
    });
    let found = fitting.next()?;
    fitting.next().is_none().then_some(found)
}

/// In a HelmRelease only the values and the chart's version are put back.
fn is_of_release(form: &Form, path: &FieldPath) -> bool {
    let begins = |keys: &[&str]| path.0.starts_with(&FieldPath::of_keys(keys).0);
    match form {
        Form::Files(_) => true,
        Form::Release { .. } => {
            begins(&["spec", "values"]) || begins(&["spec", "chart", "spec", "version"])
        }
    }
}

fn is_named(other: &str, name: &str) -> bool {
    other.starts_with(RELEASE_GROUP)
        && other.contains(" HelmRelease ")
        && other.split('/').next_back().is_some_and(|end| end.split(" #").next() == Some(name))
}

/// How the two templates differ.
enum Differs {
    /// They are not known, or both are what stands below an override.
    Unknown,
    /// In these values.
    Values(Vec<ScalarChange>),
    /// In more than values.
    Structure,
}

impl Differs {
    fn of(bad: &Value, good: &Value) -> Self {
        if bad.is_null() || good.is_null() || same_json(bad, good) {
            return Self::Unknown;
        }
        match scalar_changes(bad, good) {
            // Checksums of other objects follow from what they are of.
            Some(mut leaves) => {
                leaves.retain(|leaf| !leaf.path.to_string().contains("checksum/"));
                Self::Values(leaves)
            }
            None => Self::Structure,
        }
    }
}

/// Whether a value is a part of what differs in the template: the failed one before, the stable one
/// after.
fn explains(one: &Changed, leaf: &ScalarChange) -> bool {
    let holds = |whole: &Value, part: &Value| is_part(&text(whole), &text(part));
    holds(&leaf.from, &one.change.from) && holds(&leaf.to, &one.change.to)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether `part` stands in `whole` as a word of its own: `1.0` is in `web:1.0` and not in `web:11.0`.
fn is_part(whole: &str, part: &str) -> bool {
    !part.is_empty()
        && whole.match_indices(part).any(|(at, _)| {
            let is_word = |c: char| c.is_alphanumeric() || c == '.';
            let before = whole.get(..at).and_then(|text| text.chars().next_back());
            let after = whole.get(at + part.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
}

#[cfg(test)]
mod tests {
    use super::is_part;

    #[test]
    fn a_part_is_a_word_of_its_own() {
        assert!(is_part("registry.example.test/web:1.0", "1.0"));
        assert!(is_part("registry.example.test/web:1.0", "registry.example.test/web"));
        assert!(is_part("5", "5"));
        assert!(!is_part("web:11.0", "1.0"));
        assert!(!is_part("web:1.0.1", "1.0"));
        assert!(!is_part("web", ""));
    }
}
