//! Where a command prints: data to `out`, everything else to `err`.
//!
//! With `-o json` data is one indented JSON document, with `-o yaml` one YAML document; while
//! watching, one JSON document a line, or YAML documents that begin with `---`. The shapes are those
//! of the structures in `view`, `list`, `verb` and `lint::report`: camelCase names, times in RFC
//! 3339, absent values left out. Fields are added, never renamed or removed.

use std::io::{Read, Write};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::args::OutputFormat;
use super::error::CliError;
use super::text::{Line, Span, Tone, harmless};

/// What is known of the terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    /// Whether `out` is a terminal whose cursor can be moved.
    pub is_interactive: bool,
    /// Whether it shows colours and the user has not forbidden them.
    pub has_color: bool,
}

/// Where a command reads and prints.
pub struct Console<'a> {
    /// Data.
    pub out: &'a mut (dyn Write + Send),
    /// Progress, notes and errors.
    pub err: &'a mut (dyn Write + Send),
    /// Standard input.
    pub stdin: &'a mut (dyn Read + Send),
    /// What is known of the terminal.
    pub terminal: Terminal,
    /// The clock.
    pub now: &'a (dyn Fn() -> DateTime<Utc> + Sync),
    /// How data is printed.
    pub format: Option<OutputFormat>,
}

impl Console<'_> {
    /// Prints lines as data.
    pub fn lines(&mut self, lines: &[Line]) -> Result<(), CliError> {
        for line in lines {
            writeln!(self.out, "{}", line.paint(self.terminal.has_color, 0))?;
        }
        Ok(())
    }

    /// Prints `data` as asked for, or `lines` for people.
    pub fn data(&mut self, data: &impl Serialize, lines: &[Line]) -> Result<(), CliError> {
        match self.format {
            None => self.lines(lines),
            Some(OutputFormat::Json) => Ok(writeln!(self.out, "{}", json(data, true)?)?),
            Some(OutputFormat::Yaml) => Ok(write!(self.out, "{}", yaml(data)?)?),
        }
    }

    /// Prints one of several documents while watching.
    pub fn document(
        &mut self,
        data: &impl Serialize,
        format: OutputFormat,
    ) -> Result<(), CliError> {
        match format {
            OutputFormat::Json => writeln!(self.out, "{}", json(data, false)?)?,
            OutputFormat::Yaml => write!(self.out, "---\n{}", yaml(data)?)?,
        }
        Ok(self.out.flush()?)
    }

    /// Says something that is no data.
    pub fn say(&mut self, text: &str) -> Result<(), CliError> {
        Ok(writeln!(self.err, "{}", harmless(text))?)
    }

    /// Says what helps.
    pub fn hint(&mut self, text: &str) -> Result<(), CliError> {
        self.say(&format!("hint: {text}"))
    }

    /// Reports an error with its hint. Nothing is left to do when even that fails.
    pub fn report(&mut self, error: &CliError) {
        let line = Line(vec![
            Span::toned(Tone::Bad, "error:"),
            Span::plain(format!(" {}", error.chain())),
        ]);
        let told = writeln!(self.err, "{}", line.paint(self.terminal.has_color, 0));
        if let (Ok(()), Some(hint)) = (told, error.hint()) {
            // A closed stderr cannot be told about.
            let _unheard = self.hint(&hint);
        }
    }
}

fn json(data: &impl Serialize, is_indented: bool) -> Result<String, CliError> {
    if is_indented { serde_json::to_string_pretty(data) } else { serde_json::to_string(data) }
        .map_err(|error| CliError::Format { format: "JSON", source: Box::new(error) })
}

fn yaml(data: &impl Serialize) -> Result<String, CliError> {
    serde_norway::to_string(data)
        .map_err(|error| CliError::Format { format: "YAML", source: Box::new(error) })
}
