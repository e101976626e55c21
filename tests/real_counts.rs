//! The counts that are judged, against the counts that real processes served, over a real Prometheus:
//! `cargo test --features real-prometheus --test real_counts`. Takes about a minute of real time.
//!
//! A process is this program again, in the test `a_process_that_counts`.

#[cfg(test)]
#[path = "common/exposition.rs"]
mod exposition;
#[cfg(test)]
#[path = "common/prometheus.rs"]
mod server;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use chrono::Utc;
    use serde_json::{Value, json};
    use sluice::analysis::{ResolvedRun, advance};
    use sluice::api::analysis::AnalysisRunStatus;
    use sluice::metrics::spec::prometheus::Spec;
    use sluice::metrics::{
        AddressPolicy, MeasurementOutcome, MeasurementResult, ResolvedEndpoint, SampleValue,
        Transport, look, prometheus,
    };

    use crate::exposition;
    use crate::server::{self, Running, free_port};

    const PORT: &str = "SLUICE_TEST_PORT";

    /// Serves its counters, and counts: `GET /hit?ALL/BAD/SLOW`. Its histogram is classic in text, and native in Protocol Buffers, for
    /// which only a Prometheus asks that takes native ones.
    #[test]
    #[ignore = "it is started by the other test"]
    fn a_process_that_counts() {
        let Ok(port) = std::env::var(PORT) else { return };
        let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
        let (mut all, mut bad, mut slow) = (0_u64, 0_u64, 0_u64);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head: Vec<String> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let Some(line) = head.first() else { continue };
            if let Some((_, numbers)) = line.split_once("/hit?") {
                let numbers = numbers.split(' ').next().unwrap();
                let numbers: Vec<u64> = numbers.split('/').map(|it| it.parse().unwrap()).collect();
                (all, bad, slow) = (all + numbers[0], bad + numbers[1], slow + numbers[2]);
            }
            let fast = all - slow;
            if head.iter().any(|line| line.contains("MetricFamily")) {
                let body = [
                    exposition::counter("all_total", all),
                    exposition::counter("bad_total", bad),
                    exposition::native_histogram("latency_seconds", fast, slow),
                ]
                .concat();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    exposition::CONTENT_TYPE,
                    body.len()
                );
                let _ = stream.write_all(&body);
                continue;
            }
            let text = format!(
                "# TYPE all_total counter\nall_total {all}\n# TYPE bad_total counter\nbad_total {bad}\n\
                 # TYPE latency_seconds histogram\nlatency_seconds_bucket{{le=\"0.5\"}} {fast}\n\
                 latency_seconds_bucket{{le=\"+Inf\"}} {all}\nlatency_seconds_sum 1\n\
                 latency_seconds_count {all}\n"
            );
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{text}",
                text.len()
            );
        }
    }

    fn process(port: u16) -> Running {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "tests::a_process_that_counts"])
            .env(PORT, port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "the process comes up");
            std::thread::sleep(Duration::from_millis(50));
        }
        Running(child)
    }

    fn hit(port: u16, numbers: [u64; 3]) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let [all, bad, slow] = numbers;
        write!(stream, "GET /hit?{all}/{bad}/{slow} HTTP/1.1\r\n\r\n").unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
    }

    /// A reader as the controller is one: it keeps nothing but the status.
    struct Reader {
        run: ResolvedRun,
        status: Value,
        endpoint: ResolvedEndpoint,
        transport: Transport,
    }

    impl Reader {
        fn new(port: u16, status: Value) -> Self {
            let address = format!("http://127.0.0.1:{port}");
            let policy = AddressPolicy {
                allow_private: true,
                allowed_hosts: vec!["127.0.0.1".to_owned()],
                ..AddressPolicy::default()
            };
            let spec = json!({
                "comparison": {"address": address, "interval": "5s", "lag": "3s",
                               "arms": {"canary": "web-new", "stable": "web-old"}},
                "metrics": [
                    {"name": "errors", "type": "rate", "total": "all_total", "bad": "bad_total",
                     "dispersion": "independent", "gate": false},
                    {"name": "latency", "type": "latency", "histogram": "latency_seconds",
                     "bounds": ["500ms"], "dispersion": "independent", "gate": false},
                ],
            });
            Self {
                run: ResolvedRun::resolve(&serde_json::from_value(spec).unwrap()).unwrap(),
                status,
                endpoint: ResolvedEndpoint::inline(&address).ok().unwrap(),
                transport: Transport::new(policy),
            }
        }

        /// Takes every look that is due; whether one was taken.
        async fn pass(&mut self) -> bool {
            let status: AnalysisRunStatus = serde_json::from_value(self.status.clone()).unwrap();
            let step = advance(&self.run, &status, &[], Utc::now());
            let mut outcomes = Vec::new();
            for due in &step.due {
                let spec = due.look.clone().expect("a look");
                let started_at = Utc::now();
                let result =
                    match look::look(&self.transport, &self.endpoint, &spec, started_at).await {
                        Ok(look) => MeasurementResult::Look(Box::new(look)),
                        Err(error) => MeasurementResult::Error(error),
                    };
                outcomes.push(MeasurementOutcome {
                    metric: due.metric.clone(),
                    ordinal: due.ordinal,
                    started_at,
                    finished_at: Utc::now(),
                    result,
                });
            }
            let step = advance(&self.run, &step.status, &outcomes, Utc::now());
            self.status = serde_json::to_value(&step.status).unwrap();
            outcomes.iter().any(|it| matches!(it.result, MeasurementResult::Look(_)))
        }

        /// Passes for so long.
        async fn go_on(&mut self, seconds: u64) {
            let end = Instant::now() + Duration::from_secs(seconds);
            while Instant::now() < end {
                self.pass().await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }

        fn totals(&self, metric: &str) -> Vec<f64> {
            let totals = &self.status["evidence"]["progress"][metric]["totals"];
            let list = totals.as_array().unwrap_or_else(|| panic!("{:#}", self.status));
            list.iter().map(|it| it.as_str().unwrap().parse().unwrap()).collect()
        }

        /// Waits until Prometheus has what a process served.
        async fn until_scraped(&self, pod: &str, all: u64) {
            let query = format!("all_total{{pod=\"{pod}\"}}");
            let spec = Spec { query, ..Spec::default() };
            let started = Instant::now();
            loop {
                let value =
                    prometheus::measure(&self.transport, &self.endpoint, &spec, Utc::now()).await;
                let expected = f64::from(u32::try_from(all).unwrap());
                if value.is_ok_and(|it| it.value == SampleValue::Numbers(vec![expected])) {
                    return;
                }
                assert!(started.elapsed() < Duration::from_secs(30), "{pod} is scraped");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    #[tokio::test]
    async fn judged_counts_are_what_processes_served() {
        judged_counts_are_right(&[]).await;
    }

    #[tokio::test]
    async fn counts_of_native_histograms_are_what_processes_served() {
        judged_counts_are_right(&["--enable-feature=native-histograms".to_owned()]).await;
    }

    async fn judged_counts_are_right(flags: &[String]) {
        let directory = tempfile::tempdir().unwrap();
        let pods = ["web-new-aaaaa", "web-old-bbbbb", "web-old-ccccc"];
        let ports: BTreeMap<&str, u16> = pods.iter().map(|pod| (*pod, free_port())).collect();
        let target = |(pod, port): (&&str, &u16)| {
            format!("  - {{targets: ['127.0.0.1:{port}'], labels: {{pod: {pod}}}}}\n")
        };
        let targets = ports.iter().map(target).collect::<Vec<_>>().concat();
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: pods\n  static_configs:\n{targets}"
        );
        std::fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        let port = free_port();
        let prometheus = server::start(directory.path(), port, flags);
        let canary = process(ports["web-new-aaaaa"]);
        let stable = process(ports["web-old-bbbbb"]);
        // Old counts, which are not of this run.
        hit(ports["web-old-bbbbb"], [1000, 500, 100]);
        let mut reader = Reader::new(port, json!({}));
        reader.until_scraped("web-new-aaaaa", 0).await;
        reader.until_scraped("web-old-bbbbb", 1000).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        reader.pass().await;

        // Both serve, and are looked at.
        hit(ports["web-new-aaaaa"], [40, 2, 1]);
        hit(ports["web-old-bbbbb"], [700, 7, 70]);
        reader.go_on(11).await;
        // A process ends and begins again; all that it served was scraped.
        hit(ports["web-new-aaaaa"], [60, 3, 4]);
        reader.until_scraped("web-new-aaaaa", 100).await;
        drop(canary);
        let canary = process(ports["web-new-aaaaa"]);
        hit(ports["web-new-aaaaa"], [7, 1, 0]);
        reader.until_scraped("web-new-aaaaa", 7).await;
        // A pod comes, and has errors at once.
        let second = process(ports["web-old-ccccc"]);
        hit(ports["web-old-ccccc"], [30, 5, 3]);
        reader.go_on(6).await;
        // The reader is another process now, after some time.
        let status = reader.status.clone();
        drop(reader);
        hit(ports["web-old-bbbbb"], [11, 1, 2]);
        tokio::time::sleep(Duration::from_secs(7)).await;
        let mut reader = Reader::new(port, status);
        reader.go_on(6).await;
        // Prometheus is away while they serve, and comes back with its data.
        drop(prometheus);
        hit(ports["web-new-aaaaa"], [13, 2, 1]);
        hit(ports["web-old-ccccc"], [17, 0, 1]);
        reader.go_on(7).await;
        let _prometheus = server::start(directory.path(), port, flags);
        reader.until_scraped("web-new-aaaaa", 20).await;
        reader.until_scraped("web-old-ccccc", 47).await;
        // A pod goes, after its last scrape.
        drop(second);
        reader.go_on(13).await;

        assert_eq!(reader.totals("errors"), vec![8.0, 120.0, 13.0, 758.0], "{:#}", reader.status);
        assert_eq!(reader.totals("latency"), vec![6.0, 120.0, 76.0, 758.0]);
        drop((canary, stable));
    }
}
