//! Bad input, one thing wrong at a time: each is refused with the field and what would be right.
//! What the cluster lacks or others wrote wrongly is shown in `tests/plan`, what a reader of YAML
//! sees in `tests/cli`, templates in `tests/analysis`.

#![expect(clippy::indexing_slicing, reason = "helpers of tests fail like the tests themselves")]

#[cfg(test)]
mod common;

use serde_json::{Value, json};
use sluice::api::Kind;

use common::{problems, spec_schema, unknown_fields};

/// A canary with everything that most cases need.
fn canary() -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
            "strategy": {"canary": {
                "stableService": "stable", "canaryService": "canary",
                "trafficRouting": {"gatewayAPI": {"httpRoute": "web"}},
                "steps": [{"setWeight": 10}, {"pause": {}}],
            }},
        },
    })
}

fn blue_green() -> Value {
    let mut rollout = canary();
    rollout["spec"]["strategy"] =
        json!({"blueGreen": {"activeService": "active", "previewService": "preview"}});
    rollout
}

fn reverting() -> Value {
    let mut rollout = canary();
    rollout["spec"]["gitRevert"] = json!({"mode": "Push", "source": {
        "url": "https://git.example.org/shop/deploy.git", "branch": "main", "path": "apps/web"}});
    rollout
}

/// Each change (a merge patch of the spec) of a good Rollout brings exactly this problem.
fn check(good: &Value, cases: &[(Value, &str)]) {
    assert_eq!(problems(good), Vec::<String>::new());
    for (change, expected) in cases {
        let mut bad = good.clone();
        json_patch::merge(&mut bad["spec"], change);
        assert_eq!(problems(&bad), [*expected], "{change}");
    }
}

/// The same, with the change and the field of the problem below one part of the spec.
fn check_below(good: &Value, part: &str, wrap: fn(&Value) -> Value, cases: &[(Value, &str)]) {
    let expected: Vec<String> = cases.iter().map(|(_, text)| format!("{part}{text}")).collect();
    let changes = cases.iter().map(|(change, _)| wrap(change));
    let cases: Vec<(Value, &str)> = changes.zip(expected.iter().map(String::as_str)).collect();
    check(good, &cases);
}

/// The strategy's part of a change.
fn of_canary(change: &Value) -> Value {
    json!({"strategy": {"canary": change}})
}

fn of_blue_green(change: &Value) -> Value {
    json!({"strategy": {"blueGreen": change}})
}

fn of_git_revert(change: &Value) -> Value {
    json!({ "gitRevert": change })
}

#[test]
fn a_misspelt_field() {
    let schema = spec_schema(Kind::Rollout);
    for (change, field) in [
        (json!({"replica": 3}), "spec.replica"),
        (
            of_canary(&json!({"trafficRouting": {"gatewayApi": {}}})),
            "spec.strategy.canary.trafficRouting.gatewayApi",
        ),
    ] {
        let mut rollout = canary();
        json_patch::merge(&mut rollout["spec"], &change);
        let mut found = Vec::new();
        unknown_fields("spec", &schema, &rollout["spec"], &mut found);
        assert_eq!(found, [field]);
    }
}

#[test]
fn a_rollout_as_a_whole() {
    check(
        &canary(),
        &[
            (
                json!({"strategy": {"blueGreen": {"activeService": "a"}}}),
                "spec.strategy: has both canary and blueGreen; keep exactly one",
            ),
            (
                json!({"strategy": {"canary": null}}),
                "spec.strategy: has neither canary nor blueGreen; set exactly one",
            ),
            (json!({"template": null}), "spec.template: is required"),
            (
                json!({"workloadRef": {"kind": "Deployment", "name": "web"}}),
                "spec.workloadRef: is not supported yet; move the pod template into spec.template",
            ),
            (
                json!({"selector": null}),
                "spec.selector: is required; it must match spec.template.metadata.labels",
            ),
            (
                json!({"selector": {"matchLabels": null}}),
                "spec.selector: is empty and would select every pod; name a label of the template",
            ),
            (
                json!({"selector": {"matchLabels": {"app": "other"}}}),
                "spec.selector: does not match spec.template.metadata.labels: \"app=other\"",
            ),
            (json!({"replicas": 1_000_001}), "spec.replicas: must be at most 1000000"),
            (
                json!({"progressDeadlineSeconds": 30, "minReadySeconds": 30}),
                "spec.progressDeadlineSeconds: must be greater than minReadySeconds (30), but is 30",
            ),
            (
                json!({"rollbackWindow": {"revisions": 3}}),
                "spec.rollbackWindow: is not supported yet; going back to the stable revision skips \
                 steps without it",
            ),
            (
                json!({"template": {"spec": {"containers": null}}}),
                "spec.template.spec.containers: is required and must be a list",
            ),
            (
                json!({"template": {"spec": {"containers": []}}}),
                "spec.template.spec.containers: needs at least one container",
            ),
            (
                json!({"template": {"spec": {"containers": [{"name": "web"}]}}}),
                "spec.template.spec.containers[0].image: is required",
            ),
            (
                json!({"template": {"spec": {"restartPolicy": "Never"}}}),
                "spec.template.spec.restartPolicy: must be Always",
            ),
        ],
    );
}

