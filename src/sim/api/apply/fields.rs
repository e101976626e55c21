//! A set of fields, in the shape of `FieldsV1`: a tree whose edges are `f:name`, `k:{...}`,
//! `v:value` and `i:index`, and whose nodes are members of the set or only on the way to some.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::sim::api::schema::{ListKind, Schema};

/// The set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    is_member: bool,
    children: BTreeMap<String, Fields>,
}

impl Fields {
    /// Reads `fieldsV1`.
    pub(crate) fn from_json(value: &Value) -> Self {
        let mut fields = Self::default();
        for (edge, child) in value.as_object().into_iter().flatten() {
            if edge == "." {
                fields.is_member = true;
                continue;
            }
            let mut node = Self::from_json(child);
            node.is_member |= node.children.is_empty();
            fields.children.insert(edge.clone(), node);
        }
        fields
    }

    /// As `fieldsV1`.
    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.is_member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (edge, child) in &self.children {
            map.insert(edge.clone(), child.to_json());
        }
        Value::Object(map)
    }

    /// Whether nothing is in it. The root itself is never a member.
    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Adds a path.
    pub(crate) fn insert<S: AsRef<str>>(&mut self, path: &[S]) {
        match path {
            [] => self.is_member = true,
            [edge, rest @ ..] => self.child(edge.as_ref()).insert(rest),
        }
    }

    /// The node behind an edge; made when it is missing.
    pub(super) fn child(&mut self, edge: &str) -> &mut Self {
        if !self.children.contains_key(edge) {
            self.children.insert(edge.to_owned(), Self::default());
        }
        self.children.entry(edge.to_owned()).or_default()
    }

    pub(super) fn mark(&mut self) {
        self.is_member = true;
    }

    /// Removes nodes that lead nowhere.
    pub(super) fn trim(&mut self) {
        for child in self.children.values_mut() {
            child.trim();
        }
        self.children.retain(|_, child| child.is_member || !child.children.is_empty());
    }

    /// Whether the path of one edge is in it.
    pub(super) fn has(&self, edge: &str) -> bool {
        self.children.get(edge).is_some_and(|child| child.is_member)
    }

    /// What lies behind an edge, if anything does.
    pub(super) fn below(&self, edge: &str) -> Option<&Self> {
        self.children.get(edge).filter(|child| !child.children.is_empty())
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.absorb(other);
        all
    }

    fn absorb(&mut self, other: &Self) {
        self.is_member |= other.is_member;
        for (edge, child) in &other.children {
            match self.children.get_mut(edge) {
                Some(own) => own.absorb(child),
                None => {
                    self.children.insert(edge.clone(), child.clone());
                }
            }
        }
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(edge, child)| {
            let both = child.intersection(other.children.get(edge)?);
            (both.is_member || !both.children.is_empty()).then(|| (edge.clone(), both))
        });
        Self { is_member: self.is_member && other.is_member, children: children.collect() }
    }

    /// The members that are not members of `other`. What lies below such a member stays.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(edge, child)| {
            let rest = match other.children.get(edge) {
                Some(other) => child.difference(other),
                None => child.clone(),
            };
            (rest.is_member || !rest.children.is_empty()).then(|| (edge.clone(), rest))
        });
        Self { is_member: self.is_member && !other.is_member, children: children.collect() }
    }

    /// The members that are neither members of `other` nor below one.
    pub(crate) fn without_all(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(edge, child)| {
            let rest = match other.children.get(edge) {
                Some(other) if other.is_member => return None,
                Some(other) => child.without_all(other),
                None => child.clone(),
            };
            (rest.is_member || !rest.children.is_empty()).then(|| (edge.clone(), rest))
        });
        Self { is_member: self.is_member, children: children.collect() }
    }

    /// With every field of a struct that lies on a path as a member itself.
    pub(crate) fn with_named_members(&self, schema: &Schema) -> Self {
        let children = self.children.iter().map(|(edge, child)| {
            let (typed, is_named) = match edge.strip_prefix("f:") {
                Some(name) => (schema.inside(name), schema.properties.contains_key(name)),
                None => (schema.entries(), false),
            };
            let mut child = child.with_named_members(typed);
            child.is_member |= is_named;
            (edge.clone(), child)
        });
        Self { is_member: self.is_member, children: children.collect() }
    }

    /// Every path, as messages show them.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, path: &str, paths: &mut Vec<String>) {
        for (edge, child) in &self.children {
            if child.is_member {
                paths.push(format!("{path}{}", shown(edge)));
            }
        }
        for (edge, child) in &self.children {
            child.collect(&format!("{path}{}", shown(edge)), paths);
        }
    }
}

/// An edge as messages show it.
pub(super) fn shown(edge: &str) -> String {
    let (kind, rest) = edge.split_once(':').unwrap_or(("", edge));
    match kind {
        "f" => format!(".{rest}"),
        "k" => {
            let key: Value = serde_json::from_str(rest).unwrap_or_default();
            let parts: Vec<String> = key
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("[{}]", parts.join(","))
        }
        "v" => format!("[={rest}]"),
        _ => format!("[{rest}]"),
    }
}

/// The edge of an entry of a list; none if it has no key.
pub(super) fn edge_of(entry: &Value, list: &Schema) -> Option<String> {
    match &list.list {
        ListKind::Atomic => None,
        ListKind::Set => (!entry.is_object() && !entry.is_array() && !entry.is_null())
            .then(|| format!("v:{entry}")),
        ListKind::Map(keys) => {
            let map = entry.as_object()?;
            let mut sorted: BTreeMap<&str, &Value> = BTreeMap::new();
            let items = list.entries();
            for key in keys {
                let default = || items.properties.get(key).and_then(|field| field.default.as_ref());
                if let Some(value) = map.get(key).or_else(default) {
                    sorted.insert(key, value);
                }
            }
            if sorted.is_empty() {
                return None;
            }
            Some(format!("k:{}", serde_json::to_string(&sorted).ok()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: &Value) -> Fields {
        Fields::from_json(value)
    }

    #[test]
    fn a_set_is_read_and_written_as_it_stands_on_the_wire() {
        let wire = json!({"f:spec": {"f:replicas": {}, "f:ports": {".": {},
            "k:{\"name\":\"a\"}": {".": {}, "f:port": {}}}}});
        assert_eq!(fields(&wire).to_json(), wire);
        assert_eq!(
            fields(&wire).paths(),
            [
                ".spec.ports",
                ".spec.replicas",
                ".spec.ports[name=\"a\"]",
                ".spec.ports[name=\"a\"].port"
            ]
        );
    }

    #[test]
    fn sets_are_joined_cut_and_subtracted() {
        let one = fields(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        let other = fields(&json!({"f:a": {}, "f:d": {}}));
        assert_eq!(one.difference(&other).to_json(), json!({"f:a": {"f:b": {}}, "f:c": {}}));
        assert_eq!(one.without_all(&other).to_json(), json!({"f:c": {}}));
        assert_eq!(one.intersection(&other).to_json(), json!({"f:a": {}}));
        let all = json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}, "f:d": {}});
        assert_eq!(one.union(&other).to_json(), all);
    }
}
