//! The command line of the plugin: what can be asked, and nothing about how it is done.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::analysis::args::AnalysisCommand;
use super::simulate::args::SimulateArgs;
use crate::api::names::SLUICE_GROUP;

/// Progressive delivery for Kubernetes, from the command line.
///
/// Exit codes: 0 done or healthy; 1 error, unhealthy, or problems found; 2 wrong usage or no
/// connection; 3 it waits for a person; 4 a simulation or a test came to another end than
/// expected.
#[derive(Debug, Parser)]
#[command(name = "kubectl-sluice", bin_name = "kubectl sluice", version, max_term_width = 100)]
pub struct Cli {
    /// Where the cluster is and how to print.
    #[command(flatten)]
    pub global: GlobalFlags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub struct GlobalFlags {
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// Print data as JSON or YAML, in a stable shape, instead of text for people; or as a picture
    /// (svg, html: only simulate)
    #[arg(short = 'o', long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Output>,
    /// No colours; also when NO_COLOR is set or the output is no terminal
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// Where the cluster is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterFlags {
    /// Path of the kubeconfig; default $KUBECONFIG, then ~/.kube/config
    #[arg(long, global = true, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Namespace; default that of the context
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// User to act as
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,
    /// Group to act as; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub impersonate_groups: Vec<String>,
    /// Longest time for one request, such as 10s; default 30s, 0 for a day
    #[arg(long, global = true, value_name = "DURATION")]
    pub request_timeout: Option<String>,
    /// API group of the objects: sluice.dev or argoproj.io
    #[arg(long, global = true, default_value = SLUICE_GROUP, value_name = "GROUP")]
    pub api_group: String,
}

/// What `-o` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// A picture.
    Svg,
    /// A page with a picture.
    Html,
}

impl Output {
    /// How data is printed; none for pictures.
    pub fn data(self) -> Option<OutputFormat> {
        match self {
            Self::Json => Some(OutputFormat::Json),
            Self::Yaml => Some(OutputFormat::Yaml),
            Self::Svg | Self::Html => None,
        }
    }
}

/// How data is printed for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What is done here in place of a command of Argo Rollouts' plugin that there is not.
pub(super) fn instead_of(error: &clap::Error) -> Option<&'static str> {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    match word.as_str() {
        "create" => Some("create objects with kubectl: kubectl create -f FILE"),
        "dashboard" => Some(
            "there is no dashboard yet; follow one Rollout with get NAME --watch, all with list --watch",
        ),
        "notifications" => Some("there are no notifications; alerts and Events tell what happens"),
        "experiment" | "experiments" => Some("Experiments are not supported yet"),
        _ => None,
    }
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show one Rollout or AnalysisRun in full
    Get(GetArgs),
    /// Show all Rollouts in a table
    List(ListArgs),
    /// Wait until a Rollout is healthy, and say so by the exit code
    Status(StatusArgs),
    /// Say why a Rollout waits and what ends the wait
    Explain(RolloutArg),
    /// Let a paused Rollout go on, or skip its current step
    Promote(PromoteArgs),
    /// Give an update up: all traffic goes back to the stable version
    Abort(AbortArgs),
    /// Try an aborted update again, from its first step
    Retry(RetryArgs),
    /// Let a version that failed, and was declared again, be released
    ReleaseHold(RolloutArgs),
    /// Halt progress until `resume` (sets spec.paused)
    Pause(RolloutArgs),
    /// Take `pause` back (clears spec.paused)
    Resume(RolloutArgs),
    /// Put the pod template of an earlier revision back
    Undo(UndoArgs),
    /// Replace all pods, a few at a time
    Restart(RestartArgs),
    /// Change a field
    #[command(subcommand)]
    Set(Set),
    /// Show or approve the Git revert of a failed update
    Revert(RevertArgs),
    /// Show what was released, judged, aborted and reverted, with the commits
    History(RolloutArg),
    /// End something early
    #[command(subcommand)]
    Terminate(Terminate),
    /// Check manifests without a cluster: all problems at once, with their lines
    Lint(LintArgs),
    /// Try analysis templates: over series, or over a Prometheus
    #[command(subcommand)]
    Analysis(AnalysisCommand),
    /// Run manifests in a cluster in memory, in virtual time, and show what happens
    Simulate(Box<SimulateArgs>),
    /// Print the version of this plugin
    Version,
    /// Print a script that completes commands in a shell
    Completion {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// The one Rollout of a command.
#[derive(Debug, Args)]
pub struct RolloutArg {
    /// Name of the Rollout; `rollout NAME` and `rollout/NAME` say the same
    #[arg(value_name = "NAME")]
    pub word: String,
    /// The name, where the word before it was one for the kind
    #[arg(hide = true)]
    pub after: Option<String>,
}

/// The Rollouts of a command.
#[derive(Debug, Args)]
pub struct RolloutArgs {
    /// Names of the Rollouts; `rollout NAME` and `rollout/NAME` say the same
    #[arg(required = true, value_name = "NAME")]
    pub words: Vec<String>,
}

/// The AnalysisRuns of a command.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Names of the AnalysisRuns; `analysisrun/NAME` says the same
    #[arg(required = true, value_name = "NAME")]
    pub words: Vec<String>,
}

