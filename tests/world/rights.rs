//! The roles that are shipped are no wider than what the controller does: every right that is granted
//! is used by some Rollout, or is in the list below with its reason.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sluice::api::ApiNames;
use sluice::api::rbac::Role;
use sluice::controller::settings::Settings;
use sluice::sim::api::KindName;
use sluice::sim::world::{Named, Order, Patch, World, WorldPlan, Write};

use crate::gitops;
use crate::scene::{SERVICE, TEMPLATE};

const NAMESPACE: &str = "shop";
const ROLLOUTS: KindName = KindName::of("sluice.dev", "rollouts");
const JOBS: KindName = KindName::of("batch", "jobs");

/// Rights that no test with the cluster in memory uses.
const ONLY_ELSEWHERE: &[(&str, &str)] = &[
    // Asked for by the admission plugin OwnerReferencesPermissionEnforcement of a real server.
    ("rollouts/finalizers", "update"),
    ("analysisruns/finalizers", "update"),
    // Read again when a write met another one, or its answer was lost.
    ("analysisruns", "get"),
    ("replicasets", "get"),
    ("services", "get"),
    ("httproutes", "get"),
    ("grpcroutes", "get"),
    ("ingresses", "get"),
    // For Rollouts that name no Secret of their own: `tests/world/lent`.
    ("clustergitcredentials", "get"),
    // For reverts that are pushed: `tests/world/syncing`, except for HelmReleases, whose values no chart
    // renders here.
    ("applications", "patch"),
    ("kustomizations", "patch"),
    ("helmreleases", "patch"),
    ("gitrepositories", "patch"),
    // Where only some namespaces are served; here the role for the whole cluster has it, too.
    ("configmaps", "get"),
];

fn service(name: &str, app: &str) -> String {
    SERVICE.replace("NAME", name).replace("APP", app)
}

/// A Rollout with its two Services, its route, and what its steps ask for.
fn application(name: &str, routing: &str, route: &str, steps: &str) -> String {
    let template = TEMPLATE.replace("TAG", "v1").replace("app: web", &format!("app: {name}"));
    format!(
        "{}{}{route}---
apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata: {{name: {name}}}
spec:
  replicas: 2
  revisionHistoryLimit: 1
  selector: {{matchLabels: {{app: {name}}}}}
  analysis: {{successfulRunHistoryLimit: 1, unsuccessfulRunHistoryLimit: 1}}
  strategy:
    canary:
      stableService: {name}-stable
      canaryService: {name}-canary
      scaleDownDelaySeconds: 1
      trafficRouting: {{{routing}}}
      steps:
{steps}{template}",
        service(&format!("{name}-stable"), name),
        service(&format!("{name}-canary"), name),
    )
}

fn gateway_route(kind: &str, name: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: main, namespace: gateways}}]
  rules:
    - backendRefs:
        - {{name: {name}-stable, port: 80, weight: 100}}
        - {{name: {name}-canary, port: 80, weight: 0}}
"
    )
}

fn ingress(name: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  ingressClassName: nginx
  rules:
    - host: {name}.example.test
      http:
        paths:
          - {{path: /, pathType: Prefix, backend: {{service: {{name: {name}-stable, port: {{number: 80}}}}}}}}
"
    )
}

/// What the analysis asks: a source of the namespace and one of the cluster, each with a password and
/// an authority, and a Job.
const ANALYSES: &str = "
apiVersion: v1
kind: Secret
metadata: {name: login}
data: {token: c2VjcmV0}
---
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: sluice-system}
data: {token: c2VjcmV0}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: authority}
data: {ca.crt: PEM}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: authority, namespace: sluice-system}
data: {ca.crt: PEM}
---
apiVersion: sluice.dev/v1alpha1
kind: MetricsSource
metadata: {name: prometheus}
spec:
  address: http://prometheus.monitoring:9090
  credentials: {bearer: {tokenRef: {name: login, key: token}}}
  ca: {configMapRef: {name: authority, key: ca.crt}}
---
apiVersion: sluice.dev/v1alpha1
kind: ClusterMetricsSource
metadata: {name: prometheus}
spec:
  address: http://prometheus.monitoring:9090
  credentials: {bearer: {tokenRef: {name: login, key: token}}}
  ca: {configMapRef: {name: authority, key: ca.crt}}
---
apiVersion: sluice.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: quality}
spec:
  metrics:
    - name: up
      count: 1
      successCondition: result[0] >= 0
      provider:
        prometheus: {source: {name: prometheus}, query: sum(up)}
    - name: up-everywhere
      count: 1
      successCondition: result[0] >= 0
      provider:
        prometheus: {source: {name: prometheus, kind: ClusterMetricsSource}, query: sum(up)}
    - name: job
      count: 1
      provider:
        job:
          spec:
            template:
              spec:
                restartPolicy: Never
                containers: [{name: check, image: 'registry.example.test/check:1'}]
";

fn release(world: &World, name: &str, tag: u32) {
    let containers = json!([{
        "name": "web",
        "image": format!("registry.example.test/web:v{tag}"),
        "ports": [{"containerPort": 8080}],
    }]);
    let template = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    patch(world, name, "", template);
}

fn patch(world: &World, name: &str, subresource: &str, patch: Value) {
    let object = Named {
        group: "sluice.dev".to_owned(),
        plural: "rollouts".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    };
    let write = Write::Merge(Patch { object, subresource: subresource.to_owned(), patch });
    world.order(Order::Write { who: "team".to_owned(), write }).unwrap();
}

