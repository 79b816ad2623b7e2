//! Nodes: they come, go, die and change; the node lifecycle controller taints those that do not
//! answer.

use serde_json::{Value, json};

use super::{
    SimEvent, World,
    kubelets::{Machine, PodProgress},
    node_name,
};
use crate::{
    api::Kind,
    script::Perturbation,
    value::{Key, Text, list, text},
};

/// Taints that scripts set; all of them have the key `sim`, or one that kubelets set.
fn taint(entry: u8) -> Value {
    match entry {
        0 => json!({"key": "sim", "effect": "NoSchedule"}),
        1 => json!({"key": "sim", "effect": "NoExecute"}),
        2 => json!({"key": "sim", "value": "x", "effect": "NoExecute"}),
        3 => json!({"key": "sim", "value": "y", "effect": "NoSchedule"}),
        4 => json!({"key": "sim", "effect": "PreferNoSchedule"}),
        _ => json!({"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule"}),
    }
}

const SCRIPTED: [&str; 2] = ["sim", "node.kubernetes.io/network-unavailable"];
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Replaces the taints with certain keys.
fn set_taints(node: &mut Value, keys: &[&str], new: &[Value]) {
    let mut taints = list(node, "/spec/taints").to_vec();
    taints.retain(|taint| !keys.contains(&text(taint, "/key")));
    taints.extend_from_slice(new);
    node["spec"]["taints"] = Value::Array(taints);
}

fn set_ready(node: &mut Value, ready: bool) {
    let status = if ready { "True" } else { "Unknown" };
    node["status"]["conditions"] = json!([{"type": "Ready", "status": status}]);
}

fn set_allocatable(node: &mut Value, shrunk: bool) {
    node["status"]["allocatable"] = if shrunk {
        json!({"cpu": "200m", "pods": "1"})
    } else {
        json!({"cpu": "8", "pods": "110"})
    };
}

impl World {
    pub(super) fn node_new(&mut self, node: usize) {
        let name = node_name(node);
        if self.api.node(&name).is_some() {
            return;
        }
        let cores = ["4", "8", "16"][node / 2 % 3];
        let mut labels = json!({"disk": format!("d{}", node % 3), "cores": cores});
        if node.is_multiple_of(3) {
            labels["gpu"] = json!("yes");
        }
        let mut object = json!({
            "metadata": {"name": &*name, "uid": self.api.new_uid("node"), "labels": labels},
        });
        set_allocatable(&mut object, false);
        set_ready(&mut object, true);
        self.api.put(Kind::Nodes, object);
        let skew = if self.node_rng.chance(20) {
            self.node_rng.between(-60_000, 60_000)
        } else {
            0
        };
        let machine = Machine {
            alive: true,
            skew,
            rejects_until: 0,
        };
        self.machines.insert(name.clone(), machine);
        self.restart(&name);
    }

    /// The kubelet of a node starts, and looks at the pods that it finds.
    fn restart(&mut self, name: &str) {
        for uid in self.uids_on(name) {
            self.progress.insert(uid.clone(), PodProgress::default());
            let bound = |world: &Self| world.api.pod(&uid).is_some_and(|pod| pod.node.is_some());
            if bound(self) {
                self.unready(&uid);
                let wait = self.node_rng.latency(500, 20_000);
                self.schedule(wait, SimEvent::Ready(uid.clone()));
            }
            if let Some(pod) = self.api.pod(&uid).cloned() {
                self.react_to_pod(&pod);
            }
        }
    }

    pub(super) fn uids_on(&self, node: &str) -> Vec<Text> {
        self.api.pods_on(node).map(|pod| pod.uid.clone()).collect()
    }

    fn edit_node(&mut self, name: &str, edit: impl FnOnce(&mut Value)) {
        self.api.edit(Kind::Nodes, &Key::new("", name), edit);
    }

