//! Kubernetes objects, read field by field from their JSON as the oracle and the simulated cluster
//! need them. Nothing here is shared with the code under test.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    revisions,
    value::{Key, Text, list, number, parse_time, some_text, text, texts},
};

/// The label of pods and revisions that names the revision.
pub(crate) const HASH_LABEL: &str = "controller-revision-hash";

/// The phase of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Failed,
    Succeeded,
}

/// The fields of a pod that the oracle and the simulated cluster read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) uid: Text,
    pub(crate) key: Key,
    pub(crate) version: u64,
    /// The node it is bound to.
    pub(crate) node: Option<Text>,
    /// The node that its affinity pins it to.
    pub(crate) target: Option<Text>,
    /// The uid of the owner that is its controller.
    pub(crate) owner: Option<Text>,
    pub(crate) labels: BTreeMap<Text, Text>,
    pub(crate) phase: Phase,
    pub(crate) ready: bool,
    /// When its condition `Ready` became true, in milliseconds.
    pub(crate) ready_since: Option<i64>,
    pub(crate) deleting: bool,
    pub(crate) created: i64,
    /// The annotation that says which template it was made from.
    pub(crate) tag: Text,
    /// The processor time that it requests, in thousandths.
    pub(crate) cpu: i64,
}

impl Pod {
    pub(crate) fn read(object: &Value) -> Self {
        let conditions = list(object, "/status/conditions");
        let ready = conditions
            .iter()
            .find(|c| text(c, "/type") == "Ready" && text(c, "/status") == "True");
        let containers = list(object, "/spec/containers").iter();
        Self {
            uid: text(object, "/metadata/uid").into(),
            key: key_of(object),
            version: version_of(object),
            node: some_text(object, "/spec/nodeName"),
            target: target_of(object),
            owner: controller_of(object),
            labels: texts(object, "/metadata/labels"),
            phase: match text(object, "/status/phase") {
                "Running" => Phase::Running,
                "Failed" => Phase::Failed,
                "Succeeded" => Phase::Succeeded,
                _ => Phase::Pending,
            },
            ready: ready.is_some(),
            ready_since: ready.and_then(|c| parse_time(text(c, "/lastTransitionTime"))),
            deleting: !text(object, "/metadata/deletionTimestamp").is_empty(),
            created: parse_time(text(object, "/metadata/creationTimestamp")).unwrap_or_default(),
            tag: text(object, "/metadata/annotations/tag").into(),
            cpu: containers
                .map(|c| millicores(text(c, "/resources/requests/cpu")))
                .sum(),
        }
    }

    /// The node that it runs on or is meant for.
    pub(crate) const fn place(&self) -> Option<&Text> {
        match &self.node {
            None => self.target.as_ref(),
            node => node.as_ref(),
        }
    }

    pub(crate) const fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Failed | Phase::Succeeded)
    }

    /// Whether it runs or will run.
    pub(crate) const fn is_live(&self) -> bool {
        !self.deleting && !self.is_ended()
    }

    pub(crate) fn is_owned_by(&self, set: &str) -> bool {
        self.owner.as_deref() == Some(set)
    }

    pub(crate) fn hash(&self) -> Option<&Text> {
        self.labels.get(HASH_LABEL)
    }

    /// Upstream's `podByCreationTimestampAndPhase`: bound pods first, then the oldest, then by
    /// name.
    pub(crate) fn age(&self) -> (bool, i64, &Text) {
        (self.node.is_none(), self.created, &self.key.name)
    }
}

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taint {
    pub(crate) key: Text,
    pub(crate) value: Text,
    pub(crate) effect: Text,
}

/// The fields of a node that placement and the scheduler read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: Text,
    pub(crate) uid: Text,
    pub(crate) version: u64,
    pub(crate) labels: BTreeMap<Text, Text>,
    pub(crate) taints: Vec<Taint>,
    /// Processor time for pods, in thousandths.
    pub(crate) cpu: i64,
    /// The number of pods.
    pub(crate) pods: i64,
}

impl Node {
    pub(crate) fn read(object: &Value) -> Self {
        let taint = |taint: &Value| Taint {
            key: text(taint, "/key").into(),
            value: text(taint, "/value").into(),
            effect: text(taint, "/effect").into(),
        };
        Self {
            name: text(object, "/metadata/name").into(),
            uid: text(object, "/metadata/uid").into(),
            version: version_of(object),
            labels: texts(object, "/metadata/labels"),
            taints: list(object, "/spec/taints").iter().map(taint).collect(),
            cpu: millicores(text(object, "/status/allocatable/cpu")),
            pods: text(object, "/status/allocatable/pods")
                .parse()
                .unwrap_or(0),
        }
    }
}

/// A number of nodes, or a percentage of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    Number(usize),
    Percent(usize),
}

impl Amount {
    fn read(value: Option<&Value>, default: usize) -> Self {
        match value {
            Some(Value::String(percent)) => {
                Self::Percent(percent.trim_end_matches('%').parse().unwrap_or(0))
            }
            Some(number) => {
                Self::Number(number.as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0))
            }
            None => Self::Number(default),
        }
    }

    /// Upstream's `GetScaledValueFromIntOrPercent`, rounded up.
    pub(crate) const fn of(self, total: usize) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => (percent * total).div_ceil(100),
        }
    }
}

/// How a set replaces its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    OnDelete,
    /// `maxUnavailable`.
    Rolling(Amount),
    /// `maxSurge`.
    Surge(Amount),
}

/// The numbers of a DaemonSet's status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) current: i64,
    pub(crate) misscheduled: i64,
    pub(crate) desired: i64,
    pub(crate) ready: i64,
    pub(crate) updated: i64,
    pub(crate) available: i64,
    pub(crate) unavailable: i64,
    pub(crate) observed_generation: i64,
    pub(crate) collisions: Option<i64>,
}

