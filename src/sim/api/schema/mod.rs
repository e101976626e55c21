//! The type of an object: what fields it has, and how its lists and maps are merged. One form for
//! the built-in kinds (from a table) and for custom ones (from their CustomResourceDefinition).

mod builtin;
mod openapi;
mod shape;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub(crate) use builtin::builtin_schema;
pub(crate) use openapi::from_openapi;
pub(crate) use shape::{apply_defaults, prune};
pub(crate) use validate::validate;

/// What a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Anything.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    /// An integer or a text.
    IntOrString,
}

/// How a list is merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// As one value.
    #[default]
    Atomic,
    /// As a set of scalars.
    Set,
    /// As a map whose keys are these fields of each entry.
    Map(Vec<String>),
}

/// How a strategic merge patch treats a list or map of a built-in type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PatchRule {
    /// Lists are merged (by the key, if it is not empty) and not replaced.
    pub(crate) merge_key: Option<String>,
    /// Other fields are removed when the patch says which to keep.
    pub(crate) retains_keys: bool,
}

/// Limits on a value of a custom kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) values: Vec<Value>,
    pub(crate) minimum: Option<(Value, bool)>,
    pub(crate) maximum: Option<(Value, bool)>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) pattern: Option<(String, Option<regex::Regex>)>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) unique_items: bool,
    #[expect(dead_code, reason = "formats are validated next")]
    pub(crate) format: String,
    pub(crate) all_of: Vec<Schema>,
    pub(crate) any_of: Vec<Schema>,
    pub(crate) one_of: Vec<Schema>,
    pub(crate) not: Option<Box<Schema>>,
}

/// The type of a value.
#[expect(clippy::struct_excessive_bools, reason = "the flags of a schema")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    pub(crate) form: Form,
    pub(crate) properties: BTreeMap<String, Arc<Schema>>,
    /// Type of the values of a map.
    pub(crate) additional: Option<Arc<Schema>>,
    pub(crate) items: Option<Arc<Schema>>,
    pub(crate) required: Vec<String>,
    pub(crate) default: Option<Value>,
    pub(crate) list: ListKind,
    /// A map or struct that is merged as one value.
    pub(crate) is_atomic: bool,
    pub(crate) is_nullable: bool,
    /// Unknown fields are kept.
    pub(crate) preserves_unknown: bool,
    /// The value is a whole object, with apiVersion, kind and metadata.
    pub(crate) is_embedded: bool,
    pub(crate) patch: PatchRule,
    pub(crate) limits: Option<Box<Limits>>,
    /// `x-kubernetes-validations`, as they are written.
    pub(crate) rules: Vec<Value>,
    #[expect(dead_code, reason = "OpenAPI comes with the HTTP front")]
    /// The type is a quantity, a time or binary: what it is called in the table.
    pub(crate) scalar: &'static str,
    #[expect(dead_code, reason = "OpenAPI comes with the HTTP front")]
    pub(crate) description: String,
}

impl Schema {
    /// The type of the field `name`, if it is known.
    pub(crate) fn field(&self, name: &str) -> Option<&Arc<Schema>> {
        self.properties.get(name).or(self.additional.as_ref())
    }
}
