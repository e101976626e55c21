//! The decision table of the revert (rows) and the scenarios of the design, on trees written down
//! as text.

mod rendered;

use serde_json::{Value, json};

use super::{tree::testing::Repo, *};
use crate::git::source::{BranchName, GitUrl};

/// A plain manifest with a comment at the value and steps that are not part of the template.
fn rollout(name: &str, image: &str) -> String {
    format!(
        "# {name}\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: {name}\nspec:\n  \
         replicas: 3\n  strategy:\n    canary:\n      steps: [{{setWeight: 20}}]\n  template:\n    \
         spec:\n      containers:\n        - name: web\n          image: {image} # pinned\n          \
         env:\n            - {{name: MODE, value: \"on\"}}\n"
    )
}

fn template(image: &str) -> Value {
    json!({"spec": {"containers": [
        {"name": "web", "image": image, "env": [{"name": "MODE", "value": "on"}]}
    ]}})
}

struct World {
    repo: Repo,
    path: &'static str,
    file: Option<&'static str>,
    t_good: Value,
    t_bad: Value,
}

type Files<'a> = &'a [(&'a str, &'a str)];

impl World {
    fn new(path: &'static str) -> Self {
        Self {
            repo: Repo::default(),
            path,
            file: None,
            t_good: template("app:1"),
            t_bad: template("app:2"),
        }
    }

    fn decide(mut self, good: Files<'_>, bad: Files<'_>, head: Files<'_>) -> Verdict {
        let (good, bad, head) =
            (self.repo.tree('a', good), self.repo.tree('b', bad), self.repo.tree('c', head));
        let file = self.file.map(|file| RepoPath::parse(file).unwrap());
        let source = Source { file, ..source_at(self.path) };
        let identity = Identity::rollout("shop", "web");
        let question = Question {
            source: &source,
            identity: &identity,
            good: &Declaration { commit: good.commit().clone(), template: self.t_good },
            bad: &Declaration { commit: bad.commit().clone(), template: self.t_bad },
        };
        // Contents arrive bit by bit, as they do from a server.
        let mut known = Blobs::default();
        for _ in 0..50 {
            let facts = Facts { good: &good, bad: &bad, head: &head, blobs: &known };
            match decide(&question, facts) {
                Ok(verdict) => return verdict,
                Err(Need(missing)) => {
                    assert!(!missing.is_empty());
                    known.extend(missing.into_iter().map(|id| {
                        let blob = self.repo.blobs.get(&id).expect("a blob of a tree").clone();
                        (id, blob)
                    }));
                }
            }
        }
        panic!("the planner never had enough");
    }
}

fn source_at(path: &str) -> Source {
    Source {
        url: GitUrl::parse("https://git.example/x").unwrap(),
        branch: BranchName::parse("main").unwrap(),
        path: RepoPath::parse(path).unwrap(),
        file: None,
    }
}

fn change(verdict: &Verdict, file: &str) -> String {
    let restoration = match verdict {
        Verdict::Restore(restoration) | Verdict::Suggest(restoration, _) => restoration,
        other => panic!("no changes: {other:?}"),
    };
    let bytes = restoration.changes.get(&RepoPath::parse(file).unwrap());
    String::from_utf8(bytes.expect("the file changes").clone().expect("not removed")).unwrap()
}

fn restored(verdict: &Verdict) -> &Restoration {
    match verdict {
        Verdict::Restore(restoration) => restoration,
        other => panic!("not restored: {other:?}"),
    }
}

const FILE: &str = "apps/web/rollout.yaml";

#[test]
fn row_1_failed_template_at_head_is_restored_by_one_value_and_every_other_byte_stays() {
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    let verdict = World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &bad)]);
    assert_eq!(change(&verdict, FILE), good);
    let restoration = restored(&verdict);
    assert_eq!(restoration.changes.len(), 1);
    assert_eq!(
        restoration.restored[0].to_string(),
        "apps/web/rollout.yaml (spec.template.spec.containers[0].image)"
    );
    insta::assert_snapshot!(restoration.patch);
}

