//! CloudWatch, Datadog, Graphite, InfluxDB and New Relic: what is sent, what answers mean, and every way not to answer.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluice::metrics::spec::{MetricProvider, Provider};
use sluice::metrics::{
    AddressPolicy, MeasureError, ResolvedEndpoint, SampleValue, Transport, asked,
};

use crate::server::{
    Reply, Request, Script, Server, answer, endpoint, json as json_reply, transport,
};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// A metric of each, with the source that it needs.
fn each() -> Vec<(&'static str, Value, Value)> {
    let key = |name: &str| json!([{"name": name, "valueRef": {"name": "s", "key": "token"}}]);
    vec![
        (
            "datadog",
            json!({"query": "avg:errors{*}"}),
            json!({"type": "Datadog", "headers": key("DD-API-KEY")}),
        ),
        ("graphite", json!({"query": "a.b"}), json!({"type": "Graphite"})),
        (
            "cloudWatch",
            json!({"metricDataQueries": [
                {"id": "e1", "expression": "m1 / 2", "label": "half"},
                {"id": "m1", "returnData": false, "metricStat": {"stat": "Sum", "period": "5m",
                    "metric": {"namespace": "AWS/ApplicationELB", "metricName": "HTTPCode_Target_5XX_Count",
                               "dimensions": [{"name": "LoadBalancer", "value": "app/a"}]}}}]}),
            json!({"type": "CloudWatch", "credentials": {"aws": {"region": "eu-west-1",
                "accessKeyIdRef": {"name": "s", "key": "user"},
                "secretAccessKeyRef": {"name": "s", "key": "secret"},
                "sessionTokenRef": {"name": "s", "key": "token"}}}}),
        ),
        (
            "influxdb",
            json!({"query": "from(bucket: \"a\")"}),
            json!({"type": "InfluxDB", "organization": "shop", "headers": key("Authorization")}),
        ),
        (
            "newRelic",
            json!({"query": "FROM Transaction SELECT count(*)"}),
            json!({"type": "NewRelic", "accountId": 42, "headers": key("Api-Key")}),
        ),
    ]
}

fn source_at(url: &str, mut source: Value) -> ResolvedEndpoint {
    source["address"] = json!(format!("{url}/base/"));
    endpoint(source)
}

async fn ask_with(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    name: &str,
    spec: Value,
) -> Result<SampleValue, MeasureError> {
    let provider: MetricProvider = serde_json::from_value(json!({name: spec})).unwrap();
    let Ok(Provider::Asked(asked)) = provider.chosen() else { panic!("{name}") };
    asked::measure(transport, endpoint, asked, now()).await.map(|sample| sample.value)
}

/// The value that a metric has when the server answers so, and the request.
async fn measured(
    name: &str,
    more: Value,
    reply: Value,
) -> (Result<SampleValue, MeasureError>, Request) {
    let text = reply.as_str().map(str::to_owned);
    let server = Server::start(move |_| match &text {
        Some(csv) => answer("200 OK", "application/csv", csv),
        None => json_reply(&reply),
    });
    let (_, mut spec, source) = each().into_iter().find(|(own, ..)| *own == name).unwrap();
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let value = ask_with(&transport(), &source_at(&server.url, source), name, spec).await;
    (value, server.requests().remove(0))
}

async fn value(name: &str, more: Value, reply: Value) -> Result<SampleValue, MeasureError> {
    measured(name, more, reply).await.0
}

const NIL: SampleValue = SampleValue::Json(Value::Null);

