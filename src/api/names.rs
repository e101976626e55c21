//! The API group and every label, annotation, finalizer and field manager, as one value.
//!
//! The group is a value and not a constant, because the controller can run with `--api-group
//! argoproj.io` against objects and clients that were made for Argo Rollouts. Nothing else in the
//! program spells any of these keys.

use kube::core::{ApiResource, GroupVersionKind};

/// Our own API group.
pub const SLUICE_GROUP: &str = "sluice.dev";
/// The API group of Argo Rollouts.
pub const ARGO_GROUP: &str = "argoproj.io";
/// The one API version of either group.
pub const VERSION: &str = "v1alpha1";
/// Field manager of every server-side apply, and the reporting component of Events.
pub const FIELD_MANAGER: &str = "sluice";
/// Name of the leader-election Lease.
pub const LEASE_NAME: &str = "sluice-controller";

/// The kinds that this program reads or writes in its own API group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A progressively delivered workload.
    Rollout,
    /// Metrics of a namespace.
    AnalysisTemplate,
    /// Metrics of the cluster.
    ClusterAnalysisTemplate,
    /// One execution of templates.
    AnalysisRun,
    /// Address and credentials of a metrics server, for a namespace.
    MetricsSource,
    /// Address and credentials of a metrics server, for the cluster.
    ClusterMetricsSource,
    /// The right to push that a platform team lends, for the cluster.
    ClusterGitCredential,
}

impl Kind {
    /// Every kind, in the order of the generated files.
    pub const ALL: [Self; 7] = [
        Self::Rollout,
        Self::AnalysisTemplate,
        Self::ClusterAnalysisTemplate,
        Self::AnalysisRun,
        Self::MetricsSource,
        Self::ClusterMetricsSource,
        Self::ClusterGitCredential,
    ];

    /// The kind as written in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rollout => "Rollout",
            Self::AnalysisTemplate => "AnalysisTemplate",
            Self::ClusterAnalysisTemplate => "ClusterAnalysisTemplate",
            Self::AnalysisRun => "AnalysisRun",
            Self::MetricsSource => "MetricsSource",
            Self::ClusterMetricsSource => "ClusterMetricsSource",
            Self::ClusterGitCredential => "ClusterGitCredential",
        }
    }

    /// The lower-case plural, as it stands in request paths and in RBAC rules.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Rollout => "rollouts",
            Self::AnalysisTemplate => "analysistemplates",
            Self::ClusterAnalysisTemplate => "clusteranalysistemplates",
            Self::AnalysisRun => "analysisruns",
            Self::MetricsSource => "metricssources",
            Self::ClusterMetricsSource => "clustermetricssources",
            Self::ClusterGitCredential => "clustergitcredentials",
        }
    }

    /// Short names for `kubectl get`.
    pub fn short_names(self) -> &'static [&'static str] {
        match self {
            Self::Rollout => &["ro"],
            Self::AnalysisTemplate => &["at"],
            Self::ClusterAnalysisTemplate => &["cat"],
            Self::AnalysisRun => &["ar"],
            Self::MetricsSource => &["ms"],
            Self::ClusterMetricsSource => &["cms"],
            Self::ClusterGitCredential => &["cgc"],
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        match self {
            Self::Rollout | Self::AnalysisTemplate | Self::AnalysisRun | Self::MetricsSource => {
                true
            }
            Self::ClusterAnalysisTemplate
            | Self::ClusterMetricsSource
            | Self::ClusterGitCredential => false,
        }
    }
}

/// The text is not an API group that we can serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown API group {0:?}: use \"sluice.dev\" or \"argoproj.io\"")]
pub struct UnknownGroup(String);

/// Every name that depends on the API group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApiNames {
    argo: bool,
}

impl Default for ApiNames {
    fn default() -> Self {
        Self::SLUICE
    }
}

impl ApiNames {
    /// Our own group, `sluice.dev`.
    pub const SLUICE: Self = Self { argo: false };
    /// The group of Argo Rollouts, `argoproj.io`.
    pub const ARGO: Self = Self { argo: true };

    /// The names for a group given on the command line.
    ///
    /// # Errors
    /// [`UnknownGroup`] for anything but the two groups.
    pub fn for_group(group: &str) -> Result<Self, UnknownGroup> {
        match group {
            SLUICE_GROUP => Ok(Self::SLUICE),
            ARGO_GROUP => Ok(Self::ARGO),
            other => Err(UnknownGroup(other.to_owned())),
        }
    }

