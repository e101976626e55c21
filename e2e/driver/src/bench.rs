//! What the controller costs: many Rollouts are updated at one moment; the time of each to Healthy is watched, API requests
//! are counted in the API server's audit log, CPU and memory are read from /proc. It never judges: it prints figures.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::binomial::real;
use crate::cluster::{Cluster, ROLLOUT, text};
use crate::log::{print, say};

const NAMESPACE: &str = "bench";
/// Requests of the driver itself that are under way at one time.
const AT_ONCE: usize = 32;

/// What `e2e/bench` passes on.
#[derive(clap::Args)]
pub(crate) struct BenchArguments {
    /// How many Rollouts.
    #[arg(long)]
    rollouts: usize,
    /// The API server's audit log.
    #[arg(long)]
    audit_log: PathBuf,
    /// Process of the controller.
    #[arg(long)]
    controller_pid: u32,
    /// The name under which the controller signs in.
    #[arg(long)]
    user: String,
    /// Another process of the cluster whose CPU time is told, as NAME=PID; may be repeated.
    #[arg(long = "process", value_name = "NAME=PID", value_parser = named_process)]
    processes: Vec<(String, u32)>,
    /// Seconds after which a Rollout counts as lost.
    #[arg(long, default_value_t = 300)]
    deadline: u64,
}

fn named_process(text: &str) -> Result<(String, u32), String> {
    let pid =
        text.split_once('=').and_then(|(name, pid)| Some((name.to_owned(), pid.parse().ok()?)));
    pid.ok_or_else(|| format!("`{text}` is not NAME=PID"))
}

/// One measurement.
pub(crate) async fn run(arguments: &BenchArguments) -> Result<()> {
    let cluster = Cluster::connect().await?;
    let deadline = Duration::from_secs(arguments.deadline);
    cluster.fresh_namespace(NAMESPACE, deadline).await?;
    say("bench", format!("making {} Rollouts", arguments.rollouts));
    let names: Vec<String> = (0..arguments.rollouts).map(|idx| format!("app-{idx:04}")).collect();
    futures::stream::iter(&names)
        .map(|name| create(&cluster, name))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    let first = until_healthy(&cluster, &names, "v1", deadline).await?;
    say(
        "bench",
        format!(
            "all Healthy for the first time, the last {:.1} s after the watch began",
            longest(&first)
        ),
    );
    // What trails behind must not be counted as cost of the update.
    tokio::time::sleep(Duration::from_secs(5)).await;

    let offset = std::fs::metadata(&arguments.audit_log)
        .with_context(|| format!("failed to read {}", arguments.audit_log.display()))?
        .len();
    let before = process(arguments.controller_pid)?;
    let others = cpu_of(&arguments.processes)?;
    let began = Instant::now();
    say("bench", "updating all at once");
    let update = futures::stream::iter(&names)
        .map(|name| update(&cluster, name))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>();
    let watch = until_healthy(&cluster, &names, "v2", deadline);
    let (updated, healthy) = tokio::join!(update, watch);
    updated?;
    let healthy = healthy?;
    let machine = Machine {
        wall_seconds: began.elapsed().as_secs_f64(),
        controller: process(arguments.controller_pid)?.cpu_seconds - before.cpu_seconds,
        others: difference(&others, &cpu_of(&arguments.processes)?),
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = process(arguments.controller_pid)?;
    let requests = count_requests(arguments, offset)?;
    print_figures(arguments, &healthy, (&before, &after), &requests);
    machine.print();
    cluster.remove_namespace(NAMESPACE, deadline).await
}

async fn create(cluster: &Cluster, name: &str) -> Result<()> {
    let service = |service: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": service},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
        })
    };
    let (stable, canary) = (format!("{name}-stable"), format!("{name}-canary"));
    let backend = json!({"service": {"name": stable, "port": {"number": 80}}});
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{"host": format!("{name}.example.test"), "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        },
    });
    let objects = [service(&stable), service(&canary), ingress, rollout(name, "v1")];
    for object in objects {
        cluster.apply(NAMESPACE, &object.to_string(), "bench").await?;
    }
    Ok(())
}

