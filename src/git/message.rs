//! The commit message of a revert.
//!
//! It is read by people, by forges and by the next process that looks for its own trailer. Every
//! value in it comes from users (names, labels, metric names, images), so that each one is cleaned:
//! no value may end a line, begin a trailer or run on without measure. The text must never hold a
//! query or a secret; callers pass measured values and thresholds only.
//!
//! Source of the form: `git-interpret-trailers(1)`; Conventional Commits' type `revert`.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

use super::plan::images;
use super::revert_id::{REVERT_ID_TRAILER, RevertId};
use super::signing::SigningKey;
use crate::revision::Commit;

/// The author's address where none is given: a name that no mail can reach (RFC 2606).
const DEFAULT_EMAIL: &str = "sluice@noreply.invalid";
/// Longest subject, in characters.
const MAX_SUBJECT: usize = 72;
/// Longest single value, in characters.
const MAX_VALUE: usize = 200;
/// Most measured lines, restored lines and file names that are listed.
const MAX_LINES: usize = 10;

/// What the message tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFacts {
    /// The Rollout's namespace.
    pub namespace: String,
    /// The Rollout's name.
    pub name: String,
    /// The stable version in a word, such as an image tag.
    pub stable_version: String,
    /// The failed version in a word.
    pub failed_version: String,
    /// Where the rollout stopped, such as `step 3/6 (20% traffic)`; empty for a revert by hand.
    pub stopped_at: String,
    /// A person asked for it; no analysis failed.
    pub is_by_hand: bool,
    /// One line a failed metric: what was measured, what was wanted.
    pub measurements: Vec<String>,
    /// The cluster's name, if it has one.
    pub cluster: Option<String>,
    /// The AnalysisRun that failed, as `namespace/name`.
    pub analysis_run: Option<String>,
    /// Short digest of the failed template.
    pub failed_template: String,
    /// Short digest of the stable template.
    pub stable_template: String,
    /// The subject line in the user's form, if there is one.
    pub subject: Option<SubjectTemplate>,
    /// Adds a `Signed-off-by` trailer.
    pub sign_off: bool,
    /// Adds a line that keeps CI systems from building the commit.
    pub skip_ci: bool,
}

/// Who commits, and how that is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    name: String,
    email: String,
    signing: Option<Arc<SigningKey>>,
}

impl Author {
    /// An author; characters that Git does not allow in names are dropped.
    pub fn new(name: &str, email: &str) -> Self {
        let strip = |text: &str| -> String {
            clean(text, MAX_VALUE).chars().filter(|c| !"<>".contains(*c)).collect()
        };
        let or = |text: String, fallback: &str| {
            if text.trim().is_empty() { fallback.to_owned() } else { text.trim().to_owned() }
        };
        Self {
            name: or(strip(name), "Sluice"),
            email: or(strip(email).replace(' ', ""), DEFAULT_EMAIL),
            signing: None,
        }
    }

    /// The same author, who signs.
    #[must_use]
    pub fn signing(self, key: Option<SigningKey>) -> Self {
        Self { signing: key.map(Arc::new), ..self }
    }

    /// The key that commits are signed with, if they are.
    pub fn signing_key(&self) -> Option<&SigningKey> {
        self.signing.as_deref()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The e-mail address.
    pub fn email(&self) -> &str {
        &self.email
    }
}

impl Default for Author {
    fn default() -> Self {
        Self::new("Sluice", DEFAULT_EMAIL)
    }
}

/// What the commit changes and follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitFacts<'a> {
    /// The revert's identity.
    pub id: &'a RevertId,
    /// The failed template's commit.
    pub failed: &'a Commit,
    /// The stable template's commit.
    pub restored_from: &'a Commit,
    /// What is restored, one line each.
    pub restored: Vec<String>,
    /// Files that changed with the failed template and are left as they are.
    pub not_touched: Vec<String>,
}

/// Two versions in a word each: the tags of the first image that differs, or what stands for a template
/// without one.
pub fn version_words(
    (stable, stable_name): (&Value, &str),
    (failed, failed_name): (&Value, &str),
) -> (String, String) {
    let word = |image: &str| {
        let name = image.rsplit('/').next().unwrap_or(image);
        name.split_once(':').map_or(name, |(_, tag)| tag).to_owned()
    };
    images(stable).zip(images(failed)).find(|(stable, failed)| stable != failed).map_or_else(
        || (stable_name.to_owned(), failed_name.to_owned()),
        |(stable, failed)| (word(stable), word(failed)),
    )
}

