//! Argo CD: from the tracking mark of a Rollout to its Application, and from that to the places in
//! Git that it is made of.

use serde_json::Value;

use super::{
    Answer, Found, Limit, ObjectRef, Objects, OwnerKind, Place, Refusal, Subject, Wanted, distinct,
    object,
    read::{Fields, is_set, list, text},
};
use crate::git::source::RepoPath;
use crate::revision::Commit;

const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// Labels that name an Application; Helm charts set the first one, too, and both are cut at 63
/// characters. So they are hints.
const INSTANCE_LABELS: [&str; 2] = ["argocd.argoproj.io/instance", "app.kubernetes.io/instance"];
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

/// What a search with Argo CD's marks leads to.
pub(super) enum Search {
    /// Nothing says that Argo CD has to do with it; what could not be read about that.
    None(Option<Refusal>),
    /// The Application only shows what Flux applies.
    Flux(ObjectRef),
    /// This is the answer.
    Answer(Answer),
}

pub(super) fn search(
    subject: &Subject<'_>,
    argocd_namespace: &str,
    objects: &Objects,
) -> Result<Search, Wanted> {
    if let Some(app) = tracked_by(subject) {
        let reference = match app.split_once('_') {
            Some((namespace, name)) => ObjectRef::new(OwnerKind::Application, namespace, name),
            None => ObjectRef::new(OwnerKind::Application, argocd_namespace, app),
        };
        let application = match object(&reference, objects)? {
            Ok(application) => application,
            Err(refusal) => return Ok(Search::Answer(Err(refusal))),
        };
        return Ok(confirmed(subject, reference, application));
    }
    let mut unread = None;
    for label in INSTANCE_LABELS {
        let Some(app) = subject.labels.get(label) else { continue };
        let reference = ObjectRef::new(OwnerKind::Application, argocd_namespace, app);
        // A label that Helm may have set says nothing when Argo CD does not know it.
        match object(&reference, objects)? {
            Ok(application) if is_listed(subject, application) => {
                return Ok(confirmed(subject, reference, application));
            }
            Err(refusal @ Refusal::Unknown { .. }) => unread = Some(refusal),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(Search::None(unread))
}

/// The Application in the tracking annotation, if the annotation describes this very object. One that
/// was copied along from another object does not, and Argo CD ignores it, too.
fn tracked_by<'a>(subject: &Subject<'a>) -> Option<&'a str> {
    let mut parts = subject.annotations.get(TRACKING_ID)?.splitn(3, ':');
    let (app, kind, object) = (parts.next()?, parts.next()?, parts.next()?);
    let is_own = kind == format!("{}/Rollout", subject.group)
        && object == format!("{}/{}", subject.namespace, subject.name);
    (is_own && !app.is_empty()).then_some(app)
}

fn is_listed(subject: &Subject<'_>, application: &Value) -> bool {
    list(application, "/status/resources").iter().any(|entry| {
        text(entry, "/group") == Some(subject.group)
            && text(entry, "/kind") == Some("Rollout")
            && text(entry, "/namespace") == Some(subject.namespace)
            && text(entry, "/name") == Some(subject.name)
    })
}

fn confirmed(subject: &Subject<'_>, owner: ObjectRef, application: &Value) -> Search {
    if !is_listed(subject, application) {
        return Search::Answer(Err(Refusal::NotListed { owner, field: "status.resources" }));
    }
    let options = list(application, "/spec/syncPolicy/syncOptions");
    if options.iter().any(|option| option.as_str() == Some("FluxSubsystem=true")) {
        return Search::Flux(owner);
    }
    Search::Answer(found(owner, application))
}

