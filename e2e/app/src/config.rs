//! What the environment says about how good or bad this version is. Parsed once at start; a wrong value ends the program.

use std::time::Duration;

/// Behaviour of one pod, from its environment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// `VERSION`, named in every answer. Default `unversioned`.
    pub(crate) version: String,
    /// `POD_NAME`, named in every answer. Default: the host name.
    pub(crate) pod: String,
    /// `PORT` to listen on. Default 8080.
    pub(crate) port: u16,
    /// `ERROR_RATE`: share of requests answered with 500, in 0..=1. Default 0.
    pub(crate) error_rate: f64,
    /// `LATENCY_MS`: time that every answer takes; the median when it is spread. Default 0.
    pub(crate) latency: Duration,
    /// `LATENCY_SIGMA`: standard deviation of the logarithm of the latency (lognormal); 0: none varies. Default 0.
    pub(crate) latency_sigma: f64,
    /// `SLOW_RATE`: share of requests that take `SLOW_MS` longer, in 0..=1. Default 0.
    pub(crate) slow_rate: f64,
    /// `SLOW_MS`: what a slow answer takes on top of the latency. Default 1000.
    pub(crate) slow: Duration,
    /// `STARTUP_DELAY_MS`: for so long the pod is up but not ready. Default 0.
    pub(crate) startup_delay: Duration,
    /// `CRASH_AFTER_MS`: exits with 13 so long after its start. Default: never.
    pub(crate) crash_after: Option<Duration>,
    /// `STORE_SERVICE_HOST` and `STORE_SERVICE_PORT`, which Kubernetes sets where a Service `store` exists: while nobody
    /// listens there, every page is answered with 500, as if a shared database were out of reach. Default: none is needed.
    pub(crate) store: Option<String>,
    /// `DRAIN_MS`: for so long it serves after `SIGTERM`. Default 5000.
    pub(crate) drain: Duration,
}

impl Config {
    /// Reads the process environment; the error names the variable and what would be right.
    pub(crate) fn from_environment() -> Result<Self, String> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let milliseconds =
            |name: &str, default: u64| number(&get, name, default).map(Duration::from_millis);
        Ok(Self {
            version: get("VERSION").unwrap_or_else(|| "unversioned".to_owned()),
            pod: get("POD_NAME")
                .or_else(|| get("HOSTNAME"))
                .unwrap_or_else(|| "unnamed".to_owned()),
            port: number(&get, "PORT", 8080)?,
            error_rate: share(&get, "ERROR_RATE")?,
            latency: milliseconds("LATENCY_MS", 0)?,
            latency_sigma: sigma(&get, "LATENCY_SIGMA")?,
            slow_rate: share(&get, "SLOW_RATE")?,
            slow: milliseconds("SLOW_MS", 1000)?,
            startup_delay: milliseconds("STARTUP_DELAY_MS", 0)?,
            crash_after: match get("CRASH_AFTER_MS") {
                None => None,
                Some(_) => Some(milliseconds("CRASH_AFTER_MS", 0)?),
            },
            store: get("STORE_SERVICE_HOST")
                .zip(get("STORE_SERVICE_PORT"))
                .map(|(host, port)| format!("{host}:{port}")),
            drain: milliseconds("DRAIN_MS", 5000)?,
        })
    }
}

fn number<T: std::str::FromStr>(
    get: &impl Fn(&str) -> Option<String>,
    name: &str,
    default: T,
) -> Result<T, String> {
    match get(name) {
        None => Ok(default),
        Some(text) => {
            text.parse().map_err(|_ignored| format!("{name}={text} is not a whole number in range"))
        }
    }
}

fn share(get: &impl Fn(&str) -> Option<String>, name: &str) -> Result<f64, String> {
    let Some(text) = get(name) else {
        return Ok(0.0);
    };
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err(format!("{name}={text} is not a share between 0 and 1")),
    }
}

fn sigma(get: &impl Fn(&str) -> Option<String>, name: &str) -> Result<f64, String> {
    let Some(text) = get(name) else {
        return Ok(0.0);
    };
    match text.parse::<f64>() {
        Ok(value) if (0.0..=3.0).contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err(format!("{name}={text} is not a number between 0 and 3")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, String> {
        Config::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_environment_is_a_good_fast_version() {
        let config = config(&[]).unwrap();
        assert!(config.error_rate.abs() < f64::EPSILON);
        assert_eq!(config.latency, Duration::ZERO);
        assert_eq!(config.crash_after, None);
        assert_eq!(config.store, None);
    }

    #[test]
    fn a_store_is_needed_where_kubernetes_says_that_there_is_one() {
        let variables = [("STORE_SERVICE_HOST", "10.96.0.7"), ("STORE_SERVICE_PORT", "80")];
        assert_eq!(config(&variables).unwrap().store.as_deref(), Some("10.96.0.7:80"));
    }

    #[test]
    fn a_bad_release_is_one_variable() {
        let bad = config(&[("ERROR_RATE", "0.05")]).unwrap();
        assert!((bad.error_rate - 0.05).abs() < f64::EPSILON);
        assert_eq!(
            config(&[("CRASH_AFTER_MS", "10")]).unwrap().crash_after,
            Some(Duration::from_millis(10))
        );
    }

    #[test]
    fn a_wrong_value_is_refused_by_name() {
        assert_eq!(
            config(&[("ERROR_RATE", "5")]).unwrap_err(),
            "ERROR_RATE=5 is not a share between 0 and 1"
        );
        assert_eq!(
            config(&[("LATENCY_SIGMA", "-1")]).unwrap_err(),
            "LATENCY_SIGMA=-1 is not a number between 0 and 3"
        );
        assert_eq!(
            config(&[("PORT", "70000")]).unwrap_err(),
            "PORT=70000 is not a whole number in range"
        );
    }
}
