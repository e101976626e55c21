//! The kinds of Argo CD and Flux that are read to find out where Git declares a Rollout. They are never
//! listed or watched, and changed by one annotation only, where that is asked for.

/// Kinds of the GitOps tools that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// Argo CD's Application.
    Application,
    /// Flux' Kustomization.
    Kustomization,
    /// Flux' HelmRelease.
    HelmRelease,
    /// Flux' GitRepository.
    GitRepository,
}

impl OwnerKind {
    /// Every kind; the role of the controller is made from it.
    pub const ALL: [Self; 4] =
        [Self::Application, Self::Kustomization, Self::HelmRelease, Self::GitRepository];

    /// API group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Application => "argoproj.io",
            Self::Kustomization => "kustomize.toolkit.fluxcd.io",
            Self::HelmRelease => "helm.toolkit.fluxcd.io",
            Self::GitRepository => "source.toolkit.fluxcd.io",
        }
    }

    /// API version within the group.
    pub const fn version(self) -> &'static str {
        match self {
            Self::Application => "v1alpha1",
            Self::Kustomization | Self::GitRepository => "v1",
            Self::HelmRelease => "v2",
        }
    }

    /// Plural name in paths and rights.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Application => "applications",
            Self::Kustomization => "kustomizations",
            Self::HelmRelease => "helmreleases",
            Self::GitRepository => "gitrepositories",
        }
    }

    /// How far from Git it stands: what feeds another one has the lower number.
    pub const fn depth(self) -> u8 {
        match self {
            Self::GitRepository => 0,
            Self::Kustomization => 1,
            Self::HelmRelease => 2,
            Self::Application => 3,
        }
    }

    /// The kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "Application",
            Self::Kustomization => "Kustomization",
            Self::HelmRelease => "HelmRelease",
            Self::GitRepository => "GitRepository",
        }
    }
}
