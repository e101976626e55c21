//! A table: one test for each row of what a tool can say about a Rollout.

use serde_json::json;

use super::*;

const GIT: &str = "https://git.example.test/shop/deploy.git";
const SHA_A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const SHA_B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const SHA_C: &str = "cccccccccccccccccccccccccccccccccccccccc";

/// A cluster: the marks of the Rollout shop/web, and what can be read.
#[derive(Default)]
struct Cluster {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    objects: Objects,
}

impl Cluster {
    fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    fn tracked(self, id: &str) -> Self {
        self.annotated("argocd.argoproj.io/tracking-id", id)
    }

    fn annotated(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    fn with(mut self, kind: OwnerKind, place: &str, object: Value) -> Self {
        let (namespace, name) = place.split_once('/').unwrap();
        let reference = ObjectRef::new(kind, namespace, name);
        self.objects.insert(reference, Seen::Found(Box::new(object)));
        self
    }

    fn unknown(mut self, kind: OwnerKind, place: &str) -> Self {
        let (namespace, name) = place.split_once('/').unwrap();
        let seen = Seen::Unknown("forbidden".to_owned());
        self.objects.insert(ObjectRef::new(kind, namespace, name), seen);
        self
    }

    /// Whatever is asked for and not said above is absent.
    fn answer(mut self) -> Answer {
        for _ in 0..8 {
            let subject = Subject {
                group: "sluice.dev",
                namespace: "shop",
                name: "web",
                labels: &self.labels,
                annotations: &self.annotations,
            };
            match discover(&subject, "argocd", &self.objects) {
                Ok(answer) => return answer,
                Err(Wanted(reference)) => {
                    assert_eq!(self.objects.insert(reference, Seen::Absent), None, "asked twice");
                }
            }
        }
        panic!("it never has enough");
    }

    fn found(self) -> Found {
        self.answer().unwrap()
    }

    fn refusal(self) -> Refusal {
        self.answer().unwrap_err()
    }
}

const OWN_ID: &str = "web:sluice.dev/Rollout:shop/web";

#[expect(clippy::needless_pass_by_value, reason = "patches are literals")]
fn merged(mut base: Value, patch: Value) -> Value {
    json_patch::merge(&mut base, &patch);
    base
}

/// An Application with one folder in Git, in step with commit A.
fn application(patch: Value) -> Value {
    let base = json!({
        "metadata": {"name": "web", "namespace": "argocd"},
        "spec": {
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "source": {"repoURL": GIT, "path": "apps/web", "targetRevision": "main"},
        },
        "status": {
            "sync": {"status": "Synced", "revision": SHA_A},
            "operationState": {"phase": "Succeeded", "syncResult": {"revision": SHA_A}},
            "resources": [
                {"version": "v1", "kind": "Service", "namespace": "shop", "name": "web"},
                {"group": "sluice.dev", "kind": "Rollout", "namespace": "shop", "name": "web"},
            ],
        },
    });
    merged(base, patch)
}

fn argo(patch: Value) -> Cluster {
    Cluster::default().tracked(OWN_ID).with(
        OwnerKind::Application,
        "argocd/web",
        application(patch),
    )
}

fn place(found: &Found) -> (String, String, String, Vec<String>) {
    assert_eq!(found.places.len(), 1, "{found:?}");
    let place = &found.places[0];
    let branch = place.branch.as_ref().map_or("(default)".to_owned(), ToString::to_string);
    let commits = place.commits.iter().map(|commit| commit.short()[..1].to_owned()).collect();
    (place.url.to_string(), branch, place.path.to_string(), commits)
}

fn at(branch: &str, path: &str, commits: &[&str]) -> (String, String, String, Vec<String>) {
    let commits = commits.iter().map(|commit| (*commit).to_owned()).collect();
    (GIT.to_owned(), branch.to_owned(), path.to_owned(), commits)
}

#[test]
fn argo_cd_with_one_folder_leads_to_its_branch_path_and_commit() {
    let found = argo(json!({})).found();
    assert_eq!(place(&found), at("main", "apps/web", &["a"]));
    assert_eq!((found.is_settled, found.limits.as_slice()), (true, [].as_slice()));
    assert_eq!(found.owner.to_string(), "Application argocd/web");
}

#[test]
fn an_application_outside_of_argo_cds_namespace_is_read_where_the_mark_says() {
    let found = Cluster::default()
        .tracked("team-a_web:sluice.dev/Rollout:shop/web")
        .with(OwnerKind::Application, "team-a/web", application(json!({})))
        .found();
    assert_eq!(found.owner.to_string(), "Application team-a/web");
}

#[test]
fn a_tracking_mark_that_describes_another_object_or_nothing_is_ignored() {
    for id in [
        "web:apps/Deployment:shop/web",
        "web:sluice.dev/Rollout:shop/other",
        "web:sluice.dev/Rollout:other/web",
        "web:argoproj.io/Rollout:shop/web",
        ":sluice.dev/Rollout:shop/web",
        "web:sluice.dev/Rollout",
        "web",
        "",
    ] {
        let cluster = Cluster::default().tracked(id).with(
            OwnerKind::Application,
            "argocd/web",
            application(json!({})),
        );
        assert_eq!(cluster.refusal(), Refusal::NoPointer, "{id}");
    }
}

#[test]
fn an_application_that_does_not_list_the_rollout_is_not_believed() {
    for resources in [
        json!(null),
        json!([]),
        json!([{"group": "sluice.dev", "kind": "Rollout", "namespace": "other", "name": "web"}]),
        json!([{"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web"}]),
        json!([{"group": "sluice.dev", "kind": "Rollout", "namespace": "shop", "name": "web2"}]),
    ] {
        let refusal = argo(json!({"status": {"resources": resources}})).refusal();
        assert!(matches!(refusal, Refusal::NotListed { .. }), "{refusal}");
    }
}

#[test]
fn an_application_that_is_absent_or_cannot_be_read_leads_nowhere() {
    let absent = Cluster::default().tracked(OWN_ID).refusal();
    assert!(matches!(&absent, Refusal::Absent { .. }), "{absent}");
    assert!(absent.to_string().contains("--argocd-namespace"), "{absent}");
    let unknown =
        Cluster::default().tracked(OWN_ID).unknown(OwnerKind::Application, "argocd/web").refusal();
    assert_eq!(unknown.to_string(), "Application argocd/web cannot be read: forbidden");
}

#[test]
fn the_instance_label_is_a_hint_that_counts_only_with_the_back_reference() {
    let label = "app.kubernetes.io/instance";
    let found = Cluster::default()
        .label(label, "web")
        .with(OwnerKind::Application, "argocd/web", application(json!({})))
        .found();
    assert_eq!(place(&found), at("main", "apps/web", &["a"]));
    let unlisted = Cluster::default().label(label, "web").with(
        OwnerKind::Application,
        "argocd/web",
        application(json!({"status": {"resources": []}})),
    );
    assert_eq!(unlisted.refusal(), Refusal::NoPointer);
    assert_eq!(Cluster::default().label(label, "web").refusal(), Refusal::NoPointer);
    let unread =
        Cluster::default().label(label, "web").unknown(OwnerKind::Application, "argocd/web");
    assert!(matches!(unread.refusal(), Refusal::Unknown { .. }));
}

#[test]
fn while_a_sync_runs_its_commit_comes_first_and_is_not_final() {
    let found = argo(json!({"status": {"operationState": {
        "phase": "Running",
        "operation": {"sync": {"revision": SHA_B}},
        "syncResult": {"revision": SHA_C},
    }}}))
    .found();
    assert_eq!(place(&found), at("main", "apps/web", &["c", "b", "a"]));
    assert!(!found.is_settled);
    assert!(!argo(json!({"operation": {"sync": {}}})).found().is_settled);
}

#[test]
fn what_argo_cd_only_compares_with_is_no_commit_that_it_applied() {
    let out_of_sync = json!({"status": {"sync": {"status": "OutOfSync", "revision": SHA_B}}});
    assert_eq!(place(&argo(out_of_sync).found()), at("main", "apps/web", &["a"]));
}

#[test]
fn head_and_nothing_mean_the_default_branch() {
    for revision in [json!("HEAD"), json!(""), json!(null)] {
        let found = argo(json!({"spec": {"source": {"targetRevision": revision}}})).found();
        assert_eq!(place(&found), at("(default)", "apps/web", &["a"]));
    }
    let full = argo(json!({"spec": {"source": {"targetRevision": "refs/heads/env/prod"}}}));
    assert_eq!(place(&full.found()), at("env/prod", "apps/web", &["a"]));
}

#[test]
fn a_commit_a_range_or_a_tag_is_no_branch() {
    for revision in [SHA_A, "1.*", "^1.2.0", ">=1.0 <2.0", "refs/tags/v1"] {
        let refusal = argo(json!({"spec": {"source": {"targetRevision": revision}}})).refusal();
        assert!(matches!(&refusal, Refusal::FixedRevision { .. }), "{revision}: {refusal}");
    }
    let managed = argo(json!({
        "metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "root:argoproj.io/Application:argocd/web"}},
        "spec": {"source": {"targetRevision": SHA_A}},
    }));
    assert!(managed.refusal().to_string().ends_with("; it is declared by Application root"));
}

#[test]
fn an_application_of_an_application_set_or_of_an_app_of_apps_is_not_pushed_for() {
    for (metadata, by) in [
        (
            json!({"ownerReferences": [{"kind": "ApplicationSet", "name": "regions"}]}),
            "ApplicationSet regions",
        ),
        (
            json!({"annotations": {"argocd.argoproj.io/tracking-id": "argocd_root:argoproj.io/Application:argocd/web"}}),
            "Application argocd/root",
        ),
        (json!({"labels": {"app.kubernetes.io/instance": "root"}}), "Application root"),
        (
            json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}),
            "Flux Kustomization apps",
        ),
    ] {
        let found = argo(json!({"metadata": metadata})).found();
        let words = found.limits.iter().map(ToString::to_string).collect::<String>();
        assert!(words.contains(&format!("is managed by {by},")), "{words}");
    }
}

