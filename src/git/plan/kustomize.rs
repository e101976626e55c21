//! What a kustomization does to a Rollout, as far as it can be told from its text alone.
//!
//! Modelled: `resources`, `bases`, `components`, `namespace`, `namePrefix`, `nameSuffix`, `images`.
//! Harmless for a Rollout's template (kustomize's built-in field lists name only built-in kinds):
//! labels, annotations, generators, replicas, and patches that are aimed at another object. All
//! else is opaque: it may change the template in a way that only kustomize can tell. This module
//! must never guess: a field that it does not know is opaque.
//!
//! Source: kustomize's API reference (`kustomization.yaml`), `imagetag` filter and the built-in
//! field specifications `commonLabels`, `commonAnnotations`, `nameReference`.

use serde_json::{Map, Value};

/// Fields that never reach the pod template of a custom resource.
const HARMLESS: [&str; 15] = [
    "apiVersion",
    "kind",
    "metadata",
    "commonLabels",
    "commonAnnotations",
    "labels",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "replicas",
    "buildMetadata",
    "sortOptions",
    "validators",
    "openapi",
    "helmGlobals",
];

/// Fields that are modelled or looked at one by one.
const MODELLED: [&str; 10] = [
    "resources",
    "bases",
    "components",
    "namespace",
    "namePrefix",
    "nameSuffix",
    "images",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
];

/// One entry of `images`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageRule {
    /// The image that is replaced, without tag and digest.
    pub name: String,
    /// The new name.
    pub new_name: Option<String>,
    /// The new tag.
    pub new_tag: Option<String>,
    /// The new digest, such as `sha256:...`.
    pub digest: Option<String>,
}

impl ImageRule {
    /// The image that `image` becomes, or `None` when the rule is not about it.
    pub(super) fn apply(&self, image: &str) -> Option<String> {
        let (name, tag, digest) = split_image(image);
        if name != self.name {
            return None;
        }
        let (tag, digest) = match (&self.new_tag, &self.digest) {
            (Some(tag), Some(digest)) => (Some(tag.as_str()), Some(digest.as_str())),
            (Some(tag), None) => (Some(tag.as_str()), None),
            (None, Some(digest)) => (None, Some(digest.as_str())),
            (None, None) => (tag, digest),
        };
        let mut image = self.new_name.clone().unwrap_or_else(|| name.to_owned());
        if let Some(tag) = tag {
            image = format!("{image}:{tag}");
        }
        if let Some(digest) = digest {
            image = format!("{image}@{digest}");
        }
        Some(image)
    }
}

/// An image's name, tag and digest. A colon before the last slash belongs to a registry's port.
pub fn split_image(image: &str) -> (&str, Option<&str>, Option<&str>) {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag), digest),
        _ => (rest, None, digest),
    }
}

/// At what a patch is aimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatchTarget {
    /// The kind, if it is named and is not a pattern.
    pub kind: Option<String>,
    /// The name, if it is named and is not a pattern.
    pub name: Option<String>,
}

/// Where a patch is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PatchBody {
    /// In the kustomization.
    Inline(String),
    /// In a file, relative to the kustomization.
    File(String),
}

/// One patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    /// Its explicit target; a strategic merge patch names its target inside.
    pub target: Option<PatchTarget>,
    /// Its text.
    pub body: PatchBody,
}

/// The content of a `kustomization.yaml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kustomization {
    /// Files and directories, in order (`resources`, then the old `bases`).
    pub resources: Vec<String>,
    /// Directories whose transformations apply to everything gathered so far.
    pub components: Vec<String>,
    /// The namespace given to everything.
    pub namespace: Option<String>,
    /// Put before each name.
    pub name_prefix: String,
    /// Put after each name.
    pub name_suffix: String,
    /// Image replacements, in order.
    pub images: Vec<ImageRule>,
    /// Patches of the three kinds.
    pub patches: Vec<Patch>,
    /// Fields that may do anything to the template.
    pub opaque: Vec<String>,
    /// The harmless fields, kept for comparison.
    pub rest: Value,
    /// Local files that generators read, relative to the kustomization.
    pub generator_files: Vec<String>,
}

impl Kustomization {
    /// Reads a kustomization.
    ///
    /// # Errors
    /// In words, when a modelled field has another shape than kustomize's.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let Value::Object(map) = value else {
            return Err("it is not a map".to_owned());
        };
        let mut read = Self {
            resources: strings(map, "resources")?,
            components: strings(map, "components")?,
            namespace: string(map, "namespace")?,
            name_prefix: string(map, "namePrefix")?.unwrap_or_default(),
            name_suffix: string(map, "nameSuffix")?.unwrap_or_default(),
            ..Self::default()
        };
        read.resources.extend(strings(map, "bases")?);
        for entry in list(map, "images")? {
            read.images.push(image_rule(entry)?);
        }
        read.patches = patches(map)?;
        read.opaque = map
            .keys()
            .filter(|key| !HARMLESS.contains(&key.as_str()) && !MODELLED.contains(&key.as_str()))
            .cloned()
            .collect();
        read.generator_files = generator_files(map);
        let rest = map.iter().filter(|(key, _)| !MODELLED.contains(&key.as_str()));
        read.rest = Value::Object(rest.map(|(key, value)| (key.clone(), value.clone())).collect());
        Ok(read)
    }
}

fn list<'v>(map: &'v Map<String, Value>, key: &str) -> Result<&'v [Value], String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("`{key}` is not a list")),
    }
}

fn strings(map: &Map<String, Value>, key: &str) -> Result<Vec<String>, String> {
    list(map, key)?
        .iter()
        .map(|item| {
            item.as_str().map(str::to_owned).ok_or(format!("`{key}` holds more than strings"))
        })
        .collect()
}

