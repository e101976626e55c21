//! A simulation for people: what it differs in, a line for each thing that happened, and the end.

use super::report::{Event, Outcome, Report, Requests, State, What};
use super::watch::shown;
use crate::cli::text::{Line, Span, Tone, table};

/// The report as lines.
pub(super) fn lines(report: &Report) -> Vec<Line> {
    let mut lines = head(report);
    lines.push(Line::default());
    lines.extend(timeline(report));
    lines.push(Line::default());
    lines.extend(end(report));
    lines
}

fn head(report: &Report) -> Vec<Line> {
    let well = |behaviour: &str| {
        if behaviour.is_empty() { String::new() } else { format!(" ({behaviour})") }
    };
    let mut lines = vec![Line::text(format!(
        "{}/{}: {}{} -> {}{}, {} requests a second, seed {}",
        report.namespace,
        report.rollout,
        report.stable.image,
        well(&report.stable.behaviour),
        report.canary.image,
        well(&report.canary.behaviour),
        report.requests_per_second,
        report.seed,
    ))];
    for note in &report.notes {
        lines.push(Line(vec![
            Span::toned(Tone::Dim, format!("  {:<13}  ", note.kind.word())),
            Span::plain(&note.text),
        ]));
    }
    lines
}

/// Events in rows; measurements of a metric with the same verdict, one after the other, in one.
fn timeline(report: &Report) -> Vec<Line> {
    let head = ["TIME", "STEP", "WEIGHT", "PODS", "ERRORS", ""];
    let mut rows = vec![head.map(|word| Span::toned(Tone::Dim, word)).to_vec()];
    let mut diffs: Vec<(usize, String)> = Vec::new();
    let mut errors = 0;
    for group in groups(&report.events) {
        let Some(last) = group.last() else { continue };
        let now = last.state.requests.failed + last.state.requests.lost;
        rows.push(row(report, group.as_slice(), last, now.saturating_sub(errors)));
        errors = errors.max(now);
        if let What::Commit { diff, .. } = &last.what {
            diffs.push((rows.len(), diff.clone()));
        }
    }
    let mut lines = table(&rows);
    for (at, diff) in diffs.into_iter().rev() {
        let changed = diff.lines().filter(|line| line.starts_with(['+', '-']));
        let told: Vec<Line> = changed.map(diff_line).collect();
        lines.splice(at..at, told);
    }
    lines
}

fn diff_line(line: &str) -> Line {
    let tone = if line.starts_with("+++") || line.starts_with("---") {
        Tone::Dim
    } else if line.starts_with('+') {
        Tone::Good
    } else {
        Tone::Bad
    };
    Line(vec![Span::plain(" ".repeat(12)), Span::toned(tone, line)])
}

/// Measurements that are told together.
fn groups(events: &[Event]) -> Vec<Vec<&Event>> {
    let mut groups: Vec<Vec<&Event>> = Vec::new();
    // Since the last thing that was no measurement.
    let mut open = 0;
    for event in events {
        let What::Measurement { run, metric, verdict, .. } = &event.what else {
            in_order(groups.get_mut(open..).unwrap_or_default());
            groups.push(vec![event]);
            open = groups.len();
            continue;
        };
        let fits = |group: &&mut Vec<&Event>| {
            matches!(group.first().map(|first| &first.what),
                Some(What::Measurement { run: r, metric: m, verdict: v, .. })
                    if (r, m, v) == (run, metric, verdict))
        };
        let since = groups.get_mut(open..).unwrap_or_default();
        match since.iter_mut().find(fits) {
            Some(group) => group.push(event),
            None => groups.push(vec![event]),
        }
    }
    in_order(groups.get_mut(open..).unwrap_or_default());
    groups
}

/// Sorts groups by the time of their last event, which is the one that is told.
fn in_order(groups: &mut [Vec<&Event>]) {
    let last = |group: &Vec<&Event>| group.last().map_or(0.0, |event| event.at);
    groups.sort_by(|one, other| last(one).total_cmp(&last(other)));
}

fn row(report: &Report, group: &[&Event], last: &Event, errors: u64) -> Vec<Span> {
    let state = &last.state;
    let (tone, told) = match group {
        [only] => (tone(only), told(only)),
        several => (tone(last), summary(several)),
    };
    let icon = if tone == Tone::Plain { "  ".to_owned() } else { format!("{} ", tone.icon()) };
    vec![
        Span::toned(Tone::Dim, time(last.at)),
        Span::plain(step(report, state)),
        Span::plain(weight(state)),
        Span::plain(pods(state)),
        if errors > 0 { Span::toned(Tone::Bad, errors.to_string()) } else { Span::plain("-") },
        Span::toned(tone, icon + &told),
    ]
}

/// `+1m20s`.
pub(super) fn time(seconds: f64) -> String {
    let whole = std::time::Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("+{seconds}s"),
        (0, minutes) => format!("+{minutes}m{seconds:02}s"),
        (hours, minutes) => format!("+{hours}h{minutes:02}m{seconds:02}s"),
    }
}

/// Number and words of the current step.
pub(super) fn step(report: &Report, state: &State) -> String {
    let index = state.step.and_then(|step| usize::try_from(step).ok());
    let found = index.and_then(|index| Some((index + 1, report.steps.get(index)?)));
    match found {
        Some((number, words)) => {
            format!("{number}/{} {}", report.steps.len(), first_line(words, 28))
        }
        None => "-".to_owned(),
    }
}