#[test]
fn names_and_templates_at_their_limits() {
    let mut rollout = canary();
    rollout["metadata"]["name"] = json!("w".repeat(200));
    assert_eq!(problems(&rollout), Vec::<String>::new());
    rollout["metadata"]["name"] = json!("w".repeat(201));
    assert_eq!(
        problems(&rollout),
        ["metadata.name: has 201 characters; at most 200 leave room for derived names"]
    );
    let mut rollout = canary();
    rollout["spec"]["template"]["metadata"]["annotations"] = json!({"big": "x".repeat(520_000)});
    assert_eq!(problems(&rollout), Vec::<String>::new());
    rollout["spec"]["template"]["metadata"]["annotations"] = json!({"big": "x".repeat(530_000)});
    let found = problems(&rollout);
    assert!(found[0].ends_with("bytes; at most 524288 are accepted"), "{found:?}");
    assert!(found[0].starts_with("spec.template: has 530"), "{found:?}");
}

#[test]
fn steps() {
    let second = |step: &Value| of_canary(&json!({"steps": [{"setWeight": 10}, step]}));
    let cases = [
        (
            json!({}),
            ": is empty; a step sets exactly one of setWeight, pause, setCanaryScale, analysis",
        ),
        (
            json!({"setWeight": 20, "pause": {}}),
            ": sets setWeight and pause; a step sets exactly one",
        ),
        (json!({"setWeight": 101}), ".setWeight: must be in 0..=100, but is 101"),
        (json!({"setWeight": -1}), ".setWeight: must be in 0..=100, but is -1"),
        (
            json!({"pause": {"duration": "soon"}}),
            ".pause.duration: \"soon\" is not a duration: write seconds as a number, or \"30s\", \
             \"5m\", \"1h30m\"",
        ),
        (
            json!({"setCanaryScale": {}}),
            ".setCanaryScale: sets exactly one of weight, replicas, matchTrafficWeight",
        ),
        (
            json!({"setCanaryScale": {"weight": 10, "replicas": 1}}),
            ".setCanaryScale: sets exactly one of weight, replicas, matchTrafficWeight",
        ),
        (
            json!({"setCanaryScale": {"weight": 101}}),
            ".setCanaryScale.weight: must be in 0..=100, but is 101",
        ),
        (
            json!({"setCanaryScale": {"replicas": -1}}),
            ".setCanaryScale.replicas: must be at least 0, but is -1",
        ),
        (
            json!({"analysis": {"templates": []}}),
            ".analysis.templates: needs at least one template",
        ),
        (
            json!({"analysis": {"templates": [{"templateName": "t"}],
                "args": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}}),
            ".analysis.args[1].name: \"a\" is given twice",
        ),
        (json!({"experiment": {}}), ".experiment: is not supported yet"),
        (json!({"setHeaderRoute": {"name": "h"}}), ".setHeaderRoute: is not supported yet"),
        (json!({"setMirrorRoute": {"name": "m"}}), ".setMirrorRoute: is not supported yet"),
        (json!({"plugin": {"name": "p"}}), ".plugin: is not supported yet"),
    ];
    check_below(&canary(), "spec.strategy.canary.steps[1]", second, &cases);
    let many = vec![json!({"setWeight": 1}); 201];
    check(
        &canary(),
        &[(
            of_canary(&json!({ "steps": many })),
            "spec.strategy.canary.steps: has 201 steps; at most 200 are accepted",
        )],
    );
}

#[test]
fn services_and_routers_of_a_canary() {
    let cases = [
        (json!({"stableService": null}), "stableService: is required with trafficRouting"),
        (json!({"canaryService": null}), "canaryService: is required with trafficRouting"),
        (json!({"canaryService": ""}), "canaryService: must not be empty"),
        (
            json!({"canaryService": "stable"}),
            "canaryService: is the same Service as stableService; each side needs its own",
        ),
        (
            json!({"trafficRouting": {"maxTrafficWeight": 0}, "steps": []}),
            "trafficRouting.maxTrafficWeight: must be in 1..=1000000, but is 0",
        ),
        (
            json!({"trafficRouting": {"gatewayAPI": null}}),
            "trafficRouting: names no router; set gatewayAPI or nginx",
        ),
        (
            json!({"trafficRouting": null, "scaleDownDelaySeconds": 30}),
            "scaleDownDelaySeconds: needs trafficRouting",
        ),
        (
            json!({"trafficRouting": null, "dynamicStableScale": true}),
            "dynamicStableScale: needs trafficRouting",
        ),
        (
            json!({"trafficRouting": null, "minPodsPerReplicaSet": 2}),
            "minPodsPerReplicaSet: needs trafficRouting",
        ),
        (
            json!({"trafficRouting": null, "steps": [{"setCanaryScale": {"replicas": 1}}]}),
            "steps[0].setCanaryScale: needs trafficRouting",
        ),
    ];
    check_below(&canary(), "spec.strategy.canary.", of_canary, &cases);
}

