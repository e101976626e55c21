//! Tests of `guard`.

use std::sync::Mutex;
use std::time::Duration;

use kube::core::{ApiResource, GroupVersionKind};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;
use crate::act::fake_api::{FakeApi, Fault};

const EPOCH: &str = "sluice.dev/epoch";
const PATH: &str = "/api/v1/namespaces/shop/services/web";

fn web() -> Target {
    let gvk = GroupVersionKind::gvk("", "v1", "Service");
    Target::namespaced(&ApiResource::from_gvk_with_plural(&gvk, "services"), "shop", "web")
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
           "spec": {"selector": {"app": "web"}}})
}

fn writer(api: &FakeApi, term: u32) -> Writer {
    Writer::new(Wire::new(api.client()), Leadership::unelected(term), EPOCH)
}

fn replace(path: &str, value: &str) -> Vec<PatchOperation> {
    let operations = json!([{"op": "replace", "path": path, "value": value}]);
    serde_json::from_value::<json_patch::Patch>(operations).unwrap().0
}

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl WriteLog for Lines {
    fn record(&self, record: &WriteRecord<'_>) {
        let stage = match record.stage {
            Stage::Sending => "sending".to_owned(),
            Stage::Ended(outcome) => outcome.label().to_owned(),
        };
        let line = format!("{} {:?} {} {stage}", record.sequence, record.verb, record.epoch);
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_lands_only_on_the_version_that_was_read() {
    let api = FakeApi::default();
    let read = api.put(PATH, service());
    let writer = writer(&api, 3);
    let guard = writer.guard(&read).unwrap();
    let change = replace("/spec/selector/app", "new");
    api.put(PATH, read.clone());
    assert_eq!(writer.json_patch(&web(), &guard, &change).await, WriteOutcome::Conflict);
    let guard = writer.guard(&api.get(PATH).unwrap()).unwrap();
    let outcome = writer.json_patch(&web(), &guard, &change).await;
    let stored = outcome.applied().unwrap();
    assert_eq!(stored["spec"]["selector"]["app"], "new");
    assert_eq!(stored["metadata"]["annotations"][EPOCH], "3");
}

#[tokio::test(start_paused = true)]
async fn a_namesake_of_the_object_is_never_changed_or_deleted() {
    let api = FakeApi::default();
    let read = api.put(PATH, service());
    let writer = writer(&api, 3);
    let mut guard = writer.guard(&read).unwrap();
    api.remove(PATH);
    let namesake = api.put(PATH, service());
    guard.resource_version = namesake["metadata"]["resourceVersion"].as_str().unwrap().into();
    let patch = json!({"spec": null});
    let target = web();
    for outcome in [
        writer.json_patch(&target, &guard, &replace("/spec/selector/app", "x")).await,
        writer.merge_patch(&target, &guard, patch).await,
        writer.patch_status(&target, &guard, &json!({"phase": "x"})).await,
        writer.delete(&target, &guard, Dependents::Orphan).await,
        writer.evict(&target, &guard).await,
    ] {
        assert_eq!(outcome, WriteOutcome::Conflict);
    }
    assert_eq!(api.get(PATH), Some(namesake));
}

#[tokio::test(start_paused = true)]
async fn nothing_brings_a_deleted_object_back() {
    let api = FakeApi::default();
    let read = api.put(PATH, service());
    let writer = writer(&api, 3);
    let guard = writer.guard(&read).unwrap();
    api.remove(PATH);
    let target = web();
    let mut after = read.clone();
    after["spec"]["selector"]["app"] = "new".into();
    for outcome in [
        writer.edit(&target, &read, &after).await,
        writer.json_patch(&target, &guard, &[]).await,
        writer.merge_patch(&target, &guard, json!({})).await,
        writer.patch_status(&target, &guard, &json!({"phase": "x"})).await,
        writer.delete(&target, &guard, Dependents::Background).await,
    ] {
        assert_eq!(outcome, WriteOutcome::NotFound);
    }
    assert_eq!(api.get(PATH), None);
}

#[tokio::test(start_paused = true)]
async fn an_edit_sends_only_what_differs_and_nothing_when_nothing_does() {
    let api = FakeApi::default();
    let read = api.put(PATH, service());
    let writer = writer(&api, 3);
    let mut after = read.clone();
    after["spec"]["selector"]["app"] = "new".into();
    after["metadata"]["resourceVersion"] = "stale".into();
    let outcome = writer.edit(&web(), &read, &after).await;
    assert_eq!(outcome.applied().unwrap()["spec"]["selector"]["app"], "new");
    let (_, _, body) = api.writes().pop().unwrap();
    let operations: Vec<String> = body
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["op"].as_str().unwrap(), one["path"].as_str().unwrap()))
        .collect();
    assert_eq!(
        operations,
        [
            "test /metadata/uid",
            "test /metadata/resourceVersion",
            "add /metadata/annotations",
            "replace /spec/selector/app",
        ]
    );
    let stored = api.get(PATH).unwrap();
    let sent = api.writes().len();
    assert_eq!(writer.edit(&web(), &stored, &stored).await, WriteOutcome::Applied(stored));
    assert_eq!(api.writes().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_creation_meets_an_existing_object_and_leaves_it_alone() {
    let api = FakeApi::default();
    let writer = writer(&api, 3);
    let created = writer.create(&web(), service()).await;
    assert_eq!(created.applied().unwrap()["metadata"]["annotations"][EPOCH], "3");
    assert_eq!(writer.create(&web(), service()).await, WriteOutcome::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn a_status_patch_leaves_fields_of_newer_versions_alone() {
    let api = FakeApi::default();
    let mut object = service();
    object["status"] = json!({"phase": "Progressing", "fromTheFuture": 1});
    let read = api.put(PATH, object);
    let writer = writer(&api, 3);
    let guard = writer.guard(&read).unwrap();
    let change = merge_difference(&json!({"phase": "Progressing"}), &json!({"phase": "Healthy"}));
    writer.patch_status(&web(), &guard, &change.unwrap()).await;
    let status = json!({"phase": "Healthy", "fromTheFuture": 1});
    assert_eq!(api.get(PATH).unwrap()["status"], status);
    let again = writer.patch_status(&web(), &guard, &json!({"phase": "Paused"})).await;
    assert_eq!(again, WriteOutcome::Conflict, "the version has moved on");
}

/// The hole that a resourceVersion alone leaves open: the object looks as wanted, nobody writes
/// it, and then the write of the dead process lands.
#[tokio::test(start_paused = true)]
async fn a_write_in_flight_cannot_land_after_the_object_was_taken_over() {
    let api = FakeApi::default();
    let read = api.put(PATH, service());
    let old = writer(&api, 3);
    let guard = old.guard(&read).unwrap();
    api.plan([Some(Fault::LandsLater(Duration::from_secs(20)))]);
    let change = replace("/spec/selector/app", "late");
    let outcome = old.json_patch(&web(), &guard, &change).await;
    assert!(matches!(outcome, WriteOutcome::Ambiguous(Doubt::Timeout(_))), "{outcome}");

    let new = writer(&api, 4);
    let guard = new.guard(&api.get(PATH).unwrap()).unwrap();
    assert!(new.needs_take_over(&web(), &guard));
    let taken = new.take_over(&web(), &guard).await;
    let guard = new.guard(taken.applied().unwrap()).unwrap();
    assert!(!new.needs_take_over(&web(), &guard));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(api.get(PATH).unwrap()["spec"]["selector"]["app"], "web");
}

#[tokio::test(start_paused = true)]
async fn after_an_unknown_result_the_same_process_takes_the_object_over_again() {
    let api = FakeApi::default();
    let writer = writer(&api, 3);
    let guard = writer.guard(&api.put(PATH, service())).unwrap();
    let taken = writer.take_over(&web(), &guard).await;
    let guard = writer.guard(taken.applied().unwrap()).unwrap();
    for fault in [
        Fault::LostRequest,
        Fault::DoneBut(504),
        Fault::Answer(503, json!({})),
        Fault::Garbage("<html>"),
    ] {
        api.plan([Some(fault)]);
        let status = json!({"phase": "x"});
        let outcome = writer.patch_status(&web(), &guard, &status).await;
        assert!(matches!(outcome, WriteOutcome::Ambiguous(_)), "{outcome}");
        assert!(writer.needs_take_over(&web(), &guard));
    }
    let guard = writer.guard(&api.get(PATH).unwrap()).unwrap();
    assert!(writer.needs_take_over(&web(), &guard));
    let taken = writer.take_over(&web(), &guard).await;
    let guard = writer.guard(taken.applied().unwrap()).unwrap();
    assert_eq!(guard.epoch.unwrap().to_string(), "3.4");
    assert!(!writer.needs_take_over(&web(), &guard));
}

#[tokio::test(start_paused = true)]
async fn definite_refusals_cast_no_doubt() {
    let api = FakeApi::default();
    let writer = writer(&api, 3);
    let guard = writer.guard(&api.put(PATH, service())).unwrap();
    let invalid = json!({"kind": "Status", "reason": "Invalid", "message": "spec: no",
        "details": {"causes": [{"field": "spec", "reason": "FieldValueInvalid"}]}});
    let forbidden = json!({"kind": "Status", "reason": "Forbidden", "message": "quota"});
    let budget = json!({"kind": "Status", "reason": "TooManyRequests", "message": "budget",
        "details": {"causes": [{"reason": "DisruptionBudget"}]}});
    api.plan([
        Some(Fault::Answer(422, invalid)),
        Some(Fault::Answer(403, forbidden)),
        Some(Fault::Throttle(7)),
        Some(Fault::Answer(429, budget)),
    ]);
    let target = web();
    let change = replace("/spec/selector/app", "x");
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(writer.json_patch(&target, &guard, &change).await);
    }
    seen.push(writer.evict(&target, &guard).await);
    let pause = Duration::from_secs(7);
    assert!(
        matches!(&seen[0], WriteOutcome::Rejected { code: 422, message, .. } if message == "spec: no")
    );
    assert!(matches!(&seen[1], WriteOutcome::Forbidden { code: 403, .. }));
    assert_eq!(seen[2], WriteOutcome::Throttled { retry_after: pause });
    assert!(
        matches!(&seen[3], WriteOutcome::Rejected { reason, .. } if reason == "DisruptionBudget")
    );
    assert_eq!(writer.leadership().epoch(), Epoch::of_term(3));
}

#[tokio::test(start_paused = true)]
async fn a_lost_leadership_writes_nothing_and_abandons_what_is_under_way() {
    let api = FakeApi::default();
    let read = api.put(PATH, service());
    let writer = writer(&api, 3);
    let guard = writer.guard(&read).unwrap();
    api.plan([Some(Fault::LostRequest)]);
    let (target, change) = (web(), replace("/spec/selector/app", "x"));
    let (outcome, ()) = tokio::join!(writer.json_patch(&target, &guard, &change), async {
        tokio::task::yield_now().await;
        writer.leadership().lose(LossReason::Shutdown);
    });
    assert_eq!(outcome, WriteOutcome::Ambiguous(Doubt::Abandoned));
    let sent = api.writes().len();
    let refused = WriteOutcome::NotLeading(LossReason::Shutdown);
    assert_eq!(writer.json_patch(&target, &guard, &change).await, refused);
    assert_eq!(writer.create(&target, service()).await, refused);
    assert_eq!(writer.create_event(&target, json!({})).await, refused);
    assert_eq!(api.writes().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_newer_epoch_on_the_object_stops_the_older_leader() {
    let api = FakeApi::default();
    let read = api.put(PATH, service());
    let (old, new) = (writer(&api, 3), writer(&api, 4));
    new.take_over(&web(), &new.guard(&read).unwrap()).await;
    let guard = old.guard(&api.get(PATH).unwrap()).unwrap();
    let outcome = old.json_patch(&web(), &guard, &replace("/spec/selector/app", "x")).await;
    let reason = LossReason::NewerEpoch { epoch: Epoch::of_term(4) };
    assert_eq!(outcome, WriteOutcome::NotLeading(reason));
    assert!(old.leadership().ended().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_forged_epoch_is_overwritten_once_the_lease_has_confirmed_the_leader() {
    let api = FakeApi::default();
    let mut object = service();
    object["metadata"]["annotations"] = json!({ EPOCH: "1999" });
    let read = api.put(PATH, object);
    let (elector, mut questions) = mpsc::channel(1);
    let leadership = Leadership::elected(3, Instant::now() + Duration::from_mins(1), elector);
    let writer = Writer::new(Wire::new(api.client()), leadership, EPOCH);
    let guard = writer.guard(&read).unwrap();
    let (target, change) = (web(), replace("/spec/selector/app", "x"));
    let (outcome, ()) = tokio::join!(writer.json_patch(&target, &guard, &change), async {
        questions.recv().await.unwrap().send(true).unwrap();
    });
    assert_eq!(outcome.applied().unwrap()["metadata"]["annotations"][EPOCH], "3");
}

#[tokio::test(start_paused = true)]
async fn the_log_sees_every_write_before_and_after() {
    let api = FakeApi::default();
    let log = Arc::new(Lines::default());
    let writer = writer(&api, 3).with_log(Arc::clone(&log) as Arc<dyn WriteLog>);
    let created = writer.create(&web(), service()).await;
    let guard = writer.guard(created.applied().unwrap()).unwrap();
    writer.delete(&web(), &guard, Dependents::Background).await;
    writer.leadership().lose(LossReason::Shutdown);
    writer.delete(&web(), &guard, Dependents::Background).await;
    assert_eq!(
        *log.0.lock().unwrap(),
        [
            "0 Create 3 sending",
            "0 Create 3 Applied",
            "1 Delete 3 sending",
            "1 Delete 3 Applied",
            "2 Delete 3 NotLeading",
        ]
    );
}

#[test]
fn an_object_that_was_never_stored_cannot_be_changed() {
    assert_eq!(Guard::of(&service(), EPOCH), Err(Unguarded("uid")));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_leads_elsewhere_is_refused_before_it_is_sent() {
    let api = FakeApi::default();
    let writer = writer(&api, 3);
    let guard = writer.guard(&api.put(PATH, service())).unwrap();
    let mut target = web();
    target.name = "web/../../secrets/x".to_owned();
    let outcome = writer.delete(&target, &guard, Dependents::Orphan).await;
    assert!(matches!(outcome, WriteOutcome::Rejected { code: 0, .. }), "{outcome}");
    assert!(api.writes().is_empty());
}
