//! What a template or run may say: everything that is refused, by field, all at once.

use serde_json::{Value, json};
use sluice::analysis::ResolvedRun;
use sluice::analysis::resolve::template_problems;
use sluice::analysis::resolved::Judge;
use sluice::analysis::templates::{TemplateKey, merge};
use sluice::api::analysis::{AnalysisRunSpec, AnalysisTemplateRef, AnalysisTemplateSpec};
use sluice::metrics::spec::{MetricProvider, Provider};

fn source() -> Value {
    json!({"prometheus": {"source": {"name": "main"}, "query": "up"}})
}

fn with(fields: Value) -> Value {
    let mut metric =
        json!({"name": "m", "successCondition": "result[0] > 0", "provider": source()});
    for (key, value) in fields.as_object().unwrap() {
        metric[key] = value.clone();
    }
    metric
}

fn run(spec: Value) -> Result<ResolvedRun, Vec<String>> {
    let spec: AnalysisRunSpec = serde_json::from_value(spec).unwrap();
    ResolvedRun::resolve(&spec)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn problems_of(metric: Value) -> Vec<String> {
    run(json!({"metrics": [metric]})).err().unwrap_or_default()
}

/// Argo Rollouts compares limits with a count that is written, and its documentation has a range query
/// with a limit and no count.
#[test]
fn a_limit_beside_a_count_that_is_left_out_is_accepted_and_doubted() {
    let doubts = |fields: Value| {
        let mut metric = json!({"name": "m", "successCondition": "all(result, # < 1000)",
            "provider": {"prometheus": {"source": {"name": "p"}, "query": "up"}}});
        json_patch::merge(&mut metric, &fields);
        let spec = serde_json::from_value(json!({"metrics": [metric]})).unwrap();
        let review = sluice::analysis::resolve::review(&spec);
        assert_eq!(review.problems, [], "{fields}");
        review.doubts.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        doubts(json!({"failureLimit": 3})),
        [
            "metrics[0].failureLimit tolerates 3 bad values, but only 1 will be measured: the metric can \
          never fail, and bad values alone pause the update (Inconclusive)"
        ]
    );
    for fields in [
        json!({"failureLimit": 3, "count": 3, "interval": "1m"}),
        json!({"failureLimit": "{{args.limit}}", "count": 3, "interval": "1m"}),
        json!({"inconclusiveLimit": 3}),
        json!({"failureLimit": 2, "count": 3, "interval": "1m"}),
        json!({"failureLimit": 5, "interval": "1m"}),
        json!({}),
    ] {
        let expected =
            usize::from(fields == json!({"failureLimit": 3, "count": 3, "interval": "1m"}));
        assert_eq!(doubts(fields.clone()).len(), expected, "{fields}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a flat table of cases")]
fn each_mistake_in_a_metric_is_named_with_its_field() {
    let cases = [
        (
            json!({"successCondition": ""}),
            "metrics[0] has neither successCondition nor failureCondition",
        ),
        (
            json!({"successCondition": "result[0] >"}),
            "metrics[0].successCondition is not an expression: at 1:12",
        ),
        (
            json!({"failureCondition": "len(1..9) > 0"}),
            "metrics[0].failureCondition is refused: ranges",
        ),
        (json!({"interval": "soon"}), "metrics[0].interval \"soon\" is not a duration"),
        (json!({"interval": "10ms"}), "metrics[0].interval must be at least 1 s"),
        (json!({"initialDelay": "x"}), "metrics[0].initialDelay \"x\" is not a duration"),
        (json!({"count": 3}), "metrics[0].interval must be given when count is above 1"),
        (json!({"count": "many"}), "metrics[0].count is \"many\": it must be a whole number"),
        (json!({"count": -1}), "metrics[0].count is \"-1\""),
        (
            json!({"failureLimit": -2}),
            "metrics[0].failureLimit is \"-2\": it must be a whole number of at least 0, or -1 to be disabled",
        ),
        (
            json!({"failureLimit": -1}),
            "metrics[0].failureLimit and consecutiveSuccessLimit must not both be disabled",
        ),
        (json!({"inconclusiveLimit": -1}), "metrics[0].inconclusiveLimit"),
        (json!({"consecutiveErrorLimit": -1}), "metrics[0].consecutiveErrorLimit"),
        (json!({"consecutiveSuccessLimit": -1}), "metrics[0].consecutiveSuccessLimit"),
        (json!({"minSamples": 0}), "metrics[0].minSamples"),
        (json!({"minSamples": 2}), "metrics[0].count is 1, less than minSamples (2)"),
        (
            json!({"consecutiveSuccessLimit": 3}),
            "metrics[0].interval must be given: one measurement is not 3 in a row",
        ),
        (
            json!({"count": 1, "failureLimit": 2}),
            "metrics[0].count is 1, less than failureLimit and consecutiveSuccessLimit together (2)",
        ),
        (
            json!({"count": 2, "interval": "1m", "failureLimit": 3}),
            "metrics[0].count is 2, less than failureLimit and consecutiveSuccessLimit together (3)",
        ),
        (
            json!({"count": 2, "interval": "1m", "inconclusiveLimit": 3}),
            "metrics[0].count is 2, less than inconclusiveLimit (3)",
        ),
        (json!({"provider": {}}), "metrics[0].provider names no provider"),
        (
            json!({"provider": {"wavefront": {"query": "x"}}}),
            "metrics[0].provider.wavefront is not built yet; use one of prometheus, web, job, cloudWatch",
        ),
        (
            json!({"provider": {"datadog": {"query": "x"}}}),
            "metrics[0].provider.datadog.source must name a MetricsSource of type Datadog",
        ),
        (
            json!({"provider": {"datadog": {"source": {"name": "a"}, "queries": {"a": "x"}}}}),
            "metrics[0].provider.datadog.queries needs apiVersion: v2",
        ),
        (
            json!({"provider": {"datadog": {"source": {"name": "a"}, "apiVersion": "v2", "queries": {"a": "x", "b": "y"}}}}),
            "metrics[0].provider.datadog.formula is required with several queries",
        ),
        (
            json!({"provider": {"datadog": {"source": {"name": "a"}, "query": "x", "interval": "0s"}}}),
            "metrics[0].provider.datadog.interval must be a time",
        ),
        (
            json!({"provider": {"datadog": {"source": {"name": "a"}, "query": "x", "secretRef": {"name": "s"}}}}),
            "metrics[0].provider.datadog.secretRef is not taken from a template",
        ),
        (
            json!({"provider": {"graphite": {"query": "a"}}}),
            "metrics[0].provider.graphite.source must name a MetricsSource of type Graphite",
        ),
        (
            json!({"provider": {"graphite": {"address": "http://g", "source": {"name": "a"}, "query": "a"}}}),
            "metrics[0].provider.graphite.address must not stand beside source",
        ),
        (
            json!({"provider": {"graphite": {"address": "http://g", "query": "target=a&format=png"}}}),
            "metrics[0].provider.graphite.query has a parameter \"format\"",
        ),
        (
            json!({"provider": {"influxdb": {"source": {"name": "a"}, "query": " "}}}),
            "metrics[0].provider.influxdb.query is empty",
        ),
        (
            json!({"provider": {"newRelic": {"source": {"name": "a"}, "query": "x", "profile": "p"}}}),
            "metrics[0].provider.newRelic.profile is not taken from a template",
        ),
        (
            json!({"provider": {"newRelic": {"source": {"name": "a"}, "query": "x", "timeout": 121}}}),
            "metrics[0].provider.newRelic.timeout must be from 1 to 120 seconds",
        ),
        (
            json!({"provider": {"cloudWatch": {"source": {"name": "a"}}}}),
            "metrics[0].provider.cloudWatch.metricDataQueries must be 1 to 500 queries",
        ),
        (
            json!({"provider": {"cloudWatch": {"source": {"name": "a"}, "metricDataQueries": [{"id": "A"}]}}}),
            "metrics[0].provider.cloudWatch.metricDataQueries [0].id must begin with a small letter",
        ),
        (
            json!({"provider": {"prometheus": {"query": "up"}}}),
            "metrics[0].provider.prometheus.source must name a MetricsSource",
        ),
        (
            json!({"provider": {"prometheus": {"address": "ftp://x", "query": "up"}}}),
            "metrics[0].provider.prometheus.address must begin with http",
        ),
        (
            json!({"provider": {"prometheus": {"address": "http://x", "source": {"name": "a"}, "query": "up"}}}),
            "metrics[0].provider.prometheus.address must not stand beside source",
        ),
        (
            json!({"provider": {"prometheus": {"source": {"name": "a"}, "query": " "}}}),
            "metrics[0].provider.prometheus.query is empty",
        ),
        (
            json!({"provider": {"prometheus": {"source": {"name": "a"}, "query": "up", "authentication": {"basicAuth": {"username": "u"}}}}}),
            "metrics[0].provider.prometheus.authentication.basicAuth is not taken from a template: put the credentials in a MetricsSource",
        ),
        (
            json!({"provider": {"prometheus": {"source": {"name": "a"}, "query": "up", "insecure": true}}}),
            "metrics[0].provider.prometheus.insecure is refused",
        ),
        (
            json!({"provider": {"prometheus": {"source": {"name": "a"}, "query": "up", "timeout": 999}}}),
            "metrics[0].provider.prometheus.timeout",
        ),
        (
            json!({"provider": {"prometheus": {"source": {"name": "a"}, "query": "up", "headers": [{"key": "Authorization", "value": "x"}]}}}),
            "metrics[0].provider.prometheus.headers[0] carries credentials",
        ),
        (
            json!({"provider": {"prometheus": {"source": {"name": "a"}, "query": "up", "rangeQuery": {"start": "now()", "end": "later", "step": "1m"}}}}),
            "metrics[0].provider.prometheus.rangeQuery.end \"later\" is not a time",
        ),
        (
            json!({"provider": {"web": {"url": "/api"}}}),
            "metrics[0].provider.web.url \"/api\" is not a URL",
        ),
        (
            json!({"provider": {"web": {"source": {"name": "a"}, "url": "http://x/api"}}}),
            "metrics[0].provider.web.url must be a path",
        ),
        (
            json!({"provider": {"web": {"url": "http://x", "body": "b"}}}),
            "metrics[0].provider.web.method must be POST or PUT",
        ),
        (
            json!({"provider": {"web": {"url": "http://x", "method": "POST", "body": "b", "jsonBody": {}}}}),
            "metrics[0].provider.web.jsonBody must not stand beside body",
        ),
        (
            json!({"provider": {"web": {"url": "http://x", "jsonPath": "{$["}}}),
            "metrics[0].provider.web.jsonPath",
        ),
        (
            json!({"provider": {"job": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{}]}}}}}}),
            "metrics[0] has a condition, but a Job is judged by how it ends",
        ),
        (
            json!({"successCondition": "", "provider": {"job": {"spec": {}}}}),
            "metrics[0].provider.job.spec.template.spec.containers must name",
        ),
        (
            json!({"successCondition": "", "provider": {"job": {"metadata": {"name": "x"}, "spec": {}}}}),
            "metrics[0].provider.job.metadata.name is not taken",
        ),
        (
            json!({"successCondition": "result[0] > {{args.x}}"}),
            "metrics[0].successCondition uses the argument \"x\", which is not given",
        ),
    ];
    for (fields, expected) in cases {
        let problems = problems_of(with(fields.clone()));
        assert!(
            problems.iter().any(|problem| problem.starts_with(expected)),
            "{fields}: {problems:?}"
        );
    }
    assert_eq!(problems_of(with(json!({}))), [""; 0]);
}

