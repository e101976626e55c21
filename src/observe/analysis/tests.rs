//! Tests of `analysis`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
            if fails { Err("the server refused with 403: no right".to_owned()) } else { Ok(found) }
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
        look: None,
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