#[test]
fn values_and_images_in_the_application_itself_are_not_in_git() {
    let images = argo(json!({"spec": {"source": {"kustomize": {"images": ["web:2"]}}}}));
    let words = images.refusal().to_string();
    assert!(words.contains("spec.source.kustomize.images"), "{words}");
    for helm in [
        json!({"parameters": [{"name": "image.tag", "value": "2"}]}),
        json!({"values": "image: {tag: 2}"}),
        json!({"valuesObject": {"image": {"tag": "2"}}}),
    ] {
        let found = argo(json!({"spec": {"source": {"helm": helm}}})).found();
        assert!(matches!(found.limits[..], [Limit::Overridden { .. }]), "{found:?}");
    }
    let plugin = argo(json!({"spec": {"source": {"plugin": {"name": "own"}}}})).found();
    assert!(matches!(plugin.limits[..], [Limit::Plugin { .. }]));
}

#[test]
fn a_chart_of_a_helm_repository_and_an_oci_source_are_not_git() {
    for source in [
        json!({"repoURL": "https://charts.example.test", "chart": "web", "path": null}),
        json!({"repoURL": "oci://registry.example.test/web"}),
    ] {
        let refusal = argo(json!({"spec": {"source": source}})).refusal();
        assert!(matches!(&refusal, Refusal::NotGit { .. }), "{refusal}");
    }
}

