//! How it stands with all Rollouts: what one revert in Git must know of the others.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::caches::Caches;
use super::objects::text;
use crate::api::status::GitRevertState;
use crate::plan::facts::{Around, FAILURES_WITHIN, RolloutFact};

/// Looks at all Rollouts, if a revert of this one is due; `None` while they are not all known. What
/// stands in their statuses outlives a process and a change of leader.
pub(super) fn look(caches: &Caches, rollout: &RolloutFact, now: DateTime<Utc>) -> Option<Around> {
    let revert = rollout.status.known()?.git_revert.as_ref()?;
    if revert.state != GitRevertState::Planned {
        return None;
    }
    caches.rollouts.ready().ok()?;
    let all = caches.rollouts.keys().into_iter().filter_map(|key| caches.rollouts.get(&key));
    Some(all.fold(Around::default(), |around, object| add(around, &object, &revert.url, now)))
}

fn add(around: Around, rollout: &Value, url: &str, now: DateTime<Utc>) -> Around {
    let items =
        |pointer: &str| rollout.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    // A time that is ahead of ours is of a clock that was wrong, and counts.
    let is_within = |time: &Value, length: TimeDelta| {
        let time = time.as_str().and_then(|time| DateTime::parse_from_rfc3339(time).ok());
        time.is_some_and(|time| now < time + length)
    };
    let has_failed = items("/status/failedRevisions").any(|failed| {
        let is_by_hand = text(failed, "/by").is_some_and(|by| !by.is_empty());
        !is_by_hand && failed.get("at").is_some_and(|at| is_within(at, FAILURES_WITHIN))
    });
    let is_here = text(rollout, "/status/gitRevert/url").is_some_and(|other| other == url);
    let day = TimeDelta::hours(24);
    let written = items("/status/gitRevert/pushedAt").filter(|at| is_here && is_within(at, day));
    let written = u32::try_from(written.count()).unwrap_or(u32::MAX);
    Around {
        failed_lately: around.failed_lately.saturating_add(u32::from(has_failed)),
        written_to_repository: around.written_to_repository.saturating_add(written),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn failures_of_the_last_minutes_and_writes_of_the_last_day_count_and_no_others() {
        let now = DateTime::parse_from_rfc3339("2026-08-17T12:00:00Z").unwrap().to_utc();
        let url = "https://git.example.test/env.git";
        let rollout = |failed: Value, revert: Value| json!({"status": {"failedRevisions": failed, "gitRevert": revert}});
        let at = |time: &str| json!([{"revision": "a", "digest": "", "at": time}]);
        let all = [
            rollout(at("2026-08-17T11:55:00.000Z"), json!(null)),
            // Long ago; by hand; nothing at all.
            rollout(at("2026-08-17T11:49:00Z"), json!(null)),
            rollout(json!([{"at": "2026-08-17T11:59:00Z", "by": "alice"}]), json!(null)),
            json!({}),
            // A clock that was ahead.
            rollout(
                at("2026-08-17T12:01:00Z"),
                json!({"url": url, "pushedAt":
                ["2026-08-17T11:59:00Z", "2026-08-16T12:00:01Z", "2026-08-16T11:59:59Z"]}),
            ),
            rollout(
                json!([]),
                json!({"url": "https://else", "pushedAt": ["2026-08-17T11:59:00Z"]}),
            ),
        ];
        let around = all.iter().fold(Around::default(), |sum, one| add(sum, one, url, now));
        assert_eq!(around, Around { failed_lately: 2, written_to_repository: 2 });
    }
}
