//! Where the cluster and what stands around it are. `e2e/up` writes these variables; a user's own cluster sets them by hand.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Everything that the environment decides, read once.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `SLUICE_E2E_STATE`: directory for work trees, results and what is kept of failures.
    pub(crate) state: PathBuf,
    /// `SLUICE_E2E_GATEWAY`: `namespace/name` of the Gateway that routes attach to.
    pub(crate) gateway: (String, String),
    /// `SLUICE_E2E_GATEWAY_URL`: where the prober reaches it.
    pub(crate) gateway_url: String,
    /// `SLUICE_E2E_PROMETHEUS_URL`, valid for the driver and for pods alike.
    pub(crate) prometheus_url: String,
    /// The repository that scenarios push to.
    pub(crate) git: GitSettings,
    /// `SLUICE_E2E_SERVICE`: a program called as `PROGRAM stop|start prometheus|nginx` to make outages of Prometheus and
    /// of the Git server; without it the scenarios about outages fail.
    pub(crate) service: Option<PathBuf>,
    /// `SLUICE_E2E_APP_IMAGE`: the test application's image without a tag. Default `sluice-e2e-app`.
    pub(crate) app_image: String,
    /// `SLUICE_E2E_CONTAINERD`: socket of the node's containerd, to kill processes with; unset on a foreign cluster.
    pub(crate) containerd: Option<String>,
    /// `SLUICE_E2E_PLUGIN`: the `kubectl-sluice` program.
    pub(crate) plugin: PathBuf,
    /// `SLUICE_E2E_RATE`: requests a second of the prober. Default 400.
    pub(crate) rate: u32,
    /// `SLUICE_E2E_NAMESPACE`: where the controller runs. Default `sluice-system`.
    pub(crate) controller_namespace: String,
    /// `SLUICE_E2E_QUIET`: seconds during which nothing may happen after a revert. Default 60.
    pub(crate) quiet: Duration,
    /// `SLUICE_E2E_PATIENCE`: factor on every deadline, for slow machines. Default 1.
    pub(crate) patience: f64,
}

/// The Git server.
#[derive(Clone)]
pub(crate) struct GitSettings {
    /// `SLUICE_E2E_GIT_URL`, valid for the driver and for pods alike.
    pub(crate) url: String,
    /// `SLUICE_E2E_GIT_CA`: PEM file of the authority that signed the server's certificate.
    pub(crate) ca: PathBuf,
    /// `SLUICE_E2E_GIT_USER`.
    pub(crate) user: String,
    /// `SLUICE_E2E_GIT_PASSWORD`.
    pub(crate) password: String,
}

impl std::fmt::Debug for GitSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GitSettings").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the environment; the error names the missing variable.
    pub(crate) fn from_environment() -> Result<Self> {
        let gateway = required("SLUICE_E2E_GATEWAY")?;
        let (namespace, name) =
            gateway.split_once('/').context("SLUICE_E2E_GATEWAY must be namespace/name")?;
        Ok(Self {
            state: PathBuf::from(or("SLUICE_E2E_STATE", "/var/lib/sluice-e2e")),
            gateway: (namespace.to_owned(), name.to_owned()),
            gateway_url: required("SLUICE_E2E_GATEWAY_URL")?,
            prometheus_url: required("SLUICE_E2E_PROMETHEUS_URL")?,
            git: GitSettings {
                url: required("SLUICE_E2E_GIT_URL")?,
                ca: PathBuf::from(required("SLUICE_E2E_GIT_CA")?),
                user: required("SLUICE_E2E_GIT_USER")?,
                password: required("SLUICE_E2E_GIT_PASSWORD")?,
            },
            service: std::env::var("SLUICE_E2E_SERVICE").ok().map(PathBuf::from),
            app_image: or("SLUICE_E2E_APP_IMAGE", "sluice-e2e-app"),
            containerd: std::env::var("SLUICE_E2E_CONTAINERD").ok(),
            plugin: PathBuf::from(or("SLUICE_E2E_PLUGIN", "kubectl-sluice")),
            rate: or("SLUICE_E2E_RATE", "400")
                .parse()
                .context("SLUICE_E2E_RATE must be a whole number of requests a second")?,
            controller_namespace: or("SLUICE_E2E_NAMESPACE", "sluice-system"),
            quiet: Duration::from_secs(
                or("SLUICE_E2E_QUIET", "60")
                    .parse()
                    .context("SLUICE_E2E_QUIET must be a whole number of seconds")?,
            ),
            patience: or("SLUICE_E2E_PATIENCE", "1")
                .parse()
                .context("SLUICE_E2E_PATIENCE must be a number")?,
        })
    }

    /// A deadline of `seconds`, stretched by the patience that was asked for.
    pub(crate) fn deadline(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds).mul_f64(self.patience.max(0.1))
    }
}

fn or(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_unset| default.to_owned())
}

fn required(name: &str) -> Result<String> {
    std::env::var(name)
        .with_context(|| format!("{name} is not set; start with e2e/run, which sets it"))
}
