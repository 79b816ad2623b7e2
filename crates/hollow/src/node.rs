//! Names, addresses, node objects and leases of hollow nodes.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use jiff::Timestamp;
use pandaemon_client::rest::Rest;
use pandaemon_types::{
    text_template::TextTemplate,
    time::{rfc3339_micros, rfc3339_seconds},
};
use serde_json::{Value, json};

use crate::args::Behaviour;

/// The hollow nodes of this process; they differ only in name and address.
#[derive(Debug, Clone)]
pub(crate) struct HollowNodes {
    pub(crate) prefix: String,
    pub(crate) count: u32,
    pub(crate) lease_interval: Duration,
    as_nodes: bool,
    templates: Templates,
}

/// Objects with placeholders for what differs from node to node.
#[derive(Debug, Clone)]
struct Templates {
    node: TextTemplate<3>,
    labels: TextTemplate<3>,
    status: TextTemplate<3>,
    lease: TextTemplate<3>,
}

/// Placeholders in the templates of nodes.
const NODE: [&str; 3] = ["@name@", "@address@", "@now@"];
/// Placeholders in the template of leases.
const LEASE: [&str; 3] = ["@name@", "@uid@", "@now@"];

impl HollowNodes {
    /// `more` are labels beside those of the command line.
    pub(crate) fn new(behaviour: &Behaviour, count: u32, more: &[(&str, &str)]) -> Self {
        let mut labels = behaviour.labels.0.clone();
        labels.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let lease_interval = behaviour.renewal(count);
        let (labels, status) = (node_labels(&labels), status(behaviour));
        let templates = Templates {
            node: TextTemplate::new(&node(&labels, &status).to_string(), NODE),
            labels: TextTemplate::new(&json!({"metadata": {"labels": labels}}).to_string(), NODE),
            status: TextTemplate::new(&json!({"status": status}).to_string(), NODE),
            lease: TextTemplate::new(&lease(lease_interval).to_string(), LEASE),
        };
        Self {
            prefix: behaviour.name_prefix.clone(),
            count,
            lease_interval,
            as_nodes: behaviour.as_nodes,
            templates,
        }
    }

    /// Requests of a node: they are sent by the node's user if that is wanted.
    ///
    /// # Errors
    /// When its name cannot be in a header.
    pub(crate) fn rest(&self, rest: &Rest, index: u32) -> kube::Result<Rest> {
        if !self.as_nodes {
            return Ok(rest.clone());
        }
        let user = format!("system:node:{}", self.name(index));
        rest.impersonating(&user, "system:nodes")
    }

    pub(crate) fn name(&self, index: u32) -> String {
        format!("{}-{index}", self.prefix)
    }

    /// The number of the node with this name, if it is one of these nodes.
    pub(crate) fn index(&self, name: &str) -> Option<u32> {
        let number = name.strip_prefix(&self.prefix)?.strip_prefix('-')?;
        let index = number.parse().ok()?;
        (index < self.count && (number == "0" || !number.starts_with(['0', '+']))).then_some(index)
    }

    /// The node object as a kubelet would create it.
    pub(crate) fn node(&self, index: u32, now: Timestamp) -> Vec<u8> {
        self.fill(&self.templates.node, index, now)
    }

    /// Two patches that make an existing node object one of these: of its labels and of its status.
    pub(crate) fn adoption_patches(&self, index: u32, now: Timestamp) -> (Vec<u8>, Vec<u8>) {
        let fill = |template| self.fill(template, index, now);
        (fill(&self.templates.labels), fill(&self.templates.status))
    }

    fn fill(&self, template: &TextTemplate<3>, index: u32, now: Timestamp) -> Vec<u8> {
        let (name, address) = (self.name(index), node_ip(index).to_string());
        let text = template.fill([&name, &address, &rfc3339_seconds(now)]);
        text.into_bytes()
    }

    /// The lease as a kubelet would create it, owned by its node.
    pub(crate) fn lease(&self, index: u32, uid: &str, now: Timestamp) -> Vec<u8> {
        let (name, now) = (self.name(index), rfc3339_micros(now));
        self.templates.lease.fill([&name, uid, &now]).into_bytes()
    }
}

fn node(labels: &BTreeMap<&str, &str>, status: &Value) -> Value {
    let mut status = status.clone();
    status["nodeInfo"] = json!({
        "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "hollow://1",
        "kernelVersion": "hollow", "kubeProxyVersion": "", "kubeletVersion": "v1.33.0-hollow",
        "machineID": "", "operatingSystem": "linux", "osImage": "hollow", "systemUUID": "",
    });
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "@name@", "labels": labels},
        "spec": {}, "status": status,
    })
}