#[test]
fn row_2_head_that_declares_the_stable_template_is_already_reverted() {
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    let head = good.replace("# pinned", "# put back by hand");
    let verdict =
        World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &head)]);
    assert_eq!(verdict, Verdict::AlreadyReverted);
}

#[test]
fn row_3_and_6_a_third_template_at_head_supersedes_the_revert() {
    let (good, bad, head) =
        (rollout("web", "app:1"), rollout("web", "app:2"), rollout("web", "app:3"));
    let verdict =
        World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &head)]);
    assert_eq!(verdict, Verdict::Superseded(Superseded::OtherTemplate));
    // Another field of the template counts, too, although the failed image is still there.
    let head = bad.replace("\"on\"", "\"off\"");
    let verdict =
        World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &head)]);
    assert_eq!(verdict, Verdict::Superseded(Superseded::OtherTemplate));
}

#[test]
fn row_4_later_commits_in_other_files_stay() {
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    let verdict = World::new("apps/web").decide(
        &[(FILE, &good)],
        &[(FILE, &bad)],
        &[(FILE, &bad), ("docs/new.yaml", "a: 1\n"), ("apps/web/service.yaml", "kind: Service\n")],
    );
    assert_eq!(restored(&verdict).changes.len(), 1);
}

#[test]
fn row_5_a_later_change_beside_the_value_is_kept() {
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    let head = bad.replace("replicas: 3", "replicas: 9").replace("# web", "# web, by team A");
    let verdict =
        World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &head)]);
    assert_eq!(change(&verdict, FILE), head.replace("app:2", "app:1"));
}

#[test]
fn row_5_adjacent_lines_do_not_conflict() {
    let text = |tag: &str, n: u32| {
        rollout("web", &format!("app:{tag}")).replace(
            "        - name: web\n          image",
            &format!("        - name: web\n          # {n}\n          image"),
        )
    };
    let verdict = World::new("apps/web").decide(
        &[(FILE, &text("1", 1))],
        &[(FILE, &text("2", 1))],
        &[(FILE, &text("2", 2))],
    );
    assert_eq!(change(&verdict, FILE), text("1", 2));
}

#[test]
fn row_7_a_squash_with_many_files_restores_only_the_rollout() {
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    let after = [
        (FILE, bad.as_str()),
        ("src/main.rs", "fn main() { new }"),
        ("apps/web/service.yaml", "kind: Service\nport: 2\n"),
        ("README.md", "new"),
    ];
    let verdict = World::new("apps/web").decide(
        &[
            (FILE, &good),
            ("src/main.rs", "fn main() {}"),
            ("apps/web/service.yaml", "kind: Service\nport: 1\n"),
        ],
        &after,
        &after,
    );
    let restoration = restored(&verdict);
    assert_eq!(restoration.changes.len(), 1);
    assert!(restoration.not_touched.contains(&RepoPath::parse("apps/web/service.yaml").unwrap()));
}

#[test]
fn row_8_three_apps_in_one_commit_and_only_the_failed_one_goes_back() {
    let all = |tag: &str| {
        ["web", "api", "jobs"]
            .map(|name| (format!("apps/{name}.yaml"), rollout(name, &format!("app:{tag}"))))
    };
    let (good, bad) = (all("1"), all("2"));
    let refs = |all: &[(String, String); 3]| all.clone().map(|(path, text)| (path, text)).to_vec();
    let (good, bad) = (refs(&good), refs(&bad));
    let good: Vec<_> = good.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let bad: Vec<_> = bad.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let verdict = World::new("apps").decide(&good, &bad, &bad);
    let restoration = restored(&verdict);
    assert_eq!(
        restoration.changes.keys().map(RepoPath::as_str).collect::<Vec<_>>(),
        ["apps/web.yaml"]
    );
    assert_eq!(
        restoration.not_touched.iter().map(RepoPath::as_str).collect::<Vec<_>>(),
        ["apps/api.yaml", "apps/jobs.yaml"]
    );
}

