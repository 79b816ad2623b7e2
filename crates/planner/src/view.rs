//! Read models of DaemonSets and their ControllerRevisions.

use std::{collections::BTreeMap, sync::Arc};

use pandaemon_types::{
    IntOrPercent, LabelSelector, LabelSet, Labels as _, Name, ObjectMeta, Owner, SelectorError,
    Timestamp, Uid, object::or_default,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::canonical::{HASH_LABEL, canonical_template};

/// The namespace and name of a DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetKey {
    /// `metadata.namespace`.
    pub namespace: Name,
    /// `metadata.name`.
    pub name: Name,
}

impl std::fmt::Display for SetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How pods are replaced when the template changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// When other clients delete old pods.
    OnDelete,
    /// The planner replaces them node by node.
    RollingUpdate {
        /// How many nodes may be without an available pod.
        max_unavailable: IntOrPercent,
        /// How many nodes may run an old and a new pod at once.
        max_surge: IntOrPercent,
    },
}

/// The status fields that the controller writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// Nodes that should run a pod and do.
    pub current_number_scheduled: usize,
    /// Nodes that should run a pod.
    pub desired_number_scheduled: usize,
    /// Nodes that run a pod and should not.
    pub number_misscheduled: usize,
    /// Nodes whose pod is ready.
    pub number_ready: usize,
    /// Nodes whose pod has been ready for `minReadySeconds`.
    pub number_available: usize,
    /// Nodes that should run a pod and have no available one.
    pub number_unavailable: usize,
    /// Nodes whose pod has the current template.
    pub updated_number_scheduled: usize,
    /// The generation that the controller has processed.
    pub observed_generation: i64,
    /// How often the name of a new revision was taken by other data.
    pub collision_count: Option<u32>,
}

/// The fields of a DaemonSet that planning needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonSetView {
    /// The namespace and name.
    pub key: SetKey,
    /// `metadata.uid`.
    pub uid: Uid,
    /// The resource version.
    pub resource_version: u64,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// The annotations, which a new revision gets, too.
    pub annotations: BTreeMap<String, String>,
    /// The label selector of its pods, or why it cannot be read: such a set is not planned.
    pub selector: Result<LabelSelector, SelectorError>,
    /// The pod template.
    pub template: Arc<Value>,
    /// The template as canonical text.
    pub canonical: Arc<str>,
    /// The update strategy.
    pub strategy: Strategy,
    /// How long a pod must be ready to count as available, in seconds.
    pub min_ready_seconds: i64,
    /// `revisionHistoryLimit`: how many old revisions are kept.
    pub history_limit: usize,
    /// The template generation of old API versions, which is an annotation in `apps/v1`.
    pub template_generation: Option<i64>,
    /// The status as last observed.
    pub status: Status,
}

impl DaemonSetView {
    /// Whether the selector selects every pod. Such a set is not planned, as upstream.
    #[must_use]
    pub fn selects_all(&self) -> bool {
        self.selector
            .as_ref()
            .is_ok_and(LabelSelector::is_everything)
    }

    /// Whether the selector selects an object with these labels; false if it cannot be read.
    #[must_use]
    pub fn selects(&self, labels: &LabelSet) -> bool {
        self.selector
            .as_ref()
            .is_ok_and(|selector| selector.matches(labels))
    }

    /// The planning order among sets: 0 for `system-node-critical`, 1 for
    /// `system-cluster-critical`, 2 for all others.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self
            .template
            .pointer("/spec/priorityClassName")
            .and_then(Value::as_str)
        {
            Some("system-node-critical") => 0,
            Some("system-cluster-critical") => 1,
            _ => 2,
        }
    }

    /// The labels of the template.
    pub(crate) fn template_labels(&self) -> BTreeMap<String, String> {
        let labels = self.template.pointer("/metadata/labels").cloned();
        labels
            .and_then(|labels| serde_json::from_value(labels).ok())
            .unwrap_or_default()
    }
}