#[test]
fn sizes_delays_and_analyses_of_a_canary() {
    let cases = [
        (
            json!({"maxSurge": "25"}),
            "maxSurge: \"25\" is neither a whole number of at least 0 nor a percentage such as \"25%\"",
        ),
        (json!({"maxUnavailable": "101%"}), "maxUnavailable: must be at most 100%"),
        (
            json!({"scaleDownDelaySeconds": "later"}),
            "scaleDownDelaySeconds: \"later\" is not a delay: write seconds as a number, a duration \
             such as \"30s\", \"never\" or \"immediately\"",
        ),
        (
            json!({"scaleDownDelaySeconds": 30, "dynamicStableScale": true}),
            "scaleDownDelaySeconds: has no meaning with dynamicStableScale; remove one of them",
        ),
        (
            json!({"replicaProgressThreshold": {"type": "Share", "value": 1}}),
            "replicaProgressThreshold.type: \"Share\" is neither Percent nor Pods",
        ),
        (
            json!({"replicaProgressThreshold": {"type": "Percent", "value": 101}}),
            "replicaProgressThreshold.value: must be in 1..=100, but is 101",
        ),
        (
            json!({"replicaProgressThreshold": {"type": "Pods", "value": 0}}),
            "replicaProgressThreshold.value: must be at least 1, but is 0",
        ),
        (
            json!({"analysis": {"templates": [{"templateName": ""}]}}),
            "analysis.templates[0].templateName: is required",
        ),
        (
            json!({"analysis": {"templates": [{"templateName": "t"}], "startingStep": 2}}),
            "analysis.startingStep: is 2, but there are only 2 steps (counted from 0)",
        ),
    ];
    check_below(&canary(), "spec.strategy.canary.", of_canary, &cases);
}

#[test]
fn fields_of_argo_rollouts_that_are_not_built_are_refused_by_name() {
    const FIELD: &str = "spec.strategy.canary";
    let metadata = json!({"labels": {"role": "canary"}});
    let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": {}});
    let mut cases = vec![
        (of_canary(&json!({"canaryMetadata": metadata})), format!("{FIELD}.canaryMetadata: ")),
        (of_canary(&json!({"stableMetadata": metadata})), format!("{FIELD}.stableMetadata: ")),
        (of_canary(&json!({"antiAffinity": affinity})), format!("{FIELD}.antiAffinity: ")),
        (
            of_canary(&json!({"pingPong": {"pingService": "a", "pongService": "b"}})),
            format!("{FIELD}.pingPong: "),
        ),
        (
            of_canary(&json!({"trafficRouting": {"managedRoutes": [{"name": "h"}]}})),
            format!("{FIELD}.trafficRouting.managedRoutes: "),
        ),
    ];
    for router in sluice::traffic::Planned::ALL {
        // A router beside a built one, so that nothing else is missing.
        let change = of_canary(&json!({"trafficRouting": { *router: {"x": 1} }}));
        cases.push((change, format!("{FIELD}.trafficRouting.{router}: ")));
    }
    for (change, field) in cases {
        let mut rollout = canary();
        json_patch::merge(&mut rollout["spec"], &change);
        let found = problems(&rollout);
        assert_eq!(found.len(), 1, "{change}: {found:?}");
        let expected = format!("{field}is not supported yet");
        assert!(found[0].starts_with(&expected), "{change}: {found:?}");
    }
}

#[test]
fn blue_green_fields() {
    let cases = [
        (json!({"activeService": ""}), "activeService: is required"),
        (json!({"previewService": ""}), "previewService: must not be empty"),
        (
            json!({"previewService": "active"}),
            "previewService: is the same Service as activeService; each side needs its own",
        ),
        (
            json!({"antiAffinity": {}}),
            "antiAffinity: is not supported yet; write it into the pod template",
        ),
        (json!({"previewMetadata": {}}), "previewMetadata: is not supported yet"),
        (json!({"activeMetadata": {}}), "activeMetadata: is not supported yet"),
        (
            json!({"prePromotionAnalysis": {"templates": []}}),
            "prePromotionAnalysis.templates: needs at least one template",
        ),
        (
            json!({"maxUnavailable": "x"}),
            "maxUnavailable: \"x\" is neither a whole number of at least 0 nor a percentage such as \"25%\"",
        ),
    ];
    check_below(&blue_green(), "spec.strategy.blueGreen.", of_blue_green, &cases);
}

