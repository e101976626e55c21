//! What a metric may say to its provider, beyond the schema: one source or address, no credentials
//! in templates, usable times, paths and bodies.

use serde_json::Value;

use super::Problem;
use super::resolve::MAX_QUERY_BYTES;
use crate::api::metrics_source::{MAX_TIMEOUT_SECONDS, checked_base_url};
use crate::metrics::spec::{
    AskedSpec, Authentication, Header, MetricProvider, Provider, SourceRef,
};
use crate::metrics::spec::{job, prometheus, web};

/// Collects the problems of a provider and says whether it is a Job. With `is_lenient`, fields with
/// placeholders are not looked at.
pub(super) fn check_provider(
    field: &str,
    provider: &MetricProvider,
    is_lenient: bool,
    problems: &mut Vec<Problem>,
) -> bool {
    let named = provider.named();
    let base = match named.as_slice() {
        [only] => format!("{field}.provider.{only}"),
        _ => format!("{field}.provider"),
    };
    let mut check = Check { base, is_lenient, problems };
    match provider.chosen() {
        Ok(Provider::Prometheus(spec)) => check.prometheus(spec),
        Ok(Provider::Web(spec)) => check.web(spec),
        Ok(Provider::Job(spec)) => check.job(spec),
        Ok(Provider::Asked(asked)) => {
            let text = serde_json::to_string(provider).unwrap_or_default();
            check.asked(asked.spec(), &text);
        }
        Err(problem) => check.say("", problem.to_string()),
    }
    named.contains(&"job")
}