#[test]
fn all_problems_are_found_at_once() {
    let problems = run(json!({"metrics": [
        with(json!({"interval": "x", "provider": {"wavefront": {}}})),
        with(json!({"successCondition": "1 +"})),
        with(json!({})),
    ]}))
    .unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
    let problems = run(json!({"metrics": [with(json!({})), with(json!({}))]})).unwrap_err();
    assert_eq!(problems, ["metrics[1] repeats the name \"m\""]);
    assert_eq!(run(json!({"metrics": []})).unwrap_err(), ["metrics must name at least one metric"]);
}

#[test]
fn every_planned_provider_is_refused_by_name() {
    for name in MetricProvider::PLANNED {
        let problems = problems_of(with(json!({"provider": {*name: {"query": "x"}}})));
        let built = MetricProvider::BUILT.join(", ");
        let expected = format!("metrics[0].provider.{name} is not built yet; use one of {built}");
        assert_eq!(problems, [expected]);
    }
}

#[test]
fn arguments_fill_every_field_also_numbers_and_durations() {
    let spec = json!({
        "args": [
            {"name": "count", "value": "4"}, {"name": "interval", "value": "2m"}, {"name": "limit", "value": "0.95"},
            {"name": "service", "value": "shop\"} or vector(1) #"}, {"name": "failures", "value": "1"},
        ],
        "metrics": [with(json!({
            "interval": "{{args.interval}}", "count": "{{args.count}}", "failureLimit": "{{ args.failures }}",
            "successCondition": "result[0] >= {{args.limit}}",
            "provider": {"prometheus": {"source": {"name": "main"}, "query": "up{app=\"{{args.service}}\"}"}},
        }))],
    });
    let run = run(spec).unwrap();
    let metric = &run.metrics[0];
    assert_eq!(metric.schedule.count, Some(4));
    assert_eq!(metric.schedule.interval, Some(chrono::TimeDelta::minutes(2)));
    assert_eq!(metric.limits.failure, Some(1));
    let Judge::Threshold(threshold) = &metric.judge else { panic!() };
    assert_eq!(threshold.success.as_ref().unwrap().source(), "result[0] >= 0.95");
    let Ok(Provider::Prometheus(prometheus)) = metric.provider.chosen() else { panic!() };
    assert_eq!(prometheus.query, "up{app=\"shop\\\"} or vector(1) #\"}");
}

