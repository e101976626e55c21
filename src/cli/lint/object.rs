//! One object on its own: its form, and what its kind's own validation says. Pure.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::podspec;
use super::report::{Finding, Severity};
use super::schema::{Misfit, Schema, nearest};
use super::yaml::{Content, Node};
use crate::analysis::resolve::{doubts, review};
use crate::analysis::{Problem, ResolvedRun};
use crate::api::analysis::{AnalysisRunSpec, AnalysisTemplateSpec};
use crate::api::git_credential::GitCredentialSpec;
use crate::api::metrics_source::MetricsSourceSpec;
use crate::api::names::{ARGO_GROUP, SLUICE_GROUP, VERSION};
use crate::api::rollout::RolloutSpec;
use crate::api::{ApiNames, Kind};
use crate::git::grants;
use crate::plan::validate::validate;

/// A manifest and where it stands.
#[derive(Debug)]
pub(in crate::cli) struct Manifest {
    /// File, as given.
    pub(in crate::cli) file: String,
    /// The tree with its lines.
    pub(in crate::cli) node: Node,
    /// `group/version`.
    pub(in crate::cli) api_version: String,
    /// Kind.
    pub(in crate::cli) kind: String,
    /// Name; empty when there is none.
    pub(in crate::cli) name: String,
    /// Namespace, with the default of the command line.
    pub(in crate::cli) namespace: String,
    /// The whole object as JSON.
    pub(in crate::cli) json: Value,
    /// What it says, when it is one of ours and could be understood.
    pub(in crate::cli) parsed: Parsed,
}

/// The specification of an object of ours.
#[derive(Debug)]
pub(in crate::cli) enum Parsed {
    /// Not ours, or not understood.
    None,
    /// A Rollout.
    Rollout(Box<RolloutSpec>),
    /// A template, and whether it is one of the cluster.
    Template(Box<AnalysisTemplateSpec>, bool),
    /// A metrics source.
    Source,
    /// A Git credential.
    Credential,
    /// An AnalysisRun.
    Run,
}

impl Manifest {
    /// Reads what stands around the specification.
    pub(super) fn of(file: &str, node: Node, default_namespace: &str) -> Self {
        let of_metadata = |name: &str| {
            node.get("metadata").and_then(|metadata| metadata.text(name)).unwrap_or_default()
        };
        let namespace = of_metadata("namespace");
        let namespace = if namespace.is_empty() { default_namespace } else { namespace };
        Self {
            file: file.to_owned(),
            api_version: node.text("apiVersion").unwrap_or_default().to_owned(),
            kind: node.text("kind").unwrap_or_default().to_owned(),
            name: of_metadata("name").to_owned(),
            namespace: namespace.to_owned(),
            json: node.to_json(),
            parsed: Parsed::None,
            node,
        }
    }

    /// The API group.
    pub(in crate::cli) fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Kind and name.
    pub(in crate::cli) fn title(&self) -> String {
        match (self.kind.as_str(), self.name.as_str()) {
            ("", "") => String::new(),
            (kind, "") => kind.to_owned(),
            (kind, name) => format!("{kind} {name}"),
        }
    }

    /// A finding at a field.
    pub(in crate::cli) fn finding(
        &self,
        severity: Severity,
        field: &str,
        problem: impl Into<String>,
    ) -> Finding {
        Finding {
            file: self.file.clone(),
            line: self.node.line_of(field),
            severity,
            object: self.title(),
            field: field.to_owned(),
            problem: problem.into(),
            hint: None,
        }
    }

    /// An error at a field.
    pub(in crate::cli) fn error(&self, field: &str, problem: impl Into<String>) -> Finding {
        self.finding(Severity::Error, field, problem)
    }

    /// Where it stands, for messages about other objects.
    pub(in crate::cli) fn place(&self) -> String {
        format!("{}:{}", self.file, self.node.line)
    }
}

/// Checks an object of ours and fills in `parsed`; whether it was one.
pub(super) fn check(manifest: &mut Manifest, names: ApiNames, findings: &mut Vec<Finding>) -> bool {
    let group = manifest.group().to_owned();
    if group != SLUICE_GROUP && group != ARGO_GROUP {
        return false;
    }
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == manifest.kind) else {
        return unknown_kind(manifest, &group, findings);
    };
    check_version(manifest, names, &group, findings);
    check_metadata(manifest, kind, findings);
    check_top_level(manifest, findings);
    let Some(spec) = manifest.node.get("spec") else {
        findings.push(manifest.error("spec", "is required"));
        return true;
    };
    let spec = spec.clone();
    let (parsed, mut found) = match kind {
        Kind::Rollout => rollout(manifest, &spec),
        Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate => template(manifest, kind, &spec),
        Kind::AnalysisRun => run(manifest, &spec),
        Kind::MetricsSource | Kind::ClusterMetricsSource => source(manifest, kind, &spec),
        Kind::ClusterGitCredential => credential(manifest, &spec),
    };
    findings.append(&mut found);
    manifest.parsed = parsed;
    true
}

