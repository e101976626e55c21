//! A controller as a process of its own, and what it used.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

/// The process; it ends when this is dropped.
pub(crate) struct Controller {
    child: Child,
    metrics: String,
}

/// What a process used, and asked, up to a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used {
    /// CPU seconds.
    pub(crate) cpu: f64,
    /// Resident memory in MiB.
    pub(crate) resident: f64,
    /// Requests to the Kubernetes API by verb and resource; watches and the Lease apart.
    pub(crate) requests: BTreeMap<String, u64>,
    /// Reconciles.
    pub(crate) reconciles: u64,
}

impl Controller {
    /// Starts it with a kubeconfig.
    pub(crate) fn start(kubeconfig: &Path) -> anyhow::Result<Self> {
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["controller", "--all-namespaces", "--lease-namespace", "sluice-system"])
            .args(["--log-format", "human", "--log-level", "error"])
            .args(["--metrics-address", &free.to_string()])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start the controller")?;
        Ok(Self { child, metrics: format!("http://{free}/metrics") })
    }

    /// What it used so far.
    pub(crate) async fn used(&self) -> anyhow::Result<Used> {
        let folder = format!("/proc/{}", self.child.id());
        let stat = std::fs::read_to_string(format!("{folder}/stat"))?;
        // utime and stime are the 14th and 15th field; the name of the program may hold spaces.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: f64 =
            after_name.split_whitespace().skip(11).take(2).flat_map(str::parse::<f64>).sum();
        let status = std::fs::read_to_string(format!("{folder}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = resident
            .and_then(|text| text.split_whitespace().next()?.parse().ok())
            .context("no VmRSS")?;
        let text = reqwest::get(&self.metrics).await?.error_for_status()?.text().await?;
        let mut used = Used { cpu: ticks / 100.0, resident: kib / 1024.0, ..Used::default() };
        for line in text.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let count = || value.parse().unwrap_or(0);
            if series.starts_with("sluice_api_requests_total{") {
                let (verb, resource) = (label(series, "verb"), label(series, "resource"));
                if verb != "watch" && resource != "leases" {
                    *used.requests.entry(format!("{verb} {resource}")).or_default() += count();
                }
            } else if series.starts_with("sluice_reconcile_seconds_count{") {
                used.reconciles += count();
            }
        }
        Ok(used)
    }

    /// Waits until it answers.
    pub(crate) async fn until_up(&self) -> anyhow::Result<()> {
        for _ in 0..300 {
            if reqwest::get(&self.metrics).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("the controller does not answer at {}", self.metrics)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Used {
    /// What was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let requests = self.requests.iter().map(|(name, count)| {
            let earlier = before.requests.get(name).copied().unwrap_or_default();
            (name.clone(), count.saturating_sub(earlier))
        });
        Self {
            cpu: self.cpu - before.cpu,
            resident: self.resident,
            requests: requests.filter(|(_, count)| *count > 0).collect(),
            reconciles: self.reconciles.saturating_sub(before.reconciles),
        }
    }

    /// All requests with these verbs.
    pub(crate) fn requests_of(&self, is_wanted: impl Fn(&str) -> bool) -> u64 {
        let wanted = self
            .requests
            .iter()
            .filter(|(name, _)| is_wanted(name.split_once(' ').map_or("", |(verb, _)| verb)));
        wanted.map(|(_, count)| count).sum()
    }
}

fn label<'a>(series: &'a str, name: &str) -> &'a str {
    let start = format!("{name}=\"");
    let rest = series.split_once(start.as_str()).map_or("", |(_, rest)| rest);
    rest.split_once('"').map_or("", |(value, _)| value)
}
