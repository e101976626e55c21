//! `get`: one Rollout or AnalysisRun in full, once or kept up to date.

use super::args::{Get, GetArgs};
use super::cluster::Cluster;
use super::error::CliError;
use super::exit::Exit;
use super::live::{self, Scene};
use super::names;
use super::output::Console;
use super::run_view::{run_lines, run_view};
use super::text::Line;
use super::tree::rollout_lines;
use super::view::{RolloutView, rollout_view};
use super::watch::{News, World, all_news};
use crate::api::{AnalysisRun, ApiNames, Kind};

/// Runs the command.
pub(super) async fn run(
    cluster: &Cluster,
    console: &mut Console<'_>,
    args: &GetArgs,
) -> Result<Exit, CliError> {
    let (kind, name, is_watched) = match (&args.what, &args.name) {
        (Some(Get::Rollout { name, watch }), _) => {
            (Kind::Rollout, names::only(Kind::Rollout, std::slice::from_ref(name))?, watch.watch)
        }
        (Some(Get::Analysisrun { name }), _) => {
            let name = names::only(Kind::AnalysisRun, std::slice::from_ref(name))?;
            (Kind::AnalysisRun, name, false)
        }
        (None, name) => {
            let (kind, name) = names::object(name.as_deref().unwrap_or_default())?;
            (kind, name, args.watch.watch)
        }
    };
    if kind == Kind::Rollout {
        return rollout(cluster, console, &name, is_watched).await;
    }
    if is_watched {
        return Err(CliError::usage(
            "an AnalysisRun cannot be watched",
            "its Rollout can: kubectl sluice get rollout NAME --watch",
        ));
    }
    analysis_run(cluster, console, &name).await
}

async fn rollout(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
    is_watched: bool,
) -> Result<Exit, CliError> {
    let (world, rollout) = Box::pin(World::load(cluster, name)).await?;
    let scene = RolloutScene { names: cluster.names(), world };
    if is_watched {
        return live::run(console, scene, all_news(cluster, &rollout)).await;
    }
    if let Some(view) = scene.view()? {
        console.data(&view, &rollout_lines(&view, (console.now)()))?;
    }
    Ok(Exit::Done)
}

/// A Rollout with everything that belongs to it.
struct RolloutScene {
    names: ApiNames,
    world: World,
}

impl Scene for RolloutScene {
    type View = RolloutView;

    fn take(&mut self, news: News) {
        self.world.take(news);
    }

    fn lost(&self) -> Option<&str> {
        self.world.lost.as_deref()
    }

    fn view(&self) -> Result<Option<RolloutView>, CliError> {
        Ok(self.world.objects()?.map(|objects| rollout_view(self.names, &objects)))
    }

    fn lines(&self, view: &RolloutView, now: chrono::DateTime<chrono::Utc>) -> Vec<Line> {
        rollout_lines(view, now)
    }
}

async fn analysis_run(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
) -> Result<Exit, CliError> {
    let run = AnalysisRun::from_dynamic(&cluster.object(Kind::AnalysisRun, name).await?)?;
    let view = run_view(&run);
    console.data(&view, &run_lines(&view, (console.now)()))?;
    Ok(Exit::Done)
}