#[test]
fn an_injected_condition_is_still_held_to_the_limits() {
    let problems = run(json!({
        "args": [{"name": "limit", "value": "len(1..1000000000)"}],
        "metrics": [with(json!({"successCondition": "result[0] >= {{args.limit}}"}))],
    }))
    .unwrap_err();
    assert!(problems[0].contains("ranges (..) are not available"), "{problems:?}");
}

#[test]
fn bad_arguments_are_named() {
    let problems = run(json!({
        "args": [
            {"name": "a"}, {"name": "b", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "c", "value": "1"}, {"name": "c", "value": "2"},
            {"name": "d", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "metrics": [with(json!({"successCondition": "result[0] > {{args.a}}"}))],
    }))
    .unwrap_err();
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert_eq!(problems[0], "args[0] the argument \"a\" has no value");
}

fn secret_args() -> Value {
    json!([{"name": "token", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}])
}

fn job_with_env(env: Value) -> Value {
    json!({"name": "job", "provider": {"job": {"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i", "env": env}]}}}}}})
}

#[test]
fn a_secret_argument_reaches_a_job_as_a_reference_and_nothing_else() {
    let env = json!([{"name": "TOKEN", "value": "{{args.token}}"}, {"name": "A", "value": "b"}]);
    let run = run(json!({"args": secret_args(), "metrics": [job_with_env(env)]})).unwrap();
    let Ok(Provider::Job(job)) = run.metrics[0].provider.chosen() else { panic!() };
    let env = &job.spec.0["template"]["spec"]["containers"][0]["env"];
    assert_eq!(
        *env,
        json!([
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}},
            {"name": "A", "value": "b"},
        ])
    );
}

