//! Read models of nodes and pods: what placement and planning look at, and nothing else, so that a
//! heartbeat compares equal to what is known and a pod costs a few hundred bytes.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{
    Claims, LabelSet, Meta, Name, Owner, Resources, Timestamp, Uid, claims::ClaimingSpec,
    object::or_default,
};

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Effect {
    /// New pods stay away.
    NoSchedule,
    /// New pods rather stay away.
    PreferNoSchedule,
    /// New pods stay away, running ones are evicted.
    NoExecute,
}

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taint {
    /// Its key.
    pub key: Name,
    /// Its value; often empty.
    pub value: Name,
    /// Its effect.
    pub effect: Effect,
}

/// A node, as far as placement looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// The node's name.
    pub name: Name,
    /// Its identity: a node that comes back under its old name is another one.
    pub uid: Uid,
    /// Its labels.
    pub labels: LabelSet,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// Whether its condition `Ready` is `True`.
    pub ready: bool,
    /// What pods may request.
    pub allocatable: Arc<Resources>,
}

/// The phase of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
pub enum Phase {
    /// Not started yet.
    #[default]
    Pending,
    /// Started.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// The node does not answer.
    Unknown,
}

impl Phase {
    /// Whether the pod has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A pod, as far as planning looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Its identity.
    pub uid: Uid,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// The version this view was taken from.
    pub resource_version: u64,
    /// The node it is bound to.
    pub node: Option<Name>,
    /// The node that its affinity pins it to.
    pub target: Option<Name>,
    /// Its managing owner.
    pub owner: Option<Owner>,
    /// Its labels; they name its revision.
    pub labels: LabelSet,
    /// Its phase.
    pub phase: Phase,
    /// Since when it is ready.
    pub ready_since: Option<Timestamp>,
    /// Whether its condition `Ready` is `True`.
    pub ready: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Why it is in its phase, such as `Evicted`.
    pub reason: Option<Name>,
    /// When it was made.
    pub created: Timestamp,
    /// What it takes from its node.
    pub claims: Arc<Claims>,
}

impl PodView {
    /// The node it runs on or is meant for.
    #[must_use]
    pub fn placed_on(&self) -> Option<&Name> {
        self.node.as_ref().or(self.target.as_ref())
    }
}

// === from JSON ===

#[derive(Debug, Deserialize)]
struct RawNode {
    metadata: Meta,
    #[serde(default)]
    spec: RawNodeSpec,
    #[serde(default)]
    status: RawNodeStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawNodeSpec {
    unschedulable: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    taints: Vec<RawTaint>,
}

#[derive(Debug, Deserialize)]
struct RawTaint {
    key: String,
    #[serde(default, deserialize_with = "or_default")]
    value: String,
    effect: Effect,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawNodeStatus {
    #[serde(deserialize_with = "or_default")]
    allocatable: Resources,
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<RawCondition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawCondition {
    r#type: String,
    status: String,
    last_transition_time: Option<Timestamp>,
}

fn ready(conditions: &[RawCondition]) -> Option<&RawCondition> {
    conditions
        .iter()
        .find(|c| c.r#type == "Ready" && c.status == "True")
}

/// A node with its version, which is no part of [`NodeView`]: it changes with every heartbeat.
#[derive(Debug, Clone)]
pub struct VersionedNode {
    /// The node.
    pub view: NodeView,
    /// The version this view was taken from.
    pub resource_version: u64,
}

impl<'de> Deserialize<'de> for NodeView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        VersionedNode::deserialize(deserializer).map(|node| node.view)
    }
}

impl<'de> Deserialize<'de> for VersionedNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawNode::deserialize(deserializer)?;
        let resource_version = raw.metadata.resource_version;
        let taint = |taint: RawTaint| Taint {
            key: taint.key.into(),
            value: taint.value.into(),
            effect: taint.effect,
        };
        let view = NodeView {
            name: raw.metadata.name.into(),
            uid: raw.metadata.uid,
            labels: LabelSet::from(&raw.metadata.labels),
            taints: raw.spec.taints.into_iter().map(taint).collect(),
            unschedulable: raw.spec.unschedulable == Some(true),
            ready: ready(&raw.status.conditions).is_some(),
            allocatable: Arc::new(raw.status.allocatable),
        };
        Ok(Self {
            view,
            resource_version,
        })
    }
}

