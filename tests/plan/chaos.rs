//! Random histories: whatever people, pods, routers and analyses do, no safety rule is broken, and
//! once they leave the Rollout alone it comes to rest and stays there.

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;
use sluice::analysis::Verdict;
use sluice::api::status::RolloutPhase;

use crate::world::World;

#[derive(Clone, Debug)]
enum Event {
    Push(u8),
    Abort,
    Retry,
    Promote,
    PromoteFull,
    Replicas(u8),
    Paused(bool),
    Steps(u8),
    Broken(Option<u8>),
    RoutesUnknown(bool),
    RouteMissing(bool),
    SetsUnknown(bool),
    EndpointsUnknown(bool),
    ServiceMissing(bool),
    Verdict(u8),
    SelectorEdited,
    WeightEdited(u8),
    SetScaledByHand(u8),
    WritesRefused(bool),
    AnswersLost(u8),
    StatusesLost(u8),
    Undo,
    FailOver,
    ClockJumps(i16),
    Wait(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1u8..5).prop_map(Event::Push),
        1 => Just(Event::Abort),
        1 => Just(Event::Retry),
        2 => Just(Event::Promote),
        1 => Just(Event::PromoteFull),
        1 => (0u8..9).prop_map(Event::Replicas),
        1 => any::<bool>().prop_map(Event::Paused),
        1 => (0u8..4).prop_map(Event::Steps),
        1 => proptest::option::of(1u8..5).prop_map(Event::Broken),
        1 => any::<bool>().prop_map(Event::RoutesUnknown),
        1 => any::<bool>().prop_map(Event::RouteMissing),
        1 => any::<bool>().prop_map(Event::SetsUnknown),
        1 => any::<bool>().prop_map(Event::EndpointsUnknown),
        1 => any::<bool>().prop_map(Event::ServiceMissing),
        2 => (0u8..6).prop_map(Event::Verdict),
        1 => Just(Event::SelectorEdited),
        1 => (0u8..=100).prop_map(Event::WeightEdited),
        1 => (0u8..6).prop_map(Event::SetScaledByHand),
        1 => any::<bool>().prop_map(Event::WritesRefused),
        1 => (1u8..6).prop_map(Event::AnswersLost),
        1 => (1u8..4).prop_map(Event::StatusesLost),
        1 => Just(Event::Undo),
        1 => Just(Event::FailOver),
        1 => (-300i16..300).prop_map(Event::ClockJumps),
        6 => (1u8..40).prop_map(Event::Wait),
    ]
}

const STEPS: [&str; 4] = [
    "[{setWeight: 20}, {pause: {duration: 5}}, {setWeight: 60}, {pause: {duration: 5}}]",
    "[{setWeight: 50}, {analysis: {templates: [{templateName: success}]}}]",
    "[{setCanaryScale: {replicas: 2}}, {setWeight: 1}, {pause: {duration: 3}}, {setWeight: 100}]",
    "[{pause: {duration: 2}}, {setWeight: 10}, {setCanaryScale: {weight: 50}}, {setWeight: 5}]",
];

const SHAPES: [&str; 5] = [
    "canary: {stableService: stable, canaryService: canary, \
     trafficRouting: {gatewayAPI: {httpRoute: web}}, steps: []}",
    "canary: {stableService: stable, canaryService: canary, dynamicStableScale: true, \
     trafficRouting: {gatewayAPI: {httpRoute: web}}, steps: [], \
     analysis: {templates: [{templateName: success}]}}",
    "canary: {stableService: stable, canaryService: canary, steps: []}",
    "blueGreen: {activeService: active, previewService: preview, autoPromotionSeconds: 3, \
     postPromotionAnalysis: {templates: [{templateName: success}]}}",
    "blueGreen: {activeService: active, previewReplicaCount: 1, \
     prePromotionAnalysis: {templates: [{templateName: success}]}}",
];