#[test]
fn row_9_only_our_document_of_a_file_with_three_rollouts_differs() {
    let all = |web: &str, others: &str| {
        ["api", "web", "jobs"]
            .map(|name| rollout(name, if name == "web" { web } else { others }))
            .join("---\n")
    };
    let head = all("app:2", "app:2") + "# the end";
    let verdict = World::new("apps/web").decide(
        &[(FILE, &all("app:1", "app:1"))],
        &[(FILE, &all("app:2", "app:2"))],
        &[(FILE, &head)],
    );
    assert_eq!(change(&verdict, FILE), all("app:1", "app:2") + "# the end");
    // The other two stay at their new version.
    assert_eq!(change(&verdict, FILE).matches("app:2").count(), 2);
}

const KUSTOMIZATION: &str = "apps/web/prod/kustomization.yaml";

fn overlay(tag: &str) -> String {
    format!(
        "resources:\n- ../base\nnamespace: shop\nimages:\n- name: other\n  newTag: \"9\"\n- name: app # ours\n  newTag: {tag} # {{\"$imagepolicy\": \"x\"}}\n"
    )
}

#[test]
fn kustomize_images_are_restored_in_the_overlay() {
    let base = ("apps/web/base/kustomization.yaml", "resources: [rollout.yaml]\n");
    let manifest = rollout("web", "app:placeholder");
    let rollout = ("apps/web/base/rollout.yaml", manifest.as_str());
    let (good, bad) = (overlay("v1"), overlay("v2"));
    let mut world = World::new("apps/web/prod");
    (world.t_good, world.t_bad) = (template("app:v1"), template("app:v2"));
    let head = bad.clone() + "commonLabels: {team: a}\n";
    let verdict = world.decide(
        &[base, rollout, (KUSTOMIZATION, &good)],
        &[base, rollout, (KUSTOMIZATION, &bad)],
        &[base, rollout, (KUSTOMIZATION, &head)],
    );
    assert_eq!(change(&verdict, KUSTOMIZATION), good + "commonLabels: {team: a}\n");
    assert_eq!(
        restored(&verdict).restored[0].to_string(),
        format!("{KUSTOMIZATION} (images[1].newTag)")
    );
}

#[test]
fn digest_and_tag_are_restored_together_and_numbers_stay_strings() {
    let text = |tag: &str, digest: &str| {
        format!(
            "resources: [r.yaml]\nimages:\n- digest: sha256:{digest}\n  name: app\n  newTag: {tag}\n"
        )
    };
    let manifest = rollout("web", "app");
    let rollout = ("apps/r.yaml", manifest.as_str());
    let mut world = World::new("apps");
    (world.t_good, world.t_bad) = (template("app:1.10@sha256:a"), template("app:v2@sha256:b"));
    let verdict = world.decide(
        &[rollout, ("apps/kustomization.yml", &text("\"1.10\"", "a"))],
        &[rollout, ("apps/kustomization.yml", &text("v2", "b"))],
        &[rollout, ("apps/kustomization.yml", &text("v2", "b"))],
    );
    assert_eq!(change(&verdict, "apps/kustomization.yml"), text("\"1.10\"", "a"));
    assert_eq!(restored(&verdict).restored.len(), 2);
}

#[test]
fn an_image_entry_that_two_workloads_share_is_only_suggested() {
    let text = |tag: &str| {
        format!("resources: [r.yaml, d.yaml]\nimages:\n- {{name: app, newTag: {tag}}}\n")
    };
    let manifest = rollout("web", "app");
    let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cron}\nspec: {template: {spec: {containers: [{name: a, image: app}]}}}\n";
    let (r, d) = (("apps/r.yaml", manifest.as_str()), ("apps/d.yaml", other));
    let mut world = World::new("apps");
    (world.t_good, world.t_bad) = (template("app:v1"), template("app:v2"));
    let verdict = world.decide(
        &[r, d, ("apps/kustomization.yaml", &text("v1"))],
        &[r, d, ("apps/kustomization.yaml", &text("v2"))],
        &[r, d, ("apps/kustomization.yaml", &text("v2"))],
    );
    let Verdict::Suggest(_, SuggestReason::OtherObjects(names)) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(names, ["apps/v1 Deployment -/cron #1"]);
}