#[derive(Debug, Deserialize)]
struct RawPod {
    metadata: Meta,
    #[serde(default)]
    spec: ClaimingSpec,
    #[serde(default)]
    status: RawPodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawPodStatus {
    phase: Option<Phase>,
    reason: Option<String>,
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<RawCondition>,
}

impl<'de> Deserialize<'de> for PodView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawPod::deserialize(deserializer)?;
        let ready = ready(&raw.status.conditions);
        Ok(Self {
            owner: raw.metadata.controller(),
            labels: LabelSet::from(&raw.metadata.labels),
            uid: raw.metadata.uid,
            namespace: raw.metadata.namespace.into(),
            name: raw.metadata.name.into(),
            resource_version: raw.metadata.resource_version,
            node: Some(&*raw.spec.node_name)
                .filter(|name| !name.is_empty())
                .map(Name::from),
            target: raw
                .spec
                .affinity
                .as_ref()
                .and_then(pinned_node)
                .map(Name::from),
            phase: raw.status.phase.unwrap_or_default(),
            ready_since: ready.and_then(|condition| condition.last_transition_time),
            ready: ready.is_some(),
            deleting: raw.metadata.deletion_timestamp.is_some(),
            reason: raw
                .status
                .reason
                .filter(|reason| !reason.is_empty())
                .map(Name::from),
            created: raw.metadata.creation_timestamp.unwrap_or_default(),
            claims: Arc::new(Claims::from(&raw.spec)),
        })
    }
}

/// The node that an affinity pins a pod to: upstream's `GetTargetNodeName`.
#[must_use]
pub fn pinned_node(affinity: &Value) -> Option<&str> {
    let terms = affinity
        .pointer("/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms")?
        .as_array()?;
    let fields = terms
        .iter()
        .filter_map(|term| term.get("matchFields")?.as_array())
        .flatten();
    for field in fields {
        let text = |name| field.get(name).and_then(Value::as_str);
        if text("key") == Some("metadata.name") && text("operator") == Some("In") {
            return match field.get("values")?.as_array()?.as_slice() {
                [node] => node.as_str(),
                _ => None,
            };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_read_from_its_object() {
        let object = json!({
            "metadata": {
                "name": "agent-x", "namespace": "kube-system", "uid": "u1", "resourceVersion": "17",
                "labels": {"app": "a"}, "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{"kind": "DaemonSet", "uid": "s1", "controller": true,
                    "apiVersion": "apps/v1", "name": "agent"}],
            },
            "spec": {
                "containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}],
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchFields": [
                        {"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]}}},
            },
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}]},
        });
        let pod: PodView = serde_json::from_str(&object.to_string()).unwrap();
        assert_eq!(pod.placed_on().map(|name| &**name), Some("n1"));
        assert_eq!((pod.node.clone(), pod.resource_version), (None, 17));
        assert!(pod.ready && pod.owner.clone().unwrap().is_daemonset);
        assert_eq!(pod.ready_since, Some(pod.created.plus_seconds(5)));
        assert_eq!(pod.claims.requests["cpu"].to_string(), "100m");
        assert_eq!(PodView::deserialize(&object).unwrap(), pod);
    }

    #[test]
    fn a_heartbeat_changes_nothing() {
        let node = |time: &str| {
            NodeView::deserialize(&json!({
                "metadata": {"name": "n1", "uid": "u", "resourceVersion": time.len().to_string()},
                "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]},
                "status": {"allocatable": {"cpu": "2"}, "conditions": [
                    {"type": "Ready", "status": "True", "lastHeartbeatTime": time}]},
            }))
            .unwrap()
        };
        assert_eq!(node("2026-01-01T00:00:00Z"), node("2026-01-01T00:05:00Z"));
        assert!(node("").ready);
    }
}
