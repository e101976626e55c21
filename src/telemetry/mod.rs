//! What the program says about itself: logs and metrics.
//!
//! Never prints secrets, whole objects or answers of other servers; text from outside is shortened
//! and stripped of control characters by [`tidy`] before it is kept or shown.

pub mod catalog;
mod comparisons;
pub mod logs;
pub mod metrics;
pub mod process;
pub mod requests;
pub mod series;

use std::error::Error;

/// The longest foreign text that is kept, in characters.
const LONGEST_FOREIGN_TEXT: usize = 512;

/// Text from outside, fit for logs and statuses: one line, no control characters, not endless.
pub fn tidy(text: &str) -> String {
    let plain = |character: char| {
        if character.is_control() { ' ' } else { character }
    };
    let mut kept: String = text.trim().chars().take(LONGEST_FOREIGN_TEXT).map(plain).collect();
    if text.trim().chars().nth(LONGEST_FOREIGN_TEXT).is_some() {
        kept.push('…');
    }
    kept
}

/// An error with its sources, outermost first, on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    tidy(&text)
}

/// The innermost cause of an error: those around it repeat the address, whose query may carry data.
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line_and_ends() {
        assert_eq!(tidy(" a\n\u{1b}[31mred\r\n "), "a  [31mred");
        let long = tidy(&"x".repeat(600));
        assert_eq!(long.chars().count(), LONGEST_FOREIGN_TEXT + 1);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("failed to read {0}")]
    struct Outer(&'static str, #[source] std::num::ParseIntError);

    #[test]
    fn a_chain_names_every_source_once() {
        let error = Outer("`web`", "x".parse::<u32>().unwrap_err());
        assert_eq!(chain(&error), "failed to read `web`: invalid digit found in string");
        assert_eq!(root_cause(&error), "invalid digit found in string");
    }
}
