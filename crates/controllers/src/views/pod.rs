//! A pod, as the controllers see it: decoded once for all of them.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use pandaemon_client::object_meta::{Object, ObjectMeta, share};
use pandaemon_placement::{PodNeeds, Toleration};
use pandaemon_types::{
    LabelSet, Name, Owner, Phase, PodResources, PodView, Resources, Taint, Timestamp, Uid,
    object::or_default,
    pod_resources::{Container, PodResourceSpec},
    view::pinned_node,
};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::Value;

/// The fields of a Pod that the controllers read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// The pod's `metadata`.
    pub meta: ObjectMeta,
    /// The node it is bound to; empty: none yet.
    pub node: String,
    /// What placement looks at; only while it is not bound.
    pub pending: Option<Arc<Pending>>,
    /// What it takes from its node.
    pub resources: Arc<PodResources>,
    /// `spec.priority`; 0 if it is not set.
    pub priority: i32,
    /// Which taints it tolerates, and for how long.
    pub tolerations: Arc<[TimedToleration]>,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether its condition Ready is True; `None` without the condition.
    pub ready: Option<bool>,
    /// When the condition Ready became True; `None` unless it is.
    pub ready_since: Option<Timestamp>,
    /// `status.reason`, such as `Evicted`; empty if it is not set.
    pub reason: Box<str>,
    /// `status.podIPs`.
    pub ips: Vec<String>,
    /// Its name in its subdomain.
    pub hostname: String,
    /// The headless service that gives it a name.
    pub subdomain: String,
    /// Its containers' named ports.
    pub ports: Arc<[NamedPort]>,
}

/// What the scheduler reads of a pod that has no node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// `spec.schedulerName`.
    pub scheduler: String,
    /// Whether it has scheduling gates, which keep it from being bound.
    pub gated: bool,
    /// What the pod needs of its node.
    pub needs: PodNeeds,
    /// The only node it may run on, from its affinity.
    pub target: Option<String>,
    /// Whether it may preempt pods of lower priority.
    pub preempts: bool,
    /// The node on which room is being made for it.
    pub nominated: String,
    /// The message of its condition PodScheduled.
    pub scheduled_message: String,
}

/// A toleration, and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedToleration {
    /// What is tolerated.
    pub toleration: Toleration,
    /// For how many seconds; `None` for ever.
    pub seconds: Option<i64>,
}

impl TimedToleration {
    /// Whether it covers the taint.
    #[must_use]
    pub fn covers(&self, taint: &Taint) -> bool {
        self.toleration.covers(taint)
    }
}

/// A port of a container that has a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedPort {
    /// The port's name.
    pub name: String,
    /// The port number in the container.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`; empty is `TCP`.
    pub protocol: String,
}

impl Pod {
    /// Whether it holds resources of its node: bound and not ended.
    #[must_use]
    pub const fn holds_node(&self) -> bool {
        !self.node.is_empty() && !self.phase.is_terminal()
    }

