//! Which kinds are served: the built-in ones, and those that a CustomResourceDefinition declares.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::builtin::BUILTIN;
use super::schema::{Schema, builtin_schema};

/// A kind by its API group and lower-case plural, whatever the version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindName {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// Lower-case plural, such as `replicasets`.
    pub plural: Cow<'static, str>,
}

impl KindName {
    /// A kind that is known when the program is written.
    pub const fn of(group: &'static str, plural: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), plural: Cow::Borrowed(plural) }
    }

    /// A kind that is not.
    pub fn new(group: &str, plural: &str) -> Self {
        Self { group: Cow::Owned(group.to_owned()), plural: Cow::Owned(plural.to_owned()) }
    }
}

/// Where the numbers of the scale subresource are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// `spec.replicas` of the scale.
    pub(crate) spec_replicas: Vec<String>,
    /// `status.replicas` of the scale.
    pub(crate) status_replicas: Vec<String>,
    /// `status.selector` of the scale; for built-in kinds the label selector of the spec.
    pub(crate) selector: Option<Vec<String>>,
}

/// A column of `kubectl get` that a CustomResourceDefinition declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
}

/// How objects of a kind are kept and changed.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a kind")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manners {
    /// `metadata.generation` counts changes of the spec.
    pub(crate) has_generation: bool,
    /// There is a `status` subresource, and only it writes `status`.
    pub(crate) has_status: bool,
    /// A PUT may come without a resourceVersion.
    pub(crate) updates_unconditionally: bool,
    /// A PUT to a name that is not there creates.
    pub(crate) creates_on_update: bool,
    /// A DELETE answers with the object.
    pub(crate) returns_deleted: bool,
}

/// One version of a kind as it is served.
#[derive(Clone, Debug)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// API version, such as `v1`.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Lower-case plural.
    pub plural: String,
    /// Lower-case singular.
    pub singular: String,
    /// Kind of lists.
    pub list_kind: String,
    /// Short names of `kubectl get`.
    pub short_names: Vec<String>,
    /// Categories of `kubectl get`, such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub is_namespaced: bool,
    /// Whether a CustomResourceDefinition declares it.
    pub is_custom: bool,
    /// Objects are answers to a POST and are not stored.
    pub(crate) is_virtual: bool,
    pub(crate) manners: Manners,
    pub(crate) scale: Option<Scale>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) columns: Vec<Column>,
    /// Fields by which objects of a custom kind can be selected.
    pub(crate) selectable: Vec<String>,
    /// The API version in which objects are kept.
    pub(crate) stored_as: String,
    /// What objects are kept under; versions of a kind share it.
    pub(crate) storage: KindName,
}

impl Resource {
    /// `group/version`, as in a manifest.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// `rollouts.sluice.dev`, as in messages.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// What companions call it.
    pub fn name(&self) -> KindName {
        KindName::new(&self.group, &self.plural)
    }
}

/// `group/version`, or the version alone in the core group.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Group and version of an `apiVersion`.
pub(crate) fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Every kind that is served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kinds {
    /// By group, plural and version.
    served: BTreeMap<(String, String, String), Arc<Resource>>,
}

impl Kinds {
    /// The built-in kinds.
    pub(crate) fn builtin() -> Self {
        let mut kinds = Self::default();
        for line in BUILTIN {
            kinds.add(line.resource());
        }
        kinds
    }

    pub(crate) fn add(&mut self, resource: Resource) {
        let key = (resource.group.clone(), resource.plural.clone(), resource.version.clone());
        self.served.insert(key, Arc::new(resource));
    }

    /// Stops serving every version of a kind.
    pub(crate) fn remove(&mut self, group: &str, plural: &str) {
        self.served.retain(|(served_group, served_plural, _), _| {
            served_group != group || served_plural != plural
        });
    }

    /// The resource of a request path.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.served.get(&(group.to_owned(), plural.to_owned(), version.to_owned()))
    }

    /// Any version of a kind: the first in alphabetical order.
    pub(crate) fn any_version(&self, name: &KindName) -> Option<&Arc<Resource>> {
        let from = (name.group.to_string(), name.plural.to_string(), String::new());
        let (key, resource) = self.served.range(from..).next()?;
        (key.0 == name.group && key.1 == name.plural).then_some(resource)
    }

    /// The resource of a manifest.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let (group, version) = split_api_version(api_version);
        self.all().find(|resource| {
            resource.kind == kind && resource.group == group && resource.version == version
        })
    }

    /// All of them, by group, plural and version.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.served.values()
    }

    /// One resource for each storage.
    pub(crate) fn storages(&self) -> BTreeMap<&KindName, &Arc<Resource>> {
        self.all().map(|resource| (&resource.storage, resource)).collect()
    }
}

/// A line of the table of built-in kinds.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a kind")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuiltinKind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) is_namespaced: bool,
    pub(crate) in_all: bool,
    pub(crate) has_scale: bool,
    pub(crate) is_virtual: bool,
    pub(crate) manners: Manners,
    /// Name of the type in the table of types.
    pub(crate) type_name: &'static str,
    /// Group under which objects are kept, and the version that they are kept in.
    pub(crate) stored_as: (&'static str, &'static str),
}

impl BuiltinKind {
    fn resource(&self) -> Resource {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let path = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect();
        Resource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
            singular: self.kind.to_lowercase(),
            list_kind: format!("{}List", self.kind),
            short_names: owned(self.short_names),
            categories: match self.group {
                "apiextensions.k8s.io" => owned(&["api-extensions"]),
                _ if self.in_all => owned(&["all"]),
                _ => Vec::new(),
            },
            is_namespaced: self.is_namespaced,
            is_custom: false,
            is_virtual: self.is_virtual,
            manners: self.manners,
            scale: self.has_scale.then(|| Scale {
                spec_replicas: path(&["spec", "replicas"]),
                status_replicas: path(&["status", "replicas"]),
                selector: None,
            }),
            schema: builtin_schema(self.type_name),
            columns: Vec::new(),
            selectable: Vec::new(),
            stored_as: api_version(self.stored_as.0, self.stored_as.1),
            storage: KindName::of(self.stored_as.0, self.plural),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_path_by_manifest_and_by_name() {
        let kinds = Kinds::builtin();
        assert_eq!(kinds.find("apps", "v1", "replicasets").unwrap().kind, "ReplicaSet");
        assert_eq!(kinds.of_kind("v1", "Pod").unwrap().plural, "pods");
        assert_eq!(kinds.any_version(&KindName::of("", "services")).unwrap().version, "v1");
        assert!(kinds.any_version(&KindName::of("apps", "pods")).is_none());
    }

    #[test]
    fn both_groups_of_events_share_one_storage() {
        let kinds = Kinds::builtin();
        let old = kinds.find("", "v1", "events").unwrap();
        let new = kinds.find("events.k8s.io", "v1", "events").unwrap();
        assert_eq!(old.storage, new.storage);
    }
}
