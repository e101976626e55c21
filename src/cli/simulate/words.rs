//! The words of `--canary`, `--stable`, `--at` and `--metric`, read and checked before anything runs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::sim::world::{Span, VersionBehaviour};

/// How a version behaves, as words that change a [`VersionBehaviour`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Traits {
    words: Vec<Trait>,
    /// As they were given.
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Trait {
    Healthy,
    ErrorRate(f64),
    /// Share of the answers below a time in milliseconds, as the quantile of the normal
    /// distribution, and the time.
    Quantile(f64, f64),
    CrashAfter(Span),
    NeverReady,
    ImageMissing,
    ReadyAfter(Span),
    GoodFor(Span),
}

const KEYS: &str = "error-rate=2%, p50=, p90=, p95= and p99=900ms (at most two of these), crash, \
                    crash-after=30s, never-ready, image-missing, ready-after=30s, good-for=3m, healthy";
/// Quantiles of the standard normal distribution.
const QUANTILES: [(&str, f64); 4] = [
    ("p50", 0.0),
    ("p90", 1.281_551_565_545),
    ("p95", 1.644_853_626_951),
    ("p99", 2.326_347_874_041),
];
/// From the start of a container to its crash.
const AT_ONCE: Span = Span::secs(1);

impl Traits {
    /// Reads words such as `error-rate=2%`; `flag` is named in errors.
    pub(super) fn parse(flag: &str, words: &[String]) -> Result<Self, CliError> {
        let mut traits = Self { words: Vec::new(), text: words.join(",") };
        for word in words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
            traits.words.push(one_trait(flag, key, value)?);
        }
        traits.check(flag)?;
        Ok(traits)
    }

    fn quantiles(&self) -> Vec<(f64, f64)> {
        let quantile = |word: &Trait| match word {
            Trait::Quantile(z, ms) => Some((*z, *ms)),
            _ => None,
        };
        let mut found: Vec<(f64, f64)> = self.words.iter().filter_map(quantile).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found
    }

    fn check(&self, flag: &str) -> Result<(), CliError> {
        let quantiles = self.quantiles();
        if quantiles.len() > 2 {
            return Err(CliError::usage(
                format!("{flag} gives {} quantiles of the latency", quantiles.len()),
                "give one or two of p50, p90, p95 and p99: they determine the others",
            ));
        }
        if let [(low, fast), (high, slow)] = quantiles.as_slice()
            && (low >= high || fast > slow)
        {
            return Err(CliError::usage(
                format!("{flag}: no latency has {fast} ms and {slow} ms as these quantiles"),
                "a higher quantile has the longer time, as in p50=40ms,p99=900ms",
            ));
        }
        Ok(())
    }

    /// The behaviour with these words.
    pub(super) fn applied_to(&self, behaviour: &VersionBehaviour) -> VersionBehaviour {
        let mut new = behaviour.clone();
        for word in &self.words {
            match word {
                Trait::Healthy => new = VersionBehaviour::default(),
                Trait::ErrorRate(rate) => new.error_rate = *rate,
                Trait::CrashAfter(after) => new.crashes_after = Some(*after),
                Trait::NeverReady => new.is_never_ready = true,
                Trait::ImageMissing => new.image_is_missing = true,
                Trait::ReadyAfter(after) => new.ready_after = Some(*after),
                Trait::GoodFor(span) => new.good_for = *span,
                Trait::Quantile(..) => {}
            }
        }
        // A log-normal distribution: its logarithm is normal, so quantiles lie on a line.
        match self.quantiles().as_slice() {
            [(z, ms)] => new.latency_ms = ms * (-z * new.latency_spread).exp(),
            [(low, fast), (high, slow)] => {
                new.latency_spread = (slow.ln() - fast.ln()) / (high - low);
                new.latency_ms = fast * (-low * new.latency_spread).exp();
            }
            _ => {}
        }
        new
    }
}

fn one_trait(flag: &str, key: &str, value: Option<&str>) -> Result<Trait, CliError> {
    let needs = |example: &str| {
        CliError::usage(
            format!("{flag}: {key} needs a value, not {:?}", value.unwrap_or_default()),
            format!("write for example {key}={example}"),
        )
    };
    let span = |example: &str| -> Result<Span, CliError> {
        value.and_then(|value| value.parse().ok()).ok_or_else(|| needs(example))
    };
    if let Some((_, z)) = QUANTILES.iter().find(|(name, _)| *name == key) {
        let ms = span("900ms")?.most().as_secs_f64() * 1000.0;
        return if ms > 0.0 { Ok(Trait::Quantile(*z, ms)) } else { Err(needs("900ms")) };
    }
    let word = match key {
        "error-rate" => Trait::ErrorRate(value.and_then(share).ok_or_else(|| needs("2%"))?),
        "crash-after" => Trait::CrashAfter(span("30s")?),
        "ready-after" => Trait::ReadyAfter(span("30s")?),
        "good-for" => Trait::GoodFor(span("3m")?),
        "crash" => Trait::CrashAfter(AT_ONCE),
        "never-ready" => Trait::NeverReady,
        "image-missing" => Trait::ImageMissing,
        "healthy" => Trait::Healthy,
        _ => {
            return Err(CliError::usage(
                format!("{flag}: {key:?} is no behaviour that is modelled"),
                format!("there are {KEYS}"),
            ));
        }
    };
    let takes_value = matches!(key, "error-rate" | "crash-after" | "ready-after" | "good-for");
    if value.is_some() && !takes_value {
        return Err(CliError::usage(
            format!("{flag}: {key} takes no value"),
            format!("write {key}"),
        ));
    }
    Ok(word)
}

