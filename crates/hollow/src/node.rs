//! The pretend nodes as values: their names, addresses, API objects and leases.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

/// What all nodes have in common.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) prefix: String,
    pub(crate) count: u32,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) lease_interval: Duration,
}

impl Fleet {
    pub(crate) fn name(&self, index: u32) -> String {
        format!("{}-{index}", self.prefix)
    }

    /// Which node of this fleet has the name.
    pub(crate) fn index(&self, name: &str) -> Option<u32> {
        let number = name.strip_prefix(&self.prefix)?.strip_prefix('-')?;
        let index = number.parse().ok()?;
        (index < self.count && (number == "0" || !number.starts_with(['0', '+']))).then_some(index)
    }

    /// The node object as a kubelet would create it.
    pub(crate) fn node(&self, index: u32, now: Timestamp) -> Value {
        let name = self.name(index);
        let mut status = status(index, &name, now);
        status["nodeInfo"] = json!({
            "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "hollow://1",
            "kernelVersion": "hollow", "kubeProxyVersion": "", "kubeletVersion": "v1.33.0-hollow",
            "machineID": "", "operatingSystem": "linux", "osImage": "hollow", "systemUUID": "",
        });
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": self.node_labels(&name)},
            "spec": {}, "status": status,
        })
    }

    /// What makes an existing node one of this fleet again: its labels, and its status.
    pub(crate) fn adoption(&self, index: u32, now: Timestamp) -> (Value, Value) {
        let name = self.name(index);
        let labels = json!({"metadata": {"labels": self.node_labels(&name)}});
        (labels, json!({"status": status(index, &name, now)}))
    }

    fn node_labels(&self, name: &str) -> BTreeMap<&str, String> {
        let own = [
            ("kubernetes.io/arch", "amd64"),
            ("kubernetes.io/hostname", name),
            ("kubernetes.io/os", "linux"),
        ];
        let given = self
            .labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()));
        own.into_iter()
            .map(|(key, value)| (key, value.to_owned()))
            .chain(given)
            .collect()
    }

    /// The lease as a kubelet would create it, owned by its node.
    pub(crate) fn lease(&self, index: u32, uid: &str, now: Timestamp) -> Value {
        let name = self.name(index);
        let seconds = (self.lease_interval * 4).as_secs().max(1);
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease", "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid},
            ]},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": seconds,
                     "renewTime": micro(now)},
        })
    }
}

/// The merge patch that renews a lease.
pub(crate) fn renewal(now: Timestamp) -> Value {
    json!({"spec": {"renewTime": micro(now)}})
}

fn micro(now: Timestamp) -> String {
    format!("{now:.6}")
}

pub(crate) fn seconds(now: Timestamp) -> String {
    format!("{now:.0}")
}

/// Address of a node: one of four million in 10.64.0.0/10.
pub(crate) fn node_ip(index: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((10 << 24) | (64 << 16) | ((index + 1) & 0x3f_ffff))
}

fn status(index: u32, name: &str, now: Timestamp) -> Value {
    let resources = json!({
        "cpu": "32", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti",
    });
    let now = seconds(now);
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    json!({
        "capacity": resources, "allocatable": resources,
        "addresses": [
            {"type": "InternalIP", "address": node_ip(index).to_string()},
            {"type": "Hostname", "address": name},
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
mod tests {
    use super::*;

    fn fleet() -> Fleet {
        let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        let lease_interval = Duration::from_secs(10);
        Fleet {
            prefix: "hollow".to_owned(),
            count: 100,
            labels,
            lease_interval,
        }
    }

    #[test]
    fn a_name_says_which_node_it_is() {
        let fleet = fleet();
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
            assert_eq!(fleet.index(name), index, "{name}");
        }
    }

    #[test]
    fn a_node_looks_like_a_kubelet_made_it() {
        let now: Timestamp = "2026-01-02T03:04:05.678901234Z".parse().unwrap();
        let node = fleet().node(7, now);
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
        let lease = fleet().lease(7, "u", now);
        assert_eq!(lease["spec"]["renewTime"], "2026-01-02T03:04:05.678901Z");
        assert_eq!(lease["spec"]["leaseDurationSeconds"], 40);
    }

    #[test]
    fn addresses_are_unique() {
        assert_eq!(node_ip(0), Ipv4Addr::new(10, 64, 0, 1));
        assert_eq!(node_ip(99_999), Ipv4Addr::new(10, 65, 134, 160));
    }
}
