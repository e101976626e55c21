//! `strategy.canary`.

use sha2::{Digest as _, Sha256};

use super::types::{CanaryScale, ScaleDown, Step, Threshold, ValidCanary, ValidRouting};
use super::{Problems, analysis};
use crate::api::analysis::Metric;
use crate::api::rollout::{
    CanaryStep, CanaryStrategy, PauseStep, ReplicaProgressThreshold, SetCanaryScale,
};
use crate::api::traffic_routing::TrafficRouting;
use crate::api::{CountOrPercent, Delay, IntOrString};
use crate::revision::{canonical_json, hex};
use crate::weight::{MAX_TOTAL, Split};

const FIELD: &str = "spec.strategy.canary";
/// Most steps; the Rollout would otherwise outgrow what people can follow.
const MAX_STEPS: usize = 200;

/// Checks a canary strategy.
pub(super) fn check(canary: &CanaryStrategy, problems: &mut Problems) -> Option<ValidCanary> {
    refuse_unbuilt(canary, problems);
    let has_router = canary.traffic_routing.is_some();
    let routing = canary
        .traffic_routing
        .as_ref()
        .and_then(|routing| check_routing(canary, routing, problems));
    let total = routing.as_ref().map_or(100, |routing: &ValidRouting| routing.total);
    let steps = check_steps(&canary.steps, total, has_router, problems);
    check_services(canary, problems);
    check_needs_router(canary, has_router, problems);
    let surge = count(canary.max_surge.as_ref(), &format!("{FIELD}.maxSurge"), problems);
    let unavailable =
        count(canary.max_unavailable.as_ref(), &format!("{FIELD}.maxUnavailable"), problems);
    if matches!(unavailable, CountOrPercent::Percent(percent) if percent > 100) {
        problems.add(format!("{FIELD}.maxUnavailable"), "must be at most 100%");
    }
    let background = canary.analysis.as_ref().map(|background| {
        analysis::check_background(&format!("{FIELD}.analysis"), background, problems);
        let compares = background.inline.metrics.iter().any(Metric::is_comparing);
        if compares && canary.steps.is_empty() {
            problems.add(
                format!("{FIELD}.analysis.metrics"),
                "compare canary and stable, which without steps do not serve side by side for any \
                 time: write steps with setWeight and pause",
            );
        }
        let starting = background.starting_step.unwrap_or(0);
        let starting = u32::try_from(starting).unwrap_or_else(|_| {
            problems.add(format!("{FIELD}.analysis.startingStep"), "must be at least 0");
            0
        });
        if usize::try_from(starting).is_ok_and(|idx| idx > 0 && idx >= canary.steps.len()) {
            problems.add(
                format!("{FIELD}.analysis.startingStep"),
                format!(
                    "is {starting}, but there are only {} steps (counted from 0)",
                    canary.steps.len()
                ),
            );
        }
        (background.analysis.clone(), starting)
    });
    let scale_down = delay(
        canary.scale_down_delay_seconds.as_ref(),
        &format!("{FIELD}.scaleDownDelaySeconds"),
        ScaleDown::After(chrono::TimeDelta::zero()),
        problems,
    );
    let abort_scale_down = delay(
        canary.abort_scale_down_delay_seconds.as_ref(),
        &format!("{FIELD}.abortScaleDownDelaySeconds"),
        ScaleDown::Never,
        problems,
    );
    let threshold = check_threshold(canary.replica_progress_threshold.as_ref(), problems);
    // Without its router a canary cannot be worked on at all.
    (has_router == routing.is_some()).then(|| ValidCanary {
        stable_service: canary.stable_service.clone(),
        canary_service: canary.canary_service.clone(),
        step_hash: step_hash(canary),
        steps,
        max_surge: surge,
        max_unavailable: unavailable,
        background,
        inline: canary.analysis.as_ref().map(|it| Box::new(it.inline.clone())).unwrap_or_default(),
        scale_down,
        scale_down_limit: canary.scale_down_delay_revision_limit,
        abort_scale_down,
        dynamic_stable_scale: canary.dynamic_stable_scale,
        min_pods: canary.min_pods_per_replica_set.unwrap_or(0),
        threshold,
        routing,
    })
}

fn refuse_unbuilt(canary: &CanaryStrategy, problems: &mut Problems) {
    if canary.anti_affinity.is_some() {
        problems.unbuilt(format!("{FIELD}.antiAffinity"), "; write it into the pod template");
    }
    if canary.canary_metadata.is_some() {
        problems.unbuilt(format!("{FIELD}.canaryMetadata"), "");
    }
    if canary.stable_metadata.is_some() {
        problems.unbuilt(format!("{FIELD}.stableMetadata"), "");
    }
    if canary.ping_pong.is_some() {
        problems.unbuilt(format!("{FIELD}.pingPong"), "; use stableService and canaryService");
    }
}

