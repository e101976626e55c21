//! The rights that the controller needs, as data: our own objects, what a Rollout owns, and what
//! each traffic provider says in its own file. The roles in `deploy/` and in the Helm chart are made
//! from it, so that a new provider brings its rights along.
//!
//! Never grants list or watch on Secrets, never a wildcard, and never a right that only a switched-off
//! feature needs.

use std::fmt::Write as _;

use super::gitops::OwnerKind;
use super::names::{ApiNames, Kind, LEASE_NAME};
use crate::traffic;

/// Rights on resources, and why they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Why, as a comment beside the rule.
    pub why: String,
    /// API group; empty for the core group.
    pub api_group: String,
    /// Plural names, with subresource where one is meant (`rollouts/status`).
    pub resources: Vec<String>,
    /// Names of the only objects that are meant; empty for all.
    pub resource_names: Vec<String>,
    /// Verbs.
    pub verbs: Vec<&'static str>,
}

impl Grant {
    fn new(why: &str, api_group: &str, resources: &[&str], verbs: &[&'static str]) -> Self {
        Self {
            why: why.to_owned(),
            api_group: api_group.to_owned(),
            resources: resources.iter().map(|name| (*name).to_owned()).collect(),
            resource_names: Vec::new(),
            verbs: verbs.to_vec(),
        }
    }

    /// The same rights on one object only.
    fn only(mut self, name: &str) -> Self {
        self.resource_names = vec![name.to_owned()];
        self
    }
}

/// Where a role is bound, and with that whose objects it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything that a Rollout consists of: bound in each watched namespace, or in the cluster.
    Workloads,
    /// Jobs of the Job metric: like `Workloads`, only when the metric is switched on.
    JobMetrics,
    /// Secrets by name: in the namespaces that grant it.
    Secrets,
    /// Objects of Argo CD and Flux by name: where they are, only when they may be asked where Git
    /// declares a Rollout.
    GitOps,
    /// One annotation of the same objects: like `GitOps`, only when the tools are to be asked to look at
    /// Git.
    GitOpsRefresh,
    /// Kinds without a namespace: in the cluster.
    ClusterKinds,
    /// The Lease, and what cluster-wide kinds name: in the controller's own namespace.
    OwnNamespace,
}

impl Role {
    /// Every role, in the order of the generated files.
    pub const ALL: [Self; 7] = [
        Self::Workloads,
        Self::JobMetrics,
        Self::Secrets,
        Self::GitOps,
        Self::GitOpsRefresh,
        Self::ClusterKinds,
        Self::OwnNamespace,
    ];

    /// Name of the role, and key of its rules in the chart.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workloads => "workloads",
            Self::JobMetrics => "job-metrics",
            Self::Secrets => "secrets",
            Self::GitOps => "gitops",
            Self::GitOpsRefresh => "gitops-refresh",
            Self::ClusterKinds => "cluster-kinds",
            Self::OwnNamespace => "own-namespace",
        }
    }

    /// What the role allows.
    pub fn grants(self, names: ApiNames) -> Vec<Grant> {
        match self {
            Self::Workloads => workloads(names),
            Self::JobMetrics => vec![Grant::new(
                "one Job for each measurement of a Job metric",
                "batch",
                &["jobs"],
                &["get", "create", "delete"],
            )],
            Self::Secrets => vec![Grant::new(
                "credentials that a MetricsSource or gitRevert names; never listed",
                "",
                &["secrets"],
                &["get"],
            )],
            Self::GitOps => OwnerKind::ALL
                .into_iter()
                .map(|kind| {
                    let why = "where Git declares a Rollout; read by name";
                    Grant::new(why, kind.group(), &[kind.plural()], &["get"])
                })
                .collect(),
            Self::GitOpsRefresh => OwnerKind::ALL
                .into_iter()
                .map(|kind| {
                    let why = "one annotation, so that a revert is applied at once";
                    Grant::new(why, kind.group(), &[kind.plural()], &["patch"])
                })
                .collect(),
            Self::ClusterKinds => vec![
                Grant::new(
                    "templates of the cluster",
                    names.group(),
                    &[Kind::ClusterAnalysisTemplate.plural()],
                    &["list", "watch"],
                ),
                Grant::new(
                    "sources of the cluster; read by name",
                    names.group(),
                    &[Kind::ClusterMetricsSource.plural()],
                    &["get"],
                ),
                Grant::new(
                    "rights to push that are lent to teams; read by name",
                    names.group(),
                    &[Kind::ClusterGitCredential.plural()],
                    &["get"],
                ),
            ],
            Self::OwnNamespace => own_namespace(),
        }
    }
}

fn workloads(names: ApiNames) -> Vec<Grant> {
    let group = names.group();
    let rollouts = Kind::Rollout.plural();
    let runs = Kind::AnalysisRun.plural();
    let sub = |kind: &str, subresource: &str| format!("{kind}/{subresource}");
    let mut grants = vec![
        Grant::new(
            "what teams declare; the finalizer and the epoch are patched",
            group,
            &[rollouts],
            &["get", "list", "watch", "patch"],
        ),
        Grant::new(
            "what the controller reports",
            group,
            &[&sub(rollouts, "status"), &sub(runs, "status")],
            &["patch"],
        ),
        Grant::new(
            "owner references that block deletion",
            group,
            &[&sub(rollouts, "finalizers"), &sub(runs, "finalizers")],
            &["update"],
        ),
        Grant::new(
            "one ReplicaSet for each revision; old ones are deleted",
            "apps",
            &["replicasets"],
            &["get", "list", "watch", "create", "patch", "delete"],
        ),
        Grant::new("readiness of the revisions", "", &["pods"], &["list", "watch"]),
        Grant::new(
            "restarts, with respect to disruption budgets",
            "",
            &["pods/eviction"],
            &["create"],
        ),
        Grant::new(
            "selectors of the Services of a Rollout",
            "",
            &["services"],
            &["get", "list", "watch", "patch"],
        ),
        Grant::new(
            "endpoints that carry traffic",
            "discovery.k8s.io",
            &["endpointslices"],
            &["list", "watch"],
        ),
        Grant::new(
            "certificate authorities that a MetricsSource names",
            "",
            &["configmaps"],
            &["get"],
        ),
        Grant::new("Events on Rollouts and runs", "", &["events"], &["create"]),
    ];
    grants.extend(analyses(group));
    for provider in traffic::registry() {
        grants.extend(provider.rules.iter().map(|rule| {
            let why = format!("trafficRouting.{}", provider.field);
            Grant::new(&why, rule.api_group, rule.resources, rule.verbs)
        }));
    }
    grants
}

