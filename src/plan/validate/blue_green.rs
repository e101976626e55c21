//! `strategy.blueGreen`.

use chrono::TimeDelta;

use super::canary::{count, delay};
use super::types::{Promotion, ScaleDown, ValidBlueGreen};
use super::{Problems, analysis};
use crate::api::rollout::BlueGreenStrategy;

const FIELD: &str = "spec.strategy.blueGreen";

/// Checks a blue-green strategy.
pub(super) fn check(
    blue_green: &BlueGreenStrategy,
    problems: &mut Problems,
) -> Option<ValidBlueGreen> {
    if blue_green.active_service.is_empty() {
        problems.add(format!("{FIELD}.activeService"), "is required");
    }
    if blue_green.preview_service.as_deref() == Some("") {
        problems.add(format!("{FIELD}.previewService"), "must not be empty");
    }
    if blue_green.preview_service.as_ref() == Some(&blue_green.active_service) {
        problems.add(
            format!("{FIELD}.previewService"),
            "is the same Service as activeService; each side needs its own",
        );
    }
    if blue_green.anti_affinity.is_some() {
        problems.unbuilt(format!("{FIELD}.antiAffinity"), "; write it into the pod template");
    }
    if blue_green.preview_metadata.is_some() {
        problems.unbuilt(format!("{FIELD}.previewMetadata"), "");
    }
    if blue_green.active_metadata.is_some() {
        problems.unbuilt(format!("{FIELD}.activeMetadata"), "");
    }
    for (name, reference) in [
        ("prePromotionAnalysis", &blue_green.pre_promotion_analysis),
        ("postPromotionAnalysis", &blue_green.post_promotion_analysis),
    ] {
        if let Some(reference) = reference {
            analysis::check(&format!("{FIELD}.{name}"), reference, problems);
        }
    }
    let promotion = match (
        blue_green.auto_promotion_enabled.unwrap_or(true),
        blue_green.auto_promotion_seconds,
    ) {
        // As in Argo Rollouts: a number of seconds promotes even when the automatic is off.
        (_, Some(seconds)) if seconds > 0 => {
            Promotion::AutomaticAfter(TimeDelta::seconds(i64::from(seconds)))
        }
        (true, _) => Promotion::Automatic,
        (false, _) => Promotion::Manual,
    };
    let zero_means_at_once = ScaleDown::After(TimeDelta::zero());
    let scale_down = delay(
        blue_green.scale_down_delay_seconds.as_ref(),
        &format!("{FIELD}.scaleDownDelaySeconds"),
        zero_means_at_once,
        problems,
    );
    let abort_scale_down = delay(
        blue_green.abort_scale_down_delay_seconds.as_ref(),
        &format!("{FIELD}.abortScaleDownDelaySeconds"),
        ScaleDown::Never,
        problems,
    );
    let max_unavailable =
        count(blue_green.max_unavailable.as_ref(), &format!("{FIELD}.maxUnavailable"), problems);
    (!blue_green.active_service.is_empty()).then(|| ValidBlueGreen {
        active_service: blue_green.active_service.clone(),
        preview_service: blue_green.preview_service.clone(),
        preview_replicas: blue_green.preview_replica_count,
        promotion,
        pre_promotion: blue_green.pre_promotion_analysis.clone(),
        post_promotion: blue_green.post_promotion_analysis.clone(),
        scale_down,
        scale_down_limit: blue_green.scale_down_delay_revision_limit,
        abort_scale_down,
        max_unavailable,
    })
}