fn found(owner: ObjectRef, application: &Value) -> Answer {
    let destination = text(application, "/spec/destination/server");
    let cluster = text(application, "/spec/destination/name");
    let elsewhere = destination.filter(|server| server.trim_end_matches('/') != IN_CLUSTER);
    if let Some(cluster) = elsewhere.or(cluster.filter(|name| *name != "in-cluster")) {
        let cluster = cluster.to_owned();
        return Err(Refusal::OtherCluster { owner, cluster });
    }
    let by = managed_by(application);
    let mut limits = Vec::new();
    if let Some(by) = &by {
        limits.push(Limit::Managed { owner: owner.clone(), by: by.clone() });
    }
    let reader = Reader { application, owner: &owner, by: by.as_deref() };
    let places = if is_set(application, "/spec/sourceHydrator") {
        vec![reader.dry_place()?]
    } else {
        let sources = reader.sources();
        for source in &sources {
            reader.check_overrides(source, &mut limits)?;
        }
        reader.places(&sources)?
    };
    let phase = text(application, "/status/operationState/phase");
    let is_settled = !matches!(phase, Some("Running" | "Terminating"))
        && !is_set(application, "/operation")
        && !is_hydrating(application);
    Ok(Found { owner, places, is_settled, limits })
}

fn is_hydrating(application: &Value) -> bool {
    text(application, "/status/sourceHydrator/currentOperation/phase") == Some("Hydrating")
}

/// What makes or changes the Application, in words.
fn managed_by(application: &Value) -> Option<String> {
    let owners = list(application, "/metadata/ownerReferences");
    let set = owners.iter().find(|owner| text(owner, "/kind") == Some("ApplicationSet"));
    if let Some(set) = set {
        return Some(format!("ApplicationSet {}", text(set, "/name").unwrap_or("(no name)")));
    }
    let mark = |place: &str, key: &str| {
        application.pointer(place)?.get(key)?.as_str().filter(|text| !text.is_empty())
    };
    if let Some(id) = mark("/metadata/annotations", TRACKING_ID) {
        let app = id.split(':').next().unwrap_or_default();
        return Some(format!("Application {}", app.replacen('_', "/", 1)));
    }
    let label = INSTANCE_LABELS.iter().find_map(|key| mark("/metadata/labels", key));
    if let Some(app) = label {
        return Some(format!("Application {app}"));
    }
    let name = mark("/metadata/labels", "kustomize.toolkit.fluxcd.io/name")?;
    Some(format!("Flux Kustomization {name}"))
}

/// One source, and which of the list it is; none where there is only one.
struct Source<'a> {
    value: &'a Value,
    index: Option<usize>,
}

impl Source<'_> {
    fn field(&self, name: &str) -> String {
        match self.index {
            None => format!("spec.source.{name}"),
            Some(index) => format!("spec.sources[{index}].{name}"),
        }
    }

    /// Words for a source that is not Git.
    fn foreign(&self) -> Option<String> {
        let url = text(self.value, "/repoURL").unwrap_or_default();
        if let Some(chart) = text(self.value, "/chart") {
            return Some(format!("the chart `{chart}` of a Helm repository"));
        }
        url.starts_with("oci://").then(|| "an OCI registry".to_owned())
    }
}

struct Reader<'a> {
    application: &'a Value,
    owner: &'a ObjectRef,
    by: Option<&'a str>,
}

