//! The Prometheus provider against a real Prometheus, with TLS:
//! `cargo test --features real-prometheus --test real_prometheus`.

#[cfg(test)]
#[path = "common/prometheus.rs"]
mod server;

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use serde_json::{Value, json};
    use sluice::api::metrics_source::MetricsSourceSpec;
    use sluice::metrics::endpoint::SourceMaterial;
    use sluice::metrics::spec::prometheus::Spec;
    use sluice::metrics::{
        AddressPolicy, MeasureError, ResolvedEndpoint, SampleValue, Transport, prometheus,
    };

    use crate::server::{self, Running, free_port};

    /// A Prometheus without targets: constant expressions are all that is asked.
    struct Prometheus {
        _running: Running,
        endpoint: ResolvedEndpoint,
        _directory: tempfile::TempDir,
    }

    fn start() -> Prometheus {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
        std::fs::write(path("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(path("prometheus.yml"), "global: {}\n").unwrap();
        let web = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n";
        std::fs::write(path("web.yml"), web).unwrap();
        let port = free_port();
        let more = format!("--web.config.file={}", path("web.yml"));
        let running = server::start(directory.path(), port, &[more]);
        let source: MetricsSourceSpec = serde_json::from_value(json!({
            "address": format!("https://localhost:{port}"), "ca": {"pem": ca.pem()},
        }))
        .unwrap();
        let material = SourceMaterial::default();
        let endpoint = ResolvedEndpoint::from_source(&source, false, "ns", &material);
        Prometheus { _running: running, endpoint: endpoint.ok().unwrap(), _directory: directory }
    }

    async fn ask(server: &Prometheus, spec: Value) -> Result<SampleValue, MeasureError> {
        let policy = AddressPolicy { allow_private: true, ..AddressPolicy::default() };
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let now: DateTime<Utc> = Utc::now();
        let transport = Transport::new(policy);
        prometheus::measure(&transport, &server.endpoint, &spec, now).await.map(|s| s.value)
    }

    #[tokio::test]
    async fn a_real_prometheus_answers_as_our_scripted_one_does() {
        let server = start();
        let query = |text: &str| json!({"query": text});
        let numbers = |values: &[f64]| Ok(SampleValue::Numbers(values.to_vec()));
        assert_eq!(ask(&server, query("vector(0.25)")).await, numbers(&[0.25]));
        assert_eq!(ask(&server, query("scalar(vector(3))")).await, Ok(SampleValue::Number(3.0)));
        assert_eq!(ask(&server, query("vector(1) / 0")).await, numbers(&[f64::INFINITY]));
        assert_eq!(ask(&server, query("up{app=\"none\"}")).await, numbers(&[]));
        assert_eq!(ask(&server, query("vector(1) > 2")).await, numbers(&[]));
        let two = "label_replace(vector(1), \"a\", \"b\", \"\", \"\") or vector(2)";
        assert_eq!(ask(&server, query(two)).await, numbers(&[1.0, 2.0]));
        let SampleValue::Numbers(nan) = ask(&server, query("vector(0) / 0")).await.unwrap() else {
            panic!()
        };
        assert!(nan[0].is_nan());
        assert_eq!(ask(&server, query("\"text\"")).await.unwrap_err().kind(), "not_a_number");
        let error = ask(&server, query("sum(")).await.unwrap_err();
        let MeasureError::Rejected { status: 400, detail, .. } = &error else { panic!("{error}") };
        assert!(detail.starts_with("bad_data: ") && detail.contains("parse error"), "{detail}");
        let range = json!({"query": "vector(1)", "rangeQuery": {
            "start": "now() - duration(\"2m\")", "end": "now()", "step": "1m"}});
        assert_eq!(ask(&server, range).await, numbers(&[1.0, 1.0, 1.0]));
    }

    /// What an argument holds must stay inside its label value in the eyes of the real parser too.
    #[tokio::test]
    async fn an_injected_argument_stays_inside_its_label_value() {
        use sluice::analysis::arguments::{ArgumentValue, ArgumentValues};
        use sluice::analysis::substitution::{Language, substituted};
        let server = start();
        for value in
            ["\"} or vector(1) #", "\\\"} or vector(1) #", "\\", "a\nb", "'`\"", "{{args.x}}"]
        {
            for text in ["up{app=\"{{args.x}}\"}", "up{app='{{args.x}}'}"] {
                let argument = ArgumentValue::Text(value.to_owned());
                let values: ArgumentValues = [("x".to_owned(), argument)].into();
                let query = substituted(text, &values, Language::Promql).unwrap();
                let answer = ask(&server, json!({"query": query})).await;
                assert_eq!(answer, Ok(SampleValue::Numbers(vec![])), "{query}");
            }
        }
    }
}