fn unknown_kind(manifest: &Manifest, group: &str, findings: &mut Vec<Finding>) -> bool {
    if manifest.kind == "Experiment" {
        findings.push(manifest.error("kind", "Experiment is not supported yet"));
        return true;
    }
    // Argo CD, Workflows and Events share Argo Rollouts' group: their objects are not ours.
    if group == ARGO_GROUP {
        return false;
    }
    let known = Kind::ALL.map(Kind::as_str);
    let mut found = manifest.error(
        "kind",
        format!("{:?} is no kind of {SLUICE_GROUP}; there are {}", manifest.kind, known.join(", ")),
    );
    found.hint = nearest(&manifest.kind, known.iter()).map(|name| format!("did you mean {name}?"));
    findings.push(found);
    true
}

fn check_version(manifest: &Manifest, names: ApiNames, group: &str, findings: &mut Vec<Finding>) {
    let wanted = names.api_version();
    let version = manifest.api_version.split_once('/').map_or("", |(_, version)| version);
    if version != VERSION {
        findings.push(manifest.error(
            "apiVersion",
            format!("{:?} is not served; write {wanted}", manifest.api_version),
        ));
    } else if group != names.group() {
        let mut found = manifest.finding(
            Severity::Warning,
            "apiVersion",
            format!("{} is read by no controller of group {}", manifest.api_version, names.group()),
        );
        found.hint = Some(format!(
            "change it to {wanted}, or run controller and plugin with --api-group {group}"
        ));
        findings.push(found);
    }
}

fn check_metadata(manifest: &Manifest, kind: Kind, findings: &mut Vec<Finding>) {
    let metadata = manifest.node.get("metadata");
    let generates = metadata.and_then(|metadata| metadata.text("generateName")).is_some();
    if manifest.name.is_empty() {
        if !(generates && kind == Kind::AnalysisRun) {
            findings.push(manifest.error("metadata.name", "is required"));
        }
    } else if !is_object_name(&manifest.name) {
        findings.push(manifest.error(
            "metadata.name",
            "cannot be a name: use at most 253 lower-case letters, digits, `-` and `.`, beginning \
             and ending with a letter or digit",
        ));
    }
    let has_namespace = metadata.and_then(|metadata| metadata.get("namespace")).is_some();
    if has_namespace && !kind.is_namespaced() {
        findings.push(manifest.finding(
            Severity::Warning,
            "metadata.namespace",
            format!("has no meaning: a {} is in no namespace", kind.as_str()),
        ));
    }
    for list in ["labels", "annotations"] {
        let entries = metadata.and_then(|metadata| metadata.get(list));
        let Some(Content::Map(entries)) = entries.map(|node| &node.content) else { continue };
        for (key, value) in entries {
            if !matches!(&value.content, Content::Scalar(Value::String(_))) {
                let field = format!("metadata.{list}.{}", key.text);
                let mut found = manifest.error(&field, "must be a text");
                found.hint = Some("write it in quotes to make it a text".to_owned());
                findings.push(found);
            }
        }
    }
}

/// A DNS subdomain (RFC 1123), as Kubernetes wants it.
fn is_object_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn check_top_level(manifest: &Manifest, findings: &mut Vec<Finding>) {
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    let Content::Map(entries) = &manifest.node.content else { return };
    for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
        let mut found = manifest.error(&key.text, "unknown field");
        found.hint = nearest(&key.text, known.iter()).map(|name| format!("did you mean {name}?"));
        findings.push(found);
    }
}

/// The specification as its type; form and meaning are told apart: what is wrong in form is left
/// out, and what follows from its absence is not told again.
struct Form<T> {
    spec: Option<T>,
    findings: Vec<Finding>,
    misfits: Vec<Misfit>,
}

