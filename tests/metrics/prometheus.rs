//! PromQL queries.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sluice::metrics::spec::prometheus::Spec;
use sluice::metrics::{
    AddressPolicy, MeasureError, ResolvedEndpoint, SampleValue, Transport, prometheus,
};

use crate::server::{Reply, Script, Server, answer, endpoint, json as json_reply, transport};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn up() -> Spec {
    Spec { query: "up".to_owned(), ..Spec::default() }
}

async fn ask(server: &Server, source: Value, spec: &Spec) -> Result<SampleValue, MeasureError> {
    let mut full =
        json!({"address": server.url, "ca": server.ca_pem.as_ref().map(|pem| json!({"pem": pem}))});
    for (key, value) in source.as_object().unwrap() {
        full[key] = value.clone();
    }
    prometheus::measure(&transport(), &endpoint(full), spec, now()).await.map(|sample| sample.value)
}

fn success(kind: &str, result: Value) -> Value {
    json!({"status": "success", "data": {"resultType": kind, "result": result}})
}

fn one(value: &str) -> Value {
    json!({"metric": {"app": "shop"}, "value": [1_800_000_000.1, value]})
}

#[tokio::test]
async fn each_form_of_answer_is_read_as_what_it_is() {
    let cases = [
        (success("scalar", json!([1_800_000_000, "0.25"])), SampleValue::Number(0.25)),
        (success("vector", json!([one("1.5")])), SampleValue::Numbers(vec![1.5])),
        (success("vector", json!([])), SampleValue::Numbers(vec![])),
        (
            success("vector", json!([one("+Inf"), one("-Inf")])),
            SampleValue::Numbers(vec![f64::INFINITY, f64::NEG_INFINITY]),
        ),
        (success("vector", json!([one("1e3")])), SampleValue::Numbers(vec![1000.0])),
        (
            success(
                "matrix",
                json!([
                    {"metric": {}, "values": [[1, "1"], [2, "2"]]}, {"metric": {"a": "b"}, "values": [[1, "3"]]},
                ]),
            ),
            SampleValue::Numbers(vec![1.0, 2.0, 3.0]),
        ),
        (success("matrix", json!([])), SampleValue::Numbers(vec![])),
    ];
    for (body, expected) in cases {
        let sent = body.clone();
        let server = Server::start(move |_| json_reply(&sent));
        assert_eq!(ask(&server, json!({}), &up()).await, Ok(expected), "{body}");
    }
    let nan = Server::start(|_| json_reply(&success("vector", json!([one("NaN")]))));
    let SampleValue::Numbers(numbers) = ask(&nan, json!({}), &up()).await.unwrap() else {
        panic!()
    };
    assert!(numbers[0].is_nan());
}