fn verdict(kind: u8) -> Option<Verdict> {
    match kind {
        0 => Some(Verdict::Failed { message: "too many errors".into(), has_measurements: true }),
        1 => Some(Verdict::Inconclusive { message: "unclear".into() }),
        2 => Some(Verdict::Error { message: "unreachable".into() }),
        3 => Some(Verdict::Running { waiting_on: Some("metric \"success\": no answer".into()) }),
        4 => Some(Verdict::Terminated),
        _ => None,
    }
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Push(version) => world.push(&format!("web:{version}")),
        Event::Abort => world.abort(),
        Event::Retry => world.retry(),
        Event::Promote => world.promote(),
        Event::PromoteFull => world.promote_full(),
        Event::Replicas(n) => world.edit("/replicas", json!(n)),
        Event::Paused(paused) => world.edit("/paused", json!(paused)),
        Event::Steps(which) => {
            if world.spec.pointer("/strategy/canary").is_some() {
                let steps = STEPS[usize::from(*which)];
                let mut steps: serde_json::Value = serde_norway::from_str(steps).unwrap();
                if world.spec.pointer("/strategy/canary/trafficRouting").is_none() {
                    let list = steps.as_array_mut().unwrap();
                    list.retain(|step| step.get("setCanaryScale").is_none());
                }
                world.edit("/strategy/canary/steps", steps);
            }
        }
        Event::Broken(which) => {
            world.broken_images = which.iter().map(|version| format!("web:{version}")).collect();
        }
        Event::RoutesUnknown(is) => world.unknown_routes = *is,
        Event::RouteMissing(is) => world.missing_route = *is,
        Event::SetsUnknown(is) => world.unknown_sets = *is,
        Event::EndpointsUnknown(is) => world.unknown_endpoints = *is,
        Event::ServiceMissing(is) => {
            world.missing_services = if *is { vec!["canary".to_owned()] } else { vec![] };
        }
        Event::Verdict(kind) => {
            world.verdicts.clear();
            if let Some(verdict) = verdict(*kind) {
                for slot in ["Step", "Background", "PrePromotion", "PostPromotion"] {
                    world.verdicts.insert(slot, verdict.clone());
                }
            }
        }
        Event::SelectorEdited => {
            let names = ["stable", "active"];
            for name in names {
                let service = world.services.get_mut(name).unwrap();
                service.selector.remove("sluice.dev/revision");
            }
        }
        Event::WeightEdited(weight) => world.set_weight_by_hand(u32::from(*weight)),
        Event::WritesRefused(is) => world.refuses_writes = *is,
        Event::AnswersLost(n) => world.lost_answers = u32::from(*n),
        Event::StatusesLost(n) => world.lost_statuses = u32::from(*n),
        Event::SetScaledByHand(size) => {
            if let Some(set) = world.sets.values_mut().next() {
                set.fact.desired = u32::from(*size);
                set.fact.replicas = u32::from(*size);
                set.fact.available = set.fact.available.min(u32::from(*size));
                set.fact.ready = set.fact.available;
            }
        }
        Event::Undo => {
            let images: Vec<_> = (1..5).map(|version| format!("web:{version}")).collect();
            if let Some(image) = images.iter().find(|image| world.has(image)) {
                world.undo(image);
            }
        }
        Event::FailOver => world.fail_over(),
        Event::ClockJumps(seconds) => world.skew = TimeDelta::seconds(i64::from(*seconds)),
        Event::Wait(seconds) => {
            world.run(i64::from(*seconds));
        }
    }
    world.settle();
}

/// Hands that edit routes and sets break the rules themselves; only our writes are judged, and a
/// state that somebody else made unsafe is no fault of the write that follows.
fn is_foreign(event: &Event) -> bool {
    matches!(event, Event::SelectorEdited | Event::WeightEdited(_) | Event::SetScaledByHand(_))
}

/// The same histories on every run, so that a change is judged by itself; `SLUICE_CHAOS_SEED` asks
/// for others, and `PROPTEST_CASES` for more.
fn config() -> ProptestConfig {
    let seed = std::env::var("SLUICE_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150),
        rng_seed: proptest::test_runner::RngSeed::Fixed(seed.unwrap_or(2026)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_is_safe_and_comes_to_rest(
        shape in 0usize..5,
        steps in 0u8..4,
        replicas in 1u8..8,
        events in proptest::collection::vec(event(), 0..25),
    ) {
        let mut world = World::new(&format!(
            "{{selector: {{matchLabels: {{app: web}}}}, replicas: {replicas}, paused: false,
             progressDeadlineSeconds: 60, template: {{metadata: {{labels: {{app: web}}}},
             spec: {{containers: [{{name: web, image: 'web:1'}}]}}}}, strategy: {{{}}}}}",
            SHAPES[shape],
        ));
        happen(&mut world, &Event::Steps(steps));
        world.run(20);
        let is_judged = !events.iter().any(is_foreign);
        for event in &events {
            happen(&mut world, event);
        }
        if is_judged {
            prop_assert!(world.violations.is_empty(), "{:#?}\n{}", world.violations, world.timeline);
        }
        // The world heals, and nobody asks for anything any more.
        world.refuses_writes = false;
        world.unknown_routes = false;
        world.missing_route = false;
        world.unknown_sets = false;
        world.unknown_endpoints = false;
        world.missing_services.clear();
        world.broken_images.clear();
        world.verdicts.clear();
        world.edit("/paused", json!(false));
        // A clock that was put right may have to catch up with what it wrote when it was ahead.
        world.skew = TimeDelta::zero();
        world.history.clear();
        world.run(600);
        let healthy = world.history.iter().position(|(phase, _)| *phase == RolloutPhase::Healthy);
        if let Some(at) = healthy {
            prop_assert_eq!(&world.history[at + 1..], &[], "Healthy goes away:\n{}", world.timeline);
        }
        let writes = world.writes;
        world.run(130);
        prop_assert_eq!(world.writes, writes, "still writing:\n{}", world.timeline);
        let phase = world.phase();
        prop_assert!(
            matches!(phase, Some(RolloutPhase::Healthy | RolloutPhase::Degraded | RolloutPhase::Paused)),
            "ends as {phase:?}:\n{}\n{:#?}", world.timeline, world.status
        );
        // Where it rests, users are served by the stable revision alone unless it pauses.
        if phase != Some(RolloutPhase::Paused) {
            prop_assert_eq!(world.actual(), 0, "{}", world.timeline);
        }
        // A person lets it go on; then it ends for good.
        for _ in 0..6 {
            if world.phase() == Some(RolloutPhase::Paused) {
                world.promote();
                world.run(120);
            }
        }
        let phase = world.phase();
        prop_assert!(
            matches!(phase, Some(RolloutPhase::Healthy | RolloutPhase::Degraded)),
            "ends as {phase:?}:\n{}", world.timeline
        );
    }
}
