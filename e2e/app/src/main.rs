//! The application that the end-to-end tests roll out. A "bad release" is one changed environment variable.
//! Called as `pause` it is the container that holds a pod's namespaces. It never writes to disk and never logs a request.

mod config;
mod metrics;
mod server;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let called_as_pause = std::env::args().any(|argument| argument.ends_with("pause"));
    let result = if called_as_pause { pause().await } else { serve().await };
    match result {
        Ok(code) => code,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Waits for the end of the pod, and does nothing else.
async fn pause() -> std::io::Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Serves until `SIGTERM`, then keeps serving for the drain time, so that nobody who still knows this pod is refused.
async fn serve() -> std::io::Result<ExitCode> {
    let config = Config::from_environment()
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    say(&format!("version {} starts on port {}", config.version, config.port));
    let mut terminated = signal(SignalKind::terminate())?;
    let crash_after = config.crash_after;
    let drain = config.drain;
    let server = server::Server::bind(config).await?;
    tokio::select! {
        () = server.run() => {}
        _ = terminated.recv() => {}
        () = crash(crash_after) => {
            say("crashing, as CRASH_AFTER_MS asked");
            return Ok(ExitCode::from(13));
        }
    }
    say(&format!("terminating: serving for {drain:?} more, not ready any longer"));
    server.drain(drain).await;
    Ok(ExitCode::SUCCESS)
}

async fn crash(after: Option<Duration>) {
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
}

/// One line on stderr; a closed stderr is no reason to stop serving.
fn say(line: &str) {
    let _ignored = writeln!(std::io::stderr(), "{line}");
}
