//! The nginx Ingress controller: the user's Ingress serves stable, and a second Ingress of ours,
//! `<rollout>-<ingress>-canary`, takes a share of the same requests by annotations.
//!
//! The user's Ingress is only read. Ours copies the rules that point at the stable Service, its TLS
//! and its class; it stays in place with weight 0 after a promotion, so that the next rollout does
//! not have to wait for it. Annotations that others put on it are kept, which includes those that
//! were once named in the Rollout. There is no status to wait for: ingress-nginx reports none.
//!
//! Wire format: ingress-nginx, "Annotations", section Canary; names and fields are Argo Rollouts'.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::change::controller_of;
use super::lens::{Acceptance, Backends, Derivation, ReadError, RouteLens, RouteRef, WriteError};
use super::provider::{
    Capabilities, ConfigError, Example, MAX_NAME, Provider, RbacRule, check_name, shortened,
};
use crate::revision::hex;
use crate::weight::Split;

/// Annotation prefix of ingress-nginx unless it runs with another.
const DEFAULT_PREFIX: &str = "nginx.ingress.kubernetes.io";
/// The class annotation that preceded `spec.ingressClassName`.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// Total that ingress-nginx assumes when no annotation gives one.
const DEFAULT_TOTAL: u32 = 100;
const CANARY: &str = "canary";
const WEIGHT: &str = "canary-weight";
const TOTAL: &str = "canary-weight-total";

/// The nginx Ingress controller: a canary Ingress is made beside the user's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.stableIngress) != has(self.stableIngresses)",
    "message": "exactly one of stableIngress and stableIngresses must be set",
}]))]
pub struct Nginx {
    /// Name of the Ingress that serves the stable Service, in the Rollout's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub stable_ingress: Option<String>,
    /// Names of the Ingresses that serve the stable Service, instead of `stableIngress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)))]
    pub stable_ingresses: Option<Vec<String>>,
    /// Prefix of the controller's annotations; default `nginx.ingress.kubernetes.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub annotation_prefix: Option<String>,
    /// Annotations of the canary Ingress; a key without the prefix gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_ingress_annotations: Option<BTreeMap<String, String>>,
    /// Annotations of the canary Ingress, with their keys as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_ingress_annotations: Option<BTreeMap<String, String>>,
}

impl Nginx {
    fn prefix(&self) -> &str {
        match self.annotation_prefix.as_deref() {
            None | Some("") => DEFAULT_PREFIX,
            Some(prefix) => prefix,
        }
    }

    fn ingresses(&self) -> impl Iterator<Item = &String> {
        self.stable_ingress.iter().chain(self.stable_ingresses.iter().flatten())
    }

    /// The annotations that the Rollout asks for, by their full keys.
    fn annotations(&self) -> BTreeMap<String, String> {
        let prefix = self.prefix();
        let own = self.canary_ingress_annotations.iter().flatten();
        let mut all: BTreeMap<_, _> = own.map(|(k, v)| (k.clone(), v.clone())).collect();
        for (key, value) in self.additional_ingress_annotations.iter().flatten() {
            let is_full = key.starts_with(prefix);
            let key = if is_full { key.clone() } else { format!("{prefix}/{key}") };
            all.insert(key, value.clone());
        }
        all
    }
}

impl Provider for Nginx {
    const CAPABILITIES: Capabilities =
        Capabilities { weight: true, header_route: false, mirror: false };
    const RULES: &'static [RbacRule] = &[RbacRule {
        api_group: "networking.k8s.io",
        resources: &["ingresses"],
        verbs: &["get", "list", "watch", "create", "patch"],
    }];

    fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        match (&self.stable_ingress, &self.stable_ingresses) {
            (Some(name), None) => problems.extend(check_name("stableIngress", name)),
            (None, Some(names)) => {
                if names.is_empty() {
                    problems.push(ConfigError::new("stableIngresses", "is empty: name an Ingress"));
                }
                for (idx, name) in names.iter().enumerate() {
                    let field = format!("stableIngresses[{idx}]");
                    problems.extend(check_name(&field, name));
                    if names.iter().take(idx).any(|earlier| earlier == name) {
                        problems.push(ConfigError::new(&field, format!("repeats `{name}`")));
                    }
                }
            }
            (None, None) => problems
                .push(ConfigError::new("stableIngress", "is missing: name the stable Ingress")),
            (Some(_), Some(_)) => problems.push(ConfigError::new(
                "stableIngresses",
                "is set together with stableIngress: keep one of them",
            )),
        }
        problems.extend(check_name("annotationPrefix", self.prefix()));
        let reserved = [CANARY, WEIGHT, TOTAL].map(|key| format!("{}/{key}", self.prefix()));
        for key in self.annotations().into_keys().filter(|key| reserved.contains(key)) {
            problems.push(ConfigError::new(
                "additionalIngressAnnotations",
                format!("sets `{key}`, which Sluice sets itself: remove it"),
            ));
        }
        problems
    }

    fn lenses(&self, to: &Backends) -> Vec<Box<dyn RouteLens>> {
        let lens = |ingress: &String| {
            Box::new(CanaryIngress {
                source: ingress.clone(),
                name: canary_name(&to.rollout.name, ingress),
                prefix: self.prefix().to_owned(),
                annotations: self.annotations(),
            }) as Box<dyn RouteLens>
        };
        self.ingresses().map(lens).collect()
    }

    fn examples() -> Vec<Example<Self>> {
        let config = Self { stable_ingress: Some("shop".into()), ..Self::default() };
        let owner = json!([{"apiVersion": "sluice.dev/v1alpha1", "kind": "Rollout",
            "name": "shop", "uid": "rollout-uid", "controller": true, "blockOwnerDeletion": true}]);
        let metadata = |name: &str| {
            json!({"name": name, "namespace": "default", "uid": name,
            "resourceVersion": "1", "annotations": {"team": "checkout"}})
        };
        let spec = |service: &str| {
            json!({"ingressClassName": "nginx", "rules": [{"host": "shop",
            "http": {"paths": [{"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": service, "port": {"number": 80}}}}]}}]})
        };
        let ingress = |name: &str, service: &str| {
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                "metadata": metadata(name), "spec": spec(service)})
        };
        let mut live = ingress("shop-shop-canary", "shop-canary");
        set(&mut live, "/metadata", "ownerReferences", owner);
        for (key, value) in [(CANARY, "true"), (WEIGHT, "0")] {
            let key = format!("{DEFAULT_PREFIX}/{key}");
            set(&mut live, "/metadata/annotations", &key, value.into());
        }
        vec![Example { config, live, source: Some(ingress("shop", "shop-stable")) }]
    }
}