#[test]
fn row_11_a_generator_input_is_suggested_as_a_whole_file() {
    // The template differs by a hash that only kustomize computes.
    let kustomization = (
        "apps/kustomization.yaml",
        "resources: [r.yaml]\nconfigurations: [names.yaml]\nconfigMapGenerator:\n- name: c\n  files: [app.ini]\n",
    );
    let manifest = rollout("web", "app:1");
    let r = ("apps/r.yaml", manifest.as_str());
    let verdict = World::new("apps").decide(
        &[kustomization, r, ("apps/app.ini", "a=1\n")],
        &[kustomization, r, ("apps/app.ini", "a=2\n")],
        &[kustomization, r, ("apps/app.ini", "a=2\n")],
    );
    assert!(
        matches!(&verdict, Verdict::Suggest(_, SuggestReason::TemplateNotProved(_))),
        "{verdict:?}"
    );
    assert_eq!(change(&verdict, "apps/app.ini"), "a=1\n");
}

#[test]
fn row_13_a_base_that_another_overlay_uses_is_only_suggested_and_names_it() {
    let base = ("apps/base/kustomization.yaml", "resources: [r.yaml]\n");
    let prod = ("apps/prod/kustomization.yaml", "resources: [../base]\n");
    let staging = ("apps/staging/kustomization.yaml", "bases:\n- ../base/\n");
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    let verdict = World::new("apps/prod").decide(
        &[base, prod, staging, ("apps/base/r.yaml", &good)],
        &[base, prod, staging, ("apps/base/r.yaml", &bad)],
        &[base, prod, staging, ("apps/base/r.yaml", &bad)],
    );
    let Verdict::Suggest(_, reason) = &verdict else { panic!("{verdict:?}") };
    assert_eq!(reason.to_string(), "apps/base/r.yaml also used by apps/staging/kustomization.yaml");
    // Without the other overlay it is restored in the base.
    let verdict = World::new("apps/prod").decide(
        &[base, prod, ("apps/base/r.yaml", &good)],
        &[base, prod, ("apps/base/r.yaml", &bad)],
        &[base, prod, ("apps/base/r.yaml", &bad)],
    );
    assert_eq!(change(&verdict, "apps/base/r.yaml"), good);
    restored(&verdict);
}

#[test]
fn row_16_steps_changed_by_the_same_commit_stay_as_at_head() {
    let good = rollout("web", "app:1");
    let bad = rollout("web", "app:2").replace("setWeight: 20", "setWeight: 50");
    let verdict = World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &bad)]);
    assert_eq!(change(&verdict, FILE), bad.replace("app:2", "app:1"));
}

#[test]
fn row_17_an_encrypted_secret_of_the_same_commit_is_never_touched() {
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    let secret = |value: &str| {
        format!("kind: Secret\nstringData: {{a: \"ENC[{value}]\"}}\nsops:\n  mac: {value}\n")
    };
    let verdict = World::new("apps/web").decide(
        &[(FILE, &good), ("apps/web/secret.yaml", &secret("1"))],
        &[(FILE, &bad), ("apps/web/secret.yaml", &secret("2"))],
        &[(FILE, &bad), ("apps/web/secret.yaml", &secret("2"))],
    );
    let restoration = restored(&verdict);
    assert_eq!(restoration.changes.len(), 1);
    assert!(restoration.not_touched.contains(&RepoPath::parse("apps/web/secret.yaml").unwrap()));
}

#[test]
fn row_18_links_submodules_and_lfs_pointers_are_not_revertible() {
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    for (path, text) in [
        (FILE, "SYMLINK ../other.yaml"),
        (FILE, "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n"),
        (FILE, "a\0b"),
        ("apps/web", "SUBMODULE"),
        ("apps", "SYMLINK elsewhere"),
    ] {
        let verdict =
            World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[(path, text)]);
        assert!(
            matches!(verdict, Verdict::Blocked(Blocked::NotRevertible(_))),
            "{text}: {verdict:?}"
        );
    }
}

