//! Plots for a terminal, in braille: each character holds two by four dots. Pure.

use chrono::TimeDelta;

use crate::cli::text::span_of_time;

/// Characters of a plot beside its labels, and lines.
const WIDTH: usize = 60;
const HEIGHT: usize = 8;
/// Characters before a plot.
const LABEL: usize = 9;

/// A field of dots; y grows upwards.
struct Canvas {
    dots: Vec<Vec<u8>>,
}

impl Canvas {
    fn new() -> Self {
        Self { dots: vec![vec![0; WIDTH]; HEIGHT] }
    }

    /// Sets a dot; `x` and `y` from 0 to 1.
    fn set(&mut self, x: f64, y: f64) {
        let scaled = |part: f64, size: usize| -> usize {
            let size = u32::try_from(size).unwrap_or(1);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is between 0 and the size of the plot"
            )]
            let at = (part.clamp(0.0, 1.0) * f64::from(size - 1)).round() as usize;
            at
        };
        let (column, row) = (scaled(x, WIDTH * 2), scaled(1.0 - y, HEIGHT * 4));
        // The dots of a character, from the top: Unicode's block "Braille Patterns".
        let bit = match (column % 2, row % 4) {
            (0, 0) => 0x01,
            (0, 1) => 0x02,
            (0, 2) => 0x04,
            (0, _) => 0x40,
            (_, 0) => 0x08,
            (_, 1) => 0x10,
            (_, 2) => 0x20,
            _ => 0x80,
        };
        if let Some(cell) = self.dots.get_mut(row / 4).and_then(|line| line.get_mut(column / 2)) {
            *cell |= bit;
        }
    }

    /// A line through points, and across what lies between them.
    fn line(&mut self, points: &[(f64, f64)]) {
        for pair in points.windows(2) {
            let [(x0, y0), (x1, y1)] = pair else { continue };
            let steps = WIDTH * 2;
            for step in 0..=steps {
                let part = f64::from(u32::try_from(step).unwrap_or(0))
                    / f64::from(u32::try_from(steps).unwrap_or(1));
                self.set(x0 + (x1 - x0) * part, y0 + (y1 - y0) * part);
            }
        }
        if let [(x, y)] = points {
            self.set(*x, *y);
        }
    }

    /// A dotted line at a height.
    fn level(&mut self, y: f64) {
        for column in (0..WIDTH * 2).step_by(4) {
            let x = f64::from(u32::try_from(column).unwrap_or(0))
                / f64::from(u32::try_from(WIDTH * 2 - 1).unwrap_or(1));
            self.set(x, y);
        }
    }

    fn lines(&self) -> Vec<String> {
        let character = |dots: &u8| char::from_u32(0x2800 + u32::from(*dots)).unwrap_or(' ');
        self.dots.iter().map(|line| line.iter().map(character).collect()).collect()
    }
}

/// What is plotted of a metric. Times are from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plot {
    /// Its name.
    pub(super) metric: String,
    /// Decimal logarithm of the evidence against the release, and for it.
    pub(super) against: Vec<(f64, f64)>,
    pub(super) in_favour: Vec<(f64, f64)>,
    /// Where it fails, and where it passes.
    pub(super) fail_at: f64,
    pub(super) pass_at: f64,
    /// The ratio is at least and at most.
    pub(super) lower: Vec<(f64, f64)>,
    pub(super) upper: Vec<(f64, f64)>,
    /// The ratio that is allowed, and the margin of a pass.
    pub(super) ratio: Option<(f64, f64)>,
    /// Requests up to each bound, of canary and of stable.
    pub(super) latency: Option<[Vec<(f64, f64)>; 2]>,
    /// How long it took.
    pub(super) length: TimeDelta,
}

/// The lines of a plot: evidence over time with the lines at which it decides; and below, where known,
/// the ratio between its bounds.
pub(super) fn of(plot: &Plot) -> Vec<String> {
    if plot.against.is_empty() {
        return Vec::new();
    }
    let Plot { metric, fail_at, pass_at, .. } = plot;
    let mut lines = vec![format!(
        "{metric}: evidence, as log10; fails at {fail_at:.1}, passes at {pass_at:.1}"
    )];
    let top = fail_at.max(*pass_at) + 0.5;
    let scale = |y: f64| (y + 1.0) / (top + 1.0);
    let mut canvas = Canvas::new();
    canvas.level(scale(*fail_at));
    canvas.level(scale(*pass_at));
    for points in [&plot.against, &plot.in_favour] {
        let points: Vec<(f64, f64)> = points.iter().map(|(x, y)| (*x, scale(*y))).collect();
        canvas.line(&points);
    }
    lines.extend(labelled(&canvas, &format!("{top:.1}"), "-1"));
    if let Some((allowed, margin)) = plot.ratio
        && !(plot.lower.is_empty() && plot.upper.is_empty())
    {
        lines.push(format!(
            "{metric}: times stable, at least and at most; allowed {allowed}, margin {margin}"
        ));
        let mut canvas = Canvas::new();
        // From a tenth to thirty times, by powers.
        let scale = |ratio: f64| (ratio.max(1e-9).log10() + 1.0) / 2.5;
        canvas.level(scale(allowed));
        canvas.level(scale(margin));
        for points in [&plot.lower, &plot.upper] {
            let points: Vec<(f64, f64)> = points.iter().map(|(x, y)| (*x, scale(*y))).collect();
            canvas.line(&points);
        }
        lines.extend(labelled(&canvas, "32", "0.1"));
    }
    let length = span_of_time(plot.length);
    lines.push(format!("{:LABEL$}0{length:>width$}", "", width = WIDTH - 1));
    lines
}

fn labelled(canvas: &Canvas, top: &str, bottom: &str) -> Vec<String> {
    let last = HEIGHT - 1;
    let width = LABEL - 1;
    let drawn = canvas.lines().into_iter().enumerate();
    drawn
        .map(|(row, line)| {
            let label = match row {
                0 => top,
                _ if row == last => bottom,
                _ => "",
            };
            format!("{label:>width$} {line}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_where_unicode_says() {
        let mut canvas = Canvas::new();
        canvas.set(0.0, 1.0);
        canvas.set(1.0, 0.0);
        let lines = canvas.lines();
        assert!(lines[0].starts_with('\u{2801}') && lines[HEIGHT - 1].ends_with('\u{2880}'));
    }

    #[test]
    fn a_line_leaves_no_gaps() {
        let mut canvas = Canvas::new();
        canvas.line(&[(0.0, 0.0), (1.0, 1.0)]);
        let columns = (0..WIDTH).filter(|at| canvas.dots.iter().any(|line| line[*at] != 0));
        assert_eq!(columns.count(), WIDTH);
    }
}
