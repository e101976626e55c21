//! The columns of the built-in kinds. A flat table.

use super::ColumnSpec;
use crate::sim::api::kinds::Resource;

const NAME: ColumnSpec = ("Name", "string", "name", 0);
const AGE: ColumnSpec = ("Age", "string", "", 0);

const fn text(name: &'static str) -> ColumnSpec {
    (name, "string", "", 0)
}

const fn number(name: &'static str) -> ColumnSpec {
    (name, "integer", "", 0)
}

const fn wide(name: &'static str) -> ColumnSpec {
    (name, "string", "", 1)
}

const PODS: &[ColumnSpec] = &[
    NAME,
    text("Ready"),
    text("Status"),
    text("Restarts"),
    AGE,
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
];
const SERVICES: &[ColumnSpec] = &[
    NAME,
    text("Type"),
    text("Cluster-IP"),
    text("External-IP"),
    text("Port(s)"),
    AGE,
    wide("Selector"),
];
const REPLICA_SETS: &[ColumnSpec] = &[
    NAME,
    number("Desired"),
    number("Current"),
    number("Ready"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const DEPLOYMENTS: &[ColumnSpec] = &[
    NAME,
    text("Ready"),
    text("Up-to-date"),
    text("Available"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const STATEFUL_SETS: &[ColumnSpec] =
    &[NAME, text("Ready"), AGE, wide("Containers"), wide("Images")];
const DAEMON_SETS: &[ColumnSpec] = &[
    NAME,
    number("Desired"),
    number("Current"),
    number("Ready"),
    number("Up-to-date"),
    number("Available"),
    text("Node Selector"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const JOBS: &[ColumnSpec] = &[
    NAME,
    text("Status"),
    text("Completions"),
    text("Duration"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const EVENTS: &[ColumnSpec] = &[
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    wide("Count"),
    ("Name", "string", "name", 1),
];
const NODES: &[ColumnSpec] = &[
    NAME,
    text("Status"),
    text("Roles"),
    AGE,
    text("Version"),
    wide("Internal-IP"),
    wide("External-IP"),
    wide("OS-Image"),
    wide("Kernel-Version"),
    wide("Container-Runtime"),
];
const BINDINGS: &[ColumnSpec] =
    &[NAME, text("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")];
const AUTOSCALERS: &[ColumnSpec] = &[
    NAME,
    text("Reference"),
    text("Targets"),
    text("MinPods"),
    text("MaxPods"),
    text("Replicas"),
    AGE,
];
const BUDGETS: &[ColumnSpec] =
    &[NAME, text("Min Available"), text("Max Unavailable"), number("Allowed Disruptions"), AGE];

/// The columns of a kind; name and time of creation where there is nothing better.
pub(super) fn columns(resource: &Resource) -> &'static [ColumnSpec] {
    const CREATED: &[ColumnSpec] = &[NAME, ("Created At", "date", "", 0)];
    const NAMESPACES: &[ColumnSpec] = &[NAME, text("Status"), AGE];
    const SECRETS: &[ColumnSpec] = &[NAME, text("Type"), text("Data"), AGE];
    const MAPS: &[ColumnSpec] = &[NAME, text("Data"), AGE];
    const ACCOUNTS: &[ColumnSpec] = &[NAME, text("Secrets"), AGE];
    const ENDPOINTS: &[ColumnSpec] = &[NAME, text("Endpoints"), AGE];
    const SLICES: &[ColumnSpec] =
        &[NAME, text("AddressType"), text("Ports"), text("Endpoints"), AGE];
    const INGRESSES: &[ColumnSpec] =
        &[NAME, text("Class"), text("Hosts"), text("Address"), text("Ports"), AGE];
    const CLASSES: &[ColumnSpec] = &[NAME, text("Controller"), text("Parameters"), AGE];
    const POLICIES: &[ColumnSpec] = &[NAME, text("Pod-Selector"), AGE];
    const LEASES: &[ColumnSpec] = &[NAME, text("Holder"), AGE];
    match resource.plural.as_str() {
        "pods" => PODS,
        "services" => SERVICES,
        "replicasets" => REPLICA_SETS,
        "deployments" => DEPLOYMENTS,
        "statefulsets" => STATEFUL_SETS,
        "daemonsets" => DAEMON_SETS,
        "jobs" => JOBS,
        "events" => EVENTS,
        "nodes" => NODES,
        "namespaces" => NAMESPACES,
        "secrets" => SECRETS,
        "configmaps" => MAPS,
        "serviceaccounts" => ACCOUNTS,
        "endpoints" => ENDPOINTS,
        "endpointslices" => SLICES,
        "ingresses" => INGRESSES,
        "ingressclasses" => CLASSES,
        "networkpolicies" => POLICIES,
        "leases" => LEASES,
        "horizontalpodautoscalers" => AUTOSCALERS,
        "poddisruptionbudgets" => BUDGETS,
        "rolebindings" | "clusterrolebindings" => BINDINGS,
        _ => CREATED,
    }
}
