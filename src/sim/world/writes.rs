//! What people and bots write, by order: to the API and to Git.

use super::order::{Named, Patch, Push, PushChange, Unfit, Write};
use crate::git::memory::{Files, MemoryGit};
use crate::git::source::{BranchName, GitUrl, RepoPath};
use crate::sim::api::{Cluster, Failure, Identity, KindName};

/// Carries out a write to the API as `who`, who may do everything.
///
/// # Errors
/// The refusal of the server.
pub(crate) fn write(cluster: &Cluster, who: &str, write: Write) -> Result<(), Unfit> {
    let actor = cluster.actor(Identity::admin(who));
    let kind = |named: &Named| KindName::new(&named.group, &named.plural);
    let result = match write {
        Write::Create(object) => actor.create(object),
        Write::Apply(object) => actor.apply(object, who, true),
        Write::Merge(Patch { object, subresource, patch }) => {
            let place = (object.namespace.as_str(), object.name.as_str());
            actor.merge(&kind(&object), place, &subresource, patch)
        }
        Write::Json(Patch { object, subresource, patch }) => {
            let place = (object.namespace.as_str(), object.name.as_str());
            actor.json_patch(&kind(&object), place, &subresource, patch)
        }
        Write::Delete(object) => {
            actor.delete(&kind(&object), (object.namespace.as_str(), object.name.as_str()))
        }
    };
    result.map(|_| ()).map_err(|failure: Failure| Unfit(failure.message))
}

/// Pushes as somebody else than the controller.
///
/// # Errors
/// [`Unfit`] when a name is malformed, the file is missing or holds nothing to replace, or the
/// branch has too few commits.
pub(crate) fn push(git: &MemoryGit, push: &Push) -> Result<(), Unfit> {
    let unfit = |error: &dyn std::fmt::Display| Unfit(error.to_string());
    let url = GitUrl::parse(&push.url).map_err(|error| unfit(&error))?;
    let branch = BranchName::parse(&push.branch).map_err(|error| unfit(&error))?;
    let path = |text: &str| RepoPath::parse(text).map_err(|error| unfit(&error));
    let mut files = Files::new();
    match &push.change {
        PushChange::Files(changes) => {
            for (name, content) in changes {
                files.insert(path(name)?, content.as_ref().map(|text| text.clone().into_bytes()));
            }
        }
        PushChange::Replace { path: name, old, new } => {
            let name = path(name)?;
            let text = git
                .file(&url, &branch, &name)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let Some(text) = text.filter(|text| text.contains(old.as_str())) else {
                return Err(Unfit(format!("{name} does not hold {old:?}")));
            };
            files.insert(name, Some(text.replace(old.as_str(), new).into_bytes()));
        }
    }
    if push.drops == 0 {
        git.commit(&url, &branch, &files, &push.message);
        return Ok(());
    }
    let commits = git.commits(&url, &branch);
    let Some(parent) = commits.get(push.drops) else {
        return Err(Unfit(format!("{branch} has only {} commits", commits.len())));
    };
    git.force(&url, &branch, parent, &files, &push.message);
    Ok(())
}
