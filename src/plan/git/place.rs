//! Where revisions were declared: as the user names it, or as it was found when they were seen.

use crate::api::status::{RevisionRecord, RevisionSource};
use crate::plan::validate::{NamedSource, ValidGit};
use crate::plan::view::View;
use crate::revision::Revision;

/// A place in Git, whoever named it.
#[derive(Debug, PartialEq)]
pub(super) struct PlaceRef<'a> {
    pub(super) url: &'a String,
    branch: &'a String,
    path: &'a String,
    file: Option<&'a String>,
}

/// Where a revision was declared: where that was found, else what the spec names.
pub(super) fn place_of<'a>(git: &'a ValidGit, record: &'a RevisionRecord) -> Option<PlaceRef<'a>> {
    match (&record.source, &git.named) {
        (Some(found), _) => {
            let RevisionSource { url, branch, path, file, owner: _ } = found;
            Some(PlaceRef { url, branch, path, file: file.as_ref() })
        }
        (None, Some(NamedSource { url, branch, path, file })) => {
            Some(PlaceRef { url, branch, path, file: file.as_ref() })
        }
        (None, None) => None,
    }
}

/// Two revisions that were declared in different places cannot be told apart by the commits of one.
pub(super) fn source_moved(
    view: &View<'_>,
    git: &ValidGit,
    stable: &Revision,
    failed: &RevisionRecord,
) -> Option<String> {
    let before = view.memory.record(stable).and_then(|record| place_of(git, record));
    let after = place_of(git, failed);
    if before.is_some() && before == after {
        return None;
    }
    let words = |place: Option<PlaceRef<'_>>| {
        place.map_or_else(
            || "an unknown place".to_owned(),
            |PlaceRef { url, branch, path, file: _ }| format!("{path} on {branch} of {url}"),
        )
    };
    Some(format!(
        "revision {stable} was declared in {}, revision {} in {}: put the branch right by hand",
        words(before),
        failed.revision,
        words(after)
    ))
}