fn analyses(group: &str) -> Vec<Grant> {
    vec![
        Grant::new(
            "what an analysis is made of",
            group,
            &[Kind::AnalysisTemplate.plural()],
            &["list", "watch"],
        ),
        Grant::new(
            "where metrics come from; read by name",
            group,
            &[Kind::MetricsSource.plural()],
            &["get"],
        ),
        Grant::new(
            "analyses of Rollouts; old ones are deleted",
            group,
            &[Kind::AnalysisRun.plural()],
            &["get", "list", "watch", "create", "patch", "delete"],
        ),
    ]
}

fn own_namespace() -> Vec<Grant> {
    let group = "coordination.k8s.io";
    vec![
        // A right to create cannot be bound to a name: the name is in the body.
        Grant::new("the Lease of leader election", group, &["leases"], &["create"]),
        Grant::new("the Lease of leader election", group, &["leases"], &["get", "update"])
            .only(LEASE_NAME),
        Grant::new(
            "what a ClusterMetricsSource or a ClusterGitCredential names; never listed",
            "",
            &["secrets", "configmaps"],
            &["get"],
        ),
    ]
}

/// The rules of a role as YAML, each under a comment that says why; every line is indented by
/// `indent` spaces.
pub fn rules_yaml(grants: &[Grant], indent: usize) -> String {
    let pad = " ".repeat(indent);
    let mut yaml = String::new();
    for grant in grants {
        let list = |items: &[String]| {
            items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", ")
        };
        let verbs: Vec<String> = grant.verbs.iter().map(|verb| (*verb).to_owned()).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(yaml, "{pad}# {}", grant.why);
        let _ = writeln!(yaml, "{pad}- apiGroups: [{:?}]", grant.api_group);
        let _ = writeln!(yaml, "{pad}  resources: [{}]", list(&grant.resources));
        if !grant.resource_names.is_empty() {
            let _ = writeln!(yaml, "{pad}  resourceNames: [{}]", list(&grant.resource_names));
        }
        let _ = writeln!(yaml, "{pad}  verbs: [{}]", list(&verbs));
    }
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(Role, Grant)> {
        Role::ALL
            .into_iter()
            .flat_map(|role| role.grants(ApiNames::SLUICE).into_iter().map(move |g| (role, g)))
            .collect()
    }

    #[test]
    fn secrets_can_be_read_by_name_and_never_listed_nor_written() {
        let on_secrets: Vec<_> = all()
            .into_iter()
            .filter(|(_, g)| g.resources.contains(&"secrets".to_owned()))
            .collect();
        assert_eq!(on_secrets.len(), 2);
        for (role, grant) in on_secrets {
            assert_eq!(grant.verbs, ["get"], "{role:?}");
        }
    }

    #[test]
    fn nothing_is_granted_by_a_wildcard() {
        for (role, grant) in all() {
            let words = grant.resources.iter().map(String::as_str).chain(grant.verbs.clone());
            assert!(!words.chain([grant.api_group.as_str()]).any(|w| w.contains('*')), "{role:?}");
        }
    }

    #[test]
    fn only_the_job_metric_may_create_jobs_and_nothing_may_create_pods() {
        for (role, grant) in all() {
            let writes = grant.verbs.iter().any(|verb| matches!(*verb, "create" | "patch"));
            for resource in grant.resources.iter().filter(|_| writes) {
                assert!(resource != "jobs" || role == Role::JobMetrics);
                assert!(
                    !["pods", "pods/exec", "roles", "rolebindings"].contains(&resource.as_str())
                );
            }
        }
    }

    #[test]
    fn every_traffic_provider_brings_its_rights() {
        let granted = Role::Workloads.grants(ApiNames::SLUICE);
        for provider in traffic::registry() {
            for rule in provider.rules {
                assert!(granted.iter().any(|g| g.api_group == rule.api_group
                    && g.verbs == rule.verbs
                    && rule.resources.iter().all(|r| g.resources.contains(&(*r).to_owned()))));
            }
        }
    }

    #[test]
    fn the_lease_can_be_changed_by_its_name_alone() {
        let leases: Vec<_> = Role::OwnNamespace
            .grants(ApiNames::SLUICE)
            .into_iter()
            .filter(|grant| grant.resources == ["leases"] && grant.verbs != ["create"])
            .collect();
        assert_eq!(leases.len(), 1);
        assert_eq!(leases[0].resource_names, [LEASE_NAME]);
    }

    #[test]
    fn rules_are_written_with_their_reason() {
        let grant = Grant::new("because", "apps", &["replicasets"], &["get"]).only("web");
        insta::assert_snapshot!(rules_yaml(&[grant], 2), @r#"
          # because
          - apiGroups: ["apps"]
            resources: ["replicasets"]
            resourceNames: ["web"]
            verbs: ["get"]
        "#);
    }
}
