//! Values from JSON over HTTP.

use serde_json::{Value, json};
use sluice::metrics::spec::web::Spec;
use sluice::metrics::{MeasureError, ResolvedEndpoint, SampleValue, web};

use crate::server::{Reply, Script, Server, answer, endpoint, json as json_reply, transport};

async fn ask(server: &Server, spec: Value) -> Result<SampleValue, MeasureError> {
    let mut spec: Spec = serde_json::from_value(spec).unwrap();
    spec.url = format!("{}{}", server.url, spec.url);
    let endpoint = ResolvedEndpoint::inline(&spec.url)?.with_headers(&spec.headers)?;
    web::measure(&transport(), &endpoint, &spec).await.map(|sample| sample.value)
}

#[tokio::test]
async fn a_value_is_found_by_its_path() {
    let body =
        json!({"data": {"ok": true, "rate": 0.97, "items": [{"n": 1}], "none": null}, "empty": []});
    let sent = body.clone();
    let server = Server::start(move |_| json_reply(&sent));
    for (path, expected) in [
        (json!({"url": "/", "jsonPath": "{$.data.ok}"}), json!(true)),
        (json!({"url": "/", "jsonPath": "{.data.rate}"}), json!(0.97)),
        (json!({"url": "/", "jsonPath": "$.data.items[0].n"}), json!(1)),
        (json!({"url": "/"}), body),
        (json!({"url": "/", "jsonPath": "{$.data.none}"}), Value::Null),
        (json!({"url": "/", "jsonPath": "{$.nothing}"}), Value::Null),
    ] {
        assert_eq!(ask(&server, path.clone()).await, Ok(SampleValue::Json(expected)), "{path}");
    }
}

#[tokio::test]
async fn a_plain_text_is_a_value_and_broken_json_is_not() {
    let text = Server::start(|_| answer("200 OK", "text/plain; charset=utf-8", "OK"));
    assert_eq!(ask(&text, json!({"url": "/"})).await, Ok(SampleValue::Json(json!("OK"))));
    assert_eq!(
        ask(&text, json!({"url": "/", "jsonPath": "{$.a}"})).await.unwrap_err().kind(),
        "malformed"
    );
    let cut = Server::start(|_| answer("200 OK", "application/json", "{\"a\": [1, 2"));
    assert_eq!(ask(&cut, json!({"url": "/"})).await.unwrap_err().kind(), "malformed");
}

#[tokio::test]
async fn method_body_and_headers_are_sent() {
    let server = Server::start(|_| json_reply(&json!(1)));
    ask(&server, json!({"url": "/a?b=c", "method": "PUT", "jsonBody": {"k": [1]}, "headers": [{"key": "X-A", "value": "b"}]})).await.unwrap();
    ask(&server, json!({"url": "/", "method": "POST", "body": "a=b"})).await.unwrap();
    let requests = server.requests();
    assert!(requests[0].head.starts_with("PUT /a?b=c HTTP/1.1"));
    assert_eq!(requests[0].body, "{\"k\":[1]}");
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(requests[0].header("x-a"), Some("b"));
    assert_eq!((requests[1].body.as_str(), requests[1].header("content-type")), ("a=b", None));
}

#[tokio::test]
async fn bad_answers_are_told_apart_and_their_bodies_are_not_repeated() {
    let cases: Vec<(Script, &str)> = vec![
        (Box::new(|| answer("404 Not Found", "application/json", "{\"secret\": 1}")), "rejected"),
        (Box::new(|| answer("500 Oops", "text/plain", "secret")), "rejected"),
        (
            Box::new(|| {
                Reply::Bytes(b"HTTP/1.1 301 Moved\r\nlocation: http://localhost/\r\ncontent-length: 0\r\n\r\n".to_vec())
            }),
            "rejected",
        ),
        (Box::new(|| answer("200 OK", "application/json", "")), "malformed"),
        (
            Box::new(|| {
                Reply::Bytes([b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'1'; 2 << 20]].concat())
            }),
            "too_large",
        ),
        (Box::new(|| Reply::Bytes(vec![])), "unreachable"),
    ];
    for (reply, kind) in cases {
        let server = Server::start(move |_| reply());
        let error = ask(&server, json!({"url": "/"})).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let hanging = Server::start(|_| Reply::Hang);
    assert_eq!(
        ask(&hanging, json!({"url": "/", "timeoutSeconds": 1})).await.unwrap_err().kind(),
        "timed_out"
    );
}

#[tokio::test]
async fn with_a_source_the_url_is_a_path_below_it() {
    let server = Server::start(|_| json_reply(&json!(5)));
    let source = endpoint(json!({"type": "Web", "address": format!("{}/api", server.url),
        "credentials": {"bearer": {"tokenRef": {"name": "s", "key": "token"}}}}));
    let spec = Spec { url: "/v1/score?app=shop".to_owned(), ..Spec::default() };
    assert_eq!(
        web::measure(&transport(), &source, &spec).await.unwrap().value,
        SampleValue::Json(json!(5))
    );
    let request = &server.requests()[0];
    assert!(request.head.starts_with("GET /api/v1/score?app=shop HTTP/1.1"), "{}", request.head);
    assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
    let outside = Spec { url: "/../admin".to_owned(), ..Spec::default() };
    assert_eq!(web::measure(&transport(), &source, &outside).await.unwrap_err().kind(), "unusable");
    assert_eq!(server.requests().len(), 1, "the token went nowhere else");
}
