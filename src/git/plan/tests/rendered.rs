//! What Helm, Flux's HelmReleases and Argo CD's overrides declare.

use serde_json::{Value, json};

use super::super::*;
use super::{World, change, restored, template};

const VALUES: &str = "chart/values.yaml";

fn values(tag: &str, replicas: u32) -> String {
    format!(
        "# of the shop\nimage:\n  repository: app\n  tag: \"{tag}\" # pinned\nreplicas: {replicas}\n"
    )
}

/// A chart whose Rollout is a template.
fn chart<'a>(values: &'a str, rest: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let template = "{{- if .Values.x }}\nkind: Rollout\n{{ end }}\n";
    let mut files = vec![
        ("chart/Chart.yaml", "name: x\nversion: 1.0.0\n"),
        ("chart/templates/r.yaml", template),
        (VALUES, values),
    ];
    files.extend(rest);
    files
}

#[test]
fn row_14_a_value_of_a_chart_goes_back_and_every_other_byte_stays() {
    let [good, bad, head] = [values("1", 3), values("2", 3), values("2", 5)];
    let verdict =
        World::new("chart").decide(&chart(&good, &[]), &chart(&bad, &[]), &chart(&head, &[]));
    assert!(matches!(verdict, Verdict::Restore(_)), "{verdict:?}");
    assert_eq!(change(&verdict, VALUES), values("1", 5));
    assert_eq!(restored(&verdict).restored[0].to_string(), "chart/values.yaml (image.tag)");
}

#[test]
fn a_value_that_does_not_shape_the_template_is_left_alone() {
    let [good, bad] = [values("1", 3), values("2", 5)];
    let verdict =
        World::new("chart").decide(&chart(&good, &[]), &chart(&bad, &[]), &chart(&bad, &[]));
    assert_eq!(change(&verdict, VALUES), values("1", 5));
}

#[test]
fn what_no_value_explains_needs_a_person() {
    let [good, bad] = [values("1", 3), values("2", 3)];
    let mut world = World::new("chart");
    world.t_bad["spec"]["containers"][0]["env"][0]["value"] = json!("off");
    let verdict = world.decide(&chart(&good, &[]), &chart(&bad, &[]), &chart(&bad, &[]));
    let Verdict::Suggest(_, SuggestReason::TemplateNotProved(why)) = &verdict else {
        panic!("{verdict:?}")
    };
    assert!(why.contains("spec.template.spec.containers[0].env[0].value"), "{why}");
    assert_eq!(change(&verdict, VALUES), good);
}

#[test]
fn the_gate_is_each_value_at_the_tip() {
    let [good, bad, third] = [values("1", 3), values("2", 3), values("3", 3)];
    let decide = |head: &str| {
        World::new("chart").decide(&chart(&good, &[]), &chart(&bad, &[]), &chart(head, &[]))
    };
    assert_eq!(decide(&good), Verdict::AlreadyReverted);
    assert_eq!(decide(&third), Verdict::Superseded(Superseded::OtherTemplate));
    let same = World::new("chart").decide(&chart(&bad, &[]), &chart(&bad, &[]), &chart(&bad, &[]));
    assert_eq!(same, Verdict::Blocked(Blocked::NoGitChange));
}

#[test]
fn a_changed_structure_goes_back_as_a_whole_file() {
    let good = values("1", 3);
    let bad = format!("{good}extra: {{sidecar: true}}\n");
    let added = [("chart/templates/sidecar.yaml", "{{ .Values.extra }}\n")];
    let decide = |rest: &[(&str, &str)]| {
        let mut world = World::new("chart");
        let sidecar = json!({"name": "sidecar", "image": "app:1"});
        world.t_bad = template("app:1");
        world.t_bad["spec"]["containers"].as_array_mut().unwrap().push(sidecar);
        let head = [&added[..], rest].concat();
        world.decide(&chart(&good, &[]), &chart(&bad, &added), &chart(&bad, &head))
    };
    let verdict = decide(&[]);
    assert_eq!(change(&verdict, VALUES), good);
    let removed = RepoPath::parse("chart/templates/sidecar.yaml").unwrap();
    assert_eq!(restored(&verdict).changes.get(&removed), Some(&None));
    // The same inputs give the same template; other inputs may not.
    let verdict = decide(&[("chart/templates/later.yaml", "{{ .Values.later }}\n")]);
    let Verdict::Suggest(_, SuggestReason::TemplateNotProved(why)) = verdict else { panic!() };
    assert!(why.contains("chart/templates/later.yaml"), "{why}");
}

