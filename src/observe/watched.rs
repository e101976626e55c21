//! Objects as the API server sends them, read into JSON without what nothing decides on and what
//! makes up half of most objects: `metadata.managedFields`, the copy of itself that `kubectl apply`
//! keeps in an annotation, and of the endpoints of an EndpointSlice (those of the whole cluster are
//! watched) addresses and places. They are skipped while reading, so that they cost neither memory
//! nor the making of it.

use std::borrow::Cow;
use std::fmt;

use kube::Resource;
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope, ObjectMeta};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

/// The annotation in which `kubectl apply` keeps what was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Reads the answer to a request.
///
/// # Errors
/// When it is not one JSON object.
pub fn read_object(bytes: &[u8]) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let object = Part::Object.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(object)
}

/// An object of a watch or list. With `METADATA_ONLY` the server is asked for nothing else.
#[derive(Clone, Debug)]
pub(super) struct Watched<const METADATA_ONLY: bool> {
    /// What the watch itself needs: name, namespace, uid and resourceVersion.
    metadata: ObjectMeta,
    /// The object.
    pub(super) json: Value,
}

impl<'de, const METADATA_ONLY: bool> Deserialize<'de> for Watched<METADATA_ONLY> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Part::Object.deserialize(deserializer)?;
        let text = |field: &str| json.get("metadata")?.get(field)?.as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, json })
    }
}

impl<const METADATA_ONLY: bool> Resource for Watched<METADATA_ONLY> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(resource)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(resource)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(resource)
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::api_version(resource)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(resource)
    }

    fn metadata_api() -> bool {
        METADATA_ONLY
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The parts of an object in which something is left out.
#[derive(Clone, Copy)]
enum Part {
    Object,
    Metadata,
    Annotations,
    Endpoints,
}

impl Part {
    /// What stands under `key`: `Err` for what is left out, `Ok(None)` for what is kept whole.
    fn under(self, key: &str) -> Result<Option<Self>, ()> {
        match (self, key) {
            (Self::Metadata, "managedFields")
            | (Self::Annotations, LAST_APPLIED)
            | (Self::Endpoints, "addresses" | "nodeName" | "zone" | "hints" | "hostname") => {
                Err(())
            }
            (Self::Object, "metadata") => Ok(Some(Self::Metadata)),
            (Self::Object, "endpoints") => Ok(Some(Self::Endpoints)),
            (Self::Metadata, "annotations") => Ok(Some(Self::Annotations)),
            (Self::Object | Self::Metadata | Self::Annotations | Self::Endpoints, _) => Ok(None),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Metadata => "metadata",
            Self::Annotations => "annotations",
            Self::Endpoints => "endpoints",
        })
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        if !matches!(self, Self::Endpoints) {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = match self.under(&key) {
                Err(()) => {
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
                Ok(Some(part)) => entries.next_value_seed(part)?,
                Ok(None) => entries.next_value()?,
            };
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nothing_decides_on_is_left_out_where_it_stands_and_nowhere_else() {
        let object = json!({
            "kind": "Service", "managedFields": "kept",
            "metadata": {
                "name": "web", "uid": "u", "resourceVersion": "7",
                "managedFields": [{"fieldsV1": {"f:spec": {}}}],
                "annotations": { LAST_APPLIED: "{}" },
                "labels": { LAST_APPLIED: "kept" },
            },
            "spec": {"managedFields": 1, "annotations": { LAST_APPLIED: "kept" }},
        });
        let mut expected = object.clone();
        expected["metadata"].as_object_mut().unwrap().remove("managedFields");
        // An empty map stays: whoever adds an annotation must know that the object has some.
        expected["metadata"]["annotations"] = json!({});
        assert_eq!(read_object(object.to_string().as_bytes()).unwrap(), expected);
        let watched: Watched<false> = serde_json::from_str(&object.to_string()).unwrap();
        assert_eq!(watched.json, expected);
        assert_eq!(watched.meta().resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn of_endpoints_only_what_is_decided_on_is_kept() {
        let slice = json!({
            "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"port": 80}],
            "endpoints": [
                {
                    "addresses": ["10.1.2.3"], "nodeName": "n", "zone": "z",
                    "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "web-1"},
                },
                {"addresses": ["10.1.2.4"]},
            ],
        });
        let kept = read_object(slice.to_string().as_bytes()).unwrap();
        let expected = json!([
            {"conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": "web-1"}},
            {},
        ]);
        assert_eq!((&kept["endpoints"], &kept["ports"]), (&expected, &slice["ports"]));
        let none = json!({"endpoints": null});
        assert_eq!(read_object(none.to_string().as_bytes()).unwrap(), none);
    }

    #[test]
    fn what_is_not_an_object_is_an_error() {
        for text in ["", "[]", "7", "{", "{} {}"] {
            assert!(read_object(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(read_object(b"{\"metadata\": null}").unwrap(), json!({"metadata": null}));
    }
}