#[test]
fn values_from_another_repository_lead_to_that_repository() {
    let found = argo(json!({
        "spec": {"source": null, "sources": [
            {"repoURL": "https://charts.example.test", "chart": "web", "targetRevision": "1.2.3",
             "helm": {"valueFiles": ["$values/apps/web/values.yaml", "other.yaml"]}},
            {"repoURL": GIT, "targetRevision": "main", "ref": "values"},
        ]},
        "status": {
            "operationState": {"syncResult": {"revision": null, "revisions": ["1.2.3", SHA_B]}},
            "sync": {"revision": null, "revisions": ["1.2.3", SHA_B]},
        },
    }))
    .found();
    assert_eq!(place(&found), at("main", "apps/web", &["b"]));
    assert_eq!(found.places[0].file.as_ref().map(RepoPath::as_str), Some("values.yaml"));
}

#[test]
fn several_sources_in_git_are_all_places_with_their_own_commits() {
    let found = argo(json!({
        "spec": {"source": {"path": "ignored"}, "sources": [
            {"repoURL": GIT, "path": "charts/web", "targetRevision": "main"},
            {"repoURL": GIT, "path": "routes", "targetRevision": "env"},
        ]},
        "status": {"operationState": {"syncResult": {"revisions": [SHA_B, SHA_C]}}},
    }))
    .found();
    let seen: Vec<_> = found
        .places
        .iter()
        .map(|place| (place.path.to_string(), place.commits[0].short()[..1].to_owned()))
        .collect();
    assert_eq!(seen, [("charts/web".into(), "b".into()), ("routes".into(), "c".into())]);
}

