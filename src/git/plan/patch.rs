//! Changes as a unified diff for people and for `git apply`.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    super::source::RepoPath,
    tree::{Need, View},
};

/// Longest patch text, in bytes; it is shown in status and events.
const MAX_PATCH_BYTES: usize = 64 * 1024;

/// The diff from `view` to `changes`. Contents that are not text are named only.
///
/// # Errors
/// [`Need`] when contents have to be fetched first.
pub(super) fn unified(
    view: View<'_>,
    changes: &BTreeMap<RepoPath, Option<Vec<u8>>>,
) -> Result<String, Need> {
    view.require(changes.keys())?;
    let mut patch = String::new();
    for (path, after) in changes {
        let before = view.bytes(path)?;
        let existed = view.exists(path);
        let old_name = if existed { format!("a/{path}") } else { "/dev/null".to_owned() };
        let new_name = if after.is_some() { format!("b/{path}") } else { "/dev/null".to_owned() };
        let _ = writeln!(patch, "diff --git a/{path} b/{path}");
        if !existed {
            patch.push_str("new file mode 100644\n");
        } else if after.is_none() {
            patch.push_str("deleted file mode 100644\n");
        }
        let texts = (
            std::str::from_utf8(before.unwrap_or_default()),
            std::str::from_utf8(after.as_deref().unwrap_or_default()),
        );
        match texts {
            (Ok(before), Ok(after)) => {
                let mut options = diffy::DiffOptions::new();
                options.set_original_filename(old_name).set_modified_filename(new_name);
                patch.push_str(&options.create_patch(before, after).to_string());
            }
            _ => patch.push_str("Binary files differ\n"),
        }
    }
    if patch.len() > MAX_PATCH_BYTES {
        let end = (0..=MAX_PATCH_BYTES).rev().find(|at| patch.is_char_boundary(*at)).unwrap_or(0);
        patch.truncate(end);
        patch.push_str("\n(cut: the patch is larger than 64 KiB)\n");
    }
    Ok(patch)
}