fn rollout(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": ROLLOUT.0, "kind": ROLLOUT.1, "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": format!("app:{version}")}]},
            },
            "strategy": {"canary": {
                "stableService": format!("{name}-stable"),
                "canaryService": format!("{name}-canary"),
                "trafficRouting": {"nginx": {"stableIngress": name}},
                "steps": [
                    {"setWeight": 10}, {"pause": {"duration": "2s"}},
                    {"setWeight": 50}, {"pause": {"duration": "2s"}},
                ],
            }},
        },
    })
}

async fn update(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.apply(NAMESPACE, &rollout(name, "v2").to_string(), "bench").await
}

/// The seconds after which each Rollout was Healthy on `version`, in the order of their end. The version is known by the
/// image in the spec that the controller has observed.
async fn until_healthy(
    cluster: &Cluster,
    names: &[String],
    version: &str,
    deadline: Duration,
) -> Result<Vec<f64>> {
    let from = Instant::now();
    let mut missing: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let api = cluster.api(ROLLOUT.0, ROLLOUT.1, NAMESPACE).await?;
    let mut events = std::pin::pin!(
        watcher(api, watcher::Config::default()).default_backoff().touched_objects()
    );
    let mut times = Vec::new();
    while !missing.is_empty() {
        let left = deadline.saturating_sub(from.elapsed());
        let Ok(next) = tokio::time::timeout(left, events.next()).await else {
            let some: Vec<&str> = missing.iter().copied().take(5).collect();
            bail!(
                "{} Rollouts are not Healthy on {version} after {deadline:?}, for example {some:?}",
                missing.len()
            );
        };
        let object = next.context("the watch of Rollouts ended")??;
        let value = serde_json::to_value(&object)?;
        if is_healthy(&value, version) && missing.remove(text(&value, "/metadata/name").as_str()) {
            times.push(from.elapsed().as_secs_f64());
        }
    }
    Ok(times)
}

fn is_healthy(rollout: &Value, version: &str) -> bool {
    let stable = text(rollout, "/status/stableRS");
    text(rollout, "/spec/template/spec/containers/0/image") == format!("app:{version}")
        && text(rollout, "/status/phase") == "Healthy"
        && text(rollout, "/status/observedGeneration") == text(rollout, "/metadata/generation")
        && !stable.is_empty()
        && stable == text(rollout, "/status/currentPodHash")
}

fn longest(times: &[f64]) -> f64 {
    times.iter().copied().fold(0.0, f64::max)
}

/// CPU seconds and memory of a process.
struct Process {
    cpu_seconds: f64,
    rss_mib: f64,
    peak_mib: f64,
}

fn process(pid: u32) -> Result<Process> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        std::fs::read_to_string(&path)
            .with_context(|| format!("failed to read {path}; does the controller still run?"))
    };
    let stat = read("stat")?;
    // Fields after the name, which may hold blanks: state is the first, utime the 12th, stime the 13th, in ticks of 10 ms.
    let fields: Vec<&str> =
        stat.rsplit_once(") ").map_or_else(Vec::new, |(_, rest)| rest.split(' ').collect());
    let ticks = |idx: usize| fields.get(idx).and_then(|field| field.parse::<u64>().ok());
    let ticks =
        ticks(11).zip(ticks(12)).context("/proc/PID/stat has fewer fields than it should")?;
    let status = read("status")?;
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        real(kib.unwrap_or(0)) / 1024.0
    };
    Ok(Process {
        cpu_seconds: real(ticks.0 + ticks.1) / 100.0,
        rss_mib: mib("VmRSS:"),
        peak_mib: mib("VmHWM:"),
    })
}

/// Where the machine's time went until the last Rollout was Healthy: it tells whether the controller is what is measured.
struct Machine {
    wall_seconds: f64,
    controller: f64,
    others: Vec<(String, f64)>,
}

impl Machine {
    fn print(&self) {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let had = self.wall_seconds * real(u64::try_from(cores).unwrap_or(1));
        print(format!(
            "  CPU of the machine  {had:.1} s until the last was Healthy ({cores} cores), of it"
        ));
        for (name, seconds) in &self.others {
            print(format!("    {seconds:7.2} s  {name}"));
        }
        print(format!("    {:7.2} s  controller", self.controller));
    }
}

fn cpu_of(processes: &[(String, u32)]) -> Result<Vec<(String, f64)>> {
    let read = |(name, pid): &(String, u32)| Ok((name.clone(), process(*pid)?.cpu_seconds));
    processes.iter().map(read).collect()
}

