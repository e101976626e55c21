//! What a demonstration shows, as claims that it checks itself.

use std::io;

use super::screen::Screen;
use crate::cli::text::{Line, Span, Tone};

/// A claim, and whether it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was seen.
    pub is_met: bool,
    /// The claim, with what was seen.
    pub claim: String,
}

/// The claims so far.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Check>);

impl Checks {
    pub(super) fn add(&mut self, is_met: bool, claim: impl Into<String>) {
        self.0.push(Check { is_met, claim: claim.into() });
    }

    pub(super) fn all_met(&self) -> bool {
        self.0.iter().all(|check| check.is_met)
    }

    /// Whether everything held.
    pub(super) fn show(&self, screen: &mut Screen<'_>) -> io::Result<()> {
        screen.headline("What was seen")?;
        for check in &self.0 {
            let tone = if check.is_met { Tone::Good } else { Tone::Bad };
            let sign = Span::toned(tone, format!("  {} ", tone.icon()));
            let word = if check.is_met { String::new() } else { "NOT SEEN: ".to_owned() };
            screen.line(&Line(vec![sign, Span::plain(word + &check.claim)]))?;
        }
        Ok(())
    }
}
