//! `get rollout` and `get analysisrun`: one object in full, once or kept up to date.

use super::args::GetArgs;
use super::cluster::Cluster;
use super::error::CliError;
use super::exit::Exit;
use super::live;
use super::output::Console;
use super::run_view::{run_lines, run_view};
use super::tree::rollout_lines;
use super::view::rollout_view;
use super::watch::World;
use crate::api::{AnalysisRun, Kind};

/// Runs `get rollout`.
pub(super) async fn rollout(
    cluster: &Cluster,
    console: &mut Console<'_>,
    args: &GetArgs,
) -> Result<Exit, CliError> {
    let (world, rollout) = Box::pin(World::load(cluster, &args.name)).await?;
    if args.watch {
        return live::run(cluster, console, world, &rollout).await;
    }
    if let Some(objects) = world.objects()? {
        let view = rollout_view(cluster.names(), &objects);
        console.data(&view, &rollout_lines(&view, (console.now)()))?;
    }
    Ok(Exit::Done)
}

/// Runs `get analysisrun`.
pub(super) async fn analysis_run(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
) -> Result<Exit, CliError> {
    let run = AnalysisRun::from_dynamic(&cluster.object(Kind::AnalysisRun, name).await?)?;
    let view = run_view(&run);
    console.data(&view, &run_lines(&view, (console.now)()))?;
    Ok(Exit::Done)
}