struct Check<'a> {
    base: String,
    is_lenient: bool,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn say(&mut self, name: &str, message: impl Into<String>) {
        let field =
            if name.is_empty() { self.base.clone() } else { format!("{}.{name}", self.base) };
        self.problems.push(Problem::new(field, message));
    }

    fn is_open(&self, text: &str) -> bool {
        self.is_lenient && text.contains("{{")
    }

    fn prometheus(&mut self, spec: &prometheus::Spec) {
        if spec.query.trim().is_empty() {
            self.say("query", "is empty");
        }
        if spec.query.len() > MAX_QUERY_BYTES {
            self.say("query", format!("is longer than {MAX_QUERY_BYTES} bytes"));
        }
        let address = spec.address.as_deref().filter(|address| !address.is_empty());
        match (&spec.source, address) {
            (None, None) => self.say("source", "must name a MetricsSource"),
            (Some(_), Some(_)) => self.say("address", "must not stand beside source"),
            (Some(source), None) => self.source(source),
            (None, Some(address)) => self.address("address", address),
        }
        self.common(&spec.headers, spec.authentication.as_ref(), spec.insecure);
        self.timeout("timeout", spec.timeout);
        if let Some(range) = &spec.range_query {
            let is_open = self.is_open(&format!("{}{}{}", range.start, range.end, range.step));
            if let (Some((name, problem)), false) = (range.problem(), is_open) {
                self.say(&format!("rangeQuery.{name}"), problem);
            }
        }
    }

    fn web(&mut self, spec: &web::Spec) {
        match &spec.source {
            Some(source) => {
                self.source(source);
                if !spec.url.starts_with('/') && !self.is_open(&spec.url) {
                    self.say("url", "must be a path that begins with / when source is named");
                }
            }
            None => self.address("url", &spec.url),
        }
        self.common(&spec.headers, spec.authentication.as_ref(), spec.insecure);
        self.timeout("timeoutSeconds", spec.timeout_seconds);
        let has_body = spec.body.as_deref().is_some_and(|body| !body.is_empty());
        if has_body && spec.json_body.is_some() {
            self.say("jsonBody", "must not stand beside body");
        }
        let sends_nothing = spec.method.unwrap_or_default() == web::Method::Get;
        if sends_nothing && (has_body || spec.json_body.is_some()) {
            self.say("method", "must be POST or PUT when there is a body");
        }
        if let Some(path) = &spec.json_path
            && let (Err(problem), false) = (web::parsed_json_path(path), self.is_open(path))
        {
            self.say("jsonPath", problem);
        }
    }

    fn asked(&mut self, spec: &dyn AskedSpec, text: &str) {
        match (spec.source(), spec.address()) {
            (None, None) => {
                self.say("source", format!("must name a MetricsSource of type {}", spec.kind()));
            }
            (Some(_), Some(_)) => self.say("address", "must not stand beside source"),
            (Some(source), None) => self.source(source),
            (None, Some(address)) => self.address("address", address),
        }
        if spec.queries().iter().any(|query| query.len() > MAX_QUERY_BYTES) {
            self.say("query", format!("is longer than {MAX_QUERY_BYTES} bytes"));
        }
        // Any of its texts may be part of a problem.
        if !self.is_open(text) {
            for (name, problem) in spec.problems() {
                self.say(name, problem);
            }
        }
    }

    fn job(&mut self, spec: &job::Spec) {
        let template = spec.spec.0.get("template").and_then(|template| template.get("spec"));
        let containers = template.and_then(|pod| pod.get("containers")).and_then(Value::as_array);
        if containers.is_none_or(Vec::is_empty) {
            self.say("spec.template.spec.containers", "must name at least one container");
        }
        let restart = template.and_then(|pod| pod.get("restartPolicy")).and_then(Value::as_str);
        if !matches!(restart, Some("Never" | "OnFailure")) {
            self.say("spec.template.spec.restartPolicy", "must be Never or OnFailure");
        }
        let metadata = spec.metadata.as_ref().and_then(|metadata| metadata.0.as_object());
        for key in metadata.into_iter().flat_map(serde_json::Map::keys) {
            // `creationTimestamp: null` is what Go clients write into every object.
            if !matches!(key.as_str(), "labels" | "annotations" | "creationTimestamp") {
                self.say(
                    &format!("metadata.{key}"),
                    "is not taken: only labels and annotations are",
                );
            }
        }
    }

    fn source(&mut self, source: &SourceRef) {
        if source.name.is_empty() {
            self.say("source.name", "is empty");
        }
    }

    fn address(&mut self, name: &str, address: &str) {
        if let (Err(problem), false) = (checked_base_url(address), self.is_open(address)) {
            self.say(name, problem);
        }
    }

    fn common(
        &mut self,
        headers: &[Header],
        authentication: Option<&Authentication>,
        insecure: bool,
    ) {
        for (index, header) in headers.iter().enumerate() {
            let is_name = http::HeaderName::try_from(header.key.as_str()).is_ok();
            if !is_name && !self.is_open(&header.key) {
                self.say(&format!("headers[{index}].key"), "is not the name of a header");
            }
            if http::HeaderValue::try_from(header.value.as_str()).is_err() {
                self.say(&format!("headers[{index}].value"), "is not the value of a header");
            }
            if header.key.eq_ignore_ascii_case("authorization")
                || header.key.eq_ignore_ascii_case("cookie")
            {
                self.say(
                    &format!("headers[{index}]"),
                    "carries credentials: put them in a MetricsSource and name it in source",
                );
            }
        }
        for method in authentication.map(Authentication::named).unwrap_or_default() {
            let message = if method == "sigv4" {
                "is not built yet"
            } else {
                "is not taken from a template: put the credentials in a MetricsSource and name it in source"
            };
            self.say(&format!("authentication.{method}"), message);
        }
        if insecure {
            self.say(
                "insecure",
                "is refused: put the server's CA in a MetricsSource and name it in source",
            );
        }
    }

    fn timeout(&mut self, name: &str, seconds: Option<i64>) {
        if seconds.is_some_and(|seconds| !(0..=MAX_TIMEOUT_SECONDS).contains(&seconds)) {
            self.say(name, format!("must be from 1 to {MAX_TIMEOUT_SECONDS} seconds"));
        }
    }
}