/// The canary Ingress that belongs to one stable Ingress.
#[derive(Clone, Debug)]
struct CanaryIngress {
    source: String,
    name: String,
    prefix: String,
    annotations: BTreeMap<String, String>,
}

impl CanaryIngress {
    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.prefix)
    }

    fn malformed(&self, key: &str, found: &Value, expected: &'static str) -> ReadError {
        ReadError::Malformed {
            route: self.route().to_string(),
            field: format!("metadata.annotations[{}]", self.key(key)),
            found: shortened(found),
            expected,
        }
    }

    /// A number in an annotation; `default` when there is none, as ingress-nginx has it.
    fn number(&self, live: &Value, key: &str, default: u32) -> Result<u32, ReadError> {
        let found = annotation(live, &self.key(key));
        match found {
            None => Ok(default),
            Some(found) => found
                .as_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| self.malformed(key, found, "a whole number in quotes")),
        }
    }
}

impl RouteLens for CanaryIngress {
    fn route(&self) -> RouteRef {
        ingress_ref(&self.name)
    }

    fn read(&self, live: &Value, _to: &Backends) -> Result<Split, ReadError> {
        let canary = annotation(live, &self.key(CANARY)).unwrap_or(&Value::Null);
        if canary != "true" {
            // Without it the object is an ordinary Ingress for the same hosts: what it takes is
            // not ours to guess.
            return Err(self.malformed(CANARY, canary, "\"true\""));
        }
        let total = self.number(live, TOTAL, DEFAULT_TOTAL)?;
        let weight = self.number(live, WEIGHT, 0)?;
        Split::new(weight, total).map_err(|_| {
            self.malformed(WEIGHT, &json!(format!("{weight} of {total}")), "0 to the total")
        })
    }

    fn write(&self, live: &Value, to: &Backends, split: Split) -> Result<Value, WriteError> {
        refuse_unowned(&self.route(), live, to)?;
        let mut desired = live.clone();
        let annotations = ensure_object(&mut desired, &["metadata", "annotations"]);
        let Some(annotations) = annotations else {
            return Err(WriteError::Unreadable(ReadError::Malformed {
                route: self.route().to_string(),
                field: "metadata.annotations".to_owned(),
                found: shortened(live.pointer("/metadata/annotations").unwrap_or(&Value::Null)),
                expected: "an object",
            }));
        };
        annotations.insert(self.key(CANARY), "true".into());
        annotations.insert(self.key(WEIGHT), split.canary().to_string().into());
        if split.total() == DEFAULT_TOTAL {
            annotations.retain(|key, _| *key != self.key(TOTAL));
        } else {
            annotations.insert(self.key(TOTAL), split.total().to_string().into());
        }
        Ok(desired)
    }

    fn acceptance(&self, _live: &Value, _to: &Backends) -> Acceptance {
        Acceptance::Confirmed
    }

    fn is_weight_path(&self, pointer: &str) -> bool {
        [CANARY, WEIGHT, TOTAL].iter().any(|key| {
            let token = self.key(key).replace('~', "~0").replace('/', "~1");
            pointer.strip_prefix("/metadata/annotations/") == Some(token.as_str())
        })
    }

    fn derivation(&self) -> Option<&dyn Derivation> {
        Some(self)
    }
}

impl Derivation for CanaryIngress {
    fn source(&self) -> RouteRef {
        ingress_ref(&self.source)
    }