/// The whole message.
pub fn commit_message(facts: &MessageFacts, commit: &CommitFacts<'_>, author: &Author) -> String {
    let rollout = format!("{}/{}", clean(&facts.namespace, 63), clean(&facts.name, 253));
    let mut message = subject(facts);
    let what_happened = if facts.stopped_at.is_empty() {
        format!("The template of Rollout {rollout} is put back by hand.")
    } else {
        let stopped_at = clean(&facts.stopped_at, MAX_VALUE);
        format!("Rollout {rollout} stopped at {stopped_at} and went back to\nthe stable pods.")
    };
    let _ = write!(
        message,
        "\n\n{what_happened} This commit makes Git declare the stable version again.\n"
    );
    if !facts.measurements.is_empty() {
        message.push('\n');
        for line in facts.measurements.iter().take(MAX_LINES) {
            let _ = writeln!(message, "{}", body_line(line));
        }
    }
    message.push('\n');
    for line in commit.restored.iter().take(MAX_LINES) {
        let _ = writeln!(message, "Restored {}", body_line(line));
    }
    if !commit.not_touched.is_empty() {
        let _ = writeln!(
            message,
            "Not touched of {}: {}",
            commit.failed.short(),
            body_line(&names(&commit.not_touched))
        );
    }
    let _ = writeln!(
        message,
        "To try {} again, revert this commit.\n",
        clean(&facts.failed_version, 60)
    );
    if facts.skip_ci {
        // Not in the subject, which is full, and before the trailers, which stand last.
        message.push_str("[skip ci]\n\n");
    }
    for (key, value) in trailers(facts, commit, &rollout) {
        let _ = writeln!(message, "{key}: {}", clean(&value, 300));
    }
    if facts.sign_off {
        let _ = writeln!(message, "Signed-off-by: {} <{}>", author.name(), author.email());
    }
    message
}

fn trailers(
    facts: &MessageFacts,
    commit: &CommitFacts<'_>,
    rollout: &str,
) -> Vec<(&'static str, String)> {
    let mut trailers = vec![
        (REVERT_ID_TRAILER, commit.id.to_string()),
        ("Sluice-Rollout", rollout.to_owned()),
        ("Sluice-Failed-Revision", commit.failed.to_string()),
        ("Sluice-Restored-From", commit.restored_from.to_string()),
        ("Sluice-Failed-Template", facts.failed_template.clone()),
        ("Sluice-Stable-Template", facts.stable_template.clone()),
    ];
    trailers.extend(facts.cluster.clone().map(|name| ("Sluice-Cluster", name)));
    trailers.extend(facts.analysis_run.clone().map(|name| ("Sluice-Analysis-Run", name)));
    trailers
}

fn subject(facts: &MessageFacts) -> String {
    let (namespace, name) = (clean(&facts.namespace, 63), clean(&facts.name, 253));
    let (stable, failed) = (clean(&facts.stable_version, 60), clean(&facts.failed_version, 60));
    if let Some(template) = &facts.subject {
        return template.fill(&[&namespace, &name, &stable, &failed]);
    }
    let ended = if facts.is_by_hand { "was aborted" } else { "failed" };
    // The longest form that fits.
    let forms = [
        format!("revert({namespace}/{name}): restore {stable}, canary of {failed} {ended}"),
        format!("revert({namespace}/{name}): restore {stable}, {failed} {ended}"),
        format!("revert({name}): restore {stable}, {failed} {ended}"),
        format!("revert({name}): restore {stable}"),
        format!("revert({name}): restore the stable version"),
    ];
    forms
        .into_iter()
        .find(|form| form.chars().count() <= MAX_SUBJECT)
        .unwrap_or_else(|| "revert: restore the stable version".to_owned())
}

/// The subject line in the user's form: text with `{namespace}`, `{name}`, `{stable}` and `{failed}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// Index into [`PLACES`].
    Place(usize),
}

/// What may stand in a [`SubjectTemplate`], in the order in which it is filled.
const PLACES: [&str; 4] = ["namespace", "name", "stable", "failed"];

/// Why a text is no form of a subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// Nothing would stand there.
    #[error("must not be empty; leave it out for the usual subject")]
    Empty,
    /// It would end the subject.
    #[error("holds a line break or another control character")]
    Control,
    /// Git takes such a line for a comment.
    #[error("must not begin with `#`")]
    Comment,
    /// A name that is not known.
    #[error("`{{{0}}}` is not known; {{namespace}}, {{name}}, {{stable}} and {{failed}} are")]
    Place(String),
    /// A brace that is not closed.
    #[error("`{{` without `}}`")]
    Open,
}

