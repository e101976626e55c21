//! The type of an object: what fields it has, and how its lists and maps are merged. One form for
//! the built-in kinds (from a table) and for custom ones (from their CustomResourceDefinition).

mod builtin;
mod decode;
mod openapi;
mod quantity;
mod rules;
mod shape;
mod validate;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

pub(crate) use builtin::builtin_schema;
pub(crate) use decode::{decode, empty};
pub(crate) use openapi::from_openapi;
pub(crate) use rules::{Rules, check_rules};
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
    /// `x-kubernetes-validations`.
    pub(crate) rules: Option<Rules>,
    /// There are rules here or further down.
    pub(crate) leads_to_rules: bool,
    /// A field of a built-in type that is a pointer: its zero is kept.
    pub(crate) is_pointer: bool,
    /// A field of a built-in type that is always written.
    pub(crate) is_always: bool,
    /// Of a built-in type: what it is called in the table.
    pub(crate) name: &'static str,
    #[expect(dead_code, reason = "OpenAPI comes with the HTTP front")]
    pub(crate) description: String,
}

impl Schema {
    /// The type of the field `name`, if it is known.
    pub(crate) fn field(&self, name: &str) -> Option<&Arc<Schema>> {
        self.properties.get(name).or(self.additional.as_ref())
    }

    /// Whether there are CEL rules in it.
    pub(crate) fn has_rules(&self) -> bool {
        self.leads_to_rules
    }

    /// The type of the field `name`; anything where it is not known.
    pub(crate) fn inside(&self, name: &str) -> &Schema {
        match self.field(name) {
            Some(schema) => schema,
            None => anything(),
        }
    }

    /// The type of the entries of a list; anything where it is not known.
    pub(crate) fn entries(&self) -> &Schema {
        match &self.items {
            Some(schema) => schema,
            None => anything(),
        }
    }
}

/// The type of which nothing is known.
fn anything() -> &'static Schema {
    static ANYTHING: OnceLock<Schema> = OnceLock::new();
    ANYTHING.get_or_init(|| Schema { preserves_unknown: true, ..Schema::default() })
}