/// A share: `2%` or `0.02`.
fn share(text: &str) -> Option<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse::<f64>().ok()?,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

/// Something that happens at a time after the change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    /// When.
    pub(super) after: Duration,
    /// What.
    pub(super) what: Happening,
    /// As it was given, without the time.
    pub(super) text: String,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Happening {
    /// The new version behaves otherwise.
    Canary(Traits),
    /// The old version behaves otherwise.
    Stable(Traits),
    /// A person uses the plugin.
    Verb(Verb),
    /// A person sets `spec.replicas`.
    Scale(u32),
    /// Requests per second.
    Rps(f64),
    /// Something around the Rollout behaves otherwise: a patch of the world's behaviour.
    World(Value),
    /// The process of the controller dies and starts again.
    Restart,
}

/// A command of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Abort,
    Promote,
    PromoteFull,
    Pause,
    Resume,
    Retry,
    Approve,
}

const HAPPENINGS: &str = "a behaviour (crash, error-rate:5%, p99:2s, stable.crash, healthy, ...), abort, \
                          promote, promote-full, pause, resume, retry, approve, scale:10, rps:500, \
                          prometheus-down, prometheus-up, git-down, git-up, gateway-down, gateway-up, \
                          controller-restart";

impl Planned {
    /// Reads `5m=crash`.
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        let wrong = |why: String| CliError::usage(why, "write for example --at 5m=crash");
        let (after, word) = text
            .split_once('=')
            .ok_or_else(|| wrong(format!("--at {text:?} has no `=` after its time")))?;
        let after = duration(after)
            .ok_or_else(|| wrong(format!("--at {text:?}: {after:?} is no time such as 5m")))?;
        let what = happening(text, word.trim())?;
        Ok(Self { after, what, text: word.trim().to_owned() })
    }
}

/// A time such as `5m`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    (span.least() == span.most()).then(|| span.most())
}

fn happening(text: &str, word: &str) -> Result<Happening, CliError> {
    let (key, value) = match word.split_once([':', '=']) {
        Some((key, value)) => (key, Some(value)),
        None => (word, None),
    };
    let number = |example: &str| -> Result<f64, CliError> {
        let number = value.and_then(|value| value.parse::<f64>().ok());
        number.filter(|number| number.is_finite() && *number >= 0.0).ok_or_else(|| {
            CliError::usage(
                format!("--at {text:?}: {key} needs a number"),
                format!("write {key}:{example}"),
            )
        })
    };
    let verb = match key {
        "abort" => Some(Verb::Abort),
        "promote" => Some(Verb::Promote),
        "promote-full" => Some(Verb::PromoteFull),
        "pause" => Some(Verb::Pause),
        "resume" => Some(Verb::Resume),
        "retry" => Some(Verb::Retry),
        "approve" => Some(Verb::Approve),
        _ => None,
    };
    let patch = match key {
        "prometheus-down" => Some(json!({"prometheus": {"answer": "down"}})),
        "prometheus-up" => Some(json!({"prometheus": {"answer": "true"}})),
        "git-down" => Some(json!({"git": {"answer": "unreachable"}})),
        "git-up" => Some(json!({"git": {"answer": "works"}})),
        "gateway-down" => Some(json!({"gateway": {"answer": "isSilent", "programs": false}})),
        "gateway-up" => Some(json!({"gateway": {"answer": "accepts", "programs": true}})),
        _ => None,
    };
    if (verb.is_some() || patch.is_some() || key == "controller-restart") && value.is_some() {
        return Err(CliError::usage(
            format!("--at {text:?}: {key} takes no value"),
            format!("write {key}"),
        ));
    }
    if let Some(verb) = verb {
        return Ok(Happening::Verb(verb));
    }
    if let Some(patch) = patch {
        return Ok(Happening::World(patch));
    }
    match key {
        "controller-restart" => return Ok(Happening::Restart),
        "rps" => return number("500").map(Happening::Rps),
        "scale" => {
            let replicas = value.and_then(|value| value.parse::<u32>().ok());
            let wrong = || {
                let why = format!("--at {text:?}: scale needs a number of pods");
                CliError::usage(why, "write scale:10")
            };
            return replicas.map(Happening::Scale).ok_or_else(wrong);
        }
        _ => {}
    }
    let (is_stable, name) = match key.strip_prefix("stable.") {
        Some(name) => (true, name),
        None => (false, key.strip_prefix("canary.").unwrap_or(key)),
    };
    let given = value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}"));
    let flag = format!("--at {text:?}");
    let is_behaviour = KEYS.split([',', ' ', '=']).any(|known| known == name);
    if !is_behaviour {
        return Err(CliError::usage(
            format!("{flag}: {name:?} is nothing that can happen here"),
            format!("there are {HAPPENINGS}"),
        ));
    }
    let traits = Traits::parse(&flag, &[given])?;
    Ok(if is_stable { Happening::Stable(traits) } else { Happening::Canary(traits) })
}

