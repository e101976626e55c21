//! What lint found, for people and for programs.

use serde::Serialize;

use crate::cli::text::{Line, Span, Tone};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object would not work.
    Error,
    /// The object works, but perhaps not as meant.
    Warning,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// File, as given; `-` for standard input.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// How bad it is.
    pub severity: Severity,
    /// Kind and name of the object; empty for a document that cannot be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Path of the field; empty when it is about the whole object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The stable shape of `lint -o json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LintReport {
    /// What was found, by file and line.
    pub findings: Vec<Finding>,
    /// Number of errors.
    pub errors: usize,
    /// Number of warnings.
    pub warnings: usize,
    /// Files that were read.
    pub files: usize,
    /// Objects of Sluice that were checked.
    pub objects: usize,
    /// References that could not be checked, because no object of their kind is in the files.
    pub unchecked: Vec<String>,
}

impl LintReport {
    /// Counts and sorts.
    pub(in crate::cli) fn of(mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| {
            (&a.file, a.line, a.severity, &a.field).cmp(&(&b.file, b.line, b.severity, &b.field))
        });
        findings.dedup();
        let count = |severity| findings.iter().filter(|found| found.severity == severity).count();
        Self {
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            findings,
            ..Self::default()
        }
    }

    /// The findings for people: `file:line: error: object: field: problem`.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for found in &self.findings {
            let (tone, word) = match found.severity {
                Severity::Error => (Tone::Bad, "error"),
                Severity::Warning => (Tone::Waiting, "warning"),
            };
            let mut about = String::new();
            for text in [&found.object, &found.field].into_iter().filter(|text| !text.is_empty()) {
                about.push_str(text);
                about.push_str(": ");
            }
            lines.push(Line(vec![
                Span::plain(format!("{}:{}: ", found.file, found.line)),
                Span::toned(tone, word),
                Span::plain(format!(": {about}{}", found.problem)),
            ]));
            lines.extend(found.hint.iter().map(|hint| Line::text(format!("    hint: {hint}"))));
        }
        lines
    }

    /// The last words.
    pub(super) fn summary(&self) -> String {
        let plural = |count: usize, word: &str| {
            format!("{count} {word}{}", if count == 1 { "" } else { "s" })
        };
        let found = match (self.errors, self.warnings) {
            (0, 0) => "no problems".to_owned(),
            (errors, 0) => plural(errors, "error"),
            (0, warnings) => plural(warnings, "warning"),
            (errors, warnings) => {
                format!("{} and {}", plural(errors, "error"), plural(warnings, "warning"))
            }
        };
        format!("{found} in {} of {}", plural(self.objects, "object"), plural(self.files, "file"))
    }
}