/// Waits until the newest spec of each is observed and done.
async fn healthy(world: &World, names: &[&str]) {
    let is_done = |world: &World| {
        names.iter().all(|name| {
            let rollout = world.cluster().get(&ROLLOUTS, NAMESPACE, name).unwrap();
            let generation = rollout["metadata"]["generation"].to_string();
            rollout["status"]["phase"] == "Healthy"
                && rollout["status"]["observedGeneration"] == generation.as_str()
        })
    };
    let is_met = world.until(Duration::from_mins(10), is_done).await;
    let statuses = || {
        names
            .iter()
            .map(|name| world.cluster().get(&ROLLOUTS, NAMESPACE, name).unwrap()["status"].clone())
    };
    assert!(is_met, "{:#?}", statuses().collect::<Vec<_>>());
}

fn install(world: &World, applications: &[String]) {
    for text in applications {
        world.create("team", NAMESPACE, text).unwrap();
    }
    ask_gitops_tools(world);
}

/// Two Rollouts name no source in Git: Argo CD applies one, a release of Flux the other.
fn ask_gitops_tools(world: &World) {
    let url = "https://git.example.test/shop.git";
    let commit = "a".repeat(40);
    gitops::install(world);
    let source = json!({"repoURL": url, "path": "apps/web", "targetRevision": "main"});
    gitops::make(world, "argocd", &gitops::application("web", &source, &commit));
    let entry = "shop_old_helm.toolkit.fluxcd.io_HelmRelease";
    for object in gitops::kustomization(entry, url, "apps/old", &commit) {
        gitops::make(world, "flux-system", &object);
    }
    let mut release = json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "old", "namespace": NAMESPACE},
        "status": {"inventory": {"entries": [{"id": "shop_old_sluice.dev_Rollout", "v": "v1"}]}},
    });
    let kustomize = gitops::labelled("kustomize.toolkit.fluxcd.io", "flux-system", "apps");
    json_patch::merge(&mut release, &kustomize);
    gitops::make(world, NAMESPACE, &release);
    let suggest = json!({"spec": {"gitRevert": {"mode": "Suggest"}}});
    let helm = gitops::labelled("helm.toolkit.fluxcd.io", NAMESPACE, "old");
    for (name, mark) in [("web", gitops::tracked("web")), ("old", helm)] {
        patch(world, name, "", mark);
        patch(world, name, "", suggest.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn every_right_that_is_granted_is_used_and_none_is_missing() {
    let mut plan = WorldPlan::new(5);
    plan.roles = vec![Role::JobMetrics];
    let world = World::begin(plan).unwrap();
    world.add_namespace(NAMESPACE).unwrap();
    let settings = World::default_settings().unwrap();
    world.configure(Settings { enable_job_metrics: true, ..settings });
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(["test".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap().pem();
    let analyses = ANALYSES.replace("PEM", &json!(certificate).to_string());
    world.create("platform", NAMESPACE, &analyses).unwrap();
    let judged = "      - setWeight: 50
      - analysis: {templates: [{templateName: quality}]}
";
    let unjudged = "      - setWeight: 50\n";
    let names = ["web", "grpc", "old"];
    let applications = [
        application(
            "web",
            "gatewayAPI: {httpRoute: web}",
            &gateway_route("HTTPRoute", "web"),
            judged,
        ),
        application(
            "grpc",
            "gatewayAPI: {grpcRoute: grpc}",
            &gateway_route("GRPCRoute", "grpc"),
            unjudged,
        ),
        application("old", "nginx: {stableIngress: old}", &ingress("old"), unjudged),
    ];
    install(&world, &applications);
    world.start("one").unwrap();
    healthy(&world, &names).await;
    // So many releases that old ReplicaSets and runs are deleted.
    for tag in 2..6 {
        for name in names {
            release(&world, name, tag);
        }
        world.wait(Duration::from_secs(2)).await;
        healthy(&world, &names).await;
    }
    // An analysis that is ended from outside, with its Job under way.
    release(&world, "web", 6);
    let is_job_active = |world: &World| {
        let jobs = world.cluster().list(&JOBS, NAMESPACE);
        jobs.iter().any(|job| job["status"]["active"] == 1)
    };
    assert!(world.until(Duration::from_mins(2), is_job_active).await);
    patch(&world, "web", "status", json!({"status": {"abort": true}}));
    world.wait(Duration::from_mins(1)).await;
    release(&world, "web", 5);
    healthy(&world, &names).await;
    patch(&world, "web", "", json!({"spec": {"restartAt": world.now().to_rfc3339()}}));
    world.wait(Duration::from_mins(2)).await;
    healthy(&world, &names).await;
    world.stop("one");
    world.wait(Duration::from_secs(30)).await;

    let access = world.cluster().access_log();
    assert_eq!(access.refused, BTreeSet::new(), "a right is missing");
    let mut unused = BTreeSet::new();
    for role in Role::ALL {
        let name = format!("sluice-{}", role.as_str());
        let mut used = access.used_of("", &name);
        used.extend(access.used_of("sluice-system", &name));
        for grant in role.grants(ApiNames::SLUICE) {
            for resource in &grant.resources {
                for verb in &grant.verbs {
                    let right = (grant.api_group.clone(), resource.clone(), (*verb).to_owned());
                    if !used.contains(&right) {
                        unused.insert((role.as_str(), resource.clone(), *verb));
                    }
                }
            }
        }
    }
    unused.retain(|(_, resource, verb)| {
        !ONLY_ELSEWHERE.iter().any(|(known, by)| known == resource && by == verb)
    });
    assert_eq!(unused, BTreeSet::new(), "rights that nothing uses");
}
