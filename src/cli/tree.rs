//! The view of a Rollout for people: a block of keys and values, then a tree of what belongs to it.
//! Pure: a view and a time in, lines out.

use chrono::{DateTime, Utc};

use super::run_view::{RunView, phase_tone};
use super::text::{Line, Span, Tone, age, span_of_time, table};
use super::view::{ReplicaSetView, RevisionView, RolloutView, WeightsView};
use crate::api::status::{GitRevertState, GitRevertStatus, RolloutPhase};

/// How a phase stands.
pub fn phase_tone_of(phase: RolloutPhase) -> Tone {
    match phase {
        RolloutPhase::Healthy => Tone::Good,
        RolloutPhase::Degraded => Tone::Bad,
        RolloutPhase::Progressing => Tone::Busy,
        RolloutPhase::Paused => Tone::Waiting,
    }
}

/// The whole view.
pub fn rollout_lines(view: &RolloutView, now: DateTime<Utc>) -> Vec<Line> {
    let mut lines = block(view, now);
    lines.push(Line::default());
    lines.extend(tree(view, now));
    lines
}

fn block(view: &RolloutView, now: DateTime<Utc>) -> Vec<Line> {
    let plain = |key: &str, text: String| Line::entry(key, Span::plain(text));
    let phase = Span::state(phase_tone_of(view.phase), view.phase.as_str());
    let mut lines = vec![
        plain("Name", view.name.clone()),
        plain("Namespace", view.namespace.clone()),
        Line::entry("Status", phase),
    ];
    if !view.message.is_empty() {
        lines.push(plain("Message", view.message.clone()));
    }
    lines.push(plain("Strategy", view.strategy.to_owned()));
    if let Some(step) = &view.step {
        let what = if step.description.is_empty() {
            String::new()
        } else {
            format!(" ({})", step.description)
        };
        lines.push(plain("Step", format!("{}/{}{what}", step.index, step.count)));
    }
    if let Some(end) = view.pause_ends_at {
        lines.push(plain("Pause ends", format!("in {}", span_of_time(end.0 - now))));
    }
    if let Some(weights) = &view.weights {
        lines.extend(weight_lines(weights));
    }
    for (idx, image) in view.images.iter().enumerate() {
        let key = if idx == 0 { "Images" } else { "" };
        let roles = if image.roles.is_empty() {
            String::new()
        } else {
            format!(" ({})", image.roles.join(", "))
        };
        lines.push(plain(key, format!("{}{roles}", image.image)));
    }
    let pods = view.replicas;
    lines.push(plain(
        "Replicas",
        format!(
            "{} desired, {} current, {} updated, {} ready, {} available",
            pods.desired, pods.current, pods.updated, pods.ready, pods.available
        ),
    ));
    for (idx, wait) in view.waiting_on.iter().enumerate() {
        let key = if idx == 0 { "Waiting on" } else { "" };
        let until = wait.until.map_or_else(String::new, |until| {
            format!(", at most {} more", span_of_time(until.0 - now))
        });
        let text = format!("{} (for {}{until})", wait.what, span_of_time(now - wait.since.0));
        lines.push(Line::entry(key, Span::toned(Tone::Waiting, text)));
    }
    if let Some(revert) = &view.git_revert {
        lines.push(Line::entry("Git revert", git_revert(revert)));
    }
    if let Some(request) = view.last_request.as_ref().filter(|request| !request.verb.is_empty()) {
        let by = if request.by.is_empty() { String::new() } else { format!(" by {}", request.by) };
        let at =
            request.at.map_or_else(String::new, |at| format!(", {} ago", span_of_time(now - at.0)));
        lines.push(plain("Last request", format!("{}{by}{at}", request.verb)));
    }
    lines
}

/// Both weights, always: what was decided and what was read back are two different things.
fn weight_lines(weights: &WeightsView) -> [Line; 2] {
    let total = if weights.total == 100 { String::new() } else { format!(" of {}", weights.total) };
    let share = |weight: Option<u32>| {
        weight.map_or_else(|| "not known".to_owned(), |weight| format!("{weight}{total}"))
    };
    let actual = share(weights.actual_canary);
    let actual = match (weights.actual_canary, weights.is_confirmed) {
        (None, _) => Span::toned(Tone::Waiting, actual),
        (Some(_), true) => Span::plain(format!("{actual} (confirmed by the router)")),
        (Some(_), false) => Span::toned(Tone::Waiting, format!("{actual} (not confirmed yet)")),
    };
    [
        Line::entry("Desired weight", Span::plain(share(weights.desired_canary))),
        Line::entry("Actual weight", actual),
    ]
}