#[tokio::test]
async fn many_series_are_all_read() {
    let server = Server::start(|_| {
        json_reply(&success("vector", (0..5000).map(|n| one(&n.to_string())).collect()))
    });
    let SampleValue::Numbers(numbers) = ask(&server, json!({}), &up()).await.unwrap() else {
        panic!()
    };
    assert_eq!((numbers.len(), numbers[4999]), (5000, 4999.0));
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a flat table of cases")]
async fn every_kind_of_bad_answer_is_told_apart() {
    let bad_data = json!({"status": "error", "errorType": "bad_data", "error": "1:8: parse error: unexpected end of input"});
    let warned = json!({"status": "success", "warnings": ["store s2: connection refused"], "data": {"resultType": "vector", "result": [one("1")]}});
    let histogram = success(
        "vector",
        json!([{"metric": {}, "histogram": [1, {"count": "1", "sum": "1", "buckets": []}]}]),
    );
    let cases: Vec<(&str, Script, &str, &str)> = vec![
        (
            "string",
            Box::new(|| json_reply(&success("string", json!([1, "x"])))),
            "not_a_number",
            "the query gives a text",
        ),
        (
            "histogram",
            Box::new(move || json_reply(&histogram)),
            "not_a_number",
            "histogram_quantile()",
        ),
        (
            "bad query",
            Box::new(move || answer("400 Bad Request", "application/json", &bad_data.to_string())),
            "rejected",
            "status 400: bad_data: 1:8: parse error",
        ),
        (
            "unauthorized",
            Box::new(|| answer("401 Unauthorized", "text/plain", "secret-body")),
            "rejected",
            "status 401",
        ),
        (
            "proxy error",
            Box::new(|| answer("502 Bad Gateway", "text/html", "<html>secret-body</html>")),
            "rejected",
            "status 502",
        ),
        (
            "unavailable",
            Box::new(|| {
                answer(
                    "503 Service Unavailable",
                    "application/json",
                    "{\"status\":\"error\",\"errorType\":\"timeout\",\"error\":\"query timed out\"}",
                )
            }),
            "rejected",
            "timeout: query timed out",
        ),
        (
            "warnings",
            Box::new(move || json_reply(&warned)),
            "partial_data",
            "store s2: connection refused",
        ),
        (
            "redirect",
            Box::new(|| {
                Reply::Bytes(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".to_vec())
            }),
            "rejected",
            "redirects are not followed",
        ),
        (
            "cut off",
            Box::new(|| {
                answer(
                    "200 OK",
                    "application/json",
                    "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1,\"1\"",
                )
            }),
            "malformed",
            "cut off",
        ),
        (
            "connection cut",
            Box::new(|| {
                Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"status\"".to_vec())
            }),
            "unreachable",
            "broke",
        ),
        (
            "not http",
            Box::new(|| Reply::Bytes(b"SSH-2.0-OpenSSH\r\n".to_vec())),
            "unreachable",
            "localhost",
        ),
        (
            "not Prometheus",
            Box::new(|| answer("200 OK", "text/html", "<html>login secret-body</html>")),
            "malformed",
            "not an answer of Prometheus",
        ),
        (
            "deep nesting",
            Box::new(|| answer("200 OK", "application/json", &"[".repeat(100_000))),
            "malformed",
            "not an answer",
        ),
        (
            "unknown form",
            Box::new(|| json_reply(&success("vector", json!([{"value": "x"}])))),
            "malformed",
            "another form",
        ),
        (
            "declared too large",
            Box::new(|| {
                Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n".to_vec())
            }),
            "too_large",
            "1048576 bytes",
        ),
        (
            "streamed too large",
            Box::new(|| {
                Reply::Bytes(
                    [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec(), vec![b' '; 2 << 20]]
                        .concat(),
                )
            }),
            "too_large",
            "1048576 bytes",
        ),
        (
            "compressed",
            Box::new(|| {
                Reply::Bytes(
                    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"
                        .to_vec(),
                )
            }),
            "malformed",
            "compressed",
        ),
    ];
    for (name, reply, kind, part) in cases {
        let server = Server::start(move |_| reply());
        let error = ask(&server, json!({}), &up()).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{name}: {text}");
        assert!(text.contains(part), "{name}: {text}");
        assert!(!text.contains("secret-body"), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_a_timeout_and_one_that_is_not_there_is_unreachable() {
    let hanging = Server::start(|_| Reply::Hang);
    let error = ask(&hanging, json!({"timeout": "200ms"}), &up()).await.unwrap_err();
    assert_eq!(error.kind(), "timed_out");
    let half = Server::start(
        |request| {
            if request.field("query").is_some() { Reply::Hang } else { panic!() }
        },
    );
    assert_eq!(
        ask(&half, json!({"timeout": "200ms"}), &up()).await.unwrap_err().kind(),
        "timed_out"
    );
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let gone = endpoint(json!({"address": format!("http://localhost:{closed}")}));
    let error = prometheus::measure(&transport(), &gone, &up(), now()).await.unwrap_err();
    assert!(
        matches!(&error, MeasureError::Unreachable { detail, .. } if detail.contains("refused")),
        "{error}"
    );
    let nowhere = endpoint(json!({"address": "http://no-such-host.invalid:9090"}));
    assert_eq!(
        prometheus::measure(&transport(), &nowhere, &up(), now()).await.unwrap_err().kind(),
        "unreachable"
    );
}

#[tokio::test]
async fn the_query_is_sent_whole_with_its_time_limit_and_below_the_base_path() {
    let server = Server::start(|_| json_reply(&success("vector", json!([]))));
    let query = "sum(rate(x{a=\"ä & +\"}[5m]))\n > 1";
    let spec = Spec { query: query.to_owned(), timeout: Some(7), ..Spec::default() };
    let source = endpoint(json!({"address": format!("{}/tenant/a/", server.url)}));
    prometheus::measure(&transport(), &source, &spec, now()).await.unwrap();
    let request = &server.requests()[0];
    assert!(request.head.starts_with("POST /tenant/a/api/v1/query HTTP/1.1"), "{}", request.head);
    assert_eq!(request.field("query").unwrap(), query);
    assert_eq!(request.field("timeout").unwrap(), "7000ms");
    assert!(request.header("user-agent").unwrap().starts_with("sluice/"));
    assert_eq!(request.header("accept-encoding"), None);
}

#[tokio::test]
async fn a_range_query_carries_its_range() {
    let server = Server::start(|_| json_reply(&success("matrix", json!([]))));
    let spec: Spec = serde_json::from_value(json!({"query": "up", "rangeQuery": {
        "start": "now() - duration(\"5m\")", "end": "now()", "step": "30s"}}))
    .unwrap();
    ask(&server, json!({}), &spec).await.unwrap();
    let request = &server.requests()[0];
    assert!(request.head.starts_with("POST /api/v1/query_range "), "{}", request.head);
    let fields: Vec<String> =
        ["start", "end", "step"].iter().map(|f| request.field(f).unwrap()).collect();
    assert_eq!(fields, ["1799999700", "1800000000", "30"]);
}

#[tokio::test]
async fn a_proxy_that_permits_only_get_is_asked_by_get() {
    let server = Server::start(|request| {
        if request.head.starts_with("POST") {
            answer("405 Method Not Allowed", "text/plain", "")
        } else {
            json_reply(&success("scalar", json!([1, "1"])))
        }
    });
    assert_eq!(ask(&server, json!({}), &up()).await, Ok(SampleValue::Number(1.0)));
    assert!(server.requests()[1].head.starts_with("GET /api/v1/query?query=up"));
}

#[tokio::test]
async fn credentials_and_headers_of_a_source_are_sent() {
    let server = Server::start(|_| json_reply(&success("vector", json!([]))));
    let secret = |key: &str| json!({"name": "s", "key": key});
    let spec: Spec = serde_json::from_value(
        json!({"query": "up", "headers": [{"key": "X-Extra", "value": "1"}]}),
    )
    .unwrap();
    let basic = json!({"address": server.url, "credentials": {"basic": {"usernameRef": secret("user"), "passwordRef": secret("password")}},
        "headers": [{"name": "X-Scope-OrgID", "value": "team"}, {"name": "X-Api-Key", "valueRef": secret("token")}]});
    let basic = endpoint(basic).with_headers(&spec.headers).ok().unwrap();
    prometheus::measure(&transport(), &basic, &spec, now()).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.header("authorization"), Some("Basic YWxpY2U6cGFzczp3b3Jk"));
    assert_eq!(request.header("x-scope-orgid"), Some("team"));
    assert_eq!(request.header("x-api-key"), Some("t0ken"));
    assert_eq!(request.header("x-extra"), Some("1"));
    ask(&server, json!({"credentials": {"bearer": {"tokenRef": secret("token")}}}), &up())
        .await
        .unwrap();
    assert_eq!(server.requests()[1].header("authorization"), Some("Bearer t0ken"));
}

fn oauth_server(expires_in: u64) -> Server {
    Server::start(move |request| {
        if request.head.starts_with("POST /token") {
            json_reply(
                &json!({"access_token": "fresh", "token_type": "bearer", "expires_in": expires_in}),
            )
        } else if request.header("authorization") == Some("Bearer fresh") {
            json_reply(&success("scalar", json!([1, "1"])))
        } else {
            answer("401 Unauthorized", "text/plain", "")
        }
    })
}

fn oauth_source(server: &Server) -> Value {
    json!({"address": server.url, "credentials": {"oauth2": {
        "tokenUrl": format!("{}/token", server.url), "clientId": "sluice & co", "scopes": ["a", "b"],
        "clientSecretRef": {"name": "s", "key": "secret"}}}})
}

#[tokio::test]
async fn an_oauth2_token_is_fetched_once_and_kept_while_it_is_valid() {
    let server = oauth_server(3600);
    let (transport, source) = (transport(), endpoint(oauth_source(&server)));
    for _ in 0..3 {
        prometheus::measure(&transport, &source, &up(), now()).await.unwrap();
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[0].header("authorization"), Some("Basic c2x1aWNlKyUyNitjbzpzM2NyZXQ="));
    assert_eq!(requests[0].field("grant_type").unwrap(), "client_credentials");
    assert_eq!(requests[0].field("scope").unwrap(), "a b");
    let short = oauth_server(10);
    let source = endpoint(oauth_source(&short));
    for _ in 0..2 {
        prometheus::measure(&transport, &source, &up(), now()).await.unwrap();
    }
    assert_eq!(short.requests().len(), 4, "a token about to end is not used again");
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_is_named_and_no_secret_is_repeated() {
    let server = Server::start(|_| {
        answer("400 Bad Request", "application/json", "{\"error\":\"invalid_client s3cret\"}")
    });
    let error = ask(&server, oauth_source(&server), &up()).await.unwrap_err();
    assert!(matches!(error, MeasureError::Rejected { status: 400, .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
}

#[tokio::test]
async fn tls_is_checked_against_the_given_authority_only() {
    let server = Server::start_tls(|_| json_reply(&success("scalar", json!([1, "1"]))));
    assert_eq!(ask(&server, json!({}), &up()).await, Ok(SampleValue::Number(1.0)));
    let other = Server::start_tls(|_| Reply::Hang);
    for ca in [json!({"ca": {"pem": other.ca_pem}}), json!({"ca": null})] {
        let error = ask(&server, ca, &up()).await.unwrap_err();
        assert!(
            matches!(&error, MeasureError::Unreachable { detail, .. } if detail.contains("certificate")),
            "{error}"
        );
    }
    assert_eq!(server.requests().len(), 1, "nothing was sent to a server that is not who it says");
    let error = ask(&server, json!({"ca": {"pem": "no certificate"}}), &up()).await.unwrap_err();
    assert_eq!(error.kind(), "unusable");
}

#[tokio::test]
async fn refused_addresses_get_no_connection() {
    let server = Server::start(|_| json_reply(&success("scalar", json!([1, "1"]))));
    let strict = Transport::new(AddressPolicy::default());
    let source = endpoint(json!({"address": server.url}));
    let error = prometheus::measure(&strict, &source, &up(), now()).await.unwrap_err();
    assert!(matches!(error, MeasureError::NotPermitted { .. }), "{error}");
    let literal = endpoint(json!({"address": server.url.replace("localhost", "127.0.0.1")}));
    assert_eq!(
        prometheus::measure(&strict, &literal, &up(), now()).await.unwrap_err().kind(),
        "not_permitted"
    );
    let metadata = endpoint(json!({"address": "http://169.254.169.254/latest"}));
    assert_eq!(
        prometheus::measure(&transport(), &metadata, &up(), now()).await.unwrap_err().kind(),
        "not_permitted"
    );
    let token = json!({"address": server.url, "credentials": {"oauth2": {
        "tokenUrl": "http://169.254.169.254/token", "clientId": "c", "clientSecretRef": {"name": "s", "key": "secret"}}}});
    assert_eq!(
        prometheus::measure(&transport(), &endpoint(token), &up(), now()).await.unwrap_err().kind(),
        "not_permitted"
    );
    assert_eq!(server.requests().len(), 0);
    let inline = ResolvedEndpoint::inline(&server.url).ok().unwrap();
    assert!(
        prometheus::measure(&transport(), &inline, &up(), now()).await.is_ok(),
        "localhost is listed"
    );
    let unlisted = ResolvedEndpoint::inline("http://prometheus.evil.com").ok().unwrap();
    let error = prometheus::measure(&transport(), &unlisted, &up(), now()).await.unwrap_err();
    assert!(error.to_string().contains("MetricsSource"), "{error}");
}

#[tokio::test]
async fn a_query_outside_of_the_allowed_prefix_is_not_sent() {
    let server = Server::start(|_| json_reply(&success("scalar", json!([1, "1"]))));
    let source = json!({"allowedQueryPrefix": "sum(rate(shop_"});
    assert_eq!(ask(&server, source.clone(), &up()).await.unwrap_err().kind(), "unusable");
    let spec = Spec { query: " sum(rate(shop_x[5m]))".to_owned(), ..Spec::default() };
    assert!(ask(&server, source, &spec).await.is_ok());
    assert_eq!(ask(&server, json!({"type": "Web"}), &up()).await.unwrap_err().kind(), "unusable");
    assert_eq!(server.requests().len(), 1);
}
