//! Lines for people: words with a tone, tables, ages. Meaning never stands in a colour alone: every
//! icon comes with its word.
//!
//! Text from the cluster may hold anything. [`Line::paint`] takes every control character out, so
//! that no message can move the cursor of whoever reads it.

use chrono::{DateTime, TimeDelta, Utc};

/// How something stands; a colour and an icon follow from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Wrong.
    Bad,
    /// Something is happening.
    Busy,
    /// It waits.
    Waiting,
    /// Of little interest.
    Dim,
}

impl Tone {
    /// The sign before a word of this tone.
    pub fn icon(self) -> &'static str {
        match self {
            Self::Plain => " ",
            Self::Good => "✔",
            Self::Bad => "✖",
            Self::Busy => "◌",
            Self::Waiting => "‖",
            Self::Dim => "•",
        }
    }

    /// The terminal's escape sequence (ECMA-48 SGR) that begins the tone.
    fn escape(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("\x1b[32m"),
            Self::Bad => Some("\x1b[31m"),
            Self::Busy => Some("\x1b[36m"),
            Self::Waiting => Some("\x1b[33m"),
            Self::Dim => Some("\x1b[2m"),
        }
    }
}

/// A piece of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its text.
    pub text: String,
    /// How it stands.
    pub tone: Tone,
}

impl Span {
    /// Text of no special tone.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }

    /// Text of a tone.
    pub fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }

    /// Icon and word.
    pub fn state(tone: Tone, word: &str) -> Self {
        Self { text: format!("{} {word}", tone.icon()), tone }
    }
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<Span>);

impl Line {
    /// A line of one plain piece.
    pub fn text(text: impl Into<String>) -> Self {
        Self(vec![Span::plain(text)])
    }

    /// `key:` padded, then the value.
    pub fn entry(key: &str, value: Span) -> Self {
        let label = if key.is_empty() { String::new() } else { format!("{key}:") };
        Self(vec![Span::plain(format!("{label:<KEY_WIDTH$}")), value])
    }

    /// The line as text, with colours when asked for, cut to `width` characters when above 0.
    pub fn paint(&self, has_color: bool, width: usize) -> String {
        let mut out = String::new();
        let mut left = if width == 0 { usize::MAX } else { width };
        let last = self.0.len().saturating_sub(1);
        for (idx, span) in self.0.iter().enumerate() {
            let mut text: String = harmless(&span.text).chars().take(left).collect();
            if idx == last {
                text.truncate(text.trim_end().len());
            }
            left = left.saturating_sub(text.chars().count());
            match span.tone.escape() {
                Some(escape) if has_color && !text.is_empty() => {
                    out.push_str(escape);
                    out.push_str(&text);
                    out.push_str("\x1b[0m");
                }
                _ => out.push_str(&text),
            }
        }
        if !has_color {
            out.truncate(out.trim_end().len());
        }
        out
    }
}

/// Width of the keys of a key/value block.
const KEY_WIDTH: usize = 17;

/// `text` on one line and without control characters.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Rows as lines, each column as wide as its widest cell; two blanks between columns.
pub fn table(rows: &[Vec<Span>]) -> Vec<Line> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.text.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let last = row.len().saturating_sub(1);
            let cells = row.iter().zip(&widths).enumerate().map(|(idx, (cell, width))| {
                let pad = if idx == last { 0 } else { width + 2 };
                Span { text: format!("{:<pad$}", cell.text), tone: cell.tone }
            });
            Line(cells.collect())
        })
        .collect()
}

/// A length of time in at most two units: `45s`, `3m20s`, `2h5m`, `3d4h`. Negative ones count as 0.
pub fn span_of_time(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{large}{unit}")
        } else {
            format!("{large}{unit}{small}{small_unit}")
        }
    };
    if days > 0 {
        two(days, "d", hours % 24, "h")
    } else if hours > 0 {
        two(hours, "h", minutes % 60, "m")
    } else if minutes > 0 {
        two(minutes, "m", seconds % 60, "s")
    } else {
        format!("{seconds}s")
    }
}

/// How long ago; empty when it is not known.
pub fn age(since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    since.map_or_else(String::new, |since| span_of_time(now - since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_at_most_two_units() {
        let cases = [(0, "0s"), (45, "45s"), (60, "1m"), (200, "3m20s"), (7_500, "2h5m")];
        for (seconds, text) in cases {
            assert_eq!(span_of_time(TimeDelta::seconds(seconds)), text);
        }
        assert_eq!(span_of_time(TimeDelta::hours(76)), "3d4h");
        assert_eq!(span_of_time(TimeDelta::seconds(-5)), "0s");
    }

    #[test]
    fn text_from_the_cluster_cannot_move_the_cursor() {
        let line = Line::text("evil\x1b[2Jname\nnext");
        assert_eq!(line.paint(true, 0), "evil [2Jname next");
    }

    #[test]
    fn colour_is_added_to_words_and_never_instead_of_them() {
        let line = Line(vec![Span::state(Tone::Bad, "Degraded")]);
        assert_eq!(line.paint(false, 0), "✖ Degraded");
        assert_eq!(line.paint(true, 0), "\x1b[31m✖ Degraded\x1b[0m");
    }

    #[test]
    fn a_line_is_cut_to_the_width_of_the_terminal() {
        let line = Line(vec![Span::plain("abc"), Span::toned(Tone::Good, "defg")]);
        assert_eq!(line.paint(false, 5), "abcde");
        assert_eq!(line.paint(true, 5), "abc\x1b[32mde\x1b[0m");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let cell = Span::plain;
        let rows = [vec![cell("NAME"), cell("AGE")], vec![cell("a-long-name"), cell("3s")]];
        let lines: Vec<String> = table(&rows).iter().map(|line| line.paint(false, 0)).collect();
        assert_eq!(lines, ["NAME         AGE", "a-long-name  3s"]);
    }
}
