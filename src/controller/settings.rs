//! What the controller is told on its command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::plan::facts::RevertLimits;
use crate::telemetry::logs::LogFormat;

/// Options of `sluice controller`.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Namespaces to work in; may be given several times. The default is all of them.
    #[arg(
        long = "namespace",
        short = 'n',
        env = "SLUICE_NAMESPACE",
        value_name = "NAMESPACE",
        conflicts_with = "all_namespaces"
    )]
    pub namespaces: Vec<String>,
    /// Works in all namespaces (the default).
    #[arg(long)]
    pub all_namespaces: bool,
    /// Namespace of the Lease, and of the Secrets of ClusterMetricsSources: that of the controller.
    #[arg(long, env = "POD_NAMESPACE", default_value = "sluice-system", value_name = "NAMESPACE")]
    pub lease_namespace: String,
    /// API group of the objects: sluice.dev, or argoproj.io for those of Argo Rollouts.
    #[arg(long, default_value = "sluice.dev", value_name = "GROUP")]
    pub api_group: String,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS:PORT")]
    pub metrics_address: SocketAddr,
    /// How log lines look.
    #[arg(long, default_value = "json", value_parser = ["json", "human"], value_name = "FORMAT")]
    pub log_format: String,
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,sluice=debug`.
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
    /// Lets analyses reach private and loopback addresses, and Git loopback ones. Link-local
    /// addresses, with the clouds' metadata services, and the API server are never reached.
    #[arg(long)]
    pub allow_private_addresses: bool,
    /// Hosts that templates may name by themselves, separated by commas: names, or patterns such as
    /// `*.monitoring.svc` or `prometheus.monitoring:9090`. The default is none: templates name a
    /// MetricsSource.
    #[arg(long, value_delimiter = ',', value_name = "HOST,...")]
    pub allowed_hosts: Vec<String>,
    /// Lets AnalysisRuns create Jobs in their namespace.
    #[arg(long)]
    pub enable_job_metrics: bool,
    /// Folder for copies of Git repositories. Without it Git is never touched.
    #[arg(long, value_name = "FOLDER")]
    pub git_cache_dir: Option<PathBuf>,
    /// Git hosts that may be reached, separated by commas: names, or patterns such as `*.example.com`.
    /// The default is every host.
    #[arg(long, value_delimiter = ',', value_name = "HOST,...")]
    pub git_allowed_hosts: Vec<String>,
    /// Namespace of Argo CD, where a Rollout's mark names an Application without a namespace.
    #[arg(long, default_value = "argocd", value_name = "NAMESPACE")]
    pub argocd_namespace: String,
    /// Asks Argo CD and Flux to look at Git when a revert is pushed or merged, by one annotation on the
    /// objects that apply the Rollout. Needs the right to patch them.
    #[arg(long)]
    pub git_refresh: bool,
    /// How many Rollouts may have a failed analysis within 10 minutes before Git reverts wait for a
    /// person; 0: any number.
    #[arg(long, default_value_t = RevertLimits::default().failures, value_name = "NUMBER")]
    pub git_max_failures: u32,
    /// Most commits and pull requests in one repository in 24 hours; 0: any number.
    #[arg(long, default_value_t = RevertLimits::default().per_repository, value_name = "NUMBER")]
    pub git_max_per_repository: u32,
    /// Name of the cluster, for commit messages.
    #[arg(long, value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Name of this process in the Lease.
    #[arg(long, env = "POD_NAME", default_value = "sluice", value_name = "NAME")]
    pub pod_name: String,
    /// Most series of the metric sluice_analysis_value; 0 switches it off.
    #[arg(long, default_value_t = 2000, value_name = "NUMBER")]
    pub max_analysis_value_series: usize,
    /// Most series of each of the metrics sluice_desired_weight_ratio and
    /// sluice_actual_weight_ratio; 0 switches them off.
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    pub max_weight_series: usize,
}

impl Settings {
    /// The format of log lines.
    pub fn log_format(&self) -> LogFormat {
        if self.log_format == "human" { LogFormat::Human } else { LogFormat::Json }
    }
}