#[test]
fn a_hydrated_application_leads_to_its_dry_source() {
    let found = argo(json!({
        "spec": {"source": null, "sourceHydrator": {
            "drySource": {"repoURL": GIT, "path": "dry/web", "targetRevision": "main"},
            "syncSource": {"targetBranch": "env/prod", "path": "web"},
        }},
        "status": {"sourceHydrator": {
            "lastSuccessfulOperation": {"drySHA": SHA_B, "hydratedSHA": SHA_A},
            "currentOperation": {"drySHA": SHA_C, "phase": "Hydrating"},
        }},
    }))
    .found();
    assert_eq!(place(&found), at("main", "dry/web", &["b", "c"]));
    assert!(!found.is_settled);
}

#[test]
fn an_application_of_another_cluster_is_refused() {
    for destination in [
        json!({"server": "https://prod.example.test:6443"}),
        json!({"server": null, "name": "prod"}),
    ] {
        let refusal = argo(json!({"spec": {"destination": destination}})).refusal();
        assert!(matches!(&refusal, Refusal::OtherCluster { .. }), "{refusal}");
    }
    let by_name = json!({"spec": {"destination": {"server": null, "name": "in-cluster"}}});
    assert!(argo(by_name).answer().is_ok());
}

#[test]
fn an_address_that_no_git_server_has_is_refused_by_its_field() {
    let refusal = argo(json!({"spec": {"source": {"repoURL": "file:///srv/git"}}})).refusal();
    assert_eq!(refusal.to_string(), "Application argocd/web: spec.source.repoURL");
    let path = argo(json!({"spec": {"source": {"path": "../../etc"}}})).refusal();
    assert_eq!(path.to_string(), "Application argocd/web: spec.source.path");
}

const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";
const HELM: &str = "helm.toolkit.fluxcd.io";

fn kustomization(patch: Value) -> Value {
    let base = json!({
        "metadata": {"generation": 3},
        "spec": {"path": "./apps/web", "sourceRef": {"kind": "GitRepository", "name": "deploy"}},
        "status": {
            "observedGeneration": 3,
            "lastAttemptedRevision": format!("main@sha1:{SHA_A}"),
            "lastAppliedRevision": format!("main@sha1:{SHA_A}"),
            "inventory": {"entries": [
                {"id": "shop_web__Service", "v": "v1"},
                {"id": "shop_web_sluice.dev_Rollout", "v": "v1alpha1"},
                {"id": "shop_web_helm.toolkit.fluxcd.io_HelmRelease", "v": "v2"},
            ]},
        },
    });
    merged(base, patch)
}

fn repository(patch: Value) -> Value {
    merged(json!({"spec": {"url": GIT, "ref": {"branch": "main"}}}), patch)
}

fn flux(kustomize: Value, git: Value) -> Cluster {
    Cluster::default()
        .label(&format!("{KUSTOMIZE}/name"), "apps")
        .label(&format!("{KUSTOMIZE}/namespace"), "flux-system")
        .with(OwnerKind::Kustomization, "flux-system/apps", kustomization(kustomize))
        .with(OwnerKind::GitRepository, "flux-system/deploy", repository(git))
}

#[test]
fn flux_leads_through_the_kustomization_to_its_repository() {
    let found = flux(json!({}), json!({})).found();
    assert_eq!(place(&found), at("main", "apps/web", &["a"]));
    assert!(found.is_settled && found.limits.is_empty());
    let elsewhere = json!({"spec": {"sourceRef": {"namespace": "shared"}}});
    let cluster = flux(elsewhere, json!({})).with(
        OwnerKind::GitRepository,
        "shared/deploy",
        repository(json!({"spec": {"ref": {"branch": "other"}}})),
    );
    assert_eq!(place(&cluster.found()), at("other", "apps/web", &["a"]));
}

#[test]
fn scenario_17_a_label_with_the_name_of_another_teams_kustomization_is_not_believed() {
    let inventory = json!({"entries": [{"id": "other_web_sluice.dev_Rollout", "v": "v1alpha1"}]});
    let refusal = flux(json!({"status": {"inventory": inventory}}), json!({})).refusal();
    assert!(matches!(&refusal, Refusal::NotListed { .. }), "{refusal}");
}

#[test]
fn while_flux_applies_the_attempted_commit_comes_first_and_is_not_final() {
    let reconciling = json!({"status": {
        "lastAttemptedRevision": format!("main@sha1:{SHA_B}"),
        "conditions": [{"type": "Reconciling", "status": "True"}],
    }});
    let found = flux(reconciling, json!({})).found();
    assert_eq!(place(&found), at("main", "apps/web", &["b", "a"]));
    assert!(!found.is_settled);
    assert!(!flux(json!({"metadata": {"generation": 4}}), json!({})).found().is_settled);
}