#[test]
fn sources_of_git_reverts() {
    let source = |field: &str, value: &str| json!({"source": { field: value }});
    let cases = [
        (
            json!({"source": {"url": null}}),
            "source.url: is required: set url, branch and path, or none of them and no file (the source \
             is then found through Argo CD or Flux)",
        ),
        (
            source("url", "--upload-pack=evil"),
            "source.url: host of the url begins with `-`; it would be read as an option",
        ),
        (
            source("url", "git@-oProxyCommand=evil:x"),
            "source.url: host of the url begins with `-`; it would be read as an option",
        ),
        (
            source("url", "file:///etc/passwd"),
            "source.url: url uses the transport `file`; only https://, ssh:// and user@host:path are \
             accepted",
        ),
        (
            source("url", "ext::sh"),
            "source.url: url uses the transport `ext`; only https://, ssh:// and user@host:path are \
             accepted",
        ),
        (
            source("url", "http://git.example.org/x"),
            "source.url: url uses the transport `http`; only https://, ssh:// and user@host:path are \
             accepted",
        ),
        (
            source("url", "/srv/git/x"),
            "source.url: url is a local path; only https://, ssh:// and user@host:path are accepted",
        ),
        (
            source("url", "https://user:password@git.example.org/x"),
            "source.url: url contains a user name or password; put credentials into the Secret that \
             `secretRef` names",
        ),
        (
            source("branch", "-f"),
            "source.branch: branch \"-f\" is not a valid branch name: it begins with `-`",
        ),
        (
            source("path", "../other"),
            "source.path: path \"../other\" is not a path inside the repository: it contains `..`",
        ),
    ];
    check_below(&reverting(), "spec.gitRevert.", of_git_revert, &cases);
}

#[test]
fn what_a_git_revert_may_do() {
    let cases = [
        (
            json!({"verifyTimeout": "soon"}),
            "verifyTimeout: \"soon\" is not a duration: write seconds \
             as a number, or \"30s\", \"5m\", \"1h30m\"",
        ),
        (
            json!({"mode": "PullRequest", "source": {"url": "https://git.example.org/shop/deploy.git"}}),
            "source.url: it is not known which forge `git.example.org` is; set \
             spec.gitRevert.pullRequest.provider to GitHub, GitLab or Gitea",
        ),
        (
            json!({"source": {"secretRef": {"name": "a"}, "credentialRef": {"name": "b"}}}),
            "source.credentialRef: stands in the place of secretRef: set one of the two",
        ),
        (
            json!({"pullRequest": {"labels": ["revert", "a,b"]}}),
            "pullRequest.labels[1]: must be 1 to 50 characters, without comma and line break",
        ),
        (json!({"scope": "Path"}), "scope: is not supported yet: only Rollout is"),
        (json!({"also": ["apps/config"]}), "also: is not supported yet"),
        (
            json!({"settle": "soon"}),
            "settle: \"soon\" is not a duration: write seconds as a number, or \"30s\", \"5m\", \"1h30m\"",
        ),
        (
            json!({"cooldown": "a day"}),
            "cooldown: \"a day\" is not a duration: write seconds as a number, or \"30s\", \"5m\", \"1h30m\"",
        ),
        (json!({"maxPerDay": 0}), "maxPerDay: must be at least 1; `mode: Suggest` pushes nothing"),
        (
            json!({"causes": ["AnalysisFailed", "PodsUnhealthy"]}),
            "causes[1]: is not supported yet: only AnalysisFailed is",
        ),
        (
            json!({"commit": {"subjectTemplate": "{version}"}}),
            "commit.subjectTemplate: `{version}` is not known; {namespace}, {name}, {stable} and {failed} are",
        ),
        (
            json!({"commit": {"signingSecretRef": {"name": ""}}}),
            "commit.signingSecretRef.name: is required: the Secret that holds the key `signingKey`",
        ),
    ];
    check_below(&reverting(), "spec.gitRevert.", of_git_revert, &cases);
    let mut disabled = reverting();
    disabled["spec"]["gitRevert"]["mode"] = json!("Disabled");
    assert_eq!(problems(&disabled), Vec::<String>::new());
    let mut skipping = reverting();
    skipping["spec"]["gitRevert"]["commit"] = json!({"skipCI": true, "signOff": true});
    assert_eq!(problems(&skipping), Vec::<String>::new());
}