/// The first line of a text, cut to a number of characters.
pub(super) fn first_line(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= most {
        return line.to_owned();
    }
    let kept: String = line.chars().take(most.saturating_sub(3)).collect();
    format!("{kept}...")
}

/// Desired and actual weight, once when they are the same.
pub(super) fn weight(state: &State) -> String {
    let actual = shown(state.actual_weight);
    match state.desired_weight.map(shown) {
        Some(desired) if desired != actual => format!("{desired} ({actual})"),
        Some(_) | None => actual,
    }
}

/// Ready pods of the old and of the new version; how many are wanted, where that differs.
fn pods(state: &State) -> String {
    let one = |pods: super::report::Pods| {
        if pods.ready == pods.desired {
            pods.ready.to_string()
        } else {
            format!("{}/{}", pods.ready, pods.desired)
        }
    };
    format!("{}+{}", one(state.stable_pods), one(state.canary_pods))
}

pub(super) fn tone(event: &Event) -> Tone {
    match &event.what {
        What::Verdict { was_ended: true, .. } => Tone::Plain,
        What::Measurement { verdict, .. } => match verdict.as_str() {
            "Successful" => Tone::Good,
            "Failed" => Tone::Bad,
            "Counted" => Tone::Plain,
            // No value is not a bad value.
            _ => Tone::Waiting,
        },
        What::Verdict { verdict, .. } => match verdict.as_str() {
            "Successful" => Tone::Good,
            "Failed" | "Error" => Tone::Bad,
            _ => Tone::Waiting,
        },
        What::Event { is_warning: true, .. } => Tone::Bad,
        What::Change | What::Person | What::World | What::Commit { .. } => Tone::Busy,
        What::Event { .. } | What::Weight { .. } | What::Applied { .. } => Tone::Plain,
    }
}

fn told(event: &Event) -> String {
    match &event.what {
        What::Measurement { verdict, is_dry_run, .. } => {
            let dry = if *is_dry_run { ", dry run" } else { "" };
            format!("{}, {}{dry}", event.text, judged(verdict))
        }
        _ => event.text.clone(),
    }
}

fn judged(verdict: &str) -> &str {
    match verdict {
        "Successful" => "good",
        "Failed" => "bad",
        "Inconclusive" => "undecided",
        "Error" => "not measured",
        "Counted" => "counted",
        other => other,
    }
}

/// Several measurements of one metric.
fn summary(events: &[&Event]) -> String {
    let mut values: Vec<f64> = Vec::new();
    let (mut name, mut verdict) = ("", "");
    for event in events {
        if let What::Measurement { metric, value, verdict: one, .. } = &event.what {
            (name, verdict) = (metric, one);
            values.extend(value.parse::<f64>().ok());
        }
    }
    let least = values.iter().copied().reduce(f64::min);
    let most = values.iter().copied().reduce(f64::max);
    let range = match (least, most) {
        (Some(least), Some(most)) if least < most => format!(" = {least} to {most}"),
        (Some(least), Some(_)) => format!(" = {least}"),
        _ => String::new(),
    };
    let since = events.first().map_or_else(String::new, |first| time(first.at));
    format!("{name}{range}, {} times {} since {since}", events.len(), judged(verdict))
}

fn end(report: &Report) -> Vec<Line> {
    let end = &report.end;
    let tone = match end.outcome {
        Outcome::Promoted => Tone::Good,
        Outcome::Aborted | Outcome::Reverted | Outcome::TimedOut => Tone::Bad,
        Outcome::Paused => Tone::Waiting,
    };
    let after = time(end.after);
    let mut lines = vec![
        Line(vec![
            Span::plain(format!("{:<12}", "Outcome:")),
            Span::state(tone, end.outcome.as_str()),
            Span::plain(format!(" after {}", after.trim_start_matches('+'))),
        ]),
        entry("Why:", &end.message),
    ];
    if !end.waits_for.is_empty() {
        lines.push(entry("Waits for:", &end.waits_for));
    }
    if !end.git_revert.is_empty() {
        lines.push(entry("Git revert:", &end.git_revert));
    }
    if !end.git_image.is_empty() {
        lines.push(entry("Git:", &format!("declares {}", end.git_image)));
    }
    let state = &end.state;
    lines.push(entry("Traffic:", &format!("{} to the new version", shown(state.actual_weight))));
    lines.push(entry(
        "Pods:",
        &format!(
            "{} of the old version, {} of the new one",
            state.stable_pods.ready, state.canary_pods.ready
        ),
    ));
    lines.push(entry("Requests:", &requests(&state.requests)));
    lines.push(entry("Errors:", &errors(&state.requests)));
    lines
}

fn entry(key: &str, value: &str) -> Line {
    Line::text(format!("{key:<12}{value}"))
}

fn requests(requests: &Requests) -> String {
    let by: Vec<String> = requests
        .by_version
        .iter()
        .map(|(tag, count)| format!("{count} answered by {tag}"))
        .collect();
    if by.is_empty() {
        requests.sent.to_string()
    } else {
        format!("{}: {}", requests.sent, by.join(", "))
    }
}

fn errors(requests: &Requests) -> String {
    let all = requests.failed + requests.lost;
    if all == 0 {
        return "none".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "requests are far below 2^53")]
    let share = 100.0 * all as f64 / requests.sent.max(1) as f64;
    format!(
        "{all} ({share:.2} % of all): {} failed, {} were answered by nobody",
        requests.failed, requests.lost
    )
}