    /// The fields that the DaemonSet planner reads.
    #[must_use]
    pub fn planner_view(&self) -> PodView {
        let name = |text: &str| Some(text).filter(|text| !text.is_empty()).map(Name::from);
        let target = self
            .pending
            .as_ref()
            .and_then(|pending| pending.target.as_deref());
        PodView {
            uid: Uid::from(&*self.meta.uid),
            namespace: Name::from(&*self.meta.namespace),
            name: Name::from(&*self.meta.name),
            resource_version: self.meta.version(),
            node: name(&self.node),
            target: target.and_then(name),
            owner: self.meta.controller().map(Owner::from),
            labels: LabelSet::from(&*self.meta.labels),
            phase: self.phase,
            ready_since: self.ready_since,
            ready: self.ready == Some(true),
            deleting: self.meta.is_deleting(),
            reason: name(&self.reason),
            created: self.meta.creation_timestamp.unwrap_or_default(),
            resources: Arc::clone(&self.resources),
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: RawSpec,
    #[serde(default)]
    status: RawStatus,
}

/// The fields of a spec that controllers read. Volumes, environments and probes are most of a spec
/// and are skipped.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSpec {
    affinity: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    containers: Vec<Container>,
    host_network: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    hostname: String,
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    node_name: String,
    node_selector: Option<Value>,
    #[serde(deserialize_with = "or_default")]
    overhead: Resources,
    preemption_policy: Option<String>,
    priority: Option<i32>,
    #[serde(deserialize_with = "or_default")]
    scheduler_name: String,
    #[serde(deserialize_with = "or_default")]
    scheduling_gates: Vec<IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    subdomain: String,
    #[serde(deserialize_with = "or_default")]
    tolerations: Vec<RawToleration>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawToleration {
    key: Option<String>,
    operator: Option<String>,
    value: Option<String>,
    effect: Option<String>,
    toleration_seconds: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawStatus {
    phase: Option<Phase>,
    reason: Option<String>,
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<RawCondition>,
    #[serde(rename = "podIP", deserialize_with = "or_default")]
    pod_ip: String,
    #[serde(rename = "podIPs", deserialize_with = "or_default")]
    pod_ips: Vec<RawIp>,
    #[serde(deserialize_with = "or_default")]
    nominated_node_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawIp {
    ip: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawCondition {
    r#type: String,
    status: String,
    message: Option<String>,
    last_transition_time: Option<Timestamp>,
}

impl RawStatus {
    fn condition(&self, kind: &str) -> Option<&RawCondition> {
        self.conditions.iter().find(|known| known.r#type == kind)
    }

    fn ips(&mut self) -> Vec<String> {
        let mut ips: Vec<String> = self.pod_ips.drain(..).map(|ip| ip.ip).collect();
        if ips.is_empty() && !self.pod_ip.is_empty() {
            ips.push(std::mem::take(&mut self.pod_ip));
        }
        ips
    }
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let (mut spec, mut status) = (raw.spec, raw.status);
        let resource_spec = PodResourceSpec {
            containers: std::mem::take(&mut spec.containers),
            init_containers: std::mem::take(&mut spec.init_containers),
            overhead: std::mem::take(&mut spec.overhead),
            host_network: spec.host_network,
        };
        let tolerations: Arc<[TimedToleration]> = spec
            .tolerations
            .iter()
            .filter_map(RawToleration::read)
            .collect();
        let pending = spec
            .node_name
            .is_empty()
            .then(|| Arc::new(pending(&spec, &status, &tolerations, &resource_spec)));
        let resources = pending.as_ref().map_or_else(
            || Arc::new(PodResources::from(&resource_spec)),
            |pending| pending.needs.resources.clone(),
        );
        let ready = status.condition("Ready");
        Ok(Self {
            meta: raw.metadata,
            pending,
            resources,
            priority: spec.priority.unwrap_or(0),
            tolerations,
            phase: status.phase.unwrap_or_default(),
            ready: ready.map(|ready| ready.status == "True"),
            ready_since: ready
                .filter(|ready| ready.status == "True")
                .and_then(|ready| ready.last_transition_time),
            reason: status.reason.take().unwrap_or_default().into(),
            ips: status.ips(),
            hostname: spec.hostname,
            subdomain: spec.subdomain,
            ports: named_ports(&resource_spec),
            node: spec.node_name,
        })
    }
}

impl RawToleration {
    fn read(&self) -> Option<TimedToleration> {
        let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
        let (key, operator) = (text(&self.key), text(&self.operator));
        let (value, effect) = (text(&self.value), text(&self.effect));
        Some(TimedToleration {
            toleration: Toleration::from_fields(&key, &operator, &value, &effect)?,
            seconds: self.toleration_seconds,
        })
    }
}

fn pending(
    spec: &RawSpec,
    status: &RawStatus,
    tolerations: &[TimedToleration],
    resources: &PodResourceSpec,
) -> Pending {
    let tolerations = tolerations.iter().map(|known| known.toleration.clone());
    let (selector, affinity) = (spec.node_selector.as_ref(), spec.affinity.as_ref());
    let scheduled = status.condition("PodScheduled");
    Pending {
        scheduler: spec.scheduler_name.clone(),
        gated: !spec.scheduling_gates.is_empty(),
        target: affinity.and_then(pinned_node).map(str::to_owned),
        preempts: spec.preemption_policy.as_deref() != Some("Never"),
        needs: PodNeeds::from_fields("", selector, affinity, tolerations.collect(), resources),
        nominated: status.nominated_node_name.clone(),
        scheduled_message: scheduled
            .and_then(|scheduled| scheduled.message.clone())
            .unwrap_or_default(),
    }
}

/// Named ports of containers and of sidecars.
fn named_ports(spec: &PodResourceSpec) -> Arc<[NamedPort]> {
    let named = spec.container_ports().filter_map(|port| {
        Some(NamedPort {
            name: port.name.clone().filter(|name| !name.is_empty())?,
            container_port: port.container_port?,
            protocol: port.protocol.clone().unwrap_or_default(),
        })
    });
    named.collect()
}

impl Object for Pod {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn share(&mut self, like: &Self) {
        self.meta.share(&like.meta);
        share(&mut self.resources, &like.resources);
        share(&mut self.tolerations, &like.tolerations);
        share(&mut self.ports, &like.ports);
    }
}