/// The fields of a ControllerRevision that planning needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionView {
    /// `metadata.namespace`.
    pub namespace: Name,
    /// `metadata.name`.
    pub name: Name,
    /// `metadata.uid`.
    pub uid: Uid,
    /// The resource version.
    pub resource_version: u64,
    /// The managing owner.
    pub owner: Option<Owner>,
    /// The labels; [`HASH_LABEL`] carries its hash.
    pub labels: LabelSet,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// The revision number.
    pub revision: i64,
    /// The template in its data, as canonical text.
    pub canonical: Arc<str>,
    /// When it was created.
    pub created: Timestamp,
}

impl RevisionView {
    /// The hash that its pods carry in their label.
    #[must_use]
    pub fn hash(&self) -> Name {
        self.labels
            .label(HASH_LABEL)
            .map_or_else(|| Name::clone(&self.name), Name::from)
    }
}

// === from JSON ===

#[derive(Deserialize)]
struct RawSet {
    metadata: RawSetMeta,
    #[serde(default)]
    spec: RawSetSpec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct RawSetMeta {
    #[serde(flatten)]
    meta: ObjectMeta,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawSetSpec {
    selector: Value,
    template: Value,
    update_strategy: RawStrategy,
    min_ready_seconds: i64,
    revision_history_limit: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawStrategy {
    r#type: Option<String>,
    rolling_update: Option<RawRollingUpdate>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawRollingUpdate {
    max_unavailable: Option<IntOrPercent>,
    max_surge: Option<IntOrPercent>,
}

impl RawStrategy {
    fn strategy(self) -> Strategy {
        if self.r#type.as_deref() == Some("OnDelete") {
            return Strategy::OnDelete;
        }
        let limits = self.rolling_update.unwrap_or_default();
        Strategy::RollingUpdate {
            max_unavailable: limits.max_unavailable.unwrap_or(IntOrPercent::Int(1)),
            max_surge: limits.max_surge.unwrap_or(IntOrPercent::Int(0)),
        }
    }
}

impl<'de> Deserialize<'de> for DaemonSetView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RawSet {
            metadata,
            spec,
            status,
        } = RawSet::deserialize(deserializer)?;
        let RawSetMeta {
            meta: metadata,
            annotations,
        } = metadata;
        let generation = annotations.get("deprecated.daemonset.template.generation");
        Ok(Self {
            resource_version: metadata.version(),
            key: SetKey {
                namespace: metadata.namespace.into(),
                name: metadata.name.into(),
            },
            uid: metadata.uid.as_str().into(),
            generation: metadata.generation,
            deleting: metadata.deletion_timestamp.is_some(),
            template_generation: generation.and_then(|text| text.parse().ok()),
            annotations,
            selector: LabelSelector::from_json(&spec.selector),
            canonical: canonical_template(&spec.template).into(),
            template: Arc::new(spec.template),
            strategy: spec.update_strategy.strategy(),
            min_ready_seconds: spec.min_ready_seconds.max(0),
            history_limit: spec.revision_history_limit.unwrap_or(10),
            status,
        })
    }
}

#[derive(Deserialize)]
struct RawRevision {
    metadata: ObjectMeta,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    revision: i64,
}

impl<'de> Deserialize<'de> for RevisionView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RawRevision {
            metadata,
            data,
            revision,
        } = RawRevision::deserialize(deserializer)?;
        let template = data.pointer("/spec/template").unwrap_or(&Value::Null);
        Ok(Self {
            owner: metadata.controller().map(Owner::from),
            labels: LabelSet::from(&*metadata.labels),
            resource_version: metadata.version(),
            namespace: metadata.namespace.into(),
            name: metadata.name.into(),
            uid: metadata.uid.as_str().into(),
            deleting: metadata.deletion_timestamp.is_some(),
            revision,
            canonical: canonical_template(template).into(),
            created: metadata.creation_timestamp.unwrap_or_default(),
        })
    }
}
