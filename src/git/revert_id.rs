//! The identity of one revert: what makes "at most once" hold across crashes, restarts, lost
//! replies and changes of leader.
//!
//! It is computed from facts that every process sees alike, written to status before the push, and
//! put into the commit as a trailer, where the next process finds it. It must never contain time,
//! randomness or the name of a process.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::revision::{Commit, TemplateDigest, hex};

/// The trailer that carries a [`RevertId`] in the commit message.
pub const REVERT_ID_TRAILER: &str = "Sluice-Revert-Id";

/// 32 lower-case hex digits: which failed template of which Rollout, declared by which commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevertId(String);

impl RevertId {
    /// The identity of the revert of `failed`, which `declared_by` declares, for the Rollout with
    /// the UID `rollout_uid`.
    pub fn new(rollout_uid: &str, failed: &TemplateDigest, declared_by: &Commit) -> Self {
        let mut hasher = Sha256::new();
        for part in [rollout_uid, failed.as_str(), declared_by.as_str()] {
            // The length keeps two different triples from running into the same bytes.
            hasher.update(part.len().to_be_bytes());
            hasher.update(part.as_bytes());
        }
        let digest = hasher.finalize();
        Self(hex(&digest).chars().take(32).collect())
    }

    /// An identity that was read from status or from a commit, if it has the right form.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (is_hex && text.len() == 32).then(|| Self(text.to_owned()))
    }

    /// The hex text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RevertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_depends_on_each_fact_and_on_nothing_else() {
        let digest = |text: &str| TemplateDigest::from_annotation(text);
        let commit = |c: char| Commit::parse(&c.to_string().repeat(40)).unwrap();
        let id = RevertId::new("uid-1", &digest("d1"), &commit('a'));
        assert_eq!(id, RevertId::new("uid-1", &digest("d1"), &commit('a')));
        assert_ne!(id, RevertId::new("uid-2", &digest("d1"), &commit('a')));
        assert_ne!(id, RevertId::new("uid-1", &digest("d2"), &commit('a')));
        assert_ne!(id, RevertId::new("uid-1", &digest("d1"), &commit('b')));
        assert_ne!(
            RevertId::new("ab", &digest("c"), &commit('a')),
            RevertId::new("a", &digest("bc"), &commit('a'))
        );
        assert_eq!(RevertId::parse(id.as_str()), Some(id));
        assert_eq!(RevertId::parse("ABC"), None);
    }

    #[test]
    fn the_identity_of_known_facts_never_changes() {
        // A change here would make a restarted controller push a second revert.
        let id = RevertId::new(
            "6f1a",
            &TemplateDigest::from_annotation("d"),
            &Commit::parse(&"a".repeat(40)).unwrap(),
        );
        insta::assert_snapshot!(id.as_str());
    }
}