    const fn pick(self, ours: &'static str, argo: &'static str) -> &'static str {
        if self.argo { argo } else { ours }
    }

    /// The API group.
    pub const fn group(self) -> &'static str {
        self.pick(SLUICE_GROUP, ARGO_GROUP)
    }

    /// `group/version`, as in a manifest.
    pub fn api_version(self) -> String {
        format!("{}/{VERSION}", self.group())
    }

    /// What a dynamic client needs to know of `kind`.
    pub fn resource(self, kind: Kind) -> ApiResource {
        ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(self.group(), VERSION, kind.as_str()),
            kind.plural(),
        )
    }

    /// Whether the status of `kind` is written apart from the object. Argo Rollouts' AnalysisRuns have
    /// no status subresource (its `manifests/crds/analysis-run-crd.yaml`), and their clients write
    /// without one.
    pub const fn has_status_subresource(self, kind: Kind) -> bool {
        match kind {
            Kind::Rollout => true,
            Kind::AnalysisRun => !self.argo,
            Kind::AnalysisTemplate
            | Kind::ClusterAnalysisTemplate
            | Kind::MetricsSource
            | Kind::ClusterMetricsSource
            | Kind::ClusterGitCredential => false,
        }
    }

    /// Label on ReplicaSets, pods and runs, and key in managed Service selectors: the revision.
    pub const fn revision_label(self) -> &'static str {
        self.pick("sluice.dev/revision", "rollouts-pod-template-hash")
    }

    /// Annotation on Rollouts and ReplicaSets: the ordinal number of the revision.
    pub const fn revision_number_annotation(self) -> &'static str {
        self.pick("sluice.dev/revision-number", "rollout.argoproj.io/revision")
    }

    /// Annotation on ReplicaSets: digest of the user's pod template.
    pub const fn digest_annotation(self) -> &'static str {
        "sluice.dev/digest"
    }

    /// Annotation on ReplicaSets: the `spec.replicas` of the Rollout when it was last scaled.
    pub const fn desired_replicas_annotation(self) -> &'static str {
        self.pick("sluice.dev/desired-replicas", "rollout.argoproj.io/desired-replicas")
    }

    /// Annotation on every object that we write: epoch of the leader that wrote it last.
    pub const fn epoch_annotation(self) -> &'static str {
        "sluice.dev/epoch"
    }

    /// Annotation on ReplicaSets: the ephemeral metadata put on its pods, as JSON.
    pub const fn ephemeral_metadata_annotation(self) -> &'static str {
        self.pick("sluice.dev/ephemeral-metadata", "rollout.argoproj.io/ephemeral-metadata")
    }

    /// Annotation on Services and routes: name of the Rollout that manages them.
    pub const fn managed_by_annotation(self) -> &'static str {
        self.pick("sluice.dev/managed-by", "argo-rollouts.argoproj.io/managed-by-rollouts")
    }

    /// Annotation that opts a Rollout or a release out of Git reverts; its value is the reason.
    pub const fn no_git_revert_annotation(self) -> &'static str {
        "sluice.dev/no-git-revert"
    }

    /// Finalizer on Rollouts that have a traffic router.
    pub const fn finalizer(self) -> &'static str {
        "sluice.dev/traffic"
    }

    /// Label on AnalysisRuns: what the run is for (`Step`, `Background`, `PrePromotion`,
    /// `PostPromotion`).
    pub const fn run_type_label(self) -> &'static str {
        self.pick("sluice.dev/rollout-type", "rollout-type")
    }

    /// Label on AnalysisRuns of a step: its index, from 0.
    pub const fn step_index_label(self) -> &'static str {
        self.pick("sluice.dev/step-index", "step-index")
    }

    /// Label on everything that we create for a Rollout: its name (shortened when over 63
    /// characters).
    pub const fn rollout_label(self) -> &'static str {
        self.pick("sluice.dev/rollout", "rollout.argoproj.io/name")
    }

    /// Label on AnalysisRuns: the attempt they belong to.
    pub const fn attempt_label(self) -> &'static str {
        "sluice.dev/attempt"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_on_the_command_line_is_one_of_two() {
        assert_eq!(ApiNames::for_group("sluice.dev"), Ok(ApiNames::SLUICE));
        assert_eq!(ApiNames::for_group("argoproj.io"), Ok(ApiNames::ARGO));
        let error = ApiNames::for_group("apps").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown API group \"apps\": use \"sluice.dev\" or \"argoproj.io\""
        );
    }

    #[test]
    fn the_group_decides_labels_and_resources() {
        assert_eq!(ApiNames::ARGO.revision_label(), "rollouts-pod-template-hash");
        let rollouts = ApiNames::SLUICE.resource(Kind::Rollout);
        assert_eq!(rollouts.api_version, "sluice.dev/v1alpha1");
        assert_eq!(rollouts.plural, "rollouts");
    }
}
