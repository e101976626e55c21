//! Who else uses a file: the blast radius of an edit. Whatever cannot be read counts as no user only
//! if it is no kustomization at all.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::source::RepoPath,
    declared::Declared,
    render::{MAX_CHAIN, kustomization_in},
    tree::{FileText, Need, View, is_kustomization},
    yaml_tree::YamlText,
};

/// Which kustomizations outside of `declared` use one of `edited`, directly or through a
/// kustomization that both share: the objects there would change, too.
///
/// # Errors
/// [`Need`] when contents have to be fetched first.
pub(super) fn consumers(
    view: View<'_>,
    declared: &Declared,
    edited: &BTreeSet<RepoPath>,
) -> Result<Vec<RepoPath>, Need> {
    let others: Vec<&RepoPath> = view
        .tree()
        .entries()
        .map(|(path, _)| path)
        .filter(|path| is_kustomization(path) && !declared.inputs.contains(*path))
        .collect();
    view.require(others.iter().copied())?;
    let mut found = Vec::new();
    for other in others {
        let FileText::Text(text) = view.text(other)? else {
            continue;
        };
        let names = YamlText::parse(text).ok().and_then(|yaml| yaml.values().next().cloned());
        let Some(value) = names else { continue };
        if named_paths(&other.parent(), &value)
            .iter()
            .any(|path| reaches(view, declared, path, edited, 0))
        {
            found.push(other.clone());
        }
    }
    Ok(found)
}

/// Every local path that a kustomization names, whatever the shape of the rest.
fn named_paths(directory: &RepoPath, value: &Value) -> BTreeSet<RepoPath> {
    let mut names = Vec::new();
    for key in ["resources", "bases", "components", "patchesStrategicMerge"] {
        let items = value.get(key).and_then(Value::as_array).into_iter().flatten();
        names.extend(items.filter_map(Value::as_str));
    }
    for key in ["patches", "patchesJson6902"] {
        let items = value.get(key).and_then(Value::as_array).into_iter().flatten();
        names.extend(items.filter_map(|item| item.get("path")).filter_map(Value::as_str));
    }
    names.into_iter().filter_map(|name| directory.resolve(name).ok()).collect()
}

fn reaches(
    view: View<'_>,
    declared: &Declared,
    path: &RepoPath,
    edited: &BTreeSet<RepoPath>,
    depth: usize,
) -> bool {
    if edited.contains(path) {
        return true;
    }
    let Some(kustomization) = kustomization_in(view, path).filter(|_| depth < MAX_CHAIN) else {
        return false;
    };
    edited.contains(&kustomization)
        || declared.links.get(&kustomization).is_some_and(|links| {
            links.iter().any(|link| reaches(view, declared, link, edited, depth + 1))
        })
}