#[test]
fn a_secret_argument_is_refused_everywhere_else_with_a_hint() {
    let web = json!({"web": {"url": "http://evil", "headers": [{"key": "X", "value": "{{args.token}}"}]}});
    let metrics = [
        with(json!({"provider": web})),
        with(
            json!({"provider": {"prometheus": {"source": {"name": "a"}, "query": "up{a=\"{{args.token}}\"}"}}}),
        ),
        job_with_env(json!([{"name": "TOKEN", "value": "Bearer {{args.token}}"}])),
        json!({"name": "job", "provider": {"job": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "args": ["{{args.token}}"]}]}}}}}}),
    ];
    for metric in metrics {
        let problems =
            run(json!({"args": secret_args(), "metrics": [metric.clone()]})).unwrap_err();
        assert!(
            problems[0].contains("\"token\" from a Secret")
                && problems[0].contains("MetricsSource"),
            "{metric}: {problems:?}"
        );
    }
}

#[test]
fn a_run_with_a_secret_argument_may_not_carry_an_address() {
    let spec = json!({
        "args": secret_args(),
        "metrics": [
            job_with_env(json!([{"name": "TOKEN", "value": "{{args.token}}"}])),
            with(json!({"provider": {"prometheus": {"address": "http://evil:9090", "query": "up"}}})),
            with(json!({"name": "web", "provider": {"web": {"url": "http://evil/x"}}})),
        ],
    });
    let problems = run(spec).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("metrics[1].provider.prometheus.address stands in the same run as an argument from a Secret"), "{problems:?}");
    assert!(problems[0].contains("name a MetricsSource in source"));
}

