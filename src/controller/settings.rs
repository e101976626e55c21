//! What the controller is told on its command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::telemetry::logs::LogFormat;

/// Options of `sluice controller`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Namespaces to work in; may be given several times. The default is all of them.
    #[arg(
        long = "namespace",
        short = 'n',
        env = "SLUICE_NAMESPACE",
        conflicts_with = "all_namespaces"
    )]
    pub namespaces: Vec<String>,
    /// Works in all namespaces (the default).
    #[arg(long)]
    pub all_namespaces: bool,
    /// Namespace of the Lease, and of the Secrets of ClusterMetricsSources: that of the controller.
    #[arg(long, env = "POD_NAMESPACE", default_value = "sluice-system")]
    pub lease_namespace: String,
    /// API group of the objects: sluice.dev, or argoproj.io for those of Argo Rollouts.
    #[arg(long, default_value = "sluice.dev")]
    pub api_group: String,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub metrics_address: SocketAddr,
    /// How log lines look.
    #[arg(long, default_value = "json", value_parser = ["json", "human"])]
    pub log_format: String,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,sluice=debug`.
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// Lets analyses and Git reach loopback and link-local addresses.
    #[arg(long)]
    pub allow_private_addresses: bool,
    /// Hosts that analyses may reach by an inline address: names, or patterns such as
    /// `*.monitoring.svc`; separated by commas. The default is every host.
    #[arg(long, value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,
    /// Lets AnalysisRuns create Jobs in their namespace.
    #[arg(long)]
    pub enable_job_metrics: bool,
    /// Folder for copies of Git repositories, emptied at the start. Without it Git is never touched.
    #[arg(long)]
    pub git_cache_dir: Option<PathBuf>,
    /// Git hosts that may be reached: names or patterns, separated by commas. The default is every
    /// host.
    #[arg(long, value_delimiter = ',')]
    pub git_allowed_hosts: Vec<String>,
    /// Name of the cluster, for commit messages.
    #[arg(long)]
    pub cluster_name: Option<String>,
    /// Name of this process in the Lease.
    #[arg(long, env = "POD_NAME", default_value = "sluice")]
    pub pod_name: String,
    /// Metric series with names of users that are kept at most, for measured values.
    #[arg(long, default_value_t = 2000)]
    pub max_analysis_value_series: usize,
    /// Metric series with names of users that are kept at most, for weights.
    #[arg(long, default_value_t = 1000)]
    pub max_weight_series: usize,
}

impl Settings {
    /// The format of log lines.
    pub fn log_format(&self) -> LogFormat {
        if self.log_format == "human" { LogFormat::Human } else { LogFormat::Json }
    }
}