fn string(map: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("`{key}` is not a string (quote it)")),
    }
}

fn image_rule(entry: &Value) -> Result<ImageRule, String> {
    let Value::Object(map) = entry else {
        return Err("`images` holds more than maps".to_owned());
    };
    let known = ["name", "newName", "newTag", "digest"];
    if let Some(other) = map.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("`images` uses `{other}`, which is not understood"));
    }
    Ok(ImageRule {
        name: string(map, "name")?.ok_or("an entry of `images` has no name")?,
        new_name: string(map, "newName")?,
        new_tag: string(map, "newTag")?,
        digest: string(map, "digest")?,
    })
}

fn patches(map: &Map<String, Value>) -> Result<Vec<Patch>, String> {
    let mut all = Vec::new();
    for text in strings(map, "patchesStrategicMerge")? {
        let is_inline = text.contains('\n') || text.contains(": ");
        let body = if is_inline { PatchBody::Inline(text) } else { PatchBody::File(text) };
        all.push(Patch { target: None, body });
    }
    for key in ["patches", "patchesJson6902"] {
        for entry in list(map, key)? {
            let Value::Object(fields) = entry else {
                return Err(format!("`{key}` holds more than maps"));
            };
            let body = match (string(fields, "path")?, string(fields, "patch")?) {
                (Some(path), None) => PatchBody::File(path),
                (None, Some(text)) => PatchBody::Inline(text),
                _ => return Err(format!("an entry of `{key}` needs `path` or `patch`")),
            };
            all.push(Patch { target: fields.get("target").map(patch_target), body });
        }
    }
    Ok(all)
}

fn patch_target(target: &Value) -> PatchTarget {
    // Targets are regular expressions; only plain names are sure to mean themselves.
    let plain = |key: &str| {
        let text = target.get(key).and_then(Value::as_str)?;
        let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        is_plain.then(|| text.to_owned())
    };
    PatchTarget { kind: plain("kind"), name: plain("name") }
}

fn generator_files(map: &Map<String, Value>) -> Vec<String> {
    let mut files = Vec::new();
    for key in ["configMapGenerator", "secretGenerator"] {
        for generator in map.get(key).and_then(Value::as_array).into_iter().flatten() {
            for list in ["files", "envs"] {
                let items = generator.get(list).and_then(Value::as_array).into_iter().flatten();
                let names = items.filter_map(Value::as_str);
                // `key=file` names the key apart.
                files.extend(names.map(|n| n.rsplit_once('=').map_or(n, |(_, f)| f).to_owned()));
            }
            files.extend(generator.get("env").and_then(Value::as_str).map(str::to_owned));
        }
    }
    files
}

/// Applies `rule` to the containers anywhere in `value`, as kustomize does for any kind; whether it
/// was about one of them.
pub(super) fn apply_image_rule(rule: &ImageRule, value: &mut Value) -> bool {
    let mut was_hit = false;
    match value {
        Value::Object(map) => {
            for (key, child) in map.iter_mut() {
                if matches!(key.as_str(), "containers" | "initContainers") {
                    was_hit |= apply_to_containers(rule, child);
                } else {
                    was_hit |= apply_image_rule(rule, child);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                was_hit |= apply_image_rule(rule, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    was_hit
}

fn apply_to_containers(rule: &ImageRule, containers: &mut Value) -> bool {
    let mut was_hit = false;
    for container in containers.as_array_mut().into_iter().flatten() {
        let Some(Value::String(image)) = container.get_mut("image") else {
            continue;
        };
        if let Some(replaced) = rule.apply(image) {
            *image = replaced;
            was_hit = true;
        }
    }
    was_hit
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(tag: Option<&str>, digest: Option<&str>, name: Option<&str>) -> ImageRule {
        let own = |text: Option<&str>| text.map(str::to_owned);
        ImageRule {
            name: "r.example:5000/web".into(),
            new_name: own(name),
            new_tag: own(tag),
            digest: own(digest),
        }
    }

    #[test]
    fn images_are_replaced_as_kustomize_does() {
        let image = "r.example:5000/web:1@sha256:a";
        let apply = |rule: ImageRule| rule.apply(image).unwrap();
        assert_eq!(apply(rule(Some("2"), None, None)), "r.example:5000/web:2");
        assert_eq!(apply(rule(None, Some("sha256:b"), None)), "r.example:5000/web@sha256:b");
        assert_eq!(apply(rule(Some("2"), Some("sha256:b"), None)), "r.example:5000/web:2@sha256:b");
        assert_eq!(apply(rule(None, None, Some("x/y"))), "x/y:1@sha256:a");
        assert_eq!(rule(Some("2"), None, None).apply("r.example:5000/web2:1"), None);
        assert_eq!(
            rule(Some("2"), None, None).apply("r.example:5000/web").unwrap(),
            "r.example:5000/web:2"
        );
    }

    #[test]
    fn unknown_fields_are_opaque_and_wrong_shapes_are_refused() {
        let read =
            Kustomization::read(&json!({"resources": ["a"], "replacements": [], "labels": []}));
        assert_eq!(read.unwrap().opaque, ["replacements"]);
        for bad in [
            json!([]),
            json!({"resources": "a"}),
            json!({"images": [{"name": "a", "newTag": 1.5}]}),
            json!({"images": [{"name": "a", "tagSuffix": "x"}]}),
            json!({"images": [{"newTag": "1"}]}),
            json!({"patches": [{"target": {}}]}),
        ] {
            assert!(Kustomization::read(&bad).is_err(), "{bad}");
        }
    }
}
