//! Tests of `elector`.

use std::sync::Mutex;

use super::*;
use crate::act::fake_api::{FakeApi, Fault};
use crate::clock::{SeededEntropy, TokioClock};

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/sluice/leases/sluice-controller";

struct Replica {
    elector: Elector,
    cut: Arc<Mutex<bool>>,
}

fn replica(api: &FakeApi, name: &str, seed: u64) -> Replica {
    let cut = Arc::default();
    let origin = DateTime::from_timestamp(TERMS_SINCE + 1000, 0).unwrap();
    let entropy = SeededEntropy::new(seed);
    let config = LeaseConfig {
        namespace: "sluice".to_owned(),
        name: "sluice-controller".to_owned(),
        identity: unique_identity(name, &entropy),
        timings: LeaseTimings::default(),
    };
    let clock = Arc::new(TokioClock::starting_at(origin));
    let client = api.client_behind(&cut);
    let elector = Elector::new(client, config, clock, Arc::new(entropy)).unwrap();
    Replica { elector, cut }
}

fn never() -> CancellationToken {
    CancellationToken::new()
}

fn holder(api: &FakeApi) -> Record {
    api.get(PATH).map(|lease| Record::read(&lease)).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn the_second_replica_takes_over_only_after_a_dead_leader_has_expired() {
    let api = FakeApi::default();
    let (mut one, mut two) = (replica(&api, "one", 1), replica(&api, "two", 2));
    let first = one.elector.campaign(&never()).await.unwrap();
    assert_eq!(holder(&api).term, first.term());
    let died = Instant::now();
    let second = two.elector.campaign(&never()).await.unwrap();
    let waited = died.elapsed();
    assert!(waited >= Duration::from_secs(15) && waited <= Duration::from_secs(20), "{waited:?}");
    assert!(second.term() > first.term());
    assert_eq!(first.check(), Err(LossReason::RenewDeadline));
    assert_eq!(second.check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_leader_keeps_its_lease_as_long_as_it_renews() {
    let api = FakeApi::default();
    let (mut one, mut two) = (replica(&api, "one", 1), replica(&api, "two", 2));
    let first = one.elector.campaign(&never()).await.unwrap();
    let stop = never();
    let contest = async {
        let patience = Duration::from_mins(5);
        let other = tokio::time::timeout(patience, two.elector.campaign(&never())).await;
        stop.cancel();
        other
    };
    let (end, other) = tokio::join!(one.elector.hold(&first, &stop), contest);
    assert_eq!(end, HoldEnd::Stopped);
    assert!(other.is_err(), "{other:?}");
    assert_eq!(first.check(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_over_within_a_retry_period() {
    let api = FakeApi::default();
    let (mut one, mut two) = (replica(&api, "one", 1), replica(&api, "two", 2));
    let first = one.elector.campaign(&never()).await.unwrap();
    let stop = never();
    let (end, (second, taken_after)) = tokio::join!(
        async {
            let end = one.elector.hold(&first, &stop).await;
            one.elector.release(&first).await;
            end
        },
        async {
            let campaign = two.elector.campaign(&stop);
            let waiting = tokio::time::timeout(Duration::from_secs(30), campaign).await;
            assert!(waiting.is_err());
            stop.cancel();
            let asked = Instant::now();
            let second = two.elector.campaign(&never()).await.unwrap();
            (second, asked.elapsed())
        }
    );
    assert_eq!(end, HoldEnd::Stopped);
    assert_eq!(first.check(), Err(LossReason::Shutdown));
    assert!(taken_after <= LeaseTimings::default().retry, "{taken_after:?}");
    assert!(second.term() > first.term());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_another_can_acquire() {
    let api = FakeApi::default();
    let (mut one, mut two) = (replica(&api, "one", 1), replica(&api, "two", 2));
    let first = one.elector.campaign(&never()).await.unwrap();
    *one.cut.lock().unwrap() = true;
    let (stop_one, stop_two) = (never(), never());
    let (one_ended, two_began) = tokio::join!(
        async {
            let end = one.elector.hold(&first, &stop_one).await;
            assert_eq!(end, HoldEnd::Lost(LossReason::RenewDeadline));
            Instant::now()
        },
        async {
            two.elector.campaign(&stop_two).await.unwrap();
            Instant::now()
        }
    );
    let gap = two_began - one_ended;
    assert!(gap >= Duration::from_secs(5), "{gap:?}");
    assert!(first.ended().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn lost_replies_and_conflicts_do_not_cost_the_leadership() {
    let api = FakeApi::default();
    let mut one = replica(&api, "one", 1);
    let first = one.elector.campaign(&never()).await.unwrap();
    let conflict = Fault::Answer(409, json!({"reason": "Conflict"}));
    api.plan([
        Some(Fault::LostReply),
        None,
        Some(Fault::LostRequest),
        None,
        Some(conflict),
        None,
        Some(Fault::DoneBut(504)),
    ]);
    let stop = never();
    let (end, ()) = tokio::join!(one.elector.hold(&first, &stop), async {
        tokio::time::sleep(Duration::from_mins(2)).await;
        stop.cancel();
    });
    assert_eq!(end, HoldEnd::Stopped);
    assert_eq!((first.check(), holder(&api).term), (Ok(()), first.term()));
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_made_again_with_a_higher_term() {
    let api = FakeApi::default();
    api.plan([Some(Fault::LostReply)]);
    let mut one = replica(&api, "one", 1);
    let began = Instant::now();
    let first = one.elector.campaign(&never()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    let (_, _, lost_claim) = api.writes().remove(0);
    assert!(first.term() > Record::read(&lost_claim).term);
    assert_eq!(holder(&api).term, first.term());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_put_back_by_its_leader() {
    let api = FakeApi::default();
    let (mut one, mut two) = (replica(&api, "one", 1), replica(&api, "two", 2));
    let first = one.elector.campaign(&never()).await.unwrap();
    let (stop, standby) = (never(), never());
    let (end, other, ()) =
        tokio::join!(one.elector.hold(&first, &stop), two.elector.campaign(&standby), async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                api.remove(PATH);
            }
            tokio::time::sleep(Duration::from_secs(20)).await;
            standby.cancel();
            stop.cancel();
        });
    assert_eq!(end, HoldEnd::Stopped);
    assert!(other.is_none());
    assert_eq!(holder(&api).term, first.term());
}

#[tokio::test(start_paused = true)]
async fn a_stolen_lease_ends_the_leadership_at_the_next_renewal() {
    let api = FakeApi::default();
    let mut one = replica(&api, "one", 1);
    let first = one.elector.campaign(&never()).await.unwrap();
    let stop = never();
    let (end, ()) = tokio::join!(one.elector.hold(&first, &stop), async {
        let mut lease = api.get(PATH).unwrap();
        lease["spec"]["holderIdentity"] = "thief".into();
        api.put(PATH, lease);
    });
    let term = first.term();
    let reason = LossReason::Replaced { holder: "thief".to_owned(), term };
    assert_eq!(end, HoldEnd::Lost(reason));
    let again = one.elector.campaign(&never()).await.unwrap();
    assert!(again.term() > term, "a new leadership has a new term");
}

#[tokio::test(start_paused = true)]
async fn a_question_about_the_leadership_is_answered_from_the_lease() {
    let api = FakeApi::default();
    let mut one = replica(&api, "one", 1);
    let first = one.elector.campaign(&never()).await.unwrap();
    let stop = never();
    let newer = Epoch::of_term(first.term() + 1);
    let (end, ()) = tokio::join!(one.elector.hold(&first, &stop), async {
        assert_eq!(first.confirm(newer).await, Ok(()));
        api.fail_reads(true);
        assert!(first.confirm(newer).await.is_err());
        assert_eq!(first.check(), Ok(()), "an unreadable lease proves nothing");
        api.fail_reads(false);
        let mut lease = api.get(PATH).unwrap();
        lease["spec"]["holderIdentity"] = "other".into();
        api.put(PATH, lease);
        assert!(first.confirm(newer).await.is_err());
    });
    assert!(matches!(end, HoldEnd::Lost(LossReason::Replaced { .. })), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn labels_of_others_on_the_lease_stay() {
    let api = FakeApi::default();
    api.put(
        PATH,
        json!({"metadata": {"name": "sluice-controller", "labels": {"a": "b"}},
        "spec": {"leaseDurationSeconds": 1, "leaseTransitions": 41_000}}),
    );
    let mut one = replica(&api, "one", 1);
    let first = one.elector.campaign(&never()).await.unwrap();
    one.elector.release(&first).await;
    let lease = api.get(PATH).unwrap();
    assert_eq!(lease["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(lease["spec"]["leaseTransitions"], 41_001);
    assert!(lease["spec"].get("holderIdentity").is_none());
}

#[test]
fn two_starts_of_one_pod_are_two_identities() {
    let entropy = SeededEntropy::new(3);
    assert_ne!(unique_identity("pod-0", &entropy), unique_identity("pod-0", &entropy));
}
