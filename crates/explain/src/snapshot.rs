//! A DaemonSet, and the objects that decide where it runs, as they were read from the API.

use std::collections::BTreeMap;

use pandaemon_placement::PodNeeds;
use pandaemon_planner::{DaemonSetView, HASH_LABEL, RevisionView};
use pandaemon_types::{
    LabelSelector, LabelSet, Labels as _, Name, NodeView, ObjectMeta, PodView, Timestamp,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A DaemonSet and the objects that decide where it runs.
#[derive(Debug)]
pub struct Snapshot {
    /// The DaemonSet, as its object.
    pub set: Value,
    /// The ControllerRevisions of its namespace.
    pub revisions: Vec<Revision>,
    /// All nodes, or those that were asked about.
    pub nodes: Vec<Node>,
    /// The pods of its namespace that it owns or selects.
    pub pods: Vec<DaemonPod>,
    /// All pods of the nodes where resources and ports matter; `None` if they could not be read.
    pub node_pods: Option<BTreeMap<Name, Vec<PodView>>>,
    /// Events about the DaemonSet.
    pub events: Vec<Value>,
    /// The time of the answer.
    pub now: Timestamp,
}

/// The fields of a ControllerRevision that explanations read.
#[derive(Debug, Clone)]
pub struct Revision {
    /// The fields that the planner reads.
    pub view: RevisionView,
    /// The annotation `kubernetes.io/change-cause`.
    pub change_cause: Option<String>,
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let view = RevisionView::deserialize(&object).map_err(serde::de::Error::custom)?;
        let change_cause = object
            .pointer("/metadata/annotations/kubernetes.io~1change-cause")
            .and_then(Value::as_str)
            .map(str::to_owned);
        Ok(Self { view, change_cause })
    }
}

/// A node with its condition `Ready`.
#[derive(Debug, Clone)]
pub struct Node {
    /// The fields that placement reads.
    pub view: NodeView,
    /// Why it is not ready; `None` if it is.
    pub not_ready: Option<NotReady>,
}

/// A node's condition `Ready` that is not true.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NotReady {
    r#type: String,
    status: String,
    /// The reason, in one word.
    pub reason: String,
    /// The time of the condition's last change.
    pub last_transition_time: Option<Timestamp>,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Status {
            conditions: Vec<NotReady>,
        }
        let object = Value::deserialize(deserializer)?;
        let view = NodeView::deserialize(&object).map_err(serde::de::Error::custom)?;
        let status = object.get("status").map(Status::deserialize);
        let conditions = status
            .and_then(Result::ok)
            .map(|status| status.conditions)
            .unwrap_or_default();
        let ready = conditions.into_iter().find(|c| c.r#type == "Ready");
        let not_ready = (!view.ready).then(|| ready.unwrap_or_default());
        Ok(Self { view, not_ready })
    }
}

/// A pod that the DaemonSet owns or selects.
#[derive(Debug, Clone)]
pub struct DaemonPod {
    /// The fields that the planner reads.
    pub view: PodView,
    /// The whole object; its conditions and container statuses are explained.
    pub object: Value,
}

impl<'de> Deserialize<'de> for DaemonPod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let view = PodView::deserialize(&object).map_err(serde::de::Error::custom)?;
        Ok(Self { view, object })
    }
}

impl DaemonPod {
    /// The hash of its revision, from its label.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.view.labels.label(HASH_LABEL)
    }

    /// Its deletion timestamp: the end of the grace period.
    #[must_use]
    pub fn deleted_at(&self) -> Option<Timestamp> {
        let meta = self.object.get("metadata")?;
        ObjectMeta::deserialize(meta).ok()?.deletion_timestamp
    }
}

/// What the pod template of a DaemonSet requires of a node.
pub(crate) fn needs_of(set: &Value) -> PodNeeds {
    let spec = set.pointer("/spec/template/spec");
    PodNeeds::for_daemon(spec.unwrap_or(&Value::Null))
}

impl Snapshot {
    /// What the pod template requires of a node.
    pub(crate) fn needs(&self) -> PodNeeds {
        needs_of(&self.set)
    }

    /// The fields of the DaemonSet that the planner reads.
    ///
    /// # Errors
    /// When the object is no DaemonSet.
    pub fn view(&self) -> serde_json::Result<DaemonSetView> {
        DaemonSetView::deserialize(&self.set)
    }

    /// The revisions of the DaemonSet.
    pub(crate) fn revisions_of<'a>(
        &'a self,
        set: &'a DaemonSetView,
    ) -> impl Iterator<Item = &'a Revision> {
        self.revisions
            .iter()
            .filter(|revision| revision.belongs_to(set))
    }

    /// The pods of the DaemonSet.
    pub(crate) fn pods_of<'a>(
        &'a self,
        set: &'a DaemonSetView,
    ) -> impl Iterator<Item = &'a DaemonPod> {
        self.pods
            .iter()
            .filter(|pod| pod_belongs_to(&pod.view, set))
    }
}

impl Revision {
    /// Whether the DaemonSet owns the revision, or selects it and nothing owns it.
    pub(crate) fn belongs_to(&self, set: &DaemonSetView) -> bool {
        let view = &self.view;
        view.namespace == set.key.namespace
            && selects(set.selector.as_ref().ok(), &view.labels)
            && view.owner.as_ref().is_none_or(|owner| owner.uid == set.uid)
    }
}

/// Whether the DaemonSet owns the pod, or would adopt it.
pub(crate) fn pod_belongs_to(pod: &PodView, set: &DaemonSetView) -> bool {
    selects(set.selector.as_ref().ok(), &pod.labels)
        && match &pod.owner {
            Some(owner) => owner.uid == set.uid,
            None => !pod.deleting,
        }
}

fn selects(selector: Option<&LabelSelector>, labels: &LabelSet) -> bool {
    selector.is_some_and(|selector| !selector.is_everything() && selector.matches(labels))
}
