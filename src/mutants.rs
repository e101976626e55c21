//! Bugs that can be planted, to prove that the simulation finds them. Only `sluice-sim` is ever built
//! with the feature `mutants`; without it [`mutant`] is a constant, and nothing of this is left.

macro_rules! mutants {
    ($(#[doc = $what:literal] $name:ident,)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $what] $name,)+
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them: each with its name and what it does.
            pub const ALL: &[(Self, &str, &str)] =
                &[$((Self::$name, stringify!($name), $what),)+];
        }
    };
}

mutants! {
    /// A write carries no resourceVersion.
    UnguardedWrite,
    /// A status is written whatever it is by now.
    UnguardedStatus,
    /// A 409 counts as success.
    ConflictIsSuccess,
    /// No object is taken over, whoever wrote it last and however doubtful that is.
    NoTakeOver,
    /// What a process writes under a lost leadership is written all the same.
    LeaseNeverExpires,
    /// A canary gets traffic before it has ready endpoints.
    WeightBeforeReady,
    /// A route that is not known counts as one that sends nothing to the canary.
    UnknownRouteIsStable,
    /// A `setWeight` step is done when the pods are there, whatever the route says.
    StepBeforeWeight,
    /// A weight counts as in force before the data plane has confirmed it.
    UnconfirmedIsConfirmed,
    /// An abort takes the traffic away only when no analysis runs any more.
    AbortWaitsForAnalysis,
    /// An abort looks after analyses before it looks after traffic.
    AbortTidiesFirst,
    /// An aborted update goes on with its steps.
    AbortIsForgotten,
    /// A promotion that a person asked for beats the abort that another asked for.
    PromoteBeatsAbort,
    /// Pods go before the traffic has left them.
    PodsGoBeforeTraffic,
    /// Pods of the old revision go at once, whatever the scale-down delay.
    ScaleDownDelayIgnored,
    /// Stable shrinks as the canary grows, though nobody asked for that.
    StableShrinks,
    /// The canary Service moves to another revision while it has traffic.
    ServiceMovesWithTraffic,
    /// The stable Service moves to the new revision while it has traffic.
    StableMovesWithTraffic,
    /// A Service is pointed at a revision whose pods are not there.
    ServiceBeforePods,
    /// A timed pause counts from the beginning of the update.
    PauseCountsFromBeginning,
    /// The time at which a step began moves whenever a pod becomes available.
    StepStartMoves,
    /// A step is skipped after each one.
    StepSkipped,
    /// A new revision goes on at the step of the one that it supersedes.
    StepSurvivesSupersede,
    /// A new revision is no new attempt.
    SameAttempt,
    /// A run of any attempt counts for this one.
    OldRunsCount,
    /// An analysis that still runs lets its step pass.
    RunningIsSuccess,
    /// A measurement that could not be made counts as a bad value.
    ErrorIsFailure,
    /// A measurement that could not be made counts as a good value.
    ErrorIsSuccess,
    /// An empty answer and NaN count as good values.
    NothingIsSuccess,
    /// A measurement counts again each time that it is read.
    CountedTwice,
    /// The active Service is switched before the analysis of the preview has passed.
    SwitchBeforeAnalysis,
    /// The active Service is switched before the preview has its full size.
    SwitchBeforeFull,
    /// An abort leaves the active Service where it is.
    AbortLeavesActive,
    /// `spec.paused` holds nothing.
    PausedGoesOn,
    /// The progress deadline never passes.
    DeadlineIgnored,
    /// An update is done before its traffic is home.
    HealthyBeforeHome,
    /// An update is done before its pods are there.
    HealthyBeforeReady,
    /// A failed revision is taken back in Git while users still reach it.
    RevertBeforeTraffic,
    /// Nothing is looked at again without an event.
    EventsOnly,
    /// A process that takes over leaves the runs that are under way.
    RestartForgetsRuns,
}

/// Whether this bug is planted.
#[cfg(not(feature = "mutants"))]
pub const fn mutant(_: Mutant) -> bool {
    false
}

/// The bug that is planted; 0: none.
#[cfg(feature = "mutants")]
static PLANTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// Whether this bug is planted.
#[cfg(feature = "mutants")]
pub fn mutant(which: Mutant) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == 1 + which as usize
}

/// Plants a bug in this process, or none.
#[cfg(feature = "mutants")]
pub fn plant(which: Option<Mutant>) {
    let number = which.map_or(0, |which| 1 + which as usize);
    PLANTED.store(number, std::sync::atomic::Ordering::Relaxed);
}
