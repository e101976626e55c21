//! `kubectl sluice analysis` over a real Prometheus that holds a few hours of three pods:
//! `cargo test --features real-prometheus --test real_analysis`. Needs promtool beside prometheus.

#[cfg(test)]
#[path = "common/prometheus.rs"]
mod server;

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;
    use std::process::Command;

    use chrono::{DateTime, Utc};
    use serde_json::Value;
    use sluice::cli::{Connector, Console, Terminal, run};

    use crate::server::{self, Running, free_port};

    const TEMPLATE: &str = r"apiVersion: sluice.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: compared}
spec:
  metrics:
  - {name: errors, type: rate, total: all_total, bad: bad_total}
  - {name: latency, type: latency, histogram: latency_seconds}
";
    const SCRAPE: i64 = 15;
    const HOURS: i64 = 4;

    /// Numbers that look random; the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, share: f64) -> bool {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(self.0 >> 33).unwrap()) < share * f64::from(1_u32 << 31)
        }
    }

    /// Three pods, of which one has another share of bad requests.
    fn prometheus(folder: &Path, odd: f64, until: DateTime<Utc>) -> (Running, u16) {
        let mut numbers = Numbers(7);
        let end = until.timestamp() / SCRAPE * SCRAPE;
        let (mut all, mut bad, mut buckets) = (String::new(), String::new(), String::new());
        for (pod, share) in
            [("web-old-aaaaa", 0.01), ("web-old-bbbbb", 0.01), ("web-old-ccccc", odd)]
        {
            let mut counted = [0_u64; 4];
            let mut rows: [String; 2] = Default::default();
            for at in (end - HOURS * 3600..=end).step_by(15) {
                for _ in 0..100 {
                    let (is_bad, is_slow) = (numbers.below(share), numbers.below(0.1));
                    counted[0] += 1;
                    counted[1] += u64::from(is_bad);
                    counted[2] += u64::from(!is_slow);
                    counted[3] += u64::from(!is_slow || numbers.below(0.9));
                }
                writeln!(all, "all_total{{pod=\"{pod}\"}} {} {at}", counted[0]).unwrap();
                writeln!(bad, "bad_total{{pod=\"{pod}\"}} {} {at}", counted[1]).unwrap();
                for (row, (le, count)) in
                    rows.iter_mut().zip([("0.1", counted[2]), ("1", counted[3])])
                {
                    writeln!(
                        row,
                        "latency_seconds_bucket{{pod=\"{pod}\",le=\"{le}\"}} {count} {at}"
                    )
                    .unwrap();
                }
                let le = "+Inf";
                writeln!(
                    buckets,
                    "latency_seconds_bucket{{pod=\"{pod}\",le=\"{le}\"}} {} {at}",
                    counted[0]
                )
                .unwrap();
            }
            buckets.extend(rows);
        }
        let text = format!(
            "# TYPE all counter\n{all}# TYPE bad counter\n{bad}# TYPE latency_seconds histogram\n{buckets}# EOF\n"
        );
        std::fs::write(folder.join("data.om"), text).unwrap();
        std::fs::write(folder.join("prometheus.yml"), "global: {scrape_interval: 15s}\n").unwrap();
        let made = Command::new("promtool")
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([folder.join("data.om"), folder.join("data")])
            .output()
            .expect("promtool is needed for this test");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        (server::start(folder, port, &[]), port)
    }

    async fn sluice(line: &str) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console {
            out: &mut out,
            err: &mut err,
            stdin: &mut std::io::empty(),
            terminal: Terminal::default(),
            now: &Utc::now,
            format: None,
        };
        let words = std::iter::once("kubectl-sluice").chain(line.split_whitespace());
        let code = run(words.map(Into::into), &mut console, &Connector::Kubeconfig).await.code();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code, text(out), text(err))
    }

    async fn backtest(odd: f64) -> (u8, Value) {
        let folder = tempfile::tempdir().unwrap();
        let now = Utc::now();
        let (_prometheus, port) = prometheus(folder.path(), odd, now);
        std::fs::write(folder.path().join("template.yaml"), TEMPLATE).unwrap();
        let line = format!(
            "analysis backtest -f {} --prometheus http://127.0.0.1:{port} --stable web-old --range 2h \
             --length 30m --until {} -o json",
            folder.path().join("template.yaml").display(),
            now.format("%FT%TZ")
        );
        let (code, out, err) = sluice(&line).await;
        (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}")))
    }

    #[tokio::test]
    async fn pods_that_are_alike_fail_nothing() {
        let (code, report) = backtest(0.01).await;
        assert_eq!((code, report["releases"].as_u64()), (0, Some(12)), "{report:#}");
        assert_eq!(report["falseVerdicts"], 0);
        assert_eq!(report["metrics"][0]["proposedLimit"], 1.1);
        let spread = &report["metrics"][0]["spread"];
        assert!(spread["least"].as_f64().unwrap() > 0.8 && spread["most"].as_f64().unwrap() < 1.25);
        assert!(report["metrics"][1]["spread"]["most"].as_f64().unwrap() < 1.2, "{report:#}");
    }

    #[tokio::test]
    async fn a_pod_that_is_worse_is_found_and_a_limit_is_proposed() {
        let (code, report) = backtest(0.03).await;
        assert_eq!(code, 1, "{report:#}");
        let failures = report["failures"].as_array().unwrap();
        assert!(failures.len() >= 3, "{report:#}");
        assert!(failures.iter().all(|it| it["pod"] == "web-old-ccccc" && it["metric"] == "errors"));
        let proposed = report["metrics"][0]["proposedLimit"].as_f64().unwrap();
        assert!((2.0..=5.0).contains(&proposed), "{report:#}");
        assert!(report["metrics"][0]["spread"]["most"].as_f64().unwrap() > 2.0);
    }
}