impl Status {
    /// Reads the `status` of an object, or of a patch.
    pub(crate) fn read(object: &Value) -> Self {
        let field = |name: &str| number(object, &format!("/status/{name}"));
        Self {
            current: field("currentNumberScheduled"),
            misscheduled: field("numberMisscheduled"),
            desired: field("desiredNumberScheduled"),
            ready: field("numberReady"),
            updated: field("updatedNumberScheduled"),
            available: field("numberAvailable"),
            unavailable: field("numberUnavailable"),
            observed_generation: field("observedGeneration"),
            collisions: object
                .pointer("/status/collisionCount")
                .and_then(Value::as_i64),
        }
    }
}

/// The fields of a DaemonSet that the oracle reads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Set {
    pub(crate) key: Key,
    pub(crate) uid: Text,
    pub(crate) version: u64,
    pub(crate) generation: i64,
    pub(crate) deleting: bool,
    pub(crate) selector: Value,
    pub(crate) template: Value,
    /// The template in the form that revisions are compared in.
    pub(crate) data: Text,
    /// The annotation of the template that tells templates apart.
    pub(crate) tag: Text,
    pub(crate) strategy: Strategy,
    /// `minReadySeconds`, in milliseconds.
    pub(crate) min_ready: i64,
    pub(crate) history_limit: usize,
    pub(crate) status: Status,
}

impl Set {
    pub(crate) fn read(object: &Value) -> Self {
        let template = object
            .pointer("/spec/template")
            .cloned()
            .unwrap_or_default();
        let history = object.pointer("/spec/revisionHistoryLimit");
        Self {
            key: key_of(object),
            uid: text(object, "/metadata/uid").into(),
            version: version_of(object),
            generation: number(object, "/metadata/generation"),
            deleting: !text(object, "/metadata/deletionTimestamp").is_empty(),
            selector: object
                .pointer("/spec/selector")
                .cloned()
                .unwrap_or_default(),
            data: revisions::data_text(&template).into(),
            tag: text(&template, "/metadata/annotations/tag").into(),
            template,
            strategy: strategy_of(object),
            min_ready: number(object, "/spec/minReadySeconds") * 1000,
            history_limit: history
                .and_then(Value::as_u64)
                .and_then(|limit| limit.try_into().ok())
                .unwrap_or(10),
            status: Status::read(object),
        }
    }

    /// The order between sets: 0 for those that nodes need, 1 for those that the cluster needs.
    pub(crate) fn rank(&self) -> u8 {
        match text(&self.template, "/spec/priorityClassName") {
            "system-node-critical" => 0,
            "system-cluster-critical" => 1,
            _ => 2,
        }
    }

    pub(crate) const fn is_surge(&self) -> bool {
        matches!(self.strategy, Strategy::Surge(_))
    }
}

/// The fields of a ControllerRevision that the oracle reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) key: Key,
    pub(crate) uid: Text,
    pub(crate) version: u64,
    pub(crate) owner: Option<Text>,
    pub(crate) labels: BTreeMap<Text, Text>,
    pub(crate) deleting: bool,
    pub(crate) number: i64,
    pub(crate) data: Text,
    /// The tag of the template it holds.
    pub(crate) tag: Text,
}

impl Revision {
    pub(crate) fn read(object: &Value) -> Self {
        let template = object.pointer("/data/spec/template");
        let template = template.unwrap_or(&Value::Null);
        Self {
            key: key_of(object),
            uid: text(object, "/metadata/uid").into(),
            version: version_of(object),
            owner: controller_of(object),
            labels: texts(object, "/metadata/labels"),
            deleting: !text(object, "/metadata/deletionTimestamp").is_empty(),
            number: number(object, "/revision"),
            data: revisions::data_text(template).into(),
            tag: text(template, "/metadata/annotations/tag").into(),
        }
    }

    /// The hash that its pods carry: that of its label, or else its name.
    pub(crate) fn hash(&self) -> &Text {
        self.labels.get(HASH_LABEL).unwrap_or(&self.key.name)
    }
}

// === fields ===

fn key_of(object: &Value) -> Key {
    Key::new(
        text(object, "/metadata/namespace"),
        text(object, "/metadata/name"),
    )
}

pub(crate) fn version_of(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion")
        .parse()
        .unwrap_or_default()
}

/// The uid of the owner that is marked as the controller.
fn controller_of(object: &Value) -> Option<Text> {
    let owners = list(object, "/metadata/ownerReferences").iter();
    let mut controllers =
        owners.filter(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    controllers
        .next()
        .and_then(|owner| some_text(owner, "/uid"))
}

/// Upstream's `GetTargetNodeName`, for the pods that occur here.
fn target_of(object: &Value) -> Option<Text> {
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let mut fields = list(object, terms)
        .iter()
        .flat_map(|term| list(term, "/matchFields"));
    fields
        .find(|field| text(field, "/key") == "metadata.name" && text(field, "/operator") == "In")
        .and_then(|field| some_text(field, "/values/0"))
}

fn strategy_of(object: &Value) -> Strategy {
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Strategy::OnDelete;
    }
    let rolling =
        |field: &str| object.pointer(&format!("/spec/updateStrategy/rollingUpdate/{field}"));
    let surge = Amount::read(rolling("maxSurge"), 0);
    if surge.of(1) > 0 {
        Strategy::Surge(surge)
    } else {
        Strategy::Rolling(Amount::read(rolling("maxUnavailable"), 1))
    }
}

fn millicores(text: &str) -> i64 {
    match text.strip_suffix('m') {
        Some(thousandths) => thousandths.parse().unwrap_or(0),
        None => text.parse::<i64>().unwrap_or(0) * 1000,
    }
}
