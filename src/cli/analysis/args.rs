//! The command line of `analysis`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done with a template before, or without, a release.
#[derive(Debug, Subcommand)]
pub enum AnalysisCommand {
    /// Judge written or recorded series by a template, and compare the verdicts with the expected
    /// ones; for CI. Exit code 4: a verdict differs
    Test(TestArgs),
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
}
