//! A simulation as a picture: weight, pods and measurements over time, with a mark for everything
//! that decided something. SVG that stands alone, and the same in a page with all events; neither
//! loads anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::report::{Event, Report, Sample, State, What};
use super::text::{first_line, time, tone};
use super::watch::shown;
use crate::cli::text::{Tone, span_of_time};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const PANEL: f64 = 120.0;
const SMALL_PANEL: f64 = 80.0;
const GAP: f64 = 56.0;
/// Room that a mark takes.
const MARK: f64 = 19.0;
/// Most metrics that have a panel of their own.
const MOST_METRICS: usize = 6;
/// Most marks that are explained.
const MOST_MARKS: usize = 40;
/// Steps of the time axis, in seconds.
const TICKS: [f64; 14] = [
    1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0,
    86_400.0,
];
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}.h{font-size:16px;font-weight:600}\
.d{fill:#57606a}.axis{stroke:#d0d7de}.stable{stroke:#0969da}.canary{stroke:#bf8700}.want{stroke:#57606a;\
stroke-dasharray:5 3}.line{fill:none;stroke-width:2}.area{fill:#bf8700;fill-opacity:.18}.mark{stroke:#8c959f;\
stroke-dasharray:2 3}.good{fill:#1a7f37}.bad{fill:#cf222e}.wait{fill:#9a6700}.busy{fill:#0969da}.plain{fill:#57606a}\
.dot text{fill:#fff;font-size:10px;text-anchor:middle}";

/// The report as an SVG document.
pub(super) fn svg(report: &Report) -> String {
    let mut picture = Picture::of(report);
    picture.draw();
    picture.finish()
}

/// The report as a page.
pub(super) fn html(report: &Report) -> String {
    let title = format!("{}/{}: {}", report.namespace, report.rollout, report.end.outcome.as_str());
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n<style>\
         body{{font:14px system-ui,sans-serif;max-width:1000px;margin:1.5em auto;padding:0 1em;color:#24292f}}\
         table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;vertical-align:top;padding:3px 8px;\
         border-bottom:1px solid #d0d7de}}td.t{{white-space:nowrap}}svg{{width:100%;height:auto}}\
         .good{{color:#1a7f37}}.bad{{color:#cf222e}}.wait{{color:#9a6700}}.busy{{color:#0969da}}\
         pre{{margin:2px 0;white-space:pre-wrap}}</style></head><body>\n",
        escaped(&title)
    );
    page.push_str(&svg(report));
    page.push_str("\n<h2>What happened</h2>\n<table><tr><th>Time</th><th>Step</th><th>Weight</th><th>Pods</th><th></th></tr>\n");
    for event in &report.events {
        let state = &event.state;
        let _ = write!(
            page,
            "<tr><td class=\"t\">{}</td><td class=\"t\">{}</td><td class=\"t\">{}</td><td class=\"t\">{}+{}</td><td class=\"{}\">{}",
            time(event.at),
            escaped(&super::text::step(report, state)),
            escaped(&super::text::weight(state)),
            state.stable_pods.ready,
            state.canary_pods.ready,
            class(tone(event)),
            escaped(&event.text),
        );
        if let What::Commit { diff, .. } = &event.what {
            let _ = write!(page, "<pre>{}</pre>", escaped(diff));
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</table>\n<h2>How this differs from your cluster</h2>\n<table>\n");
    for note in &report.notes {
        let (word, text) = (note.kind.word(), escaped(&note.text));
        let _ = writeln!(page, "<tr><td class=\"t\">{word}</td><td>{text}</td></tr>");
    }
    page.push_str("</table>\n</body></html>\n");
    page
}

struct Picture<'a> {
    report: &'a Report,
    body: String,
    /// How far it is drawn.
    y: f64,
    /// Seconds of the time axis.
    length: f64,
    /// What decided something, each with the row of its mark.
    marks: Vec<(&'a Event, usize)>,
}

impl<'a> Picture<'a> {
    fn of(report: &'a Report) -> Self {
        let is_mark = |event: &&Event| {
            matches!(
                event.what,
                What::Change
                    | What::Verdict { .. }
                    | What::Person
                    | What::World
                    | What::Commit { .. }
            ) || matches!(event.what, What::Event { is_warning: true, .. })
        };
        let mut picture = Self {
            report,
            body: String::new(),
            y: 0.0,
            length: report.end.simulated.max(1.0),
            marks: Vec::new(),
        };
        // Each in the first row in which it covers no other.
        let mut rows: Vec<f64> = Vec::new();
        for event in report.events.iter().filter(is_mark).take(MOST_MARKS) {
            let x = picture.x(event.at);
            let free = rows.iter().position(|last| x - last >= MARK);
            let row = free.unwrap_or(rows.len());
            match rows.get_mut(row) {
                Some(last) => *last = x,
                None => rows.push(x),
            }
            picture.marks.push((event, row));
        }
        picture
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (at / self.length).clamp(0.0, 1.0)
    }

    fn put(&mut self, args: std::fmt::Arguments<'_>) {
        // Writing to a text cannot fail.
        let _ = self.body.write_fmt(args);
        self.body.push('\n');
    }

    fn draw(&mut self) {
        self.title();
        let top = self.y;
        let rows = self.marks.iter().map(|(_, row)| row + 1).max().unwrap_or(0);
        self.y += MARK * to_f64(rows) - GAP / 2.0;
        self.weights();
        self.pods();
        self.requests();
        self.metrics();
        self.mark_lines(top);
        self.legend();
    }

    fn title(&mut self) {
        let report = self.report;
        let end = &report.end;
        let state = match end.outcome {
            super::report::Outcome::Promoted => "good",
            super::report::Outcome::Paused => "wait",
            _ => "bad",
        };
        let head = format!(
            "{}/{}: {} to {}",
            report.namespace, report.rollout, report.stable.tag, report.canary.tag
        );
        self.put(format_args!("<text class=\"h\" x=\"{LEFT}\" y=\"26\">{}</text>", escaped(&head)));
        let after = time(end.after);
        let after = after.trim_start_matches('+');
        self.put(format_args!(
            "<text x=\"{LEFT}\" y=\"46\"><tspan class=\"{state}\" font-weight=\"600\">{}</tspan> after {after}: {}</text>",
            end.outcome.as_str(),
            escaped(&first_line(&end.message, 120)),
        ));
        self.y = 56.0;
    }

    /// A panel with its axes; the y coordinates of its top and bottom.
    fn panel(&mut self, name: &str, height: f64, top: &str, bottom: &str) -> (f64, f64) {
        let begin = self.y + GAP - 14.0;
        let end = begin + height;
        let right = WIDTH - RIGHT;
        let below = begin - 8.0;
        self.put(format_args!("<text x=\"{LEFT}\" y=\"{below}\">{name}</text>"));
        for (y, label) in [(begin, top), (end, bottom)] {
            self.put(format_args!(
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"d\" text-anchor=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                escaped(label),
            ));
        }
        self.ticks(end);
        self.y = end;
        (begin, end)
    }

    fn ticks(&mut self, y: f64) {
        let step = TICKS.into_iter().find(|step| self.length / step <= 10.0).unwrap_or(86_400.0);
        let mut at = 0.0;
        while at <= self.length {
            let x = self.x(at);
            self.put(format_args!(
                "<text class=\"d\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                y + 16.0,
                span_of_time(chrono::TimeDelta::milliseconds(milliseconds(at)))
            ));
            at += step;
        }
    }

    /// Points of a line that holds each value until the next.
    fn stairs(
        &self,
        values: impl Iterator<Item = (f64, f64)>,
        (top, bottom): (f64, f64),
    ) -> String {
        let mut points = String::new();
        let mut last = None;
        for (at, value) in values {
            let (x, y) = (self.x(at), bottom - (bottom - top) * value.clamp(0.0, 1.0));
            if let Some(last) = last {
                let _ = write!(points, "{x:.1},{last:.1} ");
            }
            let _ = write!(points, "{x:.1},{y:.1} ");
            last = Some(y);
        }
        if let Some(last) = last {
            let _ = write!(points, "{:.1},{last:.1}", self.x(self.length));
        }
        points
    }

    fn line(&mut self, class: &str, points: &str) {
        self.put(format_args!("<polyline class=\"line {class}\" points=\"{points}\"/>"));
    }

    fn weights(&mut self) {
        let name = "Requests to the new version: actual (area), <tspan class=\"d\">desired (dashed)</tspan>";
        let place = self.panel(name, PANEL, "100 %", "0 %");
        let report = self.report;
        let of = |value: fn(&State) -> f64| {
            report.samples.iter().map(move |sample| (sample.at, value(&sample.state) / 100.0))
        };
        let actual = self.stairs(of(|state| state.actual_weight), place);
        let (bottom, end) = (place.1, self.x(self.length));
        self.put(format_args!(
            "<polygon class=\"area\" points=\"{LEFT},{bottom:.1} {actual} {end:.1},{bottom:.1}\"/>"
        ));
        self.line("canary", &actual);
        if report.samples.iter().any(|sample| sample.state.desired_weight.is_some()) {
            let desired = of(|state| state.desired_weight.unwrap_or(state.actual_weight));
            let desired = self.stairs(desired, place);
            self.line("want", &desired);
        }
    }

    fn pods(&mut self) {
        let report = self.report;
        let counts =
            |sample: &Sample| [sample.state.stable_pods.ready, sample.state.canary_pods.ready];
        let most = report.samples.iter().flat_map(counts).max().unwrap_or(1).max(1);
        let name = "Ready pods: <tspan class=\"busy\">old version</tspan>, <tspan class=\"wait\">new version</tspan>";
        let place = self.panel(name, SMALL_PANEL, &most.to_string(), "0");
        for (class, idx) in [("stable", 0), ("canary", 1)] {
            let values = report.samples.iter().map(|sample| {
                let ready = counts(sample).get(idx).copied().unwrap_or(0);
                (sample.at, ratio(ready, most))
            });
            let points = self.stairs(values, place);
            self.line(class, &points);
        }
    }

    /// The share of requests that failed or were lost, between samples.
    fn requests(&mut self) {
        let mut shares: Vec<(f64, f64)> = Vec::new();
        let mut before: Option<&Sample> = None;
        for sample in &self.report.samples {
            if let Some(before) = before {
                let (old, new) = (&before.state.requests, &sample.state.requests);
                let bad = (new.failed + new.lost).saturating_sub(old.failed + old.lost);
                let sent = new.sent.saturating_sub(old.sent);
                if sent > 0 {
                    shares.push((before.at, ratio(bad, sent)));
                }
            }
            before = Some(sample);
        }
        let most = shares.iter().map(|(_, share)| *share).fold(0.0, f64::max);
        let top = if most > 0.0 { most } else { 0.01 };
        let place =
            self.panel("Requests of users that failed", SMALL_PANEL, &shown(top * 100.0), "0 %");
        let points = self.stairs(shares.into_iter().map(|(at, share)| (at, share / top)), place);
        self.put(format_args!("<polyline class=\"line\" stroke=\"#cf222e\" points=\"{points}\"/>"));
    }

    fn metrics(&mut self) {
        let mut metrics: BTreeMap<&str, Vec<(&Event, Option<f64>)>> = BTreeMap::new();
        for event in &self.report.events {
            if let What::Measurement { metric, value, .. } = &event.what {
                let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
                metrics.entry(metric).or_default().push((event, number));
            }
        }
        for (name, points) in metrics.into_iter().take(MOST_METRICS) {
            let values = points.iter().filter_map(|(_, value)| *value);
            let ends = values.clone().reduce(f64::min).zip(values.reduce(f64::max));
            let (least, most) = match ends {
                None => (0.0, 1.0),
                Some((least, most)) if (most - least).abs() < f64::EPSILON => {
                    (least.min(0.0), if most > 0.0 { most } else { 1.0 })
                }
                Some(ends) => ends,
            };
            let label = |value: f64| super::watch::shortened(&value.to_string());
            let head = format!(
                "Metric {}: <tspan class=\"good\">good</tspan>, <tspan class=\"bad\">bad</tspan>, <tspan class=\"wait\">undecided or not measured</tspan>",
                escaped(name)
            );
            let (top, bottom) = self.panel(&head, SMALL_PANEL, &label(most), &label(least));
            for (event, value) in points {
                let class = class(tone(event));
                let share = value.map_or(0.0, |value| (value - least) / (most - least));
                let (x, y) = (self.x(event.at), bottom - (bottom - top) * share.clamp(0.0, 1.0));
                self.put(format_args!(
                    "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{} {}</title></circle>",
                    time(event.at),
                    escaped(&event.text)
                ));
            }
        }
    }

    /// A line through all panels for each mark, with its number.
    fn mark_lines(&mut self, top: f64) {
        let bottom = self.y;
        for (number, (event, row)) in (1..).zip(self.marks.clone()) {
            let x = self.x(event.at);
            let y = top + 10.0 + MARK * to_f64(row);
            self.put(format_args!(
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{y:.1}\" y2=\"{bottom:.1}\"/>"
            ));
            self.dot(x, y, number, event);
        }
    }

    fn dot(&mut self, x: f64, y: f64, number: usize, event: &Event) {
        self.put(format_args!(
            "<g class=\"dot\"><circle class=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\"/><text x=\"{x:.1}\" y=\"{:.1}\">{number}</text><title>{}</title></g>",
            class(tone(event)),
            y + 3.5,
            escaped(&event.text)
        ));
    }

    fn legend(&mut self) {
        self.y += 34.0;
        for (number, (event, _)) in (1..).zip(self.marks.clone()) {
            self.dot(LEFT - 20.0, self.y, number, event);
            let y = self.y + 4.0;
            self.put(format_args!(
                "<text class=\"d\" x=\"{LEFT}\" y=\"{y:.1}\">{}</text><text x=\"{}\" y=\"{y:.1}\">{}</text>",
                time(event.at),
                LEFT + 70.0,
                escaped(&first_line(&event.text, 120))
            ));
            self.y += 20.0;
        }
    }

    fn finish(self) -> String {
        let height = self.y + 10.0;
        let label = format!(
            "{}/{}: {}",
            self.report.namespace,
            self.report.rollout,
            self.report.end.outcome.as_str()
        );
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{}</svg>\n",
            escaped(&label),
            self.body
        )
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Waiting => "wait",
        Tone::Busy => "busy",
        Tone::Plain | Tone::Dim => "plain",
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "rows are few")]
fn to_f64(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a double saturates")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

/// Text inside of XML; control characters are left out.
pub(in crate::cli) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(c),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_break_out_of_the_picture() {
        assert_eq!(escaped("a<b>&\"\u{1b}"), "a&lt;b&gt;&amp;&quot; ");
    }
}
