//! Which series are the canary's and which are stable's.

use std::collections::BTreeMap;

use super::selector::quoted;
use crate::api::analysis::ArmsBy;

/// How the arms are told apart, both named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedArms {
    /// By what.
    pub by: ArmsBy,
    /// The label.
    pub label: String,
    /// The label with the name of the pod.
    pub pod_label: String,
    /// What the label says for the canary: a ReplicaSet, or a value.
    pub canary: String,
    /// What it says for stable.
    pub stable: String,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// The new revision.
    Canary,
    /// The one before.
    Stable,
}

impl ResolvedArms {
    /// The matcher that selects both.
    pub fn both(&self) -> String {
        self.matcher(&format!("({}|{})", literal(&self.canary), literal(&self.stable)))
    }

    /// The matcher that selects stable alone.
    pub fn stable_only(&self) -> String {
        self.matcher(&literal(&self.stable))
    }

    fn matcher(&self, pattern: &str) -> String {
        let tail = match self.by {
            ArmsBy::Pod => "-[a-z0-9]+",
            ArmsBy::Workload | ArmsBy::Label => "",
        };
        format!("{}=~{}", self.label, quoted(&format!("{pattern}{tail}")))
    }

    /// Whose a series is.
    pub fn of(&self, labels: &BTreeMap<String, String>) -> Option<Arm> {
        // As in PromQL: a label that is missing is empty.
        let value = labels.get(&self.label).map_or("", String::as_str);
        let is_of = |own: &str| match self.by {
            ArmsBy::Pod => value
                .strip_prefix(own)
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|rest| !rest.is_empty() && !rest.contains('-')),
            ArmsBy::Workload | ArmsBy::Label => value == own,
        };
        match (is_of(&self.canary), is_of(&self.stable)) {
            (true, false) => Some(Arm::Canary),
            (false, true) => Some(Arm::Stable),
            (true, true) | (false, false) => None,
        }
    }
}

/// A text as a regular expression of RE2 that matches nothing else.
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms(by: ArmsBy) -> ResolvedArms {
        ResolvedArms {
            by,
            label: "pod".into(),
            pod_label: "pod".into(),
            canary: "shop-abc.1".into(),
            stable: "shop-abc".into(),
        }
    }

    fn of(by: ArmsBy, value: &str) -> Option<Arm> {
        arms(by).of(&[("pod".to_owned(), value.to_owned())].into())
    }

    #[test]
    fn pods_belong_to_the_replica_set_that_their_names_begin_with() {
        assert_eq!(of(ArmsBy::Pod, "shop-abc-x7k2p"), Some(Arm::Stable));
        assert_eq!(of(ArmsBy::Pod, "shop-abc.1-x7k2p"), Some(Arm::Canary));
        for other in ["shop-abc", "shop-abc-", "shop-abc-def-x7k2p", "other-x7k2p"] {
            assert_eq!(of(ArmsBy::Pod, other), None, "{other}");
        }
        assert_eq!(of(ArmsBy::Label, "shop-abc"), Some(Arm::Stable));
        assert_eq!(of(ArmsBy::Label, "shop-abc-x7k2p"), None);
        assert_eq!(arms(ArmsBy::Pod).of(&BTreeMap::new()), None);
    }

    #[test]
    fn stable_may_be_what_lacks_the_label() {
        let stable = ResolvedArms { stable: String::new(), ..arms(ArmsBy::Label) };
        assert_eq!(stable.of(&BTreeMap::new()), Some(Arm::Stable));
        assert_eq!(
            stable.of(&[("pod".to_owned(), "shop-abc.1".to_owned())].into()),
            Some(Arm::Canary)
        );
        assert_eq!(stable.of(&[("pod".to_owned(), "other".to_owned())].into()), None);
        assert_eq!(stable.both(), r#"pod=~"(shop-abc\\.1|)""#);
    }

    #[test]
    fn the_matcher_names_both_literally() {
        assert_eq!(arms(ArmsBy::Pod).both(), r#"pod=~"(shop-abc\\.1|shop-abc)-[a-z0-9]+""#);
        assert_eq!(arms(ArmsBy::Workload).stable_only(), r#"pod=~"shop-abc""#);
    }
}
