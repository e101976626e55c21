//! Two identities that must never be confused: a [`Revision`] of a pod template in the cluster and
//! a [`Commit`] in Git.
//!
//! A revision's identity is a digest of the *user's JSON* in canonical form. It is stored on the
//! ReplicaSet that was made for it and looked up from there; it is never recomputed for an existing
//! ReplicaSet, so that a later version of this program, or of a Kubernetes library, cannot turn an
//! unchanged template into a new revision. This module touches no clock, client, log or randomness.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Letters and digits of a short hash that form no words and are valid in labels and names; the
/// alphabet of Kubernetes' own `SafeEncodeString`.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Length of [`Revision`], in characters.
const REVISION_LEN: usize = 10;

/// The name of a pod template's revision: the value of the revision label on ReplicaSets and pods,
/// and the suffix of the ReplicaSet's name.
///
/// It is opaque: revisions made by other tools (Argo Rollouts) keep the value that they were given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(String);

impl Revision {
    /// A revision that was read from a label or from status.
    pub fn from_label(label: impl Into<String>) -> Self {
        Self(label.into())
    }

    /// The name for a template that has no ReplicaSet yet. `collisions` is `status.collisionCount`:
    /// it changes the name when another template already took it.
    pub fn name_for(digest: &TemplateDigest, collisions: u32) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(digest.0.as_bytes());
        if collisions > 0 {
            hasher.update(collisions.to_be_bytes());
        }
        let name = hasher
            .finalize()
            .iter()
            .take(REVISION_LEN)
            .filter_map(|byte| SAFE.get(usize::from(*byte) % SAFE.len()))
            .map(|letter| char::from(*letter))
            .collect();
        Self(name)
    }

    /// The label value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether no revision is named (an empty field in status).
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 over the canonical JSON of a pod template as the user wrote it, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TemplateDigest(String);

impl TemplateDigest {
    /// The digest of `template`: keys sorted, no white space.
    pub fn of(template: &Value) -> Self {
        Self(hex(&Sha256::digest(canonical_json(template).as_bytes())))
    }

    /// A digest that was read from an annotation or from status.
    pub fn from_annotation(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The hex text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TemplateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Git commit: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits, checked when made. Refspecs are
/// built only from this type, so that an empty or abbreviated id can never delete a branch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Commit(String);

/// The text is not a full object id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a full Git object id (40 or 64 lower-case hex digits)")]
pub struct InvalidCommit(String);

impl Commit {
    /// Parses a full object id.
    ///
    /// # Errors
    /// [`InvalidCommit`] for anything but 40 or 64 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, InvalidCommit> {
        let is_hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_hex && matches!(text.len(), 40 | 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCommit(text.chars().take(80).collect()))
        }
    }

    /// The full object id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl TryFrom<String> for Commit {
    type Error = InvalidCommit;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Commit> for String {
    fn from(commit: Commit) -> Self {
        commit.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// JSON with sorted keys and no white space: equal for equal values, whatever the order in which
/// they were written.
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (idx, (key, item)) in keys.into_iter().enumerate() {
                if idx > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_canonical(item, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (idx, item) in items.iter().enumerate() {
                if idx > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

/// Lower-case hex of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .map(|digit| char::from(*digit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_digest_ignores_key_order_and_sees_every_value() {
        let a = json!({"spec": {"b": 1, "a": [1, 2]}, "metadata": {}});
        let b: Value =
            serde_json::from_str(r#"{ "metadata":{}, "spec":{"a":[1,2],"b":1}}"#).unwrap();
        assert_eq!(TemplateDigest::of(&a), TemplateDigest::of(&b));
        let c = json!({"spec": {"b": 1, "a": [2, 1]}, "metadata": {}});
        assert_ne!(TemplateDigest::of(&a), TemplateDigest::of(&c));
    }

    #[test]
    fn the_digest_of_a_known_template_never_changes() {
        // A change here would make every Rollout in every cluster a new revision.
        let template = json!({"spec": {"containers": [{"name": "web", "image": "web:1"}]}});
        let digest = TemplateDigest::of(&template);
        insta::assert_snapshot!(digest.as_str());
        insta::assert_snapshot!(Revision::name_for(&digest, 0).as_str());
        insta::assert_snapshot!(Revision::name_for(&digest, 1).as_str());
    }

    #[test]
    fn a_commit_is_a_full_object_id_and_nothing_else() {
        assert!(Commit::parse(&"a".repeat(40)).is_ok());
        assert!(Commit::parse(&"0".repeat(64)).is_ok());
        for bad in ["", "main", "abc123", &"A".repeat(40), &"g".repeat(40), &"a".repeat(41)] {
            assert!(Commit::parse(bad).is_err(), "{bad:?}");
        }
    }
}
