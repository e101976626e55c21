//! What stands in the repository at the end of a run.

use std::collections::BTreeMap;

use sluice::git::source::{BranchName, GitUrl, RepoPath};
use sluice::sim::world::{Order, PushChange, World};

use crate::case::{What, When};
use crate::manifests::{BRANCH, ROLLOUT_FILE, URL};

/// A file at the head of the branch.
fn file(world: &World, name: &str) -> Option<String> {
    let (url, branch) = (GitUrl::parse(URL).ok()?, BranchName::parse(BRANCH).ok()?);
    let file = world.git().file(&url, &branch, &RepoPath::parse(name).ok()?)?;
    Some(String::from_utf8_lossy(&file).into_owned())
}

/// Files of other people that are not as they were pushed last.
pub(crate) fn lost(world: &World, fired: &[(When, What)]) -> Vec<String> {
    let mut last: BTreeMap<&String, &Option<String>> = BTreeMap::new();
    for (_, what) in fired {
        let What::Happens(Order::Push(push)) = what else { continue };
        if push.drops > 0 {
            // What it has dropped, its own author has lost.
            return Vec::new();
        }
        if let PushChange::Files(files) = &push.change {
            last.extend(files);
        }
    }
    let is_lost = |(name, text): &(&String, &Option<String>)| file(world, name) != **text;
    last.into_iter().filter(is_lost).map(|(name, _)| name.clone()).collect()
}

/// The tag that Git declares.
pub(crate) fn head(world: &World) -> String {
    let text = file(world, ROLLOUT_FILE).unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("image: "));
    line.and_then(|image| image.rsplit(':').next()).unwrap_or_default().to_owned()
}