fn check_routing(
    canary: &CanaryStrategy,
    routing: &TrafficRouting,
    problems: &mut Problems,
) -> Option<ValidRouting> {
    let field = format!("{FIELD}.trafficRouting");
    for provider in routing.planned.names() {
        problems.unbuilt(format!("{field}.{provider}"), "; use gatewayAPI or nginx");
    }
    for found in routing.providers.problems() {
        problems.add(format!("{field}.{}", found.field), found.problem);
    }
    if !routing.managed_routes.is_empty() {
        problems.unbuilt(format!("{field}.managedRoutes"), " (header and mirror steps come later)");
    }
    if routing.providers.names().is_empty() && routing.planned.names().is_empty() {
        problems.add(field.clone(), "names no router; set gatewayAPI or nginx");
    }
    let total = routing.max_traffic_weight.unwrap_or(100);
    if total == 0 || total > MAX_TOTAL {
        problems.add(
            format!("{field}.maxTrafficWeight"),
            format!("must be in 1..={MAX_TOTAL}, but is {total}"),
        );
    }
    let service = |given: &Option<String>, name: &str, problems: &mut Problems| {
        if given.is_none() {
            problems.add(format!("{FIELD}.{name}"), "is required with trafficRouting");
        }
        given.clone()
    };
    let stable_service = service(&canary.stable_service, "stableService", problems);
    let canary_service = service(&canary.canary_service, "canaryService", problems);
    Some(ValidRouting {
        providers: routing.providers.clone(),
        total: total.clamp(1, MAX_TOTAL),
        stable_service: stable_service?,
        canary_service: canary_service?,
    })
}

fn check_services(canary: &CanaryStrategy, problems: &mut Problems) {
    for (name, service) in
        [("stableService", &canary.stable_service), ("canaryService", &canary.canary_service)]
    {
        if service.as_ref().is_some_and(String::is_empty) {
            problems.add(format!("{FIELD}.{name}"), "must not be empty");
        }
    }
    if canary.stable_service.is_some() && canary.stable_service == canary.canary_service {
        problems.add(
            format!("{FIELD}.canaryService"),
            "is the same Service as stableService; each side needs its own",
        );
    }
}

fn check_needs_router(canary: &CanaryStrategy, has_router: bool, problems: &mut Problems) {
    if has_router {
        if canary.dynamic_stable_scale && canary.scale_down_delay_seconds.is_some() {
            problems.add(
                format!("{FIELD}.scaleDownDelaySeconds"),
                "has no meaning with dynamicStableScale; remove one of them",
            );
        }
        return;
    }
    let without = "needs trafficRouting";
    if canary.scale_down_delay_seconds.is_some() {
        problems.add(format!("{FIELD}.scaleDownDelaySeconds"), without);
    }
    if canary.dynamic_stable_scale {
        problems.add(format!("{FIELD}.dynamicStableScale"), without);
    }
    if canary.min_pods_per_replica_set.is_some() {
        problems.add(format!("{FIELD}.minPodsPerReplicaSet"), without);
    }
}

fn check_steps(
    steps: &[CanaryStep],
    total: u32,
    has_router: bool,
    problems: &mut Problems,
) -> Vec<Step> {
    if steps.len() > MAX_STEPS {
        problems.add(
            format!("{FIELD}.steps"),
            format!("has {} steps; at most {MAX_STEPS} are accepted", steps.len()),
        );
    }
    steps
        .iter()
        .enumerate()
        .filter_map(|(idx, step)| {
            check_step(&format!("{FIELD}.steps[{idx}]"), step, total, has_router, problems)
        })
        .collect()
}

fn check_step(
    field: &str,
    step: &CanaryStep,
    total: u32,
    has_router: bool,
    problems: &mut Problems,
) -> Option<Step> {
    let kinds: Vec<&str> = [
        ("setWeight", step.set_weight.is_some()),
        ("pause", step.pause.is_some()),
        ("setCanaryScale", step.set_canary_scale.is_some()),
        ("analysis", step.analysis.is_some()),
        ("experiment", step.experiment.is_some()),
        ("setHeaderRoute", step.set_header_route.is_some()),
        ("setMirrorRoute", step.set_mirror_route.is_some()),
        ("plugin", step.plugin.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, is_set)| is_set.then_some(name))
    .collect();
    match kinds.as_slice() {
        [] => {
            problems.add(
                field,
                "is empty; a step sets exactly one of setWeight, pause, setCanaryScale, analysis",
            );
            return None;
        }
        [_] => {}
        several => {
            problems.add(field, format!("sets {}; a step sets exactly one", several.join(" and ")));
            return None;
        }
    }
    if let Some(weight) = step.set_weight {
        return check_weight(field, weight, total, problems);
    }
    if let Some(pause) = &step.pause {
        return check_pause(field, pause, problems);
    }
    if let Some(scale) = &step.set_canary_scale {
        if !has_router {
            problems.add(format!("{field}.setCanaryScale"), "needs trafficRouting");
        }
        return check_scale(field, scale, problems);
    }
    if let Some(reference) = &step.analysis {
        analysis::check(&format!("{field}.analysis"), reference, problems);
        return Some(Step::Analysis(reference.clone()));
    }
    for kind in kinds {
        problems.unbuilt(format!("{field}.{kind}"), "");
    }
    None
}

