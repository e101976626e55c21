//! What happens by `--at`: people use the plugin, versions behave otherwise, something fails. People
//! use the real commands of the plugin, on the simulated cluster.

use std::io;

use serde_json::json;

use super::report::What;
use super::stage::{CONTROLLER, Stage};
use super::words::{Happening, Planned, Traits, Verb};
use crate::cli::args::ClusterFlags;
use crate::cli::cluster::{Cluster, Connector};
use crate::cli::error::CliError;
use crate::cli::output::{Console, Terminal};
use crate::cli::{abort, pause, promote, retry, revert, verb};
use crate::sim::api::Identity;
use crate::sim::world::{Named, Order, Patch, Write};

/// Who uses the plugin.
const PERSON: &str = "you";

/// Carries out what is planned, and tells it.
pub(super) async fn carry_out(stage: &mut Stage<'_>, due: &Planned) {
    let tag = stage.script.supplies.images.tags();
    let done = match &due.what {
        Happening::Verb(verb) => return use_plugin(stage, *verb).await,
        Happening::Scale(replicas) => return scale(stage, *replicas),
        Happening::Canary(traits) => {
            behave(stage, traits, false).map(|()| format!("{} is {} now", tag.1, traits.text))
        }
        Happening::Stable(traits) => {
            behave(stage, traits, true).map(|()| format!("{} is {} now", tag.0, traits.text))
        }
        Happening::Rps(per_second) => {
            stage.set_rps(*per_second);
            Ok(format!("{per_second} requests a second from now on"))
        }
        Happening::World(patch) => {
            stage.world.behave(patch.clone()).map(|()| due.text.replace('-', " is "))
        }
        Happening::Restart => {
            stage.world.kill(CONTROLLER);
            stage
                .world
                .start(CONTROLLER)
                .map(|()| "the controller is killed and starts again".to_owned())
        }
    };
    let told = done.unwrap_or_else(|error| format!("{}: {error}", due.text));
    stage.watch.tell(&stage.world, What::World, told);
}

fn behave(
    stage: &Stage<'_>,
    traits: &Traits,
    is_stable: bool,
) -> Result<(), crate::sim::world::Unfit> {
    let images = &stage.script.supplies.images;
    let image = if is_stable { &images.stable } else { &images.canary };
    let behaviour = stage.world.behaviour();
    let new = traits.applied_to(&behaviour.versions.get(image).cloned().unwrap_or_default());
    let mut versions = serde_json::Map::new();
    // Fields that are left out would stay; as null they go.
    let mut value =
        json!({"crashesAfter": null, "readyAfter": null, "startsAfter": null, "flaps": null});
    json_patch::merge(&mut value, &serde_json::to_value(new).unwrap_or_default());
    versions.insert(image.clone(), value);
    stage.world.behave(json!({"versions": versions}))
}

fn scale(stage: &mut Stage<'_>, replicas: u32) {
    let supplies = &stage.script.supplies;
    let patch = Patch {
        object: Named {
            group: stage.script.team.names.group().to_owned(),
            plural: "rollouts".to_owned(),
            namespace: supplies.namespace.clone(),
            name: supplies.name.clone(),
        },
        subresource: "scale".to_owned(),
        patch: json!({"spec": {"replicas": replicas}}),
    };
    let order = Order::Write { who: PERSON.to_owned(), write: Write::Merge(patch) };
    let told = match stage.world.order(order) {
        Ok(()) => format!("{PERSON}: kubectl scale --replicas={replicas}"),
        Err(error) => format!("{PERSON}: kubectl scale --replicas={replicas} is refused: {error}"),
    };
    stage.watch.tell(&stage.world, What::Person, told);
}

/// Uses a command of the plugin, and tells what it said.
pub(super) async fn use_plugin(stage: &mut Stage<'_>, verb: Verb) {
    let (words, said) = (verb.words(), run(stage, verb).await);
    let said = said.unwrap_or_else(|error| format!("error: {}", error.chain()));
    let told = format!("{PERSON}: kubectl sluice {words}: {said}");
    stage.watch.tell(&stage.world, What::Person, told);
}

async fn run(stage: &Stage<'_>, wish: Verb) -> Result<String, CliError> {
    let world = &stage.world;
    let supplies = &stage.script.supplies;
    let flags = ClusterFlags {
        kubeconfig: None,
        context: None,
        cluster: None,
        user: None,
        namespace: Some(supplies.namespace.clone()),
        impersonate: None,
        impersonate_groups: Vec::new(),
        request_timeout: None,
        api_group: stage.script.team.names.group().to_owned(),
    };
    let client = world.cluster().client(Identity::admin(PERSON));
    let cluster = Cluster::connect(&flags, &Connector::Given(client, PERSON.to_owned())).await?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let now = || world.now();
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        stdin: &mut io::empty(),
        terminal: Terminal::default(),
        now: &now,
        format: None,
    };
    let decide = |subject: &verb::Subject| match wish {
        Verb::Abort => Ok(abort::decide(subject)),
        Verb::Promote => promote::decide(subject),
        Verb::PromoteFull => promote::decide_full(subject),
        Verb::Pause => Ok(pause::decide_pause(subject)),
        Verb::Resume => Ok(pause::decide_resume(subject)),
        Verb::Retry => Ok(retry::decide(subject)),
        Verb::Approve => revert::decide(subject),
    };
    verb::carry_out(&cluster, &mut console, &supplies.name, wish.name(), &decide).await?;
    let said = String::from_utf8_lossy(&out).trim().to_owned();
    Ok(said)
}

impl Verb {
    /// As it is typed.
    fn words(self) -> &'static str {
        match self {
            Self::PromoteFull => "promote --full",
            Self::Approve => "revert --approve",
            Self::Abort | Self::Promote | Self::Pause | Self::Resume | Self::Retry => self.name(),
        }
    }

    /// As it stands in `status.lastRequest`.
    fn name(self) -> &'static str {
        match self {
            Self::Abort => abort::VERB,
            Self::Promote => promote::VERB,
            Self::PromoteFull => promote::FULL_VERB,
            Self::Pause => pause::PAUSE,
            Self::Resume => pause::RESUME,
            Self::Retry => retry::VERB,
            Self::Approve => revert::VERB,
        }
    }
}