impl<'a> Reader<'a> {
    fn fields(&self) -> Fields<'a> {
        Fields { owner: self.owner }
    }

    fn sources(&self) -> Vec<Source<'a>> {
        let several = list(self.application, "/spec/sources");
        if several.is_empty() {
            let one = self.application.pointer("/spec/source").unwrap_or(&Value::Null);
            return vec![Source { value: one, index: None }];
        }
        let with_index = several.iter().enumerate();
        with_index.map(|(index, value)| Source { value, index: Some(index) }).collect()
    }

    /// What a source sets in the Application itself is not in Git.
    fn check_overrides(&self, source: &Source<'_>, limits: &mut Vec<Limit>) -> Result<(), Refusal> {
        let owner = || self.owner.clone();
        if is_set(source.value, "/kustomize/images") {
            let field = source.field("kustomize.images");
            return Err(Refusal::InOwner { owner: owner(), field });
        }
        for (pointer, name) in [
            ("/helm/parameters", "helm.parameters"),
            ("/helm/fileParameters", "helm.fileParameters"),
            ("/helm/values", "helm.values"),
            ("/helm/valuesObject", "helm.valuesObject"),
        ] {
            if is_set(source.value, pointer) {
                limits.push(Limit::Overridden { owner: owner(), field: source.field(name) });
            }
        }
        if source.value.get("plugin").is_some() {
            limits.push(Limit::Plugin { owner: owner() });
        }
        Ok(())
    }

    fn places(&self, sources: &[Source<'a>]) -> Result<Vec<Place>, Refusal> {
        let mut places: Vec<Place> = Vec::new();
        let mut foreign = None;
        for source in sources {
            match source.foreign() {
                Some(kind) => foreign = foreign.or(Some(kind)),
                // A source with a `ref` and without a path only lends its files.
                None if text(source.value, "/path").is_some() || !is_set(source.value, "/ref") => {
                    let path = text(source.value, "/path");
                    let path = self.fields().path(&source.field("path"), path)?;
                    places.push(self.place(source, path, None)?);
                }
                None => {}
            }
            for file in list(source.value, "/helm/valueFiles").iter().filter_map(Value::as_str) {
                if let Some((lender, path)) = self.lent(sources, file)? {
                    let place = self.place(lender, path.parent(), Some(&path))?;
                    if !places.contains(&place) {
                        places.push(place);
                    }
                }
            }
        }
        match foreign {
            Some(kind) if places.is_empty() => {
                Err(Refusal::NotGit { owner: self.owner.clone(), kind, origin: None })
            }
            _ if places.is_empty() => {
                Err(Refusal::Missing { owner: self.owner.clone(), field: "source in Git" })
            }
            _ => Ok(places),
        }
    }

    /// The source and the path that `$ref/path` means.
    fn lent<'s>(
        &self,
        sources: &'s [Source<'a>],
        file: &str,
    ) -> Result<Option<(&'s Source<'a>, RepoPath)>, Refusal> {
        let Some((name, path)) = file.strip_prefix('$').and_then(|rest| rest.split_once('/'))
        else {
            return Ok(None);
        };
        let lender = sources.iter().find(|source| text(source.value, "/ref") == Some(name));
        let Some(lender) = lender.filter(|lender| lender.foreign().is_none()) else {
            return Ok(None);
        };
        let path = self.fields().path(&lender.field("valueFiles"), Some(path))?;
        Ok(Some((lender, path)))
    }

    fn place(
        &self,
        source: &Source<'_>,
        path: RepoPath,
        file: Option<&RepoPath>,
    ) -> Result<Place, Refusal> {
        let fields = self.fields();
        let url = fields.url(&source.field("repoURL"), text(source.value, "/repoURL"))?;
        let branch = fields.branch(text(source.value, "/targetRevision"), self.by)?;
        let file = match file {
            None => None,
            Some(file) => {
                Some(fields.path(&source.field("helm.valueFiles"), Some(file.file_name()))?)
            }
        };
        Ok(Place { url, branch, path, file, commits: self.commits(source.index) })
    }

    /// What is being applied, what was applied last, and what the cluster agrees with.
    fn commits(&self, index: Option<usize>) -> Vec<Commit> {
        let at = |place: &str| {
            let pointer = match index {
                None => format!("{place}/revision"),
                Some(index) => format!("{place}/revisions/{index}"),
            };
            Commit::parse(text(self.application, &pointer)?).ok()
        };
        let is_synced = text(self.application, "/status/sync/status") == Some("Synced");
        distinct([
            at("/status/operationState/syncResult"),
            at("/status/operationState/operation/sync"),
            is_synced.then(|| at("/status/sync")).flatten(),
        ])
    }

    /// The hydrated branch is generated; what people write is the dry source.
    fn dry_place(&self) -> Result<Place, Refusal> {
        let dry = "/spec/sourceHydrator/drySource";
        let at = |name: &str| text(self.application, &format!("{dry}/{name}"));
        let fields = self.fields();
        let url = fields.url("spec.sourceHydrator.drySource.repoURL", at("repoURL"))?;
        let path = fields.path("spec.sourceHydrator.drySource.path", at("path"))?;
        let branch = fields.branch(at("targetRevision"), self.by)?;
        let sha = |operation: &str| {
            let pointer = format!("/status/sourceHydrator/{operation}/drySHA");
            Commit::parse(text(self.application, &pointer)?).ok()
        };
        let commits = distinct([sha("lastSuccessfulOperation"), sha("currentOperation")]);
        Ok(Place { url, branch, path, file: None, commits })
    }
}