#[test]
fn selectors_that_select_nothing_or_keep_too_much_are_refused() {
    let spec = |rules: Value| {
        let mut spec = json!({"metrics": [with(json!({"name": "errors-5xx"}))]});
        for (key, value) in rules.as_object().unwrap() {
            spec[key] = value.clone();
        }
        run(spec)
    };
    for rules in [
        json!({"dryRun": [{"metricName": "latency"}]}),
        json!({"dryRun": [{"metricName": ""}]}),
        json!({"dryRun": [{"metricName": "errors-["}]}),
        json!({"measurementRetention": [{"metricName": ".*", "limit": 0}]}),
        json!({"measurementRetention": [{"metricName": ".*", "limit": 1000}]}),
        json!({"measurementRetention": [{"metricName": "x", "limit": 5}]}),
    ] {
        assert_eq!(spec(rules.clone()).unwrap_err().len(), 1, "{rules}");
    }
    // A part of a name does not take a metric out of the decision.
    assert!(spec(json!({"dryRun": [{"metricName": "errors"}]})).is_err());
    assert!(spec(json!({"dryRun": [{"metricName": "errors.*"}]})).unwrap().metrics[0].is_dry_run);
}

#[test]
fn a_template_is_checked_as_far_as_its_arguments_are_known() {
    let template = |spec: Value| -> Vec<String> {
        let spec: AnalysisTemplateSpec = serde_json::from_value(spec).unwrap();
        template_problems(&spec).iter().map(ToString::to_string).collect()
    };
    let fine = json!({
        "args": [{"name": "service"}, {"name": "limit", "value": "0.9"}],
        "metrics": [with(json!({
            "interval": "{{args.interval}}", "count": "{{args.count}}",
            "successCondition": "result[0] >= {{args.limit}}", "failureCondition": "result[0] < {{args.service}}",
        }))],
    });
    assert_eq!(template(fine), [""; 0]);
    let broken = json!({
        "args": [{"name": "limit", "value": "0.9 +"}],
        "metrics": [with(json!({"successCondition": "result[0] >= {{args.limit}}", "interval": "x"}))],
        "dryRun": [{"metricName": "other"}],
    });
    let problems = template(broken);
    assert!(problems.iter().any(|p| p.starts_with("metrics[0].successCondition")), "{problems:?}");
    assert!(problems.iter().any(|p| p.starts_with("metrics[0].interval")), "{problems:?}");
    assert_eq!(template(json!({})), ["metrics must name at least one metric"]);
    assert_eq!(template(json!({"templates": [{"templateName": "a"}]})), [""; 0]);
}

