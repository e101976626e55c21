//! Reading fields of objects that belong to others: what is absent or of another type is absent.

use serde_json::Value;

use super::{ObjectRef, Refusal};
use crate::git::source::{BranchName, GitUrl, InvalidSource, RepoPath};

/// Characters of version ranges, which no branch that is followed has.
const RANGE: [char; 8] = ['*', '^', '~', '<', '>', '=', ' ', ','];

/// The text at a pointer, if there is one and it is not empty.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// The list at a pointer; empty without one.
pub(super) fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether something stands at a pointer that is not empty.
pub(super) fn is_set(value: &Value, pointer: &str) -> bool {
    match value.pointer(pointer) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Bool(true) | Value::Number(_)) => true,
    }
}

/// Fields of one owner, with refusals that name it.
pub(super) struct Fields<'a> {
    pub(super) owner: &'a ObjectRef,
}

impl Fields<'_> {
    fn parsed<T>(&self, field: &str, parsed: Result<T, InvalidSource>) -> Result<T, Refusal> {
        let (owner, field) = (self.owner.clone(), field.to_owned());
        parsed.map_err(|why| Refusal::Malformed { owner, field, why: Box::new(why) })
    }

    /// An address.
    pub(super) fn url(&self, field: &str, given: Option<&str>) -> Result<GitUrl, Refusal> {
        self.parsed(field, GitUrl::parse(given.unwrap_or_default()))
    }

    /// A path; the root without one.
    pub(super) fn path(&self, field: &str, given: Option<&str>) -> Result<RepoPath, Refusal> {
        let given = given.unwrap_or_default();
        // `/apps` is the folder `apps` of the repository to both tools.
        self.parsed(field, RepoPath::parse(given.trim_start_matches('/')))
    }

    /// The branch that is followed: none for the default one. Whether a name that could be a tag is a
    /// branch is what the Git server says.
    pub(super) fn branch(
        &self,
        given: Option<&str>,
        by: Option<&str>,
    ) -> Result<Option<BranchName>, Refusal> {
        let Some(given) = given.filter(|given| *given != "HEAD") else { return Ok(None) };
        let fixed = || Refusal::FixedRevision {
            owner: self.owner.clone(),
            revision: given.chars().filter(|c| !c.is_control()).take(120).collect(),
            by: by.map(str::to_owned),
        };
        let name = given.strip_prefix("refs/heads/").unwrap_or(given);
        let is_commit =
            matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit());
        if is_commit || name.contains(RANGE) {
            return Err(fixed());
        }
        BranchName::parse(name).map(Some).map_err(|_| fixed())
    }
}
