//! Condition types, reasons and what metrics count: the words that stand, the same, in conditions,
//! Events, metric labels and documentation.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$word_doc:meta])* $word:ident => $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$word_doc])* $word,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$word,)+];
            /// Their words, in the same order: for documentation and tests.
            pub const WORDS: &'static [&'static str] = &[$($text,)+];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)+
                }
            }
        }
    };
}

words! {
    /// The type of a condition on a Rollout.
    ConditionType {
        /// The spec cannot be used.
        InvalidSpec => "InvalidSpec",
        /// Enough pods are available.
        Available => "Available",
        /// An update is under way, done, or stuck.
        Progressing => "Progressing",
        /// A ReplicaSet could not be made.
        ReplicaFailure => "ReplicaFailure",
        /// The update pauses.
        Paused => "Paused",
        /// The current revision is the stable one.
        Completed => "Completed",
        /// Nothing is left to do.
        Healthy => "Healthy",
        /// The bad version was taken back in Git.
        GitReverted => "GitReverted",
        /// A version that had failed was declared again, and is refused.
        Quarantined => "Quarantined",
        /// A canary that should have traffic serves no requests, so nothing can be compared.
        NoTraffic => "NoTraffic",
    }
}

words! {
    /// A reason in a condition or an Event.
    Reason {
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
        /// A pull request with the revert is open.
        GitRevertPullRequest => "GitRevertPullRequest",
        /// People closed the pull request.
        GitRevertVetoed => "GitRevertVetoed",
        /// The revert was suggested.
        GitRevertSuggested => "GitRevertSuggested",
        /// The canary serves no requests though it should.
        NoTraffic => "NoTraffic",
        /// The canary gets another share of the requests than its weight says.
        UnexpectedTrafficSplit => "UnexpectedTrafficSplit",
        /// It serves requests.
        TrafficSeen => "TrafficSeen",
        /// The cluster shows the stable template again.
        GitReverted => "GitReverted",
        /// The revert cannot be made.
        GitRevertBlocked => "GitRevertBlocked",
        /// Git declared the stable template already, or something newer.
        GitRevertNotNeeded => "GitRevertNotNeeded",
        /// A version that had failed was declared again, and is refused.
        RolloutQuarantined => "RolloutQuarantined",
    }
}

words! {
    /// Why an update was aborted.
    AbortCause {
        /// An analysis found the revision bad.
        AnalysisFailed => "AnalysisFailed",
        /// An analysis could not measure, beyond a limit that its author wrote.
        AnalysisError => "AnalysisError",
        /// Nothing was proved by the end of the steps, and its author asked for `onInconclusive: rollback`. Never a reason
        /// to touch Git.
        AnalysisInconclusive => "AnalysisInconclusive",
        /// No progress within the deadline.
        Deadline => "Deadline",
        /// A person asked for it.
        User => "User",
    }
}

words! {
    /// How an update ended.
    UpdateEnd {
        /// The new revision is the stable one.
        Completed => "Completed",
        /// It was given up.
        Aborted => "Aborted",
        /// Another template took its place before it ended.
        Superseded => "Superseded",
    }
}

words! {
    /// What became of a Git revert.
    RevertEnd {
        /// The commit is on the branch.
        Pushed => "Pushed",
        /// A pull request is open.
        PullRequestOpen => "PullRequestOpen",
        /// People closed the pull request; Git still declares the bad version.
        Vetoed => "Vetoed",
        /// The cluster shows the stable template again.
        Reverted => "Reverted",
        /// Git declared the stable template already.
        AlreadyReverted => "AlreadyReverted",
        /// Git or the cluster declares something newer.
        Superseded => "Superseded",
        /// The change is in status, for a person to apply.
        Suggested => "Suggested",
        /// It cannot be made; Git still declares the bad version.
        Blocked => "Blocked",
        /// An annotation says that Git is to be left alone.
        OptedOut => "OptedOut",
        /// The commit was made, and the cluster did not follow it.
        Ineffective => "Ineffective",
        /// There were too many of late; Git still declares the bad version.
        Suspended => "Suspended",
        /// Many Rollouts failed at once; a person must say whether Git is changed.
        ManyFailures => "ManyFailures",
        /// The bad version was declared again after it; it is refused, and not reverted again.
        Quarantined => "Quarantined",
    }
}

words! {
    /// What a Rollout waits for, in a word.
    Awaited {
        /// Somebody.
        Person => "Person",
        /// The end of a pause.
        Pause => "Pause",
        /// Another try of something that failed.
        Retry => "Retry",
        /// An analysis.
        Analysis => "Analysis",
        /// Git, or the tool that applies it.
        Git => "Git",
        /// A router.
        Router => "Router",
        /// Pods.
        Pods => "Pods",
        /// A Service.
        Service => "Service",
        /// Anything else.
        Other => "Other",
    }
}