#[test]
fn a_repository_at_a_commit_a_tag_or_a_range_follows_no_branch() {
    for reference in [
        json!({"commit": SHA_A, "branch": "main"}),
        json!({"tag": "v1", "branch": "main"}),
        json!({"semver": ">=1.0", "branch": "main"}),
        json!({"name": "refs/tags/v1"}),
        json!({"name": "refs/pull/1/head", "semver": "*"}),
    ] {
        let refusal = flux(json!({}), json!({"spec": {"ref": reference}})).refusal();
        assert!(matches!(&refusal, Refusal::FixedRevision { .. }), "{refusal}");
    }
    let named = flux(json!({}), json!({"spec": {"ref": {"name": "refs/heads/x", "tag": "v1"}}}));
    assert_eq!(place(&named.found()), at("x", "apps/web", &["a"]));
    let none = flux(json!({}), json!({"spec": {"ref": null}}));
    assert_eq!(place(&none.found()), at("master", "apps/web", &["a"]));
}

#[test]
fn an_oci_source_is_not_git_and_names_the_commit_that_it_was_built_from() {
    for kind in ["OCIRepository", "Bucket", "ExternalArtifact"] {
        let cluster = flux(
            json!({
                "spec": {"sourceRef": {"kind": kind}},
                "status": {"lastAppliedOriginRevision": format!("main@sha1:{SHA_C}")},
            }),
            json!({}),
        );
        let words = cluster.refusal().to_string();
        assert!(words.contains(&format!("from {kind} deploy, not from Git")), "{words}");
        assert!(words.ends_with(&format!("; it was built from main@sha1:{SHA_C}")), "{words}");
    }
}

#[test]
fn images_in_the_kustomization_and_another_cluster_are_refused_and_includes_limited() {
    let images = flux(json!({"spec": {"images": [{"name": "web", "newTag": "2"}]}}), json!({}));
    assert!(matches!(images.refusal(), Refusal::InOwner { .. }));
    let remote = flux(json!({"spec": {"kubeConfig": {"secretRef": {"name": "x"}}}}), json!({}));
    assert!(matches!(remote.refusal(), Refusal::OtherCluster { .. }));
    let include = json!({"spec": {"include": [{"repository": {"name": "base"}}]}});
    let limits = flux(json!({}), include).found().limits;
    assert!(matches!(limits[..], [Limit::Includes { .. }]));
}

#[test]
fn what_flux_does_not_have_or_does_not_show_leads_nowhere() {
    let labels = || {
        Cluster::default()
            .label(&format!("{KUSTOMIZE}/name"), "apps")
            .label(&format!("{KUSTOMIZE}/namespace"), "flux-system")
    };
    assert!(matches!(labels().refusal(), Refusal::Absent { .. }));
    let unknown = labels().unknown(OwnerKind::Kustomization, "flux-system/apps").refusal();
    assert!(matches!(unknown, Refusal::Unknown { .. }));
    let no_repository = labels()
        .with(OwnerKind::Kustomization, "flux-system/apps", kustomization(json!({})))
        .unknown(OwnerKind::GitRepository, "flux-system/deploy")
        .refusal();
    assert!(matches!(no_repository, Refusal::Unknown { .. }));
    let half = Cluster::default().label(&format!("{KUSTOMIZE}/name"), "apps").refusal();
    assert_eq!(half, Refusal::NoPointer);
}

fn release(patch: Value) -> Value {
    let base = json!({
        "metadata": {"name": "web", "namespace": "shop", "labels": {
            format!("{KUSTOMIZE}/name"): "apps", format!("{KUSTOMIZE}/namespace"): "flux-system",
        }},
        "spec": {"values": {"image": {"tag": "2"}}},
        "status": {"inventory": {"entries": [{"id": "shop_web_sluice.dev_Rollout", "v": "v1"}]}},
    });
    merged(base, patch)
}

fn helm(patch: Value) -> Cluster {
    Cluster::default()
        .label(&format!("{HELM}/name"), "web")
        .label(&format!("{HELM}/namespace"), "shop")
        .with(OwnerKind::HelmRelease, "shop/web", release(patch))
        .with(OwnerKind::Kustomization, "flux-system/apps", kustomization(json!({})))
        .with(OwnerKind::GitRepository, "flux-system/deploy", repository(json!({})))
}

