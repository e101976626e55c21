//! What an earlier pass made of objects, so that a part which stayed the same is not read and
//! checked again. It compares the parts themselves and trusts no generation; it decides nothing and
//! holds nothing that the objects do not say.

use std::sync::Arc;

use serde_json::Value;

use super::objects::at;
use super::rollout::Snapshot;
use crate::plan::facts::Known;
use crate::plan::validate::Checked;

/// What was made of a Rollout and its ReplicaSets.
#[derive(Clone, Debug, Default)]
pub struct Recall {
    /// The Rollout as it was read, and its spec.
    spec: Option<(Arc<Value>, Arc<Checked>)>,
    /// The ReplicaSets as they were read, and their templates without what Sluice added.
    templates: Vec<(Arc<Value>, Arc<Value>)>,
}

impl Recall {
    /// What was made of the objects of a pass.
    pub fn of(snapshot: &Snapshot) -> Self {
        let sets = match &snapshot.observed.replica_sets {
            Known::Known(sets) => sets.as_slice(),
            Known::Unknown(_) => &[],
        };
        let templates = sets.iter().filter_map(|set| {
            let key = ("replicasets".to_owned(), set.name.clone());
            Some((snapshot.objects.get(&key)?.clone(), set.template.clone()))
        });
        Self {
            spec: Some((snapshot.rollout.clone(), snapshot.observed.rollout.spec.clone())),
            templates: templates.collect(),
        }
    }

    /// The checked spec, if the Rollout's name and spec are the same.
    pub(super) fn spec(&self, rollout: &Value) -> Option<Arc<Checked>> {
        let (before, spec) = self.spec.as_ref()?;
        let same = |pointer: &str| at(before, pointer) == at(rollout, pointer);
        (same("/metadata/name") && same("/spec")).then(|| spec.clone())
    }

    /// The template of a ReplicaSet, if it is the same.
    pub(super) fn template(&self, set: &Value) -> Option<Arc<Value>> {
        let wanted = at(set, "/spec/template");
        let same = |(before, _): &&(Arc<Value>, Arc<Value>)| at(before, "/spec/template") == wanted;
        self.templates.iter().find(same).map(|(_, template)| template.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recall(rollout: &Value, set: &Value) -> Recall {
        let spec = Checked { usable: None, problems: vec![] };
        Recall {
            spec: Some((Arc::new(rollout.clone()), Arc::new(spec))),
            templates: vec![(Arc::new(set.clone()), Arc::new(json!("a template")))],
        }
    }

    #[test]
    fn only_what_is_the_same_is_recalled() {
        let rollout = json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}});
        let set = json!({"spec": {"replicas": 1, "template": {"spec": {"containers": []}}}});
        let recall = recall(&rollout, &set);
        let with = |object: &Value, pointer: &str, value: Value| {
            let mut object = object.clone();
            *object.pointer_mut(pointer).unwrap() = value;
            object
        };
        assert!(recall.spec(&rollout).is_some());
        assert!(recall.spec(&with(&rollout, "/spec/replicas", json!(2))).is_none());
        assert!(recall.spec(&with(&rollout, "/metadata/name", json!("api"))).is_none());
        assert!(recall.template(&with(&set, "/spec/replicas", json!(5))).is_some());
        let other = with(&set, "/spec/template/spec/containers", json!([{"name": "a"}]));
        assert!(recall.template(&other).is_none());
        assert!(Recall::default().spec(&rollout).is_none());
    }
}
