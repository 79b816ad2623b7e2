//! Read models of nodes and pods. They hold only the fields that placement and planning read, so
//! that a node heartbeat compares equal to the known node, and a pod takes a few hundred bytes.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{
    LabelSet, Name, ObjectMeta, Owner, PodResources, Resources, Timestamp, Uid,
    object::or_default,
    pod_resources::{Container, PodResourceSpec},
};

/// The effect of a taint on pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Effect {
    /// No new pod is scheduled to the node.
    NoSchedule,
    /// New pods are scheduled to other nodes where possible.
    PreferNoSchedule,
    /// No new pod is scheduled to the node, and running pods are evicted.
    NoExecute,
}

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taint {
    /// The taint's key.
    pub key: Name,
    /// The value; often empty.
    pub value: Name,
    /// The taint's effect.
    pub effect: Effect,
}

/// The fields of a node that placement reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// The node's name.
    pub name: Name,
    /// The uid. A node that is created again under its old name has another one.
    pub uid: Uid,
    /// `metadata.labels`.
    pub labels: LabelSet,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// Whether the node is cordoned (`spec.unschedulable`).
    pub unschedulable: bool,
    /// Whether the condition `Ready` is `True`.
    pub ready: bool,
    /// The resources that pods may request.
    pub allocatable: Arc<Resources>,
}

/// The phase of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
pub enum Phase {
    /// Not all containers have started.
    #[default]
    Pending,
    /// Bound to a node, and its containers have started.
    Running,
    /// All containers ended with success and will not be restarted.
    Succeeded,
    /// All containers ended, at least one with a failure.
    Failed,
    /// The node cannot be reached.
    Unknown,
}

impl Phase {
    /// Whether the pod has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The fields of a pod that planning reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.namespace`.
    pub namespace: Name,
    /// `metadata.name`.
    pub name: Name,
    /// The resource version that this view was read from.
    pub resource_version: u64,
    /// The node it is bound to (`spec.nodeName`).
    pub node: Option<Name>,
    /// The node that its required node affinity names ([`pinned_node`]).
    pub target: Option<Name>,
    /// The managing owner.
    pub owner: Option<Owner>,
    /// The labels. `controller-revision-hash` names the revision.
    pub labels: LabelSet,
    /// `status.phase`.
    pub phase: Phase,
    /// When the condition `Ready` became `True`; `None` unless it is.
    pub ready_since: Option<Timestamp>,
    /// Whether the condition `Ready` is `True`.
    pub ready: bool,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// `status.reason`, such as `Evicted`.
    pub reason: Option<Name>,
    /// When it was created.
    pub created: Timestamp,
    /// Its effective resource requests and host ports.
    pub resources: Arc<PodResources>,
}

impl PodView {
    /// The node it is bound to or, before that, pinned to.
    #[must_use]
    pub fn placed_on(&self) -> Option<&Name> {
        self.node.as_ref().or(self.target.as_ref())
    }
}

// === from JSON ===

#[derive(Debug, Deserialize)]
struct RawNode {
    metadata: ObjectMeta,
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

/// A node with its resource version. The version is not part of [`NodeView`], as every heartbeat
/// changes it.
#[derive(Debug, Clone)]
pub struct VersionedNode {
    /// The fields of the node that placement reads.
    pub view: NodeView,
    /// The resource version that the view was read from.
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
        let resource_version = raw.metadata.version();
        let taint = |taint: RawTaint| Taint {
            key: taint.key.into(),
            value: taint.value.into(),
            effect: taint.effect,
        };
        let view = NodeView {
            name: raw.metadata.name.into(),
            uid: raw.metadata.uid.as_str().into(),
            labels: LabelSet::from(&*raw.metadata.labels),
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
    metadata: ObjectMeta,
    #[serde(default)]
    spec: RawPodSpec,
    #[serde(default)]
    status: RawPodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawPodSpec {
    #[serde(deserialize_with = "or_default")]
    node_name: String,
    affinity: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    overhead: Resources,
    host_network: Option<bool>,
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
        let resources = PodResourceSpec {
            containers: raw.spec.containers,
            init_containers: raw.spec.init_containers,
            overhead: raw.spec.overhead,
            host_network: raw.spec.host_network,
        };
        Ok(Self {
            owner: raw.metadata.controller().map(Owner::from),
            labels: LabelSet::from(&*raw.metadata.labels),
            uid: raw.metadata.uid.as_str().into(),
            resource_version: raw.metadata.version(),
            namespace: raw.metadata.namespace.into(),
            name: raw.metadata.name.into(),
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
            resources: Arc::new(PodResources::from(&resources)),
        })
    }
}

/// The node that a required node affinity on `metadata.name` names: upstream's `GetTargetNodeName`.
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
    fn a_pod_view_holds_the_fields_of_its_object() {
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
        assert_eq!(pod.resources.requests["cpu"].to_string(), "100m");
        assert_eq!(PodView::deserialize(&object).unwrap(), pod);
    }

    #[test]
    fn a_heartbeat_compares_equal() {
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
