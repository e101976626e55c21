//! From a metric that is due to a measurement that can be made: its source, the Secrets and
//! ConfigMaps that the source names, or the Job.
//!
//! These objects are read one by one when they are needed and kept for a moment; they are never
//! listed or watched, so the controller needs only the right to `get` them. What is missing becomes
//! the outcome of the measurement, and names the object and the key, never a value.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, join_all};
use kube::core::ApiResource;
use serde_json::Value;
use tokio::time::Instant;

use super::caches::builtin;
use crate::analysis::{DueAction, DueMeasurement, ResolvedRun};
use crate::api::metrics_source::MetricsSourceSpec;
use crate::api::{ApiNames, Kind};
use crate::metrics::endpoint::{SourceMaterial, source_needs};
use crate::metrics::job::{JobCall, JobOwner, JobStep};
use crate::metrics::measure::EndpointNeed;
use crate::metrics::sample::{DETAIL_LIMIT, shortened};
use crate::metrics::spec::{Provider, SourceKind, SourceRef};
use crate::metrics::{MeasureCall, MeasureError, ResolvedEndpoint, Secret};

/// How long an object that was read is used again.
const KEPT: Duration = Duration::from_secs(30);
/// How long it is remembered that an object is absent or cannot be read: only those who asked at the
/// same time share that answer.
const KEPT_ABSENCE: Duration = Duration::from_millis(500);
/// Objects that are kept; old ones are dropped beyond it.
const MOST_KEPT: usize = 1024;

/// Reads single objects from the API server.
pub trait ObjectReader: Send + Sync {
    /// One object, as the server has it now; nothing when there is none.
    ///
    /// # Errors
    /// Why it could not be read, for people.
    fn read<'a>(
        &'a self,
        resource: &'a ApiResource,
        namespace: Option<&'a str>,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Value>, String>>;
}

/// What may be read for a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fetched {
    Source,
    ClusterSource,
    Secret,
    ConfigMap,
}

impl Fetched {
    const ALL: [Self; 4] = [Self::Source, Self::ClusterSource, Self::Secret, Self::ConfigMap];