#[tokio::test]
async fn datadog_v1_gives_the_newest_point_of_one_series() {
    let series = |points: Value| json!({"status": "ok", "series": [{"pointlist": points}]});
    let (found, request) =
        measured("datadog", json!({"interval": "10m"}), series(json!([[1e12, 1.5], [2e12, 0.25]])))
            .await;
    assert_eq!(found, Ok(SampleValue::Number(0.25)));
    let line = request.head.lines().next().unwrap().to_owned();
    let expected =
        "GET /base/api/v1/query?from=1799999400&to=1800000000&query=avg%3Aerrors%7B*%7D HTTP/1.1";
    assert_eq!(line, expected);
    assert_eq!(request.header("dd-api-key"), Some("t0ken"));
    for empty in
        [json!({"status": "ok", "series": []}), series(json!([])), series(json!([[1e12, null]]))]
    {
        assert_eq!(value("datadog", json!({}), empty).await, Ok(NIL));
    }
    let two = json!({"status": "ok", "series": [{"pointlist": []}, {"pointlist": []}]});
    let error = value("datadog", json!({}), two).await.unwrap_err();
    assert_eq!(error.to_string(), "the query gives 2 series: make them one, without `by`");
    let refused = json!({"status": "error", "error": "Error parsing query", "series": []});
    let error = value("datadog", json!({}), refused).await.unwrap_err();
    assert!(
        error.kind() == "rejected" && error.to_string().ends_with("200: Error parsing query"),
        "{error}"
    );
}

#[tokio::test]
async fn datadog_v2_gives_one_number_of_a_formula() {
    let more = json!({"apiVersion": "v2", "aggregator": "sum", "formula": "a / b", "query": null,
                      "queries": {"a": "sum:errors{*}", "b": "sum:hits{*}"}});
    let columns = |columns: Value| json!({"data": {"type": "scalar_response", "attributes": {"columns": columns}}});
    let number = |values: Value| json!({"name": "a / b", "type": "number", "values": values});
    let (found, request) =
        measured("datadog", more.clone(), columns(json!([number(json!([0.006]))]))).await;
    assert_eq!(found, Ok(SampleValue::Number(0.006)));
    assert!(
        request.head.starts_with("POST /base/api/v2/query/scalar HTTP/1.1"),
        "{}",
        request.head
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        body["data"]["attributes"],
        json!({"from": 1_799_999_700_000_i64, "to": 1_800_000_000_000_i64,
               "formulas": [{"formula": "a / b"}],
               "queries": [
                   {"name": "a", "data_source": "metrics", "query": "sum:errors{*}", "aggregator": "sum"},
                   {"name": "b", "data_source": "metrics", "query": "sum:hits{*}", "aggregator": "sum"}]})
    );
    for empty in [json!([]), json!([number(json!([]))]), json!([number(json!([null]))])] {
        assert_eq!(value("datadog", more.clone(), columns(empty)).await, Ok(NIL));
    }
    let groups =
        json!([{"name": "pod", "type": "group", "values": [["a"], ["b"]]}, number(json!([1, 2]))]);
    let error = value("datadog", more, columns(groups)).await.unwrap_err();
    assert!(error.to_string().contains("2 groups"), "{error}");
}

#[tokio::test]
async fn graphite_gives_the_values_of_one_series_without_gaps() {
    let series = |points: Value| json!([{"target": "a.b", "datapoints": points}]);
    let more = json!({"query": "target=sumSeries(\n  a.*.b\n)&from=-5min"});
    let points = json!([[1.5, 10], [null, 20], [2, 30]]);
    let (found, request) = measured("graphite", more, series(points)).await;
    assert_eq!(found, Ok(SampleValue::Numbers(vec![1.5, 2.0])));
    let line = request.head.lines().next().unwrap().to_owned();
    assert_eq!(
        line,
        "GET /base/render?target=sumSeries%28+a.*.b+%29&from=-5min&format=json HTTP/1.1"
    );
    for empty in [json!([]), series(json!([])), series(json!([[null, 10]]))] {
        assert_eq!(value("graphite", json!({}), empty).await, Ok(SampleValue::Numbers(vec![])));
    }
    let two = json!([{"datapoints": []}, {"datapoints": []}]);
    let error = value("graphite", json!({}), two).await.unwrap_err();
    assert!(error.to_string().contains("gives 2 series"), "{error}");
    for broken in [series(json!([["1", 10]])), json!({}), json!([{}])] {
        assert_eq!(value("graphite", json!({}), broken).await.unwrap_err().kind(), "malformed");
    }
    // An address of a template, which is on the list.
    let server = Server::start(|_| json_reply(&json!([])));
    let inline = ResolvedEndpoint::inline(&server.url).unwrap_or_else(|error| panic!("{error}"));
    let spec = json!({"query": "a"});
    assert!(ask_with(&transport(), &inline, "graphite", spec.clone()).await.is_ok());
    let strict = Transport::new(AddressPolicy::default());
    let error = ask_with(&strict, &inline, "graphite", spec).await.unwrap_err();
    assert_eq!(error.kind(), "not_permitted");
}