/// What a metric measures, by the user's word.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pin {
    /// Name of the metric.
    pub(super) name: String,
    /// Its value: a number, or for web metrics any JSON, or for Jobs `success` or `failure`.
    pub(super) value: Value,
    /// The value as it was given.
    pub(super) text: String,
}

impl Pin {
    /// Reads `error-rate=0.02`.
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        let found =
            text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
        let Some((name, value)) = found else {
            return Err(CliError::usage(
                format!("--metric {text:?} is not NAME=VALUE"),
                "write for example --metric error-rate=0.02",
            ));
        };
        let parsed = value
            .strip_suffix('%')
            .and_then(|percent| percent.parse::<f64>().ok())
            .map(|percent| json!(percent / 100.0))
            .or_else(|| serde_json::from_str(value).ok())
            .unwrap_or_else(|| json!(value));
        Ok(Self { name: name.to_owned(), value: parsed, text: value.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(text: &str) -> Result<VersionBehaviour, CliError> {
        let words: Vec<String> = text.split(',').map(str::to_owned).collect();
        Ok(Traits::parse("--canary", &words)?.applied_to(&VersionBehaviour::default()))
    }

    #[test]
    fn a_behaviour_is_read_from_its_words() {
        let bad = traits("error-rate=2%,ready-after=30s,crash").unwrap();
        assert!((bad.error_rate - 0.02).abs() < 1e-12);
        assert_eq!(bad.ready_after, Some(Span::secs(30)));
        assert_eq!(bad.crashes_after, Some(AT_ONCE));
        assert_eq!(traits("healthy").unwrap(), VersionBehaviour::default());
    }

    #[test]
    fn a_latency_has_the_quantiles_that_were_given() {
        let below = |behaviour: &VersionBehaviour, ms: f64| {
            let z = (ms / behaviour.latency_ms).ln() / behaviour.latency_spread;
            0.5 * statrs::function::erf::erfc(-z / std::f64::consts::SQRT_2)
        };
        let one = traits("p99=900ms").unwrap();
        assert!((below(&one, 900.0) - 0.99).abs() < 1e-6);
        let two = traits("p50=40ms,p95=1s").unwrap();
        assert!((below(&two, 40.0) - 0.5).abs() < 1e-6);
        assert!((below(&two, 1000.0) - 0.95).abs() < 1e-6);
    }

    #[test]
    fn wrong_words_are_refused_with_what_would_be_right() {
        for (text, why) in [
            ("cpu=90%", "error-rate=2%"),
            ("error-rate=200%", "error-rate=2%"),
            ("error-rate", "error-rate=2%"),
            ("p99=0s", "p99=900ms"),
            ("p50=2s,p99=1s", "longer time"),
            ("p50=1s,p50=2s", "longer time"),
            ("p50=1s,p90=2s,p99=3s", "one or two"),
            ("crash=5s", "write crash"),
        ] {
            let error = traits(text).unwrap_err();
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains(why), "{text}: {error}: {hint}");
        }
    }

    #[test]
    fn what_happens_is_read_with_its_time() {
        let read = |text: &str| Planned::parse(text).map(|planned| planned.what);
        assert_eq!(Planned::parse("1m30s=abort").unwrap().after, Duration::from_secs(90));
        assert_eq!(read("2m=promote-full").unwrap(), Happening::Verb(Verb::PromoteFull));
        assert_eq!(read("2m=scale:10").unwrap(), Happening::Scale(10));
        assert!(matches!(read("3m=error-rate:5%").unwrap(), Happening::Canary(_)));
        assert!(matches!(read("3m=stable.error-rate=5%").unwrap(), Happening::Stable(_)));
        for bad in ["crash", "soon=crash", "1m..2m=crash", "5m=explode", "5m=abort:1", "5m=scale:x"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        for one in ["prometheus-down", "prometheus-up", "git-down", "gateway-down", "gateway-up"] {
            let Happening::World(patch) = read(&format!("1m={one}")).unwrap() else {
                panic!("{one}")
            };
            crate::sim::world::BehaviourPatch::new(patch).unwrap();
        }
    }

    #[test]
    fn a_pinned_metric_has_a_number_or_any_json() {
        assert_eq!(Pin::parse("error-rate=2%").unwrap().value, json!(0.02));
        assert_eq!(Pin::parse("state={\"ok\":true}").unwrap().value, json!({"ok": true}));
        assert_eq!(Pin::parse("load-test=failure").unwrap().value, json!("failure"));
        assert!(Pin::parse("error-rate").is_err());
    }
}