fn node_labels(given: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let own = [
        ("kubernetes.io/arch", "amd64"),
        ("kubernetes.io/hostname", "@name@"),
        ("kubernetes.io/os", "linux"),
    ];
    let given = given
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    own.into_iter().chain(given).collect()
}

fn lease(interval: Duration) -> Value {
    let seconds = (interval * 4).as_secs().max(1);
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "@name@", "namespace": "kube-node-lease", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "@name@", "uid": "@uid@"},
        ]},
        "spec": {"holderIdentity": "@name@", "leaseDurationSeconds": seconds,
                 "renewTime": "@now@"},
    })
}

/// The merge patch that renews a lease.
pub(crate) fn renewal(now: Timestamp) -> Vec<u8> {
    format!(r#"{{"spec":{{"renewTime":"{}"}}}}"#, rfc3339_micros(now)).into_bytes()
}

/// Address of a node: one of four million in 10.64.0.0/10.
pub(crate) fn node_ip(index: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((10 << 24) | (64 << 16) | ((index + 1) & 0x3f_ffff))
}

fn status(behaviour: &Behaviour) -> Value {
    let Behaviour {
        cpu, memory, pods, ..
    } = behaviour;
    let resources = json!({
        "cpu": cpu, "memory": memory, "pods": pods.to_string(), "ephemeral-storage": "1Ti",
    });
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": "@now@", "lastTransitionTime": "@now@",
        })
    };
    json!({
        "capacity": resources, "allocatable": resources,
        "addresses": [
            {"type": "InternalIP", "address": "@address@"},
            {"type": "Hostname", "address": "@name@"},
        ],
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID",
                "kubelet has sufficient PID available"),
            condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        behaviour: Behaviour,
    }

    /// Nodes with the options of a command line.
    pub(crate) fn hollow_nodes(count: u32, words: &[&str]) -> HollowNodes {
        let line = Line::parse_from(["hollow"].iter().chain(words));
        HollowNodes::new(&line.behaviour, count, &[])
    }

    #[test]
    fn a_nodes_number_is_read_from_its_name() {
        let nodes = hollow_nodes(100, &[]);
        for (name, index) in [
            ("hollow-0", Some(0)),
            ("hollow-99", Some(99)),
            ("hollow-100", None),
            ("hollow-007", None),
            ("hollow-+7", None),
            ("hollow-", None),
            ("hollow", None),
            ("other-1", None),
        ] {
            assert_eq!(nodes.index(name), index, "{name}");
        }
    }

    #[test]
    fn the_node_object_has_the_fields_that_a_kubelet_writes() {
        let now: Timestamp = "2026-01-02T03:04:05.678901234Z".parse().unwrap();
        let words = ["--labels", "zone=a", "--memory", "1Gi"];
        let nodes = hollow_nodes(100, &words);
        let node: Value = serde_json::from_slice(&nodes.node(7, now)).unwrap();
        assert_eq!(node["metadata"]["name"], "hollow-7");
        assert_eq!(node["status"]["capacity"]["memory"], "1Gi");
        assert_eq!(
            node["metadata"]["labels"]["kubernetes.io/hostname"],
            "hollow-7"
        );
        assert_eq!(node["metadata"]["labels"]["zone"], "a");
        assert_eq!(node["status"]["allocatable"]["pods"], "110");
        assert_eq!(node["status"]["addresses"][0]["address"], "10.64.0.8");
        let ready = &node["status"]["conditions"][3];
        assert_eq!(
            (&ready["type"], &ready["status"]),
            (&json!("Ready"), &json!("True"))
        );
        assert_eq!(ready["lastHeartbeatTime"], "2026-01-02T03:04:05Z");
        let lease: Value = serde_json::from_slice(&nodes.lease(7, "u", now)).unwrap();
        assert_eq!(lease["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(lease["spec"]["renewTime"], "2026-01-02T03:04:05.678901Z");
        assert_eq!(lease["spec"]["leaseDurationSeconds"], 40);
    }

    #[test]
    fn addresses_follow_from_the_number() {
        assert_eq!(node_ip(0), Ipv4Addr::new(10, 64, 0, 1));
        assert_eq!(node_ip(99_999), Ipv4Addr::new(10, 65, 134, 160));
    }
}