    fn derive(
        &self,
        source: &Value,
        live: Option<&Value>,
        to: &Backends,
    ) -> Result<Value, WriteError> {
        let mut desired = match live {
            Some(live) => {
                refuse_unowned(&self.route(), live, to)?;
                live.clone()
            }
            None => self.skeleton(to),
        };
        let rules = self.canary_rules(source, to)?;
        if let Some(spec) = ensure_object(&mut desired, &["spec"]) {
            spec.insert("rules".to_owned(), Value::Array(rules));
            for key in ["ingressClassName", "tls"] {
                copy_or_remove(source.pointer("/spec"), key, spec);
            }
        }
        if let Some(annotations) = ensure_object(&mut desired, &["metadata", "annotations"]) {
            copy_or_remove(source.pointer("/metadata/annotations"), CLASS_ANNOTATION, annotations);
            for (key, value) in &self.annotations {
                annotations.insert(key.clone(), value.clone().into());
            }
            annotations.insert(self.key(CANARY), "true".into());
            annotations.entry(self.key(WEIGHT)).or_insert_with(|| "0".into());
        }
        Ok(desired)
    }
}

impl CanaryIngress {
    /// The canary Ingress before its rules, class and annotations.
    fn skeleton(&self, to: &Backends) -> Value {
        let owner = &to.rollout;
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": self.name,
                "namespace": to.namespace,
                "annotations": {},
                "ownerReferences": [{
                    "apiVersion": owner.api_version,
                    "kind": owner.kind,
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            },
            "spec": {},
        })
    }

    /// The rules of the user's Ingress with only those paths that point at the stable Service,
    /// pointing at the canary Service instead.
    fn canary_rules(&self, source: &Value, to: &Backends) -> Result<Vec<Value>, WriteError> {
        let rules = source.pointer("/spec/rules").and_then(Value::as_array);
        let rules: Vec<Value> =
            rules.into_iter().flatten().filter_map(|rule| canary_rule(rule, to)).collect();
        if rules.is_empty() {
            let service = to.stable_service.clone();
            return Err(WriteError::NoSourceRule { route: self.source().to_string(), service });
        }
        Ok(rules)
    }
}

fn canary_rule(rule: &Value, to: &Backends) -> Option<Value> {
    const SERVICE_NAME: &str = "/backend/service/name";
    let mut rule = rule.clone();
    let paths = rule.pointer_mut("/http/paths")?.as_array_mut()?;
    paths.retain(|path| {
        path.pointer(SERVICE_NAME).and_then(Value::as_str) == Some(&to.stable_service)
    });
    for name in paths.iter_mut().filter_map(|path| path.pointer_mut(SERVICE_NAME)) {
        *name = to.canary_service.clone().into();
    }
    let has_paths = !paths.is_empty();
    has_paths.then_some(rule)
}

/// A canary Ingress that this Rollout does not control is never written to.
fn refuse_unowned(route: &RouteRef, live: &Value, to: &Backends) -> Result<(), WriteError> {
    let owner = match controller_of(live) {
        Some(controller) if controller.uid() == to.rollout.uid => return Ok(()),
        Some(controller) => format!("it is controlled by {controller}"),
        None => "it exists already and no Rollout owns it".to_owned(),
    };
    Err(WriteError::NotOurs { route: route.to_string(), owner })
}

/// `<rollout>-<ingress>-canary`. A name beyond the limit is cut, and a digest of the whole keeps
/// two long names apart.
fn canary_name(rollout: &str, ingress: &str) -> String {
    let prefix = format!("{rollout}-{ingress}");
    let full = format!("{prefix}-canary");
    if full.len() <= MAX_NAME {
        return full;
    }
    let digest = hex(&Sha256::digest(prefix.as_bytes()));
    let tail = format!("-{}-canary", digest.get(..10).unwrap_or(&digest));
    let cut: String = prefix.chars().take(MAX_NAME - tail.len()).collect();
    format!("{}{tail}", cut.trim_end_matches(['-', '.']))
}

fn ingress_ref(name: &str) -> RouteRef {
    RouteRef::new("networking.k8s.io/v1", "Ingress", "ingresses", name)
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    object.get("metadata")?.get("annotations")?.get(key)
}

fn copy_or_remove(from: Option<&Value>, key: &str, to: &mut Map<String, Value>) {
    match from.and_then(|from| from.get(key)) {
        Some(value) => {
            to.insert(key.to_owned(), value.clone());
        }
        None => to.retain(|other, _| other != key),
    }
}

/// The object at `path`, made where it is missing or null; `None` when something else is there.
fn ensure_object<'a>(root: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    path.iter().try_fold(root.as_object_mut()?, |object, key| {
        let child = object.entry(*key).or_insert(Value::Null);
        if child.is_null() {
            *child = json!({});
        }
        child.as_object_mut()
    })
}

fn set(root: &mut Value, pointer: &str, key: &str, value: Value) {
    if let Some(object) = root.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;