#[test]
fn a_huge_run_is_refused_before_it_costs_anything() {
    let metrics: Vec<Value> = (0..60).map(|n| with(json!({"name": format!("m{n}")}))).collect();
    assert_eq!(
        run(json!({"metrics": metrics})).unwrap_err(),
        ["metrics must be at most 50 metrics"]
    );
    let long = "x".repeat(20_000);
    let problems = problems_of(with(
        json!({"provider": {"prometheus": {"source": {"name": "a"}, "query": long}}}),
    ));
    assert_eq!(problems, ["metrics[0].provider.prometheus.query is longer than 16384 bytes"]);
    let problems = problems_of(with(json!({"successCondition": long})));
    assert!(problems[0].contains("longer than 2048 bytes"), "{problems:?}");
}

/// What is wrong with one metric that compares, and with what such metrics have in common.
fn compared_problems(metric: Value, common: Value) -> Vec<String> {
    let mut spec = common;
    spec["metrics"] = json!([metric]);
    let spec: AnalysisTemplateSpec = serde_json::from_value(spec).unwrap();
    template_problems(&spec).iter().map(ToString::to_string).collect()
}

#[test]
fn metrics_that_compare_are_taken_in_both_forms() {
    for metric in [
        json!({"errors": {"counter": "a_total{app=\"x\"}", "bad": "code=~\"5..\""}}),
        json!({"latency": {"histogram": "b_seconds"}, "bounds": ["300ms", "1s", "2.5"]}),
        json!({"name": "e", "type": "rate", "total": "a{x=\"1\"}", "bad": "b", "by": ["route"],
               "maxRatio": 1.5, "minDelta": 0.001, "margin": 3, "falsePass": 0.1, "minRequests": 10,
               "minBadEvents": 5, "dispersion": "2.5", "weight": 2, "gate": true}),
        json!({"name": "c", "type": "count", "events": "restarts_total"}),
        json!({"name": "c", "type": "count", "events": "panics_total", "total": "a"}),
        json!({"name": "s", "type": "slo", "total": "a", "bad": "b", "maxRate": 0.01}),
        json!({"name": "l", "type": "latency", "histogram": "b_seconds_bucket", "maxOdds": 1.5}),
        json!({"name": "e", "type": "rate", "total": "a{app=\"{{args.app}}\"}", "bad": "b"}),
    ] {
        assert_eq!(compared_problems(metric.clone(), json!({})), Vec::<String>::new(), "{metric}");
    }
    let common = json!({"source": {"name": "main"}, "interval": "15s", "lag": 0, "warmup": "2m",
        "falseRollbackBudget": 0.05, "noDataAfter": "10m", "onInconclusive": "rollback",
        "requirePass": false, "arms": {"by": "label", "label": "version", "canary": "b", "stable": "a"}});
    let metric = json!({"errors": {"counter": "a", "bad": "x=\"1\""}});
    assert_eq!(compared_problems(metric, common), Vec::<String>::new());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a flat table of cases")]
fn what_a_comparison_cannot_be_is_refused_by_field_and_with_a_remedy() {
    let rate = |more: Value| {
        let mut metric = json!({"name": "e", "type": "rate", "total": "a", "bad": "b"});
        for (key, value) in more.as_object().unwrap() {
            metric[key] = value.clone();
        }
        metric
    };
    let gauge = |more: Value| {
        let mut metric = json!({"name": "g", "type": "gauge"});
        for (key, value) in more.as_object().unwrap() {
            metric[key] = value.clone();
        }
        metric
    };
    for (metric, part) in [
        (
            rate(json!({"total": "rate(a[5m])"})),
            "metrics[0].total uses rate(), whose windows overlap",
        ),
        (rate(json!({"bad": "sum(b) / sum(a)"})), "metrics[0].bad divides"),
        (rate(json!({"bad": "sum(b)"})), "metrics[0].bad uses sum()"),
        (rate(json!({"total": "a[5m]"})), "metrics[0].total has a range"),
        (rate(json!({"maxRatio": 0})), "metrics[0].maxRatio is 0: it must be above 0"),
        (rate(json!({"margin": 1.1})), "metrics[0].margin is 1.1: it must be above maxRatio"),
        (rate(json!({"minDelta": 1})), "metrics[0].minDelta"),
        (rate(json!({"dispersion": "off"})), "metrics[0].dispersion is \"off\": write auto"),
        (rate(json!({"dispersion": "0.5"})), "metrics[0].dispersion"),
        (rate(json!({"by": ["a", "b", "c", "d"]})), "metrics[0].by must be at most 3"),
        (rate(json!({"by": ["le"]})), "metrics[0].by[0]"),
        (rate(json!({"weight": -1})), "metrics[0].weight"),
        (rate(json!({"falsePass": 1})), "metrics[0].falsePass"),
        (rate(json!({"histogram": "c"})), "metrics[0].histogram has no meaning for this type"),
        (gauge(json!({})), "metrics[0].gauge is required: the selector of the gauge; or counter"),
        (gauge(json!({"gauge": "a", "counter": "b"})), "metrics[0].counter must not stand beside"),
        (gauge(json!({"gauge": "cpu_total"})), "metrics[0].gauge is a counter by its name"),
        (gauge(json!({"gauge": "avg(a)"})), "metrics[0].gauge uses avg()"),
        (
            gauge(json!({"gauge": "a", "batch": 0})),
            "metrics[0].batch is 0: it must be from 1 to 1000",
        ),
        (
            gauge(json!({"gauge": "a", "maxRatio": 1.5})),
            "metrics[0].margin is 1.5: it must be above",
        ),
        (gauge(json!({"gauge": "a", "minRequests": 5})), "metrics[0].minRequests has no meaning"),
        (gauge(json!({"gauge": "a", "by": ["route"]})), "metrics[0].by has no meaning"),
        (json!({"memory": {"gauge": ""}}), "metrics[0].memory.gauge is empty"),
        (
            json!({"memory": {"gauge": "a"}, "counter": "b"}),
            "metrics[0].counter stands in the short form",
        ),
        (
            json!({"memory": {"gauge": "a"}, "latency": {"histogram": "b"}}),
            "metrics[0] has several of type, errors, latency and memory",
        ),
        (
            rate(json!({"interval": "1m"})),
            "metrics[0].interval must not stand in a metric that compares",
        ),
        (rate(json!({"successCondition": "true"})), "metrics[0].successCondition has no meaning"),
        (
            rate(json!({"provider": {"web": {"url": "https://a.b"}}})),
            "metrics[0].provider must not stand",
        ),
        (json!({"name": "e", "type": "rate", "total": "a"}), "metrics[0].bad is required"),
        (json!({"name": "c", "type": "count"}), "metrics[0].events is required"),
        (
            json!({"name": "s", "type": "slo", "total": "a", "bad": "b"}),
            "metrics[0].maxRate is required",
        ),
        (
            json!({"name": "l", "type": "latency", "histogram": "x_sum"}),
            "metrics[0].histogram is x_sum, which holds no buckets: write x",
        ),
        (
            json!({"name": "l", "type": "latency", "histogram": "x", "bounds": ["soon"]}),
            "metrics[0].bounds[0] is \"soon\": write 300ms",
        ),
        (
            json!({"errors": {"counter": "a", "bad": "code"}}),
            "metrics[0].errors.bad must be label matchers",
        ),
        (
            json!({"errors": {"counter": "increase(a[1m])", "bad": "x=\"1\""}}),
            "metrics[0].errors.counter uses increase()",
        ),
        (
            json!({"errors": {"counter": "a", "bad": "x=\"1\""}, "total": "a"}),
            "metrics[0].total stands in the short form already",
        ),
        (
            json!({"errors": {"counter": "a", "bad": "x=\"1\""}, "type": "rate"}),
            "has several of type, errors, latency and memory",
        ),
        (
            json!({"name": "t", "provider": {"prometheus": {"source": {"name": "p"}, "query": "up"}},
                   "successCondition": "true", "maxRatio": 2}),
            "metrics[0].maxRatio compares canary and stable, and needs a type",
        ),
    ] {
        let problems = compared_problems(metric.clone(), json!({}));
        assert!(problems.iter().any(|it| it.contains(part)), "{metric}: {problems:?}, not {part}");
    }
    let fine = json!({"errors": {"counter": "a", "bad": "x=\"1\""}});
    for (common, part) in [
        (json!({"interval": "1s"}), "interval is 1s: it must be from 5 s to 3600 s"),
        (
            json!({"falseRollbackBudget": 0.5}),
            "falseRollbackBudget is 0.5: it must be above 0 and at most 0.2",
        ),
        (json!({"warmup": "soon"}), "warmup \"soon\" is not a duration"),
        (json!({"noDataAfter": "1s"}), "noDataAfter is 1s"),
        (
            json!({"source": {"name": "a"}, "address": "http://b"}),
            "address must not stand beside source",
        ),
        (json!({"arms": {"by": "label"}}), "arms.label is required with by: label"),
        (json!({"arms": {"label": "a-b"}}), "arms.label is \"a-b\", which is no name of a label"),
        (json!({"arms": {"canary": "a", "stable": "a"}}), "arms name \"a\" for both"),
    ] {
        let problems = compared_problems(fine.clone(), common.clone());
        assert!(problems.iter().any(|it| it.contains(part)), "{common}: {problems:?}, not {part}");
    }
}

#[test]
fn settings_of_a_comparison_without_one_are_refused() {
    let metric = json!({"name": "t", "successCondition": "true",
        "provider": {"prometheus": {"source": {"name": "p"}, "query": "up"}}});
    let problems = compared_problems(metric, json!({"interval": "1m"}));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("interval is about metrics that compare"), "{problems:?}");
}

#[test]
fn a_run_that_nobody_named_the_arms_of_is_refused() {
    let spec = json!({"metrics": [{"name": "e", "type": "rate", "total": "a", "bad": "b"}]});
    let problems = ResolvedRun::resolve(&serde_json::from_value(spec).unwrap()).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|it| it.starts_with("comparison.arms.canary is required")), "{told:?}");
}

#[test]
fn templates_that_disagree_on_the_comparison_are_refused() {
    let library = [("a", "30s"), ("b", "1m")].map(|(name, interval)| {
        let spec = json!({"interval": interval,
            "metrics": [{"name": name, "type": "rate", "total": "a", "bad": "b"}]});
        let key = TemplateKey { is_cluster_scope: false, name: name.to_owned() };
        (key, serde_json::from_value::<AnalysisTemplateSpec>(spec).unwrap())
    });
    let references: Vec<AnalysisTemplateRef> =
        serde_json::from_value(json!([{"templateName": "a"}, {"templateName": "b"}])).unwrap();
    let error = merge(&references, &library.into()).unwrap_err().to_string();
    assert!(error.contains("give interval different values"), "{error}");
}
