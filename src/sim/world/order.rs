//! What can be done to a world at a given time: a change of behaviour, something that happens once,
//! or what a person does. A schedule is a list of them, in a file or made by a generator.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::behaviour::BehaviourPatch;
use super::span::Span;
use super::traffic::Users;

/// One order with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timed {
    /// How long after the schedule was given.
    pub after: Span,
    /// What.
    pub order: Order,
}

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Order {
    /// The companions behave otherwise from now on.
    Behave(BehaviourPatch),
    /// Something happens to one pod.
    Pod {
        /// Namespace.
        namespace: String,
        /// Labels that it has.
        labels: BTreeMap<String, String>,
        /// Which of those that have them, by name; modulo their number.
        nth: usize,
        /// What happens.
        fault: PodFault,
    },
    /// A node is lost, and comes back.
    LoseNode {
        /// Its name: `node-1` and so on.
        name: String,
        /// For how long.
        lasts: Span,
    },
    /// A crowd of users begins, changes or ends.
    Users {
        /// Name of the crowd.
        crowd: String,
        /// What it does; none: it ends.
        users: Option<Users>,
    },
    /// Somebody writes to the API.
    Write {
        /// User name; it is the field manager, too.
        who: String,
        /// What.
        write: Write,
    },
    /// Somebody pushes to the Git server.
    Push(Push),
    /// Something happens to a process of the controller.
    Controller {
        /// Name of the process.
        process: String,
        /// What.
        act: ProcessOrder,
    },
    /// The clock of all processes of the controller differs from the world's by so many
    /// milliseconds.
    ControllerClock {
        /// Negative: it is behind.
        ahead_ms: i64,
    },
}

/// What happens to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PodFault {
    /// It is evicted by its node: it fails and stays as a failed pod.
    Evicted,
    /// Its containers end with an error, once.
    Crashes,
    /// It is not ready for a while.
    Unready(Span),
    /// Somebody deletes it.
    Deleted,
}

/// A write to the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Write {
    /// POST of a whole object.
    Create(Value),
    /// Server-side apply of an object, conflicts forced.
    Apply(Value),
    /// Merge patch.
    Merge(Patch),
    /// JSON patch.
    Json(Patch),
    /// DELETE.
    Delete(Named),
}

/// An object of the API by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// Group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Lower-case plural.
    pub plural: String,
    /// Namespace; empty for kinds of the cluster.
    #[serde(default)]
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A patch of an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Patch {
    /// Which object.
    pub object: Named,
    /// Subresource such as `status` or `scale`; empty for the object itself.
    #[serde(default)]
    pub subresource: String,
    /// The patch.
    pub patch: Value,
}

/// A push by somebody else than the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Push {
    /// Address of the repository.
    pub url: String,
    /// Branch.
    pub branch: String,
    /// Message of the commit.
    pub message: String,
    /// What changes.
    pub change: PushChange,
    /// How many of the newest commits are thrown away first: a forced push.
    #[serde(default)]
    pub drops: usize,
}

/// What a push changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PushChange {
    /// New contents by path; none removes the file.
    Files(BTreeMap<String, Option<String>>),
    /// A text in place of another, everywhere in one file.
    Replace {
        /// Path of the file.
        path: String,
        /// What stands there.
        old: String,
        /// What is to stand there.
        new: String,
    },
}

/// What happens to a process of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProcessOrder {
    /// It starts; one that runs already is killed first.
    Start,
    /// It ends at once, whatever it was doing.
    Kill,
    /// It is told to stop and comes to an orderly end.
    Stop,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub(crate) String);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schedule_reads_what_it_writes() {
        let schedule = json!([
            {"after": "10s", "order": {"behave": {"endpoints": {"lag": "1s..30s"}}}},
            {"after": "12s", "order": {"pod": {
                "namespace": "shop", "labels": {"app": "web"}, "nth": 1,
                "fault": {"unready": "20s"},
            }}},
            {"after": "15s", "order": {"loseNode": {"name": "node-2", "lasts": "60s"}}},
            {"after": "20s", "order": {"push": {
                "url": "https://git.example.test/shop.git", "branch": "main", "message": "Bump",
                "change": {"replace": {"path": "web.yaml", "old": "v1", "new": "v2"}}, "drops": 1,
            }}},
            {"after": "25s", "order": {"write": {"who": "kubectl", "write": {"merge": {
                "object": {
                    "group": "apps", "plural": "replicasets", "namespace": "shop", "name": "web-1",
                },
                "subresource": "scale", "patch": {"spec": {"replicas": 0}},
            }}}}},
            {"after": "30s", "order": {"controller": {"process": "one", "act": "kill"}}},
            {"after": "31s", "order": {"controllerClock": {"aheadMs": -3_600_000}}},
        ]);
        let read: Vec<Timed> = serde_json::from_value(schedule.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), schedule);
        let wrong = json!([{"after": "1s", "order": {"behave": {"endpoint": {}}}}]);
        assert!(serde_json::from_value::<Vec<Timed>>(wrong).is_err());
    }
}