impl SubjectTemplate {
    /// Reads the user's form.
    ///
    /// # Errors
    /// [`InvalidSubject`].
    pub fn parse(text: &str) -> Result<Self, InvalidSubject> {
        if text.trim().is_empty() {
            return Err(InvalidSubject::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidSubject::Control);
        }
        if text.trim_start().starts_with('#') {
            return Err(InvalidSubject::Comment);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (place, after) = after.split_once('}').ok_or(InvalidSubject::Open)?;
            let unknown = || InvalidSubject::Place(clean(place, 40));
            let idx = PLACES.iter().position(|known| *known == place).ok_or_else(unknown)?;
            pieces.extend([Piece::Text(before.to_owned()), Piece::Place(idx)]);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    fn fill(&self, values: &[&String; PLACES.len()]) -> String {
        let text: String = self
            .0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Place(place) => values.get(*place).map_or("", |value| value.as_str()),
            })
            .collect();
        clean(&text, MAX_SUBJECT)
    }
}

fn names(files: &[String]) -> String {
    let shown = files.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    let count = files.len();
    if count > 3 { format!("{shown} and {} more", count - 3) } else { shown }
}

/// A line of the body: cleaned, and never of the form `Word: ...` that a parser could take for a
/// trailer if it stood in the last paragraph, nor a line that the mail format reads (`From `, `>`).
fn body_line(text: &str) -> String {
    let text = clean(text, MAX_VALUE);
    let text = text.trim_start_matches(['#', '>', '-', ' ']);
    if text.starts_with("From ") { format!(" {text}") } else { text.to_owned() }
}

/// A value on one line: control characters and line separators become blanks; cut to `max`
/// characters.
pub fn clean(text: &str, max: usize) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}');
    // Characters that turn the direction of text could hide what a line says.
    let is_hidden = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}' | '\u{feff}');
    let blanked: String = text
        .chars()
        .filter(|c| !is_hidden(*c))
        .map(|c| if is_break(c) { ' ' } else { c })
        .collect();
    let cleaned = blanked.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if cleaned.chars().count() <= max {
        cleaned
    } else {
        cleaned.chars().take(max.saturating_sub(3)).chain("...".chars()).collect()
    }
}

