//! The controller and its tools. Only parses the command line and calls the library.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use sluice::api::ApiNames;

/// Progressive delivery for Kubernetes.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the controller.
    Controller(Box<sluice::controller::settings::Settings>),
    /// Writes the files that are made from the types: CRDs and roles.
    Generate {
        /// Root of the repository.
        #[arg(long, default_value = ".")]
        root: PathBuf,
    },
    /// Prints the CRDs of an API group.
    Crds {
        /// `sluice.dev`, or `argoproj.io` for a controller that serves Argo Rollouts' objects.
        #[arg(long, default_value = "sluice.dev")]
        api_group: String,
    },
}

fn main() -> anyhow::Result<()> {
    // One TLS provider for the whole process; it is installed once, here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Arguments::parse().command {
        Command::Controller(settings) => {
            let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
            runtime.block_on(sluice::controller::run::run(*settings))?;
        }
        Command::Generate { root } => {
            for file in sluice::generate::files()? {
                let path = root.join(&file.path);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)
                        .with_context(|| format!("failed to make {}", folder.display()))?;
                }
                std::fs::write(&path, &file.content)
                    .with_context(|| format!("failed to write {}", path.display()))?;
            }
        }
        Command::Crds { api_group } => {
            let crds = sluice::generate::crds(ApiNames::for_group(&api_group)?)?;
            std::io::stdout().write_all(crds.as_bytes()).context("failed to write the CRDs")?;
        }
    }
    Ok(())
}