    fn resource(self, names: ApiNames) -> ApiResource {
        match self {
            Self::Source => names.resource(Kind::MetricsSource),
            Self::ClusterSource => names.resource(Kind::ClusterMetricsSource),
            Self::Secret => builtin("", "v1", "Secret", "secrets"),
            Self::ConfigMap => builtin("", "v1", "ConfigMap", "configmaps"),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Source => Kind::MetricsSource.as_str(),
            Self::ClusterSource => Kind::ClusterMetricsSource.as_str(),
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// The kinds that are read with `get`, for RBAC.
pub fn fetched_kinds(names: ApiNames) -> Vec<ApiResource> {
    Fetched::ALL.into_iter().map(|fetched| fetched.resource(names)).collect()
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    kind: Fetched,
    /// Empty for kinds of the cluster.
    namespace: String,
    name: String,
}

/// Any of these objects may hold a secret, so they are all kept as if they did.
type Answer = Result<Option<Arc<Secret<Value>>>, String>;
/// Whoever holds the lock asks; the others wait for the answer.
type Place = Arc<tokio::sync::Mutex<Option<(Instant, Answer)>>>;

/// A run, as far as its measurements are concerned.
#[derive(Clone, Copy, Debug)]
pub struct RunId<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// Finds what measurements need.
pub struct Sources {
    reader: Arc<dyn ObjectReader>,
    names: ApiNames,
    own_namespace: String,
    serves_cluster: bool,
    kept: Mutex<HashMap<Wanted, Place>>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("own_namespace", &self.own_namespace)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// Sources read through `reader`. `own_namespace` is the controller's, where the Secrets of
    /// ClusterMetricsSources are; without `serves_cluster` these are refused.
    pub fn new(
        reader: Arc<dyn ObjectReader>,
        names: ApiNames,
        own_namespace: String,
        serves_cluster: bool,
    ) -> Self {
        Self { reader, names, own_namespace, serves_cluster, kept: Mutex::default() }
    }

    /// The measurement for `due` of the run. `since` is when it was started; the present for a new
    /// one. Whatever is missing becomes a refusal, which is the outcome of the measurement.
    pub async fn call(
        &self,
        id: RunId<'_>,
        run: &ResolvedRun,
        due: &DueMeasurement,
        since: DateTime<Utc>,
    ) -> MeasureCall {
        let refused = |text: &str| MeasureCall::Refused(MeasureError::Unusable(text.to_owned()));
        let Some(metric) = run.metrics.get(due.metric_index) else {
            return refused("the metric is not in the specification any more");
        };
        let provider = match metric.provider.chosen() {
            Ok(provider) => provider,
            Err(problem) => return refused(&format!("the metric {problem}")),
        };
        match (EndpointNeed::of(provider), due.action) {
            (EndpointNeed::Job, _) => self.job(id, provider, due, since),
            (_, DueAction::Resume | DueAction::Cancel) => {
                refused("the metric was a Job when its measurement began")
            }
            (EndpointNeed::Source(source), DueAction::Start) => {
                MeasureCall::over_http(provider, self.endpoint(id.namespace, source).await)
            }
            (EndpointNeed::Inline(address), DueAction::Start) => {
                MeasureCall::over_http(provider, ResolvedEndpoint::inline(address))
            }
        }
    }

    fn job(
        &self,
        id: RunId<'_>,
        provider: Provider<'_>,
        due: &DueMeasurement,
        since: DateTime<Utc>,
    ) -> MeasureCall {
        let step = match (due.action, provider) {
            (DueAction::Start, Provider::Job(spec)) => JobStep::Start(spec.clone()),
            (DueAction::Resume, _) => JobStep::Resume,
            (DueAction::Cancel, _) => JobStep::Cancel,
            (DueAction::Start, Provider::Prometheus(_) | Provider::Web(_)) => {
                let text = "only a Job is measured by a Job".to_owned();
                return MeasureCall::Refused(MeasureError::Unusable(text));
            }
        };
        MeasureCall::Job(Box::new(JobCall {
            owner: JobOwner {
                names: self.names,
                namespace: id.namespace.to_owned(),
                run_name: id.name.to_owned(),
                run_uid: id.uid.to_owned(),
            },
            metric: due.metric.clone(),
            ordinal: due.ordinal,
            started_at: since,
            step,
        }))
    }

    /// Forgets every Secret, because a server refused one: it may have been renewed.
    pub fn forget_secrets(&self) {
        self.kept().retain(|wanted, _| wanted.kind != Fetched::Secret);
    }

    async fn endpoint(
        &self,
        namespace: &str,
        source: &SourceRef,
    ) -> Result<ResolvedEndpoint, MeasureError> {
        let (kind, is_cluster) = match source.kind() {
            SourceKind::MetricsSource => (Fetched::Source, false),
            SourceKind::ClusterMetricsSource => (Fetched::ClusterSource, true),
        };
        let title = format!("{} {:?}", kind.as_str(), source.name);
        let unusable = |text: String| MeasureError::Unusable(format!("the {title} {text}"));
        if is_cluster && !self.serves_cluster {
            return Err(unusable(
                "cannot be used: this controller serves single namespaces only; use a MetricsSource"
                    .to_owned(),
            ));
        }
        let home = if is_cluster { "" } else { namespace };
        let Some(object) = self.get(kind, home, &source.name).await? else {
            let place =
                if is_cluster { String::new() } else { format!(" in namespace {namespace:?}") };
            return Err(unusable(format!("does not exist{place}")));
        };
        let spec = object.expose().get("spec").cloned().unwrap_or(Value::Null);
        let spec: MetricsSourceSpec = serde_path_to_error::deserialize(spec).map_err(|error| {
            let problem = shortened(&error.inner().to_string(), DETAIL_LIMIT);
            unusable(format!("is malformed at spec.{}: {problem}", error.path()))
        })?;
        // What may not be used is refused before a Secret is read for it.
        let may_be_used = spec.problems(is_cluster).is_empty()
            && (!is_cluster || spec.permits_namespace(namespace));
        let secrets_from = if is_cluster { &self.own_namespace } else { namespace };
        let material = if may_be_used {
            self.material(&spec, secrets_from).await?
        } else {
            SourceMaterial::default()
        };
        ResolvedEndpoint::from_source(&spec, is_cluster, namespace, &material).map_err(|error| {
            match error {
                MeasureError::Unusable(text) => unusable(format!("cannot be used: {text}")),
                other => other,
            }
        })
    }

    /// What the source names. A missing object or key is left out: the endpoint reports it.
    async fn material(
        &self,
        spec: &MetricsSourceSpec,
        namespace: &str,
    ) -> Result<SourceMaterial, MeasureError> {
        let needs = source_needs(spec);
        let secrets = needs.secrets.iter().map(|key| (Fetched::Secret, key.name.as_str()));
        let maps = needs.config_maps.iter().map(|key| (Fetched::ConfigMap, key.name.as_str()));
        let mut wanted: Vec<(Fetched, &str)> = Vec::new();
        for one in secrets.chain(maps) {
            if !wanted.contains(&one) {
                wanted.push(one);
            }
        }
        let reads = wanted.iter().map(|(kind, name)| self.get(*kind, namespace, name));
        let mut found = HashMap::new();
        for (one, object) in wanted.iter().zip(join_all(reads).await) {
            if let Some(object) = object? {
                found.insert(*one, object);
            }
        }
        let mut material = SourceMaterial::default();
        for key in &needs.secrets {
            let object = found.get(&(Fetched::Secret, key.name.as_str()));
            let text = object.and_then(|object| datum(object.expose(), &key.key));
            if let Some(text) = text {
                let text = decoded(text).ok_or_else(|| {
                    MeasureError::Unusable(format!(
                        "the key {:?} of the Secret {:?} does not hold text",
                        key.key, key.name
                    ))
                })?;
                material.secrets.insert((key.name.clone(), key.key.clone()), Secret::new(text));
            }
        }
        for key in &needs.config_maps {
            let object = found.get(&(Fetched::ConfigMap, key.name.as_str()));
            if let Some(text) = object.and_then(|object| datum(object.expose(), &key.key)) {
                let place = (key.name.clone(), key.key.clone());
                material.config_maps.insert(place, text.to_owned());
            }
        }
        Ok(material)
    }

    /// One object, from the server or from a moment ago.
    async fn get(
        &self,
        kind: Fetched,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Secret<Value>>>, MeasureError> {
        let place =
            self.place(Wanted { kind, namespace: namespace.to_owned(), name: name.to_owned() });
        let mut kept = place.lock().await;
        let answer = match &*kept {
            Some((at, answer)) if is_fresh(*at, answer) => answer.clone(),
            Some(_) | None => {
                let resource = kind.resource(self.names);
                let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
                let read = self.reader.read(&resource, namespace, name).await;
                let answer = read.map(|found| found.map(|object| Arc::new(Secret::new(object))));
                *kept = Some((Instant::now(), answer.clone()));
                answer
            }
        };
        answer.map_err(|problem| {
            MeasureError::Unusable(format!(
                "the {} {name:?} cannot be read: {problem}",
                kind.as_str()
            ))
        })
    }

    fn place(&self, wanted: Wanted) -> Place {
        let mut kept = self.kept();
        if kept.len() >= MOST_KEPT {
            // A place that is in use stays: its users wait for one answer.
            kept.retain(|_, place| match place.try_lock().as_deref() {
                Ok(Some((at, answer))) => is_fresh(*at, answer),
                Ok(None) | Err(_) => true,
            });
        }
        kept.entry(wanted).or_default().clone()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Wanted, Place>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(at: Instant, answer: &Answer) -> bool {
    let limit = match answer {
        Ok(Some(_)) => KEPT,
        Ok(None) | Err(_) => KEPT_ABSENCE,
    };
    at.elapsed() < limit
}

fn datum<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("data")?.get(key)?.as_str()
}

fn decoded(base64: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(base64).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use serde_json::json;

    use super::*;

    /// Objects by plural, namespace and name, and what was read.
    #[derive(Default)]
    struct Store {
        objects: Mutex<HashMap<(String, String, String), Value>>,
        reads: Mutex<Vec<String>>,
        fails: Mutex<bool>,
    }

    impl Store {
        fn put(&self, plural: &str, namespace: &str, name: &str, object: Value) {
            let place = (plural.to_owned(), namespace.to_owned(), name.to_owned());
            self.objects.lock().unwrap().insert(place, object);
        }

        fn reads(&self) -> Vec<String> {
            self.reads.lock().unwrap().clone()
        }
    }

    impl ObjectReader for Store {
        fn read<'a>(
            &'a self,
            resource: &'a ApiResource,
            namespace: Option<&'a str>,
            name: &'a str,
        ) -> BoxFuture<'a, Result<Option<Value>, String>> {
            let namespace = namespace.unwrap_or_default();
            let line = format!("{}/{namespace}/{name}", resource.plural);
            self.reads.lock().unwrap().push(line);
            let place = (resource.plural.clone(), namespace.to_owned(), name.to_owned());
            let found = self.objects.lock().unwrap().get(&place).cloned();
            let fails = *self.fails.lock().unwrap();
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if fails {
                    Err("the server refused with 403: no right".to_owned())
                } else {
                    Ok(found)
                }
            }
            .boxed()
        }
    }

    fn sources(store: &Arc<Store>, serves_cluster: bool) -> Sources {
        Sources::new(store.clone(), ApiNames::SLUICE, "sluice".to_owned(), serves_cluster)
    }

    fn reference(kind: SourceKind) -> SourceRef {
        SourceRef { name: "prom".to_owned(), kind: Some(kind) }
    }

    fn with_token(more: &Value) -> Value {
        let mut spec = json!({"address": "https://prom:9090",
            "credentials": {"bearer": {"tokenRef": {"name": "token", "key": "key"}}}});
        json_patch::merge(&mut spec, more);
        json!({"spec": spec})
    }

    fn secret(text: &[u8]) -> Value {
        json!({"data": {"key": STANDARD.encode(text)}})
    }

    async fn problem(sources: &Sources, kind: SourceKind) -> String {
        let endpoint = sources.endpoint("shop", &reference(kind)).await;
        endpoint.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn many_measurements_at_once_read_a_source_and_its_secret_once() {
        let store = Arc::new(Store::default());
        store.put("metricssources", "shop", "prom", with_token(&json!({})));
        store.put("secrets", "shop", "token", secret(b"t0ken\n"));
        let sources = sources(&store, true);
        let source = reference(SourceKind::MetricsSource);
        let all = join_all((0..100).map(|_| sources.endpoint("shop", &source))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(store.reads(), ["metricssources/shop/prom", "secrets/shop/token"]);
        sources.forget_secrets();
        assert_eq!(problem(&sources, SourceKind::MetricsSource).await, "");
        assert_eq!(store.reads().len(), 3, "a renewed Secret is read again");
        tokio::time::advance(KEPT).await;
        assert_eq!(problem(&sources, SourceKind::MetricsSource).await, "");
        assert_eq!(store.reads().len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn secrets_are_read_where_the_source_lives_and_only_when_it_may_be_used() {
        let store = Arc::new(Store::default());
        let allowed = json!({"allowedNamespaces": ["shop*"]});
        store.put("clustermetricssources", "", "prom", with_token(&allowed));
        store.put("secrets", "sluice", "token", secret(b"t0ken"));
        assert_eq!(problem(&sources(&store, true), SourceKind::ClusterMetricsSource).await, "");
        assert_eq!(store.reads(), ["clustermetricssources//prom", "secrets/sluice/token"]);

        let other = json!({"allowedNamespaces": ["bank"]});
        store.put("clustermetricssources", "", "prom", with_token(&other));
        let refused = problem(&sources(&store, true), SourceKind::ClusterMetricsSource).await;
        assert!(refused.contains("allowedNamespaces"), "{refused}");
        assert_eq!(store.reads().len(), 3, "no Secret was read for it");

        let refused = problem(&sources(&store, false), SourceKind::ClusterMetricsSource).await;
        assert!(refused.contains("single namespaces"), "{refused}");
        assert_eq!(store.reads().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_is_named_with_object_and_key_and_without_value() {
        let store = Arc::new(Store::default());
        let sources = sources(&store, true);
        let says = async |parts: &[&str]| {
            let text = problem(&sources, SourceKind::MetricsSource).await;
            for part in parts {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(!text.contains("s3cret"), "{text}");
            // Longer than anything is kept.
            tokio::time::advance(KEPT).await;
        };
        says(&["MetricsSource \"prom\"", "does not exist in namespace \"shop\""]).await;
        store.put("metricssources", "shop", "prom", json!({"spec": {"address": 7}}));
        says(&["MetricsSource \"prom\"", "spec.address"]).await;
        store.put("metricssources", "shop", "prom", with_token(&json!({"address": "ftp://x"})));
        says(&["MetricsSource \"prom\"", "spec.address", "http"]).await;
        let ca = json!({"ca": {"configMapRef": {"name": "roots", "key": "ca.crt"}}});
        store.put("metricssources", "shop", "prom", with_token(&ca));
        store.put("secrets", "shop", "token", secret(b"s3cret\xff"));
        says(&["Secret \"token\"", "\"key\"", "does not hold text"]).await;
        store.put("secrets", "shop", "token", secret(b"s3cret"));
        says(&["ConfigMap \"roots\"", "\"ca.crt\"", "missing"]).await;
        *store.fails.lock().unwrap() = true;
        says(&["MetricsSource \"prom\" cannot be read", "403"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_measurement_that_cannot_be_made_is_a_refusal_with_its_reason() {
        let store: Arc<Store> = Arc::default();
        let spec = serde_json::from_value(json!({"metrics": [{"name": "m",
            "successCondition": "result > 0",
            "provider": {"web": {"url": "/ok", "source": {"name": "prom"}}}}]}));
        let run = ResolvedRun::resolve(&spec.unwrap()).unwrap();
        let id = RunId { namespace: "shop", name: "check", uid: "uid" };
        let due = |metric_index, action| DueMeasurement {
            metric_index,
            metric: "m".to_owned(),
            ordinal: 1,
            action,
        };
        let sources = sources(&store, true);
        for (due, part) in [
            (due(0, DueAction::Start), "does not exist"),
            (due(0, DueAction::Resume), "was a Job"),
            (due(7, DueAction::Start), "not in the specification"),
        ] {
            let call = sources.call(id, &run, &due, DateTime::UNIX_EPOCH).await;
            let MeasureCall::Refused(error) = call else { panic!("{call:?}") };
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn the_kinds_that_are_fetched_are_known_for_their_rights() {
        let plurals: Vec<String> =
            fetched_kinds(ApiNames::SLUICE).into_iter().map(|kind| kind.plural).collect();
        assert_eq!(plurals, ["metricssources", "clustermetricssources", "secrets", "configmaps"]);
    }
}