#[tokio::test]
async fn influxdb_gives_the_values_of_all_tables() {
    let csv = "#datatype,string,long,dateTime:RFC3339,double\r\n#group,false,false,false,false\r\n\
               #default,_result,,,\r\n,result,table,_time,_value\r\n,,0,2026-11-21T10:00:00Z,0.5\r\n\
               ,,0,2026-11-21T10:01:00Z,\r\n\r\n#datatype,string,long,long\r\n#group,false,false,false\r\n\
               #default,_result,,\r\n,result,table,_value\r\n,,1,7\r\n,,1,NaN\r\n\r\n";
    let (found, request) = measured("influxdb", json!({}), json!(csv)).await;
    let Ok(SampleValue::Numbers(numbers)) = found else { panic!("{found:?}") };
    assert_eq!((&numbers[..2], numbers[2].is_nan(), numbers.len()), (&[0.5, 7.0][..], true, 3));
    assert!(
        request.head.starts_with("POST /base/api/v2/query?org=shop HTTP/1.1"),
        "{}",
        request.head
    );
    assert_eq!(request.header("authorization"), Some("t0ken"));
    assert_eq!(request.header("accept"), Some("application/csv"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!((&body["query"], &body["type"]), (&json!("from(bucket: \"a\")"), &json!("flux")));

    let texts = "#datatype,string,long,string\n#group,false,false,false\n#default,,,\n,result,table,_value\n\
                 ,,0,\"a, b\"\n";
    let found = value("influxdb", json!({}), json!(texts)).await;
    assert_eq!(found, Ok(SampleValue::Json(json!(["a, b"]))));
    for empty in ["", "\r\n"] {
        assert_eq!(
            value("influxdb", json!({}), json!(empty)).await,
            Ok(SampleValue::Numbers(vec![]))
        );
    }
    let error = "#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,out of memory,897\n";
    let error = value("influxdb", json!({}), json!(error)).await.unwrap_err();
    assert!(error.kind() == "rejected" && error.to_string().ends_with("out of memory"), "{error}");
    for (broken, kind) in [
        (texts.replace("_value", "other"), "unusable"),
        (csv.replace(",7\r\n", ",seven\r\n"), "malformed"),
        (csv.replace(",,1,7\r\n", ",,1\r\n"), "malformed"),
    ] {
        assert_eq!(value("influxdb", json!({}), json!(broken)).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn new_relic_gives_the_only_row_or_all() {
    let rows = |rows: Value| json!({"data": {"actor": {"account": {"nrql": {"results": rows}}}}});
    let (found, request) =
        measured("newRelic", json!({"timeout": 5}), rows(json!([{"rate": 0.97}]))).await;
    assert_eq!(found, Ok(SampleValue::Json(json!({"rate": 0.97}))));
    assert!(request.head.starts_with("POST /base/graphql HTTP/1.1"), "{}", request.head);
    assert_eq!(request.header("api-key"), Some("t0ken"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        body["variables"],
        json!({"account": 42, "nrql": "FROM Transaction SELECT count(*)", "timeout": 5})
    );
    let two = json!([{"count": 1}, {"count": 2}]);
    assert_eq!(value("newRelic", json!({}), rows(two.clone())).await, Ok(SampleValue::Json(two)));
    assert_eq!(value("newRelic", json!({}), rows(json!([]))).await, Ok(NIL));
    // NerdGraph answers errors with status 200.
    let errors = json!([{"message": "NRQL Syntax Error"}]);
    let refused = json!({"data": {"actor": {"account": {"nrql": null}}}, "errors": errors});
    let error = value("newRelic", json!({}), refused).await.unwrap_err();
    assert!(
        error.kind() == "rejected" && error.to_string().ends_with("NRQL Syntax Error"),
        "{error}"
    );
    let mut partial = rows(json!([{"rate": 1}]));
    partial["errors"] = json!([{"message": "a shard is missing"}]);
    assert_eq!(value("newRelic", json!({}), partial).await.unwrap_err().kind(), "partial_data");
    assert_eq!(value("newRelic", json!({}), json!({})).await.unwrap_err().kind(), "malformed");
}

#[tokio::test]
async fn cloud_watch_gives_its_results_for_a_signed_request() {
    let result = |code: &str, values: Value| json!({"Id": "e1", "Label": "half", "Timestamps": [1_800_000_000], "Values": values, "StatusCode": code});
    let complete = result("Complete", json!([0.5]));
    let (found, request) =
        measured("cloudWatch", json!({}), json!({"MetricDataResults": [complete], "Messages": []}))
            .await;
    assert_eq!(found, Ok(SampleValue::Json(json!([complete]))));
    assert!(request.head.starts_with("POST /base/ HTTP/1.1"), "{}", request.head);
    for (name, value) in [
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "GraniteServiceVersion20100801.GetMetricData"),
        ("x-amz-date", "20270115T080000Z"),
        ("x-amz-security-token", "t0ken"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    let authorization = request.header("authorization").unwrap();
    let begin = "AWS4-HMAC-SHA256 Credential=alice/20270115/eu-west-1/monitoring/aws4_request, \
                 SignedHeaders=accept;content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=";
    assert!(
        authorization.starts_with(begin) && authorization.len() == begin.len() + 64,
        "{authorization}"
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"StartTime": 1_799_999_700, "EndTime": 1_800_000_000, "MetricDataQueries": [
            {"Id": "e1", "Expression": "m1 / 2", "Label": "half"},
            {"Id": "m1", "ReturnData": false, "MetricStat": {"Stat": "Sum", "Period": 300, "Metric": {
                "Namespace": "AWS/ApplicationELB", "MetricName": "HTTPCode_Target_5XX_Count",
                "Dimensions": [{"Name": "LoadBalancer", "Value": "app/a"}]}}}]})
    );
    for empty in [json!([]), json!([result("Complete", json!([]))])] {
        let found = value("cloudWatch", json!({}), json!({"MetricDataResults": empty})).await;
        assert_eq!(found, Ok(NIL));
    }
    for (answer, kind) in [
        (json!({"MetricDataResults": [result("PartialData", json!([1]))]}), "partial_data"),
        (json!({"MetricDataResults": [complete], "NextToken": "more"}), "partial_data"),
        (json!({"MetricDataResults": [result("InternalError", json!([]))]}), "rejected"),
        (json!({"MetricDataResults": [{"StatusCode": "Complete"}]}), "malformed"),
        (json!({}), "malformed"),
    ] {
        assert_eq!(value("cloudWatch", json!({}), answer).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn every_way_not_to_answer_is_told_apart_and_no_key_is_repeated() {
    let cases: Vec<(Script, &str, &str)> = vec![
        (
            Box::new(|| {
                answer(
                    "401 Unauthorized",
                    "application/json",
                    r#"{"message": "t0ken is wrong", "errors": ["t0ken"]}"#,
                )
            }),
            "rejected",
            "401: it refuses the credentials",
        ),
        (
            Box::new(|| answer("403 Forbidden", "application/json", r#"{"errors": ["t0ken"]}"#)),
            "rejected",
            "403",
        ),
        (
            Box::new(|| answer("429 Too Many Requests", "application/json", "{}")),
            "rejected",
            "rate limit",
        ),
        (
            Box::new(|| answer("500 Oops", "text/html", "<html>t0ken</html>")),
            "rejected",
            "500: it must answer with 2xx",
        ),
        (
            Box::new(|| {
                Reply::Bytes(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".to_vec())
            }),
            "rejected",
            "redirects are not followed",
        ),
        (Box::new(|| answer("200 OK", "application/json", "{\"data\": \"t0ken")), "malformed", ""),
        (
            Box::new(|| {
                Reply::Bytes([b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'1'; 2 << 20]].concat())
            }),
            "too_large",
            "",
        ),
        (
            Box::new(|| Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n[".to_vec())),
            "unreachable",
            "broke during the answer",
        ),
        (Box::new(|| Reply::Bytes(vec![])), "unreachable", ""),
        (Box::new(|| Reply::Hang), "timed_out", ""),
    ];
    for (reply, kind, told) in cases {
        let server = Server::start(move |_| reply());
        for (name, spec, source) in each() {
            let mut source = source_at(&server.url, source);
            if kind == "timed_out" {
                // The others may take as long as a busy machine needs.
                source.timeout_limit = std::time::Duration::from_millis(300);
            }
            let error = ask_with(&transport(), &source, name, spec).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{name}: {error}");
            let text = error.to_string();
            assert!(text.contains(told) && !text.contains("t0ken"), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn the_words_of_a_server_about_a_query_are_repeated() {
    for (name, body, told) in [
        ("datadog", json!({"errors": ["unknown metric"]}), "400: unknown metric"),
        ("cloudWatch", json!({"__type": "ValidationError", "message": "bad id"}), "400: bad id"),
        (
            "influxdb",
            json!({"code": "invalid", "message": "undefined identifier x"}),
            "400: undefined identifier x",
        ),
        ("newRelic", json!({"errors": [{"message": "bad variable"}]}), "400: bad variable"),
        ("graphite", json!({"anything": 1}), "400: it must answer with 2xx"),
    ] {
        let server = Server::start(move |_| {
            answer("400 Bad Request", "application/json", &body.to_string())
        });
        let (_, spec, source) = each().into_iter().find(|(own, ..)| *own == name).unwrap();
        let found = ask_with(&transport(), &source_at(&server.url, source), name, spec).await;
        let text = found.unwrap_err().to_string();
        assert!(text.ends_with(told), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_source_of_another_type_is_not_asked_and_a_prefix_holds() {
    let server = Server::start(|_| json_reply(&json!({})));
    for (name, spec, source) in each() {
        let other =
            if name == "graphite" { json!({"type": "Web"}) } else { json!({"type": "Graphite"}) };
        let error =
            ask_with(&transport(), &source_at(&server.url, other), name, spec.clone()).await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains("the source is of type"), "{text}");
        let mut source = source;
        source["allowedQueryPrefix"] = json!("team_a");
        let error =
            ask_with(&transport(), &source_at(&server.url, source), name, spec.clone()).await;
        assert!(error.unwrap_err().to_string().contains("allowedQueryPrefix"), "{name}");
        if name != "graphite" {
            let inline =
                ResolvedEndpoint::inline(&server.url).unwrap_or_else(|error| panic!("{error}"));
            let error = ask_with(&transport(), &inline, name, spec).await;
            assert!(error.unwrap_err().to_string().contains("must be named"), "{name}");
        }
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn loopback_and_private_addresses_are_refused_as_for_every_source() {
    let server = Server::start(|_| json_reply(&json!({})));
    let strict = Transport::new(AddressPolicy::default());
    for (name, spec, source) in each() {
        let error =
            ask_with(&strict, &source_at(&server.url, source), name, spec).await.unwrap_err();
        assert_eq!(error.kind(), "not_permitted", "{name}: {error}");
    }
    assert!(server.requests().is_empty());
}