    pub(super) fn node_lost(&mut self, name: &Text) {
        let dead = self
            .machines
            .get(name)
            .is_some_and(|machine| !machine.alive);
        if !dead || self.api.node(name).is_none() {
            return;
        }
        let taints =
            ["NoSchedule", "NoExecute"].map(|effect| json!({"key": UNREACHABLE, "effect": effect}));
        self.edit_node(name, |node| {
            set_ready(node, false);
            set_taints(node, &[UNREACHABLE], &taints);
        });
        for uid in self.uids_on(name) {
            self.unready(&uid);
        }
    }

    pub(super) fn node_back(&mut self, name: &Text) {
        if self.api.node(name).is_some() {
            self.edit_node(name, |node| {
                set_ready(node, true);
                set_taints(node, &[UNREACHABLE], &[]);
            });
            self.restart(name);
        }
    }

    fn revive(&mut self, name: &Text) {
        if let Some(machine) = self.machines.get_mut(name)
            && !machine.alive
        {
            machine.alive = true;
            let wait = self.node_rng.latency(300, 3_000);
            self.schedule(wait, SimEvent::NodeBack(name.clone()));
        }
    }

    fn node_remove(&mut self, name: &Text) {
        self.api.remove(Kind::Nodes, &Key::new("", name));
        if let Some(machine) = self.machines.get_mut(name) {
            machine.alive = false;
        }
        let wait = self.node_rng.latency(5_000, 40_000);
        self.schedule(wait, SimEvent::PodGc(name.clone()));
    }

    pub(super) fn perturb_node(&mut self, what: Perturbation) {
        match what {
            Perturbation::NodeAdd { node } => self.node_new(node),
            Perturbation::NodeRemove { node } => self.node_remove(&node_name(node)),
            Perturbation::NodeRecreated { node, gap } => {
                self.node_remove(&node_name(node));
                self.schedule(gap, SimEvent::NodeNew { node });
            }
            Perturbation::NodeDies { node } => {
                if let Some(machine) = self.machines.get_mut(&node_name(node)) {
                    machine.alive = false;
                    self.schedule(5_000, SimEvent::NodeLost(node_name(node)));
                }
            }
            Perturbation::NodeRevives { node } => self.revive(&node_name(node)),
            Perturbation::Taint { node, taint: entry } => {
                self.edit_node(&node_name(node), |node| {
                    set_taints(node, &SCRIPTED, &[taint(entry)]);
                });
            }
            Perturbation::Untaint { node } => {
                self.edit_node(&node_name(node), |node| set_taints(node, &SCRIPTED, &[]));
            }
            Perturbation::Cordon { node, on } => self.edit_node(&node_name(node), |node| {
                node["spec"]["unschedulable"] = json!(on);
                let cordon = json!({"key": UNSCHEDULABLE, "effect": "NoSchedule"});
                let taints = if on { vec![cordon] } else { Vec::new() };
                set_taints(node, &[UNSCHEDULABLE], &taints);
            }),
            Perturbation::Label { node, disk } => self.edit_node(&node_name(node), |node| {
                node["metadata"]["labels"]["disk"] = json!(format!("d{disk}"));
            }),
            Perturbation::ShrinkAllocatable { node, on } => {
                self.edit_node(&node_name(node), |node| set_allocatable(node, on));
            }
            Perturbation::KubeletRejects { node, for_ms } => {
                if let Some(machine) = self.machines.get_mut(&node_name(node)) {
                    machine.rejects_until = self.now + for_ms;
                }
            }
            other => unreachable!("{other:?} is not about a node"),
        }
    }

    /// All nodes answer again and have room.
    pub(super) fn heal_nodes(&mut self) {
        let names: Vec<Text> = self.machines.keys().cloned().collect();
        for name in names {
            if let Some(machine) = self.machines.get_mut(&name) {
                machine.rejects_until = 0;
            }
            if self.api.node(&name).is_some() {
                self.revive(&name);
                self.edit_node(&name, |node| set_allocatable(node, false));
            }
        }
    }
}
