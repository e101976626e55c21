//! Condition types and reasons: the words that stand, the same, in conditions, Events, metric labels
//! and documentation.

/// The type of a condition on a Rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// The spec cannot be used.
    InvalidSpec,
    /// Enough pods are available.
    Available,
    /// An update is under way, done, or stuck.
    Progressing,
    /// A ReplicaSet could not be made.
    ReplicaFailure,
    /// The update pauses.
    Paused,
    /// The current revision is the stable one.
    Completed,
    /// Nothing is left to do.
    Healthy,
    /// The bad version was taken back in Git.
    GitReverted,
}

impl ConditionType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::ReplicaFailure => "ReplicaFailure",
            Self::Paused => "Paused",
            Self::Completed => "Completed",
            Self::Healthy => "Healthy",
            Self::GitReverted => "GitReverted",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)+) => {
        /// A reason in a condition or an Event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
        }

        impl Reason {
            /// Every reason, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

reasons! {
    /// The spec cannot be used.
    InvalidSpec => "InvalidSpec",
    /// A ReplicaSet was made for a new revision.
    NewReplicaSetCreated => "NewReplicaSetCreated",
    /// The ReplicaSet of the current revision exists already.
    FoundNewReplicaSet => "FoundNewReplicaSet",
    /// The ReplicaSet of the current revision made progress.
    ReplicaSetUpdated => "ReplicaSetUpdated",
    /// The ReplicaSet of the current revision is available.
    NewReplicaSetAvailable => "NewReplicaSetAvailable",
    /// The ReplicaSet of the current revision is not available yet.
    ReplicaSetNotAvailable => "ReplicaSetNotAvailable",
    /// A ReplicaSet could not be made.
    ReplicaSetCreateError => "ReplicaSetCreateError",
    /// A ReplicaSet was scaled.
    ScalingReplicaSet => "ScalingReplicaSet",
    /// A new template was seen.
    RolloutUpdated => "RolloutUpdated",
    /// The update is not done.
    RolloutNotCompleted => "RolloutNotCompleted",
    /// The current revision is the stable one.
    RolloutCompleted => "RolloutCompleted",
    /// A step is done.
    RolloutStepCompleted => "RolloutStepCompleted",
    /// The update pauses.
    RolloutPaused => "RolloutPaused",
    /// The update goes on.
    RolloutResumed => "RolloutResumed",
    /// The update was aborted.
    RolloutAborted => "RolloutAborted",
    /// The update is tried again.
    RolloutRetry => "RolloutRetry",
    /// Steps were skipped.
    SkipSteps => "SkipSteps",
    /// No progress within the deadline.
    ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
    /// A Service's selector was switched.
    SwitchService => "SwitchService",
    /// The router was given another weight.
    TrafficWeightUpdated => "TrafficWeightUpdated",
    /// The router could not be read or written.
    TrafficRoutingError => "TrafficRoutingError",
    /// An object could not be written.
    ReconciliationError => "ReconciliationError",
    /// Enough pods are available.
    AvailableReason => "AvailableReason",
    /// Every replica is available and nothing is left to do.
    RolloutHealthy => "RolloutHealthy",
    /// Something is left to do.
    RolloutNotHealthy => "RolloutNotHealthy",
    /// An AnalysisRun was started.
    AnalysisRunRunning => "AnalysisRunRunning",
    /// An AnalysisRun succeeded.
    AnalysisRunSuccessful => "AnalysisRunSuccessful",
    /// An AnalysisRun failed.
    AnalysisRunFailed => "AnalysisRunFailed",
    /// An AnalysisRun could not measure.
    AnalysisRunError => "AnalysisRunError",
    /// An AnalysisRun could not tell.
    AnalysisRunInconclusive => "AnalysisRunInconclusive",
    /// Pods are being restarted.
    RolloutRestarting => "RolloutRestarting",
    /// The Rollout is being deleted; its traffic is left as it is.
    RolloutDeleted => "RolloutDeleted",
    /// The revert commit is on the branch.
    GitRevertPushed => "GitRevertPushed",
    /// The revert was suggested.
    GitRevertSuggested => "GitRevertSuggested",
    /// The cluster shows the stable template again.
    GitReverted => "GitReverted",
    /// The revert cannot be made.
    GitRevertBlocked => "GitRevertBlocked",
    /// Git declared the stable template already, or something newer.
    GitRevertNotNeeded => "GitRevertNotNeeded",
}
