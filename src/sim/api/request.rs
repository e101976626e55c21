//! What a client asks for: the HTTP request, taken apart once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::Method;
use serde_json::Value;

use super::failure::{Cause, Failure};
use super::kinds::{Kinds, Resource};
use super::select::{Fields, Labels};
use super::watch::WatchPlan;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// User name, such as `system:serviceaccount:sluice-system:sluice-controller`.
    pub user: String,
    /// Groups; `system:masters` may do everything.
    pub groups: Vec<String>,
}

impl Identity {
    /// Somebody who may do everything.
    pub fn admin(user: &str) -> Self {
        Self { user: user.to_owned(), groups: vec!["system:masters".to_owned()] }
    }

    /// A ServiceAccount with the groups that it has.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Read one.
    Get,
    /// Read many.
    List,
    /// Follow many.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH, also server-side apply.
    Patch,
    /// DELETE one.
    Delete,
    /// DELETE many.
    DeleteCollection,
}

impl Verb {
    /// As in rules of access.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether it changes anything.
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// An HTTP request, as far as the server looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path, such as `/apis/apps/v1/namespaces/shop/replicasets`.
    pub path: &'a str,
    /// Query without the question mark.
    pub query: &'a str,
    /// `Content-Type`; empty if there is none.
    pub content_type: &'a str,
    /// `Accept`; empty if there is none.
    pub accept: &'a str,
    /// `User-Agent`; the field manager of writes that name none is its first part.
    pub user_agent: &'a str,
    /// Body.
    pub body: &'a [u8],
    /// Who asks.
    pub identity: &'a Identity,
    /// The time.
    pub now: DateTime<Utc>,
}

/// An answer.
#[derive(Debug)]
pub enum Response {
    /// JSON.
    Json {
        /// HTTP status.
        code: u16,
        /// Body.
        body: Arc<Value>,
        /// Texts of `Warning` headers.
        warnings: Vec<String>,
    },
    /// Text, such as that of `/readyz`.
    Text {
        /// HTTP status.
        code: u16,
        /// Body.
        body: String,
    },
    /// A watch, to be followed through [`Server::poll_watch`](super::Server::poll_watch).
    Watch(WatchPlan),
}

impl Response {
    pub(crate) fn json(code: u16, body: impl Into<Arc<Value>>) -> Self {
        Self::Json { code, body: body.into(), warnings: Vec::new() }
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Self {
        if failure.reason == Failure::NO_PAGE {
            return Self::Text { code: 404, body: failure.message };
        }
        Self::json(failure.code, failure.to_status())
    }
}

/// Where in the API a request goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    /// Empty for objects of the cluster, and for lists over all namespaces.
    pub(crate) namespace: String,
    /// Empty for a collection.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
}

impl Target {
    /// Reads a path below `/api` or `/apis`.
    ///
    /// # Errors
    /// 404 for what is not served.
    pub(crate) fn of_path(path: &str, kinds: &Kinds) -> Result<Self, Failure> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Failure::no_page()),
        };
        let (namespace, rest) = match rest {
            // The subresources of a namespace itself.
            ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            _ => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return Err(Failure::no_such_path()),
        };
        let Some(resource) = kinds.find(group, version, plural) else {
            let is_known = kinds.all().any(|one| one.group == group && !one.is_custom);
            return Err(if is_known { Failure::no_such_path() } else { Failure::no_page() });
        };
        if resource.is_namespaced && namespace.is_empty() && !name.is_empty() {
            return Err(Failure::no_such_path());
        }
        if !resource.is_namespaced && !namespace.is_empty() {
            return Err(Failure::no_such_path());
        }
        Ok(Self {
            resource: resource.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }
}

/// How objects are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum View {
    #[default]
    Whole,
    /// PartialObjectMetadata.
    Metadata,
    /// Table.
    Table,
}

/// The query and the headers that change what is done.
#[expect(clippy::struct_excessive_bools, reason = "the flags of a query")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) labels: Labels,
    pub(crate) fields: Fields,
    pub(crate) limit: usize,
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) is_watch: bool,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) allows_bookmarks: bool,
    pub(crate) sends_initial_events: Option<bool>,
    pub(crate) is_dry_run: bool,
    pub(crate) field_manager: String,
    pub(crate) field_validation: String,
    pub(crate) force: bool,
    pub(crate) is_forced_given: bool,
    pub(crate) propagation_policy: String,
    pub(crate) orphan_dependents: Option<bool>,
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) view: View,
    /// `includeObject` of a table.
    pub(crate) include_object: String,
}

