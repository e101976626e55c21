//! The cluster of the demonstration for kubectl.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustls::crypto::ring::default_provider;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::DemoError;
use super::shop::{APP, NAMESPACE};
use crate::revision::hex;
use crate::sim::api::{Caller, HttpServer, Identity};
use crate::sim::world::World;

/// A server that ends when it is dropped.
#[derive(Debug)]
pub(super) struct Serving {
    kubeconfig: PathBuf,
    _stop: DropGuard,
}

impl Serving {
    /// Serves, and writes the kubeconfig into `folder`.
    pub(super) async fn begin(world: &World, port: u16, folder: &Path) -> Result<Self, DemoError> {
        let caller = |context: &str, identity| -> Result<Caller, DemoError> {
            let (context, namespace) = (context.to_owned(), NAMESPACE.to_owned());
            Ok(Caller { context, token: token()?, namespace, identity })
        };
        let controller = Identity::service_account("sluice-system", "sluice-controller");
        let callers = vec![
            caller("demo", Identity::admin("you"))?,
            // For a look at what the controller may do.
            caller("demo-controller", controller)?,
        ];
        let server = HttpServer::bind(world.cluster().clone(), port, callers).await?;
        let path = folder.join("kubeconfig");
        let write = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(server.kubeconfig().as_bytes())
        };
        write().map_err(|source| DemoError::File { path: path.clone(), source })?;
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(stop.clone()));
        Ok(Self { kubeconfig: path, _stop: stop.drop_guard() })
    }

    /// What people can do with it.
    pub(super) fn hints(&self, repository: &Path) -> Vec<String> {
        vec![
            format!("export KUBECONFIG={}", self.kubeconfig.display()),
            format!("kubectl sluice get rollout {APP} --watch"),
            "kubectl get rollouts,analysisruns,replicasets,pods".to_owned(),
            format!("git clone {}    # push to main: the agent applies it", repository.display()),
            "Ctrl-C ends it, and nothing is left behind.".to_owned(),
        ]
    }
}

/// A bearer token that nobody guesses.
fn token() -> Result<String, DemoError> {
    let mut bytes = [0; 16];
    let filled = default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| DemoError::Randomness)?;
    Ok(hex(&bytes))
}