#[test]
fn a_helm_release_leads_to_the_kustomization_that_declares_it() {
    let found = helm(json!({})).found();
    assert_eq!(place(&found), at("main", "apps/web", &["a"]));
    assert_eq!(found.owner.to_string(), "Kustomization flux-system/apps");
    assert!(found.limits.is_empty());
    let unlisted =
        json!({"status": {"inventory": {"entries": [{"id": "shop_x_apps_Deployment"}]}}});
    assert!(matches!(helm(unlisted).refusal(), Refusal::NotListed { .. }));
    let by_nobody = json!({"metadata": {"labels": null}});
    assert!(matches!(helm(by_nobody).refusal(), Refusal::Missing { .. }));
}

#[test]
fn a_helm_release_without_inventory_counts_with_helms_own_marks_and_is_not_pushed_for() {
    let old = json!({"status": {"inventory": null}});
    assert!(matches!(helm(old.clone()).refusal(), Refusal::NotListed { .. }));
    let marked = |name: &str| {
        helm(old.clone())
            .annotated("meta.helm.sh/release-name", name)
            .annotated("meta.helm.sh/release-namespace", "shop")
    };
    assert!(matches!(marked("web").found().limits[..], [Limit::NoInventory { .. }]));
    assert!(matches!(marked("other").refusal(), Refusal::NotListed { .. }));
    let outside = helm(json!({"spec": {"valuesFrom": [{"kind": "Secret", "name": "x"}]}})).found();
    assert!(matches!(outside.limits[..], [Limit::Overridden { .. }]));
}

#[test]
fn an_application_that_only_shows_what_flux_applies_leads_to_flux() {
    let shown = json!({"spec": {"syncPolicy": {"syncOptions": ["FluxSubsystem=true"]}}});
    let cluster = flux(json!({}), json!({})).tracked(OWN_ID).with(
        OwnerKind::Application,
        "argocd/web",
        application(shown.clone()),
    );
    assert_eq!(cluster.found().owner.to_string(), "Kustomization flux-system/apps");
    assert!(matches!(argo(shown).refusal(), Refusal::NotGit { .. }));
}

#[test]
fn two_tools_that_both_apply_the_rollout_are_not_pushed_for() {
    let both = || {
        let application = application(json!({}));
        Cluster::default().tracked(OWN_ID).with(OwnerKind::Application, "argocd/web", application)
    };
    let labelled = |cluster: Cluster| {
        cluster
            .label(&format!("{KUSTOMIZE}/name"), "apps")
            .label(&format!("{KUSTOMIZE}/namespace"), "flux-system")
    };
    let flux_knows = labelled(both())
        .with(OwnerKind::Kustomization, "flux-system/apps", kustomization(json!({})))
        .with(OwnerKind::GitRepository, "flux-system/deploy", repository(json!({})));
    assert!(matches!(flux_knows.found().limits[..], [Limit::SecondOwner { .. }]));
    let unknown = labelled(both()).unknown(OwnerKind::Kustomization, "flux-system/apps");
    assert!(matches!(unknown.found().limits[..], [Limit::SecondOwner { .. }]));
    assert!(labelled(both()).found().limits.is_empty(), "Flux knows nothing of it");
}

#[test]
fn scenario_16_the_revisions_of_flux_are_read_in_all_their_forms() {
    for revision in [
        format!("main@sha1:{SHA_A}"),
        format!("feature/x@y@sha1:{SHA_A}"),
        format!("sha1:{SHA_A}"),
        format!("main/{SHA_A}"),
        format!("feature/x/{SHA_A}"),
    ] {
        let commit = flux::commit_of(&revision);
        assert_eq!(commit.as_ref().map(Commit::as_str), Some(SHA_A), "{revision}");
    }
    for revision in ["", "main", "main@sha1:", "latest@md5:aa", "main@sha1:AAAA", "@", ":", "/"] {
        assert_eq!(flux::commit_of(revision), None, "{revision}");
    }
}

proptest::proptest! {
    #[test]
    fn scenario_15_no_mark_makes_the_search_fail(id in ".{0,60}", label in ".{0,30}") {
        let answer = Cluster::default()
            .tracked(&id)
            .label("app.kubernetes.io/instance", &label)
            .label(&format!("{KUSTOMIZE}/name"), &label)
            .label(&format!("{KUSTOMIZE}/namespace"), &label)
            .answer();
        proptest::prop_assert!(answer.is_err());
    }
}