impl Options {
    /// Reads query and `Accept`.
    ///
    /// # Errors
    /// 400 with what cannot be read.
    pub(crate) fn read(
        query: &str,
        accept: &str,
        method: &Method,
        resource: &Resource,
    ) -> Result<Self, Failure> {
        let mut options = Self { view: view_of(accept), ..Self::default() };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            options.take(&key, value.into_owned(), method, resource)?;
        }
        if *method == Method::GET || *method == Method::DELETE {
            options.check_list()?;
        }
        Ok(options)
    }

    /// Checks what lists and watches may ask for together.
    fn check_list(&self) -> Result<(), Failure> {
        let wanted = self.resource_version_match.as_str();
        let field = "resourceVersionMatch";
        let mut causes = Vec::new();
        if self.is_watch && self.sends_initial_events.is_some() && wanted != "NotOlderThan" {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(Cause::forbidden(field, detail));
        }
        if !wanted.is_empty() {
            let known: &[&str] = if self.is_watch {
                if self.sends_initial_events.is_none() {
                    let detail = "resourceVersionMatch is forbidden for watch unless \
                                  sendInitialEvents is provided";
                    causes.push(Cause::forbidden(field, detail));
                }
                &["NotOlderThan"]
            } else {
                if self.resource_version.is_empty() {
                    let detail =
                        "resourceVersionMatch is forbidden unless resourceVersion is provided";
                    causes.push(Cause::forbidden(field, detail));
                }
                &["Exact", "NotOlderThan", ""]
            };
            if !self.continue_token.is_empty() {
                let detail = "resourceVersionMatch is forbidden when continue is provided";
                causes.push(Cause::forbidden(field, detail));
            }
            if !known.contains(&wanted) {
                let known: Vec<String> = known.iter().map(|one| (*one).to_owned()).collect();
                causes.push(Cause::not_supported(field, &wanted.into(), &known));
            }
            if !self.is_watch && wanted == "Exact" && self.resource_version == "0" {
                let detail =
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                causes.push(Cause::forbidden(field, detail));
            }
        }
        if !self.is_watch && self.sends_initial_events.is_some() {
            let detail = "sendInitialEvents is forbidden for list";
            causes.push(Cause::forbidden("sendInitialEvents", detail));
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(Failure::invalid_options_all("ListOptions", causes))
    }

    fn take(
        &mut self,
        key: &str,
        value: String,
        method: &Method,
        resource: &Resource,
    ) -> Result<(), Failure> {
        let kind = match *method {
            Method::POST => "CreateOptions",
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            _ => "DeleteOptions",
        };
        match key {
            "labelSelector" => {
                self.labels = Labels::parse(&value).map_err(|why| {
                    Failure::bad_request(format!("unable to parse requirement: {why}"))
                })?;
            }
            "fieldSelector" => {
                self.fields = Fields::parse(&value, resource).map_err(Failure::bad_request)?;
            }
            "limit" => self.limit = value.parse().unwrap_or_default(),
            "continue" => self.continue_token = value,
            "resourceVersion" => self.resource_version = value,
            "resourceVersionMatch" => self.resource_version_match = value,
            "watch" => self.is_watch = is_true(&value),
            "timeoutSeconds" => self.timeout_seconds = value.parse().ok(),
            "allowWatchBookmarks" => self.allows_bookmarks = is_true(&value),
            "sendInitialEvents" => self.sends_initial_events = Some(is_true(&value)),
            "dryRun" => self.is_dry_run = dry_run(&value, kind)?,
            "fieldManager" => self.field_manager = value,
            "fieldValidation" => {
                if !matches!(value.as_str(), "" | "Ignore" | "Warn" | "Strict") {
                    let known = ["", "Ignore", "Strict", "Warn"].map(str::to_owned);
                    let cause = Cause::not_supported("fieldValidation", &value.into(), &known);
                    return Err(Failure::invalid_options(kind, cause));
                }
                self.field_validation = value;
            }
            "force" => {
                self.force = is_true(&value);
                self.is_forced_given = true;
            }
            "propagationPolicy" => self.propagation_policy = value,
            "orphanDependents" => self.orphan_dependents = Some(is_true(&value)),
            "gracePeriodSeconds" => self.grace_period_seconds = value.parse().ok(),
            "includeObject" => self.include_object = value,
            _ => {}
        }
        Ok(())
    }
}

/// Whether `dryRun` asks for one.
///
/// # Errors
/// 422 for anything but `All`.
pub(crate) fn dry_run(value: &str, options: &str) -> Result<bool, Failure> {
    match value {
        "" => Ok(false),
        "All" => Ok(true),
        other => {
            let given = serde_json::json!([other]);
            let cause = Cause::not_supported("dryRun", &given, &["All".to_owned()]);
            Err(Failure::invalid_options(options, cause))
        }
    }
}

fn is_true(value: &str) -> bool {
    !matches!(value, "0" | "false" | "False" | "FALSE" | "f" | "F")
}

/// What `Accept` asks for: its first entry decides among those that are known.
fn view_of(accept: &str) -> View {
    for entry in accept.split(',') {
        let mut parts = entry.split(';').map(str::trim);
        let _media_type = parts.next();
        match parts.find_map(|part| part.strip_prefix("as=")) {
            Some("Table") => return View::Table,
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return View::Metadata,
            Some(_) => {}
            None => return View::Whole,
        }
    }
    View::Whole
}