fn difference(before: &[(String, f64)], after: &[(String, f64)]) -> Vec<(String, f64)> {
    let pairs = before.iter().zip(after);
    pairs.map(|((name, before), (_, after))| (name.clone(), after - before)).collect()
}

/// Requests of the controller after `offset` in the audit log, by verb and resource.
fn count_requests(arguments: &BenchArguments, offset: u64) -> Result<BTreeMap<String, u64>> {
    let mut log = std::fs::File::open(&arguments.audit_log)?;
    log.seek(SeekFrom::Start(offset))?;
    let mut counts = BTreeMap::new();
    for line in BufReader::new(log).lines() {
        let Ok(event) = serde_json::from_str::<Value>(&line?) else {
            continue;
        };
        if let Some(request) = request_of(&event, &arguments.user) {
            *counts.entry(request).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

/// `patch rollouts/status` of one audit event of `user`; nothing for others, and for the second event of a watch.
fn request_of(event: &Value, user: &str) -> Option<String> {
    if text(event, "/user/username") != user || text(event, "/stage") == "ResponseStarted" {
        return None;
    }
    let subresource = text(event, "/objectRef/subresource");
    let slash = if subresource.is_empty() { "" } else { "/" };
    let resource = text(event, "/objectRef/resource");
    Some(format!("{} {resource}{slash}{subresource}", text(event, "/verb")))
}

fn print_figures(
    arguments: &BenchArguments,
    healthy: &[f64],
    (before, after): (&Process, &Process),
    requests: &BTreeMap<String, u64>,
) {
    let rollouts = real(u64::try_from(arguments.rollouts).unwrap_or(u64::MAX)).max(1.0);
    let median = healthy.get(healthy.len() / 2).copied().unwrap_or(0.0);
    print(format!("\n{} Rollouts updated at once", arguments.rollouts));
    print(format!(
        "  Healthy after       first {:.1} s, median {median:.1} s, last {:.1} s",
        healthy.first().copied().unwrap_or(0.0),
        longest(healthy)
    ));
    print(format!("  controller CPU      {:.2} s", after.cpu_seconds - before.cpu_seconds));
    print(format!(
        "  controller memory   {:.1} MiB now, {:.1} MiB at most",
        after.rss_mib, after.peak_mib
    ));
    let total: u64 = requests.values().sum();
    print(format!("  API requests        {total}, {:.1} a Rollout", real(total) / rollouts));
    let mut sorted: Vec<(&String, &u64)> = requests.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (request, count) in sorted {
        print(format!("    {:7.2} a Rollout  {count:7}  {request}", real(*count) / rollouts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_others_and_starts_of_watches_are_not_counted() {
        let event = |user: &str, stage: &str| {
            json!({
                "user": {"username": user}, "stage": stage, "verb": "patch",
                "objectRef": {"resource": "rollouts", "subresource": "status"},
            })
        };
        let ours = request_of(&event("sluice", "ResponseComplete"), "sluice");
        assert_eq!(ours.as_deref(), Some("patch rollouts/status"));
        assert_eq!(request_of(&event("other", "ResponseComplete"), "sluice"), None);
        assert_eq!(request_of(&event("sluice", "ResponseStarted"), "sluice"), None);
    }

    #[test]
    fn a_rollout_counts_only_when_its_status_is_of_this_version() {
        let mut value = rollout("app", "v2");
        value["metadata"]["generation"] = json!(2);
        value["status"] = json!({
            "phase": "Healthy", "observedGeneration": "2", "stableRS": "abc", "currentPodHash": "abc",
        });
        assert!(is_healthy(&value, "v2"));
        assert!(!is_healthy(&value, "v1"));
        value["status"]["observedGeneration"] = json!("1");
        assert!(!is_healthy(&value, "v2"));
        value["status"]["observedGeneration"] = json!("2");
        value["status"]["stableRS"] = json!("old");
        assert!(!is_healthy(&value, "v2"));
    }

    #[test]
    fn our_own_process_has_time_and_memory() {
        let own = process(std::process::id()).unwrap();
        assert!(own.rss_mib > 0.1 && own.peak_mib >= own.rss_mib && own.cpu_seconds >= 0.0);
    }
}
