//! The command line of `analysis`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done with a template before, or without, a release.
#[derive(Debug, Subcommand)]
pub enum AnalysisCommand {
    /// Judge written or recorded series by a template, and compare the verdicts with the expected
    /// ones; for CI. Exit code 4: a verdict differs
    Test(TestArgs),
    /// Say what a template can find at each step with the traffic that is there, and how soon
    Plan(PlanArgs),
    /// Play releases that were none over the past of a Prometheus, each stable pod in turn as the
    /// canary, and count the false verdicts. Exit code 1: more than the budget
    Backtest(BacktestArgs),
    /// Judge two versions that run now by a template, once, with a plot. Exit codes: 0 PASS, 1 FAIL,
    /// 3 undecided
    Run(RunArgs),
}

/// Which template, and what it needs.
#[derive(Debug, Args)]
pub struct TemplateArgs {
    /// File or folder with the template and those that it refers to; `-` for stdin; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// Name of the template, where the files declare several
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// Value of an argument of the template; may be repeated
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    pub args: Vec<String>,
}

/// `analysis test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The template.
    #[command(flatten)]
    pub template: TemplateArgs,
    /// File with series and expected verdicts; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    pub series: Vec<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub case: Option<String>,
    /// Plot the evidence below each case
    #[arg(long)]
    pub plot: bool,
    /// Write the plots of all cases into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// `analysis plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The template.
    #[command(flatten)]
    pub template: TemplateArgs,
    /// Requests per second of both versions together
    #[arg(long, value_name = "NUMBER")]
    pub rps: f64,
    /// Share of bad requests of stable, as 0.001
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    pub bad: f64,
    /// Weight in percent and length of each step; default: the steps of the Rollout in the files, else
    /// 5:10m,25:10m,50:10m
    #[arg(long, value_name = "WEIGHT:DURATION,...")]
    pub steps: Option<String>,
    /// How long a pause of the Rollout is taken to last that has no duration, but waits for a person
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub pause: String,
    /// How far evidence is discounted because errors come in bursts (1: not); `backtest` and the
    /// notes of AnalysisRuns tell it
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub dispersion: f64,
}

/// A Prometheus, and how it knows us.
#[derive(Debug, Args)]
pub struct PrometheusArgs {
    /// Base URL of the Prometheus
    #[arg(long, value_name = "URL")]
    pub prometheus: String,
    /// File with a bearer token for it
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the certificate authorities of its certificate; default those of the system
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// `analysis backtest`.
#[derive(Debug, Args)]
pub struct BacktestArgs {
    /// The template.
    #[command(flatten)]
    pub template: TemplateArgs,
    /// The server.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// Name of the stable ReplicaSet; with arms by label, the value of the label
    #[arg(long, value_name = "NAME")]
    pub stable: String,
    /// How far back releases are played
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub range: String,
    /// Until when; default now
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// How long a release lasts
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub length: String,
    /// Most pods that play the canary
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub pods: usize,
}

/// `analysis run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The template.
    #[command(flatten)]
    pub template: TemplateArgs,
    /// The server.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// Name of the new ReplicaSet
    #[arg(long, value_name = "NAME")]
    pub canary: Option<String>,
    /// Name of the stable ReplicaSet
    #[arg(long, value_name = "NAME")]
    pub stable: Option<String>,
    /// How long it is looked at, unless it fails before
    #[arg(long = "for", value_name = "DURATION", default_value = "30m")]
    pub length: String,
    /// Write the plots into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}
