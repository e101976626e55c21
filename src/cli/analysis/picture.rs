//! Plots as SVG that stands alone: for each metric the evidence with the lines at which it decides, the ratio
//! with its band, and for latencies both distributions with bands that hold everywhere and at every
//! moment. Pure.

use std::fmt::Write as _;

use super::plot::Plot;
use crate::analysis::statistics::report::band_radius;
use crate::cli::simulate::escaped;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 46.0;
/// Chance that a band of a distribution is ever left.
const BAND_ALPHA: f64 = 0.05;
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}.h{font-size:16px;font-weight:600}\
.d{fill:#57606a}.axis{fill:none;stroke:#d0d7de}.fail{stroke:#cf222e}.pass{stroke:#1a7f37}.line{fill:none;stroke-width:2}\
.limit{stroke-dasharray:5 3;fill:none}.band{fill:#0969da;fill-opacity:.15}.canary{stroke:#bf8700}.stable{stroke:#0969da}\
.canaryband{fill:#bf8700;fill-opacity:.18}.stableband{fill:#0969da;fill-opacity:.15}";

/// A document with the plots of several cases, each below its name.
pub(super) fn svg(title: &str, cases: &[(String, Vec<Plot>)]) -> String {
    let mut picture = Picture { body: String::new(), y: 30.0 };
    picture.text(LEFT, "h", title);
    picture.y += 24.0;
    for (name, plots) in cases {
        if cases.len() > 1 {
            picture.text(LEFT, "h", name);
            picture.y += 22.0;
        }
        for plot in plots {
            picture.evidence(plot);
            picture.ratio(plot);
            picture.distributions(plot);
        }
    }
    let height = picture.y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-size=\"12\">\n\
         <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{}</svg>\n",
        picture.body
    )
}

struct Picture {
    body: String,
    /// Where the next thing is drawn.
    y: f64,
}

impl Picture {
    fn text(&mut self, x: f64, class: &str, text: &str) {
        let y = self.y;
        let text = escaped(text);
        // Writing into a String cannot fail.
        let _ =
            writeln!(self.body, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{text}</text>");
    }

    /// The frame of a panel below its title.
    fn panel(&mut self, title: &str, top: &str, bottom: &str) {
        self.text(LEFT, "d", title);
        self.y += 8.0;
        let (y, width) = (self.y, WIDTH - LEFT - RIGHT);
        let _ = writeln!(
            self.body,
            "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width}\" height=\"{PANEL}\" class=\"axis\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" class=\"d\" text-anchor=\"end\">{top}</text>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" class=\"d\" text-anchor=\"end\">{bottom}</text>",
            y + 10.0,
            y + PANEL,
            x = LEFT - 6.0,
        );
    }

    /// `x` and `y` from 0 to 1 as a place in the panel.
    fn place(&self, (x, y): (f64, f64)) -> String {
        let x = LEFT + x.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
        format!("{x:.1},{:.1}", self.y + PANEL * (1.0 - y.clamp(0.0, 1.0)))
    }

    fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let places: Vec<String> = points.iter().map(|point| self.place(*point)).collect();
        let places = places.join(" ");
        let _ = writeln!(self.body, "<polyline points=\"{places}\" class=\"{class}\"/>");
    }

    fn area(&mut self, lower: &[(f64, f64)], upper: &[(f64, f64)], class: &str) {
        let all = lower.iter().chain(upper.iter().rev());
        let places: Vec<String> = all.map(|point| self.place(*point)).collect();
        let places = places.join(" ");
        let _ = writeln!(self.body, "<polygon points=\"{places}\" class=\"{class}\"/>");
    }

    fn level(&mut self, y: f64, class: &str) {
        self.line(&[(0.0, y), (1.0, y)], &format!("limit {class}"));
    }

    fn evidence(&mut self, plot: &Plot) {
        let top = plot.fail_at.max(plot.pass_at) + 0.5;
        let scale = |y: f64| (y + 1.0) / (top + 1.0);
        let title = format!(
            "{}: evidence (log10) against the release (red) and for it (green); it fails at {:.1}, passes at {:.1}",
            plot.metric, plot.fail_at, plot.pass_at
        );
        self.panel(&title, &format!("{top:.1}"), "-1");
        self.level(scale(plot.fail_at), "fail");
        self.level(scale(plot.pass_at), "pass");
        for (points, class) in [(&plot.against, "fail"), (&plot.in_favour, "pass")] {
            let points: Vec<(f64, f64)> = points.iter().map(|(x, y)| (*x, scale(*y))).collect();
            self.line(&points, &format!("line {class}"));
        }
        self.y += PANEL + GAP;
    }

    fn ratio(&mut self, plot: &Plot) {
        let Some((allowed, margin)) = plot.ratio else { return };
        if plot.lower.is_empty() && plot.upper.is_empty() {
            return;
        }
        let scale = |ratio: f64| (ratio.max(1e-9).log10() + 1.0) / 2.5;
        let title = format!(
            "{}: times stable, at least and at most, at every look; allowed {allowed} (red), margin {margin} (green)",
            plot.metric
        );
        self.panel(&title, "32", "0.1");
        let scaled = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            points.iter().map(|(x, y)| (*x, scale(*y))).collect()
        };
        let (lower, upper) = (scaled(&plot.lower), scaled(&plot.upper));
        // Without a bound the band goes to the edge.
        let edge = |points: &[(f64, f64)], y: f64| -> Vec<(f64, f64)> {
            points.iter().map(|(x, _)| (*x, y)).collect()
        };
        let (low, high) = match (lower.is_empty(), upper.is_empty()) {
            (true, _) => (edge(&upper, 0.0), upper.clone()),
            (false, true) => (lower.clone(), edge(&lower, 1.0)),
            (false, false) => (lower.clone(), upper.clone()),
        };
        self.area(&low, &high, "band");
        self.level(scale(allowed), "fail");
        self.level(scale(margin), "pass");
        self.line(&lower, "line stable");
        self.line(&upper, "line stable");
        self.y += PANEL + GAP;
    }

    /// Shares of requests up to each bound, with their bands (S6 of the judge's statistics).
    fn distributions(&mut self, plot: &Plot) {
        let Some(latency) = &plot.latency else { return };
        let [canary, stable] = latency;
        let mut finite: Vec<f64> = stable
            .iter()
            .map(|(bound, _)| *bound)
            .filter(|it| it.is_finite() && *it > 0.0)
            .collect();
        finite.sort_by(f64::total_cmp);
        let (Some(first), Some(last)) = (finite.first().copied(), finite.last().copied()) else {
            return;
        };
        let span = (last / first).ln().max(1e-9);
        let place = |bound: f64| ((bound / first).ln() / span).clamp(0.0, 1.0);
        let title = format!(
            "{}: share of requests up to a latency, canary (yellow) and stable (blue); bands hold with 95 %; from {first} to {last}",
            plot.metric
        );
        self.panel(&title, "1", "0");
        for (counts, band, line) in
            [(stable, "stableband", "line stable"), (canary, "canaryband", "line canary")]
        {
            let total = counts.iter().map(|(_, count)| *count).fold(0.0, f64::max);
            if total < 1.0 {
                continue;
            }
            let radius = band_radius(total, BAND_ALPHA);
            let mut points: Vec<(f64, f64)> = counts
                .iter()
                .filter(|(bound, _)| bound.is_finite() && *bound > 0.0)
                .map(|(bound, count)| (place(*bound), count / total))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let moved = |by: f64| -> Vec<(f64, f64)> {
                points.iter().map(|(x, y)| (*x, (y + by).clamp(0.0, 1.0))).collect()
            };
            self.area(&moved(-radius), &moved(radius), band);
            self.line(&points, line);
        }
        self.y += PANEL + GAP;
    }
}