#[test]
fn row_20_a_release_that_is_itself_a_revert_is_only_suggested() {
    let entry = |c: char, message: &str| HistoryEntry {
        commit: Commit::parse(&c.to_string().repeat(40)).unwrap(),
        message: message.to_owned(),
    };
    let by_hand = [entry('1', "Revert \"x\"\n\nThis reverts commit abc.\n")];
    assert!(matches!(
        history_veto(&by_hand),
        Some(Veto::Suggest(SuggestReason::RevertOfRevert(_)))
    ));
    let ours = [entry('1', "revert(a/b): x\n\nbody\n\nSluice-Revert-Id: 1\n")];
    assert!(matches!(history_veto(&ours), Some(Veto::Suggest(_))));
    // An older revert below a new release does not count.
    let older = [entry('2', "release 3\n"), entry('1', "x\n\nSluice-Revert-Id: 1\n")];
    assert_eq!(history_veto(&older), None);
    let opt_out = [entry('2', "release 3\n"), entry('1', "x\n\nSluice-No-Revert: migration 7\n")];
    let Some(Veto::OptedOut(blocked)) = history_veto(&opt_out) else { panic!("not opted out") };
    assert!(blocked.to_string().ends_with("asks not to be reverted: migration 7"));
    assert_eq!(history_veto(&[]), None);
}

#[test]
fn row_22_a_rollout_that_is_gone_at_head_supersedes_the_revert() {
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    let renamed = bad.replace("name: web\nspec", "name: web2\nspec");
    let verdict =
        World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &renamed)]);
    assert_eq!(verdict, Verdict::Superseded(Superseded::NotDeclared));
}

#[test]
fn row_23_a_path_that_is_gone_blocks() {
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    let verdict =
        World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[("README.md", "x")]);
    assert_eq!(verdict, Verdict::Blocked(Blocked::PathGone(RepoPath::parse("apps/web").unwrap())));
}

#[test]
fn scenario_6_a_sidecar_that_was_added_goes_by_the_whole_file() {
    let good = rollout("web", "app:1");
    let bad = rollout("web", "app:1") + "        - {name: sidecar, image: side:1}\n";
    let mut world = World::new("apps/web");
    world.t_bad["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "sidecar", "image": "side:1"}));
    world.t_bad["spec"]["containers"][0]["image"] = json!("app:1");
    let t_bad = world.t_bad.clone();
    let verdict = world.decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &bad)]);
    assert_eq!(change(&verdict, FILE), good);
    restored(&verdict);
    // With a later change elsewhere in the file it is merged.
    let mut world = World::new("apps/web");
    world.t_bad = t_bad;
    let head = bad.replace("replicas: 3", "replicas: 9");
    let verdict = world.decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &head)]);
    assert_eq!(change(&verdict, FILE), good.replace("replicas: 3", "replicas: 9"));
    assert_eq!(restored(&verdict).restored[0].to_string(), "apps/web/rollout.yaml (merged)");
}

#[test]
fn a_whole_file_that_would_take_back_steps_or_neighbours_is_only_suggested() {
    let good = rollout("web", "app:1");
    let bad = rollout("web", "app:1").replace("setWeight: 20", "setWeight: 50")
        + "        - {name: sidecar, image: side:1}\n";
    let mut world = World::new("apps/web");
    world.t_bad = world.t_good.clone();
    world.t_bad["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "sidecar", "image": "side:1"}));
    let verdict = world.decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &bad)]);
    assert!(matches!(verdict, Verdict::Suggest(_, SuggestReason::OtherObjects(_))), "{verdict:?}");
}

#[test]
fn scenario_7_a_patch_that_was_added_goes_with_its_reference() {
    let kustomization = "resources: [r.yaml]\n";
    let patched = "resources: [r.yaml]\npatches:\n- path: patch.yaml\n";
    let patch = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec: {template: {spec: {priorityClassName: x}}}\n";
    let manifest = rollout("web", "app:1");
    let r = ("apps/r.yaml", manifest.as_str());
    let mut world = World::new("apps");
    world.t_bad = template("app:1");
    world.t_bad["spec"]["priorityClassName"] = json!("x");
    let bad = [r, ("apps/kustomization.yaml", patched), ("apps/patch.yaml", patch)];
    let verdict = world.decide(&[r, ("apps/kustomization.yaml", kustomization)], &bad, &bad);
    let restoration = restored(&verdict);
    assert_eq!(change(&verdict, "apps/kustomization.yaml"), kustomization);
    assert_eq!(restoration.changes[&RepoPath::parse("apps/patch.yaml").unwrap()], None);
    insta::assert_snapshot!(restoration.patch);
}