#[test]
fn values_without_a_chart_and_a_file_that_is_named_are_enough() {
    let [good, bad] = [values("1", 3), values("2", 3)];
    let file = "env/prod/values.yaml";
    let verdict = World::new("env/prod").decide(&[(file, &good)], &[(file, &bad)], &[(file, &bad)]);
    assert_eq!(change(&verdict, file), good);
    let named = "env/prod/shop.yaml";
    let mut world = World::new("env");
    world.file = Some("prod/shop.yaml");
    let verdict = world.decide(&[(named, &good)], &[(named, &bad)], &[(named, &bad)]);
    assert_eq!(change(&verdict, named), good);
}

#[test]
fn the_overrides_of_argo_cds_image_updater_go_back() {
    let helm = |tag: &str| {
        format!(
            "helm:\n  parameters:\n  - name: image.tag\n    value: \"{tag}\"\n    forcestring: true\n"
        )
    };
    let (good, bad, plain) = (helm("1"), helm("2"), values("0", 3));
    let file = "chart/.argocd-source-web.yaml";
    let verdict = World::new("chart").decide(
        &chart(&plain, &[(file, &good)]),
        &chart(&plain, &[(file, &bad)]),
        &chart(&plain, &[(file, &bad)]),
    );
    assert!(matches!(verdict, Verdict::Restore(_)), "{verdict:?}");
    assert_eq!(change(&verdict, file), good);
    // Beside a kustomization: the images of the override, not those of the file.
    let images = |tag: &str| format!("kustomize:\n  images:\n  - app:{tag}\n");
    let (good, bad) = (images("1"), images("2"));
    let file = "web/.argocd-source.yaml";
    let rest = super::rollout("web", "app:0");
    let tree = |text: &'static str| [("web/rollout.yaml", text)];
    let base = tree(rest.leak());
    let with = |text: &str| [base[0], (file, String::from(text).leak() as &str)];
    let verdict = World::new("web").decide(&with(&good), &with(&bad), &with(&bad));
    assert_eq!(change(&verdict, file), good);
}

fn release(name: &str, version: &str, tag: &str) -> String {
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: {name}\nspec:\n  \
         interval: 5m\n  chart:\n    spec:\n      chart: x\n      version: {version}\n  values:\n    \
         image: {{tag: '{tag}'}} # bot\n"
    )
}

#[test]
fn values_of_a_helm_release_go_back_and_other_releases_stay() {
    let file = "apps/all.yaml";
    let text = |ours: &str, theirs: &str| {
        format!("{}---\n{}", release("web", "1.0.0", ours), release("api", "1.0.0", theirs))
    };
    let (good, bad, head) = (text("1", "7"), text("2", "8"), text("2", "9"));
    let verdict = World::new("apps").decide(&[(file, &good)], &[(file, &bad)], &[(file, &head)]);
    assert!(matches!(verdict, Verdict::Restore(_)), "{verdict:?}");
    assert_eq!(change(&verdict, file), text("1", "9"));
}

#[test]
fn a_new_version_of_a_chart_goes_back_by_a_person() {
    let file = "apps/web.yaml";
    let (good, bad) = (release("web", "1.0.0", "1"), release("web", "2.0.0", "1"));
    let verdict = World::new("apps").decide(&[(file, &good)], &[(file, &bad)], &[(file, &bad)]);
    // Which image a version of a chart brings is not known here.
    assert_eq!(verdict, Verdict::Blocked(Blocked::NoGitChange));
    let mut world = World::new("apps");
    (world.t_good, world.t_bad) = (Value::Null, Value::Null);
    let verdict = world.decide(&[(file, &good)], &[(file, &bad)], &[(file, &bad)]);
    assert_eq!(change(&verdict, file), good);
}

#[test]
fn the_ledger_takes_a_chart_whose_values_name_the_images() {
    let mut repo = super::Repo::default();
    let text = values("1", 3);
    let tree = repo.tree('a', &chart(&text, &[]));
    let source = super::source_at("chart");
    let identity = Identity::rollout("shop", "web");
    let verify = |template: &Value| {
        let view = View::new(&tree, &repo.blobs);
        verify_declaration(view, &source, &identity, template).unwrap()
    };
    assert_eq!(verify(&template("app:1")), Ok(()));
    let Err(LedgerRefusal::NotComputable(why)) = verify(&template("app:2")) else { panic!() };
    assert_eq!(why, ["no value of the chart names the image app:2"]);
}