fn check_weight(field: &str, weight: i64, total: u32, problems: &mut Problems) -> Option<Step> {
    let split = u32::try_from(weight).ok().and_then(|weight| Split::new(weight, total).ok());
    if split.is_none() {
        problems
            .add(format!("{field}.setWeight"), format!("must be in 0..={total}, but is {weight}"));
    }
    split.map(Step::SetWeight)
}

fn check_pause(field: &str, pause: &PauseStep, problems: &mut Problems) -> Option<Step> {
    let Some(duration) = &pause.duration else { return Some(Step::Pause(None)) };
    problems
        .take(&format!("{field}.pause.duration"), duration.as_duration())
        .map(|duration| Step::Pause(Some(duration)))
}

fn check_scale(field: &str, scale: &SetCanaryScale, problems: &mut Problems) -> Option<Step> {
    let field = format!("{field}.setCanaryScale");
    let scale = match (scale.weight, scale.replicas, scale.match_traffic_weight) {
        (Some(weight), None, false) => match u32::try_from(weight) {
            Ok(percent) if percent <= 100 => CanaryScale::Percent(percent),
            Ok(_) | Err(_) => {
                problems
                    .add(format!("{field}.weight"), format!("must be in 0..=100, but is {weight}"));
                return None;
            }
        },
        (None, Some(replicas), false) => {
            if let Ok(replicas) = u32::try_from(replicas) {
                CanaryScale::Replicas(replicas)
            } else {
                problems.add(
                    format!("{field}.replicas"),
                    format!("must be at least 0, but is {replicas}"),
                );
                return None;
            }
        }
        (None, None, true) => CanaryScale::MatchTrafficWeight,
        (None, None, false) | (Some(_), Some(_), _) | (Some(_), _, true) | (_, Some(_), true) => {
            problems.add(field, "sets exactly one of weight, replicas, matchTrafficWeight");
            return None;
        }
    };
    Some(Step::SetCanaryScale(scale))
}

fn check_threshold(given: Option<&ReplicaProgressThreshold>, problems: &mut Problems) -> Threshold {
    let field = format!("{FIELD}.replicaProgressThreshold");
    match given.map(|threshold| (threshold.kind.as_str(), threshold.value)) {
        None => Threshold::All,
        Some(("Percent", percent)) if (1..=100).contains(&percent) => Threshold::Percent(percent),
        Some(("Pods", pods)) if pods >= 1 => Threshold::Pods(pods),
        Some(("Percent", percent)) => {
            problems.add(format!("{field}.value"), format!("must be in 1..=100, but is {percent}"));
            Threshold::All
        }
        Some(("Pods", pods)) => {
            problems.add(format!("{field}.value"), format!("must be at least 1, but is {pods}"));
            Threshold::All
        }
        Some((kind, _)) => {
            problems.add(format!("{field}.type"), format!("{kind:?} is neither Percent nor Pods"));
            Threshold::All
        }
    }
}

/// A quarter is Kubernetes' default for both surge and unavailability.
pub(super) fn count(
    given: Option<&IntOrString>,
    field: &str,
    problems: &mut Problems,
) -> CountOrPercent {
    given
        .and_then(|value| problems.take(field, value.as_count_or_percent()))
        .unwrap_or(CountOrPercent::Percent(25))
}

/// A scale-down delay; `zero` is what a bare 0 means in this field, and 30 s the default.
pub(super) fn delay(
    given: Option<&IntOrString>,
    field: &str,
    zero: ScaleDown,
    problems: &mut Problems,
) -> ScaleDown {
    let given = given.and_then(|value| problems.take(field, value.as_delay()));
    match given {
        None => ScaleDown::After(chrono::TimeDelta::seconds(30)),
        Some(Delay::After(delay)) => ScaleDown::After(delay),
        Some(Delay::Never) => ScaleDown::Never,
        Some(Delay::Immediately) => ScaleDown::After(chrono::TimeDelta::zero()),
        Some(Delay::Zero) => zero,
    }
}

fn step_hash(canary: &CanaryStrategy) -> String {
    let steps = serde_json::to_value(&canary.steps).unwrap_or_default();
    let mut text = hex(&Sha256::digest(canonical_json(&steps).as_bytes()));
    text.truncate(10);
    text
}
