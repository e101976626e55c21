//! Log output: one line an event on standard error, as JSON or for people.
//!
//! Never lets kube's client module speak, at any level: on an answer that it cannot decode it logs
//! the whole body, which may be a Secret.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Modules that are silenced whatever the user asks for.
const SILENCED: &[&str] = &["kube_client::client=off"];
/// What is shown of other crates by default.
const QUIET: &str = "warn,sluice=";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Human,
}

impl FromStr for LogFormat {
    type Err = LogError;
    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "json" => Ok(Self::Json),
            "human" => Ok(Self::Human),
            other => Err(LogError::Format(other.to_owned())),
        }
    }
}

/// What to log and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Look of the lines.
    pub format: LogFormat,
    /// A level (`info`), or directives of `tracing_subscriber` (`warn,sluice::plan=debug`).
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".to_owned() }
    }
}

/// Logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Unknown format.
    #[error("unknown log format {0:?}: use \"json\" or \"human\"")]
    Format(String),
    /// Unreadable level.
    #[error("invalid log level {0:?}: use error, warn, info, debug, trace or \"module=level,...\"")]
    Level(String),
    /// Something logs already.
    #[error("logging has been started before")]
    AlreadyStarted,
}

/// Starts logging to standard error for the whole process.
///
/// # Errors
/// An unreadable level, or a second start.
pub fn start(config: &LogConfig) -> Result<(), LogError> {
    let colours = io::stderr().is_terminal();
    subscriber(config, io::stderr, colours)?.try_init().map_err(|_| LogError::AlreadyStarted)
}

/// A subscriber that writes as configured to `writer`.
///
/// # Errors
/// [`LogError::Level`].
pub fn subscriber<W>(
    config: &LogConfig,
    writer: W,
    colours: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    let base = tracing_subscriber::registry().with(filter(&config.level)?);
    Ok(match config.format {
        LogFormat::Json => Box::new(
            base.with(lines.json().flatten_event(true).with_span_list(false).with_target(true)),
        ),
        LogFormat::Human => Box::new(base.with(lines.with_target(false))),
    })
}

/// The filter for a level or directives.
fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let invalid = || LogError::Level(level.to_owned());
    let plain = level.parse::<tracing::level_filters::LevelFilter>();
    let directives = match plain {
        Ok(level) => format!("{QUIET}{level}"),
        Err(_) => level.to_owned(),
    };
    if directives.trim().is_empty() {
        return Err(invalid());
    }
    let mut filter = EnvFilter::builder().parse(&directives).map_err(|_| invalid())?;
    for directive in SILENCED {
        filter = filter.add_directive(directive.parse().map_err(|_| invalid())?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let config = LogConfig { format, level: level.to_owned() };
        let subscriber = subscriber(&config, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_carry_time_level_fields_and_the_span() {
        let text = logged(LogFormat::Json, "info", || {
            let span = tracing::info_span!("rollout", namespace = "shop", name = "web");
            let _guard = span.enter();
            tracing::info!(weight.desired = 25, "weight set");
            tracing::debug!("not shown");
        });
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["weight.desired"], 25);
        assert_eq!(lines[0]["message"], "weight set");
        assert_eq!(lines[0]["span"]["namespace"], "shop");
        let time = lines[0]["timestamp"].as_str().unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
    }

    #[test]
    fn other_crates_are_quiet_by_default_and_the_kube_client_always() {
        let speak = || {
            tracing::warn!(target: "kube_client::client", "{{\"kind\":\"Secret\"}}");
            tracing::error!(target: "kube_client::client::builder", "failed");
            tracing::info!(target: "hyper", "connected");
            tracing::warn!(target: "hyper", "odd");
        };
        assert_eq!(logged(LogFormat::Human, "debug", speak).lines().count(), 1);
        let loud = logged(LogFormat::Human, "trace,kube_client::client=trace", speak);
        assert!(!loud.contains("Secret") && loud.contains("connected"), "{loud}");
    }

    #[test]
    fn escape_sequences_from_outside_do_not_reach_a_terminal() {
        let text = logged(LogFormat::Human, "info", || tracing::info!("a\u{1b}[2Jb"));
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn a_bad_level_or_format_is_refused_by_name() {
        let error = filter("sluice=loud").unwrap_err().to_string();
        assert!(error.starts_with("invalid log level \"sluice=loud\""), "{error}");
        assert!(filter("  ").is_err());
        assert!("xml".parse::<LogFormat>().is_err());
    }
}
