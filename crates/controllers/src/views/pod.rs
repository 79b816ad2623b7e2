//! A pod, as the binder, the node life cycle and the endpoint loops see it.

use std::sync::Arc;

use pandaemon_placement::{PodNeeds, Toleration};
use pandaemon_types::{
    Phase, PodResources, Taint, object::or_default, pod_resources::PodResourceSpec,
    view::pinned_node,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use pandaemon_client::object_meta::{Object, ObjectMeta, share};

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
    pub tolerations: Arc<[Patience]>,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether its condition Ready is True; `None` without the condition.
    pub ready: Option<bool>,
    /// `status.podIPs`.
    pub ips: Vec<String>,
    /// Its name in its subdomain.
    pub hostname: String,
    /// The headless service that gives it a name.
    pub subdomain: String,
    /// Its containers' named ports.
    pub ports: Arc<[NamedPort]>,
}

/// What the binder needs to know of a pod that has no node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// Who shall bind it.
    pub scheduler: String,
    /// Something must happen before it may be bound.
    pub gated: bool,
    /// What the pod needs of its node.
    pub needs: PodNeeds,
    /// The only node it may run on, from its affinity.
    pub target: Option<String>,
    /// Whether it may push others away.
    pub preempts: bool,
    /// The node on which room is being made for it.
    pub nominated: String,
    /// What its condition PodScheduled says now.
    pub said: String,
}

/// A toleration with its bound in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// What is tolerated.
    pub toleration: Toleration,
    /// For how many seconds; `None` for ever.
    pub seconds: Option<i64>,
}

impl Patience {
    /// Whether it covers the taint.
    #[must_use]
    pub fn covers(&self, taint: &Taint) -> bool {
        self.toleration.covers(taint)
    }
}

/// A port of a container that has a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamedPort {
    /// The port's name; empty if it has none.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The port number in the container.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`; empty is `TCP`.
    #[serde(deserialize_with = "or_default")]
    pub protocol: String,
}

impl Pod {
    /// Whether it holds resources of its node: bound and not ended.
    #[must_use]
    pub const fn holds_node(&self) -> bool {
        !self.node.is_empty() && !self.phase.is_terminal()
    }
}

#[derive(Deserialize)]
struct Raw {
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "looked_at")]
    spec: Value,
    #[serde(default)]
    status: RawStatus,
}

/// The fields of a spec that anybody here looks at. Volumes, environments and probes are most of a spec, and each
/// pod is read several times in its life.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSpec {
    affinity: Value,
    #[serde(deserialize_with = "or_default")]
    containers: Vec<RawContainer>,
    host_network: Value,
    hostname: Value,
    #[serde(deserialize_with = "or_default")]
    init_containers: Vec<RawContainer>,
    node_name: Value,
    node_selector: Value,
    overhead: Value,
    preemption_policy: Value,
    priority: Value,
    scheduler_name: Value,
    scheduling_gates: Value,
    subdomain: Value,
    tolerations: Value,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct RawContainer {
    ports: Value,
    resources: Value,
    restart_policy: Value,
}

fn looked_at<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let spec = RawSpec::deserialize(deserializer)?;
    serde_json::to_value(spec).map_err(serde::de::Error::custom)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawStatus {
    phase: Option<Phase>,
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
#[serde(default)]
struct RawCondition {
    r#type: String,
    status: String,
    #[serde(deserialize_with = "or_default")]
    message: String,
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let (spec, status) = (raw.spec, raw.status);
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        let node = text("nodeName");
        let condition = |kind: &str| status.conditions.iter().find(|c| c.r#type == kind);
        let said = condition("PodScheduled")
            .map(|c| c.message.clone())
            .unwrap_or_default();
        let pending = node
            .is_empty()
            .then(|| Arc::new(pending(&spec, &status, said)));
        let resources = pending.as_ref().map_or_else(
            || {
                let spec_resources = PodResourceSpec::deserialize(&spec).unwrap_or_default();
                Arc::new(PodResources::from(&spec_resources))
            },
            |pending| pending.needs.resources.clone(),
        );
        let mut ips: Vec<String> = status.pod_ips.iter().map(|ip| ip.ip.clone()).collect();
        if ips.is_empty() && !status.pod_ip.is_empty() {
            ips.push(status.pod_ip.clone());
        }
        Ok(Self {
            meta: raw.metadata,
            pending,
            resources,
            priority: priority(&spec),
            tolerations: tolerations(&spec),
            phase: status.phase.unwrap_or_default(),
            ready: condition("Ready").map(|ready| ready.status == "True"),
            ips,
            hostname: text("hostname"),
            subdomain: text("subdomain"),
            ports: ports(&spec),
            node,
        })
    }
}

fn priority(spec: &Value) -> i32 {
    spec["priority"]
        .as_i64()
        .and_then(|priority| i32::try_from(priority).ok())
        .unwrap_or(0)
}

fn pending(spec: &Value, status: &RawStatus, said: String) -> Pending {
    Pending {
        scheduler: spec["schedulerName"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        gated: spec["schedulingGates"]
            .as_array()
            .is_some_and(|gates| !gates.is_empty()),
        target: spec
            .get("affinity")
            .and_then(pinned_node)
            .map(str::to_owned),
        preempts: spec["preemptionPolicy"].as_str() != Some("Never"),
        needs: PodNeeds::from_spec(spec),
        nominated: status.nominated_node_name.clone(),
        said,
    }
}

fn tolerations(spec: &Value) -> Arc<[Patience]> {
    let list = spec["tolerations"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    list.iter()
        .filter_map(|value| {
            let toleration = Toleration::from_json(value)?;
            Some(Patience {
                toleration,
                seconds: value["tolerationSeconds"].as_i64(),
            })
        })
        .collect()
}

/// Named ports of containers and of sidecars.
fn ports(spec: &Value) -> Arc<[NamedPort]> {
    let list = |field: &str| {
        spec[field]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let sidecars = list("initContainers")
        .iter()
        .filter(|container| container["restartPolicy"] == "Always");
    list("containers")
        .iter()
        .chain(sidecars)
        .filter_map(|container| container["ports"].as_array())
        .flatten()
        .filter_map(|port| NamedPort::deserialize(port).ok())
        .filter(|port| !port.name.is_empty())
        .collect()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_without_a_node_keeps_its_demands() {
        let mut object = json!({
            "metadata": { "name": "p", "namespace": "a", "uid": "u" },
            "spec": {
                "schedulerName": "default-scheduler", "priority": 7,
                "containers": [{ "name": "c", "ports": [{ "name": "web", "containerPort": 80 }] }],
                "tolerations": [{ "key": "k", "operator": "Exists", "tolerationSeconds": 30 }],
            },
            "status": { "podIP": "10.0.0.1", "conditions": [{ "type": "Ready", "status": "False" }] },
        });
        let pod = Pod::deserialize(&object).unwrap();
        assert_eq!(
            pod.pending.as_ref().map(|p| p.scheduler.as_str()),
            Some("default-scheduler")
        );
        assert_eq!(
            (pod.priority, pod.ready, pod.ips.len()),
            (7, Some(false), 1)
        );
        assert_eq!(
            (pod.ports[0].container_port, pod.tolerations[0].seconds),
            (80, Some(30))
        );
        object["spec"]["nodeName"] = json!("n1");
        let bound = Pod::deserialize(&object).unwrap();
        assert!(bound.pending.is_none() && bound.holds_node());
    }
}
