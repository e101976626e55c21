//! Who may do what: role-based access control over the Roles and bindings that are stored, as the
//! RBAC authorizer of kube-apiserver reads them. It also keeps account of which rights were used and
//! which were missing, so that a role can be shown to be sufficient and no more.

mod review;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use super::failure::{Cause, Failure};
use super::request::{Identity, Verb};
use super::server::Server;
pub(crate) use rules::Policy;

/// What somebody wants to do, as far as roles look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attributes {
    /// Verb, such as `get` or `deletecollection`.
    pub verb: String,
    /// API group; empty for the core group and for paths.
    pub group: String,
    /// Plural; empty for paths.
    pub resource: String,
    /// Subresource; empty for the object itself.
    pub subresource: String,
    /// Namespace; empty for the whole cluster.
    pub namespace: String,
    /// Name; empty for collections.
    pub name: String,
    /// Path of what is no resource, such as `/version`; empty for resources.
    pub path: String,
}

impl Attributes {
    /// `things/status`, as rules write it.
    pub fn qualified_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// Reads method, path and query as the API server does, whether or not the resource is served.
    pub(crate) fn of_request(method: &Method, path: &str, query: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _, rest @ ..] if !rest.is_empty() => ("", rest),
            ["apis", group, _, rest @ ..] if !rest.is_empty() => (*group, rest),
            _ => return Self::of_path(method, path),
        };
        let (namespace, rest) = match rest {
            ["namespaces", name, "status" | "finalize"] => (*name, rest),
            ["namespaces", name, rest @ ..] if !rest.is_empty() => (*name, rest),
            ["namespaces", name] => (*name, rest),
            _ => ("", rest),
        };
        let mut steps = rest.iter().copied();
        let resource = steps.next().unwrap_or_default();
        let mut name = steps.next().unwrap_or_default().to_owned();
        let subresource = steps.next().unwrap_or_default();
        let pairs: BTreeMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let is_watch = pairs.get("watch").is_some_and(|value| value != "0" && value != "false");
        let is_collection = name.is_empty();
        let verb = match *method {
            Method::GET | Method::HEAD if is_watch => Verb::Watch,
            Method::GET | Method::HEAD if is_collection => Verb::List,
            Method::GET | Method::HEAD => Verb::Get,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            _ if is_collection => Verb::DeleteCollection,
            _ => Verb::Delete,
        };
        if is_collection && matches!(verb, Verb::List | Verb::Watch | Verb::DeleteCollection) {
            let selector = pairs.get("fieldSelector").map(String::as_str).unwrap_or_default();
            let one = selector.split(',').find_map(|term| term.strip_prefix("metadata.name="));
            one.unwrap_or_default().trim_start_matches('=').clone_into(&mut name);
        }
        Self {
            verb: verb.as_str().to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name,
            path: String::new(),
        }
    }

    fn of_path(method: &Method, path: &str) -> Self {
        let verb = method.as_str().to_lowercase();
        Self { verb, path: path.to_owned(), ..Self::default() }
    }
}

/// A rule of a stored role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName {
    /// Namespace of the Role; empty for a ClusterRole.
    pub namespace: String,
    /// Name of the role.
    pub role: String,
    /// Which of its rules, from 0.
    pub index: usize,
}

/// A right that was used: API group, resource with subresource, verb.
pub type Right = (String, String, String);

/// What became of the rights so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLog {
    /// For each rule, the rights of it that were used.
    pub used: BTreeMap<RuleName, BTreeSet<Right>>,
    /// What was refused, and to whom.
    pub refused: BTreeSet<(String, Attributes)>,
}

impl AccessLog {
    /// The rights used of a role, over all of its rules.
    pub fn used_of(&self, namespace: &str, role: &str) -> BTreeSet<Right> {
        let of_role =
            self.used.iter().filter(|(rule, _)| rule.namespace == namespace && rule.role == role);
        of_role.flat_map(|(_, rights)| rights.iter().cloned()).collect()
    }
}

impl Server {
    /// What became of the rights so far.
    pub fn access_log(&self) -> &AccessLog {
        &self.access
    }

    /// Lets pass who may, and notes by which rule.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn authorize(
        &mut self,
        identity: &Identity,
        wanted: &Attributes,
    ) -> Result<(), Failure> {
        if identity.groups.iter().any(|group| group == "system:masters") {
            return Ok(());
        }
        self.refresh_policy();
        let decision = self.policy.decide(identity, wanted);
        match decision {
            Ok(Some(rule)) => {
                let right =
                    (wanted.group.clone(), wanted.qualified_resource(), wanted.verb.clone());
                self.access.used.entry(rule).or_default().insert(right);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(why) => {
                self.access.refused.insert((identity.user.clone(), wanted.clone()));
                Err(refusal(identity, wanted, &why))
            }
        }
    }

    /// Reads roles and bindings again when one of them changed.
    fn refresh_policy(&mut self) {
        let version = self.store.version_of_group(rules::GROUP);
        if self.policy.version() != version {
            self.policy = Policy::read(&self.store, version);
        }
    }
}

/// 403 in the words of kube-apiserver.
fn refusal(identity: &Identity, wanted: &Attributes, why: &str) -> Failure {
    let user = &identity.user;
    let suffix = if why.is_empty() { String::new() } else { format!(": {why}") };
    if !wanted.path.is_empty() {
        let path = &wanted.path;
        let text = format!("forbidden: User {user:?} cannot {} path {path:?}{suffix}", wanted.verb);
        return Failure::forbidden_path(text);
    }
    let scope = if wanted.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", wanted.namespace)
    };
    let text = format!(
        "User {user:?} cannot {} resource {:?} in API group {:?} {scope}{suffix}",
        wanted.verb,
        wanted.qualified_resource(),
        wanted.group
    );
    Failure::forbidden_resource(&wanted.group, &wanted.resource, &wanted.name, &text)
}

/// The cause of a refusal for a namespace that is going away.
pub(crate) fn terminating_cause(namespace: &str) -> Cause {
    Cause {
        reason: "NamespaceTerminating",
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(method: &Method, path: &str, query: &str) -> String {
        let read = Attributes::of_request(method, path, query);
        format!(
            "{} {} {} {:?} {:?}",
            read.verb,
            read.group,
            read.qualified_resource(),
            read.namespace,
            read.name
        )
    }

    #[test]
    fn a_request_is_read_as_verb_resource_namespace_and_name() {
        let path = "/apis/apps/v1/namespaces/shop/replicasets/web/status";
        assert_eq!(
            attributes(&Method::PATCH, path, ""),
            "patch apps replicasets/status \"shop\" \"web\""
        );
        assert_eq!(
            attributes(&Method::GET, "/api/v1/pods", "watch=1&fieldSelector=metadata.name%3Da"),
            "watch  pods \"\" \"a\""
        );
        assert_eq!(
            attributes(&Method::GET, "/api/v1/namespaces/shop", ""),
            "get  namespaces \"shop\" \"shop\""
        );
        assert_eq!(
            attributes(&Method::DELETE, "/api/v1/namespaces/shop/pods", ""),
            "deletecollection  pods \"shop\" \"\""
        );
        assert_eq!(Attributes::of_request(&Method::GET, "/version", "").path, "/version");
    }
}