#[test]
fn a_patch_of_another_object_does_not_hinder() {
    let text = |tag: &str| {
        format!(
            "resources: [r.yaml]\nimages: [{{name: app, newTag: {tag}}}]\npatches:\n- target: {{kind: Service}}\n  patch: |\n    - op: remove\n      path: /spec/x\n"
        )
    };
    let manifest = rollout("web", "app");
    let r = ("apps/r.yaml", manifest.as_str());
    let mut world = World::new("apps");
    (world.t_good, world.t_bad) = (template("app:v1"), template("app:v2"));
    let verdict = world.decide(
        &[r, ("apps/kustomization.yaml", &text("v1"))],
        &[r, ("apps/kustomization.yaml", &text("v2"))],
        &[r, ("apps/kustomization.yaml", &text("v2"))],
    );
    assert_eq!(change(&verdict, "apps/kustomization.yaml"), text("v1"));
    restored(&verdict);
}

#[test]
fn what_cannot_be_computed_at_head_is_blocked_and_never_guessed() {
    let text = |tag: &str| {
        format!("resources: [r.yaml]\nimages: [{{name: app, newTag: {tag}}}]\nreplacements: []\n")
    };
    let manifest = rollout("web", "app");
    let r = ("apps/r.yaml", manifest.as_str());
    let world = || {
        let mut world = World::new("apps");
        (world.t_good, world.t_bad) = (template("app:v1"), template("app:v2"));
        world
    };
    let (good, bad) = (text("v1"), text("v2"));
    let later = bad.clone() + "namePrefix: \"\"\n";
    let verdict = world().decide(
        &[r, ("apps/kustomization.yaml", &good)],
        &[r, ("apps/kustomization.yaml", &bad)],
        &[r, ("apps/kustomization.yaml", &later)],
    );
    assert!(matches!(verdict, Verdict::Blocked(Blocked::NotComputable(_))), "{verdict:?}");
    // Unchanged since: it still says what it said, and the restore is a suggestion.
    let verdict = world().decide(
        &[r, ("apps/kustomization.yaml", &good)],
        &[r, ("apps/kustomization.yaml", &bad)],
        &[r, ("apps/kustomization.yaml", &bad)],
    );
    assert!(
        matches!(&verdict, Verdict::Suggest(_, SuggestReason::TemplateNotProved(_))),
        "{verdict:?}"
    );
    assert_eq!(change(&verdict, "apps/kustomization.yaml"), good);
}

#[test]
fn a_template_that_git_never_changed_is_blocked() {
    let text = rollout("web", "app:latest");
    let mut world = World::new("apps/web");
    (world.t_good, world.t_bad) = (template("app:latest"), template("app:latest"));
    let verdict = world.decide(&[(FILE, &text)], &[(FILE, &text)], &[(FILE, &text)]);
    assert_eq!(verdict, Verdict::Blocked(Blocked::NoGitChange));
}

#[test]
fn a_recorded_commit_that_declares_something_else_is_blocked() {
    let (good, bad) = (rollout("web", "app:0"), rollout("web", "app:2"));
    let verdict = World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &bad)]);
    let Verdict::Blocked(Blocked::LedgerMismatch { commit }) = verdict else {
        panic!("{verdict:?}")
    };
    assert!(commit.as_str().starts_with("aaaa"));
}

