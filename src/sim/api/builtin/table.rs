//! The built-in kinds, one line each. A flat table.

use crate::sim::api::kinds::{BuiltinKind, Manners};

const PLAIN: Manners = Manners {
    has_generation: false,
    has_status: false,
    updates_unconditionally: true,
    creates_on_update: false,
    returns_deleted: false,
};

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> BuiltinKind {
    BuiltinKind {
        group,
        version,
        kind,
        plural,
        short_names: &[],
        is_namespaced: true,
        in_all: false,
        has_scale: false,
        is_virtual: false,
        manners: PLAIN,
        type_name: kind,
        stored_as: (group, version),
    }
}

impl BuiltinKind {
    const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names;
        self
    }

    const fn of_cluster(mut self) -> Self {
        self.is_namespaced = false;
        self
    }

    const fn in_all(mut self) -> Self {
        self.in_all = true;
        self
    }

    const fn scale(mut self) -> Self {
        self.has_scale = true;
        self
    }

    const fn status(mut self) -> Self {
        self.manners.has_status = true;
        self
    }

    const fn generation(mut self) -> Self {
        self.manners.has_generation = true;
        self
    }

    /// A PUT needs the resourceVersion.
    const fn guarded(mut self) -> Self {
        self.manners.updates_unconditionally = false;
        self
    }

    /// A PUT creates what is not there.
    const fn upsert(mut self) -> Self {
        self.manners.creates_on_update = true;
        self
    }

    /// A DELETE answers with the object.
    const fn returned(mut self) -> Self {
        self.manners.returns_deleted = true;
        self
    }

    /// A question that is answered and not stored.
    const fn review(mut self) -> Self {
        self.is_virtual = true;
        self
    }

    const fn typed(mut self, name: &'static str) -> Self {
        self.type_name = name;
        self
    }

    const fn stored_as(mut self, group: &'static str, version: &'static str) -> Self {
        self.stored_as = (group, version);
        self
    }
}

/// Every built-in kind that is served.
pub(crate) const BUILTIN: &[BuiltinKind] = &[
    kind("", "v1", "ConfigMap", "configmaps").short(&["cm"]),
    kind("", "v1", "Endpoints", "endpoints").short(&["ep"]).upsert(),
    kind("", "v1", "Event", "events").short(&["ev"]).typed("core.Event").upsert(),
    kind("", "v1", "Namespace", "namespaces").short(&["ns"]).of_cluster().status(),
    kind("", "v1", "Node", "nodes").short(&["no"]).of_cluster().status(),
    kind("", "v1", "Pod", "pods").short(&["po"]).in_all().status().generation().returned(),
    kind("", "v1", "Secret", "secrets"),
    kind("", "v1", "Service", "services").short(&["svc"]).in_all().status().upsert().returned(),
    kind("", "v1", "ServiceAccount", "serviceaccounts").short(&["sa"]).guarded().returned(),
    kind("apps", "v1", "Deployment", "deployments")
        .short(&["deploy"])
        .in_all()
        .scale()
        .status()
        .generation(),
    kind("apps", "v1", "ReplicaSet", "replicasets")
        .short(&["rs"])
        .in_all()
        .scale()
        .status()
        .generation(),
    kind("apps", "v1", "StatefulSet", "statefulsets")
        .short(&["sts"])
        .in_all()
        .scale()
        .status()
        .generation(),
    kind("apps", "v1", "DaemonSet", "daemonsets").short(&["ds"]).in_all().status().generation(),
    kind("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews")
        .of_cluster()
        .review(),
    kind("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews")
        .of_cluster()
        .review(),
    kind("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews")
        .of_cluster()
        .review(),
    kind("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews")
        .of_cluster()
        .review(),
    kind("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews")
        .review(),
    kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
        .short(&["hpa"])
        .in_all()
        .status(),
    kind("batch", "v1", "Job", "jobs").in_all().status().generation(),
    kind("coordination.k8s.io", "v1", "Lease", "leases").guarded().upsert(),
    kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices").generation(),
    kind("events.k8s.io", "v1", "Event", "events")
        .short(&["ev"])
        .typed("events.Event")
        .stored_as("", "v1")
        .upsert(),
    kind("networking.k8s.io", "v1", "Ingress", "ingresses").short(&["ing"]).status().generation(),
    kind("networking.k8s.io", "v1", "IngressClass", "ingressclasses").of_cluster().generation(),
    kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
        .short(&["netpol"])
        .generation(),
    kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
        .short(&["pdb"])
        .status()
        .generation()
        .guarded(),
    kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles").of_cluster().upsert(),
    kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings")
        .of_cluster()
        .upsert(),
    kind("rbac.authorization.k8s.io", "v1", "Role", "roles").upsert(),
    kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings").upsert(),
    kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
        .short(&["crd", "crds"])
        .of_cluster()
        .status()
        .generation()
        .guarded(),
];
