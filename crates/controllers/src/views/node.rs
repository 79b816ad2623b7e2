//! A node, as the binder and the node life cycle see it.

use std::sync::Arc;

use pandaemon_types::{
    Effect, LabelSet, Name, NodeView, Resources, Taint, Uid, object::or_default,
};
use serde::{Deserialize, Deserializer, Serialize};

use pandaemon_client::object_meta::{Object, ObjectMeta, share};

/// The fields of a Node that the controllers read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node's `metadata`.
    pub meta: ObjectMeta,
    /// What placement looks at.
    pub view: Arc<NodeView>,
    /// Its taints with everything that must be written back.
    pub taints: Vec<NodeTaint>,
    /// `status.conditions`.
    pub conditions: Vec<Condition>,
}

impl Node {
    /// The condition of that type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == kind)
    }

    /// Whether the node may be doing its work: its Ready condition is there and says True.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.condition("Ready")
            .is_some_and(|ready| ready.status == "True")
    }
}

/// A taint as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeTaint {
    /// The taint's key.
    pub key: String,
    /// Its value; often none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// When it was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}

impl NodeTaint {
    /// What placement looks at; `None` for an effect that does not exist.
    #[must_use]
    pub fn view(&self) -> Option<Taint> {
        let effect = match self.effect.as_str() {
            "NoSchedule" => Effect::NoSchedule,
            "PreferNoSchedule" => Effect::PreferNoSchedule,
            "NoExecute" => Effect::NoExecute,
            _ => return None,
        };
        let value = self.value.as_deref().unwrap_or_default();
        Some(Taint {
            key: Name::from(&*self.key),
            value: Name::from(value),
            effect,
        })
    }
}

/// One entry of `status.conditions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// The condition type, such as `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
    /// When the node said so last; by its own clock.
    #[serde(deserialize_with = "or_default")]
    pub last_heartbeat_time: String,
}

#[derive(Deserialize)]
struct Raw {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: RawSpec,
    #[serde(default)]
    status: RawStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawSpec {
    #[serde(deserialize_with = "or_default")]
    unschedulable: bool,
    #[serde(deserialize_with = "or_default")]
    taints: Vec<NodeTaint>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawStatus {
    #[serde(deserialize_with = "or_default")]
    allocatable: Resources,
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<Condition>,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Raw::deserialize(deserializer)?;
        let mut conditions = raw.status.conditions;
        // Decoding leaves room for more, and an object is kept for each node.
        conditions.shrink_to_fit();
        raw.spec.taints.shrink_to_fit();
        let view = NodeView {
            name: Name::from(&*raw.metadata.name),
            uid: Uid::from(&*raw.metadata.uid),
            labels: LabelSet::from(&*raw.metadata.labels),
            taints: raw.spec.taints.iter().filter_map(NodeTaint::view).collect(),
            unschedulable: raw.spec.unschedulable,
            ready: conditions
                .iter()
                .any(|c| c.kind == "Ready" && c.status == "True"),
            allocatable: Arc::new(raw.status.allocatable),
        };
        Ok(Self {
            meta: raw.metadata,
            view: Arc::new(view),
            taints: raw.spec.taints,
            conditions,
        })
    }
}

impl Object for Node {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn share(&mut self, like: &Self) {
        self.meta.share(&like.meta);
        share(&mut self.view, &like.view);
    }
}
