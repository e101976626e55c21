//! Proof of the judge: whether it computes what other programs compute, and how it does in simulated
//! releases beside other methods. Nothing here has a part in judging a release.

pub mod bench;
mod families;
pub mod kayenta;
pub mod vectors;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// `sluice judge`: what proves the statistics of the judge.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Compares the judge with a file of test vectors. Exit code 0 says that all agree.
    CheckVectors {
        /// JSON: `families.NAME.vectors[] = {id, input, output}`.
        file: PathBuf,
    },
    /// Judges 60,000 simulated releases, beside other methods. Takes seconds in a release build. Exit
    /// code 0 says that the published table is reproduced and the gates hold.
    Bench {
        /// As JSON, not as Markdown.
        #[arg(long)]
        json: bool,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file does not hold test vectors.
    #[error("{} holds no test vectors: `families.NAME.vectors[] = {{id, input, output}}` is expected", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The result of the benchmark, or what it is compared with, is not JSON.
    #[error("failed to read or write the benchmark's tables")]
    Bench(#[from] serde_json::Error),
    /// The output cannot be written.
    #[error("failed to write the result")]
    Write(#[from] io::Error),
}

impl Command {
    /// Carries it out; data to `out`. Whether all was as it should be.
    pub fn run(&self, out: &mut impl Write) -> Result<bool, Error> {
        match self {
            Self::CheckVectors { file } => check_vectors(file, out),
            Self::Bench { json } => bench(*json, out),
        }
    }
}

fn check_vectors(file: &Path, out: &mut impl Write) -> Result<bool, Error> {
    let path = || file.to_owned();
    let text =
        std::fs::read_to_string(file).map_err(|source| Error::Read { path: path(), source })?;
    let report = vectors::check(&text).map_err(|source| Error::Form { path: path(), source })?;
    write!(out, "{report}")?;
    Ok(report.is_agreement())
}

fn bench(json: bool, out: &mut impl Write) -> Result<bool, Error> {
    let bench = bench::Bench::run()?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &bench)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", bench.markdown())?;
    }
    Ok(bench.is_kept())
}