/// A Git revert in one line.
pub fn git_revert(revert: &GitRevertStatus) -> Span {
    let (tone, word) = match revert.state {
        GitRevertState::Planned => (Tone::Busy, "Planned"),
        GitRevertState::AwaitingApproval => (Tone::Waiting, "AwaitingApproval"),
        GitRevertState::Pushing => (Tone::Busy, "Pushing"),
        GitRevertState::AwaitingSync => (Tone::Busy, "AwaitingSync"),
        GitRevertState::Reverted => (Tone::Good, "Reverted"),
        GitRevertState::AlreadyReverted => (Tone::Good, "AlreadyReverted"),
        GitRevertState::Superseded => (Tone::Dim, "Superseded"),
        GitRevertState::PullRequestOpen => (Tone::Waiting, "PullRequestOpen"),
        GitRevertState::Vetoed => (Tone::Dim, "Vetoed"),
        GitRevertState::Suggested => (Tone::Waiting, "Suggested"),
        GitRevertState::Blocked => (Tone::Bad, "Blocked"),
        GitRevertState::Ineffective => (Tone::Bad, "Ineffective"),
        GitRevertState::Suspended => (Tone::Bad, "Suspended"),
    };
    let mut text = format!("{} {word}", tone.icon());
    if !revert.reason.is_empty() {
        text = format!("{text} ({})", revert.reason);
    }
    if !revert.message.is_empty() {
        text = format!("{text}: {}", revert.message);
    }
    if let Some(commit) = &revert.commit {
        text = format!("{text}, commit {}", short(commit));
    }
    Span::toned(tone, text)
}

/// A commit as people see it.
pub(super) fn short(commit: &str) -> String {
    commit.chars().take(12).collect()
}

/// One row of the tree: its branches are drawn when its place is known.
struct Node {
    cells: Vec<Span>,
    children: Vec<Node>,
}

fn node(
    name: &str,
    kind: &str,
    state: Span,
    age: String,
    info: String,
    children: Vec<Node>,
) -> Node {
    let cells = vec![
        Span::plain(name),
        Span::plain(kind),
        state,
        Span::plain(age),
        Span::toned(Tone::Dim, info),
    ];
    Node { cells, children }
}

fn tree(view: &RolloutView, now: DateTime<Utc>) -> Vec<Line> {
    let state = Span::state(phase_tone_of(view.phase), view.phase.as_str());
    let since = view.created_at.map(|time| time.0);
    let children = view.revisions.iter().map(|revision| revision_node(revision, now)).collect();
    let root = node(&view.name, "Rollout", state, age(since, now), String::new(), children);
    let mut rows = vec![["NAME", "KIND", "STATUS", "AGE", "INFO"].map(Span::plain).to_vec()];
    draw(root, "", "", &mut rows);
    table(&rows)
}

/// Appends the row of `node` behind `branch`, and its children behind `trunk`.
fn draw(node: Node, branch: &str, trunk: &str, rows: &mut Vec<Vec<Span>>) {
    let mut cells = node.cells;
    if let Some(name) = cells.first_mut() {
        name.text = format!("{branch}{}", name.text);
    }
    rows.push(cells);
    let count = node.children.len();
    for (idx, child) in node.children.into_iter().enumerate() {
        let (fork, line) = if idx + 1 == count { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(child, &format!("{trunk}{fork}"), &format!("{trunk}{line}"), rows);
    }
}

fn revision_node(revision: &RevisionView, now: DateTime<Utc>) -> Node {
    let mut children: Vec<Node> = Vec::new();
    children.extend(revision.replica_set.as_ref().map(|set| replica_set_node(set, now)));
    children.extend(revision.analysis_runs.iter().map(|run| run_node(run, now)));
    let name = if revision.number == 0 {
        format!("revision:{}", revision.revision)
    } else {
        format!("revision:{}", revision.number)
    };
    node(&name, "Revision", Span::default(), String::new(), String::new(), children)
}

fn replica_set_node(set: &ReplicaSetView, now: DateTime<Utc>) -> Node {
    let tone = match set.phase {
        "Healthy" => Tone::Good,
        "Degraded" => Tone::Bad,
        "ScaledDown" => Tone::Dim,
        _ => Tone::Busy,
    };
    let mut info: Vec<String> = set.roles.iter().map(|role| (*role).to_owned()).collect();
    if set.phase != "ScaledDown" {
        info.push(format!("available {}/{}", set.available, set.desired));
    }
    if let Some(at) = set.scale_down_at.filter(|_| set.desired > 0) {
        info.push(if at.0 > now {
            format!("scales down in {}", span_of_time(at.0 - now))
        } else {
            "scales down now".to_owned()
        });
    }
    let children = set
        .pods
        .iter()
        .map(|pod| {
            let mut info = format!("ready {}/{}", pod.ready, pod.containers);
            if pod.restarts > 0 {
                info = format!("{info}, restarts {}", pod.restarts);
            }
            let state = Span::state(pod.tone(), &pod.phase);
            let since = pod.created_at.map(|time| time.0);
            node(&pod.name, "Pod", state, age(since, now), info, Vec::new())
        })
        .collect();
    let since = set.created_at.map(|time| time.0);
    let state = Span::state(tone, set.phase);
    node(&set.name, "ReplicaSet", state, age(since, now), info.join(", "), children)
}

fn run_node(run: &RunView, now: DateTime<Utc>) -> Node {
    let state = Span::state(phase_tone(run.phase), run.phase.as_str());
    let since = run.created_at.map(|time| time.0);
    let mut info = run.measurements.describe();
    if run.was_terminated {
        info.push_str(", terminated");
    }
    node(&run.name, "AnalysisRun", state, age(since, now), info, Vec::new())
}
