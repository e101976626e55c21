//! Which objects a command line means. `web`, `rollout web`, `rollout/web` and, as `kubectl get -o
//! name` prints it, `rollout.sluice.dev/web` are the same; the plugin of Argo Rollouts wants the word
//! at some commands and not at others. Pure.

use super::args::{RolloutArg, RolloutArgs, RunArgs};
use super::error::CliError;
use crate::api::Kind;

/// Words for the kind of Argo Rollouts that is not built.
const EXPERIMENTS: [&str; 3] = ["experiment", "experiments", "exp"];

impl RolloutArg {
    /// The name.
    ///
    /// # Errors
    /// As [`names`], and for several names.
    pub(super) fn name(&self) -> Result<String, CliError> {
        let words: Vec<String> = std::iter::once(&self.word).chain(&self.after).cloned().collect();
        only(Kind::Rollout, &words)
    }
}

impl RolloutArgs {
    /// The names.
    ///
    /// # Errors
    /// As [`names`].
    pub(super) fn names(&self) -> Result<Vec<String>, CliError> {
        names(Kind::Rollout, &self.words)
    }
}

impl RunArgs {
    /// The names.
    ///
    /// # Errors
    /// As [`names`].
    pub(super) fn names(&self) -> Result<Vec<String>, CliError> {
        names(Kind::AnalysisRun, &self.words)
    }
}

/// Whether a word stands for `kind`: its name, its plural or a short name, in any case and with any
/// API group.
pub(super) fn is_word_for(kind: Kind, word: &str) -> bool {
    let word = word.split('.').next().unwrap_or_default().to_lowercase();
    word == kind.as_str().to_lowercase()
        || word == kind.plural()
        || kind.short_names().contains(&word.as_str())
}

/// The names of objects of `kind`. A first word for the kind is left out, unless it is the only
/// word: then it is the name.
///
/// # Errors
/// [`CliError::Usage`] for an object of another kind.
fn names(kind: Kind, words: &[String]) -> Result<Vec<String>, CliError> {
    let words = match words {
        [first, rest @ ..] if !rest.is_empty() && is_word_for(kind, first) => rest,
        [first, _, ..] if EXPERIMENTS.contains(&first.as_str()) => {
            return Err(CliError::usage(
                "Experiments are not supported yet",
                "of two Rollouts with such names, write each as rollout/NAME",
            ));
        }
        all => all,
    };
    words.iter().map(|word| name(kind, word)).collect()
}

/// The one name that a command takes.
///
/// # Errors
/// [`CliError::Usage`] for several names, or an object of another kind.
pub(super) fn only(kind: Kind, words: &[String]) -> Result<String, CliError> {
    let mut found = names(kind, words)?;
    match (found.pop(), found.is_empty()) {
        (Some(name), true) => Ok(name),
        (_, _) => Err(CliError::usage(
            format!("takes one {}, but was given {}", kind.as_str(), words.join(" and ")),
            "give one name",
        )),
    }
}

/// Kind and name of `KIND/NAME`, or of a name of a Rollout.
///
/// # Errors
/// [`CliError::Usage`] for a kind that is not shown.
pub(super) fn object(word: &str) -> Result<(Kind, String), CliError> {
    let prefix = word.split_once('/').map(|(prefix, _)| prefix);
    let is_run = prefix.is_some_and(|prefix| is_word_for(Kind::AnalysisRun, prefix));
    let kind = if is_run { Kind::AnalysisRun } else { Kind::Rollout };
    Ok((kind, name(kind, word)?))
}

fn name(kind: Kind, word: &str) -> Result<String, CliError> {
    match word.split_once('/') {
        None => Ok(word.to_owned()),
        Some((prefix, name)) if is_word_for(kind, prefix) => Ok(name.to_owned()),
        Some(_) => {
            let lower = kind.as_str().to_lowercase();
            Err(CliError::usage(
                format!("{word:?} names no {}", kind.as_str()),
                format!("write NAME or {lower}/NAME"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> Result<Vec<String>, String> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        names(Kind::Rollout, &words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_word_for_the_kind_may_stand_before_a_name() {
        for words in ["web", "rollout web", "rollouts web", "ro web", "rollout/web", "ro/web"] {
            assert_eq!(of(words), Ok(vec!["web".to_owned()]), "{words}");
        }
        for words in ["rollout.sluice.dev/web", "rollouts.argoproj.io/web", "Rollout web"] {
            assert_eq!(of(words), Ok(vec!["web".to_owned()]), "{words}");
        }
        assert_eq!(of("rollout web api"), Ok(vec!["web".to_owned(), "api".to_owned()]));
    }

    #[test]
    fn a_rollout_may_be_named_like_its_kind() {
        for words in ["rollout", "rollout rollout", "rollout/rollout"] {
            assert_eq!(of(words), Ok(vec!["rollout".to_owned()]), "{words}");
        }
        assert_eq!(of("web rollout"), Ok(vec!["web".to_owned(), "rollout".to_owned()]));
        assert_eq!(of("experiment"), Ok(vec!["experiment".to_owned()]));
    }

    #[test]
    fn other_kinds_are_refused() {
        assert_eq!(of("deployment/web"), Err("\"deployment/web\" names no Rollout".to_owned()));
        assert_eq!(of("experiment web"), Err("Experiments are not supported yet".to_owned()));
        assert_eq!(object("ar/check").unwrap(), (Kind::AnalysisRun, "check".to_owned()));
        assert_eq!(object("ro/web").unwrap(), (Kind::Rollout, "web".to_owned()));
        assert!(object("pod/web").is_err());
    }

    #[test]
    fn a_command_for_one_takes_one() {
        let one = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            only(Kind::Rollout, &words).map_err(|error| error.to_string())
        };
        assert_eq!(one(&["rollout", "web"]), Ok("web".to_owned()));
        let refused = "takes one Rollout, but was given web and api";
        assert_eq!(one(&["web", "api"]), Err(refused.to_owned()));
    }
}
