//! The end of a run: what a world must come to when nothing goes wrong any more.

use serde::{Deserialize, Serialize};

use super::view::{count, shares, text};
use super::{Oracle, Time};
use crate::case::{Act, Case, Shape};
use crate::manifests::{is_bad, is_broken};

/// Where a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct End {
    /// Phase of the Rollout.
    pub(crate) phase: String,
    /// Tag of the stable revision.
    pub(crate) stable: String,
    /// Tag that the Rollout asks for.
    pub(crate) asked: String,
    /// Percent of the requests to the stable revision.
    pub(crate) share: i64,
    /// Whether the update is aborted.
    pub(crate) is_aborted: bool,
    /// Commits of the controller.
    pub(crate) reverts: usize,
}

/// How a run ended, beside its objects.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// When everything was over.
    pub(crate) at: Time,
    /// From when on nothing was to be written.
    pub(crate) quiet_from: Time,
    /// Messages of the commits, newest first.
    pub(crate) messages: Vec<String>,
    /// Files of others that are not as they were pushed last.
    pub(crate) lost: Vec<String>,
    /// The tag at the head of the branch.
    pub(crate) head: String,
    /// Rights that the controller asked for and has not.
    pub(crate) refused: Vec<String>,
    /// Panics.
    pub(crate) panics: Vec<String>,
    /// How often something read the wall clock past its port.
    pub(crate) clock_reads: u64,
}

/// Whether something in a case can be a reason for a correct controller to end elsewhere.
pub(crate) fn is_excused(case: &Case) -> bool {
    case.has_verbs() || case.faults.iter().any(|fault| fault.what.may_abort())
}

/// The differential oracle: where nothing that went wrong can be a reason to abort, the end is that of
/// the run without faults. Which of several updates was superseded before its verdict is a matter of
/// time, so versions and numbers of reverts may differ; and with them whether the budget of a day is
/// spent, after which Git is left to people.
pub(crate) fn differs_from_twin(end: &End, twin: &End) -> Option<String> {
    if end.reverts.max(twin.reverts) >= REVERTS_A_DAY {
        return None;
    }
    let is_same = (&twin.phase, twin.is_aborted) == (&end.phase, end.is_aborted);
    (!is_same).then(|| format!("without faults the end is {twin:?}, with them {end:?}"))
}

/// `gitRevert.maxPerDay` by default.
const REVERTS_A_DAY: usize = 2;
const REVERT_ID: &str = "Sluice-Revert-Id:";

impl Oracle {
    /// Where the world is now.
    pub(crate) fn end(&self, messages: &[String]) -> End {
        let tag = |revision: &str| self.view.tags.get(revision).cloned().unwrap_or_default();
        let image = text(&self.view.rollout, "/spec/template/spec/containers/0/image");
        let share = self.view.share_of(self.view.stable(), &shares(&self.view.route));
        End {
            phase: text(&self.view.rollout, "/status/phase").to_owned(),
            stable: tag(self.view.stable()),
            asked: image.rsplit(':').next().unwrap_or_default().to_owned(),
            #[expect(clippy::cast_possible_truncation, reason = "a percentage")]
            share: share.round() as i64,
            is_aborted: self.view.is_aborted(),
            reverts: messages.iter().filter(|message| message.contains(REVERT_ID)).count(),
        }
    }

    /// Whether the world looks as if it had come to rest.
    pub(crate) fn is_at_rest(&self) -> bool {
        let rollout = &self.view.rollout;
        let generation = count(rollout, "/metadata/generation").to_string();
        let phase = text(rollout, "/status/phase");
        // A first revision that never gets ready: there is nothing to go back to.
        let image = text(rollout, "/spec/template/spec/containers/0/image");
        let is_hopeless = self.view.stable().is_empty()
            && is_broken(image.rsplit(':').next().unwrap_or_default());
        text(rollout, "/status/observedGeneration") == generation
            && (phase == "Healthy"
                || (phase == "Degraded" && (self.view.is_aborted() || is_hopeless)))
    }