fn form<T>(manifest: &Manifest, node: &Node) -> Form<T>
where
    T: DeserializeOwned + schemars::JsonSchema,
{
    let mut misfits = Vec::new();
    let kept = Schema::of::<T>().check(node, "spec", &mut misfits);
    let mut findings: Vec<Finding> = misfits
        .iter()
        .map(|misfit| Finding {
            file: manifest.file.clone(),
            line: misfit.line,
            severity: Severity::Error,
            object: manifest.title(),
            field: misfit.field.clone(),
            problem: misfit.problem.clone(),
            hint: misfit.hint.clone(),
        })
        .collect();
    let spec = match kept.map(serde_path_to_error::deserialize::<_, T>) {
        Some(Ok(spec)) => Some(spec),
        Some(Err(error)) if misfits.is_empty() => {
            let field = format!("spec.{}", error.path());
            findings.push(manifest.error(&field, error.inner().to_string()));
            None
        }
        // The form is wrong in a place without which nothing can be said about the rest.
        Some(Err(_)) | None => None,
    };
    Form { spec, findings, misfits }
}

impl<T> Form<T> {
    /// Adds what the author hardly meant, as warnings.
    fn doubt(&mut self, manifest: &Manifest, doubts: Vec<Problem>) {
        self.findings.extend(doubts.into_iter().map(|doubt| {
            let field = format!("spec.{}", doubt.field);
            manifest.finding(Severity::Warning, &field, doubt.message)
        }));
    }

    /// Adds a problem of meaning, unless it is about a field whose form is wrong.
    fn add(&mut self, manifest: &Manifest, field: &str, problem: &str) {
        let is_known = self.misfits.iter().any(|misfit| {
            misfit.problem != "unknown field"
                && (is_within(&misfit.field, field) || is_within(field, &misfit.field))
        });
        if !is_known {
            self.findings.push(manifest.error(field, problem));
        }
    }
}

/// Whether the path `inner` is `outer` or below it.
fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|tail| tail.is_empty() || tail.starts_with(['.', '[']))
}

fn rollout(manifest: &Manifest, node: &Node) -> (Parsed, Vec<Finding>) {
    let mut form = form::<RolloutSpec>(manifest, node);
    let Some(spec) = form.spec.take() else { return (Parsed::None, form.findings) };
    for found in validate(&manifest.name, &spec).problems {
        form.add(manifest, &found.field, &found.problem);
    }
    if let Some(template) = &spec.template {
        for (field, problem) in podspec::problems(&template.0) {
            form.add(manifest, &format!("spec.template{field}"), &problem);
        }
    }
    (Parsed::Rollout(Box::new(spec)), form.findings)
}

fn template(manifest: &Manifest, kind: Kind, node: &Node) -> (Parsed, Vec<Finding>) {
    let mut form = form::<AnalysisTemplateSpec>(manifest, node);
    let Some(spec) = form.spec.take() else { return (Parsed::None, form.findings) };
    let review = review(&spec);
    for found in review.problems {
        form.add(manifest, &format!("spec.{}", found.field), &found.message);
    }
    form.doubt(manifest, review.doubts);
    let is_cluster = kind == Kind::ClusterAnalysisTemplate;
    (Parsed::Template(Box::new(spec), is_cluster), form.findings)
}

fn run(manifest: &Manifest, node: &Node) -> (Parsed, Vec<Finding>) {
    let mut form = form::<AnalysisRunSpec>(manifest, node);
    let Some(spec) = form.spec.take() else { return (Parsed::None, form.findings) };
    match ResolvedRun::resolve(&spec) {
        Ok(run) => form.doubt(manifest, doubts(&run.metrics)),
        Err(problems) => {
            for found in problems {
                form.add(manifest, &format!("spec.{}", found.field), &found.message);
            }
        }
    }
    (Parsed::Run, form.findings)
}

fn credential(manifest: &Manifest, node: &Node) -> (Parsed, Vec<Finding>) {
    let mut form = form::<GitCredentialSpec>(manifest, node);
    let Some(spec) = form.spec.take() else { return (Parsed::None, form.findings) };
    for (field, problem) in grants::problems(&spec) {
        form.add(manifest, &field, &problem);
    }
    (Parsed::Credential, form.findings)
}

fn source(manifest: &Manifest, kind: Kind, node: &Node) -> (Parsed, Vec<Finding>) {
    let mut form = form::<MetricsSourceSpec>(manifest, node);
    let is_cluster = kind == Kind::ClusterMetricsSource;
    let Some(spec) = form.spec.take() else { return (Parsed::None, form.findings) };
    for (field, problem) in spec.problems(is_cluster) {
        form.add(manifest, &field, &problem);
    }
    (Parsed::Source, form.findings)
}