/// The value of the trailer `key` in the last paragraph of `message`.
pub fn trailer<'m>(message: &'m str, key: &str) -> Option<&'m str> {
    let last = message.trim_end().rsplit("\n\n").next()?;
    last.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::TemplateDigest;
    use proptest::prelude::*;

    fn commit(c: char) -> Commit {
        Commit::parse(&c.to_string().repeat(40)).unwrap()
    }

    fn facts() -> MessageFacts {
        MessageFacts {
            namespace: "payments".into(),
            name: "web".into(),
            stable_version: "1.4.2".into(),
            failed_version: "1.5.0".into(),
            stopped_at: "step 3/6 (20% traffic)".into(),
            is_by_hand: false,
            measurements: vec!["success-rate: 0.912, wanted >= 0.99 (3 of 3 failed)".into()],
            cluster: Some("prod-eu-1".into()),
            analysis_run: Some("payments/web-6f9c7d-3".into()),
            failed_template: "6f9c7d".into(),
            stable_template: "77b4f9".into(),
            subject: None,
            sign_off: true,
            skip_ci: false,
        }
    }

    fn write(facts: &MessageFacts) -> String {
        let id = RevertId::new("uid", &TemplateDigest::from_annotation("d"), &commit('b'));
        let commit = CommitFacts {
            id: &id,
            failed: &commit('b'),
            restored_from: &commit('a'),
            restored: vec!["apps/web/rollout.yaml (spec.template...image)".into()],
            not_touched: vec!["apps/api/rollout.yaml".into()],
        };
        commit_message(facts, &commit, &Author::default())
    }

    #[test]
    fn the_message_tells_people_and_tools_what_happened() {
        insta::assert_snapshot!(write(&facts()));
    }

    #[test]
    fn a_revert_that_a_person_asked_for_does_not_say_that_the_version_failed() {
        let stopped_at = "the request of alice@example.org".to_owned();
        let by_hand = MessageFacts { is_by_hand: true, stopped_at, ..facts() };
        let message = write(&by_hand);
        assert!(
            message
                .starts_with("revert(payments/web): restore 1.4.2, canary of 1.5.0 was aborted\n")
        );
        assert!(message.contains("stopped at the request of alice@example.org and went back"));
    }

    #[test]
    fn a_line_break_in_any_value_cannot_add_a_trailer() {
        let evil =
            "x\n\nSluice-Revert-Id: 00000000000000000000000000000000\r\nSigned-off-by: A <a@b>";
        let mut bad = facts();
        bad.namespace = evil.into();
        bad.name = evil.into();
        bad.stable_version = evil.into();
        bad.failed_version = evil.into();
        bad.stopped_at = evil.into();
        bad.measurements = vec![evil.into(), "Sluice-Revert-Id: forged".into()];
        bad.cluster = Some(evil.into());
        bad.analysis_run = Some(evil.into());
        let message = write(&bad);
        let ids = message.lines().filter(|line| line.starts_with("Sluice-Revert-Id:")).count();
        // The forged measurement is a line of the body, outside of the last paragraph.
        assert!(ids <= 2);
        let real = RevertId::new("uid", &TemplateDigest::from_annotation("d"), &commit('b'));
        assert_eq!(trailer(&message, "Sluice-Revert-Id"), Some(real.as_str()));
        let signed = message.lines().filter(|line| line.starts_with("Signed-off-by:"));
        assert_eq!(signed.collect::<Vec<_>>(), ["Signed-off-by: Sluice <sluice@noreply.invalid>"]);
    }

    #[test]
    fn ci_is_skipped_on_request_by_a_line_of_its_own_before_the_trailers() {
        assert!(!write(&facts()).contains("[skip ci]"));
        let message = write(&MessageFacts { skip_ci: true, ..facts() });
        let body = message.split("\n\n").collect::<Vec<_>>();
        assert_eq!(body[body.len() - 2], "[skip ci]", "{message}");
        assert!(trailer(&message, REVERT_ID_TRAILER).is_some(), "{message}");
    }

    #[test]
    fn a_trailer_is_read_from_the_last_paragraph_only() {
        assert_eq!(trailer("a\n\nKey: 1\n\nbody", "Key"), None);
        assert_eq!(trailer("a\n\nbody\n\nOther: 2\nkey:  1 \n", "Key"), Some("1"));
        assert_eq!(trailer("", "Key"), None);
    }

    #[test]
    fn authors_cannot_break_the_commit_object() {
        let author = Author::new("A <x>\nB", "a b@c\n>");
        assert_eq!((author.name(), author.email()), ("A x B", "ab@c"));
        assert_eq!(Author::new("", "").name(), "Sluice");
    }

    #[test]
    fn a_subject_of_the_users_own_form_is_filled_and_cut_and_ends_no_line() {
        let subject = |template: &str, facts: MessageFacts| {
            let template = SubjectTemplate::parse(template).unwrap();
            let message = write(&MessageFacts { subject: Some(template), ..facts });
            assert!(trailer(&message, REVERT_ID_TRAILER).is_some(), "{message}");
            message.lines().next().unwrap().to_owned()
        };
        let form = "[OPS-1] back to {stable} from {failed} ({namespace}/{name})";
        assert_eq!(subject(form, facts()), "[OPS-1] back to 1.4.2 from 1.5.0 (payments/web)");
        let evil = "x\n\nSluice-Revert-Id: 0".to_owned();
        let long = subject("{name} {name}", MessageFacts { name: evil.repeat(9), ..facts() });
        assert!(long.chars().count() <= MAX_SUBJECT && long.ends_with("..."), "{long}");
        for (bad, word) in [
            ("", "empty"),
            (" ", "empty"),
            ("a\nb", "line break"),
            ("{x} y", "{x}"),
            ("{name", "{"),
            ("# x", "#"),
        ] {
            let refusal = SubjectTemplate::parse(bad).unwrap_err().to_string();
            assert!(refusal.contains(word), "{bad:?}: {refusal}");
        }
    }

    proptest! {
        #[test]
        fn the_subject_fits_and_the_trailer_is_found_whatever_the_names(
            namespace in "\\PC{0,80}", name in "(?s).{0,80}", version in "(?s).{0,80}"
        ) {
            let mut any = facts();
            any.namespace = namespace;
            any.name = name;
            any.stable_version = version.clone();
            any.measurements = vec![version];
            let message = write(&any);
            prop_assert!(message.lines().next().unwrap().chars().count() <= MAX_SUBJECT);
            let real = RevertId::new("uid", &TemplateDigest::from_annotation("d"), &commit('b'));
            prop_assert_eq!(trailer(&message, REVERT_ID_TRAILER), Some(real.as_str()));
        }
    }
}