    /// Judges the end.
    pub(crate) fn judge_end(&mut self, case: &Case, ending: &Ending) -> End {
        let end = self.end(&ending.messages);
        let now = ending.at;
        self.judge_reverts(case, ending);
        for what in &ending.panics {
            self.violate("S33", 0, now, what.clone());
        }
        for what in &ending.refused {
            self.violate("S26", 0, now, format!("a right is missing: {what}"));
        }
        if ending.clock_reads > 0 {
            let what =
                format!("the wall clock was read {} times past its port", ending.clock_reads);
            self.violate("determinism", 0, now, what);
        }
        self.judge_rest(case, ending, &end);
        if let Some((at, what)) = self.last_write.clone()
            && at > ending.quiet_from
        {
            let after = (at - ending.quiet_from).num_seconds();
            self.violate("S29", 0, at, format!("{what}, {after} s after all had come to rest"));
        }
        end
    }

    /// L1: the world comes to rest where it should.
    fn judge_rest(&mut self, case: &Case, ending: &Ending, end: &End) {
        let now = ending.at;
        if !self.is_at_rest() {
            let waiting = text(&self.view.rollout, "/status/waitingOn/0/what").to_owned();
            let what = format!("does not come to rest: {end:?}, waiting on {waiting:?}");
            self.violate("L1", 0, now, what);
            return;
        }
        let stable = self.view.stable().to_owned();
        if stable.is_empty() {
            return;
        }
        let wanted = self.view.wanted.now();
        let ready = self.view.ready.get(&stable).map_or(0, super::view::Recent::now);
        if ready < wanted {
            let what = format!("{ready} of {wanted} stable pods are ready in the end");
            self.violate("L1", 0, now, what);
        }
        if self.shape != Shape::PlainCanary && end.share != 100 {
            self.violate("L1", 0, now, format!("{} % to stable in the end", end.share));
        }
        for (name, set) in self.view.sets.clone() {
            // What a deleted Rollout has left to its users belongs to nobody.
            if set.pointer("/metadata/ownerReferences/0").is_none() {
                continue;
            }
            let is_stable = super::view::revision_of(&set) == stable;
            let left = count(&set, "/spec/replicas");
            if !is_stable && left > 0 {
                self.violate("L1", 0, now, format!("{name} keeps {left} pods in the end"));
            }
        }
        if end.asked != ending.head {
            let what = format!("asks for {}, and Git has {}", end.asked, ending.head);
            self.violate("L1", 0, now, what);
        }
        // L6: what was due in Git is done, or it is said why not.
        let state = text(&self.view.rollout, "/status/gitRevert/state");
        let is_awaited = self.view.rollout.pointer("/status/waitingOn/0").is_some();
        if matches!(state, "Planned" | "Pushing") && !is_awaited {
            self.violate("L6", 0, now, format!("the revert is still {state} in the end"));
        }
        // S22: what others pushed is there.
        for lost in &ending.lost {
            self.violate("S22", 0, now, format!("{lost} is not what was last pushed"));
        }
        self.judge_outcome(case, ending, end);
    }

    /// A good version that nothing can be held against is released in the end.
    fn judge_outcome(&mut self, case: &Case, ending: &Ending, end: &End) {
        let now = ending.at;
        let newest = case.newest();
        let is_excused = is_excused(case);
        if end.phase == "Healthy" && end.stable != end.asked {
            self.violate(
                "L1",
                0,
                now,
                format!("Healthy on {}, asked for {}", end.stable, end.asked),
            );
        }
        let is_good = !is_bad(newest) && !is_broken(newest);
        if is_good && !is_excused && (end.phase != "Healthy" || end.stable != newest) {
            let what = format!("{newest} is good, and the end is {end:?}");
            self.violate("L1", 0, now, what);
        }
    }

    /// S21, S22, S24: how often Git was changed.
    fn judge_reverts(&mut self, case: &Case, ending: &Ending) {
        let ids = ending.messages.iter().filter_map(|message| {
            let line = message.lines().find(|line| line.starts_with(REVERT_ID))?;
            Some(line.to_owned())
        });
        let mut ids: Vec<String> = ids.collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        if ids.len() < all {
            let what = format!("{all} reverts with {} identities", ids.len());
            self.violate("S21", 0, ending.at, what);
        }
        let most = case.steps.iter().filter(|step| matches!(step.act, Act::Release(_))).count();
        if all > most {
            let what = format!("{all} reverts of {most} releases");
            self.violate("S24", 0, ending.at, what);
        }
        if self.has_autoscaler && all > 0 {
            self.reached.insert("a revert beside an autoscaler");
        }
    }
}