#[test]
fn a_rollout_that_is_declared_twice_is_ambiguous_until_the_file_is_named() {
    let (good, bad) = (rollout("web", "app:1"), rollout("web", "app:2"));
    let both = |text| [("apps/prod/r.yaml", text), ("apps/staging/r.yaml", text)];
    let verdict = World::new("apps").decide(&both(good.as_str()), &both(&bad), &both(&bad));
    assert!(matches!(verdict, Verdict::Blocked(Blocked::Ambiguous(ref files)) if files.len() == 2));
    let mut world = World::new("apps");
    world.file = Some("prod/r.yaml");
    let verdict = world.decide(&both(&good), &both(&bad), &both(&bad));
    assert_eq!(change(&verdict, "apps/prod/r.yaml"), good);
    assert_eq!(restored(&verdict).changes.len(), 1);
}

#[test]
fn the_namespace_tells_two_documents_apart() {
    let text = |ns: &str, image: &str| {
        rollout("web", image)
            .replace("name: web\nspec", &format!("name: web\n  namespace: {ns}\nspec"))
    };
    let file =
        |ours: &str, theirs: &str| format!("{}---\n{}", text("shop", ours), text("else", theirs));
    let verdict = World::new("apps/web").decide(
        &[(FILE, &file("app:1", "app:7"))],
        &[(FILE, &file("app:2", "app:7"))],
        &[(FILE, &file("app:2", "app:8"))],
    );
    assert_eq!(change(&verdict, FILE), file("app:1", "app:8"));
}

#[test]
fn an_anchored_image_is_restored_as_a_whole_file() {
    let text = |tag: &str| {
        format!(
            "x: &image app:{tag}\n---\n{}",
            rollout("web", "PLACE").replace("PLACE", &format!("&i app:{tag}"))
        )
    };
    let (good, bad) = (text("1"), text("2"));
    let verdict = World::new("apps/web").decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &bad)]);
    // The other document changes with it, so a person must look.
    assert!(matches!(verdict, Verdict::Suggest(_, SuggestReason::OtherObjects(_))), "{verdict:?}");
    assert_eq!(change(&verdict, FILE), good);
}

#[test]
fn changes_that_cannot_be_merged_are_a_conflict() {
    let good = rollout("web", "app:1");
    let bad = rollout("web", "app:1").replace(
        "- {name: MODE, value: \"on\"}",
        "- {name: MODE, value: \"on\"}\n            - {name: NEW, value: x}",
    );
    let head = bad.replace("- {name: NEW, value: x}", "- name: NEW\n              value: x");
    let mut world = World::new("apps/web");
    world.t_bad = template("app:1");
    world.t_bad["spec"]["containers"][0]["env"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "NEW", "value": "x"}));
    let verdict = world.decide(&[(FILE, &good)], &[(FILE, &bad)], &[(FILE, &head)]);
    assert_eq!(verdict, Verdict::Conflict(vec![RepoPath::parse(FILE).unwrap()]));
}

#[test]
fn the_ledger_takes_a_tip_only_if_its_own_document_says_the_template() {
    let mut repo = Repo::default();
    let text = rollout("web", "app:1");
    let tree = repo.tree(
        'a',
        &[
            (FILE, &text),
            ("apps/opaque/kustomization.yaml", "resources: [../web/rollout.yaml]\nvars: []\n"),
        ],
    );
    let verify = |path: &str, name: &str, template: &Value| {
        let view = View::new(&tree, &repo.blobs);
        verify_declaration(view, &source_at(path), &Identity::rollout("shop", name), template)
            .unwrap()
    };
    assert_eq!(verify("apps/web", "web", &template("app:1")), Ok(()));
    assert_eq!(verify(FILE, "web", &template("app:1")), Ok(()));
    assert_eq!(verify("apps/web", "web", &template("app:2")), Err(LedgerRefusal::OtherTemplate));
    assert_eq!(
        verify("apps/web", "api", &template("app:1")),
        Err(LedgerRefusal::NotDeclared(vec![]))
    );
    assert!(matches!(
        verify("apps/nowhere", "web", &template("app:1")),
        Err(LedgerRefusal::PathGone(_))
    ));
    assert!(matches!(
        verify("apps/opaque", "web", &template("app:1")),
        Err(LedgerRefusal::NotComputable(_))
    ));
}
