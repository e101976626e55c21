//! Access reviews: questions about rights, answered by a POST and never stored.

use serde_json::{Map, Value, json};

use super::Attributes;
use crate::sim::api::failure::Failure;
use crate::sim::api::object;
use crate::sim::api::request::Identity;
use crate::sim::api::server::{Answer, Call, Server};

impl Server {
    /// Answers a review that was posted.
    pub(crate) fn review(&mut self, call: &Call, mut review: Value) -> Result<Answer, Failure> {
        let resource = call.resource().clone();
        match resource.plural.as_str() {
            "selfsubjectreviews" => {
                let info = json!({"username": call.identity.user, "groups": call.identity.groups});
                object::set_at(&mut review, &["status"], json!({"userInfo": info}));
                return Ok(Answer::created(review));
            }
            "selfsubjectrulesreviews" => {
                return Err(Failure::not_implemented("reviews of all rules"));
            }
            _ => {}
        }
        let spec = review.get("spec").cloned().unwrap_or_default();
        let identity = if resource.plural == "selfsubjectaccessreviews" {
            call.identity.clone()
        } else {
            let groups = spec.get("groups").and_then(Value::as_array).into_iter().flatten();
            Identity {
                user: object::text(&spec, "user").to_owned(),
                groups: groups.filter_map(Value::as_str).map(str::to_owned).collect(),
            }
        };
        let status = self.judge(&identity, &attributes(&spec));
        object::set_at(&mut review, &["status"], status);
        if object::metadata(&review).is_none_or(Map::is_empty) {
            object::set_at(&mut review, &["metadata"], Value::Object(Map::new()));
        }
        Ok(Answer::created(review))
    }

    /// `status` of a review. It is no use of the right.
    fn judge(&mut self, identity: &Identity, wanted: &Attributes) -> Value {
        if identity.groups.iter().any(|group| group == "system:masters") {
            return json!({"allowed": true});
        }
        self.refresh_policy();
        match self.policy.decide(identity, wanted) {
            Ok(None) => json!({"allowed": true}),
            Ok(Some(rule)) => {
                let reason = self.policy.reason(&rule, identity);
                json!({"allowed": true, "reason": reason})
            }
            Err(why) if why.is_empty() => json!({"allowed": false}),
            Err(why) => json!({"allowed": false, "reason": why}),
        }
    }
}

fn attributes(spec: &Value) -> Attributes {
    let of = |part: &str, field: &str| {
        let text = object::at(spec, &[part, field]).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    if spec.get("nonResourceAttributes").is_some() {
        let part = "nonResourceAttributes";
        return Attributes {
            verb: of(part, "verb"),
            path: of(part, "path"),
            ..Attributes::default()
        };
    }
    let part = "resourceAttributes";
    Attributes {
        verb: of(part, "verb"),
        group: of(part, "group"),
        resource: of(part, "resource"),
        subresource: of(part, "subresource"),
        namespace: of(part, "namespace"),
        name: of(part, "name"),
        path: String::new(),
    }
}