/// `get`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct GetArgs {
    /// What is shown.
    #[command(subcommand)]
    pub what: Option<Get>,
    /// Name of a Rollout, or KIND/NAME
    #[arg(required = true)]
    pub name: Option<String>,
    /// How long it is shown.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// What can be shown.
#[derive(Debug, Subcommand)]
pub enum Get {
    /// A Rollout with its revisions, pods and analyses
    #[command(visible_aliases = ["rollouts", "ro"])]
    Rollout {
        /// Name of the Rollout
        name: String,
        /// How long it is shown.
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// An AnalysisRun with its metrics and measurements
    #[command(visible_aliases = ["analysisruns", "ar"])]
    Analysisrun {
        /// Name of the AnalysisRun
        name: String,
    },
}

/// Whether a view is kept up to date.
#[derive(Clone, Copy, Debug, Args)]
pub struct WatchArgs {
    /// Keep the view up to date; `q` ends it
    #[arg(short, long)]
    pub watch: bool,
}

/// `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// What is listed
    #[arg(value_enum, default_value_t = Listed::Rollouts)]
    pub what: Listed,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// How long it is shown.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// Rollouts
    #[value(aliases = ["rollout", "ro"])]
    Rollouts,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which one.
    #[command(flatten)]
    pub rollout: RolloutArg,
    /// Wait until it is healthy, degraded, or waits for a person; `--watch=false` looks once
    #[arg(
        short,
        long,
        value_name = "BOOL",
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub watch: bool,
    /// Longest time to wait, such as 5m; default no limit
    #[arg(short, long, value_name = "DURATION")]
    pub timeout: Option<String>,
}

/// `promote`.
#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// Which ones.
    #[command(flatten)]
    pub rollouts: RolloutArgs,
    /// Skip all remaining steps, pauses and analyses
    #[arg(long)]
    pub full: bool,
    /// Then wait as `status` does
    #[arg(long)]
    pub wait: bool,
    /// Longest time to wait, such as 5m
    #[arg(long, requires = "wait", value_name = "DURATION")]
    pub timeout: Option<String>,
}

/// `abort`.
#[derive(Debug, Args)]
pub struct AbortArgs {
    /// Which ones.
    #[command(flatten)]
    pub rollouts: RolloutArgs,
    /// Take the version back in Git, too, as if its analysis had failed; also of an update that was
    /// aborted before
    #[arg(long)]
    pub revert_git: bool,
}

/// `retry`.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// Which ones.
    #[command(flatten)]
    pub rollouts: RolloutArgs,
    /// Then wait as `status` does
    #[arg(long)]
    pub wait: bool,
    /// Longest time to wait, such as 5m
    #[arg(long, requires = "wait", value_name = "DURATION")]
    pub timeout: Option<String>,
}

/// `undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// Which one.
    #[command(flatten)]
    pub rollout: RolloutArg,
    /// Number of the revision; default the stable one during an update, else the one before
    #[arg(long, value_name = "N")]
    pub to_revision: Option<u64>,
}

/// `restart`.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Which ones.
    #[command(flatten)]
    pub rollouts: RolloutArgs,
    /// When: in this time, such as 10m; default now
    #[arg(short = 'i', long = "in", value_name = "DURATION")]
    pub delay: Option<String>,
}

/// What can be set.
#[derive(Debug, Subcommand)]
pub enum Set {
    /// The image of one or more containers
    Image {
        /// Name of the Rollout (`rollout NAME` and `rollout/NAME` say the same), and then
        /// CONTAINER=IMAGE for each container; `*` means all containers
        #[arg(required = true, value_name = "NAME CONTAINER=IMAGE")]
        words: Vec<String>,
    },
}

/// `revert`.
#[derive(Debug, Args)]
pub struct RevertArgs {
    /// Which one.
    #[command(flatten)]
    pub rollout: RolloutArg,
    /// Print only the patch, for `git apply`
    #[arg(long)]
    pub print_patch: bool,
    /// Let the revert that waits for a person be written
    #[arg(long, conflicts_with = "print_patch")]
    pub approve: bool,
    /// The same, and do not wait for the settle time either; everything else is checked as usual
    #[arg(long, conflicts_with_all = ["print_patch", "approve"])]
    pub now: bool,
}

/// What can be ended.
#[derive(Debug, Subcommand)]
pub enum Terminate {
    /// An AnalysisRun; a run that is ended so opens no gate
    #[command(visible_aliases = ["ar"])]
    Analysisrun(RunArgs),
}

/// `lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// File, folder (searched for .yaml, .yml and .json), or `-` for stdin; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// More files
    #[arg(value_name = "PATH")]
    pub more: Vec<PathBuf>,
    /// References to objects that are not in the files are no problem
    #[arg(long)]
    pub allow_missing: bool,
}
