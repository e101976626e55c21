//! What is shown: lines that stay, and in a terminal a panel below them that is drawn again in
//! place. Into a file or a pipe only the lines go.

use std::io::{self, Write};

use crossterm::Command;
use crossterm::cursor::MoveToPreviousLine;
use crossterm::terminal::{Clear, ClearType, size};

use crate::cli::text::{Line, Span, Tone};

/// Width where the terminal does not say its own.
const WIDTH: u16 = 100;

/// Where a demonstration is shown.
pub struct Screen<'a> {
    out: &'a mut (dyn Write + Send),
    /// The output is a terminal whose lines can be drawn again.
    is_live: bool,
    has_color: bool,
    panel: Vec<Line>,
    /// Lines of the panel that are on the screen.
    drawn: u16,
}

/// A command as the bytes of the terminal.
struct AnsiCommand<C>(C);

impl<C: Command> std::fmt::Display for AnsiCommand<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.write_ansi(f)
    }
}

impl std::fmt::Debug for Screen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("is_live", &self.is_live).finish_non_exhaustive()
    }
}

impl<'a> Screen<'a> {
    /// A screen on `out`, which is a terminal when `is_live`.
    pub fn new(out: &'a mut (dyn Write + Send), is_live: bool, has_color: bool) -> Self {
        Self { out, is_live, has_color, panel: Vec::new(), drawn: 0 }
    }

    /// A line that stays.
    pub(super) fn line(&mut self, line: &Line) -> io::Result<()> {
        self.erase()?;
        writeln!(self.out, "{}", line.paint(self.has_color, 0))?;
        self.draw()
    }

    /// A text of several lines that stays, indented.
    pub(super) fn block(&mut self, text: &str) -> io::Result<()> {
        self.erase()?;
        for line in text.lines() {
            let tone = match line.chars().next() {
                Some('+') => Tone::Good,
                Some('-') => Tone::Bad,
                _ => Tone::Plain,
            };
            let line = Line(vec![Span::toned(tone, format!("    {line}"))]);
            writeln!(self.out, "{}", line.paint(self.has_color, 0))?;
        }
        self.draw()
    }

    /// A headline.
    pub(super) fn headline(&mut self, text: &str) -> io::Result<()> {
        self.line(&Line::default())?;
        self.line(&Line(vec![Span::toned(Tone::Busy, text)]))
    }

    /// Something that happened: when, who, what.
    pub(super) fn told(&mut self, at: &str, who: &str, tone: Tone, what: &str) -> io::Result<()> {
        self.line(&Line(vec![
            Span::toned(Tone::Dim, format!("  {at}  ")),
            Span::plain(format!("{who:<9}")),
            Span::toned(tone, what),
        ]))
    }

    /// What the panel shows from now on; nothing takes it away.
    pub(super) fn panel(&mut self, panel: Vec<Line>) -> io::Result<()> {
        if !self.is_live || panel == self.panel {
            return Ok(());
        }
        self.erase()?;
        self.panel = panel;
        self.draw()
    }

    fn erase(&mut self) -> io::Result<()> {
        if self.drawn > 0 {
            let (up, clear) = (MoveToPreviousLine(self.drawn), Clear(ClearType::FromCursorDown));
            write!(self.out, "{}{}", AnsiCommand(up), AnsiCommand(clear))?;
            self.drawn = 0;
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        if self.is_live {
            let width = size().map_or(WIDTH, |(width, _)| width);
            for line in &self.panel {
                writeln!(self.out, "{}", line.paint(self.has_color, usize::from(width)))?;
                self.drawn = self.drawn.saturating_add(1);
            }
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_gets_the_panel_and_it_is_drawn_over() {
        for is_live in [false, true] {
            let mut out = Vec::new();
            let mut screen = Screen::new(&mut out, is_live, false);
            screen.panel(vec![Line::text("one"), Line::text("two")]).unwrap();
            screen.told("00:01", "git", Tone::Plain, "a commit").unwrap();
            screen.panel(Vec::new()).unwrap();
            let text = String::from_utf8(out).unwrap();
            let told = "  00:01  git      a commit\n";
            if is_live {
                let erase = "\x1b[2F\x1b[J";
                assert_eq!(text, format!("one\ntwo\n{erase}{told}one\ntwo\n{erase}"));
            } else {
                assert_eq!(text, told);
            }
        }
    }
}
